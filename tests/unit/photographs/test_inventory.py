from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.inventories import Listed, report
from tests.unit.photographs.listings import ROOT, config, listed, rows
from tests.unit.storage.test_s3_inventory import put
from tests.unit.storage.test_walking import files
from verger import spool
from verger.errors import NothingToReadError
from verger.photographs.inventory import (
    SCHEMA,
    Inventory,
    find,
    from_entries,
    label_and_split,
    label_counts,
    select,
    take,
)
from verger.photographs.suffixes import HIDDEN, NOT_UTF8, SUFFIXES, UNREAD
from verger.storage.base import Entry
from verger.storage.stores import Stores
from verger.tables.changes import pointer_path


def test_take_lists_a_folder(tmp_path: Path) -> None:
    photograph = tmp_path / "Training" / "Apple" / "1.jpg"
    photograph.parent.mkdir(parents=True)
    photograph.write_bytes(b"12345")
    (tmp_path / "notes.TXT").write_text("x")
    inventory = take(str(tmp_path), Stores())
    assert inventory.photographs.schema == SCHEMA
    assert inventory.photographs.to_table().to_pylist() == [
        {
            "path": str(photograph),
            "label": "Apple",
            "split": "Training",
            "version": f"{photograph.stat().st_mtime_ns}-5",
            "size": 5,
        }
    ]
    assert inventory.ignored == {".txt": 1}
    assert take(f"file://{tmp_path}/", Stores()).photographs.to_table() == inventory.photographs.to_table()


def test_suffixes_in_any_case_are_found_and_other_files_are_counted() -> None:
    inventory = listed(
        *(f"a/x{suffix}" for suffix in SUFFIXES),
        *(f"a/X{suffix.upper()}" for suffix in SUFFIXES),
        *("README", "a.b/README", "x.txt", "y.TXT", "z.jpg.part", "w.", "photo.jpg/inside.dat"),
    )
    assert inventory.photographs.num_rows == 2 * len(SUFFIXES)
    assert inventory.ignored == {"": 2, ".": 1, ".dat": 1, ".part": 1, ".txt": 2}


def test_jpegs_have_several_suffixes() -> None:
    """Browsers on Windows save .jfif, and .jpe is as old as .jpg; Pillow writes all four."""
    names = ["a/1.jfif", "a/2.JPE", "a/3.jpeg", "a/4.jpg"]
    assert list(rows(*names)) == names
    assert not UNREAD & set(SUFFIXES)


def test_hidden_files_are_ignored() -> None:
    inventory = listed(
        *("seen.jpg", ".hidden.jpg", ".cache/a/x.jpg", "a/.x.jpg", "__MACOSX/a/x.jpg", "a/__MACOSX/x.jpg", ".DS_Store"),
        *("._seen.jpg", "..a/x.jpg", ".../x.jpg", "a/..b.jpg"),
    )
    assert inventory.photographs.to_table()["path"].to_pylist() == [f"{ROOT}/seen.jpg"]
    assert inventory.ignored == {HIDDEN: 10}


def test_the_listed_folder_may_be_in_a_hidden_folder() -> None:
    inventory = from_entries([Entry("/home/.cache/train/a.jpg", 1, "v")], "/home/.cache/train")
    assert inventory.photographs.to_table().to_pylist() == [
        {"path": "/home/.cache/train/a.jpg", "label": None, "split": None, "version": "v", "size": 1}
    ]


def test_the_root_of_the_file_system_can_be_listed() -> None:
    assert from_entries([Entry("/apple/a.jpg", 1, "v")], "/").photographs.to_table()["label"].to_pylist() == ["apple"]


def test_names_that_are_not_utf8_are_ignored_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/p\xeache.jpg")).write_bytes(b"x")  # as Latin-1 wrote it
    inventory = take(str(tmp_path), Stores())
    assert [Path(path).name for path in inventory.photographs.to_table()["path"].to_pylist()] == ["a.jpg"]
    assert inventory.ignored == {NOT_UTF8: 1}


def test_names_with_characters_beyond_ascii_are_kept() -> None:
    names = ["Pêche 1/été 🍑.jpg", "Äpfel/100 %/a b#c?.JPG", "梨/一.png", "x/new\nline.jpg"]
    assert rows(*names) == {
        names[0]: ("Pêche 1", None),
        names[1]: ("100 %", None),
        names[2]: ("梨", None),
        names[3]: ("x", None),
    }


