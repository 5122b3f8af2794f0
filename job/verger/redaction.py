"""Secrets: removed from whatever is said (lines, logs, the termination message, failure.json), and checked.

A secret of fewer than 8 characters is not searched for: it may be part of any word, and hardly any text would be left.
In a URL it is removed all the same, by its place.

A longer secret is removed wherever it is, also where it is the name of a bucket or folder on the command line, or a
word of Verger's own. Nothing tells which of them a line means, and a line that spared it, or warned of it, would tell
the secret. The keys of JSON lines are kept. A script that needs such a name finds it in manifest.json and in the
tables: they have names and no secrets, and are not searched.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import groupby
from typing import Any
from urllib.parse import quote, unquote

MARK = "***"
"""What stands where a secret was."""

SOURCES: list[Callable[[], Iterable[str]]] = []
"""Functions that know secrets which are not in the environment."""

_SHORTEST = 8  # a shorter one may be any word; URLs are searched for those
_LONG = 16  # of secrets that are as long as this, pieces are removed too
_PIECE, _LONG_PIECE = 8, 16
_SECRET_NAME = re.compile(
    r"(?i)(SECRET|TOKEN|PASSWORD|PASSWD|ACCESS_KEY|API_KEY|PRIVATE_KEY)(?!.*_(FILE|URI|URL|ARN|PATH|DIR|NAME|ID)$)"
)
_ADDRESS_NAME = re.compile(r"(?i)(PROXY|(^|_)(ENDPOINT|URL|URI)(_|$))")
# What is secret by its place in a text, whether it is known or not.
_PLACES = (
    (re.compile(r"(?<=://)[^/\s'\"]*@"), f"{MARK}@"),  # user and password in a URL
    (re.compile(r"(?i)((?:Signature|X-Amz-Credential|X-Amz-Security-Token|AWSAccessKeyId)=)[^&\s'\"]+"), rf"\1{MARK}"),
    (re.compile(r"(Invalid header value) b?(['\"]).*?(?:\2|$)", re.DOTALL), rf"\1 {MARK}"),
)
_CHARACTERS = {"\n": "a line break", "\r": "a carriage return", "\0": "a NUL", "\t": "a tab", " ": "a space"}
_remembered: set[str] = set()


def remember(secret: str) -> None:
    """Know a secret from here on.

    Parameters
    ----------
    secret : str
        A key, token or password, as it was read.
    """
    _remembered.add(secret)


def redact(text: str) -> str:
    """Remove all known secrets from a text, in every form in which they may be quoted, and long pieces of them.

    Parameters
    ----------
    text : str
        Such as the message of an exception.

    Returns
    -------
    str
        With `MARK` in the place of each.
    """
    for pattern, replacement in _PLACES:
        text = pattern.sub(replacement, text)
    whole, pieces = _forms(frozenset(_known()))
    for form in whole:
        text = text.replace(form, MARK)
    for length in (_LONG_PIECE, _PIECE):
        text = _without_pieces(text, pieces, length) if pieces else text
    return text


def redact_values(value: Any) -> Any:
    """Remove all known secrets from the texts in a value.

    Parameters
    ----------
    value : Any
        What `json` can write: dicts and lists of any depth, text, numbers, None.

    Returns
    -------
    Any
        The same value; keys of dicts are kept.
    """
    if isinstance(value, dict):
        return {key: redact_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_values(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def words(error: object, limit: int = 200) -> str:
    """What a system or library said, for a message: on one line, without secrets, not too long.

    Parameters
    ----------
    error : object
        An exception or a text.
    limit : int, optional
        Characters that are kept. It is cut last, so that no piece of a secret is left at the end.
    """
    return redact(" ".join(str(error).split()))[:limit]


def bad_character(value: str, header: bool = True) -> str:
    """Find a character that cannot be part of a key, or that no HTTP header can have.

    Parameters
    ----------
    value : str
        Key or token.
    header : bool, optional
        Whether it is sent as it is. Of a key that only signs, a space or another letter may be a part.

    Returns
    -------
    str
        Its kind and place in words, such as "a line break at its end"; empty where there is none.
    """
    for position, character in enumerate(value):
        at_end = not value[position:].strip()
        place = " at its end" if at_end else " at its start" if not value[: position + 1].strip() else ""
        if "\ud800" <= character <= "\udfff":
            return "a byte that is not UTF-8"
        if not character.isprintable() or (character == " " and (header or place)):
            return _CHARACTERS.get(character, "a control character") + place
        if header and not character.isascii():
            return "a character that is not ASCII"
    return ""


def _known() -> set[str]:
    """All secrets of this moment; keys in the environment may change, and temporary ones do."""
    found = set(_remembered)
    for name, value in os.environ.items():
        if _is_secret(name) or (name == "AWS_ACCESS_KEY_ID" and len(value) >= _LONG):
            found.add(value)
        elif "@" in value and _ADDRESS_NAME.search(name):
            found |= _user_info(value)
    for source in SOURCES:
        found.update(source())
    return found


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _user_info(address: str) -> set[str]:
    """User and password of a URL, which need not be valid, and what a header makes of them."""
    info = re.sub(r"^\w+://", "", address).rpartition("@")[0]
    plain = unquote(info)
    header = base64.b64encode(plain.encode(errors="surrogateescape")).decode()
    return {info, plain, header, *(part.partition(":")[2] for part in (info, plain))}


@lru_cache(maxsize=8)
def _forms(secrets: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The forms of secrets, longest first, and the pieces of long ones."""
    parts = {part for secret in secrets for part in (secret, secret.strip(), *secret.split())}
    forms = {form for part in parts if len(part) >= _SHORTEST for form in _quoted(part)}
    long = [form for form in forms if len(form) >= _LONG]
    pieces = {form[at : at + _PIECE] for form in long for at in range(len(form) - _PIECE + 1)}
    long_pieces = {form[at : at + _LONG_PIECE] for form in long for at in range(len(form) - _LONG_PIECE + 1)}
    removed = {*filter(_looks_random, pieces), *filter(str.isalnum, long_pieces)}
    return tuple(sorted(forms, key=len, reverse=True)), frozenset(removed)


def _looks_random(piece: str) -> bool:
    """Whether it is no plain word or number, as a secret may have that people made up, and any text too."""
    kinds = (any(map(kind, piece)) for kind in (str.isupper, str.islower, str.isdigit))
    return sum(kinds) > 1


def _quoted(secret: str) -> set[str]:
    """A secret as exceptions, JSON and URLs write it."""
    encoded = secret.encode(errors="surrogateescape")
    return {
        secret,
        repr(secret)[1:-1],
        ascii(secret)[1:-1],
        repr(encoded)[2:-1],
        json.dumps(secret)[1:-1],
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        base64.b64encode(encoded).decode(),  # as a Secret of Kubernetes has it
        quote(encoded, safe=""),
        quote(encoded),
    }


def _without_pieces(text: str, pieces: frozenset[str], length: int) -> str:
    covered = bytearray(len(text))
    for start in range(len(text) - length + 1):
        if text[start : start + length] in pieces:
            covered[start : start + length] = b"\1" * length
    runs = groupby(range(len(text)), key=covered.__getitem__)
    return "".join(MARK if secret else "".join(text[at] for at in places) for secret, places in runs)
