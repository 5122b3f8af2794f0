"""What prune and compact say of an output that is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from verger import pipeline
from verger.config import PruneSettings
from verger.errors import NothingToReadError
from verger.progress import Progress


def prune(output: Path) -> dict[str, int]:
    with open(os.devnull, "w") as quiet, Progress(quiet) as progress:
        return pipeline.prune(PruneSettings(output=str(output)), 1, False, progress)


@pytest.mark.parametrize("there", ["nothing", "an empty folder"])
def test_an_output_with_nothing_in_it_is_named(tmp_path: Path, there: str) -> None:
    output = tmp_path / "out"
    if there == "an empty folder":
        output.mkdir()
    with pytest.raises(NothingToReadError) as refused:
        prune(output)
    assert refused.value.line == f"{output} does not exist or is empty. Check --output."


def test_an_output_without_a_run_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert not any(prune(tmp_path).values())
    assert (tmp_path / "notes.txt").read_text() == "mine"
