"""``postroom options [NAME]``: the reference of the options, for people and for programs."""

from __future__ import annotations

import dataclasses
import difflib
import textwrap
from collections.abc import Sequence

from postroom.errors import ConfigError
from postroom.settings.reading import kind_of
from postroom.settings.reference import Entry, find_entries, nearest_names, reference

_WIDTH = 100
_TITLES = (
    ("section", "Section"),
    ("default", "Default value"),
    ("valid", "Valid values"),
    ("effect", "Changes take effect"),
    ("introduced", "Introduced"),
    ("modified", "Modified"),
    ("ours", "Ours"),
)


def options(name: str | None = None) -> tuple[Entry, ...]:
    """All options, those of one name, or those of a section, which may be named as a file names it (``pull-desk``).

    ConfigError names the nearest where nothing has that name.
    """
    if name is None:
        return reference()
    found = find_entries(name) or _of_section(name.strip().lower())
    if not found:
        near = _nearest(name.strip().lower())
        hint = f"; the nearest are: {', '.join(near)}" if near else "; without a name all are printed"
        raise ConfigError(f"no option is named '{name}'{hint}", option=name, valid=", ".join(near))
    return found


def _of_section(name: str) -> tuple[Entry, ...]:
    kind = kind_of(name)
    wanted = _stem(name) if kind is None else _stem(kind[0].name)
    return tuple(entry for entry in reference() if _stem(entry.section) == wanted)


def _nearest(name: str) -> tuple[str, ...]:
    """Names of sections and options that somebody may have meant; a section only where it is very like."""
    sections = dict.fromkeys(_stem(entry.section) for entry in reference())
    return (*difflib.get_close_matches(name, list(sections), 1, 0.8), *nearest_names(name))[:3]


def _stem(section: str) -> str:
    return section.partition("-<")[0]


def as_json(entries: Sequence[Entry]) -> list[dict[str, str]]:
    """The options as objects of text, with the names of the fields."""
    return [dataclasses.asdict(entry) for entry in entries]


def as_text(entries: Sequence[Entry]) -> str:
    """The options as plain text, one after the other; where several sections are printed, under their names."""
    parts: list[str] = []
    several = len({entry.section for entry in entries}) > 1
    section = ""
    for entry in entries:
        if several and entry.section != section:
            section = entry.section
            parts.append(f"[{section}]")
        parts.append(_text(entry))
    return "\n\n".join(parts) + "\n"


def _text(entry: Entry) -> str:
    lines = [entry.name, _wrapped("  ", "  ", entry.sentence.replace("`", ""))]
    for field, title in _TITLES:
        words = getattr(entry, field).replace("`", "")
        if words:
            lines.append(_wrapped(f"  {title + ':':<21}", " " * 23, words))
    return "\n".join(lines)


def _wrapped(first: str, further: str, words: str) -> str:
    return textwrap.fill(
        words,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=further,
        break_long_words=False,
        break_on_hyphens=False,
    )
