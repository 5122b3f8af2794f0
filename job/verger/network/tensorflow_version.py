"""The version of TensorFlow that is required. Its internals are used, which other versions may have changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version

from verger.errors import UsageError
from verger.redaction import words

REQUIRED = "2.21.0"
"""The same as in requirements/run.in."""


@contextmanager
def explain_import_errors() -> Iterator[None]:
    """Make one line for the user of any error of an import. Put it around imports of TensorFlow and its packages.

    Variables by which oneDNN would compute in bfloat16 what a fingerprint calls float32 are removed.

    Raises
    ------
    UsageError
        TensorFlow is not installed, cannot be loaded, or lacks what is imported.
    """
    for name in ("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "TF_SET_ONEDNN_FPMATH_MODE"):
        os.environ.pop(name, None)
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # an unfit protobuf raises an error of its own type
        raise UsageError(
            f"TensorFlow {REQUIRED} is needed, and {_installed()} ({type(error).__name__}: {words(error)})",
            f"Install verger with its requirements: tensorflow-cpu=={REQUIRED}",
        ) from error


def _installed() -> str:
    for package in ("tensorflow-cpu", "tensorflow"):
        try:
            found = version(package)
        except PackageNotFoundError:
            continue
        return f"{found} is installed but does not load" if found == REQUIRED else f"{found} is installed"
    return "none is installed"
