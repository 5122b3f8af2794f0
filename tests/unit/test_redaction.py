"""redaction: no secret is left in a text, whatever form it has there, and nothing else is removed."""

from __future__ import annotations

import base64
import json
import os
import random
import string
import time
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from verger import redaction
from verger.errors import Reason, Rejection, StoreError
from verger.redaction import bad_character, redact, redact_values, words

pytestmark = pytest.mark.required_in_ci

SECRET = "wJalr/XUtnFEMI+K7MDENG=bPxRfi\\CY\"é'KEY"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_remembered", set())
    monkeypatch.setattr(redaction, "SOURCES", [])
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.mark.parametrize(
    "quoted",
    [
        SECRET,
        repr(SECRET),
        ascii(SECRET),
        repr(SECRET.encode()),
        json.dumps(SECRET),
        json.dumps(json.dumps(SECRET)),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        repr(f"{SECRET}\n".encode()),
        SECRET[:30],
        SECRET[9:],
        f"{SECRET[:18]} {SECRET[18:]}",
    ],
)
def test_every_form_of_a_secret_is_removed(quoted: str) -> None:
    said = redact(f"it says {quoted}, and more")
    assert said.startswith("it says ") and said.endswith(", and more")
    assert not [SECRET[i : i + 6] for i in range(len(SECRET) - 5) if SECRET[i : i + 6] in said]


@pytest.mark.parametrize("name", ["AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "MINIO_ROOT_PASSWORD", "STORE_API_KEY"])
def test_secrets_are_known_by_the_names_of_their_variables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "Tn5Rb1Ly8Hd4Mf6Js2Gc")
    assert redact("for Tn5Rb1Ly8Hd4Mf6Js2Gc.") == "for ***."


@pytest.mark.parametrize(
    "said", ["abcdefghijklmnopqrstuvwx", "k\\/Lm9Qr2Tv5Wx8Yz1Bc", base64.b64encode(b"k/Lm9Qr2Tv5Wx8Yz1Bc").decode()]
)
def test_pieces_of_one_kind_escaped_slashes_and_base64_are_removed(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "abcdefghijklmnopqrstuvwxyzabcdef")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "k/Lm9Qr2Tv5Wx8Yz1Bc")
    assert redact(f"got {said}.") == "got ***."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/token"),
        ("AWS_ACCESS_KEY_ID", "verger-run"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("STORE_PASSWORD", "verger"),
        ("STORE_SECRET_NAME", "orchard-keys"),
    ],
)
def test_what_is_no_secret_or_any_word_is_kept(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert redact(f"for {value}.") == f"for {value}."


@pytest.mark.parametrize(("bucket", "shown"), [("orchard", "orchard"), ("orchards", "***")])
def test_a_secret_that_is_the_name_of_a_bucket_is_removed_from_eight_characters_on(
    bucket: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_PASSWORD", bucket)
    assert redact_values({"table": f"s3://{bucket}/out"}) == {"table": f"s3://{shown}/out"}


def test_a_secret_that_is_a_word_of_ours_leaves_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_PASSWORD", "features")
    assert redact_values({"stage": "features", "features": 1}) == {"stage": "***", "features": 1}


def test_a_plain_word_of_a_secret_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that people made up has words that a message may have too."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "store-of-orchards/20261129/photographs")
    text = "20261129 photographs at s3://store-of-orchards/photographs cannot be read"
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at https://me:p@ss@proxy:3128/x?y=@", "at https://***@proxy:3128/x?y=@"),
        ("s3://orchard/a@b.jpg", "s3://orchard/a@b.jpg"),
        (
            "/k?X-Amz-Credential=A%2Fb&X-Amz-Signature=0f0f&X-Amz-Expires=9",
            "/k?X-Amz-Credential=***&X-Amz-Signature=***&X-Amz-Expires=9",
        ),
        ("(Invalid header value b'never seen\\n'). Check", "(Invalid header value ***). Check"),
    ],
)
def test_what_is_secret_by_its_place_is_removed_though_it_is_not_known(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("address", ["http://me:{}@proxy:3128", "me:{}@proxy:3128"])
def test_the_password_of_a_proxy(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", address.format("Tn5Rb1Ly%2F8"))
    header = base64.b64encode(b"me:Tn5Rb1Ly/8").decode()
    assert redact(f"Tn5Rb1Ly%2F8, Tn5Rb1Ly/8, {header} at proxy") == "***, ***, *** at proxy"


def test_errors_and_rejections_have_no_secrets() -> None:
    error = StoreError(f"no {SECRET}", f"Correct {SECRET}")
    assert (error.line, str(error)) == ("no ***. Correct ***.", "no ***. Correct ***.")
    assert str(Rejection(Reason.UNREADABLE, f"no {SECRET}")) == "unreadable: no ***"


def test_values_of_any_depth_have_no_secrets() -> None:
    assert redact_values({"a": [SECRET, 1, None, (SECRET,)]}) == {"a": ["***", 1, None, ["***"]]}


def test_words_are_cut_after_secrets_are_removed() -> None:
    assert words(ValueError(f"two\nlines {SECRET}"), 12) == "two lines **"


def test_a_source_may_know_more(monkeypatch: pytest.MonkeyPatch) -> None:
    redaction.SOURCES.append(lambda: ["Tn5Rb1Ly8Hd4"])
    redaction.remember("Js2Gc0PaUe7X")
    assert redact("Tn5Rb1Ly8Hd4 Js2Gc0PaUe7X") == "*** ***"


@pytest.mark.parametrize(
    ("value", "header", "words"),
    [
        ("key\n", True, "a line break at its end"),
        ("ke\ny", True, "a line break"),
        ("\rkey", True, "a carriage return at its start"),
        ("key\r\n", True, "a carriage return at its end"),
        ("k\0ey", False, "a NUL"),
        ("k ey", True, "a space"),
        ("k ey", False, ""),
        ("key ", False, "a space at its end"),
        ("k\x7fey", False, "a control character"),
        ("kéy", True, "a character that is not ASCII"),
        ("kéy", False, ""),
        ("k\udce9y", False, "a byte that is not UTF-8"),
        ("k+/=ey", True, ""),
        ("", True, ""),
    ],
)
def test_what_is_wrong_with_a_key(value: str, header: bool, words: str) -> None:
    assert bad_character(value, header) == words


def test_a_long_text_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session token has 1,000 characters or so, and a traceback 50,000."""
    letters = random.Random(0).choices(string.ascii_letters, k=1000)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "".join(letters))
    text = Path(__file__).read_text() * 10
    redact("")
    before = time.process_time()
    redact(text)
    assert time.process_time() - before < 1
