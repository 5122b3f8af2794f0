import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from verger.config import HEADINGS, DoctorSettings, PruneSettings, RunConfig, load
from verger.errors import ExitCode, UsageError

PLACES = {"input": "photographs", "output": "out"}


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    for name in RunConfig.model_fields:
        monkeypatch.delenv(f"VERGER_{name.upper()}", raising=False)


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "verger.yaml"
        path.write_text(text)
        return path

    return write


class TestPrecedence:
    def test_defaults(self):
        config = load(PLACES)
        assert (config.variance, config.components, config.backbone) == (0.8, None, "mobilenet_v2")

    def test_file_over_defaults(self, file):
        assert load(PLACES, file("batch_size: 4")).batch_size == 4

    def test_environment_over_file(self, file, monkeypatch):
        monkeypatch.setenv("VERGER_BATCH_SIZE", "5")
        assert load(PLACES, file("batch_size: 4")).batch_size == 5

    def test_options_over_environment(self, file, monkeypatch):
        monkeypatch.setenv("VERGER_BATCH_SIZE", "5")
        assert load(PLACES | {"batch_size": 6}, file("batch_size: 4")).batch_size == 6

    def test_an_empty_variable_is_ignored(self, monkeypatch):
        monkeypatch.setenv("VERGER_BATCH_SIZE", "")
        assert load(PLACES).batch_size == 16

    def test_input_and_output_may_come_from_the_file(self, file):
        assert load({}, file("input: a\noutput: b")).output == "b"

    def test_a_command_gets_no_input_that_it_was_not_given(self, file):
        config = load({"output": "b"}, file("batch_size: 4"), DoctorSettings)
        assert (config.input, config.output, config.batch_size) == (None, "b", 4)

    def test_a_command_takes_its_own_settings_from_the_file_of_a_run(self, file):
        config = load({}, file("input: a\noutput: b\nbatch_size: 4\nregion: eu-west-3"), PruneSettings)
        assert (config.output, config.region) == ("b", "eu-west-3")
        assert not hasattr(config, "input") and not hasattr(config, "batch_size")

    @pytest.mark.parametrize("wrong", ["batch_size: 0", "unknown: 1"])
    def test_the_whole_file_is_checked_for_every_command(self, file, wrong):
        with pytest.raises(UsageError, match=wrong.partition(":")[0]):
            load({"output": "b"}, file(wrong), PruneSettings)

    def test_a_missing_setting_of_a_command_is_an_error(self):
        with pytest.raises(UsageError, match="output: is required"):
            load({}, None, PruneSettings)

    def test_globs_in_a_variable_are_separated_by_commas(self, monkeypatch):
        monkeypatch.setenv("VERGER_LABEL", "Apple*, Pear")
        assert load(PLACES).label == ("Apple*", "Pear")

    def test_an_option_replaces_the_globs_of_the_file(self, file):
        assert load(PLACES | {"label": ("Plum",)}, file("label: [Apple, Pear]")).label == ("Plum",)


class TestNodeRegion:
    def test_node_regions_in_a_variable_are_separated_by_semicolons(self, monkeypatch):
        monkeypatch.setenv("VERGER_NODE_REGION", "fr-par:FR:DPA with Scaleway, of 2026; gra11:FR:DPA with OVH")
        assert load(PLACES).node_region == ("fr-par:FR:DPA with Scaleway, of 2026", "gra11:FR:DPA with OVH")

    @pytest.mark.parametrize(
        "wrong",
        [
            "fr-par",
            "fr-par:FR",
            "fr-par:FR:short",
            "fr-par:FR:" + 8 * " ",
            "fr-par:FR:DPA with Scaleway\n",
            "fr-par:fr:DPA with Scaleway",
            "lon:GB:DPA with Scaleway",
            ":FR:a legal basis",
        ],
    )
    def test_three_parts_are_required_and_a_country_of_the_eu(self, wrong):
        with pytest.raises(UsageError, match=r"node_region: must be REGION:COUNTRY:BASIS.*\(got"):
            load(PLACES | {"node_region": (wrong,)})

    def test_the_json_schema_has_the_same_pattern(self):
        (pattern,) = {RunConfig.model_json_schema()["properties"]["node_region"]["items"]["pattern"]}
        assert pattern.count("|") == 26
        assert "(?" not in pattern  # Go's regular expressions, with which helm validates, know less


@pytest.mark.parametrize("option", ["allow_london", "allow_zurich"])
def test_a_legal_basis_is_not_only_spaces(option):
    with pytest.raises(UsageError, match=option):
        load(PLACES | {option: 8 * " "})
    assert getattr(load(PLACES | {option: "adequacy decision"}), option) == "adequacy decision"


