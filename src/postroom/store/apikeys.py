"""Keys of the API: kept as SHA-256 alone. A key has 256 random bits, so that its hash needs no salt and no slowness."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from typing import Any

import apsw

from postroom.clock import Clock
from postroom.errors import ConfigError
from postroom.store.database import Database, changed
from postroom.store.ids import PublicIds

_COLUMNS = "public_id, name, role, clients, per_minute, created_at, used_at, revoked_at, applications"
_INSERT = """
INSERT INTO api_keys (public_id, name, role, digest, clients, applications, per_minute, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
_FIND = f"SELECT digest, {_COLUMNS} FROM api_keys WHERE digest = ? AND revoked_at IS NULL"  # noqa: S608 - constants
_ALL = f"SELECT {_COLUMNS} FROM api_keys ORDER BY id"  # noqa: S608 - constants
_NAMED = "SELECT 1 FROM api_keys WHERE name = ? AND revoked_at IS NULL"
_USED = "UPDATE api_keys SET used_at = ?2 WHERE public_id = ?1"
_REVOKE = "UPDATE api_keys SET revoked_at = ?2 WHERE (name = ?1 OR public_id = ?1) AND revoked_at IS NULL"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Who uses the API. The key itself is not in it."""

    id: str  # public, opaque
    name: str
    role: str
    clients: tuple[str, ...]  # sections that it sees; empty: all
    per_minute: int  # requests; 0: no limit
    created_at: float
    used_at: float | None = None  # coarse
    revoked_at: float | None = None
    applications: tuple[str, ...] = ()  # sections that it reads by pull; empty: all, where ``clients`` is empty too


class ApiKeys:
    """The verbs."""

    def __init__(self, database: Database, clock: Clock, ids: PublicIds) -> None:
        self._db = database
        self._clock = clock
        self._ids = ids

    async def add(
        self,
        name: str,
        role: str,
        digest: bytes,
        clients: tuple[str, ...] = (),
        per_minute: int = 0,
        applications: tuple[str, ...] = (),
    ) -> ApiKey:
        """Keep a new key by its hash. Raises ``ConfigError`` where one that is not revoked has the name."""
        now = self._clock.now()
        (public_id,) = self._ids.take(now, 1)
        row = (public_id, name, role, digest, json.dumps(clients), json.dumps(applications), per_minute, now)
        await self._db.run(lambda db: _add(db, name, row))
        return ApiKey(public_id, name, role, clients, per_minute, now, applications=applications)

    async def find(self, digest: bytes) -> ApiKey | None:
        """The key of a hash, unless it is revoked."""
        return await self._db.run(lambda db: _find(db, digest), writes=False)

    async def all(self) -> list[ApiKey]:
        """Every key, the revoked ones among them."""
        return await self._db.run(lambda db: [_read(row) for row in db.execute(_ALL)], writes=False)

    async def used(self, key: ApiKey) -> None:
        """Remember that it was used now."""
        now = self._clock.now()
        await self._db.run(lambda db: changed(db, _USED, key.id, now))

    async def revoke(self, name: str) -> bool:
        """End a key by its name or id; False where there is none."""
        now = self._clock.now()
        return await self._db.run(lambda db: changed(db, _REVOKE, name, now) > 0)


def _add(db: apsw.Connection, name: str, row: tuple[Any, ...]) -> None:
    if db.execute(_NAMED, (name,)).fetchone() is not None:
        raise ConfigError(f"a key named {name} exists already", value=name, valid="a name that no other key has")
    db.execute(_INSERT, row)


def _find(db: apsw.Connection, digest: bytes) -> ApiKey | None:
    row: Any = db.execute(_FIND, (digest,)).fetchone()
    # The index compares hashes, of which nobody can choose one: how far two agree tells nothing of a key.
    return _read(row[1:]) if row is not None and hmac.compare_digest(row[0], digest) else None


def _read(row: Any) -> ApiKey:
    clients, applications = tuple(json.loads(row[3])), tuple(json.loads(row[8]))
    return ApiKey(row[0], row[1], row[2], clients, row[4], row[5], row[6], row[7], applications)
