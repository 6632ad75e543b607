"""What is printed of the options: the records behind ``postroom options``, its JSON and ``docs/options.md``.

All of it follows from the declarations in ``sections``. Run as a module, it writes the documentation's page.
"""

from __future__ import annotations

import difflib
import sys
from dataclasses import dataclass

from postroom.settings.option import Option
from postroom.settings.properties import names_of
from postroom.settings.reading import known_options
from postroom.settings.sections import (
    OPTIONS_WITHOUT_EFFECT,
    SECTIONS,
    SECTIONS_WITHOUT_EFFECT,
    ClientKind,
    SectionKind,
)

_INTRODUCTION = """\
# Options

<!-- Generated from the declarations in src/postroom/settings by `make docs`. -->

The configuration is a text file in UTF-8 with one section for each client. Names of sections and options are read in
any case. A line that begins with `#` or `;` is a comment. A value goes to the end of its line and is taken as it is,
without quotation marks and without interpolation; an empty value is the same as none. Time spans are written
`hh:mm:ss`, `30s`, `5m` or `2h`. A secret is written as itself, as `env:NAME` (a variable of the environment) or as
`file:PATH` (a file with one line). Relative paths begin at the folder of the configuration file.

A fault names its line and keeps its own section down: the section goes on with the values that it ran with, and all
others take what is written. `postroom check` lists every fault of a file at once.

*Introduced* and *modified* are releases of the product family that the options come from. *Ours* says what this product
decided by itself."""


@dataclass(frozen=True)
class Entry:
    """One option in print. Every field is text ready to be read."""

    name: str
    section: str
    default: str
    valid: str
    effect: str
    introduced: str
    modified: str  # releases with commas between them
    ours: str
    sentence: str


def reference() -> tuple[Entry, ...]:
    """Every option of every section, in the order of declaration."""
    return tuple(_entry(kind, option) for kind in SECTIONS for option in known_options(kind).values())


def find_entries(name: str) -> tuple[Entry, ...]:
    """The options of that name in any case, in whatever sections. Empty where there is none.

    A name of ``mail.<type>.…`` may be given with any type that its section has.
    """
    wanted = name.strip().lower()
    return tuple(
        _entry(kind, option)
        for kind in SECTIONS
        for option in known_options(kind).values()
        if wanted == option.name.lower() or any(wanted in names_of(option, word) for word in _types(kind))
    )


def nearest_names(name: str) -> tuple[str, ...]:
    """Names of options that somebody may have meant, the nearest first."""
    names = dict.fromkeys(entry.name for entry in reference())
    return tuple(difflib.get_close_matches(name.strip().lower(), list(names), 3, 0.5))


def named_like(beginning: str) -> tuple[str, ...]:
    """Names that begin so, in any case. A type in them is each of its section's."""
    names = (option.written(word) for kind in SECTIONS for option in known_options(kind).values() for word in _types(kind) or ("",))
    return tuple(dict.fromkeys(name for name in names if name.lower().startswith(beginning.lower())))


def options_markdown() -> str:
    """The whole reference as one page of Markdown, ending in a line feed."""
    parts = [_INTRODUCTION]
    for kind in SECTIONS:
        parts.append(f"## {kind.name}\n\n{kind.sentence}")
        parts += [_markdown(_entry(kind, option)) for option in known_options(kind).values()]
    parts.append("## Known, but without effect in this version\n\nThese are answered with a warning.")
    parts += [f"In `{section}`: {_codes(names)}." for section, names in OPTIONS_WITHOUT_EFFECT.items()]
    parts.append(f"Sections: {_codes(SECTIONS_WITHOUT_EFFECT)}.")
    return "\n\n".join(parts) + "\n"


def _types(kind: SectionKind) -> tuple[str, ...]:
    """The types that a section of this sort may have, in lower case."""
    return kind.properties.types if isinstance(kind, ClientKind) else ()


def _entry(kind: SectionKind, option: Option) -> Entry:
    return Entry(
        name=option.name,
        section=kind.name,
        default=option.default,
        valid=option.valid,
        effect=option.effect.value,
        introduced=option.introduced,
        modified=", ".join(option.modified),
        ours=option.ours,
        sentence=option.sentence,
    )


def _markdown(entry: Entry) -> str:
    rows = [
        ("Section", f"`{entry.section}`"),
        ("Default value", _plain(entry.default)),
        ("Valid values", _plain(entry.valid)),
        ("Changes take effect", entry.effect),
        ("Introduced", entry.introduced),
        ("Modified", entry.modified),
        ("Ours", _plain(entry.ours)),
    ]
    lines = [f"- {title}: {words}" for title, words in rows if words]
    return f"### {_plain(entry.name)}\n\n{_plain(entry.sentence)}\n\n" + "\n".join(lines)


def _plain(words: str) -> str:
    """Words that Markdown is to print as they are: what looks like a tag is none. Code stays code."""
    pieces = words.split("`")
    return "`".join(piece if index % 2 else piece.replace("<", "&lt;") for index, piece in enumerate(pieces))


def _codes(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    sys.stdout.write(options_markdown())
