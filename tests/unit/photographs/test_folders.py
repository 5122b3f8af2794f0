"""Folders that are not the user's: of NAS makers, systems, image managers and sync tools, on disks and in buckets."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from tests.unit.storage.test_walking import files, open_folder, without_root
from verger.config import RunConfig
from verger.errors import NothingToReadError, StoreError
from verger.photographs.inventory import Inventory, from_entries, select, take
from verger.photographs.suffixes import BROKEN_LINK, HIDDEN, HIDDEN_FOLDER, REPEATED_FOLDER, describe_ignored
from verger.planning.plan import plan
from verger.storage.base import Entry
from verger.storage.stores import Stores

__all__ = ["open_folder"]

NOT_THE_USERS = [
    *("@eaDir/1.jpg", "#recycle", "#snapshot/GMT+01-2026.05.01", "@tmp", "@EADIR", "@sharebin"),  # Synology
    *(".@__thumb", "@Recycle", "@Recently-Snapshot/GMT+01", "@Transcode"),  # QNAP
    *("~snapshot/hourly.0", ".snapshot/hourly.0", ".zfs/snapshot/daily"),  # NetApp, ZFS
    *("$RECYCLE.BIN/S-1-5-21", "$Recycle.Bin", "System Volume Information", "FOUND.000"),  # Windows
    *(".Trashes/501", ".AppleDouble", "__MACOSX/apple", "Network Trash Folder", "Temporary Items"),  # macOS
    *("lost+found", ".Trash-1000/files", "LOST.DIR"),  # Linux, Android
    *("Bilder.photoslibrary/resources/derivatives/0", "iPhoto Library.photolibrary/Thumbnails"),  # Apple
    *("Catalog Previews.lrdata/0/00", "CaptureOne/Cache/Thumbnails", "My.cocatalog/Cache"),  # Adobe, Capture One
    *(".picasaoriginals", ".dtrash/files", "PRIVATE/M4ROOT/THMBNL"),  # Picasa, digiKam, Sony
    *(".stversions/apple", ".dropbox.cache/2026-05-01", "files_trashbin/files", "files_versions"),  # sync tools
    "appdata_oc1a2b3c/preview/1/2",
]
THE_USERS = [
    *("snapshot", "thumbs", "cache", "recycle", "tmp", "Recycler 1", "eaDir", "capture one", "THMBNLS", "a@eaDir"),
    *("foundling", "found.1", "photoslibrary", "appdata", "lrdata", "# 1", "@home", "~a", "$5", "system volume"),
    *("recycled", "RECYCLER", "CaptureOne/apple", "found.red", "appdata_2024"),  # ordinary words
]


def on_disk(folder: Path, *below: str, exclude: tuple[str, ...] = ()) -> Inventory:
    files(folder, *below)
    return take(str(folder), Stores(), exclude)


def in_bucket(*below: str) -> Inventory:
    return from_entries([Entry(f"s3://orchard/in/{name}", 9, "v") for name in below], "s3://orchard/in")


def names(inventory: Inventory, root: object) -> list[str]:
    return [path.removeprefix(f"{root}/") for path in inventory.photographs.to_table()["path"].to_pylist()]


@pytest.mark.parametrize("folder", NOT_THE_USERS)
def test_folders_that_programs_keep_are_hidden(tmp_path: Path, folder: str) -> None:
    mine, theirs = ["apple/1.jpg", "1.jpg"], [f"{folder}/x.jpg", f"apple/{folder}/x.jpg"]
    disk, bucket = on_disk(tmp_path, *mine, *theirs), in_bucket(*mine, *theirs)
    assert names(disk, tmp_path) == names(bucket, "s3://orchard/in") == ["1.jpg", "apple/1.jpg"]
    assert disk.ignored == {HIDDEN_FOLDER: 2}  # one for each folder, which is not entered
    assert bucket.ignored == {HIDDEN: 2}  # one for each object


def test_folders_with_similar_names_are_the_users(tmp_path: Path) -> None:
    mine = sorted(f"{folder}/1.jpg" for folder in THE_USERS)
    assert names(on_disk(tmp_path, *mine), tmp_path) == names(in_bucket(*mine), "s3://orchard/in") == mine
    assert in_bucket("CaptureOne", "THMBNL.jpg").ignored == {"": 1}  # files may have these names


def test_a_share_of_a_nas_has_its_photographs_alone(tmp_path: Path) -> None:
    """Beside each photograph Synology keeps three thumbnails, in a folder that is named like it."""
    mine = [f"{label}/{number}.jpg" for label in ("apple", "pear") for number in range(4)]
    thumbnails = [
        f"{Path(name).parent}/@eaDir/{Path(name).name}/SYNOPHOTO_THUMB_{size}.jpg" for name in mine for size in "SMX"
    ]
    inventory = on_disk(tmp_path, *mine, *thumbnails, "#recycle/apple/9.jpg")
    assert names(inventory, tmp_path) == mine
    assert inventory.photographs.to_table()["label"].to_pylist() == ["apple"] * 4 + ["pear"] * 4
    assert describe_ignored(inventory.ignored) == "3 hidden folders"
    assert describe_ignored(in_bucket(*mine, *thumbnails).ignored) == "24 other files (24 (hidden))"


@pytest.mark.parametrize("folder", ["@eaDir", ".cache", "a.photoslibrary/originals"])
def test_a_hidden_folder_can_be_the_input_itself(tmp_path: Path, folder: str) -> None:
    files(tmp_path, f"{folder}/apple/1.jpg")
    with pytest.raises(NothingToReadError) as caught:
        take(str(tmp_path), Stores())
    assert caught.value.what == f"no photograph in {tmp_path}: 1 hidden folder"
    assert caught.value.advice.endswith("to read a hidden folder, give it as the input itself")
    inventory = take(str(tmp_path / folder), Stores())
    assert inventory.photographs.to_table()["label"].to_pylist() == ["apple"]


def test_what_else_a_disk_has_is_described() -> None:
    ignored = {".txt": 2, HIDDEN: 1, HIDDEN_FOLDER: 1, REPEATED_FOLDER: 2, BROKEN_LINK: 1}
    assert describe_ignored(ignored) == (
        "3 other files (2 .txt, 1 (hidden)), 1 hidden folder, 2 folders that were met before and 1 broken link"
    )
    assert describe_ignored({}) == ""


def test_linked_folders_and_broken_links_are_told(tmp_path: Path) -> None:
    files(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a")
    for name in ("b/3.jpg", "b/notes.txt", ".4.jpg"):
        (tmp_path / name).symlink_to(tmp_path / "unmounted" / name)
    inventory = take(str(tmp_path), Stores())
    assert names(inventory, tmp_path) == ["a/1.jpg", "b/2.jpg"]
    assert inventory.ignored == {BROKEN_LINK: 1, REPEATED_FOLDER: 2}


LOCKED = [
    (".Trash-0", (), True),
    (".Trash-0", (".Trash*",), True),
    ("@eaDir", (), True),
    ("private", ("private",), True),
    ("private", ("private/*",), True),
    ("private", ("priv*",), True),
    ("a/private", ("private",), True),
    ("a/private", ("a/*",), True),
    ("private", (), False),
    ("private", ("public", "private/1*"), False),
    ("a/private", ("a",), False),  # the label "a" is not that of what is in private
]


@pytest.mark.parametrize(("folder", "exclude", "passes"), LOCKED)
def test_only_hidden_and_excluded_folders_may_be_locked(
    open_folder: Path, folder: str, exclude: tuple[str, ...], passes: bool
) -> None:
    files(open_folder, "apple/1.jpg", f"{folder}/2.jpg")
    os.chmod(open_folder / folder, 0)
    with without_root():
        if passes:
            assert names(take(str(open_folder), Stores(), exclude), open_folder) == ["apple/1.jpg"]
            return
        with pytest.raises(StoreError, match=f"{folder}: Permission denied"):
            take(str(open_folder), Stores(), exclude)


@pytest.mark.parametrize("exclude", [(), (".Trash*",)])
def test_a_plan_over_a_disk_with_a_locked_trash(open_folder: Path, exclude: tuple[str, ...]) -> None:
    files(open_folder, "in/apple/1.jpg", "in/apple/2.jpg", "in/.Trash-0/3.jpg")
    os.chmod(open_folder / "in" / ".Trash-0", 0o700)
    config = RunConfig(
        input=str(open_folder / "in"), output=str(open_folder / "out"), backbone="pixels", exclude=exclude
    )
    with without_root():
        planned = plan(config)
    assert (planned.listed, planned.ignored) == (2, {HIDDEN_FOLDER: 1})


def test_a_plan_warns_of_labels_that_are_named_like_images(tmp_path: Path) -> None:
    files(tmp_path, "in/apple/1.jpg", "in/previews/1.jpg/small.jpg")
    config = RunConfig(input=str(tmp_path / "in"), output=str(tmp_path / "out"), backbone="pixels")
    (warning,) = plan(config).warnings
    assert warning.startswith("1 label is named like an image file (1.jpg; 1 photograph)")


@pytest.mark.parametrize("exclude", ["private/*", "p*", "private"])
def test_excluded_photographs_are_left_out_whether_or_not_their_folder_is_entered(tmp_path: Path, exclude: str) -> None:
    inventory = on_disk(tmp_path, "apple/1.jpg", "private/2.jpg", exclude=(exclude,))
    config = RunConfig(input=str(tmp_path), output="/out", exclude=(exclude,))
    chosen = select(inventory.photographs, config, str(tmp_path))
    assert chosen.to_table()["path"].to_pylist() == [f"{tmp_path}/apple/1.jpg"]
    assert inventory.excluded == (() if exclude == "private" else (f"{tmp_path}/private",))
    entered = take(str(tmp_path), Stores(), (exclude,), enter_excluded=True)
    assert (names(entered, tmp_path), entered.excluded) == (["apple/1.jpg", "private/2.jpg"], ())


def test_where_everything_is_excluded_the_message_does_not_say_that_it_is_empty(tmp_path: Path) -> None:
    with pytest.raises(NothingToReadError) as caught:
        on_disk(tmp_path, "a/1.jpg", "b/2.jpg", exclude=("*",))
    assert caught.value.what == f"no photograph in {tmp_path}: 2 excluded folders were not entered"


def test_globs_match_however_accents_are_encoded(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Pêche") for form in ("NFC", "NFD"))
    photographs = in_bucket(f"{composed}/1.jpg", f"{decomposed}/2.jpg", "Poire/3.jpg").photographs
    for typed in (composed, decomposed):
        config = RunConfig(input="s3://orchard/in", output="/out", label=(typed,))
        assert select(photographs, config, config.input).num_rows == 2
        config = RunConfig(input="s3://orchard/in", output="/out", exclude=(f"{typed}/*",))
        assert select(photographs, config, config.input).to_table()["label"].to_pylist() == ["Poire"]
