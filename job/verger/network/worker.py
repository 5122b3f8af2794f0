"""What runs in Spark's Python workers: read, decode, infer."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from verger.batches import batched
from verger.errors import Reason, Rejection
from verger.network.cpu import precision_warning
from verger.network.inference import Infer, build
from verger.photographs import images
from verger.prefetch import prefetch_map
from verger.storage.buckets import Bucket
from verger.storage.stores import Stores, stores_of
from verger.tables.schemas import FEATURES, REJECTED
from verger.tables.store import FeatureStore

if TYPE_CHECKING:
    from pyspark import Broadcast
    from pyspark.accumulators import Accumulator

    from verger.network.frozen import Frozen

Processed = tuple[int, tuple[tuple[Any, ...], ...]]
"""How many photographs were processed, and a row (schemas.REJECTED) for each of them that was rejected."""

# Threads that read while the network computes. A store that answers in 50 ms gives them 160 photographs/s.
_READERS = 8
# Larger files are decoded as they are read, since less memory holds their squares. Smaller ones wait for their turn:
# decoded in many threads, which take Python's lock from each other, each would take half a millisecond longer.
_SMALL_BYTES = 256 << 10


@dataclass(frozen=True)
class RejectsWriter:
    """Keeps the permanent rejections of a task, in the Python worker that found them.

    Attributes
    ----------
    output, fingerprint, decoders : str
        As those of the driver's `FeatureStore`.
    run_id, wave : str
        The run's id, and the name of the wave in it.
    buckets : tuple of Bucket
        How the driver reaches the bucket of the output.
    """

    output: str
    fingerprint: str
    decoders: str
    run_id: str
    wave: str
    buckets: tuple[Bucket, ...]

    def write(self, rows: list[tuple[Any, ...]]) -> None:
        """Write the rejections of the task that runs in this worker.

        Parameters
        ----------
        rows : list of tuple
            As `rejected_row` makes them.
        """
        from pyspark import TaskContext

        context = TaskContext.get()
        assert context is not None
        storage = stores_of(self.buckets).of(self.output)
        store = FeatureStore(storage, self.output, self.fingerprint, decoders=self.decoders)
        store.remember_rejected(self.run_id, self.wave, rejected_table(rows), context.partitionId())


@dataclass(frozen=True)
class Extractor:
    """The function of mapInArrow: rows of the inventory in, rows of features out, rejections into an accumulator.

    Attributes
    ----------
    frozen : Broadcast of Frozen
        The network, from the driver.
    fingerprint : str
        The network's. A worker that has already built this network does not build it again.
    dimension : int
        Features per photograph.
    input_size : int
        Edge of the network's square input, pixels.
    resample : {"bicubic", "bilinear"}
        Filter by which photographs are resized.
    fit : {"stretch", "crop", "pad"}
        How photographs become square.
    decode : {"full", "scaled"}
        Whether a large JPEG is decoded at a smaller size than its own.
    batch_size : int
        Photographs per call of the network. Each worker holds one such batch in memory, and two of what it reads ahead.
    processed : Accumulator of Processed
        Tells the driver what was done.
    buckets : tuple of Bucket
        How the driver reaches the buckets of the photographs. The worker finds its own credentials.
    precision : {"float32", "bfloat16"}
        Of the network's convolutions.
    warnings : Accumulator of frozenset of str, optional
        Tells the driver what this machine cannot serve.
    loaded : Accumulator of frozenset of str, optional
        Tells the driver which workers have loaded the network, by `worker_name`.
    rejects : RejectsWriter, optional
        Keeps the permanent rejections. The next run must know them as it knows the features: else it would take the
        rejected photographs alone for new ones, and be refused for them.
    """

    frozen: Broadcast[Frozen]
    fingerprint: str
    dimension: int
    input_size: int
    resample: str
    fit: str
    decode: str
    batch_size: int
    processed: Accumulator[Processed]
    buckets: tuple[Bucket, ...]
    precision: str = "float32"
    warnings: Accumulator[frozenset[str]] | None = None
    loaded: Accumulator[frozenset[str]] | None = None
    rejects: RejectsWriter | None = None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Extract the features of one partition.

        Parameters
        ----------
        batches : iterable of pyarrow.RecordBatch
            Columns of the inventory.

        Yields
        ------
        pyarrow.RecordBatch
            Schema FEATURES; rows of the photographs that were not rejected, in the order of the input.
        """
        if self.warnings is not None and (warning := precision_warning(self.precision)):
            self.warnings.add(frozenset({warning}))
        rows = (row for batch in batches for row in batch.to_pylist())
        read = prefetch_map(partial(self._read, stores_of(self.buckets)), rows, _READERS, 2 * self.batch_size)
        permanent: list[tuple[Any, ...]] = []
        for batch in batched(self._accepted(read, permanent), self.batch_size):
            features = self._infer(batch)
            if self.loaded is not None:
                self.loaded.add(frozenset({worker_name()}))
            yield features
        if permanent and self.rejects is not None:
            self.rejects.write(permanent)  # before the file of features appears, which is complete after this

    def _read(self, stores: Stores, row: dict[str, Any]) -> tuple[dict[str, Any], bytes | images.Decoded | Rejection]:
        """Read one photograph, and decode it if its file is large."""
        try:
            if row["size"] > images.MAX_BYTES:  # before it fills the memory
                raise Rejection(Reason.TOO_LARGE, f"{row['size']:,} bytes, the limit is {images.MAX_BYTES:,}")
            data = stores.of(row["path"]).read_version(row["path"], row["version"])
        except Rejection as rejection:
            return row, rejection
        row["sha256"] = hashlib.sha256(data).hexdigest()
        return row, data if len(data) <= _SMALL_BYTES else self._decode(data)

    def _decode(self, data: bytes) -> images.Decoded | Rejection:
        try:
            return images.decode(data, self.input_size, self.resample, self.fit, self.decode)
        except Rejection as rejection:
            return rejection

    def _accepted(
        self,
        read: Iterable[tuple[dict[str, Any], bytes | images.Decoded | Rejection]],
        permanent: list[tuple[Any, ...]],
    ) -> Iterator[tuple[dict[str, Any], images.Decoded]]:
        """The photographs that can be decoded; all are counted, and rejections reported to the driver."""
        for row, found in read:
            outcome = self._decode(found) if isinstance(found, bytes) else found
            if isinstance(outcome, Rejection):
                rejected = rejected_row(row, outcome)
                self.processed.add((1, (rejected,)))
                if outcome.reason.permanent:
                    permanent.append(rejected)
            else:
                self.processed.add((1, ()))
                yield row, outcome

    def _infer(self, batch: list[tuple[dict[str, Any], images.Decoded]]) -> pa.RecordBatch:
        # Padded to a full batch: the features of a photograph must not depend on how many others are in its batch.
        pixels = np.zeros((self.batch_size, self.input_size, self.input_size, 3), np.uint8)
        for position, (_, decoded) in enumerate(batch):
            pixels[position] = decoded.rgb
        infer, _ = built(self.fingerprint, self.frozen)
        features = infer(pixels)[: len(batch)]
        rows = [row for row, _ in batch]
        offsets = np.arange(0, (len(batch) + 1) * self.dimension, self.dimension, dtype=np.int32)
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("path", "label", "split", "version")}
        columns["sha256"] = [row["sha256"] for row in rows]
        columns["size"] = [row["size"] for row in rows]
        columns["width"] = [decoded.width for _, decoded in batch]
        columns["height"] = [decoded.height for _, decoded in batch]
        columns["features"] = pa.ListArray.from_arrays(offsets, np.ascontiguousarray(features).ravel())
        columns["extracted_at"] = [datetime.now(UTC)] * len(batch)
        return pa.record_batch(columns, schema=FEATURES)


