"""What persons tell the service: rows that it notices, wherever they were told."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import apsw

from postroom.clock import Clock
from postroom.store.database import Database, changed

_ASK = "INSERT INTO commands (client, verb, asked_by, asked_at) VALUES (?, ?, ?, ?)"
_OPEN = "SELECT id, client, verb, asked_by, asked_at FROM commands WHERE done_at IS NULL ORDER BY id"
_DONE = "UPDATE commands SET done_at = ?2 WHERE id = ?1 AND done_at IS NULL"
_FORGET = "DELETE FROM commands WHERE done_at < ?"
_PAUSE = "INSERT INTO pauses VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_KEPT = 30 * 86400.0  # seconds that a command is kept after it was carried out


class Verb(enum.Enum):
    """What can be told."""

    RESTART = "restart"  # begin the client's conversation anew, with its settings as they are now


@dataclass(frozen=True, slots=True)
class Command:
    """Something to be done once."""

    id: int
    client: str  # section
    verb: Verb
    asked_by: str
    asked_at: float


@dataclass(frozen=True, slots=True)
class Pause:
    """A client stands still until it is resumed."""

    client: str  # section
    asked_by: str
    asked_at: float


class Commands:
    """The verbs. Pausing what is paused, and resuming what is not, is nothing."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    async def ask(self, client: str, verb: Verb, asked_by: str) -> None:
        """Tell the service to do something once; it is noticed within a second, or at its start."""
        now = self._clock.now()
        await self._db.run(lambda db: changed(db, _ASK, client, verb.value, asked_by, now))

    async def open(self) -> list[Command]:
        """What is still to be done, the oldest first."""
        return await self._db.run(_open, writes=False)

    async def done(self, command: Command) -> None:
        """It is carried out."""
        now = self._clock.now()
        await self._db.run(lambda db: (changed(db, _DONE, command.id, now), changed(db, _FORGET, now - _KEPT)))

    async def pause(self, client: str, asked_by: str) -> bool:
        """Let a client stand still; False where it does already."""
        now = self._clock.now()
        return await self._db.run(lambda db: changed(db, _PAUSE, client, asked_by, now) > 0)

    async def resume(self, client: str) -> bool:
        """Let a client go on; False where it was not paused."""
        return await self._db.run(lambda db: changed(db, "DELETE FROM pauses WHERE client = ?", client) > 0)

    async def pauses(self) -> Mapping[str, Pause]:
        """The paused clients by section."""
        return await self._db.run(_pauses, writes=False)


def _open(db: apsw.Connection) -> list[Command]:
    rows: Any = db.execute(_OPEN)
    return [Command(number, client, Verb(verb), asked_by, at) for number, client, verb, asked_by, at in rows]


def _pauses(db: apsw.Connection) -> dict[str, Pause]:
    rows: Any = db.execute("SELECT client, asked_by, asked_at FROM pauses")
    return {row[0]: Pause(*row) for row in rows}
