"""The vault's key is changed for another, while the store is used.

Three steps, each of which may be the last: the new key joins the ring at its place; one transaction seals everything anew and
makes the new key current; the former key is taken out of the place, once every value was seen to open without it. Whoever
stops is followed by whoever rotates next: a key that no store knows is used, a retired one is taken out.
"""

from __future__ import annotations

import fcntl
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from postroom.errors import StoreError, VaultLocked
from postroom.store import grants, vault
from postroom.store.database import Database
from postroom.store.keys import Key, Place, Ring, new_key
from postroom.store.vault import Held, Sealed, held, seal, unseal

SEALED: tuple[Sealed, ...] = (*grants.SEALED, *vault.SEALED)
"""Every column of the store that holds sealed values."""


@dataclass(frozen=True)
class Rotation:
    """What a rotation did."""

    place: str
    former: str  # ids of keys
    current: str
    sealed: Mapping[str, int]  # values by table, all of them seen to open with the current key
    finished: bool  # this was the end of an earlier one, which had been stopped
    left: tuple[str, ...]  # retired keys that are still at their place: a person must take them out


@dataclass(frozen=True)
class VaultStatus:
    """Where the keys are, and what they seal."""

    place: str
    current: str
    keys: tuple[tuple[str, str], ...]  # id and state of each key, in the order of the place
    sealed: Mapping[str, int]  # values by table
    unopened: Mapping[str, int]  # those that no key of the place opens, by table


async def rotate(db: Database, place: Place, lock: Path) -> Rotation:
    """Change the store's key. Raises ``VaultLocked`` and ``StoreError``; then it may be run again."""
    with _alone(lock):
        before = await db.run(lambda connection: held(connection, place), writes=False)
        if place.writable and set(before.retired) & set(before.ring.ids):
            return await _finish(db, place, before.retired[-1], finished=True)
        key = _next_key(before, place)
        ring = before.ring
        if ring.get(key.id) is None:
            ring = ring.joined(key)
            place.write(ring)
        await db.run(lambda connection: _seal_anew(connection, ring, key))
        return await _finish(db, place, before.current.id, finished=False)


def status(db: apsw.Connection, place: Place) -> VaultStatus:
    """Where the keys are, and what they seal; every value is opened. Raises ``VaultLocked``."""
    now = held(db, place)
    states = dict.fromkeys(now.ring.ids, "unused") | dict.fromkeys(now.retired, "retired") | {now.current.id: "current"}
    sealed, unopened = _opened(db, now.ring)
    return VaultStatus(place.name, now.current.id, tuple((each, states[each]) for each in now.ring.ids), sealed, unopened)


def _next_key(before: Held, place: Place) -> Key:
    """The key that becomes current: the one at the place that never was; else a new one, where it can be put there."""
    unused = before.ring.without({before.current.id, *before.retired}).keys
    if len(unused) == 1:
        return unused[0]
    if unused:
        words = f"{place.shown} holds {len(unused)} keys that were never used, {', '.join(key.id for key in unused)}"
        raise VaultLocked(words, remedy="Leave one of them there; postroom vault status lists them in their order.")
    if place.writable:
        return new_key()
    remedy = (
        f"Add a second one behind it, with white space between them (openssl rand -base64 32 makes one), start whatever uses "
        f"the store again, then run postroom vault rotate with both in {place.shown}."
    )
    raise VaultLocked(f"{place.shown} holds no key besides those that are or were in use", remedy=remedy)


def _seal_anew(db: apsw.Connection, ring: Ring, key: Key) -> None:
    """One transaction: every value opened and sealed with this key, which becomes current. All or nothing."""
    _, unopened = _opened(db, ring)
    if unopened.total():
        raise _unopened(unopened, f"none of {', '.join(ring.ids)} opens them")
    for column in SEALED:
        names = " AND ".join(f'"{name}" = ?' for name in column.row)
        update = f'UPDATE "{column.table}" SET "{column.column}" = ? WHERE {names}'  # noqa: S608 - names of our declaration
        for row, sealed in _values(db, column):
            belongs_to = column.belongs_to(*row)
            db.execute(update, (seal(key, unseal(ring, sealed, belongs_to), belongs_to), *row))
    vault.change_key(db, key)
    _all_open(db, key)


async def _finish(db: Database, place: Place, former: str, *, finished: bool) -> Rotation:
    """The last step. Nothing is taken away unless the current key alone opens everything that is durable."""
    now = await db.run(lambda connection: held(connection, place), writes=False)
    sealed = await db.run(lambda connection: _all_open(connection, now.current), writes=False)
    left = tuple(each for each in now.ring.ids if each in now.retired)
    if place.writable:
        place.write(now.ring.without(left))
        left = ()
    return Rotation(place.name, former, now.current.id, sealed, finished, left)


def _all_open(db: apsw.Connection, key: Key) -> Mapping[str, int]:
    """How many values there are by table. Raises ``VaultLocked`` unless this key alone opens each of them."""
    sealed, unopened = _opened(db, Ring((key,)))
    if unopened.total():
        raise _unopened(unopened, f"{key.id} does not open them")
    return sealed


def _opened(db: apsw.Connection, ring: Ring) -> tuple[Counter[str], Counter[str]]:
    """How many values there are, and how many of them no key of the ring opens; by table."""
    sealed, unopened = (Counter({column.table: 0 for column in SEALED}) for _ in range(2))
    for column in SEALED:
        for row, value in _values(db, column):
            sealed[column.table] += 1
            try:
                unseal(ring, value, column.belongs_to(*row))
            except VaultLocked:
                unopened[column.table] += 1
    return sealed, unopened


def _values(db: apsw.Connection, column: Sealed) -> list[tuple[tuple[Any, ...], bytes]]:
    """Each value of a column, with what its row says."""
    names = ", ".join(f'"{name}"' for name in (*column.row, column.column))
    select = f'SELECT {names} FROM "{column.table}" WHERE "{column.column}" IS NOT NULL'  # noqa: S608 - our declaration
    rows: list[Any] = db.execute(select).fetchall()
    return [(row[:-1], row[-1]) for row in rows]


def _unopened(tables: Counter[str], words: str) -> VaultLocked:
    places = ", ".join(f"{count} in {table}" for table, count in tables.items() if count)
    remedy = "Nothing was lost and the former key stays. Put the key back that sealed them; postroom vault status counts them."
    return VaultLocked(f"sealed values cannot be opened ({places}): {words}", remedy=remedy)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One rotation at a time."""
    with lock.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the file's closing, and with the process
        except BlockingIOError:
            raise StoreError("another process rotates the vault's key", remedy="Wait until it ends.") from None
        yield
