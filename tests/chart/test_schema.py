"""The chart's values and the run's settings are the same ones, told once."""

import importlib.util
import json
import re
import shutil
import sys

import pytest
import yaml

from tests.chart.conftest import CHART, LEAST, merge_values, nested
from tests.conftest import ROOT
from verger import __version__, config
from verger.config import RunConfig
from verger.residency import regions

pytestmark = pytest.mark.required_in_ci


def load_script():
    spec = importlib.util.spec_from_file_location("chart", ROOT / "scripts" / "chart.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(monkeypatch):
    """scripts/chart.py, as it is with ``--check``."""
    module = load_script()
    monkeypatch.setattr(sys, "argv", ["chart.py", "--check"])
    return module


SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())

# A value for every setting, none of them the default.
OTHERWISE = {
    "inventory": "s3://reports/photographs/daily", "name": "apples",
    "endpoint_url": "https://store.example:9000", "region": "eu-west-1", "path_style": True,
    "sse": "aws:kms", "sse_kms_key_id": "arn:aws:kms:eu-west-3:123456789012:key/0a1b", "requester_pays": True,
    "event_log": "s3://lake/events", "store_location": "eu", "allow_london": "adequacy decision of 2021-06-28",
    "allow_zurich": "adequacy decision of 2000-07-26", "verify_nodes": True, "label": ["Apple*", "yes"],
    "node_region": ["fr-par:FR:DPA: with Scaleway, of 2026-03-01"], "exclude": ["*: x", "# y", "1e3"],
    "max_labels": 1_000_000, "max_photographs": 123_456_789, "pooling": "none", "alpha": 0.35, "input_size": 96,
    "weights": "/weights/own.h5", "weights_dir": "/weights", "weights_sha256": "0" * 64, "precision": "bfloat16",
    "resample": "bilinear", "fit": "pad", "decode": "scaled", "components": 50, "pca": "reuse", "standardize": False,
    "seed": 2**31 - 1, "solver": "randomized", "batch_size": 64, "partitions": 8, "wave_size": 100_000,
    "max_rejected_ratio": 1e-7,
    "cores": 2, "driver_memory": "512m", "local_dir": "/tmp/spark", "log_level": "info", "compact": "never",
    "executors_timeout": 900,
    "csv": True, "log_format": "json", "progress_interval": 0.5, "eur_per_vcpu_hour": 0, "usd_per_eur": 1.2,
    "spot_discount": 0.6, "classifier": False, "class_regex": r"^\w+", "group_regex": r"/(r\d?)_", "report": False,
    "audit": False,
}  # fmt: skip
# Those that cannot be given so, and why.
NOT_HERE = {
    "input": "required",
    "output": "required",
    "variance": "excludes components",
    "backbone": "another one needs other weights",
    "ca_bundle": "refused: caBundle",
}


def read(objects, tmp_path):
    """The run's settings, as `verger --config` reads them in the pod."""
    file = tmp_path / "run.yaml"
    file.write_text(objects.config)
    return config.load({}, file)


def test_generated_files_are_up_to_date(script):
    assert script.main() == 0


@pytest.mark.parametrize(
    "file, word", [("values.schema.json", "variance"), ("README.md", "variance"), ("Chart.yaml", "kind: added")]
)
def test_a_generated_file_changed_by_hand_is_found(script, monkeypatch, tmp_path, capsys, file, word):
    copy = tmp_path / "charts" / "verger"
    shutil.copytree(CHART, copy)
    monkeypatch.setattr(script, "CHART", copy)
    (copy / file).write_text((copy / file).read_text().replace(word, word[:-2]))
    assert script.main() == 1
    assert file in capsys.readouterr().err


def test_links_in_the_charts_readme_lead_to_files():
    links = re.findall(r"\]\(([^)]+)\)", (CHART / "README.md").read_text())
    files = [link.partition("#")[0] for link in links if "://" not in link]
    assert files
    assert not [file for file in files if not (CHART / file).exists()]


@pytest.mark.parametrize("said", [
    "Pods with IPv4 addresses", "A gateway endpoint of S3 needs no value", "interface endpoint", "EKS Auto Mode",
    "**Cilium** matches", "is the node too: let driver and executors reach the entity `host` on port 80",
])  # fmt: skip
def test_the_readme_says_what_no_value_can_do(said):
    assert said in " ".join((CHART / "README.md").read_text().split())


def test_a_setting_that_the_chart_lacks_is_found(script, monkeypatch, capsys):
    source = RunConfig.model_json_schema()
    source["properties"]["tomorrow"] = {"type": "string", "description": "A setting to come."}
    monkeypatch.setattr(script.RunConfig, "model_json_schema", lambda: source)
    assert script.main() == 1
    assert "values.schema.json is out of date" in capsys.readouterr().err


