"""The keys that boto3 finds: checked before they are used, and known to the redaction."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import boto3
from botocore import exceptions as boto_errors

from verger import redaction
from verger.environment import unset_empty
from verger.errors import StoreError
from verger.storage.refusals import no_credentials

_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "access_key",
    "AWS_SECRET_ACCESS_KEY": "secret_key",
    "AWS_SESSION_TOKEN": "token",
    "AWS_SECURITY_TOKEN": "token",
}
# boto3's name for where it found the keys -> the variable that names that file, and where it is by default.
_FILES = {
    "shared-credentials-file": ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    "config-file": ("AWS_CONFIG_FILE", "~/.aws/config"),
}
_SETTINGS = {"access_key": "aws_access_key_id", "secret_key": "aws_secret_access_key", "token": "aws_session_token"}
_WEB_IDENTITY = "AWS_WEB_IDENTITY_TOKEN_FILE"
_CONTAINER_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
_in_use: WeakSet[Any] = WeakSet()  # botocore's objects of credentials


def session() -> boto3.Session:
    """Make a boto3 session, of which the keys are checked where it has them already.

    Returns
    -------
    boto3.Session
        Its keys are known to `verger.redaction`; those that are fetched later will be.

    Raises
    ------
    StoreError
        A key or token has a character that it cannot have, or cannot be read.
    botocore.exceptions.BotoCoreError
        As `verger.storage.refusals` explains it: a profile that does not exist, for example.
    """
    unset_empty()
    for name in (_WEB_IDENTITY, f"{_CONTAINER_TOKEN}_FILE"):
        redaction.remember(_text_of(os.environ.get(name)))
    made = boto3.Session()
    try:
        credentials = made.get_credentials()
    except boto_errors.BotoCoreError:
        _check_container_token()
        raise
    except Exception as error:  # botocore's own checks, and what files and programs give that is no text or no JSON
        _check_container_token()
        why = redaction.words(f"{type(error).__name__}: {error}")
        raise no_credentials("S3", why) from None  # for its context may hold them
    if credentials is not None:
        _in_use.add(credentials)
        _check(made, credentials)
    return made


def _check(made: boto3.Session, credentials: Any) -> None:
    """Refuse keys that would fail later, in messages that quote them."""
    values = _values(credentials)
    if credentials.method == "env":
        # They end in a line break where a Secret was made with `echo`. Java strips them, boto3 does not.
        found = [(name, name, os.environ.get(name, ""), field) for name, field in _VARIABLES.items()]
    elif credentials.method == "assume-role-with-web-identity":
        path = os.environ.get(_WEB_IDENTITY, "")  # a profile may name another
        found = [(path, f"{_WEB_IDENTITY} {path}", _text_of(path).strip(), "token")]
    else:
        where = _where(made, credentials.method)
        found = [(where, f"{_SETTINGS[field]} of {where}", value, field) for field, value in values.items()]
    for place, what, value, field in found:
        if kind := redaction.bad_character(value, header=field != "secret_key"):
            raise _refused(what, kind, place)


def _where(made: boto3.Session, method: str) -> str:
    """Where boto3 found keys that are not in the environment."""
    if method not in _FILES:
        return f"the credentials by {method}"
    variable, default = _FILES[method]
    return f"profile {made.profile_name} in {os.environ.get(variable) or default}"


def _check_container_token() -> None:
    """Where keys could not be fetched: whether the token that the agent of a container asks for is why."""
    if not {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"} & os.environ.keys():
        return
    name = f"{_CONTAINER_TOKEN}_FILE"
    path = os.environ.get(name)
    token = _text_of(path) if path else os.environ.get(_CONTAINER_TOKEN, "")
    if kind := redaction.bad_character(token):
        raise _refused(f"{name} {path}" if path else _CONTAINER_TOKEN, kind, path or _CONTAINER_TOKEN) from None


def _refused(what: str, kind: str, place: str) -> StoreError:
    advice = f"Correct {place}" if " " in place or "/" in place else f"Set {place} without it"
    if kind == "a line break at its end":
        advice += ": echo adds a line break, printf '%s' adds none"
    return StoreError(f"{what} holds {kind}", advice)


def _values(credentials: Any) -> dict[str, str]:
    """The keys that an object of botocore has by now. Its properties would fetch those that it lacks."""
    fields = vars(credentials)
    found = {name: fields.get(f"_{name}") or fields.get(name) for name in _SETTINGS}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _text_of(path: str | None) -> str:
    with suppress(OSError):
        return Path(path).read_text(errors="surrogateescape") if path else ""
    return ""


def _secrets_in_use() -> Iterator[str]:
    for credentials in list(_in_use):
        values = _values(credentials)
        if len(values.get("access_key", "")) < 16:  # a user's name, which may be any word
            values.pop("access_key", None)
        yield from values.values()


redaction.SOURCES.append(_secrets_in_use)
