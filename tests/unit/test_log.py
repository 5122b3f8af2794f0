"""log, and the command line where every line is JSON."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from verger import cli, log
from verger.cli import exit_codes

TS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def reset_log() -> Iterator[None]:
    yield
    log.configure(False)


def lines(text: str) -> list[dict[str, Any]]:
    """Every line of stderr is an object with the four fields."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert list(line)[:4] == ["ts", "level", "logger", "event"]
        assert re.fullmatch(TS, line["ts"])
    return found


def test_a_line_has_time_level_logger_and_event_first() -> None:
    (line,) = lines(log.line("done", share=float("nan"), note="é\n"))
    assert (line["level"], line["logger"], line["share"], line["note"]) == ("INFO", "verger", None, "é\n")


def test_log_messages_warnings_and_uncaught_exceptions_are_lines_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    script = """
import gc, logging, threading, warnings
from verger import log
log.configure(True)
logging.getLogger("botocore").warning("two\\nlines of %s", "it")
logging.getLogger("botocore").info("not asked for")
logging.getLogger("py4j.java_gateway").error("interrupted")
warnings.warn("old", FutureWarning)
def fails():
    raise KeyError("stray")
thread = threading.Thread(target=fails)
thread.start()
thread.join()
class Leaves:
    def __del__(self):
        raise ValueError("unraisable")
Leaves()
gc.collect()
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": str(ROOT / "job")}, capture_output=True, text=True
    )
    first, warning, thread, unraisable = lines(ran.stderr)
    assert (first["level"], first["logger"], first["event"]) == ("WARN", "botocore", "log")
    assert first["message"] == "two lines of it"
    assert (warning["logger"], "FutureWarning: old" in warning["message"]) == ("py.warnings", True)
    assert "KeyError: 'stray'" in thread["traceback"]
    assert (unraisable["level"], "ValueError: unraisable" in unraisable["traceback"]) == ("ERROR", True)


@pytest.mark.parametrize("as_json", [True, False])
def test_no_library_and_no_thread_says_a_secret(as_json: bool) -> None:
    token = "Tn5Rb1Ly8Hd4Mf6Js2Gc"
    script = f"""
import gc, logging, os, threading
from verger import log
token = os.environ["AWS_SESSION_TOKEN"]
log.configure({as_json})
try:
    raise KeyError(token)
except KeyError:
    logging.getLogger("botocore").warning("first %s", token, exc_info=True)
def fails():
    raise KeyError("second", token)
thread = threading.Thread(target=fails)
thread.start()
thread.join()
class Leaves:
    def __del__(self):
        raise ValueError("third", token)
Leaves()
gc.collect()
"""
    environment = {"PYTHONPATH": str(ROOT / "job"), "AWS_SESSION_TOKEN": token}
    ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert all(word in ran.stderr for word in ("first ***", "KeyError", "'second', '***'", "'third', '***'"))
    assert token[:6] not in ran.stderr and token[-6:] not in ran.stderr


def test_py4j_messages_are_only_in_a_verbose_log(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(True, verbose=True)
    logging.getLogger("py4j.java_gateway").error("interrupted")
    log.configure(True)
    logging.getLogger("py4j.java_gateway").error("interrupted")
    assert len(lines(capsys.readouterr().err)) == 1


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert out == ""
    return int(ended.value.code or 0), lines(err)


@pytest.fixture
def message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a pod has."""
    path = tmp_path / "termination-log"
    path.touch()
    monkeypatch.setattr(exit_codes, "TERMINATION_LOG", path)
    return path


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "no command was given"),
        (("rn",), 2, "No such command 'rn'"),
        (("run", "--vriance", "1"), 2, "'--vriance'"),
        (("run",), 2, "input: is required; output: is required"),
        (("run", "--config", "none.yaml"), 2, "no configuration file at none.yaml"),
        (("run", "--input", "/nowhere/in", "--output", "/nowhere/out"), 3, "/nowhere/in"),
        (("plan", "--input", "/nowhere/in", "--output", "/nowhere/out"), 3, "/nowhere/in"),
    ],
)
def test_every_failure_is_a_json_line_and_the_termination_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, message: Path, arguments: tuple[str, ...],
    code: int, words: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("VERGER_LOG_FORMAT", "json")
    ended, output = call(capsys, *arguments)
    last = output[-1]
    assert (ended, last["event"], last["level"], last["exit_code"]) == (code, "failed", "ERROR", code)
    assert words in last["message"]
    assert message.read_text() == last["message"]


@pytest.mark.parametrize("way", ["option", "joined", "file"])
def test_the_format_may_come_from_any_source_of_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, way: str
) -> None:
    (tmp_path / "run.yaml").write_text("log_format: json\n")
    given = {
        "option": ("--log-format", "json"),
        "joined": ("--log-format=json",),
        "file": ("--config", str(tmp_path / "run.yaml")),
    }[way]
    code, (*_, last) = call(capsys, "plan", "--input", "/nowhere/in", "--output", "/nowhere/out", *given)
    assert (code, last["event"]) == (3, "failed")


def test_a_verbose_log_has_the_traceback_in_a_field(capsys: pytest.CaptureFixture[str]) -> None:
    places = ("--input", "/nowhere/in", "--output", "/nowhere/out")
    _, (*_, last) = call(capsys, "run", *places, "--log-format", "json", "--log-level", "info")
    assert last["traceback"].startswith("Traceback")
    _, (*_, last) = call(capsys, "run", *places, "--log-format", "json")
    assert "traceback" not in last


def test_sample_writes_json_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VERGER_LOG_FORMAT", "json")
    code, output = call(capsys, "sample", str(tmp_path / "drawn"), "--photographs", "3")
    assert (code, {line["event"] for line in output}) == (0, {"message"})


def test_a_termination_message_is_written_for_plain_lines_too_but_no_new_file(
    capsys: pytest.CaptureFixture[str], message: Path
) -> None:
    for long in ("", "é" * 5000):
        with pytest.raises(SystemExit):
            cli.main(["run", "--config", f"none{long}.yaml"])
        err = capsys.readouterr().err
        assert err.startswith("verger: no configuration file")
        kept = message.read_bytes()
        assert err.removeprefix("verger: ").strip().startswith(kept.decode())
        assert (len(kept) <= 4096) if long else (kept.decode() == err.removeprefix("verger: ").strip())
    os.unlink(message)
    with pytest.raises(SystemExit):
        cli.main(["run", "--config", "none.yaml"])
    assert not message.exists()
