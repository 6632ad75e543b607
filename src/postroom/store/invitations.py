"""Addresses at which the owner of a mailbox consents: usable once, for a day, kept as the hash of their token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apsw

from postroom.clock import Clock
from postroom.store.database import Database, changed

_ADD = "INSERT INTO invitations (client, digest, asked_by, asked_at, expires_at) VALUES (?, ?, ?, ?, ?)"
_ROW = "SELECT id, client, expires_at, used_at, revoked_at FROM invitations WHERE "
_TAKE = "UPDATE invitations SET used_at = ?2 WHERE id = ?1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > ?2"
_GIVE_BACK = "UPDATE invitations SET used_at = NULL WHERE id = ?"
_REVOKE = """
UPDATE invitations SET revoked_at = ?2 WHERE client = ?1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > ?2"""


@dataclass(frozen=True, slots=True)
class Invitation:
    """One address that was handed out."""

    id: int
    client: str  # section
    expires_at: float
    used_at: float | None
    revoked_at: float | None


class Invitations:
    """The verbs."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    async def add(self, client: str, digest: bytes, asked_by: str, seconds: float) -> float:
        """Keep an invitation by its token's hash; when it ends."""
        now = self._clock.now()
        await self._db.run(lambda db: changed(db, _ADD, client, digest, asked_by, now, now + seconds))
        return now + seconds

    async def find(self, digest: bytes) -> Invitation | None:
        """The invitation of a token, whatever became of it."""
        return await self._db.run(lambda db: _find(db, "digest = ?", digest), writes=False)

    async def find_by_id(self, invitation: int) -> Invitation | None:
        """The same by its number."""
        return await self._db.run(lambda db: _find(db, "id = ?", invitation), writes=False)

    async def take(self, invitation: int) -> bool:
        """Use it up; False where that was done before, or it was revoked, or its time is over."""
        now = self._clock.now()
        return await self._db.run(lambda db: changed(db, _TAKE, invitation, now) > 0)

    async def give_back(self, invitation: int) -> None:
        """Nothing came of it: it can be used again."""
        await self._db.run(lambda db: changed(db, _GIVE_BACK, invitation))

    async def revoke(self, client: str) -> int:
        """End all that are open for a client; how many."""
        now = self._clock.now()
        return await self._db.run(lambda db: changed(db, _REVOKE, client, now))


def _find(db: apsw.Connection, where: str, value: bytes | int) -> Invitation | None:
    row: Any = db.execute(_ROW + where, (value,)).fetchone()
    return None if row is None else Invitation(*row)
