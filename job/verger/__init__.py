"""Verger: fruit photographs to CNN features to principal components, on Spark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load", "load_features", "scan"]

if TYPE_CHECKING:
    from verger.tables.reader import load, load_features, scan


def __getattr__(name: str) -> Any:
    """Import the readers when they are first used: `import verger` alone stays instant."""
    if name in ("load", "load_features", "scan"):
        from verger.tables import reader

        return getattr(reader, name)
    raise AttributeError(f"module 'verger' has no attribute {name!r}")
