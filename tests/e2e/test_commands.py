"""The other commands as releases: photographs into an earlier run's space, and fewer files in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import INPUT, OUTPUT, Finished
from verger.storage.stores import Stores
from verger.tables import manifest, runs

pytestmark = pytest.mark.required_in_ci


def test_photographs_are_put_into_the_space_of_an_earlier_run(first: Finished, release: Any, tmp_path: Path) -> None:
    one = release("e2e-project")
    settings = {"input": INPUT, "output": OUTPUT, "max_photographs": 48}
    one.install(tmp_path, {"command": "project", "fittedRun": first.run.folder, "run": settings})
    assert one.ended() == "COMPLETED", one.message
    made = runs.latest(Stores().of(OUTPUT), OUTPUT, one.name)
    assert made is not None
    document = manifest.read(made).as_dict()
    assert document["pca"]["fitted_by"] == first.run.run_id
    assert document["photographs"]["projected"] == document["photographs"]["known"] == 48


def test_the_store_is_compacted(first: Finished, release: Any, tmp_path: Path) -> None:
    one = release("e2e-compact")
    one.install(tmp_path, {"command": "compact", "run": {"input": INPUT, "output": OUTPUT}})
    assert one.ended() == "COMPLETED", one.message
    done = one.events()[-1]
    assert done["event"] == "done"
    assert 0 < done["files_after"] <= done["files_before"]
    assert done["rows"] >= 672
