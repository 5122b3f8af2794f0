"""What a TensorFlow Lite model says of itself: its metadata, and the files appended to it as a ZIP archive.

The format is that of TensorFlow Lite Support, which Android Studio and MediaPipe Tasks read. Its writer is a package of
its own; the few tables that are needed here are written with flatbuffers, which TensorFlow brings.
Source: ``metadata_schema.fbs`` of tensorflow/tflite-support.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence

from verger.network.installed import needed

with needed():
    import flatbuffers

# The fields of the schema's tables, by slot, as far as they are needed.
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
_VERSION = "1.0.0"  # of the parser that the schema's oldest readers have
_IDENTIFIER = b"M001"
_NAME = b"TFLITE_METADATA"
_LABELS = "labels.txt"
_BREAK = re.compile("[\\\\\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")  # where str.splitlines breaks, and what escapes it
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same model, the same bytes


def labels_text(classes: Sequence[str]) -> str:
    """One class a line, in the order of the output; line breaks and backslashes in it are escaped, as in Python."""
    return "".join(_BREAK.sub(_escaped, name) + "\n" for name in classes)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def described(
    model: bytes,
    name: str,
    description: str,
    tensors: Mapping[str, str],
    classes: Sequence[str],
    more: Mapping[str, str],
) -> bytes:
    """A model that says what it is, with its labels.

    Parameters
    ----------
    model : bytes
        From one image to one probability a class.
    name, description : str
    tensors : mapping of str to str
        Name and description of the input, then of the output.
    classes : sequence of str
        Appended as ``labels.txt``.
    more : mapping of str to str
        Texts to append, by file name.

    Returns
    -------
    bytes
        The model, its metadata in it, and behind it an archive that any unzip reads.
    """
    with needed():
        from tensorflow.lite.python import schema_py_generated as schema
        from tensorflow.lite.tools import flatbuffer_utils

    made = flatbuffer_utils.convert_bytearray_to_object(bytearray(model))
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = _NAME, len(made.buffers)
    buffer.data = list(metadata(name, description, tensors, list(more)))
    made.metadata = [*(made.metadata or []), entry]
    made.buffers.append(buffer)
    sink = io.BytesIO(bytes(flatbuffer_utils.convert_object_to_bytearray(made)))
    with zipfile.ZipFile(sink, "a", zipfile.ZIP_STORED) as archive:  # readers map labels as they lie there
        for file, text in ({_LABELS: labels_text(classes)} | dict(more)).items():
            archive.writestr(zipfile.ZipInfo(file, _EPOCH), text)
    return sink.getvalue()


def metadata(name: str, description: str, tensors: Mapping[str, str], more: Sequence[str]) -> bytes:
    """The metadata alone; ``more`` are names of appended files besides the labels."""
    (taken, takes), (given, gives) = tensors.items()
    labels = _Table(_FILE, name=_LABELS, description="The classes, in the order of the output", type=_AXIS_LABELS)
    others = [_Table(_FILE, name=file, description="How the model was made", type=_DESCRIPTIONS) for file in more]
    image = _content(_IMAGE_PROPERTIES, _Table(_IMAGE, color_space=_RGB))
    numbers = _content(_FEATURE_PROPERTIES, _Table(()))
    graph = _Table(
        _SUBGRAPH,
        input_tensor_metadata=[_Table(_TENSOR, name=taken, description=takes, content=image)],
        output_tensor_metadata=[
            _Table(_TENSOR, name=given, description=gives, content=numbers, associated_files=[labels])
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
    """A table to write: the fields that its kind has, by slot, and values of some of them."""

    def __init__(self, fields: tuple[str, ...], **values: str | int | _Table | list[_Table]) -> None:
        self.fields = fields
        self.values = values


def _content(kind: int, properties: _Table) -> _Table:
    return _Table(_CONTENT, content_properties_type=kind, content_properties=properties)


def _written(builder: flatbuffers.Builder, value: str | _Table | list[_Table]) -> int:
    """Where the value is; what it refers to is written before it."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, list):
        places = [_written(builder, item) for item in value]
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return int(builder.EndVector())
    parts = {name: part if isinstance(part, int) else _written(builder, part) for name, part in value.values.items()}
    builder.StartObject(len(value.fields))
    for name, part in parts.items():
        byte = isinstance(value.values[name], int)  # as all numbers of these tables are
        prepend = builder.PrependInt8Slot if byte else builder.PrependUOffsetTRelativeSlot
        prepend(value.fields.index(name), part, 0)
    return int(builder.EndObject())
