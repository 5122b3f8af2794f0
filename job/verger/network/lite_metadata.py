"""Metadata of a TensorFlow Lite model, and the files that are appended to it as a ZIP archive.

The format is that of TensorFlow Lite Support; Android Studio and MediaPipe Tasks read it. There is a package that
writes it, but few tables are needed here: they are written with flatbuffers, which comes with TensorFlow.

Source: ``metadata_schema.fbs`` of github.com/tensorflow/tflite-support.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence

from verger.network.tensorflow_version import explain_import_errors

with explain_import_errors():
    import flatbuffers

# Fields of the schema's tables in the order of their slots, up to the last one that is used.
_MODEL = (
    *("name", "description", "version", "subgraph_metadata", "author", "license", "associated_files"),
    "min_parser_version",
)
_SUBGRAPH = ("name", "description", "input_tensor_metadata", "output_tensor_metadata")
_TENSOR = ("name", "description", "dimension_names", "content", "process_units", "stats", "associated_files")
_CONTENT = ("content_properties_type", "content_properties")
_IMAGE = ("color_space", "default_size")
_FILE = ("name", "description", "type")

_FEATURE_PROPERTIES, _IMAGE_PROPERTIES = 1, 2  # of the union ContentProperties
_RGB = 1
_DESCRIPTIONS, _AXIS_LABELS = 1, 2  # of AssociatedFileType
_VERSION = "1.0.0"  # of the oldest parser that can read these metadata
_IDENTIFIER = b"M001"
_NAME = b"TFLITE_METADATA"
_LABELS = "labels.txt"
_BREAK = re.compile("[\\\\\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")  # line breaks of str.splitlines, and the backslash
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time: the same model gives the same bytes


def labels_text(classes: Sequence[str]) -> str:
    """The text of the labels file: one class per line.

    Parameters
    ----------
    classes : sequence of str
        In the order of the model's output. Line breaks and backslashes in a name are escaped as in Python.

    Returns
    -------
    str
        Every line ends in a line feed.
    """
    return "".join(_BREAK.sub(_escaped, name) + "\n" for name in classes)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def add_metadata(
    model: bytes,
    name: str,
    description: str,
    tensors: Mapping[str, str],
    classes: Sequence[str],
    more: Mapping[str, str],
) -> bytes:
    """Add metadata and labels to a model.

    Parameters
    ----------
    model : bytes
        A TensorFlow Lite model from one image to one probability per class.
    name : str
        Of the model, for people.
    description : str
        Of the model, for people.
    tensors : mapping of str to str
        Name and description of the input, then of the output.
    classes : sequence of str
        Appended as ``labels.txt``, in the order of the output.
    more : mapping of str to str
        Texts to append, by file name.

    Returns
    -------
    bytes
        The model with its metadata, and behind it a ZIP archive that any unzip can read.

    Raises
    ------
    UsageError
        TensorFlow is not installed, or cannot be loaded.
    """
    with explain_import_errors():
        from tensorflow.lite.python import schema_py_generated as schema
        from tensorflow.lite.tools import flatbuffer_utils

    made = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = _NAME, len(made.buffers)
    buffer.data = list(metadata(name, description, tensors, list(more)))
    made.metadata = [*(made.metadata or []), entry]
    made.buffers.append(buffer)
    sink = io.BytesIO(bytes(flatbuffer_utils.convert_object_to_bytearray(made)))
    with zipfile.ZipFile(sink, "a", zipfile.ZIP_STORED) as archive:  # stored: readers map the labels into memory
        for file, text in ({_LABELS: labels_text(classes)} | dict(more)).items():
            archive.writestr(zipfile.ZipInfo(file, _EPOCH), text)
    return sink.getvalue()


def metadata(name: str, description: str, tensors: Mapping[str, str], more: Sequence[str]) -> bytes:
    """The metadata alone, as a flatbuffer.

    Parameters
    ----------
    name : str
        Of the model, for people.
    description : str
        Of the model, for people.
    tensors : mapping of str to str
        Name and description of the input, then of the output.
    more : sequence of str
        Names of the appended files, without ``labels.txt``.

    Returns
    -------
    bytes
        With the file identifier ``M001``.
    """
    (input_name, input_text), (output_name, output_text) = tensors.items()
    labels = _Table(_FILE, name=_LABELS, description="The classes, in the order of the output", type=_AXIS_LABELS)
    others = [_Table(_FILE, name=file, description="How the model was made", type=_DESCRIPTIONS) for file in more]
    image = _content(_IMAGE_PROPERTIES, _Table(_IMAGE, color_space=_RGB))
    numbers = _content(_FEATURE_PROPERTIES, _Table(()))
    graph = _Table(
        _SUBGRAPH,
        input_tensor_metadata=[_Table(_TENSOR, name=input_name, description=input_text, content=image)],
        output_tensor_metadata=[
            _Table(_TENSOR, name=output_name, description=output_text, content=numbers, associated_files=[labels])
        ],
    )
    model = _Table(
        _MODEL,
        name=name,
        description=description,
        subgraph_metadata=[graph],
        associated_files=others,
        min_parser_version=_VERSION,
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(_written(builder, model), _IDENTIFIER)
    return bytes(builder.Output())


class _Table:
    """A table to write: names of its fields in the order of their slots, and the values of those that are set."""

    def __init__(self, fields: tuple[str, ...], **values: str | int | _Table | list[_Table]) -> None:
        self.fields = fields
        self.values = values


def _content(kind: int, properties: _Table) -> _Table:
    return _Table(_CONTENT, content_properties_type=kind, content_properties=properties)


def _written(builder: flatbuffers.Builder, value: str | _Table | list[_Table]) -> int:
    """Write a value, and before it all that it refers to; return its offset."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, list):
        offsets = [_written(builder, item) for item in value]
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())
    parts = {name: part if isinstance(part, int) else _written(builder, part) for name, part in value.values.items()}
    builder.StartObject(len(value.fields))
    for name, part in parts.items():
        byte = isinstance(value.values[name], int)  # all numbers of these tables are bytes
        prepend = builder.PrependInt8Slot if byte else builder.PrependUOffsetTRelativeSlot
        prepend(value.fields.index(name), part, 0)
    return int(builder.EndObject())
