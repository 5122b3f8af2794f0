"""TensorFlow's operations on graphs, without the rest of TensorFlow. Only processes that compute features import it.

``import tensorflow`` loads Keras, tf.data, distribution strategies and two whole APIs. That takes most of the seconds
before a worker's first photograph, and none of it is needed to build and run a graph. So while the modules below are
imported, an empty package stands in the place of ``tensorflow``. Later imports of TensorFlow or Keras get all of it.

Import this module before threads that use TensorFlow are started: a thread that imports TensorFlow at the same time
would get the empty package.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

from verger.network.tensorflow_version import explain_import_errors

__all__ = [
    "ConfigProto",
    "Graph",
    "Session",
    "Tensor",
    "bias_add",
    "cast",
    "constant",
    "conv2d",
    "depthwise_conv2d",
    "float32",
    "identity",
    "max_pool2d",
    "placeholder",
    "reduce_mean",
    "relu",
    "relu6",
    "reshape",
    "reverse",
    "shape",
    "uint8",
]  # fmt: skip

_NAME = "tensorflow"


class _TensorFlowBeforeKeras(MetaPathFinder):
    """Loads all of TensorFlow when Keras is imported: Keras imports from it, and must not find only a part."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == "keras":
            sys.meta_path.remove(self)
            if _NAME not in sys.modules:
                sys.modules[fullname] = None  # type: ignore[assignment]  # else TensorFlow would import Keras while it is half loaded
                try:
                    importlib.import_module(_NAME)
                finally:
                    del sys.modules[fullname]


@contextmanager
def _empty_package() -> Iterator[None]:
    """Put an empty package in the place of TensorFlow, so that the import of a submodule does not load all of it."""
    spec = None if _NAME in sys.modules else find_spec(_NAME)
    if spec is None:  # already loaded; or not installed, then the import below raises
        yield
        return
    sys.modules[_NAME] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[_NAME]
        sys.meta_path.insert(0, _TensorFlowBeforeKeras())


with explain_import_errors(), _empty_package():
    from tensorflow.core.protobuf.config_pb2 import ConfigProto
    from tensorflow.python.client.session import Session
    from tensorflow.python.framework.constant_op import constant
    from tensorflow.python.framework.dtypes import float32, uint8
    from tensorflow.python.framework.ops import Graph
    from tensorflow.python.framework.tensor import Tensor
    from tensorflow.python.ops.array_ops import identity, placeholder, reshape, reverse, shape
    from tensorflow.python.ops.math_ops import cast, reduce_mean
    from tensorflow.python.ops.nn_impl import depthwise_conv2d_v2 as depthwise_conv2d
    from tensorflow.python.ops.nn_ops import bias_add, max_pool2d, relu, relu6
    from tensorflow.python.ops.nn_ops import conv2d_v2 as conv2d
