"""What a finished run says last."""

from __future__ import annotations

from typing import Any

from tests.unit.cli.test_commands import DOCUMENT, MANIFEST
from verger.cli import summary
from verger.tables.manifest import Manifest


def lines(**changed: Any) -> list[str]:
    return summary.lines(Manifest.model_validate(DOCUMENT | changed))


def test_a_first_run():
    assert lines() + summary.next_lines(MANIFEST) == [
        "1,290 of 1,300 photographs are in the table: 1,290 computed now, 0 known before,"
        " 10 rejected (7 not_an_image, 3 truncated).",
        "Not read: 2 other files (2 .txt).",
        "2 components keep 85.0% of the variance.",
        "Table: /out/runs/20260301T120000Z-verger-0a1b2c/projection",
        "Time: 24.1 s, features at 83.4 photographs/s.",
        "Next: the same command again computes only what is new; --input FOLDER takes your own photographs;",
        "      in Python: import verger; verger.load('/out')",
    ]


def test_an_unchanged_folder_has_no_speed():
    photographs = DOCUMENT["photographs"] | {"known": 1290, "computed": 0, "rejected": 0}
    throughput = {"photographs_per_s": None, "photographs_per_s_per_core": None}
    first, _, _, _, time, *_ = lines(photographs=photographs, throughput=throughput, rejected_by_reason={})
    assert first == ("1,290 of 1,300 photographs are in the table: 0 computed now, 1,290 known before, 0 rejected.")
    assert time == "Time: 24.1 s."


def test_one_component_keeps():
    one = DOCUMENT["pca"] | {"n_components": 1, "explained_variance_ratio": [0.5]}
    photographs = DOCUMENT["photographs"] | {"ignored": {}}
    assert lines(pca=one, photographs=photographs)[1] == ("1 component keeps 50.0% of the variance.")


def test_why_there_is_no_classifier_is_said():
    told = lines(classifier={"absent": "no photograph has a class"})
    assert "Classifier: none, as no photograph has a class." in told


def test_the_report_comes_last():
    assert lines(report={"path": "runs/x/report/index.html"}) == [
        *lines(),
        "Report: /out/runs/x/report/index.html",
    ]


def test_components_of_another_run_are_said_to_be():
    fitted = DOCUMENT["pca"] | {"fitted_by": "20260101T000000Z-verger-ffffff", "n_photographs": 900}
    reused = "2 components of run 20260101T000000Z-verger-ffffff keep 85.0% of the variance there"
    assert lines(pca=fitted)[2] == f"{reused}."
    projected = fitted | {
        "kept": {"share": 0.7, "n_photographs": 1290, "fit_share": 0.8, "beyond": 0.1, "drifted": False}
    }
    assert lines(pca=projected)[2] == f"{reused}, 70.0% here."
    on_new_ones = projected | {"kept": projected["kept"] | {"n_photographs": 12}}
    assert lines(pca=on_new_ones)[2] == f"{reused}, 70.0% of that of 12 new photographs."
    assert lines(pca=on_new_ones | {"kept_share": 0.65})[2] == f"{reused}, 65.0% here."
    assert lines(pca=fitted | {"n_photographs": 1290})[2] == f"{reused}, 85.0% here."  # on the same photographs
