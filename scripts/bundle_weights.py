"""Pack the MobileNetV2 weights that were made from an 8-bit model back into 8 bits, exactly.

    python scripts/bundle_weights.py mobilenet_v2_1.0_224_no_top.dequantized.h5

writes job/verger/network/data/, the same bytes each time, and prints the SHA-256 sums that belong into
job/verger/network/weights.py and NOTICE. The source is described in NOTICE.
"""

from __future__ import annotations

import argparse
import hashlib
import io
from pathlib import Path

import numpy as np

from verger.config import NetworkSettings
from verger.network import mobilenet_v2
from verger.network.recipe import Tensors
from verger.network.weights import BUNDLED, load, unpack
from verger.storage.stores import Stores

TARGET = Path(__file__).parents[1] / "job" / "verger" / "network" / "data" / BUNDLED
LEVELS = 127


def quantize(kernel: np.ndarray, channel_axis: int) -> tuple[np.ndarray, np.ndarray]:
    """The whole numbers and the scale a channel of which a kernel is the exact product.

    Returns
    -------
    levels : int8, shape of ``kernel``
    scale : float32, 1 but along ``channel_axis``

    Raises
    ------
    ValueError
        It is no such product.
    """
    axes = tuple(axis for axis in range(kernel.ndim) if axis != channel_axis)
    largest = np.abs(kernel).max(axes, keepdims=True)
    # The largest value of a channel is 127 times its scale, rounded: the scale is one of the floats about there.
    scales = np.where(largest > 0, largest / np.float32(LEVELS), np.float32(1))
    exact = np.zeros(scales.shape, bool)
    chosen = scales.copy()
    for step in (0, 1, -1, 2, -2):
        scale = scales.copy()
        for _ in range(abs(step)):
            scale = np.nextafter(scale, np.float32(np.inf * step))
        levels = np.clip(np.rint(kernel / scale), -LEVELS, LEVELS)
        fits = ((levels * scale) == kernel).all(axes, keepdims=True)
        chosen = np.where(fits & ~exact, scale, chosen)
        exact |= fits
    if not exact.all():
        raise ValueError(f"{np.count_nonzero(~exact)} channels are no multiples of a scale")
    return np.rint(kernel / chosen).astype(np.int8), chosen


def pack(tensors: Tensors) -> Tensors:
    """The bundled form of canonical tensors; see `verger.network.weights.unpack`."""
    arrays = {}
    for name, tensor in sorted(tensors.items()):
        weight = name.rpartition("/")[2]
        if weight == "beta":
            arrays[name] = tensor
        elif weight.endswith("kernel"):
            arrays[name], arrays[f"{name}_scale"] = quantize(tensor, 2 if weight == "depthwise_kernel" else 3)
    return arrays


def main() -> None:
    """Pack, prove that it is exact, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="the .h5 file")
    source = parser.parse_args().source
    weights = load(NetworkSettings(weights=source), mobilenet_v2.recipe(1.0), Stores())
    arrays = pack(weights.tensors)
    for name, tensor in unpack(arrays).items():
        if tensor.tobytes() != weights.tensors[name].tobytes():
            raise SystemExit(f"{source}: {name} does not come back exactly")
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(file.getvalue())
    print(f"{weights.sha256}  {Path(source).name}")
    print(f"{hashlib.sha256(file.getvalue()).hexdigest()}  {TARGET.name}, {len(file.getvalue())} bytes")


if __name__ == "__main__":
    main()
