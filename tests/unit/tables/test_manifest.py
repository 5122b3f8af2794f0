"""tables/manifest: a run is trusted by its manifest, which is written once and read by every later Verger."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.manifests import DATA, manifest_with, recorded
from tests.unit.tables.test_runs import NOON, finished
from verger.cli import main
from verger.config import RunConfig
from verger.errors import NothingToReadError, StoreError
from verger.residency.guard import Residency
from verger.storage.base import AlreadyPublishedError
from verger.storage.local import LocalStorage
from verger.tables import manifest, runs
from verger.tables.manifest import Failure, Manifest, RecordHeader
from verger.tables.manifest_parts import Absent, Classifier, OptIn, Part, Photographs

ROOT = Path(__file__).parents[3]
MANIFESTS = sorted(path.stem for path in DATA.glob("manifest-*.json"))


def exactly(value: Any) -> str:
    """JSON in which 1, 1.0 and true differ, whatever the order of the keys."""
    return json.dumps(value, sort_keys=True)


def put(tmp_path: Path, text: str) -> runs.Run:
    """A run with this text for a manifest."""
    run = runs.new_run(LocalStorage(), str(tmp_path), "verger", NOON)
    path = Path(run.path("manifest.json"))
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return run


def test_a_run_without_manifest_is_not_trusted(tmp_path: Path) -> None:
    with pytest.raises(NothingToReadError, match="no manifest"):
        manifest.read(runs.new_run(LocalStorage(), str(tmp_path), "verger", NOON))


def test_a_manifest_is_written_once(tmp_path: Path) -> None:
    run = finished(tmp_path)
    with pytest.raises(AlreadyPublishedError):
        manifest.publish(run, Manifest.model_validate(manifest_with()))


def test_a_manifest_of_a_newer_verger_is_refused(tmp_path: Path) -> None:
    run = put(tmp_path, '{"schema_version": 2}')
    with pytest.raises(StoreError, match="newer verger"):
        manifest.read(run)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"schema_version": "1"}', '{"schema_version": 1}'])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    run = put(tmp_path, text)
    with pytest.raises(StoreError) as refused:
        manifest.read(run)
    assert refused.value.line == (
        f"{run.path('manifest.json')} is not a manifest of verger. Choose another run, or move the file away."
    )


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_of_version_0_1_0_is_read_and_dumped_unchanged(tmp_path: Path, name: str) -> None:
    read = manifest.read(put(tmp_path, (DATA / f"{name}.json").read_text()))
    assert read.verger_version == "0.1.0"
    assert exactly(read.as_dict()) == exactly(recorded(name))


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_of_version_0_1_0_is_published_unchanged(tmp_path: Path, name: str) -> None:
    run = runs.new_run(LocalStorage(), str(tmp_path), "verger", NOON)
    manifest.publish(run, Manifest.model_validate(recorded(name)))
    assert exactly(json.loads(Path(run.path("manifest.json")).read_text())) == exactly(recorded(name))
    assert manifest.read(run) == Manifest.model_validate(recorded(name))


def test_a_failure_of_version_0_1_0_is_read_and_recorded_unchanged(tmp_path: Path) -> None:
    failure = Failure.model_validate(recorded("failure-0.1.0"))
    assert (failure.exit_code, failure.photographs and failure.photographs.rejected) == (6, 7)
    run = runs.new_run(LocalStorage(), str(tmp_path), "verger", NOON)
    manifest.record_failure(run, failure)
    assert exactly(json.loads(Path(run.path("failure.json")).read_text())) == exactly(recorded("failure-0.1.0"))


def test_every_key_of_the_kept_manifests_is_a_field() -> None:
    def unknown(part: Any, at: str = "") -> list[str]:
        if isinstance(part, list):
            return [key for item in part for key in unknown(item, at)]
        if isinstance(part, dict):
            return [key for name, item in part.items() for key in unknown(item, f"{at}.{name}")]
        if not isinstance(part, Part):
            return []
        fields = [key for name, item in part for key in unknown(item, f"{at}.{name}") if name not in part.model_extra]
        return [f"{at}.{name}" for name in part.model_extra] + fields

    for name in MANIFESTS:
        assert unknown(Manifest.model_validate(recorded(name))) == []
    assert unknown(Failure.model_validate(recorded("failure-0.1.0"))) == []


def test_the_kept_manifests_are_of_different_kinds_of_runs() -> None:
    found = {name.removeprefix("manifest-0.1.0"): Manifest.model_validate(recorded(name)) for name in MANIFESTS}
    assert found[""].pca.kept is None
    assert found[""].report is not None
    assert isinstance(found[""].classifier, Classifier)
    assert found["-projected"].pca.kept is not None
    assert found["-reused-pca"].pca.kept is not None
    assert found["-reused-pca"].report is None
    assert found["-without-labels"].classifier == Absent(absent="no photograph has a class")


def test_keys_that_a_newer_verger_added_are_kept() -> None:
    added = manifest_with(photographs={"blurred": 3}, pca={"moments": {"n": 120}}, same_as="another run")
    assert exactly(Manifest.model_validate(added).as_dict()) == exactly(added)


def test_keys_that_older_manifests_lack_stay_absent() -> None:
    older = manifest_with()
    for part, key in [
        ("photographs", "ignored"),
        ("pca", "standardized"),
        ("pca", "fitted_in"),
        ("classifier", "weak_because"),
        ("classifier", "none_of_these"),
        ("audit", "suspected_mislabels"),
    ]:
        del older[part][key]
    del older["report"]
    assert exactly(Manifest.model_validate(older).as_dict()) == exactly(older)


def test_a_number_that_is_not_finite_is_null(tmp_path: Path) -> None:
    run = runs.new_run(LocalStorage(), str(tmp_path), "verger", NOON)
    document = manifest_with(pca={"total_variance": math.nan, "explained_variance_ratio": [0.5, math.inf]})
    manifest.publish(run, Manifest.model_validate(document))
    written = json.loads(Path(run.path("manifest.json")).read_text())
    assert written["pca"]["total_variance"] is None
    assert written["pca"]["explained_variance_ratio"] == [0.5, None]
    read = manifest.read(run)
    assert math.isnan(read.pca.total_variance)
    assert exactly(read.as_dict()) == exactly(written)


def test_the_run_that_fitted_the_pca_may_be_in_another_output() -> None:
    run = runs.Run("/data/out2", "20261129T094917Z-other-4ec0da", LocalStorage())
    projected = Manifest.model_validate(recorded("manifest-0.1.0-projected"))
    assert manifest.fitting_run(run, projected) == (
        "20261129T094628Z-verger-75e69c",
        "/data/out/runs/20261129T094628Z-verger-75e69c",
    )
    older = recorded("manifest-0.1.0-projected")
    del older["pca"]["fitted_in"]
    assert manifest.fitting_run(run, Manifest.model_validate(older)) == (
        "20261129T094628Z-verger-75e69c",
        "/data/out2/runs/20261129T094628Z-verger-75e69c",
    )


def test_a_manifest_is_built_from_typed_parts() -> None:
    config = RunConfig(input="/in", output="/out")
    run = runs.Run("/out", "20260102T120000Z-verger-0a1b2c", LocalStorage())
    header = RecordHeader.of(run, config, Residency([], {}, []), NOON, NOON + timedelta(seconds=90))
    whole = Manifest.model_validate(manifest_with())
    rest = {name: getattr(whole, name) for name in whole.model_fields_set - set(RecordHeader.model_fields)}
    made = Manifest(**dict(header), **rest | {"photographs": Photographs(listed=3, computed=3)})
    assert exactly(made.as_dict()) == exactly(
        manifest_with() | header.as_dict() | {"photographs": {"listed": 3, "computed": 3}}
    )
    assert made.started_at == "2026-01-02T12:00:00.000000Z"


def test_the_country_of_an_opt_in_is_absent_for_a_region_of_aws() -> None:
    assert OptIn(region="eu-west-2", basis="a contract").as_dict() == {"region": "eu-west-2", "basis": "a contract"}


def test_versions_of_software_have_the_names_of_their_packages() -> None:
    found = manifest.environment().as_dict()
    assert set(found) == set(recorded("manifest-0.1.0")["environment"])
    assert found["scikit-learn"]


def test_importing_the_manifest_imports_neither_spark_nor_tensorflow() -> None:
    code = "import sys, verger.tables.manifest; sys.exit(bool({'pyspark', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_schema_of_the_manifest_has_every_key_described(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["schema", "--manifest"])
    assert ended.value.code == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["title"] == "Manifest"
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    added = {"same_as", "snapshot"}  # later than that manifest
    assert set(recorded("manifest-0.1.0")) | added == set(schema["properties"])
    assert set(schema["properties"]) - set(schema["required"]) == {"audit", "classifier", "report"} | added
    for part in [schema, *schema["$defs"].values()]:
        assert part["additionalProperties"] is True
        for field in part["properties"].values():  # the description of an object is not repeated where it is used
            named = schema["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else {}
            assert {**named, **field}["description"].endswith(".")


def test_the_docs_describe_the_present_manifest() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "output_format.py"), "--check"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
