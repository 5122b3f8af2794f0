"""Put the weights that a build of the image asks for into a folder: weights.py GIVEN FOLDER.

The build's arguments come as variables: WEIGHTS is the name of a file of the build's context, which lies in the folder
GIVEN, or `imagenet`, which is fetched; WEIGHTS_SHA256, needed for the latter; BACKBONE.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from verger.config import NetworkSettings, load
from verger.errors import UsageError, VergerError
from verger.network.backbones import resolve
from verger.storage.stores import Stores


def keep(given: Path, folder: Path, weights: str, sha256: str | None, backbone: str) -> None:
    """See that these are weights of the network, and of this SHA-256 where one is told, and put them into the folder.

    Raises
    ------
    VergerError
        They are not to be had, not those, or not told exactly enough.
    """
    with tempfile.TemporaryDirectory() as cache:
        if weights == "imagenet":
            if not sha256:
                raise UsageError(
                    "WEIGHTS=imagenet is downloaded, and nothing says what should come",
                    "Give its digest too: --build-arg WEIGHTS_SHA256=...",
                )
            os.environ["KERAS_HOME"] = cache
            source = weights
        elif (file := given / Path(weights).name).is_file():
            source = str(file)
        else:
            raise UsageError(
                f"WEIGHTS={weights}: there is no such file in the build's context",
                "Put it into the folder weights beside the Dockerfile: --build-arg WEIGHTS=weights/FILE",
            )
        asked = {"weights": source, "weights_sha256": sha256, "backbone": backbone}
        resolve(load(asked, None, NetworkSettings), Stores())
        (found,) = Path(cache, "models").iterdir() if weights == "imagenet" else [file]
        shutil.copy(found, folder)


if __name__ == "__main__":
    try:
        sha256 = os.environ.get("WEIGHTS_SHA256") or None
        keep(Path(sys.argv[1]), Path(sys.argv[2]), os.environ["WEIGHTS"], sha256, os.environ["BACKBONE"])
    except VergerError as error:
        sys.exit(f"verger: {error.line}")
