"""The report of runs that Verger 0.1.0 has left, and of older ones whose manifests lack what is optional."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.manifests import DATA, manifest_with, recorded
from tests.page import document, drawn, sample
from verger.insight.report import sections
from verger.insight.report.content import Report
from verger.insight.report.context import template_context
from verger.insight.report.manifest_values import compared_splits, issue_counts, thin_label_limit, why_no_classifier
from verger.insight.report.run_diff import RunDiff
from verger.tables.manifest import Manifest

MANIFESTS = sorted(path.stem for path in DATA.glob("manifest-*.json"))
LATER_KEYS = {
    "photographs": ["ignored"],
    "pca": ["standardized", "fitted_in", "kept"],
    "classifier": ["n_groups", "weak", "weak_because", "note", "near_duplicates_across", "none_of_these"],
    "audit": ["suspected_mislabels"],
}
"""Keys that manifests of older versions lack."""


def older(name: str) -> dict[str, Any]:
    """A kept manifest without what older versions did not write."""
    found = recorded(name)
    for part, keys in LATER_KEYS.items():
        for key in keys:
            found[part].pop(key, None)
    return found


def bare(name: str) -> dict[str, Any]:
    """A kept manifest without the parts that a run may lack."""
    return {key: part for key, part in older(name).items() if key not in ("audit", "classifier", "report")}


@pytest.mark.parametrize("state", [recorded, older, bare])
@pytest.mark.parametrize("name", MANIFESTS)
def test_the_page_of_a_kept_manifest_is_drawn(name: str, state: Any) -> None:
    manifest = Manifest.model_validate(state(name))
    labels = [label or None for label, count in manifest.labels.items() for _ in range(count)]
    diff = RunDiff(Manifest.model_validate(bare(name)), new=1, gone=2, changed=3, angles=np.array([1.0]))
    for given in (
        Report(manifest),
        Report(manifest, sample(labels), diff=diff),
        Report(manifest, sample(labels), classifier=document()),
    ):
        assert template_context(given)["m"] is manifest
        assert sections.command(manifest).startswith("verger ")
        _, page = drawn(given)
        assert manifest.run_id in page.text
        assert "pyarrow 26.0.1" in page.text and "scikit-learn 1.9.1" in page.text


def test_what_an_older_manifest_lacks_has_a_default() -> None:
    manifest = Manifest.model_validate(bare("manifest-0.1.0"))
    assert (issue_counts(manifest), compared_splits(manifest)) == ({}, "Training and Test")
    assert thin_label_limit(manifest) == 10
    assert why_no_classifier(manifest) == "There is none; the warnings say why."


def test_opt_ins_are_on_the_page() -> None:
    opt_ins = [
        {"region": "eu-west-2", "basis": "a contract"},
        {"region": "rbx", "country": "FR", "basis": "in the EU"},
    ]
    manifest = Manifest.model_validate(manifest_with(residency={"opt_ins": opt_ins}))
    html, _ = drawn(Report(manifest))
    assert "<li>eu-west-2, a contract</li><li>rbx, FR, in the EU</li>" in html
