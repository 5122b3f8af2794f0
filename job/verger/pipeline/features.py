"""The stored features of a run's photographs, as Spark reads them: of all, or of those that have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from verger.pipeline.comparison import locate
from verger.pipeline.values import Job, Session, Standing
from verger.storage.uri import join
from verger.tables.feature_rows import FeatureRows
from verger.tables.file_errors import retry_if_vanished
from verger.tables.selection import select_rows

T = TypeVar("T")

Which = Literal["all", "added", "removed"]
"""All photographs of the run; those that the base run did not have; or those that only the base run had."""


def on_features(job: Job, session: Session, standing: Standing, which: Which, stage: Callable[[FeatureRows], T]) -> T:
    """Call a function with features; once more where a compaction took away a file that it was reading.

    Parameters
    ----------
    job : Job
        Its stores say how the files are reached, its setting ``local_dir`` where temporary files are.
    session : Session
        The Spark that reads the features.
    standing : Standing
        The photographs, with the places of their features.
    which : {"all", "added", "removed"}
        As `Which` says.
    stage : callable
        Takes the rows, of which nothing is read yet.

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
        files = current.files.items()
        rows_of, sizes = ({name: getattr(file, what) for name, file in files} for what in ("rows", "size"))
        selection = select_rows(_rows(current, which), rows_of, sizes, join(store.folder, ""))
        return stage(FeatureRows(session.spark, selection, job.stores.buckets))

    return retry_if_vanished(attempt, store.folder)


def _rows(standing: Standing, which: Which) -> Iterator[pa.RecordBatch]:
    if which == "removed":
        yield from standing.changes.removed.batches()
        return
    for batch in standing.photographs.batches():
        yield batch.filter(pc.invert(batch["kept"])) if which == "added" else batch


def count_added(standing: Standing) -> int:
    """Count the photographs that the base run did not have in their present version.

    Parameters
    ----------
    standing : Standing
        The photographs.
    """
    return sum(batch.num_rows - (pc.sum(batch["kept"]).as_py() or 0) for batch in standing.photographs.batches())
