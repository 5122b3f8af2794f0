"""Walking a tree of folders: each once, and the same on every machine; what may not be read ends it, unless excused."""

from __future__ import annotations

import inspect
import os
import random
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from verger.errors import NothingToReadError, StoreError
from verger.storage.base import WalkPolicy
from verger.storage.local import LocalStorage

NOBODY = 65534


@contextmanager
def without_root() -> Iterator[None]:
    """As a user whom permissions bind: root changes its effective user, for the kernel asks it for none."""
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        os.setegid(group)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


class Remembering(WalkPolicy):
    """Enters nothing of this name, or only what is on the way to a folder, and remembers what it is told."""

    def __init__(self, skipped: str = "", only: str = "") -> None:
        self.skipped = skipped
        self.only = only
        self.again: list[str] = []
        self.broken: list[str] = []

    def enters(self, folder: str) -> bool:
        on_the_way = not self.only or self.only == folder or self.only.startswith(f"{folder}/")
        return on_the_way and os.path.basename(folder) != self.skipped

    def ignores_permission_error(self, path: str) -> bool:
        return os.path.basename(path) == self.skipped

    def found_entered_folder(self, folder: str) -> None:
        self.again.append(folder)

    def found_broken_link(self, path: str) -> None:
        self.broken.append(path)


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(folder: Path, policy: WalkPolicy | None = None) -> list[str]:
    entries = LocalStorage().list(str(folder), *([policy] if policy else []))
    return [os.path.relpath(entry.path, folder) for entry in entries]


def test_files_come_in_the_order_of_the_bytes_of_their_paths(tmp_path: Path) -> None:
    """A folder sorts as its name with a slash: "a b/" is before "a/", and "a.jpg" between "a-" and "a/"."""
    names = ["a b/x", "a-", "a.jpg", "a/b/y", "a/b.jpg", "a/x", "a0", "é", "\ue000", "🍑/1"]
    files(tmp_path, *names)
    assert found(tmp_path) == sorted(names, key=os.fsencode)


@pytest.mark.parametrize("seed", range(20))
def test_the_order_of_drawn_trees(tmp_path: Path, seed: int) -> None:
    draw, paths = random.Random(seed), set()
    letters = ["a", "b", " ", ".", "-", "0", "é", "\ue000", "🍑", os.fsdecode(b"\xe9"), "\n"]
    for _ in range(60):
        levels = ["".join(draw.choices(letters, k=draw.randint(1, 2))) for _ in range(draw.randint(1, 4))]
        with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):
            files(tmp_path, path := "/".join(level.replace(".", "x") for level in levels))
            paths.add(path)
    assert found(tmp_path) == sorted(paths, key=os.fsencode)


def test_only_what_is_behind_links_is_out_of_order_and_comes_last(tmp_path: Path) -> None:
    files(tmp_path, "out/2/x", "out/1/x", "in/a/1", "in/m", "in/z/1")
    (tmp_path / "in" / "a" / "link").symlink_to(tmp_path / "out" / "2")
    (tmp_path / "in" / "b").symlink_to(tmp_path / "out" / "1")
    (tmp_path / "in" / "a" / "file").symlink_to(tmp_path / "out" / "1" / "x")
    assert found(tmp_path / "in") == ["a/1", "a/file", "m", "z/1", "a/link/x", "b/x"]


def test_the_folder_of_all_folders() -> None:
    entries = LocalStorage().list("/", Remembering(only="/proc/sys/kernel/random"))
    assert "/proc/sys/kernel/random/boot_id" in {entry.path for entry in entries}


def test_a_large_folder_costs_its_names(tmp_path: Path) -> None:
    for number in range(20_000):
        os.close(os.open(tmp_path / f"photograph-{number:09}.jpg", os.O_CREAT))
    entries = LocalStorage().list(str(tmp_path))
    tracemalloc.start()
    try:
        count = sum(1 for _ in entries)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 20_000 * (50 + len("photograph-000000000.jpg") + 16)


def test_folders_that_are_linked_to_one_another_are_entered_once(tmp_path: Path) -> None:
    """Each link in each folder would be another path to the same photographs: 14 became 27,398."""
    names = [f"{label}/{number}.jpg" for label in ("a", "b") for number in range(7)]
    files(tmp_path, *names)
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a")
    policy = Remembering()
    assert sorted(found(tmp_path, policy)) == sorted(names)
    assert policy.again == [str(tmp_path / "a" / "to_b"), str(tmp_path / "b" / "to_a")]


def test_many_folders_that_are_all_linked_to_one_another(tmp_path: Path) -> None:
    labels = [f"label{number}" for number in range(12)]
    files(tmp_path, *(f"{label}/1.jpg" for label in labels))
    for label in labels:
        for other in labels:
            (tmp_path / label / f"to_{other}").symlink_to(tmp_path / other)
    assert sorted(found(tmp_path)) == sorted(f"{label}/1.jpg" for label in labels)


