"""`verger prepare`: Spark takes its classes from an archive, and starts without one that does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

import verger
from tests.integration.runs import finished, photographs
from tests.integration.runs import verger as start
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
    """The archive that a run without S3 takes, were the archives there."""
    place = class_archive.place()
    assert place is not None
    return folder / "archives" / place.name


def arguments(place: Path) -> list[str]:
    return ["run", "--input", str(place / "in"), "--output", str(place / "out"), "--backbone", "pixels", "--cores", "2"]


@pytest.mark.slow
def test_a_prepared_machine_starts_spark_from_the_archive(tmp_path: Path) -> None:
    photographs(tmp_path / "in", 12)
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "spark-classes-of-another-java.jsa").touch()
    code, stderr, lines = finished(start("prepare", inject=APART, cwd=tmp_path), timeout=500)
    assert code == 0, stderr
    archive = archive_in(tmp_path)
    assert lines[-1]["event"] == "done"
    assert lines[-1]["bytes"] >= archive.stat().st_size > 50e6
    assert not (archive.parent / "spark-classes-of-another-java.jsa").exists()
    assert all(path.suffix == ".jsa" for path in archive.parent.iterdir())

    code, stderr, _ = finished(start(*arguments(tmp_path), inject=APART, cwd=tmp_path))
    assert code == 0, stderr
    assert str(archive) in (tmp_path / "mapped").read_text()
    assert verger.load(str(tmp_path / "out")).num_rows == 12


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
