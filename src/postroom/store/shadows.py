"""Verbs of a cut-over: mailboxes that are read beside another system, the comparison with what it has, the take-over.

Whether a mailbox is in shadow is read within each transaction that captures: no process can be late. What is captured in
shadow is kept at the server and handed to nobody, until the take-over decides in one transaction whose each message is.
"""

from __future__ import annotations

import enum
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from postroom.clock import Clock
from postroom.errors import LeaseHeld, StoreError
from postroom.mime.fingerprint import Fingerprint
from postroom.model import Disposition, Reference
from postroom.store.database import Database
from postroom.store.processes import Processes

IN_SHADOW = "EXISTS (SELECT 1 FROM shadows WHERE source = ? AND taken_at IS NULL)"

_OWED = """
SELECT EXISTS (SELECT 1 FROM receipts r JOIN folders f ON f.source = r.source AND f.folder = r.folder AND f.epoch = r.epoch
WHERE r.source = ? AND r.settled_at IS NULL AND r.gone_at IS NULL AND r.disposition <> 'keep')"""
_BEGIN = """
INSERT INTO shadows (source, client, since) VALUES (?1, ?2, ?3)
ON CONFLICT DO UPDATE SET client = ?2, since = CASE WHEN taken_at IS NULL THEN since ELSE ?3 END, taken_at = NULL, last = 0"""
_READ_HERE = """
SELECT EXISTS (SELECT 1 FROM receipts WHERE source = ?1) OR EXISTS (SELECT 1 FROM shadows WHERE source = ?1)"""
_HOLDERS = "SELECT holder FROM folders WHERE source = ? AND holder <> ''"

# CROSS JOIN: the receipts of the source in the order of their numbers, each with its message
_HERE = "FROM receipts r CROSS JOIN messages m ON m.id = r.id WHERE r.source = ?1"
_UNKNOWN = f"""
SELECT m.id, m.segment, m."offset", m.length, m.digest {_HERE} AND r.message IS NULL AND m.id > ?2
  AND NOT EXISTS (SELECT 1 FROM fingerprints WHERE message = m.id) ORDER BY m.id LIMIT ?3"""  # noqa: S608 - constants
_KNOW = """
INSERT INTO fingerprints SELECT value ->> 0, unhex(value ->> 1), value ->> 2 FROM json_each(?) WHERE true ON CONFLICT DO NOTHING"""
_THERE = """
INSERT OR REPLACE INTO elsewhere (source, number, name, digest, message_id)
SELECT ?1, value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3 FROM json_each(?2)"""

# Of several that are alike on both sides as many are the same as there are on the side that has fewer. Those whose fate is open
# are matched before those that we handled ourselves, the older ones first.
_MATCH = """
WITH ours AS (
  SELECT f.message, f.{key} AS key, row_number() OVER (PARTITION BY f.{key} ORDER BY m.handled = '', m.id) AS rank
  FROM receipts r CROSS JOIN messages m ON m.id = r.id CROSS JOIN fingerprints f ON f.message = m.id
  WHERE r.source = ?1 AND r.message IS NULL AND f.{key} <> {empty}
    AND NOT EXISTS (SELECT 1 FROM elsewhere e WHERE e.source = ?1 AND e.message = m.id)
), theirs AS (
  SELECT number, {key} AS key, row_number() OVER (PARTITION BY {key} ORDER BY number) AS rank
  FROM elsewhere WHERE source = ?1 AND message IS NULL AND {key} <> {empty}
)
UPDATE elsewhere SET message = pairs.message
FROM (SELECT theirs.number, ours.message FROM theirs JOIN ours USING (key, rank)) AS pairs
WHERE elsewhere.source = ?1 AND elsewhere.number = pairs.number"""
_COUNTS = f"""
SELECT (SELECT count(*) FROM elsewhere e JOIN messages m ON m.id = e.message WHERE e.source = ?1 AND m.handled <> ''),
       (SELECT count(*) FROM elsewhere WHERE source = ?1 AND message IS NULL),
       (SELECT count(*) {_HERE} AND m.handled = 'shadow'
          AND NOT EXISTS (SELECT 1 FROM elsewhere e WHERE e.source = ?1 AND e.message = m.id)),
       (SELECT count(*) FROM elsewhere e JOIN messages m ON m.id = e.message WHERE e.source = ?1 AND m.handled = ''),
       (SELECT count(*) FROM troubles WHERE source = ?1)"""  # noqa: S608 - constants
_ONLY_THERE = """
SELECT number, name, message_id FROM elsewhere WHERE source = ?1 AND message IS NULL AND number > ?2 ORDER BY number LIMIT ?3"""
_ONLY_HERE = f"""
SELECT m.id, m.public_id, f.message_id {_HERE.replace("WHERE", "LEFT JOIN fingerprints f ON f.message = m.id WHERE")}
  AND m.handled = 'shadow' AND m.id > ?2 AND NOT EXISTS (SELECT 1 FROM elsewhere e WHERE e.source = ?1 AND e.message = m.id)
ORDER BY m.id LIMIT ?3"""  # noqa: S608 - constants

