"""Characters that no header may hold, and how a value is shown to a person."""

from __future__ import annotations

import re

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Controls (RFC 5322 section 2.2, RFC 6532 section 3.2), what Unicode and some readers take for a line end, halves of pairs."""

_OVERRIDES = re.compile("[\u202a-\u202e\u2066-\u2069]")
_SHOWN = 60


def unsafe(text: str) -> str:
    """Why the text cannot stand in a header; empty when it can."""
    found = _UNSAFE.search(text)
    return f"it holds {_described(found[0])} at character {found.start() + 1}" if found else ""


def disguised(text: str) -> str:
    """Why the text could be read as another than it is: its direction is turned. Empty when it is not."""
    found = _OVERRIDES.search(text)
    return f"it holds {_described(found[0])}, which turns the direction of reading" if found else ""


def unsendable(text: str) -> str:
    """Why the text cannot be a body (RFC 5322 section 2.3); empty when it can."""
    found = re.search("[\x00\ud800-\udfff]", text)
    return f"it holds {_described(found[0])} at character {found.start() + 1}" if found else ""


def shown(value: object) -> str:
    """A value of a JSON document for a message of an error: short, on one line, without control characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}…"
    if isinstance(value, int):
        return str(value) if value.bit_length() < 128 else "a huge number"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return f"of the type {type(value).__name__}"


def _described(character: str) -> str:
    if "\ud800" <= character <= "\udfff":
        return f"half a character (U+{ord(character):04X})"
    if character in "\u2028\u2029":
        return f"a line separator (U+{ord(character):04X})"
    return f"the control character U+{ord(character):04X}"
