"""The image by `docker run`: a run on one machine, Spark's roles, and what is in the image and what is not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import verger
from tests import history
from tests.conftest import ROOT
from tests.cpu import assert_within_tolerance
from tests.documented import documented_size
from tests.integration.runs import photographs
from tests.integration.runs import verger as start
from tests.integration.s3 import Minio, free_port
from verger.photographs.synthetic import draw

pytestmark = pytest.mark.required_in_ci

ANYBODY = ("--user", "100123:0", "--read-only", "--tmpfs", "/tmp")
QUICK = ("--backbone", "pixels", "--input-size", "8", "--cores", "2", "--wave-size", "20")
SUBMIT = (
    *("driver", "--conf", "spark.master=local[2]", "--conf", "spark.driver.host=127.0.0.1"),
    "local:///opt/verger/main.py",
)
# What no layout shapes: the JVM's own line, Python's warnings, TensorFlow's lines.
NATIVE = re.compile(
    r"WARNING: Using incubator modules|.*Warning:|  \w|[IWE]0000 |WARNING: All log messages before absl"
)


def docker(*arguments: object, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    command = ["docker", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="session")
def image() -> str:
    """The image under test: IMAGE, else what `make image` builds."""
    name = os.environ.get("IMAGE", f"verger:{verger.__version__}")
    if shutil.which("docker") is None or docker("version").returncode:
        pytest.skip("no Docker answers")
    if docker("image", "inspect", name).returncode:
        pytest.skip(f"no image {name}: `make image` builds it")
    return name


@pytest.fixture(scope="session")
def about(image: str) -> dict[str, Any]:
    (found,) = json.loads(docker("image", "inspect", image).stdout)
    config: dict[str, Any] = found["Config"] | {"Layers": found["RootFS"]["Layers"]}
    return config


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder that a container has at the same path, with an output that anybody may write to."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o777)
    for folder in (tmp_path, *tmp_path.parents[:2]):  # pytest's own are for one user alone
        folder.chmod(folder.stat().st_mode | 0o055)
    return tmp_path


def inside(image: str, script: str, *options: str) -> str:
    """What a shell in the image says, as root unless told otherwise."""
    done = docker("run", "--rm", "--network", "none", *(options or ("--user", "0")), image, "bash", "-euc", script)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def volumes(folder: Path) -> list[str]:
    return ["--volume", f"{folder}:{folder}:ro", "--volume", f"{folder / 'out'}:{folder / 'out'}"]


def by_path(column: str, one: pa.Table, other: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """One column of vectors of two tables of the same photographs, in the same order."""
    one, other = one.sort_by("path"), other.sort_by("path")
    assert one["path"].equals(other["path"])
    return np.stack(one[column].to_pylist()), np.stack(other[column].to_pylist())


# A machine alone


def test_a_run_as_any_user_with_a_read_only_root_and_no_network(image: str, shared: Path) -> None:
    draw(str(shared / "in"), 40, seed=0)
    arguments = ["run", "--input", str(shared / "in"), "--max-rejected-ratio", "0.5", "--output"]
    done = docker(
        *("run", "--rm", *ANYBODY, "--network", "none", *volumes(shared), image),
        *("verger", *arguments, shared / "out"),
    )
    assert done.returncode == 0, done.stderr
    with start(*arguments, str(shared / "host"), cwd=shared) as host:
        _, said = host.communicate()
        assert host.returncode == 0, said
    ours, hosts = str(shared / "out"), str(shared / "host")
    assert_within_tolerance(*by_path("features", verger.load_features(ours), verger.load_features(hosts)))
    components, expected = by_path("pca_features", verger.load(ours), verger.load(hosts))
    np.testing.assert_allclose(components, expected, atol=1e-5 * np.ptp(expected), rtol=0)
    # TensorFlow's converter for phones is there too.
    done = docker(
        *("run", "--rm", *ANYBODY, "--network", "none", *volumes(shared), image),
        *("verger", "export", "--run", shared / "out"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["parity"] < 1e-3


def test_a_quota_of_processor_time_bounds_its_cores(image: str) -> None:
    script = "python -c 'from verger.cores import available_cores; print(available_cores())'"
    assert inside(image, script, *ANYBODY, "--cpus", "0.5") == "1\n"


def test_doctor_finds_all_that_a_run_needs(image: str) -> None:
    done = docker("run", "--rm", *ANYBODY, "--network", "none", image, "verger", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = dict(reversed(line.split()[:2]) for line in done.stdout.splitlines())
    assert {verdicts[name] for name in ("Python", "Java", "Spark", "TensorFlow", "Weights")} == {"ok"}
    assert "fails" not in verdicts.values()


@pytest.mark.parametrize("command", [("verger",), SUBMIT], ids=["verger", "driver"])
def test_sigterm_ends_a_run_in_order(image: str, shared: Path, command: tuple[str, ...]) -> None:
    photographs(shared / "in", 2000)
    name = f"verger-test-{os.getpid()}"
    run = ["run", "--input", shared / "in", "--output", shared / "out", "--progress-interval", "0.2"]
    variable = ("--env", "SPARK_DRIVER_BIND_ADDRESS=127.0.0.1")
    started = docker("run", "--detach", "--name", name, *ANYBODY, *variable, *volumes(shared), image, *command, *run)
    assert started.returncode == 0, started.stderr
    try:
        deadline = time.monotonic() + 120
        while '"stage": "features"' not in (log := said_by(name)):
            assert time.monotonic() < deadline, log
            time.sleep(0.2)
        docker("stop", "--time", "60", name)
        assert docker("wait", name).stdout.strip() == "143", said_by(name)
        lines = said_by(name).splitlines()
    finally:
        docker("rm", "--force", name)
    assert [json.loads(line)["exit_code"] for line in lines if '"event": "failed"' in line] == [143]
    if command == ("verger",):
        (line,) = [line for line in lines if not line.startswith("{")]
        assert line.startswith("verger: ")
    assert [path.name for path in (shared / "out" / "runs").glob("*/*.json")] == ["failure.json"]


def said_by(container: str) -> str:
    done = docker("logs", container)
    return done.stderr + done.stdout  # spark-submit sends what Python says to stdout


def test_without_a_command_it_tells_which_there_are(image: str) -> None:
    done = docker("run", "--rm", *ANYBODY, image)
    assert done.returncode == 0
    assert "doctor" in done.stdout


# Spark's roles


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Minio]:
    with Minio(tmp_path_factory.mktemp("store"), tls=True) as server:
        yield server


@pytest.mark.parametrize("command", [("verger",), SUBMIT], ids=["verger", "driver"])
def test_a_run_on_buckets_behind_a_private_authority(
    image: str, store: Minio, shared: Path, command: tuple[str, ...]
) -> None:
    bucket, client = store.bucket(), store.client()
    for path in photographs(shared / "in", 40):
        client.put_object(Bucket=bucket, Key=str(path.relative_to(shared)), Body=path.read_bytes())
    shutil.copy(store.ca, shared / "ca.pem")
    (shared / "ca.pem").chmod(0o644)
    variables = store.environment() | {
        "AWS_CA_BUNDLE": str(shared / "ca.pem"),
        "SPARK_DRIVER_BIND_ADDRESS": "127.0.0.1",
        "VERGER_STORE_LOCATION": "eu",
    }
    (shared / "variables").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    done = docker(
        *("run", "--rm", *ANYBODY, "--network", "host", *volumes(shared), "--env-file", shared / "variables", image),
        *(*command, "run", "--input", f"s3://{bucket}/in", "--output", f"s3://{bucket}/out", *QUICK),
        *("--event-log", f"s3://{bucket}/events"),  # which S3A writes
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert client.list_objects_v2(Bucket=bucket, Prefix="events/eventlog_v2_")["KeyCount"]
    keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix="out/")["Contents"]]
    tables = [key for key in keys if key.endswith(".parquet") and ("/features/" in key or "/projection/" in key)]
    assert {key.split("/")[1] for key in tables} == {"features", "runs"}
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    lines = (done.stderr + done.stdout).splitlines()
    ours = [said for said in map(json.loads, filter(lambda line: line.startswith("{"), lines)) if "event" in said]
    assert ours[-1]["event"] == "done"
    if command == SUBMIT:
        assert [line for line in lines if not line.startswith("{") and not NATIVE.match(line)] == []
    assert store.secret_key not in done.stdout + done.stderr


def test_the_history_server_of_the_manifest_reads_a_run_back(
    image: str, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    photographs(shared / "in", 40)
    with Minio(tmp_path_factory.mktemp("store")) as store:
        folder, port, name = f"{store.bucket()}/events", free_port(), f"verger-history-{os.getpid()}"
        keys = store.environment() | {"VERGER_STORE_LOCATION": "eu"}
        places = ("--input", shared / "in", "--output", shared / "out", "--event-log", f"s3://{folder}")
        options = ("--rm", *ANYBODY, "--network", "host", *volumes(shared))
        done = docker("run", *options, *environment(keys), image, "verger", "run", *places, *QUICK)
        assert done.returncode == 0, done.stderr
        pod = ("--user", "185:0", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--memory", "1536m")
        variables = {key: keys[key] for key in history.KEYS} | history.variables(
            f"s3a://{folder}", store.endpoint_url, port
        )
        server = ("--detach", "--name", name, "--network", "host", *pod, *environment(variables))
        started = docker("run", *server, image, *history.container()["args"])
        assert started.returncode == 0, started.stderr
        try:
            runs = lambda: docker("inspect", "--format", "{{.State.Running}}", name).stdout == "true\n"  # noqa: E731
            assert history.awaited(port, history.probe(), runs), said_by(name)
            found = history.awaited(port, "/api/v1/applications", runs)
            assert found, said_by(name)
            assert [attempt["completed"] for attempt in found[0]["attempts"]] == [True]
            (driver,) = history.answer(port, f"/api/v1/applications/{found[0]['id']}/executors")
            assert driver["completedTasks"] > 0
        finally:
            docker("rm", "--force", name)


def environment(variables: dict[str, str]) -> list[str]:
    return [part for name, value in variables.items() for part in ("--env", f"{name}={value}")]


def test_a_role_that_fails_leaves_its_line_where_kubernetes_looks(image: str, shared: Path) -> None:
    message = shared / "termination-log"
    message.touch()
    message.chmod(0o666)
    done = docker("run", "--rm", *ANYBODY, "--volume", f"{message}:/dev/termination-log", image, "executor")
    assert done.returncode == 2
    assert json.loads(done.stderr)["message"] == message.read_text().strip()
    assert "SPARK_DRIVER_URL is not set" in message.read_text()


@pytest.mark.parametrize("user", ["185:0", "100123:0"])
def test_every_user_has_a_name_and_a_home(image: str, user: str) -> None:
    script = 'id -un; cd ~; pwd; java -XshowSettings:properties -version 2>&1 | grep -E "user.(name|home) "'
    said = inside(image, script, "--user", user, "--read-only", "--tmpfs", "/tmp")
    assert [line.split()[-1] for line in said.splitlines()] == ["verger", "/tmp", "/tmp", "verger"]


# What is in it


def test_user_entrypoint_and_labels(about: dict[str, Any]) -> None:
    assert about["User"] == "185:0"
    assert about["Entrypoint"] == ["/usr/bin/tini", "-s", "--", "/opt/entrypoint.sh"]
    labels = {name.removeprefix("org.opencontainers.image."): text for name, text in about["Labels"].items()}
    assert labels["title"] == "verger"
    assert labels["version"] == verger.__version__
    assert labels["licenses"] == "Apache-2.0"
    assert re.fullmatch("[0-9a-f]{40}|unknown", labels["revision"])
    assert labels["base.name"] and labels["description"]
    assert re.fullmatch("(sha256:[0-9a-f]{64})?", labels["base.digest"])


def test_the_installed_version_is_that_of_the_label(image: str) -> None:
    assert inside(image, "python -c 'import verger; print(verger.__version__)'").strip() == verger.__version__


def test_omitted_files_are_absent(image: str) -> None:
    mounted = [part for name in ("omit.py", "omitted.txt") for part in ("-v", f"{ROOT / 'image' / name}:/list/{name}")]
    script = """python -c '
