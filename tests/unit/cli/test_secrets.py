"""No part of a secret in what a command says or writes, whatever the secret is and wherever it is read.

The command line itself is run, in this process, against a server that is no store: it answers every request with an
error that repeats the request's headers.
"""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.web import Answer, Request, Web, serving
from verger import cli, log
from verger.cli import exit_codes

pytestmark = pytest.mark.required_in_ci

MARKER = "Zq7Kx9Wv3/n5Rb1Ly8Hd4Mf6+s2Gc0PaUe7Xj1Wk5"  # as long as AWS's, with what URLs and JSON escape
PIECE = 6

# The kind of damage -> a secret with it, and what the line says of it.
DAMAGED = {
    "line break at the end": (f"{MARKER}\n", "a line break at its end"),
    "line break inside": (f"{MARKER[:20]}\n{MARKER[20:]}", "a line break"),
    "carriage return": (f"{MARKER}\r\n", "a carriage return at its end"),
    "carriage return inside": (f"{MARKER[:20]}\r{MARKER[20:]}", "a carriage return"),
    "tab": (f"{MARKER}\t", "a tab at its end"),
    "space at the start": (f" {MARKER}", "a space at its start"),
    "space at the end": (f"{MARKER} ", "a space at its end"),
    "control character": (f"{MARKER[:20]}\x1b{MARKER[20:]}", "a control character"),
    "no UTF-8": (f"{MARKER[:20]}\udce9{MARKER[20:]}", "a byte that is not UTF-8"),
}
NOT_ASCII = (f"{MARKER[:20]}é{MARKER[20:]}", "a character that is not ASCII")
VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
FORMATS = ("auto", "json")


def repeat(request: Request) -> Answer:
    """What a store answers that repeats the request, token and signature included."""
    said = " ".join(request.headers.values())
    return Answer(f"<Error><Code>OddError</Code><Message>{said}</Message></Error>", 400)


@dataclass
class Attempt:
    """A command in an environment of nothing but a store and the secrets of the test."""

    folder: Path
    store: Web
    monkeypatch: pytest.MonkeyPatch
    capfd: pytest.CaptureFixture[str]

    def run(self, *more: str, log_format: str = "json", **variables: str) -> tuple[int, str]:
        """The exit code, and all that was said and written."""
        for name, value in ({"AWS_ENDPOINT_URL_S3": self.store.url} | variables).items():
            self.monkeypatch.setenv(name, value)
        place = ["--input", "s3://orchard/in", "--output", str(self.folder / "out"), "--store-location", "eu"]
        settings = ["--region", "eu-west-3", "--log-format", log_format, "--log-level", "debug"]
        with pytest.raises(SystemExit) as ended:
            cli.main([*(more or ("run", *place, *settings))])
        written = [path.read_text(errors="replace") for path in (self.folder / "seen").rglob("*") if path.is_file()]
        captured = self.capfd.readouterr()
        said = "\n".join((captured.out, captured.err, *written))
        assert pieces(said) == []
        code = ended.value.code
        assert isinstance(code, int)
        return code, said

    def file(self, name: str, content: str) -> str:
        path = self.folder / name
        path.write_text(content, errors="surrogateescape")
        return str(path)


def pieces(text: str) -> list[str]:
    """The pieces of the marker in a text, as it is or as a URL or the header of a proxy has it."""
    header = base64.b64encode(f"me:{MARKER}".encode()).decode()
    forms = (MARKER, urllib.parse.quote(MARKER, safe=""), header)
    return [form[i : i + PIECE] for form in forms for i in range(len(form) - PIECE + 1) if form[i : i + PIECE] in text]


@pytest.fixture(scope="module")
def store() -> Iterator[Web]:
    with serving(repeat) as web:
        yield web


