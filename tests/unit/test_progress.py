import io
import json
import threading

import pytest

from verger.errors import ExitCode
from verger.progress import Progress


class Terminal(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A stream whose reader went away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self) -> None:
        raise BrokenPipeError(32, "Broken pipe")


def events(stream: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in stream.getvalue().splitlines() if line.startswith("{")]


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


class TestStage:
    def test_the_times_of_a_repeated_stage_are_added(self, stream, monkeypatch):
        clock = iter([0.0, 10.0, 12.0, 20.0, 23.5])
        monkeypatch.setattr("verger.progress.time.monotonic", lambda: next(clock))
        progress = Progress(stream)
        monkeypatch.setattr(progress, "_elapsed", lambda: 0.0)
        with progress.stage("list"):
            pass
        with progress.stage("list"):
            pass
        assert progress.timings == {"list": 5.5}

    def test_a_stage_that_fails_is_timed_too(self, stream):
        progress = Progress(stream)
        with pytest.raises(KeyError), progress.stage("pca"):
            raise KeyError
        assert set(progress.timings) == {"pca"}

    def test_each_start_of_a_stage_is_one_line(self, stream):
        with Progress(stream) as progress, progress.stage("list", "Listing photographs"):
            pass
        (line,) = events(stream)
        assert (line["event"], line["stage"]) == ("stage", "list")

    def test_a_terminal_shows_the_description(self):
        stream = Terminal()
        with Progress(stream) as progress, progress.stage("list", "Listing photographs"):
            pass
        assert "Listing photographs …" in stream.getvalue()

    def test_with_a_verbose_log_a_terminal_gets_lines(self):
        stream = Terminal()
        with Progress(stream, log_level="info") as progress, progress.stage("list", "Listing photographs"):
            pass
        assert stream.getvalue() == "Listing photographs …\n"


