"""docs/from-the-notebooks.md: its five commands, run as they are typed there, and what it says of MLlib."""

from __future__ import annotations

import functools
import re
import shlex
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

import verger
from tests.conftest import ROOT
from verger import cli, pipeline
from verger.storage.stores import Stores
from verger.tables import manifest, runs

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "from-the-notebooks.md").read_text()

Job = Callable[[str], dict[str, Any]]


def blocks(heading: str) -> list[str]:
    """The indented blocks of code below a heading."""
    section = re.split(r"^#+ ", PAGE.split(f"# {heading}", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return [textwrap.dedent(block) for block in re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)]


def command(heading: str) -> list[str]:
    """The one command below a heading."""
    (line,) = [block for block in blocks(heading) if block.startswith("verger ")]
    return shlex.split(line)[1:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture
def job(spark: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Type the command of a heading, in the folder that all of them share; the manifest of its run."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(pipeline, "run", functools.partial(pipeline.run, spark=spark))

    def type_in(heading: str) -> dict[str, Any]:
        with pytest.raises(SystemExit) as done:
            cli.main(command(heading))
        assert done.value.code == 0
        return manifest.read(runs.find("out", Stores())).as_dict() if (folder / "out").exists() else {}

    type_in("From the notebooks")
    return type_in


def matrix(table: pa.Table, column: str = "pca_features") -> np.ndarray:
    return np.stack(table[column].to_numpy(zero_copy_only=False)).astype(np.float64)


def csv_of(done: dict[str, Any]) -> pa.Table:
    return pacsv.read_csv(f"out/runs/{done['run_id']}/projection.csv")


def assert_least_for(share: float, ratios: list[float]) -> None:
    cumulative = np.cumsum(ratios)
    assert len(ratios) == np.argmax(cumulative >= share - 1e-12) + 1  # the index counted from 0, and one


def test_a_pixels_scaled_and_fifty_components(job: Job) -> None:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    done = job("(a)")
    assert done["photographs"]["projected"] == 300
    assert done["rejected_by_reason"] == {"empty": 1, "not_an_image": 1, "truncated": 1}
    assert (done["pca"]["n_components"], done["pca"]["standardized"]) == (50, True)
    pixels, ours = matrix(verger.load_features("out"), "features"), matrix(verger.load("out"))
    assert pixels.shape == (300, 20 * 20 * 3)
    theirs = PCA(50, svd_solver="full").fit_transform(StandardScaler().fit_transform(pixels))
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours * signs, theirs, atol=1e-5 * np.ptp(theirs))


def test_b_vgg16_flattened_least_k_and_statistics_by_label(job: Job, spark: Any) -> None:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    assert spark.conf.get("spark.driver.memory") == "2g"
    done = job("(b)")
    assert (done["features"]["backbone"], done["features"]["dimension"]) == ("vgg16", 25_088)
    assert_least_for(0.8, done["pca"]["explained_variance_ratio"][: done["pca"]["n_components"]])
    features = matrix(verger.load_features("out"), "features")
    theirs = PCA(0.8, svd_solver="full").fit(StandardScaler().fit_transform(features))
    assert done["pca"]["n_components"] == theirs.n_components_
    ratios = done["pca"]["explained_variance_ratio"][: theirs.n_components_]
    np.testing.assert_allclose(ratios, theirs.explained_variance_ratio_, rtol=1e-6)

    (snippet,) = [block for block in blocks("(b)") if block.startswith("import verger")]
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert names["statistics"]["count"].sum() == done["photographs"]["projected"]
    assert set(names["statistics"].index) <= set(done["labels"])


def test_c_features_read_back_least_k_and_csv(job: Job) -> None:
    done = job("(c)")
    k = done["pca"]["n_components"]
    assert done["photographs"]["projected"] == 300
    assert_least_for(0.8, done["pca"]["explained_variance_ratio"][:k])
    features = verger.load_features("out", "pandas")
    assert np.stack(features.features).shape == (300, 1280)
    table, csv = verger.load("out"), csv_of(done).sort_by("path")
    assert csv.column_names == ["path", "label", *(f"pca_feature_{number}" for number in range(1, k + 1))]
    assert csv.select(["path", "label"]).equals(table.select(["path", "label"]))
    np.testing.assert_array_equal(
        np.stack([csv[name].to_numpy() for name in csv.column_names[2:]], axis=1).astype(np.float32),
        matrix(table).astype(np.float32),
    )


def test_d_a_hundred_photographs_and_k_for_99_percent(job: Job) -> None:
    done = job("(d)")
    k = done["pca"]["n_components"]
    assert done["photographs"]["listed"] == 100
    assert max(done["labels"].values()) - min(done["labels"].values()) <= 1
    assert k <= done["photographs"]["projected"] - 1
    assert_least_for(0.99, done["pca"]["explained_variance_ratio"][:k])
    table = verger.load("out")
    assert set(table.column_names) >= {"path", "label", "pca_features"}
    assert table.schema.field("pca_features").type == pa.list_(pa.float32())
    assert csv_of(done).num_columns == 2 + k


def test_e_some_labels_four_components_and_many_parts(job: Job) -> None:
    done = job("(e)")
    assert list(done["labels"]) == ["Apple Green 1", "Apple Red 1", "Banana 1", "Cherry 1", "Grape Blue 1"]
    assert done["pca"]["n_components"] == 4
    parts = list(Path(f"out/runs/{done['run_id']}/projection").rglob("*.parquet"))
    assert len(parts) > 1
    table = verger.load("out")
    assert matrix(table).shape == (done["photographs"]["projected"], 4)
    assert set(table["label"].to_pylist()) == set(done["labels"])


def test_mllib_finds_the_same_components_but_does_not_centre(spark: Any) -> None:
    """What the page says of MLlib's transform, its scaling and its surplus components."""
    from pyspark.ml.feature import PCA, StandardScaler
    from pyspark.ml.linalg import Vectors

    from verger.components.pca import fit

    draw = np.random.default_rng(0)
    x = (draw.normal(size=(60, 8)) * [5, 4, 3, 2, 1.5, 1, 0.5, 0] + draw.uniform(1, 9, 8)).astype(np.float32)
    x = x.astype(np.float64)
    rows = [(f"{at:03}", row.tolist()) for at, row in enumerate(x)]
    ours = fit(
        spark.createDataFrame(rows, "path string, features array<float>"),
        dimension=8, variance=None, components=7, standardize=True, solver="auto", seed=0, memory=2**30,
    ).pca  # fmt: skip
    vectors = spark.createDataFrame([(path, Vectors.dense(row)) for path, row in rows], ["path", "raw"])
    scaled = StandardScaler(inputCol="raw", outputCol="scaled").fit(vectors).transform(vectors)
    model = PCA(k=8, inputCol="scaled", outputCol="y").fit(scaled)
    collected = model.transform(scaled).orderBy("path").collect()
    scaled_x, theirs = (np.array([row[name].toArray() for row in collected]) for name in ("scaled", "y"))

    n = len(x)
    np.testing.assert_allclose(scaled_x[:, :7], x[:, :7] / x[:, :7].std(axis=0, ddof=1), rtol=1e-12)
    assert (scaled_x[:, 7] == 0).all()  # the constant column
    np.testing.assert_allclose(model.explainedVariance.toArray()[:7], ours.explained_variance_ratio[:7], rtol=1e-9)
    np.testing.assert_allclose(theirs, scaled_x @ model.pc.toArray(), atol=1e-9)  # no mean is taken off
    centred = theirs - theirs.mean(axis=0)
    assert np.abs(theirs.mean(axis=0)).max() > 1  # far from the origin
    factor = np.sqrt((n - 1) / n)
    signs = np.sign((centred[:, :7] * ours.transform(x)).sum(axis=0))
    np.testing.assert_allclose(centred[:, :7] * signs, ours.transform(x) * factor, atol=1e-9)


def test_mllib_returns_components_that_thirteen_photographs_do_not_have(spark: Any) -> None:
    from pyspark.ml.feature import PCA
    from pyspark.ml.linalg import Vectors

    rows = [(Vectors.dense(row.tolist()),) for row in np.random.default_rng(0).normal(size=(13, 60))]
    model = PCA(k=50, inputCol="x", outputCol="y").fit(spark.createDataFrame(rows, ["x"]))
    shares = model.explainedVariance.toArray()
    assert len(shares) == 50
    assert shares[:12].min() > 1e-3
    assert shares[12:].max() < 1e-12
