"""storage: whatever is written appears whole or not at all."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
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


@pytest.fixture(params=[errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def no_hard_links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for a disk without hard links; tests/integration/test_file_systems.py has real ones."""

    def refused(*_: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(os, "link", refused)


@pytest.mark.usefixtures("no_hard_links")
def test_without_hard_links_publish_once_does_not_replace_a_file(tmp_path: Path) -> None:
    test_publish_once_does_not_replace_a_file(tmp_path)
    assert os.listdir(tmp_path / "deep") == ["x"]  # neither a lock nor a temporary file


@pytest.mark.usefixtures("no_hard_links")
def test_without_hard_links_one_of_many_publishers_wins(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).mkdir()
        test_one_of_many_publishers_wins(tmp_path / str(number))


@pytest.mark.parametrize("before", ["fcntl.flock", "os.replace"])
def test_a_publisher_that_is_killed_without_hard_links_leaves_no_file(tmp_path: Path, before: str) -> None:
    module, name = before.split(".")
    path = str(tmp_path / "manifest.json")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED.format(module=module, name=name, path=path)], capture_output=True, text=True
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not os.path.exists(path)
    assert all(name.startswith(".") for name in os.listdir(tmp_path))  # what readers skip
    LocalStorage().publish_once(path, b"whole")  # the dead one's lock is gone
    assert Path(path).read_bytes() == b"whole"


KILLED = """
import errno, os, signal
import fcntl
from verger.storage.local import LocalStorage
def no_links(*_):
    raise OSError(errno.EPERM, "Operation not permitted")
def dies(*_):
    os.kill(os.getpid(), signal.SIGKILL)
os.link = no_links
{module}.{name} = dies
LocalStorage().publish_once("{path}", b"half")
"""


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_that_cannot_flush_folders_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    flush = os.fsync

    def only_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    LocalStorage().write(str(tmp_path / "x"), b"data")
    LocalStorage().publish_once(str(tmp_path / "y"), b"data")


def test_a_rename_that_is_refused_names_the_file_that_the_user_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(source: str, target: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM), source, None, target)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(StoreError, match=rf"^{tmp_path}/x: Operation not permitted\. .* its file system"):
        LocalStorage().write(str(tmp_path / "x"), b"data")


def test_input_and_output_may_not_contain_one_another_where_a_folder_has_two_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for a disk on which case does not matter, or that is mounted twice."""
    (tmp_path / "In").mkdir()
    one, other, real = str(tmp_path / "In"), str(tmp_path / "in"), os.stat
    monkeypatch.setattr(os, "stat", lambda path, **named: real(one if path == other else path, **named))
    assert contains(one, join(other, "out"))
    assert not contains(join(other, "out"), one)


@pytest.mark.parametrize(
    ("code", "error", "advice"),
    [
        (errno.ENOSPC, DoesNotFitError, "Free some space"),
        (errno.EDQUOT, DoesNotFitError, "Free some space"),
        (errno.EFBIG, DoesNotFitError, "ulimit -f"),
        (errno.EACCES, StoreError, "permissions"),
        (errno.EROFS, StoreError, "Mount it for writing"),
        (errno.EIO, StoreError, "Check the disk"),
        (errno.ENOLCK, StoreError, "locks"),
        (errno.EMFILE, StoreError, "open files"),
        (errno.EBUSY, StoreError, "busy"),  # the system's words, and no advice
    ],
)
def test_system_errors_become_verger_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception], advice: str
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(error, match=str(tmp_path)) as raised:
        LocalStorage().write(join(str(tmp_path), "x"), b"data")
    assert advice in str(raised.value)
    assert ("permissions" in str(raised.value)) == (code == errno.EACCES)
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
