"""photographs/inventory: which photographs the settings select."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from tests.unit.photographs.listings import ROOT, chosen, config, listed, orchard
from verger import spool
from verger.errors import NothingToReadError
from verger.photographs import balance
from verger.photographs.inventory import (
    SCHEMA,
    from_entries,
    label_counts,
    select,
)
from verger.storage.base import Entry


def test_without_settings_all_are_selected() -> None:
    photographs = orchard(Apple=3, Pear=2)
    assert select(photographs, config(), ROOT) is photographs
    assert select(photographs, config(label=("*",), exclude=("Fig",), max_labels=2), ROOT) is photographs


def test_label_selects_by_glob() -> None:
    photographs = listed("Apple Red/1.jpg", "Apple Green/1.jpg", "Pear/1.jpg", "apple/1.jpg", "x.jpg").photographs
    assert chosen(photographs, label=("Apple*",)) == ["Apple Green/1.jpg", "Apple Red/1.jpg"]
    assert chosen(photographs, label=("Pear", "a?ple")) == ["Pear/1.jpg", "apple/1.jpg"]
    assert chosen(photographs, label=("*",)) == ["Apple Green/1.jpg", "Apple Red/1.jpg", "Pear/1.jpg", "apple/1.jpg"]


def test_exclude_compares_label_and_path() -> None:
    photographs = listed("Test/Apple/1.jpg", "Training/Apple/2.jpg", "Training/Pear/3.png", "4.jpg").photographs
    assert chosen(photographs, exclude=("Apple",)) == ["4.jpg", "Training/Pear/3.png"]
    assert chosen(photographs, exclude=("Test/*",)) == ["4.jpg", "Training/Apple/2.jpg", "Training/Pear/3.png"]
    assert chosen(photographs, exclude=("*.png", "4.*")) == ["Test/Apple/1.jpg", "Training/Apple/2.jpg"]
    assert chosen(photographs, label=("Apple",), exclude=("Test/*",)) == ["Training/Apple/2.jpg"]


def test_max_labels_selects_the_first_by_name() -> None:
    photographs = listed("c/1.jpg", "a/1.jpg", "b/1.jpg", "b/2.jpg", "0.jpg").photographs
    assert chosen(photographs, max_labels=2) == ["a/1.jpg", "b/1.jpg", "b/2.jpg"]
    assert chosen(photographs, max_labels=2, exclude=("a",)) == ["b/1.jpg", "b/2.jpg", "c/1.jpg"]


@pytest.mark.parametrize(
    ("number", "shares"),
    [
        (3, {"a": 1, "b": 1, "c": 1}),
        (9, {"a": 2, "b": 3, "c": 4}),  # a has no more than 2; one place is left after three rounds
        (12, {"a": 2, "b": 5, "c": 5}),
        (30, {"a": 2, "b": 10, "c": 18}),
        (52, {"a": 2, "b": 10, "c": 40}),
        (99, {"a": 2, "b": 10, "c": 40}),
    ],
)
def test_max_photographs_represents_labels_evenly(number: int, shares: dict[str, int]) -> None:
    selected = select(orchard(a=2, b=10, c=40), config(max_photographs=number), ROOT)
    counts = label_counts(selected)
    assert sum(counts.values()) == sum(shares.values())
    if number == 9:  # which label gets the odd one is the hash's affair
        assert (counts["a"], sorted((counts["b"], counts["c"]))) == (2, [3, 4])
    else:
        assert counts == shares
    paths = selected.to_table()["path"].to_pylist()
    assert paths == sorted(paths)


def test_max_photographs_does_not_depend_on_root_or_order() -> None:
    names = [f"{label}/{at}.jpg" for label in "abc" for at in range(20)]
    here = chosen(listed(*names).photographs, max_photographs=10)
    entries = [Entry(f"/mnt/elsewhere/{name}", 9, "other") for name in reversed(names)]
    photographs = from_entries(entries, "/mnt/elsewhere").photographs
    there = select(photographs, config(max_photographs=10), "/mnt/elsewhere").to_table()["path"].to_pylist()
    assert [path.removeprefix("/mnt/elsewhere/") for path in there] == here
    # written down: the sample must not change from one version of Python or Arrow to the next
    assert chosen(orchard(a=9, b=9), max_photographs=4) == ["a/1.jpg", "a/5.jpg", "b/5.jpg", "b/6.jpg"]


@pytest.mark.parametrize("seed", range(40))
def test_the_sample_is_the_one_that_ranks_of_all_photographs_give(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(spool, "MAX_BATCH_ROWS", draw.choice([7, 100, 1 << 16]))
    monkeypatch.setattr(balance, "_MIN_CANDIDATES", draw.choice([1, 50]))
    if draw.random() < 0.5:  # with many equal hashes
        monkeypatch.setattr(balance, "_hash", lambda path: sum(path.encode()) % 5)
    labels = draw.sample(["a/", "b/", "c/", "é/", "train/x/", "test/x/", "", "train/"], draw.randint(1, 8))
    names = [f"{label}{number}.jpg" for label in labels for number in range(draw.choice([1, 2, 30, 200]))]
    photographs = listed(*names).photographs
    for number in {1, 2, draw.randint(1, len(names)), len(names) - 1, len(names), len(names) + 1} - {0}:
        expected = photographs.to_table().take(balanced_by_ranks(photographs.to_table(), number))
        chosen = select(photographs, config(max_photographs=number), ROOT)
        assert chosen.to_table() == expected
        assert (chosen is photographs) == (number >= len(names))


def balanced_by_ranks(photographs: pa.Table, number: int) -> NDArray[np.intp]:
    """The first implementation, which held all photographs in memory."""
    below = [path.removeprefix(f"{ROOT}/") for path in photographs["path"].to_pylist()]
    hashes = np.fromiter(map(balance._hash, below), np.uint64, len(below))
    labels = photographs["label"].combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    order = np.lexsort((hashes, labels))
    counts = np.bincount(labels)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(np.lexsort((hashes, ranks))[:number])


def test_the_sample_costs_no_memory_for_other_photographs() -> None:
    photographs, kept = orchard(**{f"label{number}": 3000 for number in range(20)}), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spool, "MAX_BATCH_ROWS", 1000)
        patch.setattr(balance, "_MIN_CANDIDATES", 100)
        ranked = balance._ranked
        patch.setattr(balance, "_ranked", lambda *given: kept.append(len(given[0])) or ranked(*given))
        photographs = spool.spool(SCHEMA, photographs.batches())
        assert balance.balanced_rows(photographs, 50, ROOT).shape == (50,)
    assert max(kept) <= 2 * (50 + 20) + 1000


def test_a_larger_max_photographs_only_adds() -> None:
    photographs = orchard(a=5, b=30, c=30)
    smaller = set(chosen(photographs, max_photographs=20))
    assert smaller < set(chosen(photographs, max_photographs=21)) < set(chosen(photographs, max_photographs=50))


def test_new_photographs_change_the_selection_little() -> None:
    before = set(chosen(orchard(a=100, b=100), max_photographs=50))
    after = set(chosen(orchard(a=102, b=100), max_photographs=50))
    assert len(before - after) <= 2


def test_photographs_without_label_count_as_one_label() -> None:
    photographs = listed(*(f"a/{at}.jpg" for at in range(10)), *(f"{at}.jpg" for at in range(10))).photographs
    assert label_counts(select(photographs, config(max_photographs=6), ROOT)) == {"": 3, "a": 3}


def test_an_empty_selection_names_its_settings() -> None:
    with pytest.raises(NothingToReadError) as caught:
        select(orchard(Apple=2, Pear=1), config(label=("Fig*",), exclude=("Test/*",), max_labels=3), ROOT)
    assert caught.value.what == "none of 3 photographs is left after label Fig*, exclude Test/*, max-labels 3"
    assert caught.value.advice == "Labels here: Apple, Pear"
