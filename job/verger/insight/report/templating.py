"""The templates of the page and of the charts."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from importlib import resources
from typing import TYPE_CHECKING

from verger.insight.names import shorten
from verger.text import plain
from verger.units import eur_text

if TYPE_CHECKING:
    import jinja2

PACKAGE = "verger.insight.report"
PATH_COLUMNS = 120
"""Columns of text of a path."""


def significant(value: float) -> str:
    """A number with three significant digits, trailing zeros included: 6.50, 0.0120, 1,234.

    Parameters
    ----------
    value : float
        Not negative.
    """
    decimals = 2 - math.floor(math.log10(value)) if value > 0 else 2
    return f"{value:,.{min(max(decimals, 0), 6)}f}"


FILTERS: dict[str, Callable[..., object]] = {
    "n": lambda value: f"{value:,}",
    "pct": lambda value: f"{value:.1%}",
    "eur": eur_text,
    "sig": significant,
    "pystring": repr,
    "cut": lambda name: shorten(name, PATH_COLUMNS),
    "wrap": lambda text, columns: textwrap.wrap(text.unescape() if hasattr(text, "unescape") else text, columns),
}
"""Of the templates, beside Jinja's own."""


def read(name: str) -> str:
    """The text of a file in ``templates/``.

    Parameters
    ----------
    name : str
        Of the file.
    """
    return (resources.files(PACKAGE) / "templates" / name).read_text(encoding="utf-8")


def template(name: str) -> jinja2.Template:
    """A template that escapes values and replaces their control characters.

    Parameters
    ----------
    name : str
        Of a file in ``templates/``.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(PACKAGE, "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        # Markup is a subclass of str, and stays as it is.
        finalize=lambda value: plain(value) if type(value) is str else value,
    )
    environment.filters |= FILTERS
    return environment.get_template(name)
