"""The page's sections, in sentences and rows."""

from __future__ import annotations

import re

import numpy as np

from tests.page import (
    AUDIT,
    CLASSIFIER,
    HOSTILE,
    KEPT,
    document,
    drawn,
    first_screen,
    manifest,
    sample,
    with_classifier,
)
from verger.cli import summary
from verger.insight.report import sections
from verger.insight.report.content import Report
from verger.insight.report.manifest_values import why_no_classifier
from verger.insight.report.run_diff import RunDiff


def test_the_most_honest_score_comes_before_the_random_one() -> None:
    fruits = [HOSTILE, "b"] * 20
    given = Report(manifest(fruits, classifier=CLASSIFIER), sample(fruits), classifier=document())
    html, page = drawn(given)
    assert HOSTILE not in html
    assert page.text.index("75.0%") < page.text.index("98.0%")
    assert "A random split would have said 98.0%: do not believe that one." in page.text
    assert "Random split, optimistic." not in page.text
    assert "never said" in page.text  # no precision where the class was never said


def test_a_random_split_is_announced_on_the_first_screen_and_in_its_section() -> None:
    fruits = ["a", "b"] * 20
    naive = CLASSIFIER | {"optimistic": True, "split": "random", "scores": CLASSIFIER["scores"][1:], "accuracy": 0.98}
    _, page = drawn(Report(manifest(fruits, classifier=naive), sample(fruits), classifier=document(**naive)))
    first = page.text[: page.text.index("Photographs by label")]
    assert "Random split, optimistic" in first
    assert "--group-regex" in first
    assert "Random split, optimistic." in page.text[len(first) :]


def test_a_missing_classifier_is_explained() -> None:
    why = {"absent": "there is one class only"}
    _, page = drawn(Report(manifest(["a"] * 20, classifier=why), sample(["a"] * 20)))
    assert "There is no classifier: there is one class only." in page.text


def test_the_difference_from_the_last_run_is_shown() -> None:
    fruits = ["a", "b"] * 20
    change = RunDiff(manifest(["a", "c"] * 10), new=20, gone=3, changed=1, angles=np.array([0.0, 5.0, 60.0]))
    _, page = drawn(Report(manifest(fruits), sample(fruits), diff=change))
    assert "20 new, 3 gone" in page.text
    assert "60.0° at most" in page.text
    assert "2 labels are in one of the two alone: b, c" in page.text


def test_that_nothing_has_changed_since_the_last_run_is_said() -> None:
    fruits = ["a", "b"] * 20
    old = manifest(fruits)
    change = RunDiff(old, new=0, gone=0, changed=0, angles=np.zeros(5))
    says = f"Nothing has changed since run {old.run_id}: table and components are the same."
    assert says in drawn(Report(manifest(fruits), sample(fruits), diff=change))[1].text
    refitted = manifest(fruits, pca={"fitted_by": "20260101T000000Z-old-000000"})
    _, page = drawn(Report(refitted, sample(fruits), diff=change))
    assert f"No photograph has changed since run {old.run_id}." in page.text
    change = RunDiff(old, new=0, gone=0, changed=1, angles=np.zeros(5))
    assert "In the table since: 0 new, 0 gone." in drawn(Report(manifest(fruits), sample(fruits), diff=change))[1].text


def test_the_command_has_options_that_are_no_defaults_quoted_for_a_shell() -> None:
    config = {"label": ["Apple *", "it's"], "classifier": False, "variance": 0.8, "cores": None}
    made = manifest(["a"], config=config)
    assert sections.command(made).split(" \\\n    ") == [
        "verger run",
        "--input /in",
        "--output /out",
        "--name fruits",
        "--label 'Apple *'",
        """--label 'it'"'"'s'""",
        "--no-classifier",
    ]
    of_project = manifest(["a"], config=config, pca={"kept": KEPT, "fitted_by": "old"})
    assert sections.command(of_project).startswith("verger project --run /out/runs/old \\\n")
    of_fewer = manifest(["a"], config=config, pca={"n_photographs": 2, "fitted_by": "old"})
    assert sections.command(of_fewer).startswith("verger project --run /out/runs/old \\\n")
    copied = manifest(["a"], config=config, pca={"fitted_by": "old"})
    assert sections.command(copied).startswith("verger run \\\n")


