"""The chart of the page: bars of seconds and of photographs a second, as SVG."""

from __future__ import annotations

from typing import Any, NamedTuple
from xml.sax.saxutils import escape

WIDTH, LABEL, VALUE, BAR, GAP = 760, 310, 90, 18, 8
OURS, OTHERS = "#2e7d32", "#9aa5a0"


class Bar(NamedTuple):
    """One bar: its label, its length in the unit of its panel, and whether it is Verger's."""

    label: str
    value: float
    is_ours: bool


NOTEBOOK = {"usual": "notebook job, usual form", "best": "notebook job, best form"}
RUNS = {
    "default": "verger run, with classifier, audit and report",
    "plain": "verger run",
    "bfloat16": "verger run, bfloat16",
}
ENGINES = {
    "keras": "Keras, model.predict",
    "frozen": "TensorFlow, frozen",
    "folded": "TensorFlow, folded (Verger's)",
    "bfloat16": "TensorFlow, folded, bfloat16 (Verger's)",
    "litert": "LiteRT, folded",
    "onnxruntime": "ONNX Runtime, folded",
    "openvino": "OpenVINO, folded",
    "openvino-bfloat16": "OpenVINO, folded, bfloat16",
}


def panels(parts: dict[str, dict[str, Any]]) -> list[tuple[str, list[Bar]]]:
    """Titles and bars, of the parts that were measured."""
    made = []
    runs = parts.get("runs", {}).get("runs", {})
    bars = [Bar(text, runs[name]["seconds"], False) for name, text in NOTEBOOK.items() if name in runs]
    bars += [Bar(text, runs[name]["seconds"], True) for name, text in RUNS.items() if name in runs]
    if bars:
        made.append((f"Whole job on {parts['runs']['photographs']:,} photographs, seconds: less is better", bars))
    rates = parts.get("network_alone", {}).get("photographs_per_s", {})
    bars = [Bar(text, rates[name], "Verger's" in text) for name, text in ENGINES.items() if name in rates]
    if "long" in runs:
        bars.append(Bar("verger run, once warm: decoding included", runs["long"]["features"]["warm"], True))
    if bars:
        made.append(("Photographs a second, all cores: more is better", bars))
    return made


def draw(parts: dict[str, dict[str, Any]]) -> str:
    """The chart as an SVG document.

    Parameters
    ----------
    parts : dict of str to dict
        The figures of each part, as in `targets.verdicts`.

    Returns
    -------
    str
        Text of an SVG file; its background is white, so that it is read on dark pages too.
    """
    lines, y = [], 16
    for title, bars in panels(parts):
        y += 14
        lines.append(f'<text x="16" y="{y}" class="title">{escape(title)}</text>')
        y += 12
        longest = max(bar.value for bar in bars)
        for bar in bars:
            length = round((WIDTH - LABEL - VALUE - 16) * bar.value / longest, 1) if longest else 0
            colour = OURS if bar.is_ours else OTHERS
            lines.append(f'<text x="{LABEL - 8}" y="{y + 13}" text-anchor="end">{escape(bar.label)}</text>')
            lines.append(f'<rect x="{LABEL}" y="{y}" width="{length}" height="{BAR}" fill="{colour}"/>')
            lines.append(f'<text x="{LABEL + length + 6:.1f}" y="{y + 13}">{_number(bar.value)}</text>')
            y += BAR + GAP
        y += 16
    style = "text{font:12px sans-serif;fill:#1f2a24}.title{font-weight:bold;font-size:14px}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img">'
    title = "<title>Whole jobs, and the network alone</title>"
    background = f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>'
    return "\n".join([head, title, f"<style>{style}</style>", background, *lines, "</svg>", ""])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
