"""Frozen networks made into functions, in the process that computes features."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from verger.network.frozen import Frozen

Infer = Callable[[np.ndarray], np.ndarray]
"""Photographs, uint8 (b, s, s, 3), RGB, to features, float32 (b, d)."""


def build(frozen: Frozen, threads: int = 1) -> Infer:
    """Make a function of a network. TensorFlow is imported only if the network has layers.

    Parameters
    ----------
    frozen : Frozen
        The network; `pixels` has no layers.
    threads : int
        Threads within one TensorFlow operation. Operations run one after another.

    Returns
    -------
    callable
        Photographs, uint8 (b, s, s, 3), RGB, to features, float32 (b, d). The number of photographs b may differ
        from call to call; s is the network's input size in pixels.

    Raises
    ------
    UsageError
        TensorFlow is not installed, or does not load.
    """
    if not frozen.recipe:
        return _flatten
    from verger.network import graph

    return graph.build(frozen, threads)


def _flatten(photographs: np.ndarray) -> np.ndarray:
    """The features of `pixels`: the values of a photograph in reading order."""
    return photographs.reshape(len(photographs), -1).astype(np.float32)