# By fingerprint. Built once per Python worker process, which Spark uses for many tasks.
_networks: dict[str, Infer] = {}


def built(fingerprint: str, frozen: Broadcast[Frozen]) -> tuple[Infer, bool]:
    """The network of this worker process, built at the first call.

    Parameters
    ----------
    fingerprint : str
        The network's. A worker process keeps one network at a time.
    frozen : Broadcast of Frozen
        What it is built from; not read where it is built already.

    Returns
    -------
    tuple of (callable, bool)
        The network, and whether it was built by this call.
    """
    new = fingerprint not in _networks
    if new:
        _networks.clear()
        _networks[fingerprint] = build(frozen.value, threads=1)
    return _networks[fingerprint], new


def worker_name() -> str:
    """By which the driver distinguishes the worker processes of its executors.

    Returns
    -------
    str
        Host and process id. Two containers of one host have host names of their own.
    """
    return f"{socket.gethostname()}:{os.getpid()}"


def rejected_row(row: dict[str, Any], rejection: Rejection) -> tuple[Any, ...]:
    """A rejection as a row of schemas.REJECTED.

    Parameters
    ----------
    row : dict
        The photograph's row of the inventory.
    rejection : Rejection
        Why it was rejected. Its message is cut after 500 characters.

    Returns
    -------
    tuple
        The values, in the order of the schema's columns.
    """
    message = rejection.message[:500]
    return (row["path"], row["label"], row["version"], str(rejection.reason), message, datetime.now(UTC))


def rejected_table(rows: Iterable[tuple[Any, ...]]) -> pa.Table:
    """Rejections as a table with one row per path. A task that ran twice has reported its photographs twice.

    Parameters
    ----------
    rows : iterable of tuple
        Values in the order of the columns of schemas.REJECTED. Of several rows with one path the last is taken.

    Returns
    -------
    pyarrow.Table
        Schema REJECTED, sorted by path.
    """
    unique = {row[0]: row for row in rows}
    listed = [dict(zip(REJECTED.names, unique[path], strict=True)) for path in sorted(unique)]
    return pa.Table.from_pylist(listed, schema=REJECTED)
