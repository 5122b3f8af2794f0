import os
import sys
import types
from pathlib import Path

import pytest
from PIL import Image

from tests.inventories import Listed, report
from tests.unit.storage.test_s3_inventory import put
from tests.unit.storage.test_walking import files, open_folder, without_root
from verger.cli import main
from verger.config import DoctorSettings
from verger.errors import ExitCode, Reason, Rejection
from verger.network import cpu
from verger.planning import doctor
from verger.storage.local import LocalStorage
from verger.storage.stores import Stores

__all__ = ["open_folder"]


@pytest.fixture
def config(tmp_path, monkeypatch) -> DoctorSettings:
    """What holds here, without Spark, which the integration tests start."""
    monkeypatch.setattr(doctor, "_spark", lambda *_: "not started in unit tests")
    monkeypatch.setattr(doctor, "java_version", lambda: 17)
    (tmp_path / "in").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "in" / "a.png")
    return DoctorSettings(
        input=str(tmp_path / "in"), output=str(tmp_path / "out"), backbone="pixels", cores=1, driver_memory="1m"
    )


def check_results(config: DoctorSettings) -> dict[str, doctor.Check]:
    return {result.name: result for result in doctor.examine(config)}


def with_settings(config: DoctorSettings, **settings) -> DoctorSettings:
    return config.model_copy(update=settings)


def test_every_check_gives_one_result_and_all_hold(config, tmp_path):
    found = check_results(config)
    names = ["Python", "Variables", "Java", "Residency", "Jars", "Spark", "TensorFlow", "CPU"]
    assert list(found) == [*names, "Precision", "Weights", "Input", "Output", "Uploads", "Disk", "Memory"]
    assert {result.exit_code for result in found.values()} == {ExitCode.DONE}
    assert all("\n" not in str(result) for result in found.values())
    assert found["Input"].line == f"{tmp_path / 'in'}, 1 photographs"
    assert list((tmp_path / "out").iterdir()) == []


def test_the_manifest_of_an_inventory_report_is_checked(config, tmp_path):
    reports = put(tmp_path, report([Listed("in/a.jpg", 1, "a")], "Parquet"))
    found = check_results(with_settings(config, inventory=str(reports)))["Inventory"]
    assert (found.verdict, found.exit_code) == ("fails", ExitCode.USAGE)
    assert f"lists s3://orchard, and the input is {tmp_path / 'in'}" in found.line
    line = doctor._inventory(Stores(), str(reports), "s3://orchard/in")
    assert line == f"{reports}/2026-11-29T01-00Z/manifest.json, of 2026-11-29 01:00 UTC, 2 files of Parquet"


def test_a_precision_that_the_cpu_has_not_is_told_and_no_failure(config, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")  # stands for a CPU without bf16, whatever this one has
    monkeypatch.setattr(doctor, "_tensorflow", lambda: "not imported in unit tests")
    for precision, warns in (("bfloat16", Path("/proc/cpuinfo").exists()), ("float32", False)):
        asked = with_settings(config, backbone="mobilenet_v2", weights="random", alpha=0.35, precision=precision)
        found = check_results(asked)["Precision"]
        assert (found.verdict, "bfloat16 is emulated" in found.line) == ("ok", warns)


def test_the_cpu_is_told_with_what_it_means_for_either_precision(config, monkeypatch, tmp_path):
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name : An older CPU\nflags : fpu avx avx2\n")
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
    found = check_results(config)["CPU"]
    assert found.verdict == "ok"
    assert found.line.startswith("An older CPU, with AVX2; float32 is about 2 times slower than with AVX-512; ")
    assert "bfloat16 is emulated" in found.line


def test_checks_of_an_input_and_output_that_were_not_given_are_skipped(config):
    found = check_results(with_settings(config, input=None, output=None))
    assert (found["Input"].verdict, found["Output"].verdict) == ("skipped", "skipped")
    assert found["Input"].line == "no --input given"


def test_an_output_alone_is_checked(config, tmp_path):
    found = check_results(with_settings(config, input=None))
    assert (found["Input"].verdict, found["Output"].verdict) == ("skipped", "ok")


@pytest.mark.parametrize("version", [None, 11])
def test_without_java_spark_is_not_started(config, monkeypatch, version):
    monkeypatch.setattr(doctor, "java_version", lambda: version)
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    found = check_results(config)
    assert found["Java"].exit_code is ExitCode.USAGE
    assert "JAVA_HOME /nowhere" in found["Java"].line
    assert found["Spark"].verdict == "skipped"


def test_an_unsupported_python_fails(config, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 14, 0, "final", 0))
    found = check_results(config)["Python"]
    assert (found.exit_code, found.line) == (
        ExitCode.USAGE, "Python 3.14.0 is not supported. Install verger with Python 3.11 to 3.13.",
    )  # fmt: skip


