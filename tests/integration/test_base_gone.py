"""Runs whose base run is deleted while they are under way: they go on without it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import verger
from tests.integration.runs import config, photographs, run
from tests.integration.test_kills import assert_same
from verger import pipeline
from verger.pipeline import table, unchanged
from verger.progress import Progress
from verger.storage.local import LocalStorage
from verger.tables import reader
from verger.tables.runs import Run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Delete = Callable[[], None]


def deleted(place: Path, run_id: str) -> Delete:
    """What deletes a run as `verger prune` does."""

    def delete() -> None:
        storage = LocalStorage()
        gone = Run(str(place / "out"), run_id, storage)
        storage.delete(gone.path("manifest.json"))
        storage.delete(gone.folder)

    return delete


def before(module: Any, name: str, delete: Delete, monkeypatch: pytest.MonkeyPatch) -> None:
    function = getattr(module, name)

    def late(*arguments: Any) -> Any:
        delete()
        return function(*arguments)

    monkeypatch.setattr(module, name, late)


def while_it_is_copied(delete: Delete, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the table have been listed; none is open yet."""
    listed = reader.parquet_files

    def late(*arguments: Any) -> Any:
        files = listed(*arguments)
        delete()
        return files

    monkeypatch.setattr(reader, "parquet_files", late)


MOMENTS: dict[str, Callable[[Delete, pytest.MonkeyPatch], None]] = {
    "before its table is copied": lambda delete, patch: before(table.kept_rows, "copy", delete, patch),
    "while its table is copied": while_it_is_copied,
}


def told(spark: SparkSession | None, place: Path, **settings: Any) -> tuple[dict[str, Any], list[str]]:
    """A run's manifest, and its warnings."""
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        document = pipeline.run(config(place, **settings), spark, progress).as_dict()
        return document, progress.warnings


@pytest.fixture
def place(spark: SparkSession, tmp_path: Path) -> tuple[Path, str]:
    """Forty photographs, and a run over them."""
    photographs(tmp_path / "in", 40)
    return tmp_path, run(spark, tmp_path, pca="auto", components=3)["run_id"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("new", [0, 3])
def test_a_run_goes_on_without_the_base_whose_rows_it_copies(
    spark: SparkSession, place: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, moment: str, new: int
) -> None:
    folder, base = place
    photographs(folder / "in", new, start=100)
    (folder / "in" / "label 0" / "0000.png").unlink()
    MOMENTS[moment](deleted(folder, base), monkeypatch)
    document, warnings = told(spark, folder, pca="reuse")
    assert not (folder / "out" / "runs" / base).exists()
    assert f"the table of run {base} is gone or damaged; all photographs are projected again" in warnings
    assert document["pca"]["fitted_by"] == base  # its space stands
    assert document["photographs"]["projected"] == verger.load(str(folder / "out")).num_rows == 39 + new
    monkeypatch.undo()
    run(spark, folder, output=str(folder / "fresh"), components=3)
    assert verger.load(str(folder / "out"))["path"].equals(verger.load(str(folder / "fresh"))["path"])


@pytest.mark.parametrize(
    ("moment", "says"),
    [
        *((at, "the table of run {} is gone or damaged; all photographs are projected again") for at in MOMENTS),
        ("before its components are read", "the components of run {} were not used"),
        ("before it stands for this run", "run {} is gone, so that its table cannot stand for this run's"),
    ],
)
def test_a_run_in_which_nothing_has_changed_makes_its_own_table(
    spark: SparkSession, place: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, moment: str, says: str
) -> None:
    folder, base = place
    delete = deleted(folder, base)
    settings: dict[str, Any] = {"pca": "auto", "components": 3}
    if moment in MOMENTS:
        MOMENTS[moment](delete, monkeypatch)
        settings["csv"] = True
    elif moment == "before its components are read":
        before(unchanged, "copy_table", delete, monkeypatch)
        settings["csv"] = True
    else:
        before(unchanged, "is_there", delete, monkeypatch)
    document, warnings = told(spark, folder, **settings)
    assert warnings and warnings[0].startswith(says.format(base))
    assert "same_as" not in document
    assert document["pca"]["fitted_by"] == document["run_id"]
    monkeypatch.undo()
    run(spark, folder, output=str(folder / "fresh"), pca="auto", components=3)
    assert_same(folder / "out", folder / "fresh")
    after, none = told(spark, folder, **settings)
    assert (after["same_as"], none) == (document["run_id"], [])
