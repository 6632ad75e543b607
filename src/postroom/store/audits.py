"""Verbs of a completeness audit: what a server lists, compared with what is accounted for here, in bounded memory.

An audit takes no lease: it reads, and what it writes beside its own tables (``requeue``) is harmless to whoever reads the
folder meanwhile. What is not accounted for is kept in a table, however much it is.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from postroom.clock import Clock
from postroom.errors import StoreError
from postroom.model import Audit, Listed, Missing, Position
from postroom.store.database import Database
from postroom.store.processes import Processes

_FOLDER = "SELECT epoch, state FROM folders WHERE source = ? AND folder = ?"
_UNFINISHED = "SELECT id, holder FROM audits WHERE at IS NULL AND source = ? AND folder = ?"
_FORGET = "DELETE FROM audits WHERE id = ?"
_FORGET_MISSING = "DELETE FROM audit_missing WHERE audit = ?"
_BEGIN = """
INSERT INTO audits (client, source, folder, epoch, holder, last)
VALUES (?, ?, ?, ?, ?, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'receipts'), 0))"""

# A receipt with an empty digest stands for a message that first-read spared.
# value ->> n: identifier, size, date. A size of 0 means that the server named the message and said no more of it.
_SAME = "(value ->> 1 = 0 OR (r.size = value ->> 1 AND r.internal_date = value ->> 2))"
_ACCOUNTED = f"""
SELECT count(*), coalesce(sum(r.message IS NOT NULL), 0), coalesce(sum(r.digest = x''), 0),
       coalesce(sum(r.id <= ?5), 0)
FROM json_each(?4) CROSS JOIN receipts r ON r.source = ?1 AND r.folder = ?2 AND r.epoch = ?3 AND r.identifier = value ->> 0
WHERE {_SAME}"""  # noqa: S608 - constants
_REST = f"""
SELECT key, t.kind, EXISTS (SELECT 1 FROM receipts r
                            WHERE r.source = ?1 AND r.folder = ?2 AND r.epoch = ?3 AND r.identifier = value ->> 0)
FROM json_each(?4) LEFT JOIN troubles t
  ON t.source = ?1 AND t.folder = ?2 AND t.epoch = ?3 AND t.identifier = value ->> 0
WHERE NOT EXISTS (SELECT 1 FROM receipts r
                  WHERE r.source = ?1 AND r.folder = ?2 AND r.epoch = ?3 AND r.identifier = value ->> 0 AND {_SAME})
"""  # noqa: S608 - constants
_NOTE = """
INSERT INTO audit_missing (audit, identifier, size, internal_date, email_id, replaced)
SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?2) WHERE true ON CONFLICT DO NOTHING"""
_COMING = "DELETE FROM audit_missing WHERE audit = ?1 AND identifier IN (SELECT value FROM json_each(?2))"
_AGAIN = "UPDATE audit_missing SET looks = 2 WHERE audit = ?1 AND identifier IN (SELECT value FROM json_each(?2))"

_CONFIRM = """
DELETE FROM audit_missing WHERE audit = ?1 AND (looks < 2
  OR NOT replaced AND EXISTS (SELECT 1 FROM receipts r
     WHERE r.source = ?2 AND r.folder = ?3 AND r.epoch = ?4 AND r.identifier = audit_missing.identifier)
  OR EXISTS (SELECT 1 FROM troubles t
     WHERE t.source = ?2 AND t.folder = ?3 AND t.epoch = ?4 AND t.identifier = audit_missing.identifier))"""
_KEPT = "SELECT count(*) FROM receipts WHERE source = ? AND folder = ? AND epoch = ? AND id <= ?"
_FINISH = """
UPDATE audits SET at = ?2, listed = ?3, captured = ?4, former = ?5, spared = ?6, troubles = ?7, big = ?8, coming = ?9,
                  missing = ?10, here_only = ?11, reset = ?12 WHERE id = ?1"""
_FORMER = "SELECT id FROM audits WHERE client = ? AND folder = ? AND at IS NOT NULL AND id <> ?"
_ROW = """
SELECT client, folder, at, listed, captured, former, spared, troubles, big, coming, missing, here_only, reset
FROM audits WHERE at IS NOT NULL """
_MISSING = """
SELECT identifier, size, internal_date, email_id, replaced FROM audit_missing
WHERE audit = ?1 AND identifier > ?2 ORDER BY identifier LIMIT ?3"""

_QUEUE = """
INSERT INTO troubles SELECT a.source, a.folder, a.epoch, m.identifier, m.size, m.internal_date, m.email_id, 'fault', ?2, 0, ?3, ?3
FROM audits a JOIN audit_missing m ON m.audit = a.id JOIN folders f ON f.source = a.source AND f.folder = a.folder
WHERE a.id = ?1 AND f.epoch = a.epoch AND m.size > 0 AND NOT m.replaced
  AND NOT EXISTS (SELECT 1 FROM receipts r
                  WHERE r.source = a.source AND r.folder = a.folder AND r.epoch = a.epoch AND r.identifier = m.identifier)
