"""How the photographs of a run are cut: into waves that are committed together, and a wave into tasks."""

from __future__ import annotations

import math

from verger.config import RunConfig

# A wave is at least a minute of work, so that its start and its commit do not count.
WAVE_SECONDS = 60
# Batches a task: enough that starting it and padding its last batch do not count, few enough to balance cores.
_TASK_BATCHES = 16


def wave_size(config: RunConfig, cores: int, rate: float) -> int:
    """Photographs of one wave, where a core computes ``rate`` of them a second."""
    return config.wave_size or max(config.batch_size, round(cores * WAVE_SECONDS * rate))


def partition_count(rows: int, cores: int, config: RunConfig) -> int:
    """Tasks of one wave: every core busy, and none with a batch that is mostly padding."""
    if config.partitions:
        return min(config.partitions, rows)
    large = math.ceil(rows / (_TASK_BATCHES * config.batch_size))
    small = max(1, rows // (_TASK_BATCHES // 2 * config.batch_size))
    return max(1, min(max(large, 4 * cores), max(small, min(cores, math.ceil(rows / config.batch_size)))))
