"""Make what of the chart is made: values.schema.json, README.md, and the changes in Chart.yaml.

    python scripts/chart.py            writes them
    python scripts/chart.py --check    exits 1 where they are not what it would write

The schema is values.schema.yaml with RunConfig's own under ``run`` and the guard's regions, as draft-07 without a
``$ref``: a file that helm 3, helm 4 and editors read alike. README.md is README.md.tmpl with the tables of all values.
Artifact Hub shows the changes: what CHANGELOG.md says of the chart's newest version.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from verger.config import HEADINGS, RunConfig
from verger.residency import regions

CHART = Path(__file__).parents[1] / "charts" / "verger"
CHANGELOG = CHART.parents[1] / "CHANGELOG.md"
REGIONS = {
    "<eu>": sorted(regions.EU),
    "<eu and opt-ins>": [*sorted({*regions.EU, *regions.OPT_INS}), None],
}
Schema = dict[str, Any]


def values_schema() -> Schema:
    """The JSON Schema of values.yaml."""
    source = yaml.safe_load((CHART / "values.schema.yaml").read_text())
    definitions = source.pop("definitions")
    source["properties"]["run"] = run_schema()
    schema: Schema = _inlined(source, definitions)
    _require(schema)
    return schema


def _require(schema: Schema) -> None:
    """Require what must not be null, but of a run: helm takes what is null out of the values before it validates."""
    fields = schema["properties"]
    schema["required"] = [name for name, field in fields.items() if "null" not in field.get("type", ())]
    for name, field in fields.items():
        if "properties" in field and name != "run":
            _require(field)


def run_schema() -> Schema:
    """RunConfig's JSON Schema as a part of ours; nothing is required of a chart's defaults."""
    source = RunConfig.model_json_schema()
    definitions = source.pop("$defs", {})
    schema: Schema = _plain(_inlined(source, definitions))
    del schema["required"]
    schema["description"] = "Settings of the run, those of `verger run`; what is left out has Verger's own default."
    schema["properties"]["name"]["description"] += " Default: the release's name."
    return schema


def _inlined(node: Any, definitions: Schema) -> Any:
    """Put definitions in place of their names, under what stands beside the name, and regions in place of theirs."""
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in node]
    if isinstance(node, str):
        return REGIONS.get(node, node)
    if not isinstance(node, dict):
        return node
    found = dict(node)
    named = definitions[found.pop("$ref").rpartition("/")[2]] if "$ref" in found else {}
    return {key: _inlined(value, definitions) for key, value in {**named, **found}.items()}


def _plain(node: Any) -> Any:
    """Leave out what pydantic adds for others, and say "X or null" so that a validator's message stays short."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    choices = node.get("anyOf", [])
    if len(choices) == 2 and choices[1] == {"type": "null"}:
        either = {key: value for key, value in node.items() if key != "anyOf"} | choices[0]
        if "const" in either:
            either["enum"] = [either.pop("const")]
        if "enum" in either:
            either["enum"] = [*either["enum"], None]
        node = either | {"type": [either["type"], "null"]}
    kept = {}
    for key, value in node.items():
        if key == "properties":
            kept[key] = {name: _plain(field) for name, field in value.items()}
        elif key not in ("title", "group", "default"):
            kept[key] = _plain(value)
    return kept


def readme() -> str:
    """README.md: its template, with a table of values for each section."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    properties = values_schema()["properties"]
    single = {name: field for name, field in properties.items() if "properties" not in field}
    lines = ["### The release", "", *_table(_rows(single, defaults))]
    for name, field in properties.items():
        if "properties" in field and name != "run":
            about = [field["description"], ""] if "description" in field else []
            rows = _rows(field["properties"], defaults[name], f"{name}.")
            lines += ["", f"### {name}", "", *about, *_table(rows)]
    template = (CHART / "README.md.tmpl").read_text()
    return template.replace("{{values}}", "\n".join(lines)).replace("{{run}}\n", "\n".join(_settings()))


def _rows(fields: Schema, defaults: Schema, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    for name, field in fields.items():
        if "properties" in field:
            yield from _rows(field["properties"], defaults[name], f"{prefix}{name}.")
        else:
            yield f"`{prefix}{name}`", _shown(defaults[name]), field.get("description", "")


def _settings() -> Iterator[str]:
    """The settings of a run, by the groups of ``verger run --help``."""
    for group in HEADINGS:
        rows = []
        for name, field in RunConfig.model_fields.items():
            assert isinstance(field.json_schema_extra, dict)
            if field.json_schema_extra["group"] == group:
                default = "required" if field.is_required() else _shown(field.get_default())
                default = "the release's name" if name == "name" else default
                rows.append((f"`run.{name}`", default, field.description or ""))
        yield from (f"### {group}", "", *_table(rows), "")


def _shown(value: Any) -> str:
    return "" if value in (None, "") else f"`{json.dumps(value)}`"


def _table(rows: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    yield "| value | default | |"
    yield "| --- | --- | --- |"
    yield from ("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def chart_yaml() -> str:
    """Chart.yaml with what the changelog tells of the chart, as Artifact Hub wants it: a list, written as a string."""
    lines = []
    for kind, text in changes(CHANGELOG.read_text()):
        lines += [f"    - kind: {kind}", f"      description: {json.dumps(text, ensure_ascii=False)}"]
    head, name, _ = (CHART / "Chart.yaml").read_text().partition("  artifacthub.io/changes: |\n")
    return head + name + "\n".join(lines) + "\n"


def changes(changelog: str) -> Iterator[tuple[str, str]]:
    """What the newest version of a changelog says of the chart, by its kind: added, changed, fixed, ..."""
    newest = re.split(r"^## ", changelog, flags=re.MULTILINE)[1]
    for section in re.split(r"^### ", newest, flags=re.MULTILINE)[1:]:
        kind, _, listed = section.partition("\n")
        for entry in re.split(r"^- ", listed, flags=re.MULTILINE)[1:]:
            text = " ".join(entry.split())
            if text.startswith(("Chart: ", "`charts/verger`")):
                text = text.removeprefix("Chart: ")
                yield kind.strip().lower(), text[0].upper() + text[1:]


def main() -> int:
    """Write the files, or tell those that are out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file is out of date")
    check = parser.parse_args().check
    made = {
        CHART / "values.schema.json": json.dumps(values_schema(), indent=2) + "\n",
        CHART / "README.md": readme(),
        CHART / "Chart.yaml": chart_yaml(),
    }
    stale = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if check:
            print(f"{path.relative_to(CHART.parents[1])} is out of date: run `make chart`", file=sys.stderr)
        else:
            path.write_text(made[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