import sys; sys.path.insert(0, "/list")
from pathlib import Path
from omit import named
found, _ = named(Path("/list/omitted.txt").read_text(), Path("/opt/verger"))
print(*sorted(map(str, found)), sep="\\n")'"""
    assert inside(image, script, *mounted).split() == []


def test_the_image_has_no_compiler_and_no_installer(image: str) -> None:
    tools = "pip pip3 gcc cc g++ make ld strip mvn javac jlink git curl wget gpg"
    assert inside(image, f"for tool in {tools}; do command -v $tool || true; done") == ""
    assert (
        inside(image, "for python in python /usr/bin/python3; do ! $python -m pip --version 2>&1; done").count(
            "No module"
        )
        == 2
    )
    left = inside(
        image, "find /var/lib/apt/lists /var/cache/apt /var/log /root/.cache /tmp -type f 2>/dev/null || true"
    )
    assert left.split() == []


def test_no_setuid_files_and_few_folders_writable_by_the_job(image: str) -> None:
    assert inside(image, "find / -xdev -type f -perm /6000") == ""
    # As its own user: what it may write to, but for links and what the kernel lends.
    script = "find / -xdev ! -type l ! -path '/proc/*' ! -path '/sys/*' ! -path '/dev/*' -writable 2>/dev/null || true"
    writable = set(inside(image, script, "--user", "185:0").split())
    assert writable <= {"/tmp", "/var/tmp", "/run/lock", "/opt/spark/work-dir", "/dev"}


