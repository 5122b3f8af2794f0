"""Objects as files that pyarrow reads in ranges: of a Parquet file, only the columns that are asked for."""

from __future__ import annotations

import io
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.fs as pafs

from verger.errors import NothingToReadError, StoreError
from verger.storage.buckets import Bucket

# The end of a Parquet file, with its footer and often all that is wanted, comes with the first request.
_TAIL = 1 << 16


class Objects(Protocol):
    """What files in ranges need of a store."""

    @property
    def bucket(self) -> Bucket:
        """Whose objects they are."""

    def get(self, path: str, **conditions: str) -> tuple[bytes, Any]:
        """The content, or the range of it that the conditions ask for, and the whole answer."""


class RangedFile(io.RawIOBase):
    """One object, in the version in which it was opened.

    Parameters
    ----------
    storage : Objects
    path : str

    Raises
    ------
    FileNotFoundError
        As pyarrow expects it.
    """

    def __init__(self, storage: Objects, path: str) -> None:
        self._storage, self._path, self._position = storage, path, 0
        self._tail, answer = self._get(f"bytes=-{_TAIL}")
        self._etag = answer.get("ETag", "")
        self.length = int(answer.get("ContentRange", f"/{len(self._tail)}").rpartition("/")[2])

    def _get(self, span: str, **condition: str) -> tuple[bytes, Any]:
        try:
            return self._storage.get(self._path, Range=span, **condition)
        except NothingToReadError as error:
            raise FileNotFoundError(error.line) from error
        except StoreError as error:
            refused = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
            if refused == "InvalidRange":  # it is empty
                return b"", {}
            raise

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.length}[whence]
        self._position = base + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        start = self._position
        end = self.length if size is None or size < 0 else min(self.length, start + size)
        if start >= end:
            return b""
        before_tail = self.length - len(self._tail)
        if start >= before_tail:
            data = self._tail[start - before_tail : end - before_tail]
        else:
            data, _ = self._get(f"bytes={start}-{end - 1}", IfMatch=self._etag)
        self._position += len(data)
        return bytes(data)

    def readall(self) -> bytes:
        return self.read()


class RangedFiles(pafs.FileSystemHandler):  # type: ignore[misc]
    """What pyarrow needs to read the objects that it is given by name; it lists and writes nothing."""

    def __init__(self, storage: Objects) -> None:
        self._storage = storage

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangedFiles) and other._storage.bucket == self._storage.bucket

    def __hash__(self) -> int:
        return hash(self._storage.bucket)

    def get_type_name(self) -> str:
        return "verger-s3"

    def normalize_path(self, path: str) -> str:
        return path

    def open_input_file(self, path: str) -> pa.NativeFile:
        return pa.PythonFile(RangedFile(self._storage, path), mode="r")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self.open_input_file(path)

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [pafs.FileInfo(path, pafs.FileType.File) for path in paths]

    def _refuse(self, *_: Any) -> Any:
        raise io.UnsupportedOperation("objects are read here, and listed, written and removed by Storage")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = (
        _refuse
    )
    move = copy_file = open_output_stream = open_append_stream = _refuse
