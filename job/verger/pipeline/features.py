"""The stored features of a run's photographs, as Spark reads them: of all, or of those that have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from verger.photographs.difference import LOCATION
from verger.pipeline.comparison import locate
from verger.pipeline.values import Job, Session, Standing
from verger.tables.store import retry_if_vanished

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

T = TypeVar("T")

Which = Literal["all", "added", "removed"]
"""All photographs of the run; those that the base run did not have; or those that only the base run had."""


def on_features(job: Job, session: Session, standing: Standing, which: Which, stage: Callable[[DataFrame], T]) -> T:
    """Call a function with features; once more where a compaction took away a file that it was reading.

    Parameters
    ----------
    job : Job
        Its setting ``local_dir`` says where temporary files are.
    session : Session
        The Spark that reads the features.
    standing : Standing
        The photographs, with the places of their features.
    which : {"all", "added", "removed"}
        As `Which` says.
    stage : callable
        Takes a DataFrame with the columns ``path, label, split, version, features``.

    Returns
    -------
    object
        What ``stage`` returns.

    Raises
    ------
    StoreError
        Files vanish while they are read.
    """
    store, places = standing.extracted.compared.store, [standing]

    def attempt() -> T:
        current = places.pop() if places else locate(job, standing.accepted)
        wanted = pa.Table.from_batches(_rows(current, which), _WANTED)
        files = pc.binary_join_element_wise(pa.scalar(store.folder), wanted["file"], "/")
        return stage(store.features(session.spark, wanted.set_column(4, "file", files)))

    return retry_if_vanished(attempt, store.folder)


_WANTED = pa.schema([(name, pa.string()) for name in ("path", "label", "split", "version", "file")])


def _rows(standing: Standing, which: Which) -> Iterator[pa.RecordBatch]:
    if which == "removed":
        for batch in standing.changes.removed.batches():
            nothing = pa.nulls(batch.num_rows, pa.string())
            named = {name: batch[name] if name in LOCATION.names else nothing for name in _WANTED.names}
            yield pa.record_batch(named, schema=_WANTED)
        return
    for batch in standing.photographs.batches():
        rows = batch.select(_WANTED.names)
        yield rows.filter(pc.invert(batch["kept"])) if which == "added" else rows


def count_added(standing: Standing) -> int:
    """Count the photographs that the base run did not have in their present version.

    Parameters
    ----------
    standing : Standing
        The photographs.
    """
    return sum(batch.num_rows - (pc.sum(batch["kept"]).as_py() or 0) for batch in standing.photographs.batches())