@pytest.fixture
def attempt(
    example_keys: None,
    store: Web,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[Attempt]:
    seen = tmp_path / "seen"
    seen.mkdir()
    (seen / "termination-log").touch()
    monkeypatch.setattr(exit_codes, "TERMINATION_LOG", seen / "termination-log")
    monkeypatch.setattr("tempfile.tempdir", str(seen))
    monkeypatch.delenv("VERGER_LOG_FORMAT", raising=False)
    yield Attempt(tmp_path, store, monkeypatch, capfd)
    log.configure(False)


class TestKeysInTheEnvironment:
    @pytest.mark.parametrize("name", VARIABLES)
    @pytest.mark.parametrize("damage", DAMAGED)
    def test_a_damaged_key_is_named_and_not_shown(self, name: str, damage: str, attempt: Attempt) -> None:
        value, words = DAMAGED[damage]
        code, said = attempt.run(**{name: value})
        assert code == 4
        assert f"{name} holds {words}. Set {name} without it" in said
        assert "traceback" not in (attempt.folder / "seen" / "termination-log").read_text().lower()

    @pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"])
    def test_what_no_header_can_have_is_refused(self, name: str, attempt: Attempt) -> None:
        value, words = NOT_ASCII
        code, said = attempt.run(**{name: value})
        assert (code, f"{name} holds {words}" in said) == (4, True)

    def test_a_secret_key_may_have_other_letters(self, attempt: Attempt) -> None:
        code, said = attempt.run(AWS_SECRET_ACCESS_KEY=NOT_ASCII[0] + " pass phrase")
        assert (code, "answers ListObjectsV2 with OddError" in said) == (4, True)

    def test_the_line_says_how_a_line_break_comes_there(self, attempt: Attempt) -> None:
        _, said = attempt.run(log_format="auto", AWS_SESSION_TOKEN=f"{MARKER}\n")
        line = (
            "AWS_SESSION_TOKEN holds a line break at its end. "
            "Set AWS_SESSION_TOKEN without it: echo adds a line break, printf '%s' adds none."
        )
        assert f"verger: {line}\n" in said
        assert (attempt.folder / "seen" / "termination-log").read_text() == line

    @pytest.mark.parametrize("log_format", FORMATS)
    @pytest.mark.parametrize("name", VARIABLES)
    def test_a_store_that_repeats_the_request_is_not_repeated(
        self, name: str, log_format: str, attempt: Attempt
    ) -> None:
        code, said = attempt.run(log_format=log_format, **{name: MARKER})
        assert (code, "answers ListObjectsV2 with OddError" in said) == (4, True)
        assert len(attempt.store.asked) > 0

    def test_a_token_that_is_not_used_is_not_refused(self, attempt: Attempt) -> None:
        keys = f"[default]\naws_access_key_id = {MARKER}\naws_secret_access_key = {MARKER}\n"
        attempt.file("credentials", keys)
        for name in VARIABLES[:2]:
            attempt.monkeypatch.delenv(name)
        _, said = attempt.run(AWS_SESSION_TOKEN=f"{MARKER}\n")
        assert "answers ListObjectsV2 with OddError" in said

    @pytest.mark.parametrize("command", ["doctor", "plan"])
    def test_other_commands(self, command: str, attempt: Attempt) -> None:
        options = ["--input", "s3://orchard/in", "--store-location", "eu"]
        if command == "plan":
            options += ["--output", str(attempt.folder / "out")]
        else:
            attempt.monkeypatch.setattr("verger.planning.doctor._spark", lambda *_: "not started")
            attempt.monkeypatch.setattr("verger.planning.doctor._tensorflow", lambda *_: "not imported")
        code, said = attempt.run(command, *options, AWS_SESSION_TOKEN=f"{MARKER}\n")
        assert (code, "AWS_SESSION_TOKEN holds a line break at its end" in said) == (4, True)


class TestKeysInFiles:
    SETTINGS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    # A file's value loses the white space around it, and a line that is indented goes on with the value.
    DAMAGED = (
        ("\n ", "a line break"),
        ("\r ", "a line break"),
        ("\0", "a NUL"),
        ("\t", "a tab"),
        ("\x1b", "a control character"),
    )

    def keys(self, name: str, value: str) -> str:
        return "\n".join(["[default]", *(f"{key} = {value if key == name else MARKER}" for key in self.SETTINGS), ""])

    @pytest.fixture(autouse=True)
    def no_keys(self, attempt: Attempt) -> None:
        for name in VARIABLES[:2]:
            attempt.monkeypatch.delenv(name)

    @pytest.mark.parametrize(
        ("file", "name", "damage"),
        [
            *(("credentials", "aws_session_token", damage) for damage in DAMAGED),
            ("credentials", "aws_access_key_id", DAMAGED[0]),
            ("config", "aws_secret_access_key", DAMAGED[0]),
            ("config", "aws_session_token", DAMAGED[2]),
        ],
    )
    def test_a_damaged_key_is_named_and_not_shown(
        self, name: str, damage: tuple[str, str], file: str, attempt: Attempt
    ) -> None:
        part, words = damage
        path = attempt.file(file, self.keys(name, MARKER[:20] + part + MARKER[20:]))
        code, said = attempt.run()
        assert code == 4
        assert f"{name} of profile default in {path} holds {words}. Correct profile default in {path}." in said

    @pytest.mark.parametrize("around", ["{}\n", " {} ", "{}\t\r\n"])
    def test_white_space_around_a_key_is_stripped(self, around: str, attempt: Attempt) -> None:
        attempt.file("credentials", self.keys("aws_session_token", around.format(MARKER)))
        code, said = attempt.run()
        assert (code, "answers ListObjectsV2 with OddError" in said) == (4, True)

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (f"aws_secret_access_key = {MARKER}\n", "from line 1: it must be [PROFILE], then NAME = VALUE"),
            (f"[default]\naws_session_token = a\n{MARKER}\n", "from line 3: it must be [PROFILE], then NAME = VALUE"),
            (f"[default]\naws_session_token = {MARKER}\udce9\n", "it is not UTF-8"),
        ],
        ids=["no profile", "broken line", "no UTF-8"],
    )
    @pytest.mark.parametrize("log_format", FORMATS)
    def test_a_file_that_cannot_be_parsed_is_not_quoted(
        self, content: str, why: str, log_format: str, attempt: Attempt
    ) -> None:
        path = attempt.file("credentials", content)
        code, said = attempt.run(log_format=log_format)
        assert (code, f"{path} cannot be read" in said and why in said) == (2, True)

    @pytest.mark.parametrize("output", ["keys", "no JSON", "damaged", "failure"])
    def test_a_program_of_a_profile(self, output: str, attempt: Attempt) -> None:
        keys = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": MARKER, "SessionToken": MARKER}
        printed = {
            "keys": json.dumps(keys),
            "no JSON": f"SecretAccessKey={MARKER}",
            "damaged": json.dumps(keys | {"SessionToken": f"{MARKER}\n"}),
            "failure": "",
        }[output]
        path = attempt.file("printed", printed)
        attempt.file("config", f"[default]\ncredential_process = cat {path}{'.gone' if output == 'failure' else ''}\n")
        code, said = attempt.run()
        words = {
            "keys": "answers ListObjectsV2 with OddError",
            "no JSON": "no usable credentials (JSONDecodeError",
            "damaged": "aws_session_token of the credentials by custom-process holds a line break at its end",
            "failure": "No such file or directory",
        }
        assert (code, words[output] in said) == (4, True)


