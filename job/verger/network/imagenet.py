"""Keras' own weights, trained on ImageNet: from a folder, from Keras' cache, or downloaded from its server."""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPException

from rich.console import Console
from rich.progress import wrap_file

from verger.config import NetworkSettings
from verger.errors import VergerError, WeightsError
from verger.network.mobilenet_v2 import PUBLISHED_ALPHAS
from verger.storage.stores import Stores
from verger.storage.uri import canonical, join

# keras.utils.get_file is not used: it imports TensorFlow and writes to stdout.
URL = "https://storage.googleapis.com/tensorflow/keras-applications/"
"""The same as in keras.applications."""

SIZES = (96, 128, 160, 192, 224)
"""Edges in pixels of the inputs for which there are MobileNetV2 weights."""

# As in keras.applications, which states none for MobileNetV2.
_MD5 = {
    "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5": "6d6bbae143d832006294945121d1f1fc",
    "vgg16_weights_tf_dim_ordering_tf_kernels.h5": "64373286793e3c8b2b4e3219cbf3544b",
}
_TIMEOUT_S = 20


def find(config: NetworkSettings, stores: Stores) -> tuple[str, bytes]:
    """Find the file that Keras would use, or download it into Keras' cache.

    Parameters
    ----------
    config : NetworkSettings
        ``backbone``, ``alpha`` and ``input_size`` name the file; ``weights_dir`` is searched first.
    stores : Stores
        How the folders are reached.

    Returns
    -------
    path : str
        Where it was found: a path, or the address from which it was downloaded.
    data : bytes
        The file.

    Raises
    ------
    WeightsError
        There is no such file, it cannot be downloaded, or its MD5 is not the one that Keras states.
    """
    without_top, with_top = _names(config)
    folders = list(_folders(config))
    for folder in folders:
        for name in (without_top, with_top):
            path = join(folder, name)
            if stores.of(path).exists(path):
                return path, _verified(path, name, stores.of(path).read(path))
    url = f"{URL}{config.backbone}/{without_top}"
    try:
        data = _download(url)
    except (OSError, HTTPException) as error:
        raise WeightsError(
            f"weights imagenet: {without_top} is not in {' or '.join(folders)}, and {url} cannot be read: {error}",
            "Put that file into a folder and give --weights-dir, or give --weights PATH"
            + (", or use --weights bundled" if config.backbone == "mobilenet_v2" else ""),
        ) from error
    data = _verified(url, without_top, data)
    with suppress(VergerError):  # go on without a cache
        stores.of(folders[-1]).write(join(folders[-1], without_top), data)
    return url, data


def _names(config: NetworkSettings) -> tuple[str, str]:
    """Names of Keras' files without and with the classifier."""
    stem = f"{config.backbone}_weights_tf_dim_ordering_tf_kernels"
    if config.backbone == "vgg16":
        return f"{stem}_notop.h5", f"{stem}.h5"
    alpha = 1.0 if config.alpha is None else config.alpha
    if alpha not in PUBLISHED_ALPHAS:
        published = ", ".join(map(str, sorted(PUBLISHED_ALPHAS)))
        raise WeightsError(f"there are no imagenet weights for alpha {alpha}", f"There are some for {published}")
    size = config.input_size if config.input_size in SIZES else 224
    return f"{stem}_{alpha}_{size}_no_top.h5", f"{stem}_{alpha}_{size}.h5"


def _folders(config: NetworkSettings) -> Iterator[str]:
    if config.weights_dir is not None:
        yield canonical(config.weights_dir)
    yield os.path.join(sys.prefix, "weights")  # where the container image has its weights
    yield canonical(join(os.environ.get("KERAS_HOME") or "~/.keras", "models"))


def _verified(where: str, name: str, data: bytes) -> bytes:
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    if md5 != _MD5.get(name, md5):
        raise WeightsError(f"{where} has MD5 {md5}, where Keras states {_MD5[name]}", "Remove it, and get it again")
    return data


def _download(url: str) -> bytes:
    console = Console(stderr=True)
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
        size = int(response.headers.get("Content-Length", 0))
        description = f"Downloading {url.rpartition('/')[2]}"
        with wrap_file(
            response, size, description=description, console=console, disable=not console.is_terminal
        ) as file:
            data = b"".join(iter(lambda: file.read(1 << 16), b""))
    if size and len(data) != size:
        raise OSError(f"{len(data)} of {size} bytes came")
    return data
