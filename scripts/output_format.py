"""Make the parts of docs/output-format.md that describe records of runs and pointers, of the models in verger.tables.

    python scripts/output_format.py            writes them
    python scripts/output_format.py --check    exits 1 where they are not what it would write

They stand between comments that name them.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from verger.tables.manifest import Failure, Manifest, RecordHeader
from verger.tables.pointers import Pointer

PAGE = Path(__file__).parents[1] / "docs" / "output-format.md"
PLURAL = {"string": "strings", "integer": "integers", "number": "numbers", "integer or number": "numbers"}

Schema = dict[str, Any]
Row = tuple[str, str, str]


class Keys:
    """The keys of a model.

    Parameters
    ----------
    schema : dict
        JSON Schema of the model, with what it refers to in ``$defs``.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def top(self) -> Iterator[Row]:
        """The keys of the document itself."""
        for name, field in self.schema["properties"].items():
            yield self._row(name, field, name in self.schema.get("required", ()))

    def below(self, name: str) -> list[Row]:
        """The keys of one of its objects, those of objects in it included."""
        return list(self._within(self.schema["properties"][name], ""))

    def _within(self, field: Schema, prefix: str) -> Iterator[Row]:
        """The keys of all objects that a field may be or hold."""
        if "$ref" in field:
            part = self._part(field)
            for name, inner in part["properties"].items():
                yield self._row(prefix + name, inner, name in part.get("required", ()))
                yield from self._within(inner, f"{prefix}{name}.")
        for choice in field.get("anyOf", []) + field.get("oneOf", []):
            yield from self._within(choice, prefix)
        if "items" in field:
            yield from self._within(field["items"], f"{prefix.removesuffix('.')}[].")
        if isinstance(field.get("additionalProperties"), dict):
            yield from self._within(field["additionalProperties"], f"{prefix}*.")

    def _row(self, name: str, field: Schema, required: bool) -> Row:
        kind = _kind(field)
        if not required:  # an object is null nowhere: it is absent
            kind = kind.replace("object or null", "object, may be absent")
        # Pydantic leaves out what the object itself says.
        said = field.get("description") or self._part(field)["description"]
        return f"`{name}`", kind, said

    def _part(self, field: Schema) -> Schema:
        """The object that a field refers to."""
        part: Schema = self.schema["$defs"][field["$ref"].rpartition("/")[2]]
        return part


def _kind(field: Schema) -> str:
    """The JSON type of a field."""
    choices = field.get("anyOf", field.get("oneOf"))
    if choices is not None:
        kinds = list(dict.fromkeys(_kind(choice) for choice in choices))
        return " or ".join(kinds)
    if "$ref" in field:
        return "object"
    kind = field["type"]
    if isinstance(kind, list):  # a number is null only where it is not finite
        return str(kind[0])
    if kind == "array":
        return f"list of {PLURAL.get(_kind(field['items']), 'objects')}"
    if kind == "object" and isinstance(field.get("additionalProperties"), dict):
        return f"object of {PLURAL.get(_kind(field['additionalProperties']), 'objects')}"
    return str(kind)


def _table(rows: Iterable[Row]) -> Iterator[str]:
    yield "| key | type | |"
    yield "| --- | --- | --- |"
    for row in rows:
        cells = (re.sub(r"\bdocs/(\w+\.md)", r"[\1](\1)", cell.replace("|", "\\|")) for cell in row)
        yield "| " + " | ".join(cells) + " |"


def manifest() -> str:
    """The tables of manifest.json: its keys, and those of each of its objects."""
    keys = Keys(Manifest.model_json_schema())
    lines = list(_table(keys.top()))
    for name in keys.schema["properties"]:
        if rows := keys.below(name):
            lines += ["", f"### `{name}`", "", *_table(rows)]
    return "\n".join(lines)


def failure() -> str:
    """The table of failure.json: the keys that it has besides those with which a manifest begins."""
    rows = zip(Failure.model_fields, Keys(Failure.model_json_schema()).top(), strict=True)
    return "\n".join(_table(row for name, row in rows if name not in RecordHeader.model_fields))


def pointer() -> str:
    """The tables of names/<name>.json: its keys, and those of what it tells of a failed run."""
    keys = Keys(Pointer.model_json_schema())
    return "\n".join([*_table(keys.top()), "", "### `failed`", "", *_table(keys.below("failed"))])


def made(page: str) -> str:
    """The page with what it should have between its comments.

    Parameters
    ----------
    page : str
        Markdown.

    Returns
    -------
    str
        The same, where nothing was out of date.
    """
    for name, text in (("manifest", manifest()), ("failure", failure()), ("pointer", pointer())):
        begin, end = f"<!-- {name}: made by scripts/output_format.py -->\n", f"\n<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        if not ended:
            sys.exit(f"{PAGE.name} has no section {name}")
        page = before + begin + text + end + after
    return page


def main() -> int:
    """Write the page, or say that it is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page is out of date")
    check, page = parser.parse_args().check, PAGE.read_text()
    wanted = made(page)
    if wanted == page:
        return 0
    if check:
        print(f"docs/{PAGE.name} is out of date: run `python scripts/output_format.py`", file=sys.stderr)
        return 1
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
