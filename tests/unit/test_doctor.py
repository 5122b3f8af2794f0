import os
import sys

import pytest
from PIL import Image

from verger.cli import main
from verger.config import RunConfig
from verger.errors import ExitCode
from verger.planning import doctor


@pytest.fixture
def config(tmp_path, monkeypatch) -> RunConfig:
    """What holds here, without Spark, which the integration tests start."""
    monkeypatch.setattr(doctor, "_spark", lambda *_: "not started in unit tests")
    monkeypatch.setattr(doctor, "java_version", lambda: 17)
    (tmp_path / "in").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "a.png")
    return RunConfig(
        input=str(tmp_path / "in"), output=str(tmp_path / "out"), backbone="pixels", cores=1, driver_memory="1m"
    )


def findings(config: RunConfig, **absent: str) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor.examine(config, absent or None)}


def changed(config: RunConfig, **settings) -> RunConfig:
    return config.model_copy(update=settings)


def test_one_finding_a_check_and_all_hold(config, tmp_path):
    found = findings(config)
    names = ["Python", "Java", "Residency", "Jars", "Spark", "TensorFlow", "Weights"]
    assert list(found) == [*names, "Input", "Output", "Uploads", "Disk", "Memory"]
    assert {finding.exit_code for finding in found.values()} == {ExitCode.DONE}
    assert all("\n" not in str(finding) for finding in found.values())
    assert found["Input"].line == f"{tmp_path / 'in'}, 1 photographs"
    assert list((tmp_path / "out").iterdir()) == []


def test_places_that_were_not_given_are_skipped(config):
    found = findings(changed(config, input="-", output="-"), input="-", output="-")
    assert (found["Input"].verdict, found["Output"].verdict) == ("skipped", "skipped")
    assert found["Input"].line == "no --input given"


def test_an_output_alone_is_checked(config, tmp_path):
    found = findings(changed(config, input="-"), input="-", output="-")
    assert (found["Input"].verdict, found["Output"].verdict) == ("skipped", "ok")


@pytest.mark.parametrize("version", [None, 11])
def test_without_a_java_spark_is_not_tried(config, monkeypatch, version):
    monkeypatch.setattr(doctor, "java_version", lambda: version)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    found = findings(config)
    assert found["Java"].exit_code is ExitCode.USAGE
    assert "JAVA_HOME /nowhere" in found["Java"].line
    assert found["Spark"].verdict == "skipped"


def test_a_python_that_is_not_supported(config, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 14, 0, "final", 0))
    found = findings(config)["Python"]
    assert (found.exit_code, found.line) == (
        ExitCode.USAGE, "Python 3.14.0 is not supported. Install verger with Python 3.11 to 3.13.",
    )  # fmt: skip


def test_a_tensorflow_that_does_not_import(config, monkeypatch, tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libstdc++ is too old')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = findings(changed(config, backbone="mobilenet_v2", weights="random"))["TensorFlow"]
    assert found.exit_code is ExitCode.USAGE
    assert "libstdc++ is too old" in found.line


def test_weights_that_are_not_there(config, monkeypatch):
    monkeypatch.setattr(doctor, "_tensorflow", lambda: "not imported in unit tests")
    found = findings(changed(config, backbone="mobilenet_v2", weights="/nowhere/weights.h5"))["Weights"]
    assert (found.verdict, found.exit_code) == ("fails", ExitCode.WEIGHTS)


def test_an_input_that_is_not_there_or_has_no_photograph(config, tmp_path):
    (tmp_path / "empty").mkdir()
    for place in ("none", "empty"):
        assert findings(changed(config, input=str(tmp_path / place)))["Input"].exit_code is ExitCode.NOTHING_TO_READ


def test_an_output_that_refuses(config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    found = findings(changed(config, output=str(tmp_path / "file" / "out")))["Output"]
    assert (found.verdict, found.exit_code) != ("ok", ExitCode.DONE)
    assert str(tmp_path / "file") in found.line


def test_places_that_contain_one_another(config, tmp_path):
    found = findings(changed(config, output=str(tmp_path / "in" / "out")))["Output"]
    assert found.exit_code is ExitCode.USAGE
    assert not os.path.exists(tmp_path / "in" / "out")


def test_too_little_memory_or_disk(config, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "TEMPORARY_BYTES", 1 << 60)
    found = findings(changed(config, driver_memory="900000g", local_dir=str(tmp_path / "not" / "yet")))
    assert (found["Disk"].exit_code, found["Memory"].exit_code) == (ExitCode.DOES_NOT_FIT, ExitCode.DOES_NOT_FIT)


def test_an_unforeseen_error_is_a_finding_on_one_line(config, monkeypatch):
    def broken(*_):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(doctor, "_spark", broken)
    found = findings(config)["Spark"]
    assert str(found) == "fails   Spark       RuntimeError: two lines"
    assert found.exit_code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), ExitCode.DONE),
        (("--input", "/nowhere"), ExitCode.NOTHING_TO_READ),
        (("--weights-sha256", "0" * 64, "--backbone", "mobilenet_v2", "--input", "/nowhere"), ExitCode.WEIGHTS),
        (("--driver-memory", "900000g"), ExitCode.DOES_NOT_FIT),
        (("--driver-memory", "much"), ExitCode.USAGE),
    ],
)
def test_the_first_check_that_fails_gives_the_exit_code(config, monkeypatch, capsys, arguments, code):
    monkeypatch.setattr(doctor, "_tensorflow", lambda: "not imported in unit tests")
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--backbone", "pixels", "--cores", "1", "--driver-memory", "1m", *arguments])
    assert ended.value.code == code
    assert capsys.readouterr().out.count("\n") == (0 if code is ExitCode.USAGE else 12)
