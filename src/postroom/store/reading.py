"""Reading verbs of the store: conditions, counts, lists. Functions within one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import apsw

from postroom.model import (
    Condition,
    Copy,
    Facts,
    FirstReading,
    Handled,
    Health,
    Listed,
    MessageRow,
    Reference,
    Repair,
    Trouble,
    TroubleKind,
)
from postroom.store import copies

_REPORT = """
INSERT INTO conditions (client, health, proved_at, fault, remedy, retry_at, started_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT DO UPDATE SET health = ?2, proved_at = coalesce(?3, proved_at), fault = ?4, remedy = ?5, retry_at = ?6,
                          started_at = coalesce(started_at, ?7)"""
_CONDITIONS = "SELECT client, health, proved_at, fault, remedy, retry_at, started_at FROM conditions"
_COUNTS = "SELECT client, count(*), sum(length), max(received) FROM messages GROUP BY client"
_OPEN = """
SELECT m.client, count(*) FROM work w JOIN messages m ON m.id = w.subject
WHERE w.state IN ('ready', 'leased') AND w.kind = 'process' GROUP BY m.client"""
_COLUMNS = (
    """
SELECT m.id, m.public_id, m.client, r.identifier, r.folder, hex(m.digest), m.length, m.subject, m.sender, m.date,
       m.message_id, m.fault, m.received, m.segment, m."offset", m.digest, m.address, m.left_out, m.copy_header,
       m.handled,
       """
    + copies.OF_MESSAGE
    + """
FROM messages m JOIN receipts r ON r.id = m.id """
)
_FORWARD = _COLUMNS + "WHERE m.id > ?2 AND (?1 IS NULL OR m.client = ?1) ORDER BY m.id LIMIT ?3"
_BACKWARD = _COLUMNS + "WHERE m.id < ?2 AND (?1 IS NULL OR m.client = ?1) ORDER BY m.id DESC LIMIT ?3"
_BY_NUMBER = _COLUMNS + "WHERE m.id IN (SELECT value FROM json_each(?))"  # noqa: S608 - constants
_NARROW = """
WHERE m.id < ?1 AND (?2 = '[]' OR m.client IN (SELECT value FROM json_each(?2))) AND m.received >= ?4
  AND (?3 = '' OR m.address = ?3 COLLATE NOCASE) ORDER BY m.id DESC LIMIT ?5"""
_NARROWED = _COLUMNS + _NARROW
_ONE = _COLUMNS + "WHERE m.public_id >= ?1 AND m.public_id < ?1 || 'g' LIMIT 2"
_TROUBLES = """
SELECT s.login, t.folder, t.identifier, t.size, t.internal_date, t.email_id, t.kind, t.detail, t.attempts, t.first_seen,
       t.not_before
FROM troubles t JOIN sources s ON s.id = t.source ORDER BY t.first_seen"""
_READERS = "SELECT DISTINCT s.login, f.holder FROM folders f JOIN sources s ON s.id = f.source WHERE f.holder <> ''"
_FOLDERS = """
SELECT s.type, s.server, s.login, f.folder, f.state IS NULL AND f.epoch = 1,
       i.choice, i.begun_at, i.total, i.remaining, i.rate, i.ended_at,
       p.reason, p.begun_at, p.matched, p.compared, p.fresh, p.vanished, p.ended_at
FROM folders f JOIN sources s ON s.id = f.source
LEFT JOIN first_reads i ON i.source = f.source AND i.folder = f.folder
LEFT JOIN repairs p ON p.source = f.source AND p.folder = f.folder
ORDER BY f.source, f.folder"""
_LAST = 2**62


class FolderRow(NamedTuple):
    """A folder that was looked at."""

    type: str
    server: str
    login: str
    folder: str
    unread: bool  # it was never read: first-read acts
    first: FirstReading | None
    repair: Repair | None


@dataclass(frozen=True, slots=True)
class Counts:
    """What a client brought."""

    messages: int = 0
    octets: int = 0
    last_received: float | None = None
    open_work: int = 0


def report(db: apsw.Connection, condition: Condition) -> None:
    """Keep a client's health; the last proof stays when there is no newer one."""
    c = condition
    db.execute(_REPORT, (c.client, c.health.value, c.proved_at, c.fault, c.remedy, c.retry_at, c.started_at))


def conditions(db: apsw.Connection) -> dict[str, Condition]:
    """The health of each client."""
    rows: Any = db.execute(_CONDITIONS)
    return {row[0]: Condition(row[0], Health(row[1]), *row[2:]) for row in rows}


def counts(db: apsw.Connection) -> dict[str, Counts]:
    """What each client brought."""
    rows: Any = db.execute(_COUNTS).fetchall()
    open_work: dict[Any, Any] = dict(db.execute(_OPEN).fetchall())  # type: ignore[arg-type]
    return {client: Counts(n, octets, last, open_work.get(client, 0)) for client, n, octets, last in rows}


def readers(db: apsw.Connection, living: Callable[[str], bool]) -> dict[str, str]:
    """The living process that reads each login's mailbox now."""
    rows: Any = db.execute(_READERS).fetchall()
    return {login: holder for login, holder in rows if living(holder)}


def page(
    db: apsw.Connection, client: str | None, newest_first: bool, after: int | None, limit: int
) -> tuple[list[MessageRow], int]:
    """A page of messages behind a row number, and the number to go on behind."""
    statement, start = (_BACKWARD, _LAST) if newest_first else (_FORWARD, 0)
    rows: Any = db.execute(statement, (client, start if after is None else after, limit)).fetchall()
    return [_message(row) for row in rows], (rows[-1][0] if rows else start)


def narrowed(
    db: apsw.Connection, *, clients: Sequence[str], address: str, since: float, after: str, limit: int
) -> list[MessageRow] | None:
    """A page of messages, the newest first, behind the one with this id; None where there is none with it."""
    last = _LAST
    if after:
        found: Any = db.execute("SELECT id FROM messages WHERE public_id = ?", (after,)).fetchone()
        if found is None:
            return None
        last = found[0]
    rows: Any = db.execute(_NARROWED, (last, json.dumps(clients), address, since, limit)).fetchall()
    return [_message(row) for row in rows]


def one(db: apsw.Connection, public_id: str) -> tuple[MessageRow, Reference] | None:
    """One message or copy, by its id or a unique beginning of it."""
    rows: Any = db.execute(_ONE, (public_id.lower(),)).fetchall()
    copied: Any = db.execute(copies.BY_ID, (public_id.lower(),)).fetchall()
    if len(rows) + len(copied) != 1:
        return None
    row: Any = rows[0] if rows else db.execute(_COLUMNS + "WHERE m.id = ?", copied[0][:1]).fetchone()
    message = _message(row)
    if copied:
        message = replace(message, copy=Copy(*copied[0][1:]))
    return message, Reference(row[13], row[14], row[6], row[15])


def by_number(db: apsw.Connection, numbers: Sequence[int]) -> dict[int, tuple[MessageRow, Reference]]:
    """Messages by their rows."""
    rows: Any = db.execute(_BY_NUMBER, (json.dumps(list(numbers)),))
    return {row[0]: (_message(row), Reference(row[13], row[14], row[6], row[15])) for row in rows}


def _message(row: Any) -> MessageRow:
    facts = Facts(subject=row[7], sender=row[8], date=row[9], message_id=row[10], fault=row[11])
    return MessageRow(
        row[1],
        row[2],
        row[3],
        row[4],
        row[5].lower(),
        row[6],
        facts,
        row[12],
        address=row[16],
        copies=copies.read(row[20]),
        left_out=tuple(json.loads(row[17])),
        copy_header=row[18],
        handled=Handled(row[19]),
    )


def folders(db: apsw.Connection) -> list[FolderRow]:
    """Every folder that was looked at."""
    rows: Any = db.execute(_FOLDERS)
    return [
        FolderRow(
            *(kind, server, login, folder),
            unread=bool(unread),
            first=None if rest[0] is None else FirstReading(*rest[:6]),
            repair=None if rest[6] is None else Repair(*rest[6:]),
        )
        for kind, server, login, folder, unread, *rest in rows
    ]


def all_troubles(db: apsw.Connection) -> list[tuple[str, str, Trouble]]:
    """Every trouble with its login and folder."""
    rows: Any = db.execute(_TROUBLES)
    return [(r[0], r[1], Trouble(Listed(r[2], r[3], r[4], r[5]), TroubleKind(r[6]), *r[7:])) for r in rows]


def tell(db: apsw.Connection, ending: str, days: int) -> bool:
    """Remember an announcement; False when it was made at that distance or nearer already."""
    row: Any = db.execute("SELECT days FROM told WHERE ending = ?", (ending,)).fetchone()
    if row is not None and row[0] <= days:
        return False
    db.execute("INSERT OR REPLACE INTO told VALUES (?, ?)", (ending, days))
    return True
