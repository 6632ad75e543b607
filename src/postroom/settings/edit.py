"""Edits of the file's text that leave every other line as it is: comments, blanks, indents, the ends of lines.

A section reaches from its head to its last entry; comments behind that belong to what follows, and stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_BLANKS = " \t\r\f\v"
_WRITTEN = re.compile(r"([^=]*=)([ \t\f\v]*)(.*?)([ \t\r\f\v]*\n?)", re.DOTALL)


@dataclass
class _Place:
    """Where a section stands, by the numbers of lines."""

    head: int
    last: int  # of its last entry; the head where it has none
    entries: dict[int, str] = field(default_factory=dict)  # names in lower case


def with_section(text: str, name: str, entries: Mapping[str, str]) -> str:
    """The text with a new section at its end. Raises ``ValueError`` for what cannot stand on its line, or is there already."""
    if not name or name != name.strip(_BLANKS) or "]" in name or _has_controls(name):
        raise ValueError(f"{name!r} cannot be the name of a section")
    if _find(_lines(text), name) is not None:
        raise ValueError(f"the section {name} is there already")
    end = _end_of(text)
    gap = end if text.strip("\ufeff\n" + _BLANKS) else ""
    before = text if text.endswith("\n") or not gap else text + end
    return before + gap + "".join(f"{line}{end}" for line in (f"[{name}]", *map(_entry, entries, entries.values())))


def with_entries(text: str, name: str, entries: Mapping[str, str | None]) -> str:
    """The text with entries of a section set, those that are new behind its last; None takes one away.

    Raises ``ValueError`` for what cannot stand on its line, and ``KeyError`` where the section is not there.
    """
    lines, end = _lines(text), _end_of(text)
    place = _placed(lines, name)
    wanted = {option.lower(): value for option, value in entries.items()}
    there = set(place.entries.values())
    new = [_entry(option, value) + end for option, value in entries.items() if value is not None and option.lower() not in there]
    kept = []
    for number, line in enumerate(lines):
        option = place.entries.get(number)
        if option is None or option not in wanted:
            kept.append(line)
        elif (value := wanted[option]) is not None:
            kept.append(_with_value(line, value))
        if number == place.last and new:
            if kept and not kept[-1].endswith("\n"):
                kept[-1] += end
            kept += new
    return "".join(kept)


def without_section(text: str, name: str) -> str:
    """The text without a section, from its head to its last entry. Raises ``KeyError`` where it is not there."""
    lines = _lines(text)
    place = _placed(lines, name)
    mark = "\ufeff" if place.head == 0 and text.startswith("\ufeff") else ""
    return mark + "".join(lines[: place.head] + lines[place.last + 1 :])


def _placed(lines: list[str], name: str) -> _Place:
    place = _find(lines, name)
    if place is None:
        raise KeyError(name)
    return place


def _find(lines: list[str], name: str) -> _Place | None:
    """A section by its name in any case, as ``read_ini`` reads: of two with one name the first."""
    found: _Place | None = None
    for number, line in enumerate(lines):
        content = line.removeprefix("\ufeff").strip(_BLANKS + "\n")
        if not content or content[0] in "#;":
            continue
        if content[0] == "[":
            if found is not None:
                return found
            if content[1:].partition("]")[0].strip(_BLANKS).lower() == name.lower():
                found = _Place(number, number)
        elif found is not None:
            found.last = number
            if "=" in content:
                found.entries[number] = content.partition("=")[0].strip(_BLANKS).lower()
    return found


def _lines(text: str) -> list[str]:
    """With their ends; a line ends with LF alone, as ``read_ini`` has it."""
    *whole, rest = text.split("\n")
    return [f"{line}\n" for line in whole] + ([rest] if rest else [])


def _end_of(text: str) -> str:
    return "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"


def _entry(option: str, value: str) -> str:
    if not option or option != option.strip(_BLANKS) or "=" in option or option[0] in "[#;\ufeff" or _has_controls(option):
        raise ValueError(f"{option!r} cannot be the name of an option")
    return f"{option} = {_checked(value)}"


def _with_value(line: str, value: str) -> str:
    match = _WRITTEN.fullmatch(line)
    assert match is not None  # it has an equals sign
    return f"{match[1]}{match[2] or ' '}{_checked(value)}{match[4]}"


def _checked(value: str) -> str:
    if value != value.strip(_BLANKS) or _has_controls(value):
        raise ValueError("a value cannot begin or end with blanks, or hold control characters")
    return value


def _has_controls(text: str) -> bool:
    return any(ord(character) < 32 or ord(character) == 127 for character in text)