def test_the_path_without_a_link_wins_wherever_it_sorts(tmp_path: Path) -> None:
    files(tmp_path, "z/deep/1.jpg")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    (tmp_path / "b").symlink_to(tmp_path / "z" / "deep")
    assert found(tmp_path) == ["z/deep/1.jpg"]


def test_of_several_links_the_first_in_sorted_order_wins(tmp_path: Path) -> None:
    files(tmp_path, "elsewhere/apple/1.jpg", "in/pear/2.jpg")
    for name in ("x", "c", "m"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "elsewhere" / "apple")
    policy = Remembering()
    assert found(tmp_path / "in", policy) == ["pear/2.jpg", "c/1.jpg"]
    assert policy.again == [str(tmp_path / "in" / name) for name in ("m", "x")]


def test_a_folder_that_is_mounted_twice_is_entered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bind mount has device and inode of what it shows; here `os.stat` says so, for mounting takes rights."""
    files(tmp_path, "a/1.jpg", "b/1.jpg")
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: stat(str(path).replace("/b", "/a"), **more))
    assert found(tmp_path) == ["a/1.jpg"]


def test_file_systems_without_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for one: every folder has the number 0."""
    files(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    stat = os.stat

    def without_inode(path: str, **more: bool) -> os.stat_result:
        fields = list(stat(path, **more))
        fields[1] = 0
        return os.stat_result(fields)

    monkeypatch.setattr(os, "stat", without_inode)
    assert found(tmp_path) == ["a/1.jpg", "b/2.jpg"]


def test_a_tree_deeper_than_python_recurses(tmp_path: Path) -> None:
    levels = [str(tmp_path) + "/d" * depth for depth in range(1, 301)]
    for level in levels:
        os.mkdir(level)
    Path(levels[-1], "1.jpg").write_bytes(b"x")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        assert found(tmp_path) == ["d/" * len(levels) + "1.jpg"]
    finally:
        sys.setrecursionlimit(limit)


def test_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    files(tmp_path, "a/1.jpg")
    (tmp_path / "a" / "2.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "a" / "3.jpg").symlink_to(tmp_path / "a" / "3.jpg")
    (tmp_path / "a" / "4.jpg").symlink_to(tmp_path / "a" / "1.jpg")
    policy = Remembering()
    assert sorted(found(tmp_path, policy)) == ["a/1.jpg", "a/4.jpg"]
    assert sorted(policy.broken) == [str(tmp_path / "a" / name) for name in ("2.jpg", "3.jpg")]


def test_a_folder_that_may_not_be_entered_ends_the_listing(open_folder: Path) -> None:
    files(open_folder, "a/1.jpg", "locked/2.jpg")
    os.chmod(open_folder / "locked", 0)
    with without_root(), pytest.raises(StoreError) as caught:
        found(open_folder)
    assert caught.value.what == f"{open_folder}/locked: Permission denied"


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_that_is_not_to_be_entered_need_not_be_readable(open_folder: Path, link: bool) -> None:
    files(open_folder, "a/1.jpg", "behind/locked/2.jpg")
    (open_folder / "in").mkdir()
    (open_folder / "a").rename(open_folder / "in" / "a")
    if link:
        (open_folder / "in" / "locked").symlink_to(open_folder / "behind" / "locked")
        os.chmod(open_folder / "behind", 0)  # not even its kind can be asked for
    else:
        (open_folder / "behind" / "locked").rename(open_folder / "in" / "locked")
        os.chmod(open_folder / "in" / "locked", 0)
    with without_root():
        assert found(open_folder / "in", Remembering(skipped="locked")) == ["a/1.jpg"]
        with pytest.raises(StoreError, match="locked: Permission denied"):
            found(open_folder / "in")


def test_an_input_that_cannot_be_looked_at_is_not_called_missing(open_folder: Path) -> None:
    files(open_folder, "locked/in/1.jpg")
    os.chmod(open_folder / "locked", 0)
    with without_root(), pytest.raises(StoreError, match="Permission denied"):
        found(open_folder / "locked" / "in")
    with pytest.raises(NothingToReadError, match="does not exist"):
        found(open_folder / "absent")


def test_a_folder_that_is_deleted_meanwhile_is_passed_over(tmp_path: Path) -> None:
    files(tmp_path, "a/1.jpg", "b/2.jpg")
    entries = LocalStorage().list(str(tmp_path))
    first = next(entries)
    (tmp_path / "b" / "2.jpg").unlink()
    (tmp_path / "b").rmdir()
    assert [first.path, *(entry.path for entry in entries)] == [str(tmp_path / "a" / "1.jpg")]
