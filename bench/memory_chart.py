"""A chart of memory over time: a row for each kind of run, a panel for each number of photographs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment

PANEL, GAP = (340, 150), (64, 62)  # width and height in the units of the SVG
TOP = 54
COLOURS = {"driver": "#2a6f4e", "jvm": "#b4591f", "workers": "#6b7fb3"}
NAMES = {"driver": "driver, Python", "jvm": "driver, JVM", "workers": "Python workers, together"}
TITLES = {
    "first": "First run over stored features",
    "new": "2,000 new photographs, --pca auto",
    "photographs": "All photographs decoded and computed",
}

TEMPLATE = Environment(trim_blocks=True, lstrip_blocks=True, autoescape=True).from_string("""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {{ width }} {{ height }}" font-family="sans-serif" font-size="12"
     role="img" aria-label="Memory of each run's processes as time goes by">
  <rect width="100%" height="100%" fill="#ffffff"/>
{% for name, colour in colours.items() %}
  <rect x="{{ 64 + 200 * loop.index0 }}" y="16" width="14" height="4" fill="{{ colour }}"/>
  <text x="{{ 84 + 200 * loop.index0 }}" y="22" fill="#333333">{{ names[name] }}</text>
{% endfor %}
{% for panel in panels %}
  <g transform="translate({{ panel.x }} {{ panel.y }})">
    <text y="-10" fill="#111111" font-weight="bold">{{ panel.title }}</text>
{% for tick in panel.memory %}
    <line x2="{{ panel_width }}" y1="{{ tick.at }}" y2="{{ tick.at }}" stroke="#dddddd"/>
    <text x="-6" y="{{ tick.at + 4 }}" text-anchor="end" fill="#555555">{{ tick.text }}</text>
{% endfor %}
{% for tick in panel.time %}
    <text x="{{ tick.at }}" y="{{ panel_height + 16 }}" text-anchor="middle" fill="#555555">{{ tick.text }}</text>
{% endfor %}
{% for name, points in panel.lines.items() %}
    <polyline points="{{ points }}" fill="none" stroke="{{ colours[name] }}" stroke-width="1.6"/>
{% endfor %}
  </g>
{% endfor %}
</svg>
""")


def draw(runs: Sequence[dict[str, Any]]) -> str:
    """Draw the memory of runs.

    Parameters
    ----------
    runs : sequence of dict
        With ``run``, ``photographs``, ``samples_s``, and ``samples_mb`` by kind of process.

    Returns
    -------
    str
        An SVG. Panels of a row have the same scale of memory, and each its own of time.
    """
    rows = [row for kind in TITLES if (row := [run for run in runs if run["run"] == kind])]
    panels = [_panel(run, _top(row), x, y) for y, row in enumerate(rows) for x, run in enumerate(row)]
    columns = max((len(row) for row in rows), default=1)
    width, height = (PANEL[0] + GAP[0]) * columns + 24, TOP + (PANEL[1] + GAP[1]) * len(rows)
    return TEMPLATE.render(
        width=width, height=height, panels=panels, colours=COLOURS, names=NAMES,
        panel_width=PANEL[0], panel_height=PANEL[1],
    )  # fmt: skip


def _top(row: Sequence[dict[str, Any]]) -> int:
    """The end of the axis: the next half gigabyte above all of a row, in megabytes."""
    return 500 * math.ceil(max(max(values) for run in row for values in run["samples_mb"].values()) / 500)


def _panel(run: dict[str, Any], top: int, column: int, row: int) -> dict[str, Any]:
    (width, height), seconds = PANEL, max(run["samples_s"][-1], 1)
    unit, per = ("min", 60) if seconds > 180 else ("s", 1)
    step = _step(seconds / per)
    return {
        "title": f"{TITLES[run['run']]}: {run['photographs']:,}",
        "x": GAP[0] + column * (width + GAP[0]),
        "y": TOP + 14 + row * (height + GAP[1]),
        "memory": [
            {"at": round(height - height * at / top, 1), "text": f"{at / 1000:g} GB"}
            for at in range(0, top + 1, 500 if top <= 2_500 else 1_000)
        ],
        "time": [
            {"at": round(width * at * per / seconds, 1), "text": f"{at} {unit}"}
            for at in range(0, int(seconds / per) + 1, step)
        ],
        "lines": {
            kind: " ".join(
                f"{width * at / seconds:.1f},{height - height * size / top:.1f}"
                for at, size in zip(run["samples_s"], values, strict=True)
            )
            for kind, values in run["samples_mb"].items()
        },
    }


def _step(length: float) -> int:
    """Between two marks of time: at most eight of them."""
    return next((step for step in (1, 2, 5, 10, 20, 50, 100) if length / step <= 8), 200)