ON CONFLICT DO NOTHING"""
_LIST_ANEW = """
UPDATE folders SET state = NULL FROM audits a
WHERE a.id = ?1 AND folders.source = a.source AND folders.folder = a.folder AND folders.epoch = a.epoch
  AND EXISTS (SELECT 1 FROM audit_missing WHERE audit = ?1 AND replaced)"""
_WHY = "found by an audit: the server holds it, and no listing named it"
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Begun:
    """An audit under way."""

    id: int
    client: str
    source: int
    folder: str
    epoch: int
    last: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What a piece of the server's list comes to."""

    captured: int
    former: int
    spared: int
    troubles: int
    big: int
    before: int  # of the receipts met, those that were there when the audit began
    rest: tuple[Missing, ...]  # not accounted for


class Audits:
    """The verbs. Each may be repeated."""

    def __init__(self, database: Database, clock: Clock, processes: Processes) -> None:
        self._db = database
        self._clock = clock
        self._processes = processes

    async def position(self, source: int, folder: str) -> Position:
        """How far a folder was read, asked without a lease."""
        return await self._db.run(lambda db: _position(db, source, folder), writes=False)

    async def begin(self, client: str, source: int, folder: str) -> Begun:
        """Begin an audit; what a dead process began is forgotten."""
        return await self._db.run(
            lambda db: _begin(db, client, source, folder, self._processes.holder, self._processes.living),
        )

    async def compare(self, audit: Begun, listed: Sequence[Listed]) -> Compared:
        """Which of these are accounted for."""
        return await self._db.run(lambda db: _compare(db, audit, listed), writes=False)

    async def note(self, audit: Begun, missing: Sequence[Missing]) -> None:
        """Keep what was not accounted for at the first look."""
        rows = json.dumps([[*found.listed, int(found.replaced)] for found in missing])
        await self._db.run(lambda db: _write(db, _NOTE, audit.id, rows))

    async def coming(self, audit: Begun, identifiers: Sequence[str]) -> None:
        """These are not missing: the next cycles will list them."""
        await self._db.run(lambda db: _write(db, _COMING, audit.id, json.dumps(list(identifiers))))

    async def again(self, audit: Begun, identifiers: Sequence[str]) -> None:
        """The server holds these at the second look too."""
        await self._db.run(lambda db: _write(db, _AGAIN, audit.id, json.dumps(list(identifiers))))

    async def finish(self, audit: Begun, counted: Audit, met: int, reset: str) -> Audit:
        """Confirm what is missing, and keep the result in the place of the folder's former one.

        ``met``: receipts met that were there at the beginning. With ``reset`` nothing is called missing.
        """
        now = self._clock.now()
        return await self._db.run(lambda db: _finish(db, audit, counted, met, reset, now))

    async def requeue(self, audit: Begun, *, replaced: bool) -> int:
        """Make troubles of what is missing, so that the next cycle fetches it; return how many.

        With ``replaced``, a folder where the server holds other messages under known identifiers is listed anew.
        """
        now = self._clock.now()
        return await self._db.run(lambda db: _requeue(db, audit, now, replaced=replaced))

    async def results(self) -> list[Audit]:
        """The last audit of every folder."""
        return await self._db.run(lambda db: [_audit(row) for row in db.execute(_ROW + "ORDER BY client, folder")], writes=False)

    async def missing(self, audit: Begun) -> AsyncIterator[Missing]:
        """What an audit found missing, by identifier."""
        after = ""
        while True:
            page = await self._db.run(lambda db, after=after: _missing(db, audit.id, after), writes=False)  # type: ignore[misc]
            for found in page:
                yield found
            if len(page) < _PAGE:
                return
            after = page[-1].listed.identifier


