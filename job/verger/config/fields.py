"""The description of one setting, and types that several settings share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

HEADINGS = (
    "Where",
    "Store",
    "Residency",
    "Which photographs",
    "Network",
    "Components",
    "Insight",
    "Execution",
    "Output",
)
"""The headings of `--help`, in the order in which they are shown."""

# ISO 3166's codes of the members of the European Union.
_EU = "AT|BE|BG|CY|CZ|DE|DK|EE|ES|FI|FR|GR|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK"
BASIS = r"\S.{6,}\S"
"""Pattern of a legal basis: at least 8 characters, without spaces at the ends."""

_NODE_REGION = rf"^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?:({_EU}):{BASIS}$"


def setting(heading: str, description: str, default: Any = ..., **constraints: Any) -> Any:
    """Describe one setting.

    Parameters
    ----------
    heading : str
        The heading in ``--help``; one of `HEADINGS`.
    description : str
        One sentence, for ``--help``, the JSON Schema and the chart's README.
    default : object, optional
        A setting without a default is required.
    **constraints
        Arguments of `pydantic.Field`.

    Returns
    -------
    pydantic.fields.FieldInfo
        The default of a field of a settings class; its JSON Schema has the heading as ``group``.
    """
    assert heading in HEADINGS
    return Field(default, description=description, json_schema_extra={"group": heading}, **constraints)


def split_text(value: object, separator: str) -> object:
    """Split a text, such as a variable's value that holds several values of a setting.

    Parameters
    ----------
    value : object
        What was given for the setting.
    separator : str
        What stands between two values.

    Returns
    -------
    object
        A tuple of what is not empty, without spaces around it; what is no text as it is.
    """
    return tuple(filter(None, map(str.strip, value.split(separator)))) if isinstance(value, str) else value


def _node_region(value: str) -> str:
    if not re.fullmatch(_NODE_REGION, value):
        raise ValueError(
            "must be REGION:COUNTRY:BASIS with the two letters of a country of the EU and a legal basis of at least 8 "
            "characters, such as fr-par:FR:DPA with Scaleway of 2026-03-01"
        )
    return value


# `--help` shows the title as the name of the items of a list.
Glob = Annotated[str, Field(title="GLOB")]
NodeRegion = Annotated[
    str, Field(title="REGION:COUNTRY:BASIS", json_schema_extra={"pattern": _NODE_REGION}), AfterValidator(_node_region)
]
