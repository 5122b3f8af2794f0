"""What a store says when it denies access: the action, the resource and the policy that it names, and what to do.

Does not import boto3: the errors of Spark have the same sentences.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from verger import redaction

# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
_NAMED = re.compile(r'is not authorized to perform: ([\w-]+:\w+)(?: on resource: "?([^\s"]+)"?)?(.*)')
_EXPLICIT = re.compile(r"with an explicit deny in an? ([^:]+)")
_IMPLICIT = re.compile(r"because no (.+?) allows? ")
_MAX_CHARACTERS = 500
_ENCRYPTION = "encryption (--sse, --sse-kms-key-id)"


@dataclass(frozen=True, slots=True)
class Denial:
    """A store's denial of access.

    Attributes
    ----------
    words : str
        The store's own sentence; empty where it says no more than that access is denied.
    advice : str
        What to do about it.
    """

    words: str
    advice: str


def explain(message: str, permission: str) -> Denial:
    """Find in a store's message what it denies, and why.

    Parameters
    ----------
    message : str
        Of the error, as the store wrote it; empty for an answer that has none, such as one to HEAD.
    permission : str
        The action that the request needs by itself, such as ``s3:PutObject``; empty where it is not known. The store
        may name another one: that of the bucket's key, for example.

    Returns
    -------
    Denial
        Where the store does not name the cause, the advice says what to check, and claims no cause.
    """
    words = redaction.words(message, _MAX_CHARACTERS)
    if named := _NAMED.search(words):
        action, resource, reason = named[1], named[2], named[3]
        return Denial(words, _advise(action, f" on {resource}" if resource else "", reason))
    if re.fullmatch(r"(access denied|forbidden)?\.?", words, re.IGNORECASE):
        words = ""
    return Denial(words, _check(permission, said=bool(words)))


def _advise(action: str, on_resource: str, reason: str) -> str:
    """What to do where the store names the action."""
    if explicit := _EXPLICIT.search(reason):
        such = f", such as {_ENCRYPTION}" if _writes(action) else ""
        return f"Change that {explicit[1].strip(' .')}, or meet its condition{such}"
    implicit = _IMPLICIT.search(reason)
    if implicit and implicit[1] != "identity-based policy":
        return f"Allow {action}{on_resource} in the {implicit[1]}"
    if implicit or not reason.strip(" ."):
        return f"Grant these credentials {action}{on_resource}, or use others"
    return f"Check {action}{on_resource}: in the policies of these credentials, and in those of the resource"


def _check(permission: str, said: bool) -> str:
    """What to check where the store names no action."""
    check = "Check" if said else "The store does not say why: check"
    demand = "no policy denies it"
    if _writes(permission):
        demand = f"no policy asks for more, such as {_ENCRYPTION}"
    elif permission in ("s3:ListBucket", "s3:GetObject") and not said:
        demand = "neither a policy nor Requester Pays (--requester-pays) denies it"
    return f"{check} that these credentials have {permission or 'that permission'}, and that {demand}"


def _writes(action: str) -> bool:
    return action in ("s3:PutObject", "kms:GenerateDataKey")
