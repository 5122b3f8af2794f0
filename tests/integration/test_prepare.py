"""`verger prepare`: Spark takes its classes from an archive, and starts without one that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

import verger
from tests.integration.runs import finished, photographs
from tests.integration.runs import verger as start
from tests.integration.s3 import Minio
from verger.spark import class_archive

# The archives are in the folder of the test, not in the environment of this Python. As the JVM of a run ends, a file
# tells what it has mapped.
APART = """
from pathlib import Path
from verger.spark import class_archive, jvm
def folder(here=Path.cwd()):
    return here / "archives"
stop = jvm.stop
def told(gateway):
    Path("mapped").write_text(Path("/proc", str(gateway.proc.pid), "maps").read_text())
    stop(gateway)
class_archive.folder, jvm.stop = folder, told
"""


def archive_in(folder: Path) -> Path:
    """The archive that a run takes, were the archives there."""
    place = class_archive.place()
    assert place is not None
    return folder / "archives" / place.name


def arguments(place: Path) -> list[str]:
    return ["run", "--input", str(place / "in"), "--output", str(place / "out"), "--backbone", "pixels", "--cores", "2"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photographs, in which `verger prepare` has run."""
    place = tmp_path_factory.mktemp("prepared")
    photographs(place / "in", 12)
    (place / "archives").mkdir()
    (place / "archives" / "spark-classes-of-another-java.jsa").touch()
    code, stderr, lines = finished(start("prepare", inject=APART, cwd=place), timeout=500)
    assert code == 0, stderr
    assert lines[-1]["event"] == "done"
    assert lines[-1]["bytes"] == archive_in(place).stat().st_size > 50e6
    return place


@pytest.mark.slow
def test_a_prepared_machine_starts_spark_from_the_archive(prepared: Path) -> None:
    assert list((prepared / "archives").iterdir()) == [archive_in(prepared)]
    code, stderr, _ = finished(start(*arguments(prepared), inject=APART, cwd=prepared))
    assert code == 0, stderr
    assert str(archive_in(prepared)) in (prepared / "mapped").read_text()
    assert verger.load(str(prepared / "out")).num_rows == 12


@pytest.mark.slow
def test_so_it_does_for_an_event_log_in_a_bucket(prepared: Path, jars: Path, s3_environment: Minio) -> None:
    """The jars of S3A are behind Spark's own in the class path: Java takes the archive for what is before them."""
    bucket = s3_environment.bucket()
    events = ["--event-log", f"s3://{bucket}/events", "--store-location", "eu", "--output", str(prepared / "logged")]
    code, stderr, _ = finished(start(*arguments(prepared), *events, inject=APART, cwd=prepared))
    assert code == 0, stderr
    assert str(archive_in(prepared)) in (prepared / "mapped").read_text()
    keys = [item["Key"] for item in s3_environment.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert [key for key in keys if "/events_1_" in key]


@pytest.mark.parametrize(
    "damage",
    [pytest.param(b"", id="empty"), pytest.param(b"\xf0\x0b\xab\xa8" + bytes(10_000), id="cut")],
)
def test_an_archive_that_does_not_fit_is_left_out(tmp_path: Path, damage: bytes) -> None:
    photographs(tmp_path / "in", 12)
    (tmp_path / "archives").mkdir()
    archive_in(tmp_path).write_bytes(damage)
    code, stderr, _ = finished(start(*arguments(tmp_path), inject=APART, cwd=tmp_path))
    assert code == 0, stderr
    assert "archives" not in (tmp_path / "mapped").read_text()
    assert verger.load(str(tmp_path / "out")).num_rows == 12


def test_a_place_that_cannot_be_written_is_told_before_spark_starts(tmp_path: Path) -> None:
    (tmp_path / "archives").write_text("a file")
    code, stderr, lines = finished(start("prepare", inject=APART, cwd=tmp_path))
    assert code == 2
    assert lines[-1]["message"].startswith(f"{tmp_path / 'archives'}: ")
    assert stderr.count("verger: ") == 1
    assert not (tmp_path / "mapped").exists()
