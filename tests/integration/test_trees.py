"""A folder as NAS, desktop and sync tools leave it: a run has the user's photographs alone, and tells of the rest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import verger
from tests.integration.runs import photograph, run
from verger.config import PruneSettings
from verger.insight.report.verdict import verdict_of
from verger.photographs.suffixes import HIDDEN_FOLDER, REPEATED_FOLDER
from verger.pipeline import maintenance
from verger.progress import Progress
from verger.tables.manifest import Manifest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.required_in_ci


def test_a_run_over_a_share_of_a_nas(spark: SparkSession, tmp_path: Path) -> None:
    """Thumbnails beside each photograph, deleted photographs, folders that are linked to one another."""
    source, seed = tmp_path / "in", 0
    for label in ("apple", "pear"):
        for number in range(4):
            seed += 1
            photograph(source / label / f"{number}.png", seed)
            for size in ("S", "XL"):
                photograph(source / label / "@eaDir" / f"{number}.png" / f"SYNOPHOTO_THUMB_{size}.png", seed, 8)
    photograph(source / "#recycle" / "apple" / "9.png", 99)
    (source / "apple" / "to_pear").symlink_to(source / "pear")
    (source / "pear" / "to_apple").symlink_to(source / "apple")
    manifest = run(spark, tmp_path, components=2)
    assert manifest["photographs"]["projected"] == 8
    assert manifest["labels"] == {"apple": 4, "pear": 4}
    assert manifest["photographs"]["ignored"] == {HIDDEN_FOLDER: 3, REPEATED_FOLDER: 2}
    assert manifest["warnings"] == []
    told = "Beside them, the folder holds 3 hidden folders and 2 folders that were met before."
    assert told in verdict_of(Manifest.model_validate(manifest)).sentence


def test_what_falls_through_the_list_is_a_warning_on_the_first_screen(spark: SparkSession, tmp_path: Path) -> None:
    """Folders of a program that nobody has listed; they are excluded by what the warning says."""
    source = tmp_path / "in"
    for number in range(3):
        photograph(source / "apple" / f"{number}.png", number)
        photograph(source / "apple" / "unheard of" / f"{number}.png" / "small.png", number, 8)
    manifest = run(spark, tmp_path, components=2)
    (warning,) = manifest["warnings"]
    assert warning.startswith("3 labels are named like image files (0.png, 1.png, 2.png; 3 photographs)")
    assert "--exclude '*.png/*'" in warning
    assert warning in [action.why for action in verdict_of(Manifest.model_validate(manifest)).actions]
    excluding = run(spark, tmp_path, components=2, exclude=("*.png/*",))
    assert (excluding["photographs"]["listed"], excluding["photographs"]["gone"]) == (3, 0)
    assert excluding["warnings"] == []
    assert set(verger.load(str(tmp_path / "out"))["label"].to_pylist()) == {"apple"}
    pruning = PruneSettings(output=str(tmp_path / "out"))
    with Progress.of(pruning) as progress:  # what the run did not enter is there, until it is deleted
        assert maintenance.prune(pruning, None, True, progress)["photographs"] == 0
        shutil.rmtree(source / "apple" / "unheard of")
        assert maintenance.prune(pruning, None, True, progress)["photographs"] == 3
