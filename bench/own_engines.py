"""One process of `network_alone.py`, for the engines that TensorFlow has: prints what `engine_loop.measure` prints.

    python bench/own_engines.py ENGINE WEIGHTS PIXELS.npy SECONDS FEATURES.npy

- ``keras``: `model.predict`, three batches of 32 a call, as it comes and as Spark hands rows to the notebook job;
- ``frozen``: the same network, its variables made constants;
- ``folded``: Verger's, batch normalisation folded into the convolutions; ``bfloat16``: the same with bfloat16;
- ``litert``: the folded network as a TensorFlow Lite model, computed by XNNPACK.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import numpy as np
from engine_loop import BATCH, KERAS_CALL, Infer, measure
from inputs import network_of
from keras_network import keras_network

from verger.cores import use_one_thread
from verger.network.backbones import Network
from verger.network.inference import build
from verger.network.lite import suppress_stderr


def keras_predict(network: Network) -> Infer:
    """`model.predict` on preprocessed photographs."""
    model = keras_network(network.weights.tensors, network.alpha, network.input_size)
    from keras.applications.mobilenet_v2 import preprocess_input

    return lambda pixels: model.predict(preprocess_input(pixels.astype(np.float32)), verbose=0)


def frozen(network: Network) -> Infer:
    """A graph of constants, made by TensorFlow from the network of Keras."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = keras_network(network.weights.tensors, network.alpha, network.input_size)

    @tf.function(input_signature=[tf.TensorSpec((None, network.input_size, network.input_size, 3), tf.uint8)])
    def call(pixels: Any) -> Any:
        return model(tf.cast(pixels, tf.float32) / 127.5 - 1.0, training=False)

    graph = convert_variables_to_constants_v2(call.get_concrete_function())
    return lambda pixels: np.asarray(graph(tf.constant(pixels))[0])


def litert(network: Network) -> Infer:
    """TensorFlow Lite, which computes by XNNPACK."""
    with suppress_stderr():
        import tensorflow as tf

        from verger.network import graph

        def call(pixels: Any) -> dict[str, Any]:
            return {"features": graph.features(network.freeze(), pixels)}

        shape = (BATCH, network.input_size, network.input_size, 3)
        module = tf.Module()
        module.call = tf.function(call, input_signature=[tf.TensorSpec(shape, tf.uint8, "pixels")])
        concrete = [module.call.get_concrete_function()]
        model = tf.lite.TFLiteConverter.from_concrete_functions(concrete, module).convert()
        interpreter = tf.lite.Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
        run = interpreter.get_signature_runner()
    return lambda pixels: run(pixels=pixels)["features"]


def engine(name: str, weights: str) -> Infer:
    """The function of an engine."""
    network = network_of(weights)
    if name == "keras":
        return keras_predict(network)
    if name == "frozen":
        return frozen(network)
    if name == "litert":
        return litert(network)
    precision = "bfloat16" if name == "bfloat16" else "float32"
    return build(replace(network.freeze(), precision=precision), threads=1)


def main() -> None:
    """Measure one engine in this process."""
    name, weights, pixels, seconds, features = sys.argv[1:]
    use_one_thread()
    infer = engine(name, weights)
    measure(infer, np.load(pixels), float(seconds), features, KERAS_CALL if name == "keras" else BATCH)


if __name__ == "__main__":
    main()
