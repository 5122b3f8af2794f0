"""Samples of runs for the tests of insight: photographs as points around the middle of their label."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.decomposition import PCA

from verger.config import RunConfig
from verger.insight.audit.checks import Audit
from verger.insight.classification.evaluation import HeldOut
from verger.insight.sample import Sample
from verger.insight.task import Task

ROOT = "/in"


def config(**settings: Any) -> RunConfig:
    return RunConfig(input=ROOT, output="/out", **settings)


def sample(
    features: npt.ArrayLike,
    labels: Sequence[str | None],
    splits: Sequence[str | None] | None = None,
    paths: Sequence[str] | None = None,
    digests: Sequence[str] | None = None,
    k: int = 4,
) -> Sample:
    """All of a run whose photographs have these features; ``paths`` are below the input, and sorted."""
    rows = np.asarray(features, np.float32)
    n = len(rows)
    below = paths or [f"{number:05d}.jpg" for number in range(n)]
    assert list(below) == sorted(below)
    photographs = pa.table(
        {
            "path": pa.array([f"{ROOT}/{path}" for path in below], pa.string()),
            "label": pa.array(labels, pa.string()),
            "split": pa.array(splits or [None] * n, pa.string()),
            "version": pa.array(["1-1"] * n, pa.string()),
            "sha256": pa.array(digests or [hashlib.sha256(path.encode()).hexdigest() for path in below], pa.string()),
        }
    )
    components = PCA(min(k, n, rows.shape[1]), random_state=0).fit_transform(rows).astype(np.float32)
    return Sample(photographs, photographs, components, np.arange(n), rows, ROOT, n, f"all {n} photographs")


def clouds(sizes: dict[str, int], d: int = 12, apart: float = 3.0, seed: int = 0) -> tuple[Any, list[str]]:
    """So many points of each label, normal around a middle of its own; the labels in order."""
    random = np.random.default_rng(seed)
    middles = {label: apart * random.normal(size=d) / np.sqrt(d) for label in sizes}
    labels = [label for label, size in sizes.items() for _ in range(size)]
    points = np.stack([middles[label] for label in labels]) + random.normal(size=(len(labels), d)) / np.sqrt(d)
    return points.astype(np.float32), labels


def series(
    varieties: int, each: int, frames: int, d: int = 24, seed: int = 0, spread: float = 0.2
) -> tuple[Any, list[str], list[str]]:
    """Photographs as on a turntable: every series has a place of its own, far from its variety's, and frames near it.

    Returns
    -------
    ndarray, list of str, list of str
        Features, labels, and paths below the input, by which ``^.*_`` is the series.
    """
    random = np.random.default_rng(seed)
    points, labels, paths = [], [], []
    for variety in range(varieties):
        middle = random.normal(size=d)
        for number in range(each):
            place = middle + 2 * random.normal(size=d)
            for frame in range(frames):
                points.append(place + spread * random.normal(size=d))
                labels.append(f"variety {variety}")
                paths.append(f"variety {variety}/r{number}_{frame:03d}.jpg")
    return np.array(points, np.float32), labels, paths


def unrelated_features(n: int = 60, d: int = 40) -> Any:
    """Features, shape (n, d), of photographs that are nothing like one another."""
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


def listed(audit: Audit, kind: str) -> list[dict[str, Any]]:
    """The issues of one kind that an audit lists."""
    return [row for row in audit.table.to_pylist() if row["kind"] == kind]


def task(features: Any, labels: list[str], **more: Any) -> Task:
    """Photographs to tell apart by their labels."""
    names = sorted(set(labels))
    given = {
        "features": features,
        "codes": np.array([names.index(label) for label in labels]),
        "n_classes": len(names),
        "splits": [None] * len(labels),
        "groups": None,
        "n_components": 8,
        "standardize": False,
        "seed": 0,
    }
    return Task(**{**given, **more})


def held_out(codes: list[int], probability: Any, **more: Any) -> HeldOut:
    """Predictions of held-out photographs of these classes."""
    given = {"kind": "random", "description": "", "n_folds": 2, "n_train": 1, "unjudged": 0, "majority_code": 0}
    rows = {"rows": np.arange(len(codes)), "codes": np.array(codes), "centroid_codes": np.array(codes)}
    return HeldOut(probabilities=np.array(probability, np.float32), **{**given, **rows, **more})
