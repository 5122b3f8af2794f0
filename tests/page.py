"""What tests of the report share: runs and samples made up, and the page as a person reads it."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pyarrow as pa

from verger.insight.model import ClassifierDocument
from verger.insight.report import html as report_html
from verger.insight.report import verdict
from verger.insight.report.content import Report
from verger.insight.report.context import SECTIONS
from verger.insight.report.issue_texts import ISSUE_TEXTS
from verger.insight.sample import Sample
from verger.tables.manifest import Manifest

HOSTILE = "<script>alert('x')</script>\"&{{ 7*7 }}"


def manifest(names: list[str], *, source: str = "/in", k: int = 5, **changes: Any) -> Manifest:
    """A manifest in which some parts are others; config, photographs and PCA change by single keys."""
    counts = {name: names.count(name) for name in sorted(set(names))}
    n = len(names)
    made: dict[str, Any] = {
        "schema_version": 1,
        "run_id": "20261121T140007Z-fruits-b1ee6c",
        "verger_version": "0.1.0",
        "started_at": "2026-11-21T14:00:07.296403Z",
        "finished_at": "2026-11-21T14:00:59.503303Z",
        "config": {"input": source, "output": "/out", "name": "fruits", "max_rejected_ratio": 0.1, "csv": False},
        "input": {"uri": source, "region": None},
        "output": {"uri": "/out", "region": None},
        "photographs": {
            "listed": n,
            "ignored": {},
            "known": 0,
            "computed": n,
            "rejected": 0,
            "gone": 0,
            "projected": n,
        },
        "labels": counts,
        "rejected_by_reason": {},
        "features": {
            "fingerprint": "pixels-8",
            "backbone": "pixels",
            "weights_sha256": None,
            "dimension": 192,
            "path": "f",
        },
        "pca": {
            "solver": "gram",
            "n_photographs": n,
            "requested": {"variance": 0.8},
            "n_components": k,
            "rank": k,
            "explained_variance_ratio": [0.8 / 2**i for i in range(1, k + 1)],
            "total_variance": 1.0,
            "standardized": False,
            "fitted_by": "20261121T140007Z-fruits-b1ee6c",
            "path": "p",
        },
        "projection": {"path": "runs/x/projection", "rows": n, "columns": k},
        "timings_s": {"list": 0.01, "features": 36.1, "projection": 4.5},
        "throughput": {"photographs_per_s": 132.5, "photographs_per_s_per_core": 66.2},
        "cost": {"eur": 0.0014, "eur_per_1000": 0.00029, "assumptions": ["all cores are paid for"]},
        "residency": {"verdict": "local", "evidence": ["input and output are paths of this machine"], "opt_ins": []},
        "environment": {"python": "3.11", "tensorflow": None},
        "warnings": [],
    }
    for part in ("config", "photographs", "pca"):
        made[part] |= changes.pop(part, {})
    return Manifest.model_validate(made | changes)


def sample(names: list[str | None], source: str = "/in", k: int = 5) -> Sample:
    n = len(names)
    random = np.random.default_rng(0)
    codes = np.unique([name or "" for name in names], return_inverse=True)[1]
    photographs = pa.table(
        {
            "path": [f"{source}/{name or ''}/{number:04d}.jpg" for number, name in enumerate(names)],
            "label": pa.array(names, pa.string()),
            "split": pa.nulls(n, pa.string()),
            "version": [str(number) for number in range(n)],
            "sha256": ["0" * 64] * n,
        }
    )
    points = (random.normal(size=(n, k)) + codes[:, None]).astype(np.float32)
    return Sample(photographs, photographs, points, np.arange(n), points, source, n, f"all {n:,} photographs")


CLASSIFIER: dict[str, Any] = {
    "n_classes": 2,
    "class_regex": None,
    "group_regex": "^.*/",
    "n_photographs": 40,
    "left_out": {"no_class": 1, "alone_in_its_class": 0},
    "sample": "all 41 photographs",
    "split": "grouped",
    "says": "groups kept together",
    "n_test": 40,
    "accuracy": 0.75,
    "macro_f1": 0.7,
    "baselines": {"majority": 0.5, "nearest_centroid": 0.6},
    "optimistic": False,
    "scores": [
        {
            "split": split,
            "says": says,
            "folds": 5,
            "n_train": 32,
            "n_test": 40,
            "unjudged": 0,
            "n_classes_judged": 2,
            "accuracy": accuracy,
            "macro_f1": accuracy,
            "majority": 0.5,
            "nearest_centroid": 0.6,
        }
        for split, says, accuracy in (("grouped", "groups kept together", 0.75), ("random", "random split", 0.98))
    ],
    "classes": [HOSTILE, "b"],
    "by_class": [{"class": HOSTILE, "photographs": 20, "precision": None, "recall": 0.0, "f1": 0.0}],
    "confusions": [{"class": HOSTILE, "taken_for": "b", "photographs": 20}],
    "confusion_matrix": [[0, 20], [0, 20]],
    "calibration": None,
    "temperature": 1.0,
    "calibration_error": None,
    "path": "runs/x/model",
}
"""What classifier.json says, with the path that the manifest adds to it."""

KEPT = {"n_photographs": 40, "share": 0.7, "fit_share": 0.775, "beyond": 0.05, "drifted": False}
"""How much of the variance the components of another run keep."""


AUDIT = {
    "counts": {kind: {"found": 0, "listed": 0} for kind in ISSUE_TEXTS} | {"duplicate": {"found": 3, "listed": 2}},
    "sample": "all 40 photographs",
    "near_duplicates": {"cosine": 0.97, "pairs": 0, "photographs_compared": 40},
    "outliers": {"robust_standard_deviations": 6.0},
    "thin_labels": {"photographs_below": 10},
    "path": "runs/x/audit",
}


class Outline(HTMLParser):
    """What is in a page: ids, addresses that it would ask for, alternative texts, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.unnamed: list[str] = []
        self.scripts = 0
        self.text = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"]] if found.get("id") else []
        self.addresses += [found[name] or "" for name in ("src", "href", "action", "data") if found.get(name)]
        self.scripts += tag == "script"
        if (tag == "img" and not found.get("alt")) or (tag == "svg" and not found.get("aria-label")):
            self.unnamed.append(tag)
        self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] not in ("script", "style"):
            self.text += data


def drawn(given: Report) -> tuple[str, Outline]:
    """The page, which in any case has every section, alternative texts, and nothing from elsewhere."""
    html = report_html.draw(given)
    page = Outline(html)
    assert set(SECTIONS) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not page.unnamed
    assert page.scripts <= 2
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", html)
    assert len(html) < 5_000_000
    return html, page


def first_screen(page: Outline) -> str:
    return page.text[: page.text.index("Photographs by label")]


def document(**changes: Any) -> ClassifierDocument:
    """What classifier.json says, with some keys changed."""
    return ClassifierDocument.model_validate(CLASSIFIER | changes)


def with_classifier(changes: dict[str, Any], says: ClassifierDocument | None = None) -> Report:
    fruits = ["a", "b"] * 20
    given = CLASSIFIER | {"n_test": 480} | changes
    given["scores"] = [score | {"n_test": given["n_test"]} for score in given["scores"]]
    return Report(manifest(fruits, classifier=given), sample(fruits), classifier=says or document(**given))


def accuracy_of(given: Report) -> verdict.KeyNumber:
    return verdict.key_numbers(given.manifest)[3]