@pytest.mark.parametrize(
    ("name", "label", "split"),
    [
        ("x.jpg", None, None),
        ("Apple/x.jpg", "Apple", None),
        ("Fruit/Apple Red 1/x.jpg", "Apple Red 1", None),
        ("Training/Apple/x.jpg", "Apple", "Training"),
        ("train/Apple/x.jpg", "Apple", "Training"),
        ("TEST/Apple/x.jpg", "Apple", "Test"),
        ("testing/Apple/x.jpg", "Apple", "Test"),
        ("val/Apple/x.jpg", "Apple", "Validation"),
        ("Valid/Apple/x.jpg", "Apple", "Validation"),
        ("data/validation/deep/down/Apple/x.jpg", "Apple", "Validation"),
        ("Test/Apple/train/x.jpg", None, "Training"),  # the nearest to the photograph says it
        ("Test/x.jpg", None, "Test"),  # a split is no label
        ("Test/test.jpg", None, "Test"),
        ("Testarossa/x.jpg", "Testarossa", None),
        ("pretrain/training set/x.jpg", "training set", None),
        ("test.jpg", None, None),
        # keys that are no paths: the nearest folder that has a name
        ("Apple//x.jpg", "Apple", None),
        ("Apple///x.jpg", "Apple", None),
        ("/Apple/x.jpg", "Apple", None),
        ("//x.jpg", None, None),
        ("Test//Apple//x.jpg", "Apple", "Test"),
        ("Test//x.jpg", None, "Test"),
        ("./Apple/x.jpg", "Apple", None),
        ("Apple/./x.jpg", "Apple", None),
        ("Apple/../x.jpg", "Apple", None),
        ("Apple/.././/x.jpg", "Apple", None),
        ("./x.jpg", None, None),
        ("Apple/a..b/x.jpg", "a..b", None),
    ],
)
def test_label_and_split_come_from_folders(name: str, label: str | None, split: str | None) -> None:
    assert rows(name) == {name: (label, split)}
    told = label_and_split(pa.array([f"{ROOT}/Apple/Test/y.jpg", f"{ROOT}/{name}"]), ROOT)
    assert [column[1].as_py() for column in told] == [label, split]


def test_photographs_are_sorted_and_unique() -> None:
    names = ["b/2.jpg", "a/10.jpg", "a/9.jpg", "Z.jpg", "b/2.jpg", "é.jpg", "a.jpg"]
    inventory = listed(*names)
    paths = inventory.photographs.to_table()["path"].to_pylist()
    assert paths == sorted({f"{ROOT}/{name}" for name in names})
    assert listed("a.jpg").photographs.num_rows == 1


def test_of_a_path_that_is_listed_twice_the_last_entry_is_kept() -> None:
    entries = [Entry(f"{ROOT}/{name}.jpg", number, "v") for number, name in enumerate("abcabdaa")]
    table = from_entries(entries, ROOT).photographs.to_table()
    assert dict(zip(table["path"].to_pylist(), table["size"].to_pylist(), strict=True)) == {
        f"{ROOT}/a.jpg": 7, f"{ROOT}/b.jpg": 4, f"{ROOT}/c.jpg": 2, f"{ROOT}/d.jpg": 5
    }  # fmt: skip


def test_temporary_files_are_where_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MAX_BATCH_ROWS", 3)
    monkeypatch.setattr("tempfile.gettempdir", lambda: pytest.fail("the system's folder"))
    scratch = str(tmp_path / "scratch")
    files(tmp_path / "in", *(f"{label}/{number}.jpg" for label in "ab" for number in range(9)))
    photographs = take(str(tmp_path / "in"), Stores(), scratch=scratch).photographs
    assert photographs.num_rows == 18
    assert select(photographs, config(label=("a",), max_photographs=7), str(tmp_path / "in"), scratch).num_rows == 7


@pytest.mark.parametrize("selection", [{"label": ("a*", "é")}, {"exclude": ("b", "*3.jpg")}, {"max_labels": 2}])
def test_a_selection_does_not_depend_on_batches(monkeypatch: pytest.MonkeyPatch, selection: dict[str, Any]) -> None:
    names = [f"{label}{number}.jpg" for label in ("a/", "ab/", "b/", "é/", "") for number in range(20)]
    whole = select(listed(*names).photographs, config(**selection), ROOT).to_table()
    monkeypatch.setattr(spool, "MAX_BATCH_ROWS", 3)
    assert select(listed(*names).photographs, config(**selection), ROOT).to_table() == whole


def test_more_entries_than_a_chunk() -> None:
    def entries() -> Iterator[Entry]:
        for at in range(150_000):
            place = at * 7919 % 150_000
            yield Entry(f"{ROOT}/Training/{place % 10}/{place:06}.jpg", place, f"v{place}")
        yield Entry(f"{ROOT}/notes.txt", 1, "v")

    inventory = from_entries(entries(), ROOT)
    assert inventory.photographs.num_rows == 150_000
    assert inventory.ignored == {".txt": 1}
    paths = inventory.photographs.to_table()["path"].to_pylist()
    assert paths == sorted(paths)
    last = inventory.photographs.slice(149_999, 1).to_pylist()[0]
    assert (last["path"], last["version"], last["size"]) == (f"{ROOT}/Training/9/149999.jpg", "v149999", 149_999)
    assert (last["label"], last["split"]) == ("9", "Training")
    assert inventory.photographs.to_table().nbytes < 150_000 * 100


