"""Names that others gave, as a terminal or a page may show them."""

from __future__ import annotations

import re

_STEERING = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066\u2067"


def plain(text: str) -> str:
    """Text without characters that steer a terminal or the direction of what follows: they are shown as a box."""
    return re.sub(f"[{_STEERING}]", "\ufffd", text)


def one_line(text: str) -> str:
    """The same on a line of a terminal, where nothing ends the line and no direction is set apart either."""
    return re.sub(f"[{_STEERING}\t\n\u2028\u2029\u2068\u2069]", "\ufffd", text)