def test_no_secret_is_in_it(image: str, about: dict[str, Any]) -> None:
    said = json.dumps(about["Env"]) + docker("history", "--no-trunc", image).stdout
    assert not re.search(r"(?i)(secret|password|token|api_?key)\S*=\S", said)
    script = r"grep -rIlE '^-----BEGIN [A-Z ]*PRIVATE KEY-----|\bA(KI|SI)A[0-9A-Z]{16}\b' /opt /etc /root || true"
    found = inside(image, script).split()
    # AWS's documentation has examples.
    assert [path for path in found if "/botocore/data/" not in path] == []


def test_its_size_is_that_of_the_documentation(image: str) -> None:
    (found,) = json.loads(docker("image", "inspect", image).stdout)
    assert found["Size"] / 1e6 == pytest.approx(documented_size(), rel=0.03)  # Debian's updates and another base


def test_a_change_of_the_job_changes_the_last_layers_alone(image: str, about: dict[str, Any], tmp_path: Path) -> None:
    tags = [f"verger-test-{os.getpid()}:{number}" for number in range(2)]
    source = context(tmp_path)
    try:
        for tag in tags:
            done = docker("build", "--tag", tag, *same_base(about), source, timeout=280)
            assert done.returncode == 0, done.stdout + done.stderr
            (source / "job" / "verger" / "pipeline" / "story.py").open("a").write("# A change.\n")
        before, after = (json.loads(docker("image", "inspect", tag).stdout)[0] for tag in tags)
        layers, changed = before["RootFS"]["Layers"], after["RootFS"]["Layers"]
        assert len(layers) == len(changed)
        assert layers != changed
        assert layers[:-2] == changed[:-2]
        assert sum(sizes(tags[1])[-2:]) < 7.5e6
    finally:
        docker("image", "rm", *tags)