def test_without_photographs_the_message_names_the_other_files(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt", "c.csv", "d", ".e.jpg"):
        (tmp_path / name).write_text("x")
    with pytest.raises(NothingToReadError) as caught:
        take(str(tmp_path), Stores())
    assert caught.value.what == (
        f"no photograph in {tmp_path}: 5 other files (2 .txt, 1 without suffix, 1 (hidden), 1 .csv)"
    )
    assert ".jpg" in caught.value.advice


def test_an_empty_or_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NothingToReadError, match="it is empty"):
        take(str(tmp_path), Stores())
    with pytest.raises(NothingToReadError, match="does not exist"):
        take(str(tmp_path / "absent"), Stores())


def test_label_counts() -> None:
    photographs = listed("b/1.jpg", "a/1.jpg", "b/2.jpg", "x.jpg").photographs
    assert label_counts(photographs) == {"": 1, "a": 1, "b": 2}
    assert list(label_counts(photographs)) == ["", "a", "b"]


def test_real_photographs(data: Path) -> None:
    inventory = take(str(data / "fruits"), Stores())
    assert inventory.photographs.num_rows == 4788
    counts = label_counts(inventory.photographs)
    assert len(counts) == 57
    assert set(counts.values()) == {84}
    splits = inventory.photographs.to_table()["split"].value_counts().to_pylist()
    assert {split["values"]: split["counts"] for split in splits} == {"Training": 4116, "Test": 672}


class TestReport:
    """Photographs from a report of S3 Inventory instead of a listing."""

    SOURCE = "s3://orchard/in"
    OBJECTS = (
        Listed("in/Training/pear/2.JPG", 20, "b"),
        Listed("in/Training/apple/1.jpg", 10, "a"),
        Listed("in/notes.txt", 5, "c"),
        Listed("in/@eaDir/1.jpg", 5, "d"),
        Listed("elsewhere/3.jpg", 30, "e"),
    )

    def found(self, folder: Path, warn: Callable[[str], None], objects: tuple[Listed, ...], **more: Any) -> Inventory:
        settings = config(inventory=str(put(folder, report(objects, **more))), local_dir=str(folder / "scratch"))
        return find(settings, self.SOURCE, Stores(), warn)

    @pytest.mark.parametrize("kind", ["CSV", "Parquet", "ORC"])
    def test_it_gives_what_a_listing_gives(self, tmp_path: Path, kind: str) -> None:
        by_report = self.found(tmp_path, pytest.fail, self.OBJECTS, kind=kind, began=datetime.now(UTC))
        entries = [
            Entry(f"s3://orchard/{key}", size or 0, f"{etag}-{size}") for key, size, etag, *_ in self.OBJECTS[:4]
        ]
        by_listing = from_entries(entries, self.SOURCE)
        assert by_report.photographs.to_table().equals(by_listing.photographs.to_table())
        assert by_report.photographs.to_table()["label"].to_pylist() == ["apple", "pear"]
        assert by_report.ignored == by_listing.ignored == {HIDDEN: 1, ".txt": 1}

    def test_an_old_one_is_a_warning_that_names_its_age(self, tmp_path: Path) -> None:
        warnings: list[str] = []
        began = datetime.now(UTC) - timedelta(days=2, minutes=1)
        self.found(tmp_path, warnings.append, self.OBJECTS, began=began)
        (line,) = warnings
        assert re.search(rf"manifest\.json is 2\.0 days old, of {began:%Y-%m-%d %H:%M} UTC: it lists no newer", line)

    def test_one_without_photographs_of_the_input_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "scratch").mkdir()
        with pytest.raises(
            NothingToReadError, match=r"no photograph in s3://orchard/in, as the .*manifest\.json lists"
        ):
            self.found(tmp_path, lambda _: None, self.OBJECTS[2:])

    def test_the_pointer_to_the_base_run_does_not_depend_on_it(self) -> None:
        pointers = {
            pointer_path("/out", self.SOURCE, settings, "pixels")
            for settings in (config(), config(inventory="/reports"))
        }
        assert len(pointers) == 1


def test_the_first_photograph_is_told_before_the_rest_is_listed(tmp_path: Path) -> None:
    for name in ("a.txt", "b.JPG", "c.png"):
        (tmp_path / name).touch()
    seen: list[str] = []
    assert take(str(tmp_path), Stores(), first=lambda: seen.append("first")).photographs.num_rows == 2
    assert seen == ["first"]
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").touch()
    with pytest.raises(NothingToReadError):
        take(str(tmp_path / "notes"), Stores(), first=lambda: seen.append("again"))
    assert seen == ["first"]
