"""The examples in the docstrings of job/verger, as tests: `pytest job/verger`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from _pytest.doctest import DoctestItem, DoctestModule

from tests.manifests import manifest_with

PACKAGE = Path(__file__).parent / "job" / "verger"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> DoctestModule | None:
    """Collect the modules that have examples; `--doctest-modules` would import all others, and the tests' own."""
    if file_path.suffix != ".py" or PACKAGE not in file_path.parents or ">>> " not in file_path.read_text():
        return None
    return DoctestModule.from_parent(parent, path=file_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The example of a whole run needs Spark, and takes long."""
    for item in items:
        if isinstance(item, DoctestItem) and "verger.pipeline." in item.name:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _folder_of_an_example(request: pytest.FixtureRequest) -> None:
    """An empty folder to work in; the examples of the readers find a finished run of three photographs in `out`."""
    if isinstance(request.node, DoctestItem):
        folder: Path = request.getfixturevalue("tmp_path")
        request.getfixturevalue("monkeypatch").chdir(folder)
        if request.node.name.startswith("verger.tables.reader."):
            _write_run(folder / "out")


def _write_run(output: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from verger.tables.schemas import FEATURES, PROJECTION

    document = manifest_with()
    photographs = [{"path": f"/photographs/Pear/{n}.jpg", "label": "Pear", "version": f"{n}-100"} for n in range(3)]
    projected = [row | {"pca_features": [0.5 * n, -n]} for n, row in enumerate(photographs)]
    stored = [row | {"features": [float(n)] * 4, "size": 100} for n, row in enumerate(photographs)]
    run = output / "runs" / document["run_id"]
    for folder, rows, schema in (
        (run / "projection", projected, PROJECTION),
        (output / "features" / document["features"]["fingerprint"] / "wave", stored, FEATURES),
    ):
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "part-00000.zstd.parquet")
    (run / "manifest.json").write_text(json.dumps(document))
    (output / "latest.json").write_text(json.dumps({"run_id": document["run_id"]}))
