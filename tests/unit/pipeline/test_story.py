"""pipeline/story: where the space of the components comes from."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from verger.config import RunConfig, loading
from verger.errors import UsageError
from verger.pipeline.story import _LatestRun
from verger.pipeline.values import Job
from verger.progress import Progress
from verger.residency.guard import Residency
from verger.storage.stores import Stores
from verger.tables.runs import new_run

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("options", "ignored"),
    [
        ({"variance": 0.9}, ["pca reuse: variance is ignored: the PCA of an earlier run is reused"]),
        (
            {"components": 9, "seed": 3, "standardize": True},
            ["pca reuse: components, standardize are ignored: the PCA of an earlier run is reused"],
        ),
        ({}, []),
    ],
)
def test_settings_that_a_reused_pca_does_not_follow_are_named(
    tmp_path: Path, options: dict[str, Any], ignored: list[str]
) -> None:
    places = {"input": str(tmp_path / "in"), "output": str(tmp_path / "out")}
    config = loading.load({**places, **options, "pca": "reuse"})
    assert isinstance(config, RunConfig)
    stores = Stores()
    run = new_run(stores.of(config.output), config.output, config.name, NOW)
    job = Job(run, config, stores, Progress(io.StringIO()), NOW, Residency([], {}, []))
    unused: Any = None
    with pytest.raises(UsageError, match="no finished run"):
        _LatestRun(job).fitted(unused)
    assert job.progress.warnings == ignored
