"""Listings of photographs that are nowhere, and what settings select among them."""

from __future__ import annotations

from typing import Any

from verger.config import RunConfig
from verger.photographs.inventory import (
    Inventory,
    from_entries,
    select,
)
from verger.spool import Spool
from verger.storage.base import Entry

ROOT = "/data/fruits"


def listed(*below: str) -> Inventory:
    """The inventory of files with these names."""
    return from_entries((Entry(f"{ROOT}/{name}", 100 + at, f"v{at}") for at, name in enumerate(below)), ROOT)


def rows(*below: str) -> dict[str, tuple[str | None, str | None]]:
    """Label and split of photographs with these names."""
    return {
        row["path"].removeprefix(ROOT + "/"): (row["label"], row["split"])
        for row in listed(*below).photographs.to_table().to_pylist()
    }


def config(**settings: Any) -> RunConfig:
    return RunConfig(input=ROOT, output="/data/out", **settings)


def chosen(photographs: Spool, **settings: Any) -> list[str]:
    """The photographs of a selection, below the root."""
    paths = select(photographs, config(**settings), ROOT).to_table()["path"].to_pylist()
    return [path.removeprefix(ROOT + "/") for path in paths]


def orchard(**labels: int) -> Spool:
    """So many photographs of each label."""
    return listed(*(f"{label}/{at}.jpg" for label, count in labels.items() for at in range(count))).photographs
