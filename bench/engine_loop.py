"""What each process of `network_alone.py` does: compute until the time is over. It needs numpy alone.

The parent starts one process a core, waits until each has said that it is ready, and then lets all begin at once.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np

BATCH = 16  # a run's default
KERAS_CALL = 96  # photographs that `model.predict` gets, in batches of 32, its default
Infer = Callable[[np.ndarray], np.ndarray]


def measure(infer: Infer, pixels: np.ndarray, seconds: float, features_file: str, batch: int = BATCH) -> None:
    """Warm up, wait for a line on stdin, compute for some seconds, and print how many photographs that were.

    Parameters
    ----------
    infer : callable
        Photographs, uint8 (b, s, s, 3), to features, float32 (b, d).
    pixels : uint8 array (n, s, s, 3)
        n is a multiple of the batch; they are taken in turn.
    seconds : float
        How long.
    features_file : str
        Where the features of the first photographs go (.npy), so that engines can be compared.
    batch : int
        Photographs a call.
    """
    batches = [pixels[start : start + batch] for start in range(0, len(pixels), batch)]
    np.save(features_file, infer(batches[0])[:BATCH])
    for _ in range(3):
        infer(batches[-1])
    print("ready", flush=True)
    sys.stdin.readline()
    began, calls = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        infer(batches[calls % len(batches)])
        calls += 1
    elapsed = time.perf_counter() - began
    print(json.dumps({"photographs": calls * batch, "seconds": elapsed}), flush=True)
