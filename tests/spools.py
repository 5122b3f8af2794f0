"""Photographs as a spool, of which only paths and versions matter."""

from __future__ import annotations

import pyarrow as pa

from verger.spool import Spool, spool


def spool_of(*paths: str, version: str = "1") -> Spool:
    """A spool with the columns ``path`` and ``version``.

    Parameters
    ----------
    *paths : str
        Sorted.
    version : str
        Of all of them.
    """
    columns = {"path": pa.array(paths, pa.string()), "version": pa.array([version] * len(paths), pa.string())}
    table = pa.table(columns)
    return spool(table.schema, [table])
