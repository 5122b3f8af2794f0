"""The report: a page from whatever a run has, and nothing from anywhere else."""

from __future__ import annotations

import copy
import io
import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from verger import closing
from verger.insight import charts, figures, labels, report, sections, verdict
from verger.insight.report import Report
from verger.insight.sample import Sample
from verger.insight.since import Since
from verger.insight.view import SECTIONS
from verger.photographs import inventory
from verger.photographs.images import thumbnail
from verger.tables.manifest import Run

HOSTILE = "<script>alert('x')</script>\"&{{ 7*7 }}"


def manifest(names: list[str], *, source: str = "/in", k: int = 5, **changes: Any) -> dict[str, Any]:
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
    return made | changes


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
    "split": "grouped",
    "n_test": 40,
    "accuracy": 0.75,
    "macro_f1": 0.7,
    "baselines": {"majority": 0.5, "nearest_centroid": 0.6},
    "optimistic": False,
    "scores": [
        {
            "split": split,
            "says": says,
            "n_test": 40,
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
}
AUDIT = {
    "counts": {kind: {"found": 0, "listed": 0} for kind in verdict.KINDS} | {"duplicate": {"found": 3, "listed": 2}},
    "sample": "all 40 photographs",
    "near_duplicates": {"cosine": 0.97, "pairs": 0, "photographs_compared": 40},
    "thin_labels": {"photographs_below": 10},
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
    html = report.draw(given)
    page = Outline(html)
    assert set(SECTIONS) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert not page.unnamed
    assert page.scripts <= 2
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", html)
    assert len(html) < 5_000_000
    return html, page


def shapes() -> Iterator[Any]:
    fruits = ["Apple 5", "Apple 10"] * 20
    yield pytest.param(Report(manifest(fruits), sample(fruits)), ["Nothing needs doing"], id="plain")
    yield pytest.param(Report(manifest(fruits)), ["could not be read", "not audited"], id="no sample")
    many = [f"label {number}" for number in range(500) for _ in range(4)]
    yield pytest.param(Report(manifest(many), sample(many)), ["500 labels", "The other 440 labels"], id="500 labels")
    none: list[str | None] = [None] * 12
    bare = manifest([""] * 12, labels={})
    yield pytest.param(Report(bare, sample(none)), ["No folder names a label", labels.NO_LABEL], id="no labels")
    one = manifest(fruits, k=1)
    yield pytest.param(Report(one, sample(fruits, k=1)), ["1 component keeps", "no meaning"], id="k = 1")
    remote = "s3://bucket/fruit & more"
    yield pytest.param(Report(manifest(fruits, source=remote), sample(fruits, remote)), [remote], id="S3")
    hostile = [HOSTILE, "b"] * 20
    yield pytest.param(Report(manifest(hostile), sample(hostile)), [HOSTILE], id="hostile")
    single = manifest(["a"], k=1)
    yield pytest.param(Report(single, sample(["a"], k=1)), ["1 label of 1 photograph."], id="one photograph")
    known = manifest(fruits, cost={"eur": None, "eur_per_1000": None, "assumptions": []})
    known["photographs"] |= {"computed": 0, "known": 40}
    yield pytest.param(Report(known, sample(fruits)), ["nothing was new", "unknown"], id="nothing computed")


@pytest.mark.parametrize("given, says", list(shapes()))
def test_a_page_is_whole_whatever_the_run(given: Report, says: list[str]) -> None:
    html, page = drawn(given)
    for words in says:
        assert words in page.text
    assert HOSTILE not in html


def test_the_classifier_says_its_honest_score_first_and_the_naive_one_beside_it() -> None:
    fruits = [HOSTILE, "b"] * 20
    given = Report(manifest(fruits, classifier=CLASSIFIER), sample(fruits), classifier=CLASSIFIER)
    html, page = drawn(given)
    assert HOSTILE not in html
    assert page.text.index("75.0%") < page.text.index("98.0%")
    assert "A random split would have said 98.0%: do not believe that one." in page.text
    assert "Random split, optimistic." not in page.text
    assert "never said" in page.text  # no precision where the class was never said


def test_nobody_can_miss_that_a_score_is_of_a_random_split() -> None:
    fruits = ["a", "b"] * 20
    naive = CLASSIFIER | {"optimistic": True, "split": "random", "scores": CLASSIFIER["scores"][1:], "accuracy": 0.98}
    _, page = drawn(Report(manifest(fruits, classifier=naive), sample(fruits), classifier=naive))
    first = page.text[: page.text.index("Photographs by label")]
    assert "Random split, optimistic" in first
    assert "--group-regex" in first
    assert "Random split, optimistic." in page.text[len(first) :]


def test_why_there_is_no_classifier() -> None:
    why = {"absent": "there is one class only"}
    _, page = drawn(Report(manifest(["a"] * 20, classifier=why), sample(["a"] * 20)))
    assert "There is no classifier: there is one class only." in page.text


def test_the_audit_is_on_the_first_screen_and_its_findings_below() -> None:
    fruits = ["a", "b"] * 20
    found = pa.table(
        {
            "path": ["/in/a/0000.jpg"],
            "label": ["a"],
            "kind": ["duplicate"],
            "other_path": ["/in/b/0001.jpg"],
            "score": [1.0],
            "message": ["the same bytes as /in/b/0001.jpg"],
        }
    )
    asked: list[tuple[str, str]] = []

    def pictures(photographs: list[tuple[str, str]]) -> dict[str, str]:
        asked.extend(photographs)
        return {path: "data:image/jpeg;base64,AAAA" for path, _ in photographs[:2]}

    given = Report(manifest(fruits, audit=AUDIT), sample(fruits), audit=found, pictures=pictures)
    _, page = drawn(given)
    assert "Remove 3 copies of photographs" in page.text
    assert "the first 1 of 2 listed" in page.text
    assert "the same bytes as b/0001.jpg" in page.text
    assert asked[:2] == [("/in/a/0000.jpg", "0"), ("/in/b/0001.jpg", "1")]  # before all others
    assert len(asked) == len(set(asked)) <= 600


def test_rejects_and_warnings_are_things_to_do() -> None:
    fruits = ["a"] * 95
    rejected = pa.table(
        {
            "path": [f"/in/a/{number}.jpg" for number in range(120)],
            "label": ["a"] * 120,
            "reason": ["truncated"] * 120,
            "message": [HOSTILE] * 120,
        }
    )
    made = manifest(fruits, rejected_by_reason={"truncated": 119, "too_small": 1}, warnings=["one", "two"])
    made["photographs"] |= {"rejected": 120, "listed": 215}
    html, page = drawn(Report(made, sample(fruits), rejected=rejected))
    assert "3 things want a look" in page.text
    assert "Mend or remove 120 photographs that were rejected" in page.text
    assert "119 truncated, 1 too small" in page.text
    assert "20 more" in page.text
    assert HOSTILE not in html


def test_since_the_last_run() -> None:
    fruits = ["a", "b"] * 20
    change = Since(manifest(["a", "c"] * 10), new=20, gone=3, changed=1, angles=np.array([0.0, 5.0, 60.0]))
    _, page = drawn(Report(manifest(fruits), sample(fruits), since=change))
    assert "20 new, 3 gone" in page.text
    assert "60.0° at most" in page.text
    assert "2 labels are in one of the two alone: b, c" in page.text


def test_the_command_names_what_is_no_default_and_survives_a_shell() -> None:
    made = manifest(["a"])
    made["config"] |= {"label": ["Apple *", "it's"], "classifier": False, "variance": 0.8, "cores": None}
    assert sections.command(made).split(" \\\n    ") == [
        "verger run",
        "--input /in",
        "--output /out",
        "--name fruits",
        "--label 'Apple *'",
        """--label 'it'"'"'s'""",
        "--no-classifier",
    ]
    of_project = copy.deepcopy(made)
    of_project["pca"] |= {"kept": {"share": 0.7}, "fitted_by": "old"}
    assert sections.command(of_project).startswith("verger project --run /out/runs/old \\\n")


def test_a_projection_is_repeated_by_options_that_it_has() -> None:
    made = manifest(["a"])
    made["config"] |= {"backbone": "vgg16", "input_size": 64, "standardize": True, "csv": True}
    made["pca"] |= {"kept": {"share": 0.7}, "fitted_by": "old", "fitted_in": "/elsewhere/runs/old"}
    said = sections.command(made)
    assert said.startswith("verger project --run /elsewhere/runs/old \\\n")
    assert "--csv" in said
    assert not re.search("--(backbone|input-size|standardize)", said)


def first_screen(page: Outline) -> str:
    return page.text[: page.text.index("Photographs by label")]


def with_classifier(changes: dict[str, Any], document: dict[str, Any] | None = None) -> Report:
    fruits = ["a", "b"] * 20
    given = CLASSIFIER | {"n_test": 480} | changes
    given["scores"] = [score | {"n_test": given["n_test"]} for score in given["scores"]]
    return Report(
        manifest(fruits, classifier=given), sample(fruits), classifier=given if document is None else document
    )


def accuracy_of(given: Report) -> verdict.Figure:
    return verdict.figures(given.manifest)[3]


def test_an_accuracy_says_on_how_many_photographs_it_rests() -> None:
    sound = accuracy_of(with_classifier({}))
    assert not sound.weak
    assert "480 photographs" in sound.note
    assert "Always saying the largest of 2 classes: 50.0%" in sound.note
    few = with_classifier({"n_test": 4})
    assert accuracy_of(few).weak
    _, page = drawn(few)
    assert "Do not rely on the accuracy yet · fewer than 100 photographs were held out" in first_screen(page)


def test_what_the_audit_makes_of_an_accuracy_is_said_wherever_it_stands() -> None:
    why = "480 of 480 held-out photographs have a near-duplicate in Training"
    before = with_classifier({}).classifier  # written before the audit has looked
    given = with_classifier(
        {"split": "own", "weak": True, "weak_because": why, "note": "the folds are refitted"}, before
    )
    assert accuracy_of(given).weak
    _, page = drawn(given)
    assert why in first_screen(page)
    assert f"Weak evidence. {why}." in page.text
    assert "The folds are refitted." in page.text


def test_a_random_split_is_disbelieved_only_where_it_flatters() -> None:
    worse = [score | {"accuracy": 0.75} for score in CLASSIFIER["scores"]]
    assert "do not believe" not in drawn(with_classifier({"scores": worse}))[1].text
    assert "do not believe" in drawn(with_classifier({}))[1].text


def test_a_simpler_baseline_that_does_better_is_said() -> None:
    better = [score | {"nearest_centroid": 0.97} for score in CLASSIFIER["scores"]]
    assert "That one, which is simpler, does better." in drawn(with_classifier({"scores": better}))[1].text
    assert "does better" not in drawn(with_classifier({}))[1].text


def test_a_group_pattern_that_says_nothing_is_not_said_to_group() -> None:
    given = {"group_regex": "^x", "n_groups": None}
    assert "of what belongs together, ^x says nothing" in drawn(with_classifier(given))[1].text
    assert "what ^x finds in the path" in drawn(with_classifier(given | {"n_groups": 5}))[1].text


def test_what_was_not_judged_is_said() -> None:
    scores = [score | {"unjudged": 12, "n_classes_judged": 1} for score in CLASSIFIER["scores"]]
    _, page = drawn(with_classifier({"scores": scores}))
    assert "12 more are not judged" in page.text
    assert "1 of 2 classes are judged" in page.text


def test_components_of_another_run_are_said_to_be() -> None:
    fruits = ["a", "b"] * 20
    made = manifest(fruits)
    assert "another run" not in first_screen(drawn(Report(made, sample(fruits)))[1])
    made["pca"] |= {"fitted_by": "20260101T000000Z-old-000000"}
    _, page = drawn(Report(made, sample(fruits)))
    assert "of another run, where they keep 77.5% of the variance" in first_screen(page)
    assert "of these photographs' variance was not measured" in page.text
    made["pca"] |= {"kept": {"share": 0.612}}
    _, page = drawn(Report(made, sample(fruits)))
    assert "keep 61.2% of the variance, and are another run's" in first_screen(page)
    assert "The components are those of run 20260101T000000Z-old-000000." in first_screen(page)
    assert "variance was measured too: 61.2%" in page.text


def test_a_cumulative_share_stands_over_its_number_of_components() -> None:
    chart = charts.scree([0.5, 0.3, 0.1, 0.05, 0.05], 2)
    at = [float(point.split(",")[0]) for point in chart["line"].split()]
    ticks = {tick["text"]: tick["x"] for tick in chart["ticks"]}
    assert len(at) == 5
    assert len(ticks) > 1
    assert all(at[number - 1] == pytest.approx(x, abs=0.1) for number, x in ticks.items())
    assert chart["marker"] == ticks[2]
    middle = [bar["x"] + bar["w"] / 2 for bar in chart["bars"]]
    assert middle == [pytest.approx(x, abs=0.2) for x in at]


def test_what_nobody_looked_for_is_not_none_found() -> None:
    fruits = ["a", "b"] * 20
    counts = AUDIT["counts"] | {"suspected_mislabel": {"found": None, "listed": 0}}
    made = manifest(fruits, audit=AUDIT | {"counts": counts}, classifier={"absent": "there is one class only"})
    _, page = drawn(Report(made, sample(fruits)))
    assert "not looked for" in page.text
    assert "There is no classifier: there is one class only." in page.text
    assert "suspected mislabel not looked for" in "\n".join(closing.lines(made))


def test_the_audit_names_the_splits_and_how_weak_its_evidence_is() -> None:
    fruits = ["a", "b"] * 20
    counts = {kind: {"found": 0, "listed": 0} for kind in verdict.KINDS}
    counts |= {kind: {"found": 1, "listed": 1} for kind in ("near_duplicate_across_splits", "suspected_mislabel")}
    near = AUDIT["near_duplicates"] | {"across": "Validation and Training"}
    weak = {"photographs_judged": 40, "accuracy": 0.5, "weak": True}
    audit = AUDIT | {"counts": counts, "near_duplicates": near, "suspected_mislabels": weak}
    _, page = drawn(Report(manifest(fruits, audit=audit), sample(fruits)))
    assert "has a near-duplicate across Validation and Training" in first_screen(page)
    assert "weak evidence" in first_screen(page)
    weak_last = Report(manifest(fruits, audit=audit, rejected_by_reason={"truncated": 1}), sample(fruits))
    weak_last.manifest["photographs"] |= {"rejected": 1}
    said = first_screen(drawn(weak_last)[1])
    assert said.index("near-duplicate across") < said.index("Mend or remove") < said.index("label may be wrong")
    assert "Near-duplicates across Validation and Training" in page.text
    assert "{across}" not in page.text
    counts["suspected_mislabel"] = {"found": 0, "listed": 0}
    _, page = drawn(Report(manifest(fruits, audit=audit), sample(fruits)))
    assert "1 finding to act on." in page.text
    assert "Every finding, a row each, is in" in page.text
    counts["duplicate"] = {"found": 1200, "listed": 1000}
    _, page = drawn(Report(manifest(fruits, audit=audit), sample(fruits)))
    assert "The gravest 1,000 of each kind, a row each, are in" in page.text


def test_labels_are_those_in_the_table_and_many_rejects_are_the_headline() -> None:
    made = manifest(["ok"] * 3 + ["bad"] * 24, rejected_by_reason={"truncated": 24})
    made["photographs"] |= {"rejected": 24, "projected": 3}
    made["audit"] = AUDIT | {"counts": AUDIT["counts"] | {"thin_label": {"found": 1, "listed": 1}}}
    gone = pa.table({name: ["x"] * 24 for name in ("path", "reason", "message")} | {"label": ["bad"] * 24})
    given = Report(made, sample(["ok"] * 3), rejected=gone)
    assert given.in_table == {"ok": 3}
    _, page = drawn(given)
    assert "The run finished without 24 of 27 photographs" in first_screen(page)
    assert "The run worked" not in page.text
    assert page.text.index("Mend or remove 24") < page.text.index("Take more photographs of a thin label")
    assert "1 label of 3 photographs. Of 1 more label, every photograph was rejected." in page.text


def test_no_folder_names_a_label() -> None:
    absent = {"absent": "no photograph has a class"}
    _, page = drawn(Report(manifest([""] * 12, classifier=absent), sample([None] * 12)))
    assert "No folder names a label" in page.text
    assert "1 label of" not in page.text
    asked = "Put the photographs of each fruit into a folder of its own · no photograph has a class"
    assert asked in first_screen(page)


def test_what_was_not_read_is_told_and_images_among_it_are_something_to_do() -> None:
    fruits = ["a", "b"] * 20
    made = manifest(fruits)
    made["photographs"]["ignored"] = {".avif": 5, ".cr2": 50, ".txt": 2, inventory.NOT_UTF8: 3, inventory.HIDDEN: 1}
    _, page = drawn(Report(made, sample(fruits)))
    assert "Beside them, the folder holds 61 other files (50 .cr2, 5 .avif, 3 (not UTF-8)" in first_screen(page)
    assert "Turn 50 .cr2, 5 .avif into JPEG or PNG" in first_screen(page)
    assert "Rename 3 files whose names are not UTF-8" in first_screen(page)
    assert "Not read, as photographs do not end so: 61 other files" in page.text
    made["photographs"]["ignored"] = {".txt": 1}
    _, page = drawn(Report(made, sample(fruits)))
    assert "Beside them, the folder holds 1 other file (1 .txt)." in first_screen(page)
    assert "Nothing needs doing" in page.text


def test_where_no_photograph_can_be_read_names_stand_in_their_place() -> None:
    fruits = ["a", "b"] * 20
    html, page = drawn(Report(manifest(fruits), sample(fruits)))
    assert "No photograph could be read for this page: names stand in their place." in page.text
    assert "<span>0000.jpg</span>" in html


def test_a_long_message_is_cut() -> None:
    fruits = ["a", "b"] * 20
    rows = {"path": ["/in/a/0000.jpg"], "label": ["a"], "kind": ["outlier"], "other_path": [None], "score": [9.0]}
    audit = pa.table(rows | {"message": [f"far from {'x' * 900} it is"]})
    html, _ = drawn(Report(manifest(fruits, audit=AUDIT), sample(fruits), audit=audit))
    assert "far from xxx" in html and "it is" in html
    assert "x" * 300 not in html


@pytest.mark.parametrize("controls", ["\u202e", "\u2067", "\x1b[31m", "\u200f"])
def test_no_name_turns_or_steers_what_follows_it(controls: str) -> None:
    html, page = drawn(Report(manifest([controls + "a", "b"] * 20), sample([controls + "a", "b"] * 20)))
    assert controls not in html
    assert "\ufffd" in page.text
    assert labels.isolated("a") == "a"
    assert labels.isolated("\u05d0") == "\u2068\u05d0\u2069"
    assert json.dumps(controls)[1:-1] not in html  # nor in what the script reads


def test_long_names_leave_the_page_small_and_the_names_apart() -> None:
    names = ['"' * 230 + f"{number:03d}" for number in range(100)] * 4
    document = CLASSIFIER | {"classes": names[:100], "n_classes": 100, "confusion_matrix": [[1] * 100] * 100}
    given = Report(manifest(names), sample([*names]), classifier=document)
    picture = "data:image/jpeg;base64," + "A" * 8_000
    _, page = drawn(replace(given, pictures=lambda wanted: {path: picture for path, _ in wanted}))  # bounded in there
    assert "100 labels" in page.text
    cut = labels.told_apart(["x" * 90, "x" * 91, "y"], 20)
    assert len(set(cut.values())) == 3
    assert labels.cut("字" * 40, 20).count("字") <= 10


def test_labels_that_begin_alike_have_bars_of_their_own() -> None:
    names = {f"photographs of the orchard north of the river, row {row}": 10 * row for row in range(1, 6)}
    (axes,) = figures._labels(names).axes
    assert len({round(bar.get_y(), 2) for bar in axes.patches}) == 5
    assert len({text.get_text() for text in axes.get_yticklabels()}) == 5


def test_pictures_are_drawn_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dict(figures.draw(Report(manifest(["日本語" * 30, "x" * 200] * 20), sample(["日本語" * 30, "x" * 200] * 20))))


def test_a_report_that_cannot_be_drawn_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("verger.insight.report.draw", fails)
    with pytest.raises(RuntimeError):
        report.write(Run(str(tmp_path), "x"), Report(manifest(["a"] * 12), sample(["a"] * 12)))
    assert list(tmp_path.rglob("*.*")) == []


def test_only_what_is_far_out_is_odd() -> None:
    points = np.array([[1.0], [-1.0]] * 10, np.float32)
    given = sample(["a"] * 20, k=1)
    _, page = drawn(Report(manifest(["a"] * 20, k=1), replace(given, components=points)))
    assert "The oddest of all" not in page.text
    assert "None is 1.5 spreads from the middle of its label." in page.text
    points[3] = 9
    _, page = drawn(Report(manifest(["a"] * 20, k=1), replace(given, components=points)))
    assert "The oddest of all" in page.text


def test_why_there_is_no_classifier_names_the_pattern_and_the_version() -> None:
    made = manifest(["a"] * 20, classifier={"absent": "no photograph has a class"})
    made["config"] |= {"class_regex": "zzz", "classifier": True}
    _, page = drawn(Report(made, sample(["a"] * 20)))
    assert "There is no classifier: no photograph has a class (--class-regex zzz)." in page.text
    assert "Look at --class-regex" in first_screen(page)
    old = manifest(["a"])
    assert "--no-classifier" not in sections.unclassified(old)
    old["config"] |= {"classifier": False}
    assert "--no-classifier" in sections.unclassified(old)


def test_the_calibration_says_on_what_its_temperature_was_set() -> None:
    rows = [{"confidence": 0.5, "accuracy": 0.5, "photographs": 9}]
    given = {"bins_calibrated": rows, "n": 9, "temperature": 1.1, "ece_calibrated": 0.02, "ece": 0.05}
    assert "set on these photographs" in charts.reliability(given)["says"]


def test_every_box_that_scrolls_is_reached_by_keyboard() -> None:
    html, _ = drawn(with_classifier({}))
    boxes = re.findall(r'<div class="scroll[^>]*>', html)
    assert len(boxes) > 3
    assert all('tabindex="0"' in box and "aria-label" in box for box in boxes)


def test_pictures_are_drawn_for_any_label() -> None:
    fruits: list[str] = ["$a_{b}$", HOSTILE] * 20
    made = dict(figures.draw(Report(manifest(fruits), sample([*fruits]))))
    assert set(made) == {"scree.png", "labels.png", "scatter.png"}
    for picture in made.values():
        with Image.open(io.BytesIO(picture)) as image:
            assert image.format == "PNG"
            assert min(image.size) > 100
    assert set(dict(figures.draw(Report(manifest([], labels={}))))) == {"scree.png"}


def test_a_report_counts_its_pictures_and_says_where_most_are_lacking() -> None:
    fruits: list[str] = ["Apple", "Pear"] * 10

    def pictured(read: int, left_out: int = 0) -> Report:
        given = Report(manifest(fruits), sample([*fruits]))
        given.counts.left_out = left_out
        given = replace(given, pictures=lambda wanted: {path: "data:" for path, _ in wanted[:read]})
        report.draw(given)
        return given

    some = pictured(9)
    assert (some.counts.wanted, some.counts.read, some.counts.left_out) == (20, 9, 0)
    lacking = "few pictures: only 9 of the 20 photographs could be read; they were looked for in /in"
    assert report._lacking(some, "/in") == lacking
    assert "no pictures: none of the 20 " in str(report._lacking(pictured(0), "/in"))
    assert report._lacking(pictured(10), "/in") is None
    assert report._lacking(pictured(0, left_out=20), "/in") is None
    assert report._lacking(Report(manifest([], labels={})), "/in") is None


def test_statistics_by_label() -> None:
    points = np.array([[0, 0], [2, 0], [10, 0], [10, 0], [30, 0]], np.float32)
    a, b, c = labels.statistics(np.array(["a", "a", "b", "b", "c"]), points)
    assert (a.name, a.count, a.spread, a.nearest, a.distance, a.apart) == ("a", 2, 1.0, "b", 9.0, 9.0)
    assert (b.spread, b.apart, b.nearest) == (0.0, None, "a")
    assert (c.count, c.nearest, c.distances.tolist()) == (1, "b", [0.0])
    (alone,) = labels.statistics(np.array(["a", "a"]), points[:2])
    assert (alone.nearest, alone.distance, alone.apart) == (None, None, None)


def test_the_oddest_photograph_comes_last() -> None:
    points = np.array([[0.0], [0.1], [9.0], [-0.1]], np.float32)
    (label,) = labels.statistics(np.array(["a"] * 4), points)
    assert label.photographs[-1] == 2


def test_a_balanced_choice_takes_from_every_label_in_turn() -> None:
    names = np.array(["many"] * 100 + ["few"] * 3)
    chosen = names[labels.balanced(names, 10)]
    assert sorted(set(chosen)) == ["few", "many"]
    assert (chosen == "few").sum() == 3
    assert len(np.unique(labels.balanced(names, 1000))) == 103
    assert np.array_equal(labels.balanced(names, 10), labels.balanced(names, 10))


@pytest.mark.parametrize("highest", [1e-6, 0.0031, 0.04, 0.157, 0.8, 1.0])
def test_an_axis_holds_what_it_shows_and_its_steps_differ(highest: float) -> None:
    chart = charts.scree([highest] + [highest / 10] * 30, 3)
    texts = [step["text"] for step in chart["steps"]]
    assert len(texts) == len(set(texts))
    assert 2 < len(texts) < 8
    assert all(bar["y"] >= chart["top"] - 0.1 for bar in chart["bars"])


def test_names_sort_as_people_count() -> None:
    assert sorted(["b 10", "b 9", "a", "10", "9"], key=labels.natural) == ["9", "10", "a", "b 9", "b 10"]


@pytest.mark.parametrize(
    "spent, said", [(0.01, "under 0.1 s"), (4.25, "4.2 s"), (52, "52 s"), (125, "2 min 05 s"), (7260, "2 h 01 min")]
)
def test_durations(spent: float, said: str) -> None:
    assert verdict.duration(spent) == said


def test_a_thumbnail_is_small_upright_and_tells_nothing_else() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned
    exif[0x010F] = "SECRET maker"
    photograph = Image.new("RGB", (400, 200), "red")
    sink = io.BytesIO()
    photograph.save(sink, "JPEG", exif=exif, comment=b"SECRET comment", icc_profile=b"SECRET profile")
    assert b"SECRET" in sink.getvalue()
    small = thumbnail(sink.getvalue(), 96)
    assert b"SECRET" not in small
    assert b"Exif" not in small
    with Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.size) == ("JPEG", (48, 96))
