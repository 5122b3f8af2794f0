"""image/entrypoint.sh and decom.sh: what Spark on Kubernetes asks of an image, with programs that only take notes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trustme

from tests.conftest import ROOT
from verger.spark import truststore

IMAGE = ROOT / "image"
LOG4J = "-Dlog4j2.configurationFile=file:/opt/verger/conf/log4j2.properties"

# What the operator's spark-submit and the driver set, as seen in pods.
EXECUTOR = {
    "SPARK_DRIVER_URL": "spark://CoarseGrainedScheduler@verger.svc:7078",
    "SPARK_EXECUTOR_ID": "3",
    "SPARK_EXECUTOR_CORES": "1",
    "SPARK_EXECUTOR_MEMORY": "768m",
    "SPARK_APPLICATION_ID": "spark-1234",
    "SPARK_EXECUTOR_POD_IP": "10.0.0.7",
    "SPARK_EXECUTOR_POD_NAME": "verger-exec-3",
    "SPARK_RESOURCE_PROFILE_ID": "0",
}
DRIVER = {"SPARK_DRIVER_BIND_ADDRESS": "10.0.0.6"}
SUBMISSION = ["--properties-file", "/opt/spark/conf/spark.properties", "local:///opt/verger/main.py", "run", "a b"]

# A program that writes down its arguments and its environment, both ended by NUL.
RECORDER = """#!/bin/sh
printf '%s\\0' "$@" >"$RECORD.arguments"
env -0 >"$RECORD.environment"
exit "${RECORDED_EXIT:-0}"
"""


class Container:
    """A folder with the programs that the entrypoint starts, and what they were given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tmp = folder / "tmp"
        self.record = folder / "record"
        self.tmp.mkdir()
        self.program("bin/java")
        self.program("spark/bin/spark-submit")
        (folder / "bin" / "python").symlink_to(sys.executable)

    def program(self, name: str, text: str = RECORDER) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def popen(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "PYTHONPATH": str(ROOT / "job"),
            "SPARK_HOME": str(self.folder / "spark"),
            "TMPDIR": str(self.tmp),
            "RECORD": str(self.record),
        }
        # The link to Python alone does not tell it where its packages are.
        environment["PYTHONPATH"] += f":{':'.join(path for path in sys.path if path)}"
        command = [str(IMAGE / "entrypoint.sh"), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=environment | variables, stdout=pipe, stderr=pipe, text=True)

    def start(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        with self.popen(*arguments, **variables) as process:
            stdout, stderr = process.communicate(timeout=60)
            return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    @property
    def arguments(self) -> list[str]:
        return self.record.with_suffix(".arguments").read_text().split("\0")[:-1]

    @property
    def environment(self) -> dict[str, str]:
        pairs = self.record.with_suffix(".environment").read_text().split("\0")[:-1]
        return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_the_executor_is_started_as_spark_asks(container: Container) -> None:
    done = container.start("executor", **EXECUTOR, SPARK_CONF_DIR="/opt/spark/conf")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    jars = f"/opt/spark/conf:{container.folder}/spark/jars/*"
    assert container.arguments == [
        *(LOG4J, "-Xms768m", "-Xmx768m", "-cp", jars),
        "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend",
        *("--driver-url", EXECUTOR["SPARK_DRIVER_URL"], "--executor-id", "3", "--cores", "1"),
        *("--app-id", "spark-1234", "--hostname", "10.0.0.7", "--resourceProfileId", "0"),
        *("--podName", "verger-exec-3"),
    ]


def test_empty_variables_count_as_unset(container: Container) -> None:
    """For Java, and for the Python workers that it starts. Others may say something by being empty."""
    empty = dict.fromkeys(("AWS_PROFILE", "AWS_CA_BUNDLE", "VERGER_REGION", "HADOOP_USER_NAME", "HOME", "NO_PROXY"), "")
    assert container.start("executor", **EXECUTOR, **empty, AWS_REGION="eu-west-3").returncode == 0
    assert {name for name, value in container.environment.items() if not value} == {"NO_PROXY"}
    assert container.environment["AWS_REGION"] == "eu-west-3"


def test_java_options_keep_their_order_and_their_spaces(container: Container) -> None:
    options = [f"-Dnumber={number}" for number in range(12)]
    options[1] = "-Dwords=one two  three"
    options[10] = "--add-opens=java.base/java.lang=ALL-UNNAMED"
    options[11] = "-Dquoted=\"'$HOME *\nlast"
    variables = {f"SPARK_JAVA_OPT_{number}": option for number, option in reversed(list(enumerate(options)))}
    assert container.start("executor", **EXECUTOR, **variables).returncode == 0
    # After ours, which they may contradict.
    assert container.arguments[:14] == [LOG4J, *options, "-Xms768m"]


@pytest.mark.parametrize("arguments, variables", [(("executor",), EXECUTOR), (("env",), {})])
def test_the_locale_is_the_one_that_the_image_has(
    container: Container, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    done = container.start(*arguments, **variables, LC_ALL="de_DE.UTF-8")
    assert done.returncode == 0
    said = container.environment["LC_ALL"] if variables else done.stdout
    assert "C.UTF-8" in said and "de_DE" not in said


def test_a_spark_home_without_spark_is_named(container: Container) -> None:
    done = container.start("driver", *SUBMISSION, **DRIVER, SPARK_HOME="/opt/spark-3.5")
    assert done.returncode == 2
    assert json.loads(done.stderr)["message"].startswith("SPARK_HOME is /opt/spark-3.5, where there is no Spark.")


def test_an_empty_spark_home_is_the_one_that_the_image_has(container: Container) -> None:
    done = container.start("driver", *SUBMISSION, **DRIVER, SPARK_HOME="")
    message = json.loads(done.stderr)["message"]  # there is none at that place here
    assert message.startswith("SPARK_HOME is /opt/verger/lib/python3/site-packages/pyspark, ")


def test_extra_classes_come_last(container: Container) -> None:
    container.start("executor", **EXECUTOR, SPARK_EXTRA_CLASSPATH="/extra/*")
    class_path = container.arguments[container.arguments.index("-cp") + 1]
    assert class_path == f"{container.folder}/spark/jars/*:/extra/*"


def test_the_driver_is_submitted_as_spark_asks(container: Container) -> None:
    done = container.start("driver", *SUBMISSION, **DRIVER, SPARK_SUBMIT_OPTS="-Dtheirs=1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert container.arguments == [
        *("--conf", "spark.driver.bindAddress=10.0.0.6"),
        *("--conf", "spark.executorEnv.SPARK_DRIVER_POD_IP=10.0.0.6"),
        *("--deploy-mode", "client", *SUBMISSION),
    ]
    assert container.environment["SPARK_SUBMIT_OPTS"] == f"{LOG4J} -Dtheirs=1"
    assert container.environment["VERGER_LOG_FORMAT"] == "json"


@pytest.mark.parametrize("role, variables", [("driver", DRIVER), ("executor", EXECUTOR)])
def test_a_role_ends_with_the_code_of_what_it_started(
    container: Container, role: str, variables: dict[str, str]
) -> None:
    assert container.start(role, **variables, RECORDED_EXIT="52").returncode == 52


def test_anything_else_is_run_as_it_is(container: Container) -> None:
    container.program("bin/verger")
    done = container.start("verger", "run", "--name", "a  b", "", RECORDED_EXIT="6")
    assert done.returncode == 6
    assert container.arguments == ["run", "--name", "a  b", ""]
    assert not {"SPARK_SUBMIT_OPTS", "VERGER_LOG_FORMAT", "LD_PRELOAD"} & container.environment.keys()
    assert container.start("true").returncode == 0
    assert container.start("no-such-program").returncode == 127


def test_a_private_authority_becomes_a_trust_store_of_the_drivers_jvm(container: Container) -> None:
    bundle = container.folder / "ca.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    store = container.tmp / "authorities.p12"
    options = truststore.options(str(store)).replace('"', "").split()
    assert container.start("driver", *SUBMISSION, **DRIVER, AWS_CA_BUNDLE=str(bundle)).returncode == 0
    assert container.environment["SPARK_SUBMIT_OPTS"].split() == [LOG4J, *options]
    assert store.stat().st_size > 500


def test_an_executors_jvm_has_no_trust_store(container: Container) -> None:
    """Only the event log, which the driver writes, is written by Java."""
    bundle = container.folder / "ca.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    assert container.start("executor", **EXECUTOR, AWS_CA_BUNDLE=str(bundle)).returncode == 0
    assert not [option for option in container.arguments if "trustStore" in option]
    assert not (container.tmp / "authorities.p12").exists()
    assert container.environment["AWS_CA_BUNDLE"] == str(bundle)


def test_an_authority_that_is_not_there_ends_a_role_in_one_line(container: Container) -> None:
    done = container.start("driver", *SUBMISSION, **DRIVER, AWS_CA_BUNDLE='/no/"such".pem')
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    said = json.loads(line)
    assert {"level": "ERROR", "logger": "verger", "event": "failed", "exit_code": 2}.items() <= said.items()
    assert '/no/"such".pem' in said["message"]
    assert not container.record.with_suffix(".arguments").exists()


@pytest.mark.parametrize("missing", sorted(EXECUTOR))
def test_a_role_that_spark_did_not_ask_for_names_what_is_missing(container: Container, missing: str) -> None:
    done = container.start("executor", **{**EXECUTOR, missing: ""})
    assert done.returncode == 2
    assert json.loads(done.stderr)["message"].startswith(f"executor: {missing} is not set.")


def test_a_user_without_a_name_gets_one(container: Container) -> None:
    container.program("bin/getent", "#!/bin/sh\nexit 2\n")
    container.program("bin/verger")
    assert container.start("verger", HOME="/home/of/it").returncode == 0
    users = Path(container.environment["NSS_WRAPPER_PASSWD"]).read_text().splitlines()
    assert users[-1] == f"verger:x:{os.getuid()}:{os.getgid()}:Verger:/home/of/it:/usr/sbin/nologin"
    assert users[:-1] == Path("/etc/passwd").read_text().splitlines()
    assert container.environment["LD_PRELOAD"] == "libnss_wrapper.so"


def test_a_user_without_a_name_and_without_a_place_for_one_is_told(container: Container) -> None:
    container.program("bin/getent", "#!/bin/sh\nexit 2\n")
    done = container.start("verger", TMPDIR="/no/such/folder")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("verger: /no/such/folder cannot be written")


def terminated(container: Container, ready: Path) -> int:
    """The code of a driver that gets SIGTERM when ``ready`` is there."""
    started = container.popen("driver", *SUBMISSION, **DRIVER)
    while not ready.exists():
        time.sleep(0.05)
    started.send_signal(signal.SIGTERM)
    return started.wait(timeout=20)


def test_sigterm_goes_to_the_job_and_its_code_comes_back(container: Container) -> None:
    job, ready = container.folder / "job", container.folder / "ready"
    container.program("job", f"#!/bin/sh\ntrap 'sleep 1; exit 77' TERM\ntouch {ready}\nwhile :; do sleep 0.1; done\n")
    # As Spark's does: it ends at once where the signal is sent to it, else after the job and with its code.
    container.program("spark/bin/spark-submit", f"#!/bin/bash\ntrap 'exit 1' TERM\n{job} & wait $!\n")
    assert terminated(container, ready) == 77


def test_sigterm_before_there_is_a_job_goes_to_spark(container: Container) -> None:
    ready = container.folder / "ready"
    program = f"import signal, time, pathlib; pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    container.program("spark/bin/spark-submit", f"#!{sys.executable}\n{program}\n")
    assert terminated(container, ready) == 143


def test_decommissioning_tells_the_executor_and_waits_for_it(container: Container) -> None:
    ready = container.folder / "ready"
    java = f'#!/bin/sh\ntrap "sleep 1; exit 0" PWR\ntouch {ready}\nwhile :; do sleep 0.1; done\n'
    container.program("bin/java", java)
    environment = {"PATH": f"{container.folder / 'bin'}:/usr/bin:/bin", "TMPDIR": str(container.tmp)}
    executor = subprocess.Popen([IMAGE / "entrypoint.sh", "executor"], env=environment | EXECUTOR | {"SPARK_HOME": "/"})
    while not ready.exists():
        time.sleep(0.05)
    asked = time.monotonic()
    hook = subprocess.Popen([IMAGE / "decom.sh"], env=environment)
    try:
        assert executor.wait(timeout=20) == 0
        assert hook.wait(timeout=20) == 0
    finally:
        for process in (executor, hook):
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
    assert time.monotonic() - asked > 1


def test_decommissioning_without_an_executor_is_no_failure(container: Container) -> None:
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(container.tmp)}
    assert subprocess.run([IMAGE / "decom.sh"], env=environment).returncode == 0
    ended = subprocess.Popen(["true"])
    ended.wait()
    (container.tmp / "executor.pid").write_text(str(ended.pid))
    assert subprocess.run([IMAGE / "decom.sh"], env=environment).returncode == 0
