"""What providers have announced that breaks mailboxes, each with its day. The facts are data, ``announcements.toml``."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

TOUCHED = frozenset({"IMAP", "POP3", "SMTP", "EWS", "GRAPH", "GMAIL", "password-grant", "basic", "oob"})
"""What an announcement may concern: types, the password grant, logins with a password, the copy-and-paste consent."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """One change that a provider announced."""

    name: str
    provider: str  # as in providers/
    on: date  # from this day it holds for everybody
    touches: frozenset[str]  # of TOUCHED; with "basic", "password-grant" or "oob" only those logins of the types named
    what: str
    remedy: str
    source: str
    checked: date  # when the source was last read


@functools.cache
def announcements() -> tuple[Announcement, ...]:
    """All of them, the oldest first. They are read once. ValueError, with the entry's name, for a fault."""
    import tomllib

    text = Path(__file__).with_name("announcements.toml").read_text("utf-8")
    return read_announcements(tomllib.loads(text))


def read_announcements(table: Mapping[str, Any]) -> tuple[Announcement, ...]:
    """Read a table. ValueError, with the entry's name, for a fault in it."""
    found: dict[str, Announcement] = {}
    for number, entry in enumerate(table.get("announcement", ()), 1):
        try:
            read = _announcement(dict(entry))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"announcement {entry.get('name', f'number {number}')}: {error!r}") from None
        if read.name in found:
            raise ValueError(f"announcement {read.name}: the name is there twice")
        found[read.name] = read
    return tuple(sorted(found.values(), key=lambda announcement: announcement.on))


def _announcement(entry: dict[str, Any]) -> Announcement:
    read = Announcement(touches=frozenset(entry.pop("touches")), **entry)
    if not read.touches or not read.touches <= TOUCHED:
        raise ValueError(f"touches {sorted(read.touches - TOUCHED)}")
    for day in (read.on, read.checked):
        if not isinstance(day, date) or isinstance(day, datetime):
            raise TypeError(f"{day!r} is no day")
    return read
