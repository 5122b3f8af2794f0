"""The process from which Spark forks the Python workers of an executor, where these compute features.

Spark's own daemon imports nothing of what workers need, so that each worker imports TensorFlow for itself. This one
imports it once, before the first fork: the workers of an executor start together, and their cores have one import to
do instead of one each. They share the memory of what is imported.

It is a daemon for ``spark.python.daemon.module``. On one machine the driver starts another one ahead of Spark: see
`verger.network.prestart`.

A process may be forked as long as it has one thread. TensorFlow starts none before it computes. PyArrow starts one of
jemalloc, which is prepared for forks.

After each task, PySpark has a worker collect its garbage. To look at all that TensorFlow consists of took a worker a
tenth of a second. So what is imported before the fork is left out of collections, for good.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

from verger.network import prestart

# Bytes that a worker may keep before it sends them. What it returns is a few bytes a batch. These tell the driver how
# far the worker is, so they are sent at once.
_BUFFER = "64"
_IMPORTED = ("pyspark.worker", "verger.network.graph", "verger.network.worker")


def main() -> None:
    """Import what workers need, then fork them, until Spark closes the standard input."""
    if sys.argv[1:2] == [prestart.LISTEN]:
        listening = prestart.Listening(int(sys.argv[2]))
        _import()
        if listening.take_over():
            _fork()
    elif not prestart.hand_over():
        _import()
        _fork()


def _import() -> None:
    with _quiet(), suppress(Exception):  # a worker imports what is missing, and says what is wrong
        for module in _IMPORTED:
            import_module(module)
        gc.collect()
        gc.freeze()


def _fork() -> None:
    from pyspark.daemon import manager

    os.environ["SPARK_BUFFER_SIZE"] = _BUFFER
    manager()


@contextmanager
def _quiet() -> Iterator[None]:
    """Let nothing reach the standard output, from which Spark reads the number of a port."""
    output = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(output, 1)
        os.close(output)


if __name__ == "__main__":
    main()
