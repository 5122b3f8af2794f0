"""tables/description: fingerprint.json and weights.npz, outside the folders of tables."""

from __future__ import annotations

from pathlib import Path

from verger.storage.local import LocalStorage
from verger.tables import description

FINGERPRINT = "pixels-20-f32-000000000000"


def describe(output: Path, dimension: int, weights: bytes) -> None:
    described = {"dimension": dimension}
    description.describe(LocalStorage(), str(output), FINGERPRINT, described, lambda: weights)


def test_fingerprint_and_weights_are_written_once(tmp_path: Path) -> None:
    describe(tmp_path, 2, b"weights")
    describe(tmp_path, 3, b"others")
    folder = tmp_path / "fingerprints" / FINGERPRINT
    assert (folder / "weights.npz").read_bytes() == b"weights"
    assert '"dimension": 2' in (folder / "fingerprint.json").read_text()


def test_in_an_older_output_they_stay_beside_the_features(tmp_path: Path) -> None:
    folder = tmp_path / "features" / FINGERPRINT
    folder.mkdir(parents=True)
    for name in ("fingerprint.json", "weights.npz"):
        (folder / name).write_bytes(b"old")
    describe(tmp_path, 2, b"weights")
    assert not (tmp_path / "fingerprints").exists()
    found = description.find(LocalStorage(), str(tmp_path), FINGERPRINT, "weights.npz")
    assert found == str(folder / "weights.npz")
