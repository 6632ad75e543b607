"""Which options of smtp-clients wait for a restart, as the process that runs them knows it and others show it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import apsw

from postroom.store.database import Database
from postroom.store.processes import Processes

_KEEP = "INSERT INTO pending_restarts SELECT ?1, key, value FROM json_each(?2)"


class Pending:
    """The verbs. What a dead process wrote is not so any more."""

    def __init__(self, db: Database, processes: Processes) -> None:
        self._db = db
        self._processes = processes

    async def keep(self, pending: Mapping[str, tuple[str, ...]]) -> None:
        """By section, the names of what waits; in the place of all that this process wrote before."""
        holder, rows = self._processes.holder, json.dumps({section: list(names) for section, names in pending.items()})
        await self._db.run(lambda db: _keep(db, holder, rows, self._processes.living))

    async def all(self) -> dict[str, tuple[str, ...]]:
        """By section, what waits in processes that live."""
        return await self._db.run(lambda db: _all(db, self._processes.living), writes=False)


def _keep(db: apsw.Connection, holder: str, rows: str, living: Callable[[str], bool]) -> None:
    holders: Any = db.execute("SELECT DISTINCT holder FROM pending_restarts").fetchall()
    for (other,) in holders:
        if other == holder or not living(other):
            db.execute("DELETE FROM pending_restarts WHERE holder = ?", (other,))
    db.execute(_KEEP, (holder, rows))


def _all(db: apsw.Connection, living: Callable[[str], bool]) -> dict[str, tuple[str, ...]]:
    rows: Any = db.execute("SELECT holder, client, options FROM pending_restarts ORDER BY holder, client").fetchall()
    return {client: tuple(json.loads(options)) for holder, client, options in rows if living(holder)}