class TestPhotographs:
    def test_a_short_run_shows_a_first_and_a_last_line(self, stream):
        progress = Progress(stream, interval=3600)
        with progress.photographs(40):
            progress.update(40, 3)
        first, last = events(stream)
        assert (
            first.items() >= {"event": "progress", "stage": "features", "done": 0, "total": 40, "eta_s": None}.items()
        )
        assert last.items() >= {"done": 40, "total": 40, "rejected": 3, "eta_s": 0}.items()
        assert set(first) == {
            "event", "stage", "done", "total", "photographs_per_s", "eta_s", "rejected", "elapsed_s",
        }  # fmt: skip

    def test_lines_of_two_threads_are_in_the_order_of_their_numbers(self, stream, monkeypatch):
        progress = Progress(stream, interval=3600)
        write, others = progress._event, []

        def slow(*given, **fields):
            if not others:  # of the first line the numbers are known: now another thread has later ones
                others.append(threading.Thread(target=progress.update, args=(16, 0)))
                others[0].start()
                others[0].join(timeout=0.5)
            write(*given, **fields)

        with progress.photographs(40):
            monkeypatch.setattr(progress, "_event", slow)
            progress._report(progress._meter)
            others[0].join()
            monkeypatch.undo()
        assert [line["done"] for line in events(stream)] == [0, 0, 16, 16]

    def test_there_is_a_line_each_interval(self):
        class Counted(io.StringIO):
            def __init__(self) -> None:
                super().__init__()
                self.three = threading.Event()

            def write(self, text: str) -> int:
                written = super().write(text)
                if self.getvalue().count("\n") >= 3:
                    self.three.set()
                return written

        stream = Counted()
        progress = Progress(stream, interval=0.01)
        with progress.photographs(1):
            assert stream.three.wait(30)

    def test_the_first_photographs_are_a_line_at_once(self, stream):
        progress = Progress(stream, interval=3600)
        with progress.photographs(40):
            for done in (0, 8, 16):
                progress.update(done, 0)
            assert [event["done"] for event in events(stream)] == [0, 8]

    def test_the_rate_is_of_the_last_half_minute(self, stream, monkeypatch):
        now = 0.0
        monkeypatch.setattr("verger.progress.time.monotonic", lambda: now)
        progress = Progress(stream, interval=3600)
        with progress.photographs(1000):
            for now, done in ((10, 10), (100, 20), (110, 120), (120, 220)):  # noqa: B007  (read by the clock)
                progress.update(done, 0)
        last = events(stream)[-1]
        assert last["photographs_per_s"] == 10.0

    def test_the_time_left_is_that_of_a_steady_rate(self, stream, monkeypatch):
        now = 0.0
        monkeypatch.setattr("verger.progress.time.monotonic", lambda: now)
        progress = Progress(stream, interval=3600)
        with progress.photographs(1000):
            for now in range(18, 41, 2):  # 10 a second, after a start of 16 seconds
                progress.update(10 * (now - 16), 0)
        last = events(stream)[-1]
        assert (last["done"], last["photographs_per_s"], last["eta_s"]) == (240, 10.0, 76)

    def test_counts_may_go_back_when_a_wave_is_repeated(self, stream):
        progress = Progress(stream, interval=3600)
        with progress.photographs(10):
            progress.update(8, 0)
            progress.update(4, 0)
        last = events(stream)[-1]
        assert last["done"] == 4
        assert last["photographs_per_s"] >= 0

    def test_an_update_after_the_end_changes_nothing(self, stream):
        progress = Progress(stream, interval=3600)
        with progress.photographs(1):
            pass
        output = stream.getvalue()
        progress.update(1, 0)
        assert stream.getvalue() == output

    def test_the_bar_shows_counts_and_rejected(self):
        stream = Terminal()
        progress = Progress(stream)
        with progress.stage("features"), progress.photographs(40):
            progress.update(38, 2)
        shown = stream.getvalue()
        assert "38/40" in shown
        assert "2 rejected" in shown
        assert "{" not in shown

    def test_lines_of_threads_do_not_mix(self, stream):
        progress = Progress(stream, interval=0.001)
        with progress.photographs(400):
            threads = [
                threading.Thread(target=lambda n=n: [progress.warn(f"{n} {i}") for i in range(100)]) for n in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        assert sum(line["event"] == "warning" for line in lines) == 400 == len(progress.warnings)


class TestWarn:
    def test_each_warning_is_shown_once(self, stream):
        progress = Progress(stream)
        for text in ("k is 12", "drift", "k is 12"):
            progress.warn(text)
        assert progress.warnings == ["k is 12", "drift"]
        assert [event["message"] for event in events(stream)] == ["k is 12", "drift"]

    @pytest.mark.parametrize(("log_level", "shown"), [("debug", True), ("info", True), ("warning", False)])
    def test_details_are_shown_at_the_level_info(self, stream, log_level, shown):
        Progress(stream, log_level=log_level).info("one photograph")
        assert stream.getvalue() == ("one photograph\n" if shown else "")

    def test_log_level_error_keeps_warnings_for_the_manifest_only(self, stream):
        progress = Progress(stream, log_level="error")
        progress.warn("k is 12")
        assert (progress.warnings, stream.getvalue()) == (["k is 12"], "")

    def test_markup_is_shown_literally_on_a_terminal(self):
        stream = Terminal()
        Progress(stream).warn("label [bold] is\nodd")
        assert "warning: label [bold] is odd" in stream.getvalue()

    @pytest.mark.parametrize("terminal", [True, False])
    def test_a_name_cannot_control_the_terminal(self, terminal):
        stream = Terminal() if terminal else io.StringIO()
        progress = Progress(stream)
        progress.say("Table: /out\x1b]0;owned\x07\u202e/projection")
        progress.fail(ExitCode.STORE, "\x1b[2Jgone")
        output = stream.getvalue()
        assert "Table: /out\ufffd]0;owned\ufffd\ufffd/projection" in output
        assert "verger: \ufffd[2Jgone" in output


class TestEnd:
    def test_finish_is_the_last_line_and_json(self, stream):
        progress = Progress(stream)
        progress.say("300 photographs")
        progress.finish(listed=300, share=float("nan"), shares=[float("inf"), 0.5], nested={"rate": -float("inf")})
        plain, last = stream.getvalue().splitlines()
        assert plain == "300 photographs"
        assert json.loads(last, parse_constant=pytest.fail) == {
            "event": "done", "listed": 300, "share": None, "shares": [None, 0.5], "nested": {"rate": None},
        }  # fmt: skip

    def test_fail_is_a_line_for_people_then_one_for_scripts_with_the_counts(self, stream):
        progress = Progress(stream, interval=3600)
        with progress.photographs(10):
            progress.update(7, 2)
        progress.fail(ExitCode.WEIGHTS, "no weights.", wave=3)
        *_, plain, last = stream.getvalue().splitlines()
        assert plain == "verger: no weights."
        assert json.loads(last) == {
            "event": "failed", "exit_code": 7, "message": "no weights.",
            "done": 7, "total": 10, "rejected": 2, "wave": 3,
        }  # fmt: skip

    def test_a_terminal_gets_only_lines_for_people(self):
        stream = Terminal()
        progress = Progress(stream)
        progress.finish(listed=1)
        progress.fail(ExitCode.STORE, "the store refuses.")
        assert "verger: the store refuses." in stream.getvalue()
        assert "{" not in stream.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_reader_that_has_gone_does_not_end_the_run(terminal, monkeypatch):
    stream = Gone()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    with Progress(stream, interval=0.001) as progress:
        with progress.stage("list"), progress.photographs(3):
            progress.update(3, 0)
        progress.warn("gone")
        progress.say("gone")
        progress.finish()
        progress.fail(ExitCode.STORE, "gone")
    assert progress.warnings == ["gone"]


def test_a_closed_stream_does_not_end_the_run(stream):
    progress = Progress(stream)
    stream.close()
    progress.finish(listed=1)
    assert progress.timings == {}


class TestJson:
    def test_every_line_is_an_object_also_on_a_terminal(self):
        stream = Terminal()
        with Progress(stream, interval=3600, log_format="json") as progress:
            with progress.stage("list", "Listing photographs"), progress.photographs(3):
                progress.update(3, 1)
            progress.warn("k is 12")
            progress.say("2 of 3\nphotographs")
            progress.finish(listed=3)
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        assert [line["event"] for line in lines] == ["stage", "progress", "progress", "warning", "message", "done"]
        assert [line["level"] for line in lines] == ["INFO", "INFO", "INFO", "WARN", "INFO", "INFO"]
        assert {line["logger"] for line in lines} == {"verger"}
        assert lines[-1]["listed"] == 3

    def test_a_failure_has_no_further_line_for_people(self, stream):
        Progress(stream, log_format="json").fail(ExitCode.STORE, "the store refuses.", ValueError(), wave=3)
        (line,) = [json.loads(line) for line in stream.getvalue().splitlines()]
        assert (line["event"], line["level"], line["exit_code"], line["wave"]) == ("failed", "ERROR", 4, 3)
        assert "traceback" not in line

    def test_a_verbose_log_shows_the_traceback_as_text_or_as_a_field(self):
        for log_format, shown in (("json", '"traceback": "ValueError: wrong'), ("auto", "ValueError: wrong\nverger: ")):
            stream = io.StringIO()
            progress = Progress(stream, log_level="info", log_format=log_format)
            progress.fail(ExitCode.DEFECT, "internal error.", ValueError("wrong"))
            assert shown in stream.getvalue()


class TestWaiting:
    def test_each_change_is_one_line_with_its_numbers(self, stream):
        progress = Progress(stream)
        for _ in range(3):
            progress.executors(2, 4, "2 pending: Insufficient memory")
        progress.workers(1, 2)
        assert [event | {"elapsed_s": 0} for event in events(stream)] == [
            {
                "event": "waiting", "waiting_for": "executors", "ready": 2, "total": 4,
                "message": "2 of 4 executors are here; 2 pending: Insufficient memory", "elapsed_s": 0,
            },
            {
                "event": "waiting", "waiting_for": "network", "ready": 1, "total": 2,
                "message": "network loaded on 1 of 2 workers", "elapsed_s": 0,
            },
        ]  # fmt: skip

    def test_a_line_says_that_all_are_here_and_that_one_is_lost_again(self, stream):
        progress = Progress(stream)
        for here in (0, 2, 2, 1):
            progress.executors(here, 2)
        assert [event["ready"] for event in events(stream)] == [0, 2, 1]

    def test_a_network_stays_loaded(self, stream):
        progress = Progress(stream)
        for loaded in (0, 2, 1, 2):
            progress.workers(loaded, 2)
        assert [event["ready"] for event in events(stream)] == [0, 2]

    def test_after_the_first_photographs_workers_are_told_of_no_more(self, stream):
        progress = Progress(stream, interval=3600)
        with progress.photographs(40):
            progress.workers(1, 2)
            progress.update(8, 0)
            progress.workers(2, 2)
            progress.executors(1, 2)
        told = [event["waiting_for"] for event in events(stream) if event["event"] == "waiting"]
        assert told == ["network", "executors"]

    def test_a_terminal_shows_it_beside_the_stage_and_below_the_bar(self):
        stream = Terminal()
        progress = Progress(stream)
        with progress.stage("session", "Starting Spark"):
            progress.executors(2, 4, "2 pending: Insufficient memory")
        assert "Starting Spark … (2 of 4 executors are here; 2 pending: Insufficient memory)" in stream.getvalue()
        stream.truncate(0)
        with progress.stage("features"), progress.photographs(40):
            progress.executors(4, 4)
            progress.workers(1, 4)
            progress.update(0, 0)
        shown = stream.getvalue()
        assert "network loaded on 1 of 4 workers" in shown
        assert "executors are here" not in shown[shown.index("network loaded") :]

    def test_with_a_verbose_log_a_terminal_gets_lines(self):
        stream = Terminal()
        Progress(stream, log_level="info").workers(1, 1)
        assert stream.getvalue() == "network loaded on 1 of 1 worker\n"
