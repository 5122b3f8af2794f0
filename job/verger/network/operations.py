"""TensorFlow's operations on graphs, without the rest of TensorFlow: imported in the processes that compute features.

``import tensorflow`` loads Keras, data sets, strategies of distribution and all of two APIs: most of the seconds that a
worker takes before its first photograph. None of it is needed to build a graph and to run it. A package that holds
nothing stands in its place while the modules below are loaded; whoever imports TensorFlow or Keras later gets all of
it. Another thread that imports it meanwhile gets the package that holds nothing: a process imports this module before
it starts threads that use TensorFlow.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

from verger.network.installed import needed

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


class _Whole(MetaPathFinder):
    """Keras begins in the middle of TensorFlow, which must be whole by then."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname == "keras":
            sys.meta_path.remove(self)
            if _NAME not in sys.modules:
                sys.modules[fullname] = None  # type: ignore[assignment]  # else TensorFlow loads it, before it is whole
                try:
                    importlib.import_module(_NAME)
                finally:
                    del sys.modules[fullname]


@contextmanager
def _bare() -> Iterator[None]:
    spec = None if _NAME in sys.modules else find_spec(_NAME)
    if spec is None:  # loaded before, or not installed: which the import says best
        yield
        return
    sys.modules[_NAME] = module_from_spec(spec)
    try:
        yield
    finally:
        del sys.modules[_NAME]
        sys.meta_path.insert(0, _Whole())


with needed(), _bare():
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
