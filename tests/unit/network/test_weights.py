"""Weights: every file layout gives the same tensors, and errors are one line."""

from __future__ import annotations

import hashlib
import importlib.util
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests import weight_files
from tests.conftest import ROOT
from verger.config import RunConfig
from verger.errors import ExitCode, WeightsError
from verger.network import imagenet, weights
from verger.network.backbones import Network, resolve
from verger.network.recipe import Tensors
from verger.storage.stores import Stores

NO_TOP = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96_no_top.h5"
TOP = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_96.h5"


def network(**settings: Any) -> Network:
    config = RunConfig(input="in", output="out", **settings)
    return resolve(config, Stores(), config.seed)


def refused(**settings: Any) -> str:
    """The message for the user."""
    with pytest.raises(WeightsError) as caught:
        network(**settings)
    assert caught.value.exit_code is ExitCode.WEIGHTS
    return caught.value.line


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    return weight_files.tensors()


@pytest.fixture(scope="module")
def expected(tensors: Tensors) -> str:
    return weights.Weights("", tensors).digest


@pytest.fixture
def kept(tmp_path: Path) -> Callable[[bytes], str]:
    """Writes bytes to a file whose name does not say what is in it."""

    def keep(data: bytes) -> str:
        (tmp_path / "weights").write_bytes(data)
        return str(tmp_path / "weights")

    return keep


class TestLayouts:
    @pytest.mark.parametrize("layout", weight_files.LAYOUTS, ids=lambda layout: layout.__name__)
    def test_same_tensors(self, layout, tensors, expected, kept):
        data = layout(tensors)
        found = network(weights=kept(data))
        assert found.weights.digest == expected
        assert found.weights.sha256 == hashlib.sha256(data).hexdigest()
        assert (found.alpha, found.input_size) == (0.35, 96 if layout in weight_files.DESCRIBED else 224)

    def test_file_name_says_input_size(self, tensors, tmp_path):
        path = tmp_path / NO_TOP
        path.write_bytes(weight_files.h5_of_keras_2(tensors))
        assert network(weights=path.as_uri()).input_size == 96
        assert network(weights=str(path), input_size=128).input_size == 128

    def test_float16_and_float64_become_float32(self, tensors, kept):
        halves = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
        doubles = {name: tensor.astype(np.float64) for name, tensor in halves.items()}
        prints = {network(weights=kept(weight_files.npz(each))).fingerprint for each in (halves, doubles)}
        assert len(prints) == 1

    def test_real_files(self, data):
        h5 = network(weights=str(data / "weights" / "mobilenet_v2_0.35_224_no_top.h5"))
        npz = network(weights=str(data / "weights" / "mobilenet_v2_0.35_224_no_top.npz"))
        assert h5.fingerprint == npz.fingerprint
        assert (h5.alpha, h5.input_size, h5.dimension) == (0.35, 224, 1280)
        assert h5.weights.sha256 == "48a276a81d18d2ef0ef315263180a723e854f4bed345d36923773dfa1d1146cd"


class TestNpzBesideTheFeatures:
    def test_reads_back_to_the_same_fingerprint(self, tensors, kept):
        first = network(weights=kept(weight_files.keras(tensors)))
        again = network(weights=kept(first.weights.to_npz()))
        assert first.input_size == 96
        assert again.fingerprint == first.fingerprint

    def test_same_bytes(self, tensors):
        backwards = dict(reversed(tensors.items()))
        assert weights.Weights("a", tensors).to_npz() == weights.Weights("b", backwards).to_npz()