def test_the_command_of_a_projection_has_options_of_project_alone() -> None:
    made = manifest(
        ["a"],
        config={"backbone": "vgg16", "input_size": 64, "standardize": True, "csv": True},
        pca={"kept": KEPT, "fitted_by": "old", "fitted_in": "/elsewhere/runs/old"},
    )
    said = sections.command(made)
    assert said.startswith("verger project --run /elsewhere/runs/old \\\n")
    assert "--csv" in said
    assert not re.search("--(backbone|input-size|standardize)", said)


def test_a_random_score_is_warned_of_only_where_it_is_higher() -> None:
    worse = [score | {"accuracy": 0.75} for score in CLASSIFIER["scores"]]
    assert "do not believe" not in drawn(with_classifier({"scores": worse}))[1].text
    assert "do not believe" in drawn(with_classifier({}))[1].text


def test_a_baseline_that_beats_the_classifier_is_mentioned() -> None:
    better = [score | {"nearest_centroid": 0.97} for score in CLASSIFIER["scores"]]
    assert "The nearest centroid is simpler, and does better." in drawn(with_classifier({"scores": better}))[1].text
    assert "does better" not in drawn(with_classifier({}))[1].text


def test_an_ignored_group_pattern_is_not_said_to_group() -> None:
    given = {"group_regex": "^x", "n_groups": None}
    assert "--group-regex ^x was ignored: the warnings say why" in drawn(with_classifier(given))[1].text
    assert "what ^x finds in the path" in drawn(with_classifier(given | {"n_groups": 5}))[1].text


def test_unjudged_photographs_and_classes_are_mentioned() -> None:
    scores = [score | {"unjudged": 12, "n_classes_judged": 1} for score in CLASSIFIER["scores"]]
    _, page = drawn(with_classifier({"scores": scores}))
    assert "12 more are not judged" in page.text
    assert "1 of 2 classes are judged" in page.text


def test_components_of_another_run_are_named_as_such() -> None:
    fruits = ["a", "b"] * 20
    assert "another run" not in first_screen(drawn(Report(manifest(fruits), sample(fruits)))[1])
    fitted = {"fitted_by": "20260101T000000Z-old-000000", "n_photographs": 30}
    made = manifest(fruits, pca=fitted)
    _, page = drawn(Report(made, sample(fruits)))
    assert "of another run, where they keep 77.5% of the variance" in first_screen(page)
    assert "of these photographs' variance was not measured" in page.text
    made = manifest(fruits, pca=fitted | {"kept": KEPT | {"share": 0.612}})
    _, page = drawn(Report(made, sample(fruits)))
    assert "keep 61.2% of the variance, and are another run's" in first_screen(page)
    assert "The components are those of run 20260101T000000Z-old-000000." in first_screen(page)
    assert "variance was measured too: 61.2%" in page.text
    made = manifest(fruits, pca=fitted | {"kept": KEPT | {"share": 0.612, "n_photographs": 3}})
    _, page = drawn(Report(made, sample(fruits)))
    assert "of another run, where they keep 77.5% of the variance" in first_screen(page)
    assert "variance was not measured. They keep 61.2% of that of 3 new ones." in page.text
    made = manifest(fruits, pca=fitted | {"n_photographs": 40})  # a copied table
    assert "keep 77.5% of the variance, and are another run's" in first_screen(drawn(Report(made, sample(fruits)))[1])


def test_a_check_that_could_not_look_does_not_show_zero() -> None:
    fruits = ["a", "b"] * 20
    counts = AUDIT["counts"] | {"suspected_mislabel": {"found": None, "listed": 0}}
    made = manifest(fruits, audit=AUDIT | {"counts": counts}, classifier={"absent": "there is one class only"})
    _, page = drawn(Report(made, sample(fruits)))
    assert "not looked for" in page.text
    assert "There is no classifier: there is one class only." in page.text
    assert "suspected mislabel not looked for" in "\n".join(summary.lines(made))


def test_a_missing_classifier_is_explained_by_pattern_or_version() -> None:
    absent = {"absent": "no photograph has a class"}
    made = manifest(["a"] * 20, classifier=absent, config={"class_regex": "zzz", "classifier": True})
    _, page = drawn(Report(made, sample(["a"] * 20)))
    assert "There is no classifier: no photograph has a class (--class-regex zzz)." in page.text
    assert "Look at --class-regex" in first_screen(page)
    old = manifest(["a"])
    assert "--no-classifier" not in why_no_classifier(old)
    assert "--no-classifier" in why_no_classifier(manifest(["a"], config={"classifier": False}))
