"""Names from outside, such as paths and labels, made safe to show on a terminal or a page."""

from __future__ import annotations

import re

_CONTROL_CHARACTERS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066\u2067"


def plain(text: str) -> str:
    """Replace characters that control a terminal or the direction of text. They become U+FFFD.

    Parameters
    ----------
    text : str
        Tabs and newlines are kept.

    Returns
    -------
    str
        As long as before: each is replaced by one character.
    """
    return re.sub(f"[{_CONTROL_CHARACTERS}]", "\ufffd", text)


def one_line(text: str) -> str:
    """Replace control characters, and those that end a line or isolate a direction of text.

    Parameters
    ----------
    text : str
        Tabs and newlines are replaced too.

    Returns
    -------
    str
        On one line.
    """
    return re.sub(f"[{_CONTROL_CHARACTERS}\t\n\u2028\u2029\u2068\u2069]", "\ufffd", text)
