import errno
import json
import os
import re
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import get_args

import pytest

import verger
from verger.cli import main, summary
from verger.config import HEADINGS, RunConfig
from verger.errors import ExitCode, NothingToReadError, Terminated, TooManyRejectedError
from verger.tables.manifest import Manifest

COMMANDS = [
    "run", "plan", "project", "identify", "report", "export",
    "compact", "prune", "doctor", "prepare", "sample", "schema",
]  # fmt: skip

DOCUMENT = {
    "schema_version": 1, "verger_version": "0.1.0", "config": {}, "labels": {"Apple": 1300}, "warnings": [],
    "features": {
        "fingerprint": "pixels-20", "backbone": "pixels", "weights_sha256": None, "dimension": 1200, "path": "f",
    },
    "timings_s": {}, "cost": {"eur": None, "eur_per_1000": None, "assumptions": []},
    "environment": {"python": "3.11.7"},
    "residency": {"verdict": "local", "evidence": [], "opt_ins": []},
    "run_id": "20260301T120000Z-verger-0a1b2c",
    "started_at": "2026-03-01T12:00:00.000000Z",
    "finished_at": "2026-03-01T12:00:24.120000Z",
    "input": {"uri": "/photographs", "region": None},
    "output": {"uri": "/out", "region": None},
    "photographs": {
        "listed": 1300, "ignored": {".txt": 2}, "known": 0, "computed": 1290, "rejected": 10, "gone": 0,
        "projected": 1290,
    },
    "rejected_by_reason": {"truncated": 3, "not_an_image": 7, "empty": 0},
    "pca": {
        "n_components": 2, "requested": {"variance": 0.8}, "explained_variance_ratio": [0.6, 0.25, 0.1],
        "fitted_by": "20260301T120000Z-verger-0a1b2c", "solver": "gram", "n_photographs": 1290, "rank": 3,
        "total_variance": 1.0, "path": "runs/20260301T120000Z-verger-0a1b2c/pca",
    },
    "projection": {"path": "runs/20260301T120000Z-verger-0a1b2c/projection", "rows": 1290, "columns": 2},
    "throughput": {"photographs_per_s": 83.4, "photographs_per_s_per_core": 41.7},
}  # fmt: skip
MANIFEST = Manifest.model_validate(DOCUMENT)


@pytest.fixture
def pipeline(monkeypatch):
    """Stand in for the pipeline, which needs Spark: what is tested here is the line to it and back."""
    fake = types.SimpleNamespace(calls=[], outcome=MANIFEST)

    def called(name):
        def call(*arguments, **keywords):
            fake.calls.append((name, *arguments))
            if callable(fake.outcome):
                return fake.outcome()
            return fake.outcome

        return call

    fake.run, fake.project, fake.prune = called("run"), called("project"), called("prune")
    monkeypatch.setitem(sys.modules, "verger.pipeline", fake)
    monkeypatch.setattr(verger, "pipeline", fake, raising=False)
    return fake


