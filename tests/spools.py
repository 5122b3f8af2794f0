"""Photographs as a spool, of which only the paths matter."""

from __future__ import annotations

import pyarrow as pa

from verger.spool import Spool, spool


def spool_of(*paths: str) -> Spool:
    """A spool with a column ``path``.

    Parameters
    ----------
    *paths : str
        Sorted.
    """
    table = pa.table({"path": pa.array(paths, pa.string())})
    return spool(table.schema, [table])
