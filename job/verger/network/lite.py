"""Networks as TensorFlow Lite models, for phones; TensorFlow is imported when the first one is made."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from verger.network.frozen import Frozen
from verger.network.installed import needed

INPUT = "photograph"
"""Name of the input: uint8 (1, s, s, 3), RGB."""
OUTPUT = "probabilities"
"""Name of the output: float32 (1, classes)."""

_WARM_UP = 5


def convert(
    frozen: Frozen, weights: npt.ArrayLike, bias: npt.ArrayLike, int8: bool = False, logits: bool = False
) -> bytes:
    """A network with a dense layer behind its features: photographs to probabilities.

    Parameters
    ----------
    frozen : Frozen
        Computed in float32, whatever its precision.
    weights : array_like, shape (d, classes)
    bias : array_like, shape (classes,)
    int8 : bool
        Whether weights are quantized to 8 bits (dynamic range: activations are quantized as they come).
    logits : bool
        Whether the softmax is left out.

    Returns
    -------
    bytes
        The model, with the one signature ``serving_default``, from `INPUT` to `OUTPUT`.
    """
    with quietly():
        tf = _tensorflow()
        from verger.network import graph

        kernel, offset = (tf.constant(array, tf.float32) for array in (weights, bias))

        def classify(photograph: Any) -> dict[str, Any]:
            features = graph.features(replace(frozen, precision="float32"), photograph)
            found = tf.matmul(features, kernel) + offset
            return {OUTPUT: found if logits else tf.nn.softmax(found)}

        size = frozen.input_size
        module = tf.Module()
        module.classify = tf.function(classify, input_signature=[tf.TensorSpec((1, size, size, 3), tf.uint8, INPUT)])
        made = [module.classify.get_concrete_function()]
        converter = tf.lite.TFLiteConverter.from_concrete_functions(made, module)
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if int8 else []
        return bytes(converter.convert())


class Lite:
    """A model that can be run.

    Parameters
    ----------
    model : bytes
    threads : int
    """

    def __init__(self, model: bytes, threads: int = 1) -> None:
        with quietly(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a package of its own will have the interpreter one day
            interpreter = _tensorflow().lite.Interpreter(model_content=model, num_threads=threads)
            interpreter.allocate_tensors()
            self._run = interpreter.get_signature_runner()

    def __call__(self, photograph: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probabilities, shape (classes,), of a photograph, shape (s, s, 3)."""
        return np.asarray(self._run(**{INPUT: photograph[None]})[OUTPUT][0])

    def milliseconds(self, photograph: npt.NDArray[np.uint8], times: int) -> npt.NDArray[np.float64]:
        """How long so many calls took, one by one, after a few that warm up."""
        taken = []
        for _ in range(_WARM_UP + times):
            began = time.perf_counter()
            self(photograph)
            taken.append(1e3 * (time.perf_counter() - began))
        return np.array(taken[_WARM_UP:])


def _tensorflow() -> Any:
    with needed():
        import tensorflow as tf

        tf.lite.TFLiteConverter, tf.lite.Interpreter  # noqa: B018  # loaded when first asked for
    return tf


@contextmanager
def quietly() -> Iterator[None]:
    """What TensorFlow's libraries write to stderr of themselves goes nowhere; errors are raised all the same."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what they write later
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