@pytest.fixture
def call(capsys, monkeypatch):
    """Run a command in this process: its exit code, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return (int(ended.value.code), *capsys.readouterr())

    return run


def raising(error):
    def outcome():
        raise error

    return outcome


PLACES = ("--input", "/photographs", "--output", "/out")


class TestHelp:
    def test_every_command_of_this_issue_and_no_other(self, call):
        code, out, _ = call("--help")
        assert code == 0
        assert re.findall(r"^│ ([a-z]+)\b", out, re.MULTILINE) == COMMANDS

    @pytest.mark.parametrize("command", COMMANDS)
    def test_each_explains_itself(self, call, command):
        code, out, _ = call(command, "--help")
        assert code == 0
        assert f"Usage: verger {command}" in out

    def test_every_setting_is_an_option_of_run_and_plan(self, call):
        for command in ("run", "plan"):
            _, out, _ = call(command, "--help")
            for name in RunConfig.model_fields:
                assert f"--{name.replace('_', '-')}" in out

    def test_groups_come_in_their_order(self, call):
        _, out, _ = call("run", "--help")
        headings = [heading for heading in re.findall(r"╭─ ([^─]+?) ─", out) if heading in HEADINGS]
        assert headings == list(HEADINGS)

    def test_defaults_and_choices_are_those_of_the_fields(self, call):
        _, out, _ = call("run", "--help")
        assert "[default: mobilenet_v2]" in " ".join(out.replace("│", "").split())
        assert f"[{'|'.join(get_args(RunConfig.model_fields['solver'].annotation))}]" in out
        assert "--csv/--no-csv" in out

    def test_project_leaves_network_and_components_to_the_run(self, call):
        _, out, _ = call("project", "--help")
        assert "--batch-size" in out
        assert "--label" in out
        assert "--backbone" not in out
        assert "--variance" not in out

    def test_version(self, call):
        assert call("--version") == (0, f"verger {verger.__version__}\n", "")

    def test_no_command_shows_the_help(self, call):
        code, _, err = call()
        assert code == ExitCode.USAGE
        assert "schema" in err


class TestSettings:
    def test_only_given_options_count(self, pipeline, call, tmp_path, monkeypatch):
        file = tmp_path / "verger.yaml"
        file.write_text("batch_size: 4\nwave_size: 100\nlabel: [Pear]")
        monkeypatch.setenv("VERGER_WAVE_SIZE", "200")
        code, *_ = call("run", *PLACES, "--config", str(file), "--label", "Apple*", "--label", "Plum", "--csv")
        assert code == 0
        ((_, config),) = pipeline.calls
        assert (config.batch_size, config.wave_size, config.label, config.csv) == (4, 200, ("Apple*", "Plum"), True)
        assert config.standardize is None

    @pytest.mark.parametrize(("flag", "value"), [("--standardize", True), ("--no-standardize", False)])
    def test_a_flag_says_yes_or_no(self, pipeline, call, flag, value):
        call("run", *PLACES, flag)
        assert pipeline.calls[0][1].standardize is value

    def test_project_hands_the_run_over(self, pipeline, call):
        code, *_ = call("project", "--run", "/out", *PLACES)
        ((name, config, run),) = pipeline.calls
        assert (code, name, config.input, run) == (0, "project", "/photographs", "/out")

    def test_prune_says_what_it_removed(self, pipeline, call):
        pipeline.outcome = {"runs": 3, "photographs": 1200, "versions": 2}
        code, _, err = call("prune", "--output", "/out", "--keep-runs", "2", "--gone")
        name, config, keep, gone, _ = pipeline.calls[0]
        assert (code, name, config.output, keep, gone) == (0, "prune", "/out", 2, True)
        assert err.splitlines()[0] == "Removed: runs 3, photographs 1,200, versions 2."


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (("run", "--vriance", "1"), "'--vriance'. (Did you mean one of: '--variance', '--verify-nodes'?). See `"),
            (("rn",), "No such command 'rn'."),
            (("run", *PLACES, "--backbone", "resnet"), "'resnet' is not one of 'mobilenet_v2', 'vgg16', 'pixels'."),
            (("run", *PLACES, "--batch-size", "many"), "'many' is not a valid integer."),
            (("run", *PLACES, "--batch-size", "0"), "batch_size: input should be greater than or equal to 1 (got 0)."),
            (("run",), "input: is required; output: is required."),
            (("run", *PLACES, "--config", "none.yaml"), "no configuration file at none.yaml."),
            (("project", *PLACES), "Missing option '--run'."),
            (("prune", "--output", "/out"), "nothing to prune: give --keep-runs N, --gone or both."),
            (("run", *PLACES, "--components", "3", "--variance", "1"), "variance and components exclude one another."),
        ],
    )  # fmt: skip
    def test_one_line_and_exit_2(self, call, arguments, line):
        code, out, err = call(*arguments)
        assert (code, out) == (ExitCode.USAGE, "")
        assert err.startswith("verger: ")
        assert line in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize("command", ["identify", "export", "report", "compact", "project"])
    def test_what_a_command_needs_is_asked_for(self, call, command):
        assert call(command)[0] == ExitCode.USAGE

    @pytest.mark.parametrize(
        ("arguments", "which"),
        [
            (["identify", "--run", "out", ""], "PHOTO..."),
            (["identify", "--run", "out", "here.jpg", " "], "PHOTO..."),
            (["identify", "--run", "", "here.jpg"], "--run"),
            (["report", "--run", ""], "--run"),
            (["export", "--run="], "--run"),
            (["project", *PLACES, "--run", ""], "--run"),
            (["sample", ""], "DIR|URI"),
        ],
    )
    def test_an_empty_place_is_not_the_current_folder(self, pipeline, call, arguments, which):
        code, out, err = call(*arguments)
        assert (code, out) == (ExitCode.USAGE, "")
        line = f"verger: Invalid value for '{which}': it is empty. See `verger {arguments[0]} --help`."
        assert err.splitlines() == [line]


class TestEndings:
    @pytest.mark.parametrize(
        ("error", "code", "said"),
        [
            (
                NothingToReadError("no photograph in /here", "Check the path"),
                3,
                "no photograph in /here. Check the path.",
            ),
            (TooManyRejectedError("half of them are rejected"), 6, "half of them are rejected."),
            (MemoryError(), 8, "not enough memory."),
            (OSError(errno.ENOSPC, "No space left on device", "/out/part"), 8, "no space left on disk for /out/part."),
            (RuntimeError("java.lang.OutOfMemoryError: Java heap space"), 8, "Spark ran out of memory."),
            (KeyboardInterrupt(), 130, "interrupted: what finished tasks have written is kept."),
        ],
    )
    def test_a_failure_is_one_line_a_last_json_line_and_its_code(self, pipeline, call, error, code, said):
        pipeline.outcome = raising(error)
        ended, out, err = call("run", *PLACES)
        plain, last = err.splitlines()
        assert (ended, out) == (code, "")
        assert plain.startswith(f"verger: {said}")
        assert json.loads(last)["exit_code"] == code

    def test_a_defect_leaves_its_traceback_in_a_file(self, pipeline, call, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        pipeline.outcome = raising(KeyError("features"))
        code, _, err = call("run", *PLACES)
        (file,) = tmp_path.iterdir()
        assert code == ExitCode.DEFECT
        line = f"internal error: KeyError: 'features'. The traceback is in {file}. Please report it with that file."
        assert err.splitlines()[0] == f"verger: {line}"
        assert "Traceback" not in err
        assert "Traceback" in file.read_text()
        assert f"verger {verger.__version__}" in file.read_text()

    def test_a_loud_log_shows_the_traceback(self, pipeline, call, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        pipeline.outcome = raising(KeyError("features"))
        assert "Traceback" in call("run", *PLACES, "--log-level", "info")[2]

    def test_sigterm_ends_a_run_in_order_and_a_second_one_at_once(self, pipeline, call):
        handlers = []

        def terminated():
            try:
                signal.raise_signal(signal.SIGTERM)
            finally:
                handlers.append(signal.getsignal(signal.SIGTERM))

        pipeline.outcome = terminated
        code, _, err = call("run", *PLACES)
        assert code == ExitCode.TERMINATED
        assert err.startswith(
            "verger: terminated: what finished tasks have written is kept. Run the same command again to resume.\n"
        )
        assert handlers == [signal.SIG_DFL]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    @pytest.mark.parametrize(("error", "how"), [(KeyboardInterrupt(), "interrupted"), (Terminated(), "terminated")])
    def test_an_interrupted_command_that_is_no_run_has_no_waves(self, call, monkeypatch, error, how):
        monkeypatch.setattr("verger.insight.report.writer.redraw", lambda *_: raising(error)())
        code, _, err = call("report", "--run", "out")
        assert code == (ExitCode.TERMINATED if how == "terminated" else ExitCode.INTERRUPTED)
        assert err.splitlines()[0] == f"verger: {how}. Run the same command again."

    def test_an_interrupted_command_without_waves_does_not_speak_of_them(self, call, monkeypatch):
        monkeypatch.setattr(RunConfig, "model_json_schema", raising(KeyboardInterrupt()))
        assert call("schema") == (ExitCode.INTERRUPTED, "", "verger: interrupted.\n")

    def test_a_run_ends_with_lines_for_people_and_one_for_scripts(self, pipeline, call):
        code, out, err = call("run", *PLACES)
        *lines, last = err.splitlines()
        assert (code, out) == (0, "")
        assert lines == summary.lines(MANIFEST) + summary.next_lines(MANIFEST)
        done = json.loads(last)
        assert done["event"] == "done"
        assert (done["run_id"], done["computed"], done["n_components"]) == (MANIFEST.run_id, 1290, 2)
        assert done["seconds"] == 24.1


def test_schema_is_json_with_every_setting(call):
    code, out, err = call("schema")
    assert (code, err) == (0, "")
    assert list(json.loads(out)["properties"]) == list(RunConfig.model_fields)


def test_sample_draws(call, tmp_path):
    code, out, err = call("sample", str(tmp_path / "s"), "--photographs", "20", "--seed", "3")
    assert (code, out) == (0, "")
    assert err.startswith(f"{tmp_path / 's'}: 20 photographs, ")
    assert len([*(tmp_path / "s").rglob("*.*g")]) >= 20


def python(script: str, **more) -> subprocess.CompletedProcess:
    job = str(Path(verger.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (job, os.environ.get("PYTHONPATH"))))}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
    return subprocess.run([sys.executable, "-c", script], text=True, env=environment, check=False, **streams)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["schema"], ["sample", "drawn", "--photographs", "3"]]
)
def test_light_commands_import_neither_tensorflow_nor_pyspark(arguments, tmp_path):
    done = python(
        f"import atexit, sys; from verger.cli import main\n"
        f"atexit.register(lambda: print(*sorted({{'tensorflow', 'pyspark', 'keras'}} & set(sys.modules)), 'end'))\n"
        f"main({arguments!r})",
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "end"), done.stderr


def test_a_reader_that_has_seen_enough_is_no_error():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = python("from verger.cli import main; main(['schema'])", stdout=closed)
    assert (done.returncode, done.stderr) == (0, "")


IDENTIFY = """
from verger import cli
from verger.errors import NothingToReadError
from verger.insight.identify import identification
def looked(*_):
    for _ in range(3):
        yield identification.Identification("/in/\\udcff\\u2028.jpg", "R", error=NothingToReadError("gone")), MEMORY
    raise SystemExit(9)
MEMORY = object()
identification.identify = looked
cli.main(["identify", "x", "--run", "/out", *ARGUMENTS])
"""


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_reader_who_has_seen_enough_of_what_is_identified_is_no_defect(arguments):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as closed:
        done = python(IDENTIFY.replace("ARGUMENTS", repr(arguments)), stdout=closed)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_names_of_files_that_are_not_utf_8_are_written_all_the_same(arguments):
    done = python(IDENTIFY.replace("ARGUMENTS", repr(arguments)))
    assert done.returncode == 9, done.stderr
    if arguments:
        assert [json.loads(line)["photograph"] for line in done.stdout.splitlines()] == ["/in/\udcff\u2028.jpg"] * 3
    else:
        assert done.stdout.count("/in/\\udcff") == 3


def test_a_pipe_that_breaks_elsewhere_is_no_reader_who_has_seen_enough(pipeline, call):
    pipeline.outcome = raising(BrokenPipeError())
    assert call("run", *PLACES)[0] == ExitCode.DEFECT
