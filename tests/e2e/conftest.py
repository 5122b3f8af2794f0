"""What the tests on a cluster share: the cluster, its store, 672 real photographs in it, and one run over them."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.conftest import ROOT
from tests.e2e import room
from tests.e2e.cluster import Cluster, Release
from tests.e2e.observer import Observer
from tests.e2e.outcomes import OUTCOMES
from tests.integration import runs
from verger.storage.stores import Stores
from verger.tables.runs import Run, latest

INPUT, OUTPUT, EVENTS = "s3://photos/e2e", "s3://lake/e2e", "s3://lake/e2e-events"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was done to runs, and what became of them: a table here, and build/e2e.json."""
    if OUTCOMES:
        terminalreporter.section("done to runs")
        for line in OUTCOMES.table():
            terminalreporter.line(line)
        OUTCOMES.write(ROOT / "build" / "e2e.json", image=Cluster().image, at=datetime.now(UTC).isoformat())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A pod is pulled, scheduled and started before it does anything."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    found = Cluster()
    if missing := found.missing():
        pytest.skip(missing)
    if lacking := room.lacking(room.NEEDED, room.there(found)):
        pytest.exit(f"no room for the tests on a cluster: {lacking}", returncode=pytest.ExitCode.TESTS_FAILED)
    return found


@pytest.fixture(scope="session")
def store(cluster: Cluster) -> Iterator[Any]:
    """The cluster's store, reached from here with the job's key; nothing of earlier tests is in it."""
    secret = cluster.get("secret", "s3-writer")["data"]
    with cluster.forwarded("service/store", 9000, "store") as port, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, base64.b64decode(secret[name]).decode())
        patch.setenv("AWS_REGION", "eu-west-3")
        patch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        s3 = boto3.resource("s3")
        for bucket, prefix in (("photos", "e2e"), ("lake", "e2e")):
            s3.Bucket(bucket).objects.filter(Prefix=prefix).delete()
        yield s3


@pytest.fixture(scope="session")
def photographs(data: Path, store: Any) -> Path:
    """672 photographs of fruit in the store, below INPUT; the folder where they lie on this machine."""
    folder = data / "fruits" / "Test"
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) == 672
    bucket = store.Bucket("photos")

    def put(file: Path) -> None:
        bucket.put_object(Key=f"e2e/Test/{file.relative_to(folder)}", Body=file.read_bytes())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, files))
    return folder


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> Iterator[Any]:
    """Makes releases, which are gone when the tests are over."""
    made: list[Release] = []

    def make(name: str, program: str = "helm") -> Release:
        made.append(Release(cluster, name, program))
        made[-1].uninstall()
        return made[-1]

    yield make
    for one in made:
        one.uninstall()


@dataclass
class Finished:
    """A run that is over, what was seen of it meanwhile, and what it has made in the namespace."""

    release: Release
    run: Run
    observer: Observer
    made: set[str]
    log: str


@pytest.fixture(scope="session")
def first(cluster: Cluster, photographs: Path, release: Any, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The first run over the photographs, by two executors."""
    one = release("e2e-first")
    before = cluster.things()
    with Observer(one) as observer:
        one.install(
            tmp_path_factory.mktemp("first"),
            {
                "run": {"input": INPUT, "output": OUTPUT, "event_log": EVENTS, "progress_interval": 2},
                "executor": {"instances": 2},
                "metrics": {"enabled": True, "namespaceLabels": observer.METRICS_FROM},
            },
        )
        state = one.ended()
    with OUTCOMES.promise("nothing, to 672 photographs and two executors", "0") as outcome:
        outcome.saw(state, to_the_end=one.seconds)
        assert state == "COMPLETED", f"{one.message}\n{one.log()[-3000:]}"
    run = latest(Stores().of(OUTPUT), OUTPUT, one.name)
    assert run is not None
    return Finished(one, run, observer, cluster.things() - before, one.log())


@pytest.fixture(scope="session")
def local(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the same run on this machine, without a cluster."""
    output = tmp_path_factory.mktemp("local") / "out"
    process = runs.verger("run", "--input", str(photographs), "--output", str(output))
    code, stderr, _ = runs.finished(process, timeout=600)
    assert code == 0, stderr
    return output


@pytest.fixture(scope="session", autouse=True)
def _plain_environment() -> None:
    """Settings of whoever runs the tests are none of theirs."""
    for name in [name for name in os.environ if name.startswith("VERGER_") and name != "VERGER_JARS"]:
        if name not in ("VERGER_TEST_DATA", "VERGER_IMAGE", "VERGER_KUBERNETES_SCHEMAS"):
            del os.environ[name]