class TestBundled:
    def test_needs_no_file(self):
        bundled = network()
        assert (bundled.alpha, bundled.input_size, bundled.dimension) == (1.0, 224, 1280)
        assert bundled.weights.sha256 == weights.BUNDLED_SHA256
        assert sum(tensor.size for tensor in bundled.weights.tensors.values()) == 2_257_984

    def test_equals_its_source(self, data):
        source = data / "weights" / "mobilenet_v2_1.0_224_no_top.dequantized.h5"
        assert network(weights=str(source)).fingerprint == network().fingerprint

    @pytest.fixture
    def script(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("bundle_weights", ROOT / "scripts" / "bundle_weights.py")
        script = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(script)
        return script

    def test_script_makes_the_same_bytes(self, script, data, tmp_path, monkeypatch):
        monkeypatch.setattr(script, "TARGET", tmp_path / "data" / weights.BUNDLED)
        source = data / "weights" / "mobilenet_v2_1.0_224_no_top.dequantized.h5"
        monkeypatch.setattr("sys.argv", ["bundle_weights.py", str(source)])
        script.main()
        assert hashlib.sha256(script.TARGET.read_bytes()).hexdigest() == weights.BUNDLED_SHA256

    def test_script_refuses_kernels_that_are_not_products_of_8_bit_values(self, script):
        kernel = np.random.default_rng(0).standard_normal((1, 1, 64, 8), np.float32)
        with pytest.raises(ValueError, match="8 channels"):
            script.quantize(kernel, 3)

    def test_notice_has_the_sha256(self):
        assert weights.BUNDLED_SHA256 in (ROOT / "NOTICE").read_text()

    def test_damaged(self, monkeypatch):
        monkeypatch.setattr(weights, "BUNDLED_SHA256", "f" * 64)
        assert "f" * 64 in refused()

    def test_other_alpha(self):
        assert "alpha 1.0, not 0.5" in refused(alpha=0.5)


class TestRandom:
    def test_seeded(self):
        one, again, other = (network(weights="random", alpha=0.35, seed=seed) for seed in (1, 1, 2))
        assert one.fingerprint == again.fingerprint != other.fingerprint
        assert one.weights.source == "random (seed 1)"
        assert one.weights.sha256 is None

    def test_sha256_is_refused_because_there_is_no_file(self):
        assert "no SHA-256" in refused(weights="random", weights_sha256="0" * 64)


class TestRefused:
    def test_message_of_a_wrong_sha256_names_both(self, tensors, kept):
        data = weight_files.npz(tensors)
        line = refused(weights=kept(data), weights_sha256="0" * 64)
        assert hashlib.sha256(data).hexdigest() in line
        assert "0" * 64 in line

    def test_right_sha256_passes(self, tensors, kept):
        data = weight_files.npz(tensors)
        assert network(weights=kept(data), weights_sha256=hashlib.sha256(data).hexdigest()).alpha == 0.35

    @pytest.mark.parametrize(
        ("name", "change", "says"),
        [
            ("block_9_project_BN/moving_mean", lambda tensor: None, "needs block_9_project_BN/moving_mean"),
            ("block_5_expand/kernel", lambda tensor: tensor[..., :-8], "needs (1, 1, 16, 96)"),
            ("Conv_1/kernel", lambda tensor: np.where(tensor == tensor.max(), np.nan, tensor), "not finite"),
            ("bn_Conv1/beta", lambda tensor: tensor * np.inf, "not finite"),
            ("bn_Conv1/moving_variance", lambda tensor: -tensor, "negative"),
            ("bn_Conv1/gamma", lambda tensor: tensor.astype(np.int32), "int32"),
        ],
        ids=["missing", "shape", "nan", "infinite", "variance", "integers"],
    )
    def test_invalid_tensor(self, name, change, says, tensors, kept):
        changed = change(tensors[name])
        others = {other: tensor for other, tensor in tensors.items() if other != name}
        line = refused(weights=kept(weight_files.npz(others if changed is None else others | {name: changed})))
        assert name in line
        assert says in line

    def test_other_network(self, tensors, kept):
        path = kept(weight_files.npz(tensors))
        assert "no layer of vgg16" in refused(weights=path, backbone="vgg16")
        assert "alpha 0.35, not 1.0" in refused(weights=path, alpha=1.0)

    @pytest.mark.parametrize(
        "layout",
        [weight_files.npz, weight_files.keras, weight_files.h5_of_keras_2, weight_files.h5_of_keras_3],
        ids=lambda layout: layout.__name__,
    )
    @pytest.mark.parametrize("share", [0.001, 0.3, 0.99])
    def test_truncated(self, layout, share, tensors, kept):
        data = layout(tensors)
        assert "weights" in refused(weights=kept(data[: int(share * len(data))]))

    @pytest.mark.parametrize("data", [b"", b"PK", b"\x89HDF\r\n\x1a\n", b"GIF89a" * 99], ids=repr)
    def test_garbage(self, data, kept):
        line = refused(weights=kept(data))
        assert "cannot be read" in line or "no .h5, .keras or .npz" in line

    def test_pickles_are_not_opened(self, kept):
        objects = {"Conv1/kernel": np.array([Path("x")], dtype=object)}
        assert "pickle" in refused(weights=kept(weight_files.npz(objects)))

    def test_no_such_file(self, tmp_path):
        assert "does not exist" in refused(weights=str(tmp_path / "none.h5"))
        assert "directory" in refused(weights=str(tmp_path))


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; the address of the server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class TestImagenet:
    SETTINGS: dict[str, Any] = {"weights": "imagenet", "alpha": 0.35, "input_size": 96}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def cache(self, tmp_path, monkeypatch) -> Path:
        """An empty cache of Keras, and no network."""
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
        monkeypatch.setattr(imagenet, "URL", "http://127.0.0.1:1/")
        return tmp_path / "keras" / "models"

    @pytest.fixture
    def file(self, tensors) -> bytes:
        return weight_files.h5_of_keras_2(tensors)

    def test_weights_dir_is_searched_before_the_cache(self, tmp_path, cache, file, expected):
        cache.mkdir(parents=True)
        (cache / NO_TOP).write_bytes(b"not looked at")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / NO_TOP).write_bytes(file)
        found = network(**self.SETTINGS, weights_dir=str(tmp_path / "mine"))
        assert found.weights.digest == expected
        assert found.weights.source == str(tmp_path / "mine" / NO_TOP)

    def test_file_with_classifier_in_the_cache_is_used(self, tmp_path, cache, file, expected):
        cache.mkdir(parents=True)
        (cache / TOP).write_bytes(file)
        assert network(**self.SETTINGS, weights_dir=str(tmp_path / "none")).weights.digest == expected

    def test_downloaded_once(self, tmp_path, cache, file, expected, monkeypatch):
        (tmp_path / "web" / "mobilenet_v2").mkdir(parents=True)
        (tmp_path / "web" / "mobilenet_v2" / NO_TOP).write_bytes(file)
        with serving(tmp_path / "web") as url:
            monkeypatch.setattr(imagenet, "URL", url)
            assert network(**self.SETTINGS).weights.digest == expected
        assert (cache / NO_TOP).read_bytes() == file
        assert network(**self.SETTINGS).weights.source == str(cache / NO_TOP)

    def test_cache_that_cannot_be_written(self, tmp_path, file, expected, monkeypatch):
        (tmp_path / "web" / "mobilenet_v2").mkdir(parents=True)
        (tmp_path / "web" / "mobilenet_v2" / NO_TOP).write_bytes(file)
        (tmp_path / "keras").write_text("a file where the cache should be")
        with serving(tmp_path / "web") as url:
            monkeypatch.setattr(imagenet, "URL", url)
            assert network(**self.SETTINGS).weights.digest == expected

    def test_offline_message_names_the_alternatives(self, tmp_path):
        line = refused(**self.SETTINGS, weights_dir=str(tmp_path))
        for way in (NO_TOP, str(tmp_path), "--weights-dir", "--weights PATH", "--weights bundled"):
            assert way in line
        assert "bundled" not in refused(backbone="vgg16", weights="imagenet")

    def test_incomplete_download(self, monkeypatch):
        def answer(server: socket.socket) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of it")

        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=answer, args=(server,), daemon=True).start()
            monkeypatch.setattr(imagenet, "URL", f"http://127.0.0.1:{server.getsockname()[1]}/")
            assert "cannot be read" in refused(**self.SETTINGS)

    def test_server_without_the_file(self, tmp_path, monkeypatch):
        with serving(tmp_path) as url:
            monkeypatch.setattr(imagenet, "URL", url)
            assert "404" in refused(**self.SETTINGS)

    def test_server_that_never_answers(self, monkeypatch):
        monkeypatch.setattr(imagenet, "_TIMEOUT_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as server:
            monkeypatch.setattr(imagenet, "URL", f"http://127.0.0.1:{server.getsockname()[1]}/")
            assert "timed out" in refused(**self.SETTINGS)

    def test_wrong_md5(self, cache):
        cache.mkdir(parents=True)
        (cache / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").write_bytes(b"half of it")
        line = refused(backbone="vgg16", weights="imagenet")
        assert hashlib.md5(b"half of it").hexdigest() in line
        assert "6d6bbae143d832006294945121d1f1fc" in line

    def test_alpha_without_published_weights(self):
        assert "0.35, 0.5, 0.75, 1.0, 1.3, 1.4" in refused(weights="imagenet", alpha=0.6)
