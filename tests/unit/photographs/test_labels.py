from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest

from verger.photographs.labels import label_and_split, label_warnings


@pytest.mark.parametrize("root", ["/data/train", "s3://train/test", "/"])
def test_only_folders_below_the_input_say_label_and_split(root: str) -> None:
    below = ["1.jpg", "Apple/1.jpg", "val/Pêche 🍑/1.jpg", "Test/1.jpg"]
    paths = pa.array([f"{root.rstrip('/')}/{name}" for name in below])
    label, split = label_and_split(paths, root)
    assert label.to_pylist() == [None, "Apple", "Pêche 🍑", None]
    assert split.to_pylist() == [None, None, "Validation", "Test"]
    assert [len(part) for part in label_and_split(paths[:0], root)] == [0, 0]


def test_there_is_no_warning_of_ordinary_labels() -> None:
    assert label_warnings({"": 3, "Apple": 2, "apple": 1, "Pêche 1": 9, "v1.2": 1, "jpg": 4, "my.photos": 2}) == []


def test_labels_that_are_named_like_images_are_told_with_what_leaves_them_out() -> None:
    (warning,) = label_warnings({"Apple": 8, "1.jpg": 3, "2.jpg": 3, "3.JPG": 3, "4.CR2": 1, "5.jpg": 1})
    assert warning.startswith("5 labels are named like image files (1.jpg, 2.jpg, 3.JPG, ...; 11 photographs). ")
    assert warning.endswith("--exclude '*.CR2/*' --exclude '*.JPG/*' --exclude '*.jpg/*'")


def test_one_label_that_is_named_like_an_image() -> None:
    (warning,) = label_warnings({"1.jpg": 1})
    assert warning.startswith("1 label is named like an image file (1.jpg; 1 photograph). ")


@pytest.mark.parametrize("other", [unicodedata.normalize("NFD", "Pêche"), "Pêche ", " Pêche"])
def test_labels_that_look_the_same_are_told(other: str) -> None:
    (warning,) = label_warnings({unicodedata.normalize("NFC", "Pêche"): 2, other: 2})
    assert "look the same" in warning