_ELSEWHERE = """
UPDATE messages SET handled = 'elsewhere' WHERE handled = 'shadow' AND id IN (SELECT message FROM elsewhere WHERE source = ?)"""
# What the other system does not have is ours: the client's after-capture holds for it from now on.
# A message that was taken by its header alone (big-messages) is far shorter here than at the server: there it stays.
_SETTLE_OURS = """
UPDATE receipts SET disposition = ?2 WHERE source = ?1 AND disposition = 'keep' AND settled_at IS NULL
  AND coalesce(message, id) IN (SELECT r.id FROM receipts r CROSS JOIN messages m ON m.id = r.id
                                WHERE r.source = ?1 AND m.handled = 'shadow' AND m.length * 2 >= r.size)"""
_OURS = """
UPDATE messages SET handled = '' WHERE handled = 'shadow' AND id IN (SELECT id FROM receipts WHERE source = ?)"""
# What is ours now is processed once more: that is when applications choose.
_HAND_ON = """
INSERT INTO work (kind, subject) SELECT 'process', m.id FROM messages m
WHERE m.id IN (SELECT message FROM shadowed WHERE source = ?1) AND m.handled = ''
  AND m.id NOT IN (SELECT subject FROM work WHERE state IN ('ready', 'leased') AND kind = 'process')"""
_TAKE_BACK = """
DELETE FROM work WHERE kind = 'deliver' AND state = 'ready' AND subject IN (SELECT message FROM shadowed WHERE source = ?)"""
_TAKEN = """
UPDATE shadows SET taken_at = ?2, last = (SELECT seq FROM sqlite_sequence WHERE name = 'receipts')
WHERE source = ?1 AND taken_at IS NULL"""
_ROW = "SELECT source, client, since, taken_at, last FROM shadows "
_SINCE = """
SELECT (SELECT count(*) FROM receipts WHERE source = ?1 AND id > ?2)
     + (SELECT count(*) FROM shadowed s CROSS JOIN receipts r ON r.id = s.message
        WHERE s.source = ?1 AND (r.settled_at IS NOT NULL OR r.gone_at IS NOT NULL
          OR EXISTS (SELECT 1 FROM work w WHERE w.kind = 'deliver' AND w.subject = s.message AND w.token > 0)))"""
_PAGE = 500


@dataclass(frozen=True, slots=True)
class Shadow:
    """A mailbox that is, or last was, read beside another system."""

    source: int
    client: str  # section
    since: float
    taken_at: float | None  # None: still in shadow
    last: int


