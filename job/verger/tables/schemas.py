"""The columns of the tables. A module of its own, as every Python worker imports it."""

from __future__ import annotations

import pyarrow as pa

# One row a photograph version.
FEATURES = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("version", pa.string()),
        ("sha256", pa.string()),
        ("size", pa.int64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("features", pa.list_(pa.float32())),
        ("extracted_at", pa.timestamp("us", tz="UTC")),
    ]
)
REJECTED = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("version", pa.string()),
        ("reason", pa.string()),
        ("message", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)
# Of rejects/: what the decoders were that rejected the photograph; null in files from before November 2026.
REMEMBERED = REJECTED.append(pa.field("decoders", pa.string()))
REFUSED = pa.schema([("path", pa.string()), ("version", pa.string())])
PROJECTION = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("split", pa.string()),
        ("pca_features", pa.list_(pa.float32())),
        ("version", pa.string()),
    ]
)