def same_base(about: dict[str, Any]) -> list[str]:
    """The Debian of the image under test: a machine without a registry may have no other."""
    return ["--build-arg", f"BASE={about['Labels']['org.opencontainers.image.base.name']}"]


def context(folder: Path) -> Path:
    """What a build sees of this checkout."""
    source = folder / "source"
    source.mkdir()
    for name in ("Dockerfile", ".dockerignore", "LICENSE", "NOTICE", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    for name in ("image", "job", "requirements"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    return source


def sizes(tag: str) -> list[float]:
    """The bytes of each layer that has some, in order."""
    units = {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9}
    listed = docker("history", "--format", "{{.Size}}", tag).stdout.split()[::-1]
    found = [float(match[1]) * units[match[2]] for size in listed if (match := re.fullmatch(r"([\d.]+)(\w+)", size))]
    return [size for size in found if size]


# Other weights


@pytest.mark.parametrize(
    "arguments, line",
    [
        ({"WEIGHTS": "imagenet"}, "WEIGHTS=imagenet is downloaded, and nothing says what should come."),
        ({"WEIGHTS": "weights/none.h5"}, "WEIGHTS=weights/none.h5: there is no such file in the build's context."),
        ({"WEIGHTS": "weights/odd.npz"}, "odd.npz: is no .h5, .keras or .npz file."),
        ({"WEIGHTS": "weights/odd.npz", "BACKBONE": "vgg"}, "backbone"),
    ],
)
def test_weights_that_are_not_to_be_had_end_the_build_in_a_line(
    about: dict[str, Any], tmp_path: Path, arguments: dict[str, str], line: str
) -> None:
    source = context(tmp_path)
    (source / "weights").mkdir()
    (source / "weights" / "odd.npz").write_bytes(b"odd")
    given = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
    done = docker("build", "--target", "weights", *same_base(about), *given, source)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "verger: " in said and line in said
    assert "Traceback" not in said
