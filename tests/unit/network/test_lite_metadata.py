"""Metadata of TensorFlow Lite models."""

from __future__ import annotations

import flatbuffers
from flatbuffers.table import Table

from verger.network.lite_metadata import labels_text, metadata


def text(table: Table, slot: int) -> str:
    return str(table.String(table.Offset(4 + 2 * slot) + table.Pos).decode())


def below(table: Table, slot: int, place: int | None = None) -> Table:
    """The table of a field, or one of a vector of them."""
    at = table.Offset(4 + 2 * slot)
    assert at, "the field is not there"
    if place is None:
        return Table(table.Bytes, table.Indirect(at + table.Pos))
    return Table(table.Bytes, table.Indirect(table.Vector(at) + 4 * place))


def byte(table: Table, slot: int) -> int:
    return int(table.Get(flatbuffers.number_types.Int8Flags, table.Offset(4 + 2 * slot) + table.Pos))


class TestMetadata:
    def test_it_says_image_in_labels_out(self) -> None:
        written = metadata("Verger", "what", {"photograph": "RGB", "probabilities": "each"}, ["verger.json"])
        assert written[4:8] == b"M001"
        root = Table(bytearray(written), flatbuffers.encode.Get(flatbuffers.packer.uoffset, written, 0))
        assert (text(root, 0), text(root, 1), text(root, 7)) == ("Verger", "what", "1.0.0")
        assert text(below(root, 6, 0), 0) == "verger.json"
        graph = below(root, 3, 0)
        given, made = below(graph, 2, 0), below(graph, 3, 0)
        assert (text(given, 0), text(given, 1), text(made, 0)) == ("photograph", "RGB", "probabilities")
        assert byte(below(given, 3), 0) == 2  # ImageProperties
        assert byte(below(below(given, 3), 1), 0) == 1  # RGB
        labels = below(made, 6, 0)
        assert (text(labels, 0), byte(labels, 2)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS

    def test_labels_are_a_line_each(self) -> None:
        assert labels_text(["Apple 1", "Poire d'été", "odd\nname"]) == "Apple 1\nPoire d'été\nodd\\nname\n"

    def test_no_two_labels_are_the_same(self) -> None:
        odd = ["a b", "a\nb", "a\r\nb", "a\u2028b", "a\\nb", "a\\\\nb"]
        assert len(set(labels_text(odd).splitlines())) == len(odd)
