"""How the photographs of a run are divided: into waves, which are committed as a whole, and a wave into tasks."""

from __future__ import annotations

import math

from verger.config import ExtractionSettings

# Seconds of work in a wave. Its start and its commit take little time beside a minute.
WAVE_SECONDS = 60
# Batches per task. With more, tasks balance the cores badly; with fewer, their start and padding cost too much.
_TASK_BATCHES = 16
# Tasks of one batch at the start of a run. Each leaves a small file.
_MOST_FIRST_TASKS = 4


def wave_size(config: ExtractionSettings, cores: int, rate: float) -> int:
    """Number of photographs in a wave.

    Parameters
    ----------
    config : ExtractionSettings
        ``wave_size``, if it is set, and ``batch_size``.
    cores : int
        Cores that compute.
    rate : float
        Photographs per second per core.

    Returns
    -------
    int
        At least one batch, unless ``wave_size`` says otherwise.
    """
    return config.wave_size or max(config.batch_size, round(cores * WAVE_SECONDS * rate))


def partition_count(rows: int, cores: int, config: ExtractionSettings) -> int:
    """Number of tasks of a wave: all cores are busy, and no task has a batch that is mostly padding.

    Parameters
    ----------
    rows : int
        Photographs of the wave.
    cores : int
        Cores that compute.
    config : ExtractionSettings
        ``partitions``, if it is set, and ``batch_size``.

    Returns
    -------
    int
        At least 1.
    """
    if config.partitions:
        return min(config.partitions, rows)
    large = math.ceil(rows / (_TASK_BATCHES * config.batch_size))
    small = max(1, rows // (_TASK_BATCHES // 2 * config.batch_size))
    return max(1, min(max(large, 4 * cores), max(small, min(cores, math.ceil(rows / config.batch_size)))))


def first_tasks(rows: int, cores: int, config: ExtractionSettings) -> int:
    """Number of tasks of one batch with which a run's first wave begins, so that it soon shows its first photographs.

    Parameters
    ----------
    rows : int
        Photographs of the wave.
    cores : int
        Cores that compute.
    config : ExtractionSettings
        ``partitions``, which allows none if it is set, and ``batch_size``.

    Returns
    -------
    int
        0 where every task has only a few batches.
    """
    first = min(cores, _MOST_FIRST_TASKS)
    return first if not config.partitions and rows >= 4 * cores * config.batch_size else 0


def task_counts(rows: int, cores: int, config: ExtractionSettings, is_first: bool) -> tuple[int, int]:
    """Number of tasks of a wave.

    Parameters
    ----------
    rows : int
        Photographs of the wave.
    cores : int
        Cores that compute.
    config : ExtractionSettings
        ``partitions``, if it is set, and ``batch_size``.
    is_first : bool
        Whether it is the run's first wave.

    Returns
    -------
    tuple of (int, int)
        Tasks of one batch, which come first, and the others.
    """
    first = first_tasks(rows, cores, config) if is_first else 0
    return first, partition_count(rows - first * config.batch_size, cores, config)
