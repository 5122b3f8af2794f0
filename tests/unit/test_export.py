"""insight/export: one dense layer for scaler, PCA and classifier, and a model that says what it is."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import flatbuffers
import numpy as np
import pytest
from flatbuffers.table import Table

from tests.insight import clouds
from verger.components.pca import Pca
from verger.insight import folds
from verger.insight.export import dense, parity
from verger.insight.export import text as export_text
from verger.insight.model import Model, softmax
from verger.insight.task import Task
from verger.network.lite_metadata import labels_text, metadata


def pca(d: int, k: int, standardized: bool) -> Pca:
    random = np.random.default_rng(1)
    components = np.linalg.qr(random.normal(size=(d, k)))[0].T
    scale = random.uniform(0.1, 3, d) if standardized else None
    variances = np.ones(k)
    return Pca(components, random.normal(size=d), scale, variances, variances / k, variances, 1.0, 9, {}, k, "gram")


class TestDense:
    @pytest.mark.parametrize("standardized", [False, True])
    @pytest.mark.parametrize("temperature", [1.0, 0.4])
    def test_one_layer_gives_the_probabilities_of_the_whole_chain(self, standardized: bool, temperature: float) -> None:
        random = np.random.default_rng(0)
        kept = pca(20, 5, standardized)
        names = ["a", "b", "c"]
        model = Model(names, random.normal(size=5), 1.7, random.normal(size=(3, 5)), random.normal(size=3), temperature)
        features = random.normal(size=(50, 20))
        layer = dense.of_run(kept, model)
        assert layer.weights.shape == (20, 3) and layer.bias.shape == (3,)
        got = softmax(features @ layer.weights + layer.bias)
        np.testing.assert_allclose(got, model.probabilities(kept.transform(features)), atol=1e-12)

    @pytest.mark.parametrize("standardize", [False, True])
    @pytest.mark.parametrize("sizes", [{"a": 30, "b": 30}, {"a": 30, "b": 20, "c": 25}])
    def test_one_layer_names_what_a_training_part_has_taught(self, sizes: dict[str, int], standardize: bool) -> None:
        features, labels = clouds(sizes, apart=1.0)
        codes = np.array([sorted(sizes).index(label) for label in labels])
        task = Task(features * 5 + 3, codes, len(sizes), [None] * len(labels), None, 6, standardize, 0)
        taught = folds.fit_fold(task, np.arange(0, len(labels), 2))
        layer = dense.of_fold(taught)
        expected = taught.model.predict_proba(taught.reduction.components(task.features) / taught.size)
        np.testing.assert_allclose(softmax(task.features @ layer.weights + layer.bias), expected, atol=1e-5)


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


RECORD: dict[str, Any] = {
    "run_id": "R",
    "folder": "/out/runs/R/model",
    "classes": ["a", "b"],
    "input": {"shape": [1, 96, 96, 3]},
    "latency_of": {"processor": "P"},
    "models": {
        "float32": {"path": "verger.tflite", "bytes": 9_000_000, "latency_ms": {"median": 7.26, "p90": 9.0}},
        "int8": {"path": "verger.int8.tflite", "bytes": 2_500_000, "latency_ms": {"median": 10.0, "p90": 12.0}},
    },
    "weak_because": None,
    "parity": {"photographs": 40, "measured_on": "photographs of the run", "largest_difference": 3e-6},
    "int8": {
        "same_class": 0.975,
        "held_out": {"says": "S", "photographs": 40, "accuracy_float32": 0.8, "accuracy_int8": 0.775},
    },
}


class TestWhatIsSaid:
    def test_size_latency_parity_and_accuracy(self) -> None:
        said = " ".join(export_text.lines(RECORD))
        for figure in ("9.0 MB", "2.5 MB", "7.3 ms", "10.0 ms", "(P, one thread)", "3e-06", "97.5%", "80.0%", "77.5%"):
            assert figure in said
        assert export_text.figures(RECORD)["accuracy_int8"] == 0.775

    @pytest.mark.parametrize(("number", "said"), [(1, "of 1 photograph are"), (19, "of 19 photographs are")])
    def test_of_too_few_photographs_no_accuracy_is_told(self, number: int, said: str) -> None:
        held = RECORD["int8"]["held_out"] | {"photographs": number}
        few = RECORD | {
            "parity": RECORD["parity"] | {"photographs": number},
            "int8": RECORD["int8"] | {"held_out": held},
        }
        *_, parity, accuracy = export_text.lines(few)
        assert said in parity
        assert "too few photographs" in accuracy and "%" not in accuracy
        assert export_text.figures(few)["accuracy"] is None

    def test_what_was_not_measured_is_said_to_be(self) -> None:
        parity = RECORD["parity"] | {"photographs": 30, "measured_on": "drawn photographs"}
        held = dict.fromkeys(RECORD["int8"]["held_out"]) | {"photographs": 0}
        record = RECORD | {"parity": parity, "int8": RECORD["int8"] | {"held_out": held}}
        *_, said, accuracy = export_text.lines(record)
        assert "the probabilities of 30 drawn photographs are those of the run to 3e-06" in said
        assert accuracy == "Accuracy of unseen photographs: not measured, as no photograph of the run was at hand."
        assert json.loads(json.dumps(export_text.figures(record)))["accuracy"] is None

    def test_a_weak_accuracy_is_called_so(self) -> None:
        because = "it rests on 66 held-out photographs, fewer than 100"
        *_, accuracy = export_text.lines(RECORD | {"weak_because": because})
        assert accuracy.endswith(f"(40 photographs; S). Weak evidence: {because}.")


@pytest.mark.parametrize("size", [8, 96, 300])
def test_drawings_differ_and_are_the_same_again(size: int) -> None:
    network = SimpleNamespace(input_size=size, resample="bicubic", fit="stretch")
    drawn = parity._drawings(network, 3)  # type: ignore[arg-type]
    assert drawn.pixels.shape == (parity.DRAWN, size, size, 3) and len(drawn) >= 20
    assert (drawn.asked, drawn.photographs, drawn.drawings) == (0, 0, True)
    assert len({pixels.tobytes() for pixels in drawn.pixels}) == parity.DRAWN
    np.testing.assert_array_equal(parity._drawings(network, 3).pixels, drawn.pixels)  # type: ignore[arg-type]
