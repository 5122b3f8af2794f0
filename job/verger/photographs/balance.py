"""A balanced sample: as many photographs of each label as of the others, as far as they have so many."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from verger.photographs.labels import paths_below
from verger.spool import Spool, count

# Candidates that are gathered before those that cannot be taken are dropped.
_MIN_CANDIDATES = 1 << 18

_CANDIDATE = np.dtype([("label", np.int64), ("hash", np.uint64), ("row", np.int64)])


def balanced_rows(photographs: Spool, number: int, root: str) -> NDArray[np.int64]:
    """Draw photographs of all labels evenly.

    Every photograph has a rank within its label, by the hash of its path. The lowest ranks are taken, of one rank the
    lowest hashes. So all labels are equally represented, as far as they have enough photographs; and the same
    photographs are drawn on every machine.

    The rows are read twice. Memory is that of ``number`` and the number of labels, not of the photographs: from the
    counts of the labels follows up to which rank all are taken, so that each label has a bounded number of candidates.

    Parameters
    ----------
    photographs : Spool
        With the columns ``path`` and ``label``.
    number : int
        Photographs that are drawn, fewer than there are.
    root : str
        Canonical folder of the input. Paths below it are hashed.

    Returns
    -------
    ndarray of int64, shape (number,)
        Row numbers, ascending.
    """
    counts = count(photographs, "label")
    most = _last_rank(np.array(list(counts.values())), number) + 1
    labels = pa.array(list(counts), pa.string())
    limit = max(_MIN_CANDIDATES, 2 * (number + len(counts)))
    found: list[NDArray[np.void]] = []
    start = 0
    for batch in photographs.batches(["path", "label"]):
        more = np.empty(batch.num_rows, _CANDIDATE)
        more["label"] = pc.index_in(batch["label"], labels).to_numpy()
        more["hash"] = [_hash(path) for path in paths_below(batch["path"], root).to_pylist()]
        more["row"] = np.arange(start, start + batch.num_rows)
        start += batch.num_rows
        found.append(more)
        if sum(map(len, found)) > limit:
            found = [_ranked(np.concatenate(found), most)[0]]
    candidates, ranks = _ranked(np.concatenate(found), most)
    first = np.lexsort((candidates["row"], candidates["hash"], ranks))[:number]
    rows: NDArray[np.int64] = np.sort(candidates["row"][first])
    return rows


def _last_rank(counts: NDArray[np.int64], number: int) -> int:
    """The rank, from 0 on, of which not all photographs are drawn; of all ranks below it all are."""
    low, high = 0, int(counts.max())
    while low < high:  # bisection for the largest rank up to which there is room for all
        middle = (low + high + 1) // 2
        if np.minimum(counts, middle).sum() <= number:
            low = middle
        else:
            high = middle - 1
    return low


def _ranked(candidates: NDArray[np.void], most: int) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """Of each label the candidates with the lowest hashes, and their ranks."""
    candidates = candidates[np.lexsort((candidates["row"], candidates["hash"], candidates["label"]))]
    first = np.flatnonzero(np.diff(candidates["label"], prepend=-1))
    lengths = np.diff(first, append=len(candidates))
    ranks = np.arange(len(candidates)) - np.repeat(first, lengths)
    return candidates[ranks < most], ranks[ranks < most]


def _hash(path: str) -> int:
    return int.from_bytes(hashlib.blake2b(path.encode(), digest_size=8).digest(), "big")
