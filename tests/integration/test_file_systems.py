"""Outputs on disks that cannot do all that ext4 can: real ones where the machine can mount them, and stand-ins."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

import verger
from tests.integration.runs import finished, photographs, run
from tests.integration.runs import verger as start
from verger.storage.base import AlreadyPublishedError
from verger.storage.local import LocalStorage

# How a disk is made and mounted, with what the machine may have: by its kernel, or by a FUSE driver (Debian: exfat-fuse
# with exfatprogs, fusefat with dosfstools).
DISKS = {
    "vfat": (["mkfs.vfat"], ["mount", "-t", "vfat"]),
    "exfat": (["mkfs.exfat"], ["mount", "-t", "exfat"]),
    "exfat-fuse": (["mkfs.exfat"], ["mount.exfat-fuse"]),
    "fusefat": (["mkfs.vfat"], ["fusefat", "-o", "rw+"]),  # refuses chmod
}

# In the place of a disk without hard links, and of one that refuses chmod below the folder NO_CHMOD.
REFUSING = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
int link(const char *from, const char *to) { errno = EPERM; return -1; }
int linkat(int a, const char *from, int b, const char *to, int flags) { errno = EPERM; return -1; }
static int refused(const char *path) {
    const char *below = getenv("NO_CHMOD");
    if (!below || !strstr(path, below)) return 0;
    errno = ENOSYS;
    return 1;
}
int fchmodat(int folder, const char *path, mode_t mode, int flags) {
    int (*real)(int, const char *, mode_t, int) = dlsym(RTLD_NEXT, "fchmodat");
    return refused(path) ? -1 : real(folder, path, mode, flags);
}
int chmod(const char *path, mode_t mode) {
    int (*real)(const char *, mode_t) = dlsym(RTLD_NEXT, "chmod");
    return refused(path) ? -1 : real(path, mode);
}
"""


@pytest.fixture(params=list(DISKS))
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own kind, mounted below ``tmp_path``."""
    make, mount = DISKS[request.param]
    missing = [program for program in (make[0], mount[0], "losetup") if shutil.which(program) is None]
    if missing or os.geteuid():
        pytest.skip(f"cannot mount {request.param}: {f'no {missing[0]}' if missing else 'not root'}")
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(96 << 20)
    subprocess.run([*make, image], check=True, capture_output=True)
    device = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True)
    if device.returncode:
        pytest.skip(f"cannot mount {request.param}: {device.stderr.strip()}")
    loop = device.stdout.strip()
    try:
        mounted = subprocess.run([*mount, loop, place], capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"cannot mount {request.param}: {mounted.stderr.splitlines()[0]}")
        yield place
    finally:
        subprocess.run(["umount", place], capture_output=True)
        subprocess.run(["losetup", "--detach", loop], capture_output=True)


@pytest.fixture
def refusing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are started find hard links refused."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler (Debian: apt-get install gcc)")
    (tmp_path / "refusing.c").write_text(REFUSING)
    library = tmp_path / "refusing.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "refusing.c", "-ldl"], check=True)
    monkeypatch.setenv("LD_PRELOAD", str(library))


def publish(path: str, number: int) -> int | None:
    """Publish a number; give it where it was the first."""
    try:
        LocalStorage().publish_once(path, b"%d" % number)
    except AlreadyPublishedError:
        return None
    return number


@pytest.mark.slow
def test_a_real_disk_without_hard_links_gets_the_table(spark, disk: Path, tmp_path: Path) -> None:
    (disk / "a").touch()
    with pytest.raises(OSError):
        os.link(disk / "a", disk / "b")
    photographs(tmp_path / "in", 20)
    (tmp_path / "in" / "empty.jpg").touch()
    run(spark, tmp_path, output=str(disk / "out"), csv=True)
    photographs(tmp_path / "in", 4, start=20)
    again = run(spark, tmp_path, output=str(disk / "out"))
    assert (again["photographs"]["known"], again["photographs"]["computed"]) == (20, 4)
    assert json.loads((disk / "out" / "latest.json").read_text())["run_id"] == again["run_id"]
    run(spark, tmp_path)
    assert verger.load(str(disk / "out")).equals(verger.load(str(tmp_path / "out")))


def test_on_a_real_disk_one_of_many_publishers_wins(disk: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        for round_ in range(10):
            path = str(disk / f"{round_}.json")
            won = [number for number in pool.map(publish, [path] * 8, range(8)) if number is not None]
            assert len(won) == 1
            assert Path(path).read_bytes() == b"%d" % won[0]
    assert [path.name for path in disk.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_a_real_disk_that_refuses_chmod_gets_the_table(disk: Path, tmp_path: Path) -> None:
    (disk / "a").touch()
    try:
        os.chmod(disk / "a", 0o640)
        pytest.skip("this one does not refuse chmod")
    except OSError as error:
        assert error.errno in (errno.EPERM, errno.ENOSYS)
    assert_chmod_is_needed_for_the_event_log_alone(tmp_path, disk / "out")


def assert_chmod_is_needed_for_the_event_log_alone(folder: Path, output: Path) -> None:
    photographs(folder / "in", 4)
    settings = ["--backbone", "pixels", "--input-size", "8", "--cores", "1"]
    run = ("run", "--input", str(folder / "in"), "--output", str(output), *settings)
    code, stderr, _ = finished(start(*run))
    assert code == 0, stderr
    assert verger.load(str(output)).num_rows == 4
    photographs(folder / "in", 1, start=4)
    code, stderr, _ = finished(start(*run, "--event-log", str(output / "events")))
    assert code == 4, stderr
    (line,) = [line for line in stderr.splitlines() if not line.startswith("{")]
    assert line.startswith(f"verger: Spark cannot set permissions: chmod: changing permissions of '{output}/events")
    assert "Give an --event-log whose file system lets this user set them" in line
    found = start("doctor", "--output", str(output), *settings)
    stdout, _ = found.communicate(timeout=120)
    assert found.returncode == 0, stdout


@pytest.mark.slow
@pytest.mark.required_in_ci
@pytest.mark.usefixtures("refusing")
def test_without_hard_links_a_run_ends_well(tmp_path: Path) -> None:
    """By LD_PRELOAD, in the place of a disk that the machine may not be able to mount."""
    photographs(tmp_path / "in", 20)
    places = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    code, stderr, lines = finished(start("run", *places, "--backbone", "pixels", "--input-size", "8", "--cores", "1"))
    assert code == 0, stderr
    assert lines[-1]["projected"] == verger.load(str(tmp_path / "out")).num_rows == 20


@pytest.mark.slow
@pytest.mark.required_in_ci
@pytest.mark.usefixtures("refusing")
def test_a_disk_that_refuses_chmod_gets_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By LD_PRELOAD, in the place of a mount of another user, or of a FUSE driver that cannot do it."""
    monkeypatch.setenv("NO_CHMOD", str(tmp_path / "out"))
    assert_chmod_is_needed_for_the_event_log_alone(tmp_path, tmp_path / "out")