def test_a_tensorflow_that_cannot_be_imported_fails(config, monkeypatch, tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libstdc++ is too old')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = check_results(with_settings(config, backbone="mobilenet_v2", weights="random"))["TensorFlow"]
    assert found.exit_code is ExitCode.USAGE
    assert "libstdc++ is too old" in found.line


def test_missing_weights_fail(config, monkeypatch):
    monkeypatch.setattr(doctor, "_tensorflow", lambda: "not imported in unit tests")
    found = check_results(with_settings(config, backbone="mobilenet_v2", weights="/nowhere/weights.h5"))["Weights"]
    assert (found.verdict, found.exit_code) == ("fails", ExitCode.WEIGHTS)


def test_an_input_that_is_missing_or_has_no_photograph_fails(config, tmp_path):
    (tmp_path / "empty").mkdir()
    for place in ("none", "empty"):
        assert (
            check_results(with_settings(config, input=str(tmp_path / place)))["Input"].exit_code
            is ExitCode.NOTHING_TO_READ
        )


def test_a_first_photograph_that_a_run_would_reject_is_told(config, monkeypatch):
    def archived(*_: object) -> bytes:
        raise Rejection(Reason.UNREADABLE, "archived (GLACIER): restore it first")

    monkeypatch.setattr(LocalStorage, "read_version", archived)
    found = check_results(config)["Input"]
    assert found.verdict == "ok"
    assert found.line.endswith("a.png would be rejected: archived (GLACIER): restore it first")


def test_an_output_that_cannot_be_written_fails(config, tmp_path):
    (tmp_path / "file").write_text("in the way")
    found = check_results(with_settings(config, output=str(tmp_path / "file" / "out")))["Output"]
    assert (found.verdict, found.exit_code) != ("ok", ExitCode.DONE)
    assert str(tmp_path / "file") in found.line


def test_an_input_is_looked_at_as_a_run_does(config, open_folder):
    """Neither the hidden folder nor the excluded one is entered, and what is in them is not the photograph to read."""
    files(open_folder, "apple/1.jpg", "@eaDir/2.jpg", "private/3.jpg")
    for locked in ("@eaDir", "private"):
        os.chmod(open_folder / locked, 0)
    with without_root():
        line = doctor._input(Stores(), str(open_folder), ("private",))
    assert line == f"{open_folder}, 1 photographs"


def test_input_and_output_that_contain_one_another_fail(config, tmp_path):
    found = check_results(with_settings(config, output=str(tmp_path / "in" / "out")))["Output"]
    assert found.exit_code is ExitCode.USAGE
    assert not os.path.exists(tmp_path / "in" / "out")


def test_too_little_memory_or_disk_fails(config, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "TEMPORARY_BYTES", 1 << 60)
    found = check_results(with_settings(config, driver_memory="900000g", local_dir=str(tmp_path / "not" / "yet")))
    assert (found["Disk"].exit_code, found["Memory"].exit_code) == (ExitCode.DOES_NOT_FIT, ExitCode.DOES_NOT_FIT)


def test_variables_are_named_and_no_secret_is_shown(config, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("AWS_", "SPARK_", "PYSPARK_", "PYTHON")):
            monkeypatch.delenv(name)
    secrets = {"AWS_SECRET_ACCESS_KEY": "marker", "JAVA_TOOL_OPTIONS": "-Dx=marker", "HTTPS_PROXY": "http://a:marker@b"}
    shown = {"SPARK_HOME": "/opt/spark\n3.5", "OMP_NUM_THREADS": "4", "PYSPARK_PYTHON": ""}
    for name, value in (secrets | shown).items():
        monkeypatch.setenv(name, value)
    line = check_results(config)["Variables"].line
    ignored, _, honoured = line.partition("; ")
    assert ignored == "ignored: JAVA_TOOL_OPTIONS, SPARK_HOME=/opt/spark 3.5"
    assert {"AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "OMP_NUM_THREADS=4"} <= set(
        honoured.removeprefix("honoured: ").split(", ")
    )
    assert "marker" not in line


def test_a_temporary_folder_that_is_noexec_is_told(config, monkeypatch, tmp_path):
    """With a stand-in for the mount; tests/integration/test_machine.py has a real one."""
    real, noexec = os.statvfs, str(tmp_path / "noexec")
    (tmp_path / "noexec").mkdir()

    def statvfs(place):
        found = {name: getattr(real(place), name) for name in dir(real(place)) if name.startswith("f_")}
        return types.SimpleNamespace(**found | {"f_flag": os.ST_NOEXEC if str(place) == noexec else 0})

    monkeypatch.setattr(os, "statvfs", statvfs)
    monkeypatch.setattr("tempfile.tempdir", noexec)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert check_results(config)["Disk"].line.endswith(
        f"in {noexec}; libraries are unpacked in {tmp_path / 'cache'}, as none can be loaded or written there"
    )
    monkeypatch.setenv("XDG_CACHE_HOME", noexec)
    found = check_results(config)["Disk"]
    assert (found.exit_code, found.line.partition(":")[0]) == (ExitCode.USAGE, noexec)


def test_an_unexpected_error_is_a_result_on_one_line(config, monkeypatch):
    def broken(*_):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(doctor, "_spark", broken)
    found = check_results(config)["Spark"]
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
    assert capsys.readouterr().out.count("\n") == (0 if code is ExitCode.USAGE else 15)
