"""Frozen networks as TensorFlow graphs. Imported only where features are computed: to load TensorFlow takes seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from verger.network import operations as tf
from verger.network.frozen import Frozen
from verger.network.recipe import Convolution

_ACTIVATIONS = {"relu": tf.relu, "relu6": tf.relu6, "": tf.identity}


def build(frozen: Frozen, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Make a function of a network that has layers.

    It runs a session on a graph of constants. TensorFlow's optimizer merges each convolution with its bias, activation
    and addition into one oneDNN operation. A call does not go through the eager layers in Python.

    Parameters
    ----------
    frozen : Frozen
        The network.
    threads : int
        Threads within one operation. Operations run one after another.

    Returns
    -------
    callable
        Photographs, uint8 (b, s, s, 3), RGB, to features, float32 (b, d).
    """
    size = frozen.input_size
    with tf.Graph().as_default() as graph:
        photographs = tf.placeholder(tf.uint8, (None, size, size, 3))
        computed = features(frozen, photographs)
    config = tf.ConfigProto(
        intra_op_parallelism_threads=threads,
        inter_op_parallelism_threads=1,
        use_per_session_threads=True,
        device_count={"GPU": 0},
    )
    call: Callable[[np.ndarray], np.ndarray]
    call = tf.Session(graph=graph, config=config).make_callable(computed, [photographs])
    return call


def features(frozen: Frozen, photographs: tf.Tensor) -> tf.Tensor:
    """Add a network's operations to the current graph.

    Parameters
    ----------
    frozen : Frozen
        The network.
    photographs : tf.Tensor
        uint8 (b, s, s, 3), RGB, where s is the network's input size.

    Returns
    -------
    tf.Tensor
        Features, float32 (b, d).
    """
    values = tf.cast(_preprocessed(frozen, photographs), frozen.precision)
    return _pooled(frozen, tf.cast(_convolved(frozen, values), tf.float32))


def _preprocessed(frozen: Frozen, photographs: tf.Tensor) -> tf.Tensor:
    values = tf.cast(photographs, tf.float32)
    if frozen.preprocessing.colour == "bgr":
        values = tf.reverse(values, [3])
    subtract = frozen.preprocessing.subtract
    # One number for all colours gives the same features as three equal ones, and a call takes 5 to 7 % less: TensorFlow
    # would first copy the three to every pixel.
    same = len(set(subtract)) == 1
    return values / frozen.preprocessing.divide - tf.constant(subtract[0] if same else subtract)


def _convolved(frozen: Frozen, values: tf.Tensor) -> tf.Tensor:
    kept = values
    for operation in frozen.recipe:
        if operation == "keep":
            kept = values
        elif operation == "add":
            values = values + kept
        elif operation == "max_pool":
            values = tf.max_pool2d(values, 2, 2, "VALID")
        else:
            values = _layer(frozen, operation, values)
    return values


def _layer(frozen: Frozen, layer: Convolution, values: tf.Tensor) -> tf.Tensor:
    # For bfloat16 they are rounded here, once, not in every call.
    kernel, bias = (tf.constant(array, frozen.precision) for array in frozen.folded[layer.name])
    convolve: Any = tf.depthwise_conv2d if layer.depthwise else tf.conv2d
    values = convolve(values, kernel, [1, layer.stride, layer.stride, 1], "SAME")
    return _ACTIVATIONS[layer.activation](tf.bias_add(values, bias))


def _pooled(frozen: Frozen, values: tf.Tensor) -> tf.Tensor:
    if frozen.pooling == "avg":
        return tf.reduce_mean(values, [1, 2])
    return tf.reshape(values, [tf.shape(values)[0], -1])
