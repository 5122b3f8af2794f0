"""Verger's weights in Keras' own MobileNetV2, for the measurements of others' ways to compute features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def keras_network(tensors: Mapping[str, np.ndarray], alpha: float | None, size: int) -> Any:
    """MobileNetV2 of Keras, without its classifier and with average pooling.

    Parameters
    ----------
    tensors : mapping of str to array
        By canonical name, ``layer/weight``, those of a layer in Keras' order.
    alpha : float, optional
        Width multiplier; default 1.
    size : int
        Edge of the square input, pixels.

    Returns
    -------
    keras.Model
        With these weights.
    """
    from keras.applications.mobilenet_v2 import MobileNetV2

    model = MobileNetV2(input_shape=(size, size, 3), alpha=alpha or 1.0, include_top=False, weights=None, pooling="avg")
    for layer in model.layers:
        if layer.weights:
            layer.set_weights([tensor for name, tensor in tensors.items() if name.rpartition("/")[0] == layer.name])
    return model