def _write(db: apsw.Connection, statement: str, *values: Any) -> None:
    db.execute(statement, values)


def _forget(db: apsw.Connection, audit: int) -> None:
    db.execute(_FORGET_MISSING, (audit,))
    db.execute(_FORGET, (audit,))


def _position(db: apsw.Connection, source: int, folder: str) -> Position:
    row: Any = db.execute(_FOLDER, (source, folder)).fetchone()
    return Position(1, None) if row is None else Position(row[0], row[1])


def _begin(db: apsw.Connection, client: str, source: int, folder: str, holder: str, living: Callable[[str], bool]) -> Begun:
    unfinished: Any = db.execute(_UNFINISHED, (source, folder)).fetchall()
    for former, by in unfinished:
        if not living(by):
            _forget(db, former)
    epoch = _position(db, source, folder).epoch
    db.execute(_BEGIN, (client, source, folder, epoch, holder))
    number = db.last_insert_rowid()
    last = int(db.execute("SELECT last FROM audits WHERE id = ?", (number,)).get)
    return Begun(number, client, source, folder, epoch, last)


def _compare(db: apsw.Connection, audit: Begun, listed: Sequence[Listed]) -> Compared:
    rows = json.dumps([message[:3] for message in listed])
    key = (audit.source, audit.folder, audit.epoch, rows)
    accounted: Any = db.execute(_ACCOUNTED, (*key, audit.last)).fetchone()
    count, former, spared, before = accounted
    left: Any = db.execute(_REST, key).fetchall()
    troubles = [kind for _, kind, _ in left if kind is not None]
    big = troubles.count("big")
    rest = tuple(Missing(listed[at], bool(known)) for at, kind, known in left if kind is None)
    return Compared(count - former - spared, former, spared, len(troubles) - big, big, before, rest)


def _finish(db: apsw.Connection, audit: Begun, counted: Audit, met: int, reset: str, now: float) -> Audit:
    key = (audit.source, audit.folder, audit.epoch)
    if not reset and _position(db, audit.source, audit.folder).epoch != audit.epoch:
        reset = "the server's identities began anew while the audit ran"
    if reset:
        db.execute(_FORGET_MISSING, (audit.id,))
    db.execute(_CONFIRM, (audit.id, *key))
    missing = int(db.execute("SELECT count(*) FROM audit_missing WHERE audit = ?", (audit.id,)).get)
    kept = int(db.execute(_KEPT, (*key, audit.last)).get)
    c = counted
    known = c.captured + c.former + c.spared + c.troubles + c.big
    numbers = (c.listed, c.captured, c.former, c.spared, c.troubles, c.big, c.listed - known - missing, missing, kept - met)
    db.execute(_FINISH, (audit.id, now, *numbers, reset))
    former: Any = db.execute(_FORMER, (audit.client, audit.folder, audit.id)).fetchall()
    for (number,) in former:
        _forget(db, number)
    row: Any = db.execute(_ROW + "AND id = ?", (audit.id,)).fetchone()
    if row is None:
        raise StoreError("another audit of the folder took this one's place")
    return _audit(row)


def _requeue(db: apsw.Connection, audit: Begun, now: float, *, replaced: bool) -> int:
    db.execute(_QUEUE, (audit.id, _WHY, now))
    queued = db.changes()
    if replaced:
        db.execute(_LIST_ANEW, (audit.id,))
    return queued


def _missing(db: apsw.Connection, audit: int, after: str) -> list[Missing]:
    rows: Any = db.execute(_MISSING, (audit, after, _PAGE))
    return [Missing(Listed(*row[:4]), bool(row[4])) for row in rows]


def _audit(row: Any) -> Audit:
    return Audit(*row)
