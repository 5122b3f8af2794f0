"""An embedded Spark on machines that are set up for something else: another Spark, locale, mount or user."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pyspark
import pytest

from tests.conftest import ROOT
from tests.integration.runs import finished, photographs, submitted, verger

# A session that writes what a Python worker says of itself, in Zstandard, as a run writes features.
SESSION = """
import os, sys
from verger.cli import program
from verger.spark import variables
variables.forget_other_pyspark()
import pyarrow as pa
from verger.config import DoctorSettings
from verger.spark.session import session
from verger.storage.stores import Stores

def says(batches):
    import pyspark
    for _ in batches:
        yield pa.RecordBatch.from_pydict({"said": [f"{pyspark.__version__} {sys.executable}"]})

output, local_dir, event_log = (part or None for part in sys.argv[1:])
settings = DoctorSettings(cores=1, driver_memory="512m", local_dir=local_dir, event_log=event_log)
before = dict(os.environ)
try:
    with session(settings, Stores(), output) as spark:
        told = spark.range(1, numPartitions=1).mapInArrow(says, "said string")
        told.write.parquet("file:" + os.path.abspath(output))
        print(spark.sparkContext._jvm.java.lang.System.getProperty("java.io.tmpdir"), spark.sparkContext.sparkUser())
except Exception as error:
    program.fail(*program.exit_code_and_line(error))
assert dict(os.environ) == before
"""
OURS = f"4.3.0 {sys.executable}"


def session(
    folder: Path, output: str, *, local_dir: str = "", event_log: str = "", within: Sequence[str] = (), **variables: str
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of SESSION in a process of its own, started by the program ``within``."""
    command = [*within, sys.executable, "-c", SESSION, output, local_dir, event_log]
    paths = os.pathsep.join(filter(None, (variables.pop("PYTHONPATH", ""), str(ROOT / "job"))))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYSPARK", "SPARK"))
    }
    environment |= {"PYTHONPATH": paths} | variables
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout, done.stderr


def written(folder: Path) -> list[str]:
    return pq.read_table(folder)["said"].to_pylist()


@pytest.fixture(scope="module")
def another_spark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for a Spark 3.5 of the machine: nothing in it works, and its configuration leads nowhere."""
    home = tmp_path_factory.mktemp("spark-3.5")
    (home / "RELEASE").write_text("Spark 3.5.1 built for Hadoop 3.3.4\n")
    for name, text in {
        "bin/spark-submit": "#!/bin/sh\nexit 1\n",
        "conf/spark-env.sh": "exit 3\n",
        "conf/spark-defaults.conf": "spark.master spark://nowhere:7077\n",
        "conf/core-site.xml": "<configuration><property><name>fs.defaultFS</name><value>hdfs://no/</value></property>"
        "</configuration>",
        "python/pyspark/__init__.py": "raise ImportError('another pyspark')\n",
        "python/lib/py4j-0.10.9.7-src.zip": "no zip\n",
        "lib/native/libhadoop.so": "no library\n",
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    (home / "bin" / "spark-submit").chmod(0o755)
    return home


def of(home: Path) -> dict[str, str]:
    """What a machine with that Spark, a Hadoop and a Java agent has in its environment."""
    return {
        "SPARK_HOME": str(home),
        "SPARK_CONF_DIR": str(home / "conf"),
        "HADOOP_CONF_DIR": str(home / "conf"),
        "HADOOP_HOME": str(home),
        "PYTHONPATH": f"{home}/python{os.pathsep}{home}/python/lib/py4j-0.10.9.7-src.zip",
        "PYSPARK_PYTHON": "/usr/bin/python3",
        "PYSPARK_DRIVER_PYTHON": "ipython",
        "PYSPARK_SUBMIT_ARGS": "--master yarn pyspark-shell",
        "SPARK_REMOTE": "sc://nowhere",
        "SPARK_API_MODE": "connect",
        "SPARK_CONNECT_MODE": "1",
        "SPARK_DIST_CLASSPATH": f"{home}/jars/*",
        "SPARK_LAUNCHER_OPTS": "-Xnonsense",
        "SPARK_SUBMIT_OPTS": "-Xnonsense",
        "SPARK_LOCAL_DIRS": "/proc/nowhere",
        "SPARK_LOCAL_IP": "192.0.2.1",
        "SPARK_MASTER_HOST": "nowhere",
        "SPARK_TESTING": "1",
        "SPARK_PREPEND_CLASSES": "1",
        "SPARK_ENV_LOADED": "1",
        "HADOOP_TOKEN_FILE_LOCATION": "/nowhere",
        "JAVA_TOOL_OPTIONS": "-Xnonsense",
        "JDK_JAVA_OPTIONS": "-Xnonsense",
        "_JAVA_OPTIONS": "-Xnonsense",
        "CLASSPATH": f"{home}/jars/*",
        "LD_LIBRARY_PATH": str(home / "lib" / "native"),
        "PYTHONHASHSEED": "random",
        "PYTHONSTARTUP": "/nowhere",
    }


@pytest.mark.required_in_ci
@pytest.mark.slow
def test_another_spark_is_not_listened_to(tmp_path: Path, another_spark: Path) -> None:
    code, _, stderr = session(tmp_path, "out", **of(another_spark))
    assert code == 0, stderr
    assert written(tmp_path / "out") == [OURS]


@pytest.mark.required_in_ci
@pytest.mark.slow
def test_a_spark_that_is_gone_is_not_missed_by_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photographs(tmp_path / "in", 4)
    monkeypatch.setenv("SPARK_HOME", "/gone")
    monkeypatch.setenv("PYSPARK_PYTHON", "/usr/bin/python3")
    quick = ("--backbone", "pixels", "--cores", "1")
    code, stderr, lines = finished(verger("run", "--input", "in", "--output", "out", *quick, cwd=tmp_path), 240)
    assert code == 0, stderr
    assert lines[-1]["projected"] == 4


@pytest.mark.required_in_ci
def test_spark_submit_of_another_python_is_named(tmp_path: Path) -> None:
    """With a stand-in for a Python without Verger: one that has no packages."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} -I -S "$@"\n')
    bare.chmod(0o755)
    home = os.path.dirname(pyspark.__file__)
    variables = {"SPARK_HOME": home, "PYSPARK_PYTHON": str(bare), "PYSPARK_DRIVER_PYTHON": str(bare)}
    process = submitted("schema", cwd=tmp_path, **variables)
    assert process.wait(timeout=120) == 2
    log = (tmp_path / "log").read_text()
    assert "which has no module" in log and "Let PYSPARK_PYTHON" in log
    assert "Traceback" not in log


