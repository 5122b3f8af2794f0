"""What is to be classified: features with the class of each, and what belongs together."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from verger.components.pca import Pca
from verger.config import AnalysisSettings
from verger.insight.arrays import Float32Array, Indices, codes
from verger.insight.reduction import Reduction
from verger.insight.sample import Sample

APART = 0.9
"""Groups, as a share of the photographs, from which a pattern keeps nothing together."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be told apart.

    Attributes
    ----------
    features : ndarray of float32, shape (n, d)
    codes : ndarray of int64, shape (n,)
        The class of each row; -1 where it has none.
    n_classes : int
    splits : list of str or None
        What folders say: ``Training``, ``Test``, ...
    groups : ndarray of int64, shape (n,), or None
        What belongs together; None where nobody has said it.
    n_components : int
        Of the PCA.
    standardize : bool
        Whether features are divided by their standard deviation before it.
    seed : int
    given : Reduction, optional
        Scaler and PCA that were fitted elsewhere; without them, they are fitted to each training part.
    """

    features: Float32Array
    codes: Indices
    n_classes: int
    splits: list[str | None]
    groups: Indices | None
    n_components: int
    standardize: bool
    seed: int
    given: Reduction | None = None


def classes_of(labels: list[str | None], pattern: str | None) -> list[str | None]:
    """What of each label is the class: all of it, or what the pattern matches; None where that is nothing."""
    if pattern is None:
        return [label or None for label in labels]
    compiled = re.compile(pattern)
    found = {label: compiled.search(label) for label in set(labels) if label}
    return [(match[0] or None) if (match := found.get(label or "")) else None for label in labels]


def groups_of(paths: list[str], pattern: str, warn: Callable[[str], None] = lambda _: None) -> Indices | None:
    """A number for each path below the input: equal where the pattern matches the same; what it misses is alone.

    None, and a warning, where that keeps nothing together: fewer than half of the paths match, nearly each matches
    something of its own, or all match the same.
    """
    compiled = re.compile(pattern)
    matches = [(match[0] if match else "") for match in map(compiled.search, paths)]
    # NUL stands in no path, so that one that is alone is no other's match.
    keys = [match or f"\0{path}" for path, match in zip(paths, matches, strict=True)]
    number, matched = len(set(keys)), sum(map(bool, matches))
    said, of = f"--group-regex '{pattern}'", f"{len(paths):,} photographs"
    if 2 * matched < len(paths):
        warn(f"{said} matches {matched:,} of {of}: they are not taken in groups")
    elif number > APART * len(paths):
        warn(
            f"{said} makes {number:,} groups of {of}: hardly any two belong together, and they are not taken in groups"
        )
    elif number < 2:
        warn(f"{said} makes one group of all {of}: they are not taken in groups")
    else:
        return codes(pa.chunked_array([keys], pa.string()))
    return None


def task_of(
    sample: Sample,
    coded: Indices,
    n_classes: int,
    config: AnalysisSettings,
    warn: Callable[[str], None] = lambda _: None,
    pca: Pca | None = None,
) -> Task:
    """What is evaluated of a sample whose photographs have these classes, -1 being none; as `classify` takes it."""
    asked = sample.photographs.take(sample.featured)
    groups = None if config.group_regex is None else groups_of(sample.below(asked), config.group_regex, warn)
    return Task(
        features=sample.features,
        codes=coded[sample.featured],
        n_classes=n_classes,
        splits=asked["split"].to_pylist(),
        groups=groups,
        n_components=sample.components.shape[1],
        standardize=config.standardized,
        seed=config.seed,
        given=Reduction(pca.mean, pca.scale, pca.components) if pca else None,
    )
