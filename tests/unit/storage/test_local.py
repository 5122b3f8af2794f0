"""storage: whatever is written appears whole or not at all."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from verger.errors import DoesNotFitError, NothingToReadError, Reason, Rejection, StoreError, UsageError
from verger.storage.base import AlreadyPublishedError
from verger.storage.local import LocalStorage
from verger.storage.stores import Stores
from verger.storage.uri import canonical, contains, join


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/a/b", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("file:/a b/c", "/a b/c"),
        ("file:///a/b", "/a/b"),
        ("//a/b", "/a/b"),
        ("file://localhost/a", "/a"),
        ("/odd%20name:1", "/odd%20name:1"),
    ],
)
def test_uris_have_one_canonical_form(uri: str, path: str) -> None:
    assert canonical(uri) == path


def test_an_object_is_found_by_any_valid_key() -> None:
    key = "in/../a//./b.jpg"
    assert Stores().of(f"s3://orchard/{key}").key(f"s3://orchard/{key}") == key  # type: ignore[attr-defined]


def test_a_relative_path_is_made_absolute() -> None:
    assert canonical("a") == os.path.join(os.getcwd(), "a")


@pytest.mark.parametrize("uri", ["gs://bucket/a", "http://host/a", "file://elsewhere/a"])
def test_other_schemes_and_hosts_are_refused(uri: str) -> None:
    with pytest.raises(UsageError, match=uri):
        canonical(uri)


def test_input_and_output_may_not_contain_one_another_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    assert contains(str(tmp_path / "in"), str(tmp_path / "link" / "out"))
    assert not contains(str(tmp_path / "in"), str(tmp_path / "inner"))


def test_listing_is_recursive_and_ends_in_a_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"123")
    (tmp_path / "y").write_bytes(b"")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    os.mkfifo(tmp_path / "pipe.jpg")
    found = {entry.path: entry.size for entry in LocalStorage().list(str(tmp_path))}
    assert found == {str(tmp_path / "a/b/x"): 3, str(tmp_path / "y"): 0}


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_bytes(b"")], ids=["absent", "file"])
def test_listing_what_is_no_folder_is_an_error(tmp_path: Path, make) -> None:
    make(tmp_path / "in")
    with pytest.raises(NothingToReadError, match=r"in (does not exist|is a file)"):
        list(LocalStorage().list(str(tmp_path / "in")))


def test_a_photograph_is_read_only_in_the_listed_version(tmp_path: Path) -> None:
    storage, path = LocalStorage(), tmp_path / "x"
    path.write_bytes(b"one")
    (entry,) = storage.list(str(tmp_path))
    assert storage.read_version(entry.path, entry.version) == b"one"
    path.write_bytes(b"another")
    with pytest.raises(Rejection) as changed:
        storage.read_version(entry.path, entry.version)
    path.unlink()
    with pytest.raises(Rejection) as vanished:
        storage.read_version(entry.path, entry.version)
    assert (changed.value.reason, vanished.value.reason) == (Reason.CHANGED, Reason.VANISHED)


def test_a_stream_that_fails_leaves_the_old_content(tmp_path: Path) -> None:
    storage, path = LocalStorage(), tmp_path / "x"
    storage.write(str(path), b"old")
    with pytest.raises(ZeroDivisionError), storage.stream(str(path)) as file:
        file.write(b"half of the new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


def test_publish_once_does_not_replace_a_file(tmp_path: Path) -> None:
    storage, path = LocalStorage(), str(tmp_path / "deep" / "x")
    storage.publish_once(path, b"first")
    with pytest.raises(AlreadyPublishedError):
        storage.publish_once(path, b"second")
    assert storage.read(path) == b"first"


def test_one_of_many_publishers_wins(tmp_path: Path) -> None:
    storage, path, won = LocalStorage(), str(tmp_path / "x"), []

    def publish(number: int) -> None:
        try:
            storage.publish_once(path, b"%d" % number)
            won.append(number)
        except AlreadyPublishedError:
            pass

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert storage.read(path) == b"%d" % won[0]


def test_updates_at_once_do_not_overwrite_each_other(tmp_path: Path) -> None:
    storage, path = LocalStorage(), str(tmp_path / "count")

    def count() -> None:
        for _ in range(20):
            storage.update(path, lambda data: b"%d" % (int(data or b"0") + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.read(path) == b"80"
    assert storage.update(path, lambda data: None) is False


@pytest.mark.parametrize(
    ("code", "error"), [(errno.ENOSPC, DoesNotFitError), (errno.EACCES, StoreError), (errno.EROFS, StoreError)]
)
def test_system_errors_become_verger_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code, error) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(error, match=str(tmp_path)):
        LocalStorage().write(join(str(tmp_path), "x"), b"data")
    assert os.listdir(tmp_path) == []


def test_reading_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NothingToReadError, match="does not exist"):
        LocalStorage().read(str(tmp_path / "x"))


def test_deleting_a_missing_file_is_no_error(tmp_path: Path) -> None:
    storage = LocalStorage()
    (tmp_path / "a" / "b").mkdir(parents=True)
    storage.delete(str(tmp_path / "a"))
    storage.delete(str(tmp_path / "a"))
    assert not storage.exists(str(tmp_path / "a"))
