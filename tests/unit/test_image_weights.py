"""image/weights.py: the weights that a build of the image is given or downloads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from verger.config import RunConfig
from verger.network.backbones import resolve
from verger.network.mobilenet_v2 import PUBLISHED_ALPHAS
from verger.storage.stores import Stores

NAME = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
# Replaces the download from Keras' server.
SERVED = """
import verger.network.imagenet as imagenet
def download(url):
    assert url.startswith("https://") and url.endswith("/mobilenet_v2/{name}")
    return open({path!r}, "rb").read()
imagenet._download = download
"""


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that fit mobilenet_v2."""
    config = RunConfig(input="-", output="-", weights="random", alpha=1.0)
    assert config.alpha in PUBLISHED_ALPHAS
    path = tmp_path_factory.mktemp("weights") / "mine.npz"
    path.write_bytes(resolve(config, Stores()).weights.to_npz())
    return path


def keep(folder: Path, inject: str = "", **arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it as the build does; what it keeps is in ``folder / "kept"``."""
    (folder / "kept").mkdir()
    (folder / "sitecustomize.py").write_text(inject)
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}:{ROOT / 'job'}", "BACKBONE": "mobilenet_v2"}
    command = [sys.executable, ROOT / "image" / "weights.py", folder, folder / "kept"]
    return subprocess.run(command, env=variables | arguments, capture_output=True, text=True, timeout=120)


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "kept").iterdir()}


def assert_refused(done: subprocess.CompletedProcess[str], folder: Path, *words: str) -> None:
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("verger: ")
    assert all(word in line for word in words), line
    assert kept(folder) == {}


def test_a_file_that_fits_the_network_is_kept(tmp_path: Path, npz: Path) -> None:
    (tmp_path / "mine.npz").write_bytes(npz.read_bytes())
    done = keep(tmp_path, WEIGHTS="weights/mine.npz")
    assert (done.returncode, done.stderr) == (0, "")
    assert kept(tmp_path) == {"mine.npz": npz.read_bytes()}


def test_message_for_a_missing_file_names_it_and_where_to_put_it(tmp_path: Path) -> None:
    assert_refused(keep(tmp_path, WEIGHTS="elsewhere/mine.npz"), tmp_path, "elsewhere/mine.npz", "weights/FILE")


def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, npz: Path) -> None:
    (tmp_path / "mine.npz").write_bytes(npz.read_bytes())
    assert_refused(keep(tmp_path, WEIGHTS="weights/mine.npz", BACKBONE="vgg16"), tmp_path, "mine.npz", "vgg16")


def test_a_file_with_another_sha256_is_refused(tmp_path: Path, npz: Path) -> None:
    (tmp_path / "mine.npz").write_bytes(npz.read_bytes())
    wanted = "0" * 64
    assert_refused(keep(tmp_path, WEIGHTS="weights/mine.npz", WEIGHTS_SHA256=wanted), tmp_path, wanted)


@pytest.mark.parametrize("settings", [{"BACKBONE": "resnet"}, {"WEIGHTS_SHA256": "abc"}])
def test_invalid_build_arguments_are_refused(tmp_path: Path, npz: Path, settings: dict[str, str]) -> None:
    (tmp_path / "mine.npz").write_bytes(npz.read_bytes())
    assert_refused(keep(tmp_path, WEIGHTS="weights/mine.npz", **settings), tmp_path, *map(str.lower, settings))


def test_without_sha256_nothing_is_downloaded(tmp_path: Path) -> None:
    done = keep(tmp_path, SERVED.format(name=NAME, path="/no/such/file"), WEIGHTS="imagenet")
    assert_refused(done, tmp_path, "WEIGHTS=imagenet", "WEIGHTS_SHA256")


def test_a_download_is_kept_under_the_name_that_a_run_looks_for(tmp_path: Path, npz: Path) -> None:
    served = SERVED.format(name=NAME, path=str(npz))
    digest = hashlib.sha256(npz.read_bytes()).hexdigest()
    done = keep(tmp_path, served, WEIGHTS="imagenet", WEIGHTS_SHA256=digest)
    assert (done.returncode, done.stderr) == (0, "")
    assert kept(tmp_path) == {NAME: npz.read_bytes()}


def test_a_download_with_another_sha256_is_not_kept(tmp_path: Path, npz: Path) -> None:
    served = SERVED.format(name=NAME, path=str(npz))
    done = keep(tmp_path, served, WEIGHTS="imagenet", WEIGHTS_SHA256="0" * 64)
    assert_refused(done, tmp_path, "0" * 64, hashlib.sha256(npz.read_bytes()).hexdigest())
