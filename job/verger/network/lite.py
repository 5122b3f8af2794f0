"""Networks as TensorFlow Lite models, for phones. TensorFlow is imported when the first model is made."""

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
from verger.network.tensorflow_version import explain_import_errors

INPUT = "photograph"
"""Name of the input: uint8 (1, s, s, 3), RGB."""
OUTPUT = "probabilities"
"""Name of the output: float32 (1, classes)."""

_WARM_UP = 5


def convert(
    frozen: Frozen, weights: npt.ArrayLike, bias: npt.ArrayLike, int8: bool = False, logits: bool = False
) -> bytes:
    """Convert a network with a dense layer behind it: from photographs to probabilities.

    Parameters
    ----------
    frozen : Frozen
        The network. It is computed in float32, whatever its precision.
    weights : array_like, shape (d, classes)
        Of the dense layer, for d features; float32 in the model.
    bias : array_like, shape (classes,)
        Of the dense layer; float32 in the model.
    int8 : bool
        Whether to quantize weights to 8 bits ("dynamic range": activations are quantized when they are computed).
    logits : bool
        Whether to leave out the softmax.

    Returns
    -------
    bytes
        The model. It has one signature, ``serving_default``, from `INPUT` to `OUTPUT`.

    Raises
    ------
    UsageError
        TensorFlow is not installed, or cannot be loaded.
    """
    with suppress_stderr():
        tf = _tensorflow()
        from verger.network import graph

        kernel, offset = (tf.constant(array, tf.float32) for array in (weights, bias))

        def classify(photograph: Any) -> dict[str, Any]:
            features = graph.features(replace(frozen, precision="float32"), photograph)
            scores = tf.matmul(features, kernel) + offset
            return {OUTPUT: scores if logits else tf.nn.softmax(scores)}

        size = frozen.input_size
        module = tf.Module()
        module.classify = tf.function(classify, input_signature=[tf.TensorSpec((1, size, size, 3), tf.uint8, INPUT)])
        made = [module.classify.get_concrete_function()]
        converter = tf.lite.TFLiteConverter.from_concrete_functions(made, module)
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if int8 else []
        return bytes(converter.convert())


class Lite:
    """A TensorFlow Lite model, ready to run.

    Parameters
    ----------
    model : bytes
        A model that `convert` has made.
    threads : int
        Threads of the interpreter.

    Raises
    ------
    UsageError
        TensorFlow is not installed, or cannot be loaded.
    """

    def __init__(self, model: bytes, threads: int = 1) -> None:
        with suppress_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the interpreter's future move to another package
            interpreter = _tensorflow().lite.Interpreter(model_content=model, num_threads=threads)
            interpreter.allocate_tensors()
            self._run = interpreter.get_signature_runner()

    def __call__(self, photograph: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Compute the output for one photograph.

        Parameters
        ----------
        photograph : uint8 array (s, s, 3)
            RGB.

        Returns
        -------
        float32 array (classes,)
            Probabilities, or logits where the model was made without softmax.
        """
        return np.asarray(self._run(**{INPUT: photograph[None]})[OUTPUT][0])

    def milliseconds(self, photograph: npt.NDArray[np.uint8], times: int) -> npt.NDArray[np.float64]:
        """Measure how long calls take, after five calls to warm up.

        Parameters
        ----------
        photograph : uint8 array (s, s, 3)
            Input of every call.
        times : int
            How many calls to measure.

        Returns
        -------
        float64 array (times,)
            Milliseconds of each call.
        """
        milliseconds = []
        for _ in range(_WARM_UP + times):
            began = time.perf_counter()
            self(photograph)
            milliseconds.append(1e3 * (time.perf_counter() - began))
        return np.array(milliseconds[_WARM_UP:])


def _tensorflow() -> Any:
    with explain_import_errors():
        import tensorflow as tf

        tf.lite.TFLiteConverter, tf.lite.Interpreter  # noqa: B018  # loaded at the first access
    return tf


@contextmanager
def suppress_stderr() -> Iterator[None]:
    """Discard what TensorFlow's libraries write to stderr; exceptions are raised as usual.

    It replaces the file descriptor of the whole process, as the libraries do not write through Python.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for later messages
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