class TestRivals:
    def test_components_replace_the_default_variance(self):
        assert load(PLACES | {"components": 12}).requested_variance is None

    def test_variance_alone(self):
        assert load(PLACES | {"variance": 0.99}).requested_variance == 0.99

    def test_both_at_once_are_refused(self, file):
        with pytest.raises(UsageError, match="exclude one another"):
            load(PLACES | {"variance": 0.9, "components": 12})
        with pytest.raises(UsageError, match="exclude one another"):
            load(PLACES, file("variance: 0.9\ncomponents: 12"))

    def test_the_option_wins_over_the_other_setting_in_file_and_environment(self, file, monkeypatch):
        assert load(PLACES | {"variance": 0.9}, file("components: 12")).requested_variance == 0.9
        assert load(PLACES | {"components": 12}, file("variance: 0.9")).components == 12
        monkeypatch.setenv("VERGER_COMPONENTS", "7")
        assert load(PLACES | {"variance": 0.9}).requested_variance == 0.9


class TestExplained:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"variance": 1.5}, "variance: input should be less than or equal to 1 (got 1.5)"),
            ({"batch_size": "many"}, "batch_size: input should be a valid integer"),
            ({"backbone": "resnet"}, "backbone: input should be 'mobilenet_v2', 'vgg16' or 'pixels' (got 'resnet')"),
            ({"name": "My Run"}, "name: string should match pattern"),
            ({"driver_memory": "2"}, "driver_memory: string should match pattern"),
            ({"backbone": "vgg16"}, "no vgg16 weights are bundled: give weights imagenet, random or a file"),
            ({"backbone": "pixels", "weights": "a.h5"}, "backbone pixels has no weights"),
            ({"sse_kms_key_id": "arn:aws:kms:k"}, "sse_kms_key_id needs sse aws:kms or aws:kms:dsse"),
            ({"sse": "AES256", "sse_kms_key_id": "arn:aws:kms:k"}, "sse_kms_key_id needs sse aws:kms or aws:kms:dsse"),
            ({"backbone": "vgg16", "weights": "random", "alpha": 1.0}, "alpha is only for mobilenet_v2, not for vgg16"),
        ],
    )
    def test_the_error_for_a_wrong_value_is_one_line_with_its_name(self, options, words):
        with pytest.raises(UsageError) as error:
            load(PLACES | options)
        assert words in error.value.line
        assert "\n" not in error.value.line
        assert error.value.exit_code is ExitCode.USAGE

    def test_missing_input_and_output(self):
        with pytest.raises(UsageError, match="input: is required; output: is required"):
            load({})

    def test_an_unknown_key_of_the_file(self, file):
        with pytest.raises(UsageError, match="batchsize: unknown setting"):
            load(PLACES, file("batchsize: 4"))

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(UsageError, match="no configuration file"):
            load(PLACES, tmp_path / "none.yaml")

    @pytest.mark.parametrize("text", ["- a\n- b", "input: [", "just words"])
    def test_a_file_that_is_no_mapping(self, file, text):
        with pytest.raises(UsageError, match=r"verger\.yaml"):
            load(PLACES, file(text))

    def test_several_errors_are_reported_at_once(self):
        with pytest.raises(UsageError) as error:
            load(PLACES | {"variance": 2, "batch_size": 0})
        assert "variance" in error.value.line
        assert "batch_size" in error.value.line


class TestModel:
    @pytest.mark.parametrize("name", RunConfig.model_fields)
    def test_every_setting_has_a_description_and_a_group(self, name):
        field = RunConfig.model_fields[name]
        assert field.description.endswith(".")
        assert field.json_schema_extra["group"] in HEADINGS

    def test_settings_are_in_the_order_of_groups(self):
        groups = [field.json_schema_extra["group"] for field in RunConfig.model_fields.values()]
        assert list(dict.fromkeys(groups)) == list(HEADINGS)
        assert groups == sorted(groups, key=HEADINGS.index)

    def test_settings_are_frozen(self):
        with pytest.raises(ValidationError):
            RunConfig(**PLACES).batch_size = 1

    def test_the_json_schema_has_defaults(self):
        schema = json.loads(json.dumps(RunConfig.model_json_schema()))
        assert schema["required"] == ["input", "output"]
        assert schema["properties"]["variance"]["default"] == 0.8
        assert schema["additionalProperties"] is False

    @pytest.mark.parametrize(
        ("options", "standardized"),
        [({}, False), ({"backbone": "pixels"}, True), ({"backbone": "pixels", "standardize": False}, False)],
    )
    def test_pixels_are_standardised_by_default(self, options, standardized):
        assert RunConfig(**PLACES, **options).standardized is standardized
