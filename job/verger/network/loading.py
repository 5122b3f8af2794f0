"""A network that workers load before they are given photographs, while the driver prepares the first wave."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from verger.network.accumulators import SetParam
from verger.network.backbones import Network
from verger.network.frozen import Frozen
from verger.network.worker import built, worker_name

if TYPE_CHECKING:
    from pyspark import Broadcast, SparkContext
    from pyspark.accumulators import Accumulator


class NetworkLoading:
    """A network that is broadcast, and loaded by as many workers as there are cores.

    A worker imports TensorFlow, builds the network and calls it once, which optimizes its graph. It would have to do so
    for its first photographs anyway. A worker that has done it ends another such task at once, so many tasks on the
    first executor of a cluster keep nothing waiting.

    Whatever goes wrong is left to the tasks that compute: these say so.

    Parameters
    ----------
    context : pyspark.SparkContext
        Its default parallelism is taken as the number of cores.
    network : Network
        What is loaded.
    batch_size : int
        Photographs of a call.

    Attributes
    ----------
    frozen : Broadcast of Frozen
        The network, for the tasks that compute.
    loaded : Accumulator of frozenset of str
        The workers that have loaded it, by `verger.network.worker.worker_name`.
    """

    def __init__(self, context: SparkContext, network: Network, batch_size: int) -> None:
        self.frozen: Broadcast[Frozen] = context.broadcast(network.freeze())
        self.loaded: Accumulator[frozenset[str]] = context.accumulator(frozenset(), SetParam())
        self._context = context
        shape = (batch_size, network.input_size, network.input_size, 3)
        self._loader = Loader(self.frozen, network.fingerprint, shape, self.loaded)
        threading.Thread(target=self._load, name="verger-network", daemon=True).start()

    def _load(self) -> None:
        with suppress(Exception):
            self._context.setJobDescription("load the network")  # in Spark's UI
            workers = self._context.defaultParallelism
            # Without SQL, which the JVM still prepares. The workers are those of the waves: see `session.SETTINGS`.
            self._context.parallelize(range(workers), workers).mapPartitions(self._loader).collect()


@dataclass(frozen=True)
class Loader:
    """The function of mapPartitions with which a worker loads a network.

    Attributes
    ----------
    frozen : Broadcast of Frozen
        The network, from the driver.
    fingerprint : str
        The network's.
    shape : tuple of int
        Of a batch of photographs, (b, s, s, 3).
    loaded : Accumulator of frozenset of str
        Tells the driver which workers have loaded it.
    """

    frozen: Broadcast[Frozen]
    fingerprint: str
    shape: tuple[int, int, int, int]
    loaded: Accumulator[frozenset[str]]

    def __call__(self, _: Iterable[int]) -> Iterator[bool]:
        """Load the network, unless this worker has it.

        Yields
        ------
        bool
            Whether the network can be called.
        """
        loaded = False
        with suppress(Exception):
            infer, new = built(self.fingerprint, self.frozen)
            if new:
                infer(np.zeros(self.shape, np.uint8))
            self.loaded.add(frozenset({worker_name()}))
            loaded = True
        yield loaded