def test_run_values_are_the_settings_of_run_config():
    assert SCHEMA["properties"]["run"]["properties"].keys() == RunConfig.model_fields.keys()
    assert SCHEMA["properties"]["run"]["additionalProperties"] is False


def test_the_schema_is_draft_07_without_references():
    assert "draft-07" in SCHEMA["$schema"]
    assert '"$ref"' not in json.dumps(SCHEMA)


def closed(schema, values, path=""):
    """Whether objects are closed, and every value is in values.yaml, but those of free maps and of the run."""
    if "properties" in schema:
        assert schema["additionalProperties"] is False, path
        if path != ".run":
            assert values.keys() == schema["properties"].keys(), path
        for name, field in schema["properties"].items():
            closed(field, (values or {}).get(name), f"{path}.{name}")


def test_the_schema_is_closed_and_values_yaml_has_every_value():
    closed(SCHEMA, VALUES)


def test_the_schema_has_only_keywords_of_json_schema():
    """A comma in a description that is not quoted would make a key of what follows it."""

    def words(schema):
        for key, value in schema.items():
            yield key
            named = key in ("properties", "patternProperties")
            for part in value.values() if named else value if isinstance(value, list) else [value]:
                yield from words(part) if isinstance(part, dict) else ()

    assert set(words(SCHEMA)) <= {
        "$schema", "title", "type", "description", "required", "properties", "patternProperties",
        "additionalProperties", "items", "uniqueItems", "enum", "const", "pattern", "minLength", "maxLength",
        "minItems", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "allOf", "if", "then", "else",
    }  # fmt: skip


def test_every_value_is_described():
    def described(schema, path):
        for name, field in schema["properties"].items():
            if "properties" in field:
                described(field, f"{path}{name}.")
            else:
                assert field.get("description", "").endswith("."), f"{path}{name}"

    described(SCHEMA, "")


def test_regions_are_those_of_the_guard():
    assert set(SCHEMA["properties"]["residency"]["properties"]["regions"]["items"]["enum"]) == regions.EU
    assert set(VALUES["residency"]["regions"]) == regions.EU


def test_defaults_are_those_of_the_run(helm, tmp_path):
    assert read(helm.render(), tmp_path) == RunConfig(**LEAST["run"], name="orchard")


def test_every_setting_is_tried_with_another_value():
    assert OTHERWISE.keys() | NOT_HERE.keys() == RunConfig.model_fields.keys()


def test_every_setting_reaches_the_run(helm, tmp_path):
    given = merge_values(LEAST["run"], OTHERWISE)
    objects = helm.render({"run": given, "networkPolicy": {"store": {"addresses": ["203.0.113.7/32"]}}})
    assert read(objects, tmp_path) == RunConfig(**given)


def values(schema, path=""):
    """Every value but the settings of the run, as path and schema."""
    for name, field in schema["properties"].items():
        if name != "run":
            yield f"{path}{name}", field
            yield from values(field, f"{path}{name}.") if "properties" in field else ()


@pytest.mark.parametrize(("path", "field"), [pytest.param(*pair, id=pair[0]) for pair in values(SCHEMA)])
def test_null_is_refused_where_it_has_no_meaning(helm, check_objects, path, field):
    """helm takes it out of the values before it looks at them."""
    if "null" in field.get("type", ()):
        check_objects(helm.render(nested(path, None)))
    else:
        parents, _, name = path.rpartition(".")
        where = "/" + parents.replace(".", "/") if parents else ""
        assert f"at '{where}': missing property '{name}'" in helm.refuses(nested(path, None))


@pytest.mark.parametrize("field", [name for name, field in RunConfig.model_fields.items() if field.default is not None])
def test_null_is_refused_for_settings_with_another_default(helm, field):
    assert field in helm.refuses(nested(f"run.{field}", None))


@pytest.mark.parametrize("field", [name for name, field in RunConfig.model_fields.items() if field.default is None])
def test_null_is_accepted_for_settings_with_null_as_default(helm3, tmp_path, field):
    assert read(helm3.render(nested(f"run.{field}", None)), tmp_path) == RunConfig(**LEAST["run"], name="orchard")


def test_chart_versions_equal_the_packages_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def test_the_spark_version_equals_the_locked_one(helm3):
    assert f"pyspark=={helm3.render().spec['sparkVersion']}\n" in (ROOT / "requirements" / "run.in").read_text()
