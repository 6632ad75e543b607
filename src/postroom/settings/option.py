"""What an option is: the one declaration from which parsing, the printed reference, documentation and JSON follow.

An option is a field of its section's frozen record; ``option()`` declares it::

    cycle_time: float = option("cycle-time", time_span(minimum=1), default="00:01:00", effect=Effect.NEXT_CYCLE, …)

The default is written as an operator would write it, so that what is printed and what acts cannot differ.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_DEFAULT = "No default value"
REQUIRED = "Required"
_TYPE = re.compile("<(?:server-)?type>")


class Effect(enum.Enum):
    """When a changed value acts. The value is the words that are printed."""

    NEXT_CYCLE = "At the next POP cycle"
    RESTART = "At start/restart"
    IMMEDIATELY = "Immediately"
    AS_ITS_CLIENT = "At the next POP cycle for a POP client (pop-client) or at start/restart for an SMTP client (smtp-client)"


@dataclass(frozen=True)
class Surroundings:
    """What a written value may refer to."""

    folder: Path  # of the configuration file; relative paths begin here
    environment: Mapping[str, str]
    read: Callable[[Path], bytes]  # the octets of a named file, or OSError


def _nothing(path: Path) -> bytes:
    raise FileNotFoundError(path)


NOWHERE = Surroundings(Path(), {}, _nothing)
"""The surroundings of a default: it refers to nothing."""

Parse = Callable[[str, Surroundings], object]
"""Turns what is written into the value. ValueError says what is wrong with it, without repeating it."""


@dataclass(frozen=True)
class Option:
    """One option as declared."""

    name: str  # as it is written in the file; "<type>", "<server-type>" stand for the section's type in lower case
    parse: Parse
    default: str  # printed words
    valid: str  # which values are valid
    effect: Effect
    sentence: str  # what it does
    introduced: str = ""  # release of the product family that brought it; empty for what is not recorded or ours
    modified: tuple[str, ...] = ()  # releases of the family that changed it
    ours: str = ""  # what of it is this product's own decision; empty where all is the family's
    required: bool = False
    secret: bool = False  # the value is never printed
    oauth: bool = False  # without effect unless a mechanism of OAuth is switched on

    def written(self, type_word: str) -> str:
        """The name as a section of that type has it."""
        return _TYPE.sub(lambda _: type_word.lower(), self.name)


def option(
    name: str,
    parse: Parse,
    *,
    valid: str,
    effect: Effect,
    sentence: str,
    default: str | None = None,
    default_words: str = "",
    introduced: str = "",
    modified: tuple[str, ...] = (),
    ours: str = "",
    required: bool = False,
    computed: bool = False,
    secret: bool = False,
    oauth: bool = False,
) -> Any:
    """Declare a record's field as an option.

    ``default`` is parsed as a written value is; ``default_words`` are printed instead where the default depends on
    something else. ``required`` and ``computed`` fields have no default: the file gives the one, its reader the other.
    """
    words = default_words or (REQUIRED if required else NO_DEFAULT if default is None else default)
    declared = Option(name, parse, words, valid, effect, sentence, introduced, modified, ours, required, secret, oauth)
    metadata = {"option": declared}
    if required or computed:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=None if default is None else parse(default, NOWHERE), metadata=metadata)


def also(record: type, field: str, effect: Effect, *, default: str | None = None, **changes: Any) -> Any:
    """Declare a field as another record's option that acts at another time, with what else differs.

    ``changes`` are of ``Option``, but for ``default_words``, printed in the place of the default.
    """
    other = next(known for known in dataclasses.fields(record) if known.name == field)
    declared: Option = other.metadata["option"]
    words = changes.pop("default_words", default if default is not None else declared.default)
    declared = dataclasses.replace(declared, effect=effect, default=words, required=False, **changes)
    value = None if other.default is dataclasses.MISSING else other.default
    return dataclasses.field(default=value if default is None else declared.parse(default, NOWHERE), metadata={"option": declared})


@functools.cache
def options_of(record: type) -> Mapping[str, Option]:
    """The options that a section's record declares, by the name of their field."""
    return {field.name: field.metadata["option"] for field in dataclasses.fields(record) if "option" in field.metadata}