class TestTokensOfPods:
    @pytest.fixture(autouse=True)
    def no_keys(self, attempt: Attempt) -> None:
        for name in VARIABLES[:2]:
            attempt.monkeypatch.delenv(name)
        attempt.monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)

    FAULTS = ("line break at the end", "line break inside", "control character", "no UTF-8")

    @pytest.mark.parametrize("damage", [*FAULTS, "whole"])
    @pytest.mark.parametrize("in_a_file", [False, True], ids=["variable", "file"])
    def test_pod_identity(self, damage: str, in_a_file: bool, attempt: Attempt) -> None:
        token, _ = DAMAGED.get(damage, (MARKER, ""))
        name, value = "AWS_CONTAINER_AUTHORIZATION_TOKEN", token
        if in_a_file:
            name, value = f"{name}_FILE", attempt.file("token", token)
        code, said = attempt.run(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"{attempt.store.url}/keys", **{name: value})
        assert code == 4, said
        if damage == "whole":
            assert "no usable credentials (" in said
        else:
            assert f"{name}{f' {value}' if in_a_file else ''} holds {DAMAGED[damage][1]}" in said

    @pytest.mark.parametrize("log_format", FORMATS)
    @pytest.mark.parametrize("damage", [*FAULTS, "whole"])
    def test_irsa(self, damage: str, log_format: str, attempt: Attempt) -> None:
        token, _ = DAMAGED.get(damage, (MARKER, ""))

        def answer(request: Request) -> Answer:
            said = f"{request.parameters.get('WebIdentityToken')} is no token"
            body = f"<ErrorResponse><Error><Code>OddError</Code><Message>{said}</Message></Error></ErrorResponse>"
            return Answer(body, 400, "text/xml")

        with serving(answer) as sts:
            path = attempt.file("token", token)
            code, said = attempt.run(
                log_format=log_format,
                AWS_ROLE_ARN="arn:aws:iam::123456789012:role/verger",
                AWS_WEB_IDENTITY_TOKEN_FILE=path,
                AWS_ENDPOINT_URL_STS=sts.url,
                AWS_REGION="eu-west-3",
            )
        assert code == 4, said
        if damage in ("whole", "line break at the end"):  # STS takes no notice of the end of the file
            assert "OddError" in said
        else:
            assert f"AWS_WEB_IDENTITY_TOKEN_FILE {path} holds {DAMAGED[damage][1]}. Correct {path}" in said

    def test_an_agent_at_an_address_with_a_password(self, attempt: Attempt) -> None:
        code, said = attempt.run(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://me:{MARKER}@agent.example/keys")
        assert (code, "no usable credentials (ValueError: Unsupported host" in said) == (4, True)


class TestAddresses:
    @pytest.mark.parametrize(
        ("proxy", "endpoint", "why"),
        [
            ("http://me:{quoted}@127.0.0.1:1", "https://store.example", "Connection refused"),
            ("me:{quoted}@127.0.0.1:1", "http://store.example", "Connection refused"),
            ("http://me:{quoted}@127.0.0.1:port", "http://store.example", "is not a valid host or port"),
            ("http://me:{quoted}@127.0.0.1:1\n", "http://store.example", "invalid character"),
            ("http://me:{quoted}é@127.0.0.1:1", "http://store.example", "the password of a proxy"),
            ("http://me:{raw}@127.0.0.1:1", "https://store.example", "is not a valid host or port"),
            ("me:{raw}@127.0.0.1:1", "http://store.example", "is not a valid host or port"),
        ],
    )
    def test_the_password_of_a_proxy(self, proxy: str, endpoint: str, why: str, attempt: Attempt) -> None:
        address = proxy.format(raw=MARKER, quoted=urllib.parse.quote(MARKER, safe=""))
        variables = {"HTTP_PROXY": address, "HTTPS_PROXY": address, "AWS_ENDPOINT_URL_S3": endpoint}
        code, said = attempt.run(log_format="auto", **variables)
        assert (code, why in said, "HTTP" in said) == (4, True, True)

    @pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "VERGER_ENDPOINT_URL"])
    @pytest.mark.parametrize("address", ["http://me:{}@127.0.0.1:1", "me:{}@127.0.0.1", "http://me:{}@\n", "{}"])
    def test_the_password_of_an_endpoint(self, name: str, address: str, attempt: Attempt) -> None:
        attempt.monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
        variables = {name: address.format(MARKER)}
        if name == "AWS_ENDPOINT_URL":
            variables["AWS_ENDPOINT_URL_S3"] = ""
        code, _ = attempt.run(**variables)
        assert code == 2

    @pytest.mark.parametrize(
        "uri",
        [
            "s3://me:{}@orchard/in",
            "https://me:{}@store.example/in",
            "https://store.example/in?X-Amz-Signature={}&X-Amz-Security-Token={}",
        ],
    )
    def test_a_secret_in_the_place_of_a_bucket(self, uri: str, attempt: Attempt) -> None:
        place = uri.format(urllib.parse.quote(MARKER, safe=""), MARKER)
        code, _ = attempt.run("run", "--input", place, "--output", str(attempt.folder / "out"))
        assert code == 2


def test_an_internal_error_does_not_quote_secrets(attempt: Attempt) -> None:
    """Neither the line, nor the traceback in the log and in the file that the line names."""

    def broken(*_: object, **__: object) -> None:
        raise KeyError(f"x-amz-security-token: {MARKER}")

    attempt.monkeypatch.setattr("verger.pipeline.run", broken)
    code, said = attempt.run(AWS_SESSION_TOKEN=MARKER)
    assert code == 1
    assert "internal error: KeyError: 'x-amz-security-token: ***'. The traceback is in" in said
