"""Small files of the feature store: how many there may be, and which of them a compaction merges.

A compaction at the end of a run keeps three promises for the files of one fingerprint. Files that an earlier one has
replaced do not count: they are deleted a day later.

1. *Few files.* There are at most `MAX_SMALL_FILES` files below `SMALL_BYTES`, and so at most one file for each 64 MiB
   that are stored, and 256 more. A million rows of 1,280 features take some 2.9 GB: at most 45 files, and some 25 where
   compactions made them. A run leaves the count as it is or lowers it, as it copies at least as many files as the run
   wrote. A store with more than that catches up: each compaction copies its smallest files, `AUTOMATIC_BYTES` of them.
2. *A short wait.* It copies at most `AUTOMATIC_BYTES`, and as much as the run itself wrote, whatever is stored.
3. *Few copies.* The largest file that is merged has at most 1 / `GROWTH` of all bytes that are merged with it. So a row
   moves into a file that is four times as large, or at least about `SMALL_BYTES`, and is copied at most
   1 + log4(64 MiB / size of its first file) times: 4 times where a wave wrote files of 1 MiB, 7 times for 16 KiB.
   What is not merged has sizes that grow by a third from file to file: some 40 files at most.
"""

from __future__ import annotations

from collections.abc import Iterable

from verger.storage.base import Entry

# Size of the new files, about: they have between half of it and one and a half.
TARGET_BYTES = 128 << 20
# Smaller files are merged. Two of them fit into one new file, so that compactions come to an end.
SMALL_BYTES = TARGET_BYTES // 2
# More small files of one fingerprint than this make a compaction due. A run without a base run opens each of them: at
# 20 ms a file, as measured with a store on one machine, that is five seconds.
MAX_SMALL_FILES = 256
# What a compaction at the end of a run copies at most, beside as much as the run wrote. It has to be more than
# GROWTH * SMALL_BYTES, so that so many bytes of files may always be merged.
AUTOMATIC_BYTES = 512 << 20
# A row is copied only into a file that is so many times as large as the one it is in, or that is not small.
GROWTH = 4


def choose(entries: Iterable[Entry], most_bytes: int, small_bytes: int | None = None) -> list[Entry]:
    """Choose the files that a compaction at the end of a run merges: the smallest ones.

    Parameters
    ----------
    entries : iterable of Entry
        The files of one fingerprint that no compaction has replaced.
    most_bytes : int
        Of all that are chosen, at most; more than `GROWTH` times ``small_bytes``.
    small_bytes : int, optional
        Files below this size are small; default: `SMALL_BYTES`.

    Returns
    -------
    list of Entry
        From the smallest to the largest; empty where there are not too many small files, or none may be merged.
    """
    limit = SMALL_BYTES if small_bytes is None else small_bytes
    small = sorted((entry for entry in entries if entry.size < limit), key=lambda entry: (entry.size, entry.path))
    if len(small) <= MAX_SMALL_FILES:
        return []
    chosen, total = 0, 0
    for number, entry in enumerate(small, start=1):
        total += entry.size
        if total > most_bytes:
            break
        if total >= GROWTH * min(entry.size, limit):
            chosen = number
    return small[:chosen]


def count_outputs(size: int) -> int:
    """Count the files into which small files are merged.

    Parameters
    ----------
    size : int
        Bytes of all that are merged.

    Returns
    -------
    int
        At least 1. Where there are several, none of them is small, as they have equal shares.
    """
    return max(1, round(size / TARGET_BYTES))
