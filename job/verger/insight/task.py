"""What is to be classified: features, the class of each photograph, and the groups that belong together."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from verger.components.pca import Pca
from verger.config import AnalysisSettings
from verger.insight.arrays import Float32Array, Indices, category_codes
from verger.insight.reduction import Reduction
from verger.insight.sample import Sample

MAX_GROUPS_SHARE = 0.9
"""Groups, as a share of the photographs, above which a pattern keeps nothing together."""


@dataclass(frozen=True, eq=False)
class Task:
    """Photographs to classify, and how.

    Attributes
    ----------
    features : ndarray of float32, shape (n, d)
        A row a photograph.
    codes : ndarray of int64, shape (n,)
        The class of each row, from 0; -1 where it has none.
    n_classes : int
        Number of classes.
    splits : list of str or None
        The split of each row that its folder names: ``Training``, ``Test``, ...
    groups : ndarray of int64, shape (n,), or None
        The group of each row: photographs of one series, tree or day. None where no groups are known.
    n_components : int
        Principal components to keep.
    standardize : bool
        Whether the PCA divides features by their standard deviations.
    seed : int
        Of samples and folds.
    fixed_reduction : Reduction, optional
        Scaler and PCA that another run fitted. Without it, they are fitted to each training part.
    """

    features: Float32Array
    codes: Indices
    n_classes: int
    splits: list[str | None]
    groups: Indices | None
    n_components: int
    standardize: bool
    seed: int
    fixed_reduction: Reduction | None = None


def classes_of(labels: list[str | None], pattern: str | None) -> list[str | None]:
    """Classes of labels.

    Parameters
    ----------
    labels : list of str or None
        A label a photograph.
    pattern : str or None
        Regular expression: the class is what it matches in the label. Without it, the class is the label.

    Returns
    -------
    list of str or None
        None where there is no label, or the pattern matches nothing.
    """
    if pattern is None:
        return [label or None for label in labels]
    compiled = re.compile(pattern)
    matches = {label: compiled.search(label) for label in set(labels) if label}
    return [(match[0] or None) if (match := matches.get(label or "")) else None for label in labels]


def codes_of(classes: list[str | None], names: list[str]) -> Indices:
    """Codes of classes.

    Parameters
    ----------
    classes : list of str or None
        A class a photograph.
    names : list of str
        The classes that count, in the order of their codes.

    Returns
    -------
    ndarray of int64, shape (n,)
        -1 where there is no class, or none that counts.
    """
    number = {name: code for code, name in enumerate(names)}
    return np.array([number.get(name, -1) if name else -1 for name in classes], np.int64)


def groups_of(paths: list[str], pattern: str, warn: Callable[[str], None] = lambda _: None) -> Indices | None:
    """Groups of photographs that belong together: those in whose paths a pattern matches the same text.

    Parameters
    ----------
    paths : list of str
        Below the input folder.
    pattern : str
        Regular expression. A path that it does not match is a group by itself.
    warn : callable
        Called with a sentence where the pattern keeps nothing together: it matches fewer than half of the paths, makes
        nearly as many groups as there are paths, or a single one.

    Returns
    -------
    ndarray of int64, shape (n,), or None
        A code a path; None after a warning.
    """
    compiled = re.compile(pattern)
    matches = [(match[0] if match else "") for match in map(compiled.search, paths)]
    # NUL stands in no path, so the key of a path without a match is no other's match.
    keys = [match or f"\0{path}" for path, match in zip(paths, matches, strict=True)]
    number, matched = len(set(keys)), sum(map(bool, matches))
    option, total = f"--group-regex '{pattern}'", f"{len(paths):,} photographs"
    if 2 * matched < len(paths):
        warn(f"{option} matches {matched:,} of {total}, so it is ignored")
    elif number > MAX_GROUPS_SHARE * len(paths):
        warn(f"{option} makes {number:,} groups of {total}, so that hardly any two belong together; it is ignored")
    elif number < 2:
        warn(f"{option} makes one group of all {total}, so it is ignored")
    else:
        return category_codes(pa.chunked_array([keys], pa.string()))
    return None


def task_of(
    sample: Sample,
    codes: Indices,
    n_classes: int,
    config: AnalysisSettings,
    warn: Callable[[str], None] = lambda _: None,
    fixed_pca: Pca | None = None,
) -> Task:
    """The task of classifying the photographs of a sample that have features.

    Parameters
    ----------
    sample : Sample
        Of a run.
    codes : ndarray of int64, shape (n,)
        The class of each of the sample's photographs; -1 where it has none.
    n_classes : int
        Number of classes.
    config : AnalysisSettings
        Its ``group_regex``, ``standardized`` and ``seed`` are used.
    warn : callable
        See `groups_of`.
    fixed_pca : Pca, optional
        The run's PCA where another run fitted it.
    """
    photographs, groups = sample.with_features(), None
    if config.group_regex is not None:
        groups = groups_of(sample.relative_paths(photographs), config.group_regex, warn)
    return Task(
        features=sample.features,
        codes=codes[sample.feature_rows],
        n_classes=n_classes,
        splits=photographs["split"].to_pylist(),
        groups=groups,
        n_components=sample.components.shape[1],
        standardize=config.standardized,
        seed=config.seed,
        fixed_reduction=Reduction(fixed_pca.mean, fixed_pca.scale, fixed_pca.components) if fixed_pca else None,
    )
