"""Tables of rules: entries of a TOML file, each with a name of its own, read in their order."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar


class Named(Protocol):
    """An entry as it is read."""

    @property
    def name(self) -> str: ...


R = TypeVar("R", bound=Named)


def read_file(path: Path, kind: str, rule: Callable[[dict[str, Any]], R]) -> tuple[R, ...]:
    """Read the entries ``[[kind]]`` of a file. Raises ``ValueError`` as ``read_table`` does."""
    import tomllib

    return read_table(tomllib.loads(path.read_text("utf-8")), kind, rule)


def read_table(table: Mapping[str, Any], kind: str, rule: Callable[[dict[str, Any]], R]) -> tuple[R, ...]:
    """Read the entries of a kind. ValueError, with the entry's name, for a fault in one and for a name that is there twice."""
    found: dict[str, R] = {}
    for number, entry in enumerate(table.get(kind, ()), 1):
        try:
            read = rule(dict(entry))
        except (KeyError, TypeError, ValueError, re.error) as error:
            raise ValueError(f"{kind} {entry.get('name', f'number {number}')}: {error!r}") from None
        if read.name in found:
            raise ValueError(f"{kind} {read.name}: the name is there twice")
        found[read.name] = read
    return tuple(found.values())
