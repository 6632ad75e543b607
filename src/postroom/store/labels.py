"""Labels of clients: names and values that mean something to their owner, and nothing to us."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import apsw

from postroom.store.database import Database


class Labels:
    """The verbs."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def all(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of every client that has some, by section."""
        return await self._db.run(_all, writes=False)

    async def change(self, client: str, labels: Mapping[str, str | None]) -> None:
        """Set labels; None takes one away. Those that are not named stay."""
        await self._db.run(lambda db: _change(db, client, labels))

    async def forget(self, client: str) -> None:
        """Take all labels of a client away."""
        await self._db.run(lambda db: _forget(db, client))


def _all(db: apsw.Connection) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    rows: Any = db.execute("SELECT client, name, value FROM labels ORDER BY client, name")
    for client, name, value in rows:
        found.setdefault(client, {})[name] = value
    return found


def _change(db: apsw.Connection, client: str, labels: Mapping[str, str | None]) -> None:
    for name, value in labels.items():
        if value is None:
            db.execute("DELETE FROM labels WHERE client = ? AND name = ?", (client, name))
        else:
            db.execute("INSERT OR REPLACE INTO labels VALUES (?, ?, ?)", (client, name, value))


def _forget(db: apsw.Connection, client: str) -> None:
    db.execute("DELETE FROM labels WHERE client = ?", (client,))