class Begun(enum.Enum):
    """What came of a wish to read in shadow."""

    SHADOW = "in shadow"
    OURS = "read here under its own settings"
    OWED = "messages captured here are still to be settled at the server"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the other system has beside what is here."""

    both: int = 0
    only_there: int = 0
    only_here: int = 0
    twice: int = 0  # handled by both: captured here under the client's own settings, and there too
    troubles: int = 0  # listed and not had: whether the other system has them is not known


class Shadows:
    """The verbs. Each may be repeated after any stop."""

    def __init__(self, database: Database, clock: Clock, processes: Processes) -> None:
        self._db = database
        self._clock = clock
        self._processes = processes

    async def all(self) -> list[Shadow]:
        """Every mailbox that is in shadow, or was."""
        return await self._db.run(lambda db: [Shadow(*row) for row in db.execute(_ROW)], writes=False)

    async def of(self, source: int) -> Shadow | None:
        """A mailbox; None when it never was in shadow."""
        return next((shadow for shadow in await self.all() if shadow.source == source), None)

    async def begin(self, source: int, client: str, *, give_back: bool = False) -> Begun:
        """From now on the mailbox is read in shadow, unless the answer says why not.

        One that was read here already is given away with ``give_back`` only, and when nothing is owed to its server. Raises
        ``LeaseHeld`` while another process reads the mailbox under its own settings.
        """
        now = self._clock.now()
        return await self._db.run(lambda db: _begin(db, source, client, now, self._free, give_back=give_back))

    async def unknown(self, source: int, after: int) -> dict[int, Reference]:
        """Messages here without a fingerprint, a page of them."""
        return await self._db.run(lambda db: _unknown(db, source, after), writes=False)

    async def know(self, found: Sequence[tuple[int, Fingerprint]]) -> None:
        """Keep fingerprints of messages here."""
        rows = json.dumps([[message, print_.digest.hex(), print_.message_id] for message, print_ in found])
        await self._db.run(lambda db: _write(db, _KNOW, rows))

    async def forget(self, source: int) -> None:
        """What the other system was last seen to have counts no more."""
        await self._db.run(lambda db: _write(db, "DELETE FROM elsewhere WHERE source = ?", source))

    async def there(self, source: int, first: int, found: Sequence[tuple[str, bytes | None, str]]) -> None:
        """What the other system has, from the number ``first`` on: name, digest, Message-ID."""
        rows = json.dumps(
            [[first + at, name, digest.hex() if digest else None, known] for at, (name, digest, known) in enumerate(found)]
        )
        await self._db.run(lambda db: _write(db, _THERE, source, rows))

    async def compare(self, source: int) -> Comparison:
        """Match both sides: by fingerprint first, then by Message-ID."""
        return await self._db.run(lambda db: _compare(db, source))

    async def only_there(self, source: int) -> AsyncIterator[tuple[str, str]]:
        """Name and Message-ID of what only the other system has."""
        async for row in self._rows(_ONLY_THERE, source):
            yield row

    async def only_here(self, source: int) -> AsyncIterator[tuple[str, str]]:
        """Id and Message-ID of what only we have and nobody has handled."""
        async for row in self._rows(_ONLY_HERE, source):
            yield row

    async def _rows(self, statement: str, source: int) -> AsyncIterator[tuple[str, str]]:
        after = 0
        while True:
            rows: Any = await self._db.run(
                lambda db, after=after: db.execute(statement, (source, after, _PAGE)).fetchall(),  # type: ignore[misc]
                writes=False,
            )
            for after, name, message_id in rows:  # noqa: B007 - where the next page begins
                yield name, message_id or ""
            if len(rows) < _PAGE:
                return

    async def take_over(self, source: int, disposition: Disposition) -> None:
        """What the other system has was handled there; all else is ours, and ``disposition`` holds for it.

        Raises ``LeaseHeld`` while another process reads the mailbox, ``StoreError`` when it is not in shadow.
        """
        now = self._clock.now()
        await self._db.run(lambda db: _take_over(db, source, disposition, now, self._free))

    async def undo(self, source: int) -> int:
        """Go back behind a take-over; returns what was captured, settled or handed to an application since, which forbids it:
        then nothing is changed.
        """
        return await self._db.run(lambda db: _undo(db, source, self._free))

    def _free(self, holder: str) -> bool:
        return holder == self._processes.holder or not self._processes.living(holder)


def _write(db: apsw.Connection, statement: str, *values: Any) -> None:
    db.execute(statement, values)


def _check_free(db: apsw.Connection, source: int, free: Callable[[str], bool]) -> None:
    holders: Any = db.execute(_HOLDERS, (source,)).fetchall()
    for (holder,) in holders:
        if not free(holder):
            raise LeaseHeld(f"the mailbox is read by process {holder}")


def _begin(db: apsw.Connection, source: int, client: str, now: float, free: Callable[[str], bool], *, give_back: bool) -> Begun:
    if bool(db.execute(f"SELECT {IN_SHADOW}", (source,)).get):
        return Begun.SHADOW
    _check_free(db, source, free)
    if not give_back and bool(db.execute(_READ_HERE, (source,)).get):
        return Begun.OURS
    if db.execute(_OWED, (source,)).get:
        return Begun.OWED
    db.execute(_BEGIN, (source, client, now))
    return Begun.SHADOW


def _unknown(db: apsw.Connection, source: int, after: int) -> dict[int, Reference]:
    rows: Any = db.execute(_UNKNOWN, (source, after, _PAGE))
    return {row[0]: Reference(*row[1:]) for row in rows}


def _compare(db: apsw.Connection, source: int) -> Comparison:
    db.execute("UPDATE elsewhere SET message = NULL WHERE source = ?", (source,))
    db.execute(_MATCH.format(key="digest", empty="x''"), (source,))
    db.execute(_MATCH.format(key="message_id", empty="''"), (source,))
    row: Any = db.execute(_COUNTS, (source,)).fetchone()
    return Comparison(*row)


def _take_over(db: apsw.Connection, source: int, disposition: Disposition, now: float, free: Callable[[str], bool]) -> None:
    _check_free(db, source, free)
    db.execute(_TAKEN, (source, now))
    if not db.changes():
        raise StoreError("the mailbox is not read in shadow")
    db.execute("DELETE FROM shadowed WHERE source = ?", (source,))
    db.execute("INSERT INTO shadowed (message, source) SELECT m.id, ?1 " + _HERE + " AND m.handled = 'shadow'", (source,))
    db.execute(_ELSEWHERE, (source,))
    db.execute(_SETTLE_OURS, (source, disposition.value))
    db.execute(_OURS, (source,))
    db.execute(_HAND_ON, (source,))


def _undo(db: apsw.Connection, source: int, free: Callable[[str], bool]) -> int:
    row: Any = db.execute(_ROW + "WHERE source = ? AND taken_at IS NOT NULL", (source,)).fetchone()
    if row is None:
        raise StoreError("the mailbox was not taken over")
    _check_free(db, source, free)
    taken = Shadow(*row)
    since = int(db.execute(_SINCE, (source, taken.last)).get)
    if since:
        return since
    db.execute("UPDATE messages SET handled = 'shadow' WHERE id IN (SELECT message FROM shadowed WHERE source = ?)", (source,))
    db.execute(
        "UPDATE receipts SET disposition = 'keep' WHERE source = ?1 AND settled_at IS NULL "
        "AND coalesce(message, id) IN (SELECT message FROM shadowed WHERE source = ?1)",
        (source,),
    )
    db.execute(_TAKE_BACK, (source,))
    db.execute("UPDATE shadows SET taken_at = NULL, last = 0 WHERE source = ?", (source,))
    db.execute("DELETE FROM shadowed WHERE source = ?", (source,))
    return 0