def run_with(folder: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> tuple[int, str, list[dict[str, Any]]]:
    """How `verger run` ends with these variables: exit code, stderr, and the JSON lines of stderr."""
    if not (folder / "in").exists():
        photographs(folder / "in", 4)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    places = ("--input", "in", "--output", "out", "--backbone", "pixels", "--cores", "1")
    return finished(verger("run", *places, cwd=folder), 240)


@pytest.mark.required_in_ci
@pytest.mark.parametrize(
    "variables",
    [
        {"PYSPARK_GATEWAY_PORT": "1", "PYSPARK_GATEWAY_SECRET": "marker-of-9-secrets"},
        {"PYSPARK_GATEWAY_PORT": "1"},
        {"PYSPARK_GATEWAY_PORT": "no port", "PYSPARK_GATEWAY_SECRET": "marker-of-9-secrets"},
    ],
    ids=["gone", "no secret", "no port"],
)
def test_the_gateway_of_a_notebook_that_has_ended_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """What a notebook, or a shell in it, has left in the environment of `verger run`."""
    code, stderr, _ = run_with(tmp_path, monkeypatch, **variables)
    assert code == 2, stderr
    assert "verger: PYSPARK_GATEWAY_PORT is set, and no spark-submit answers there" in stderr
    assert "Unset PYSPARK_GATEWAY_PORT" in stderr and "marker" not in stderr
    assert not (tmp_path / "out" / "latest.json").exists()


@pytest.mark.required_in_ci
@pytest.mark.parametrize("right", [True, False], ids=["its secret", "another secret"])
def test_the_gateway_of_a_notebook_that_runs_is_left_alone(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    """The session of the tests is the notebook's."""
    gateway = spark.sparkContext._gateway.gateway_parameters
    secret = gateway.auth_token if right else "marker-of-9-secrets"
    variables = {"PYSPARK_GATEWAY_PORT": str(gateway.port), "PYSPARK_GATEWAY_SECRET": secret}
    code, stderr, _ = run_with(tmp_path, monkeypatch, **variables)
    assert code == 2, stderr
    said = "names the Spark of another program, such as a notebook" if right else "is set, and no spark-submit answers"
    assert f"verger: PYSPARK_GATEWAY_PORT {said}" in stderr
    assert secret not in stderr
    assert spark.range(3).count() == 3


@pytest.mark.required_in_ci
@pytest.mark.slow
def test_what_else_a_notebook_leaves_is_not_listened_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret without a port, and variables by which `pyspark` starts a notebook."""
    code, stderr, lines = run_with(
        tmp_path,
        monkeypatch,
        PYSPARK_GATEWAY_PORT="",
        PYSPARK_GATEWAY_SECRET="marker-of-9-secrets",
        PYSPARK_PIN_THREAD="false",
        PYSPARK_DRIVER_PYTHON="jupyter",
        PYSPARK_DRIVER_PYTHON_OPTS="notebook",
        PYSPARK_SUBMIT_ARGS="--master yarn pyspark-shell",
        PYSPARK_ALLOW_INSECURE_GATEWAY="1",
        SPARK_REMOTE="sc://nowhere",
    )
    assert code == 0, stderr
    assert lines[-1]["projected"] == 4


@pytest.mark.required_in_ci
@pytest.mark.slow
@pytest.mark.parametrize("locale", ["de_DE.UTF-8", "C"])
def test_names_are_utf_8_in_a_locale_that_is_not(tmp_path: Path, locale: str) -> None:
    """In a locale that is not installed, or has no encoding for the name."""
    code, _, stderr = session(tmp_path, "Äpfel", local_dir="Öl", event_log="Ereignisse ü", LC_ALL=locale)
    assert code == 0, stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Ereignisse ü", "Äpfel", "Öl"]
    assert written(tmp_path / "Äpfel") == [OURS]
    assert len(list((tmp_path / "Ereignisse ü").iterdir())) == 1


@pytest.mark.required_in_ci
def test_a_name_of_the_event_log_that_the_jvm_cannot_have_is_refused(tmp_path: Path) -> None:
    """Where Python itself is told not to read names as UTF-8."""
    variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code, _, stderr = session(tmp_path, "out", event_log="Äpfel", **variables)
    assert code == 2, stderr
    assert "Set LC_ALL=C.UTF-8" in stderr
    assert list(tmp_path.iterdir()) == []


def noexec(folder: Path) -> list[str]:
    """The program that starts another with ``folder`` mounted noexec, which needs the right to mount."""
    folder.mkdir()
    mount = f"mount -t tmpfs -o noexec,size=200m tmpfs '{folder}'"
    program = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount", "sh", "-c"]
    if subprocess.run([*program, mount], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    return [*program, f'{mount} && exec "$@"', "sh"]


@pytest.mark.slow
def test_a_temporary_folder_may_be_noexec(tmp_path: Path) -> None:
    """A real mount: native libraries are unpacked in --local-dir, and nothing of them is left there."""
    within = noexec(tmp_path / "tmp")
    variables = {"TMPDIR": str(tmp_path / "tmp"), "XDG_CACHE_HOME": str(tmp_path / "tmp")}
    code, stdout, stderr = session(tmp_path, "out", local_dir="local", within=within, **variables)
    assert code == 0, stderr
    assert stdout.startswith(f"{tmp_path}/local/verger-")
    assert written(tmp_path / "out") == [OURS]
    assert list((tmp_path / "local").iterdir()) == []


@pytest.mark.slow
def test_without_any_folder_for_libraries_the_mount_is_named(tmp_path: Path) -> None:
    within = noexec(tmp_path / "tmp")
    variables = {"TMPDIR": str(tmp_path / "tmp"), "XDG_CACHE_HOME": str(tmp_path / "tmp")}
    code, _, stderr = session(tmp_path, "out", within=within, **variables)
    assert code == 2
    assert stderr.startswith(f"verger: {tmp_path / 'tmp'}: mounted noexec")


@pytest.mark.slow
def test_a_user_may_have_no_name() -> None:
    """A real user id without a name and without a home; it keeps the right to read root's Python."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    rights = "+dac_override,+dac_read_search"
    within = ["setpriv", "--reuid", "4321", "--regid", "4321", "--clear-groups"]
    within += ["--inh-caps", rights, "--ambient-caps", rights, "env", "-u", "HOME"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o777)
        code, stdout, stderr = session(folder, "out", event_log="events", within=within)
        assert code == 0, stderr
        assert stdout.split()[1] == "user-4321"
        assert written(folder / "out") == [OURS]
        assert (folder / "out").stat().st_uid == 4321
