"""Inbound verbs of the store, as functions within one transaction: sources, leases, receipts, troubles.

``capture`` is where exactly once comes true: receipts, messages and work appear together or not at all, and a receipt's
unique key makes the second time nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import apsw

from postroom.errors import LeaseHeld
from postroom.model import (
    Addressing,
    Captured,
    Disposition,
    FirstReading,
    Lease,
    Listed,
    Outcome,
    Position,
    Repair,
    Trouble,
    TroubleKind,
    Unsettled,
)
from postroom.store import repair
from postroom.store.fence import Fenced
from postroom.store.shadows import IN_SHADOW

_SOURCE = "SELECT id FROM sources WHERE type = ? AND server = ? AND login = ?"
_NEW_SOURCE = "INSERT INTO sources (type, server, login) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"

_NEW_FOLDER = "INSERT INTO folders (source, folder) VALUES (?, ?) ON CONFLICT DO NOTHING"
_HOLDER = "SELECT holder FROM folders WHERE source = ? AND folder = ?"
_LEASE = "UPDATE folders SET holder = ?3, fence = fence + 1, expires = ?4 WHERE source = ?1 AND folder = ?2 RETURNING fence"
_RENEW = "UPDATE folders SET expires = ? WHERE holder = ?"
_RELEASE = "UPDATE folders SET holder = '', expires = 0 WHERE source = ? AND folder = ? AND fence = ?"
_ADVANCE = "UPDATE folders SET state = ? WHERE source = ? AND folder = ?"

_FIRST = "SELECT choice, begun_at, total, remaining, rate, ended_at FROM first_reads WHERE source = ? AND folder = ?"
_BEGIN = """
INSERT INTO first_reads (source, folder, choice, begun_at, total, remaining) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
ON CONFLICT DO NOTHING"""
_PROGRESS = """
UPDATE first_reads SET remaining = ?3, rate = ?4, ended_at = ?5 WHERE source = ?1 AND folder = ?2 AND ended_at IS NULL"""
_SPARE = """
INSERT INTO receipts
  (source, folder, epoch, identifier, digest, size, internal_date, email_id, message_id, disposition, captured_at)
SELECT ?1, ?2, ?3, value ->> 0, x'', value ->> 1, value ->> 2, value ->> 3, value ->> 4, 'keep', ?5
FROM json_each(?4) WHERE true ON CONFLICT DO NOTHING"""

# value ->> 0 is the identifier; an array's elements are read by their places, in the order that _rows writes them.
_UNKNOWN = """
SELECT key FROM json_each(?4)
WHERE NOT EXISTS (SELECT 1 FROM receipts WHERE source = ?1 AND folder = ?2 AND epoch = ?3 AND identifier = value)
  AND NOT EXISTS (SELECT 1 FROM troubles WHERE source = ?1 AND folder = ?2 AND epoch = ?3 AND identifier = value)"""
_RECEIVED = """
SELECT key, r.size, r.internal_date FROM json_each(?4) CROSS JOIN receipts r
  ON r.source = ?1 AND r.folder = ?2 AND r.epoch = ?3 AND r.identifier = value"""

_RECEIPTS = """
INSERT INTO receipts (source, folder, epoch, identifier, digest, size, internal_date, email_id, disposition, captured_at)
SELECT ?1, ?2, ?3, value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5, ?5
FROM json_each(?4) WHERE true ON CONFLICT DO NOTHING"""

# CROSS JOIN keeps SQLite from walking the array once for every receipt.
_MESSAGES = """
INSERT INTO messages (id, public_id, client, segment, "offset", length, digest, received,
  address, copy_header, copy_limit, handled)
SELECT r.id, value ->> 9, ?6, value ->> 6, value ->> 7, value ->> 8, r.digest, ?5, ?8, ?9, ?10, ?11
FROM json_each(?4) CROSS JOIN receipts r
  ON r.source = ?1 AND r.folder = ?2 AND r.epoch = ?3 AND r.identifier = value ->> 0
WHERE r.id > ?7 AND r.message IS NULL"""

_NEW_MESSAGES = """
INSERT INTO messages (id, public_id, client, segment, "offset", length, digest, received,
  address, copy_header, copy_limit, handled)
SELECT ?4 + 1 + key, value ->> 9, ?3, value ->> 6, value ->> 7, value ->> 8, unhex(value ->> 1), ?2, ?5, ?6, ?7, ?8
FROM json_each(?1)"""

_WORK = "INSERT INTO work (kind, subject) SELECT 'process', id FROM messages WHERE id > ?"

_HAD = """
DELETE FROM troubles WHERE source = ?1 AND folder = ?2 AND epoch = ?3
  AND identifier IN (SELECT value ->> 0 FROM json_each(?4))"""

# AUTOINCREMENT goes on from here even where the last rows were removed (sqlite.org/autoinc.html)
_LAST_RECEIPT = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'receipts'), 0)"
_SEGMENT = """
INSERT INTO segments (id, committed) VALUES (?1, ?2)
ON CONFLICT (id) DO UPDATE SET committed = max(committed, excluded.committed)"""

_NEW_RECEIPTS = "SELECT id, digest, email_id FROM receipts WHERE id > ?"
_TIED = "UPDATE receipts SET message = ?2 WHERE id = ?1"
_SAME_EMAIL = """
SELECT coalesce(message, id) FROM receipts WHERE source = ? AND email_id = ? AND id <= ? AND digest = ? ORDER BY id LIMIT 1"""

_UNSETTLED = """
SELECT identifier, size, internal_date, email_id, disposition FROM receipts
WHERE source = ? AND folder = ? AND epoch = ? AND settled_at IS NULL AND gone_at IS NULL AND disposition <> 'keep'
ORDER BY id LIMIT ?"""
_MARK = """
UPDATE receipts SET {column} = ?5 WHERE source = ?1 AND folder = ?2 AND epoch = ?3
  AND identifier IN (SELECT value FROM json_each(?4))"""

_TROUBLE = """
INSERT INTO troubles VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1, ?10, ?11)
ON CONFLICT DO UPDATE SET kind = excluded.kind, detail = excluded.detail, attempts = attempts + 1, not_before = ?11"""
_TROUBLES = """
SELECT identifier, size, internal_date, email_id, kind, detail, attempts, first_seen, not_before
FROM troubles WHERE source = ? AND folder = ? AND epoch = ? ORDER BY first_seen"""


def source_id(db: apsw.Connection, type_: str, server: str, login: str) -> int:
    """The number of a source, made at first sight."""
    db.execute(_NEW_SOURCE, (type_, server, login))
    return int(db.execute(_SOURCE, (type_, server, login)).get)


def acquire(
    db: apsw.Connection, source: int, folders: Sequence[str], holder: str, expires: float, living: Callable[[str], bool]
) -> list[Lease]:
    """Lease all folders or none. Raises ``LeaseHeld`` naming the living process that reads one of them."""
    leases = []
    for folder in folders:
        db.execute(_NEW_FOLDER, (source, folder))
        present = str(db.execute(_HOLDER, (source, folder)).get)
        if present and present != holder and living(present):
            raise LeaseHeld(f"{folder} is read by process {present}")
        leases.append(Lease(source, folder, int(db.execute(_LEASE, (source, folder, holder, expires)).get)))
    return leases


def renew(db: apsw.Connection, holder: str, expires: float) -> None:
    """Prolong everything that a process holds."""
    db.execute(_RENEW, (expires, holder))


def release(db: apsw.Connection, leases: Iterable[Lease]) -> None:
    """Give leases back; those lost meanwhile are another's and stay."""
    for lease in leases:
        db.execute(_RELEASE, (lease.source, lease.folder, lease.fence))


def position(db: apsw.Connection, lease: Lease) -> Position:
    """How far a folder has been read."""
    fenced = Fenced(db, lease)
    row: Any = db.execute(_FIRST, (lease.source, lease.folder)).fetchone()
    first = None if row is None else FirstReading(*row)
    return Position(fenced.epoch, None if fenced.state is None else str(fenced.state), first, repair.under_way(fenced))


def begin(db: apsw.Connection, lease: Lease, state: str | None, choice: str, total: int, now: float) -> None:
    """Keep the state before anything was listed; when it is the first, also what the first read was to be."""
    fenced = Fenced(db, lease)
    db.execute(_BEGIN, (lease.source, lease.folder, choice, now, total))
    if state != fenced.state:
        db.execute(_ADVANCE, (state, lease.source, lease.folder))


def progress(db: apsw.Connection, lease: Lease, left: int, rate: float, ended_at: float | None) -> None:
    """How far the first read is."""
    Fenced(db, lease)
    db.execute(_PROGRESS, (lease.source, lease.folder, left, rate, ended_at))


def advance(db: apsw.Connection, lease: Lease, state: str, now: float, *, read_whole: bool) -> Repair | None:
    """Move the state. With ``read_whole`` a repair ends; what was not met again has vanished."""
    fenced = Fenced(db, lease)
    if state != fenced.state:
        db.execute(_ADVANCE, (state, lease.source, lease.folder))
    return repair.end(fenced, now) if read_whole else None


def unknown(db: apsw.Connection, lease: Lease, listed: Sequence[Listed]) -> tuple[list[Listed], list[Listed]]:
    """Which of these have neither receipt nor trouble; and which have the receipt of another message (other size or date)."""
    fenced = Fenced(db, lease)
    identifiers = json.dumps([message.identifier for message in listed])
    new: Any = db.execute(_UNKNOWN, (*fenced.key, identifiers)).fetchall()
    if len(new) == len(listed):
        return list(listed), []
    received: Any = db.execute(_RECEIVED, (*fenced.key, identifiers))
    foreign = [listed[k] for k, size, date in received if (size, date) != (listed[k].size, listed[k].internal_date)]
    return [listed[key] for (key,) in new], foreign


def capture(
    db: apsw.Connection,
    lease: Lease,
    client: str,
    batch: Sequence[Captured],
    ids: Sequence[str],
    now: float,
    addressing: Addressing,
) -> Outcome:
    """Receipts, messages and work of a batch, at once. ``ids`` are public ones, one for each. Raises ``LeaseLost``."""
    fenced = Fenced(db, lease)
    shadow = bool(db.execute(f"SELECT {IN_SHADOW}", (lease.source,)).get)
    if shadow:  # whatever the reader's settings say: another system has the mailbox
        batch = [captured._replace(disposition=Disposition.KEEP) for captured in batch]
    rows = json.dumps([_row(captured, public) for captured, public in zip(batch, ids, strict=True)])
    last = int(db.execute(_LAST_RECEIPT).get)
    whom = (addressing.address, addressing.copy_header, addressing.copy_limit, "shadow" if shadow else "")
    met = repair.meet_by_octets(fenced, batch)
    db.execute(_RECEIPTS, (*fenced.key, rows, now))
    receipts = db.changes()
    tied = _tie(fenced, last, batch)
    if receipts == len(batch) and not tied:  # nothing was known: the rows have consecutive numbers, in this order
        db.execute(_NEW_MESSAGES, (rows, now, client, last, *whom))
    else:
        db.execute(_MESSAGES, (*fenced.key, rows, now, client, last, *whom))
    db.execute(_WORK, (last,))
    db.execute(_HAD, (*fenced.key, rows))
    repair.brought(fenced, receipts - tied)
    return Outcome(receipts - tied, met + tied, len(batch) - receipts - met)


def spare(db: apsw.Connection, lease: Lease, listed: Sequence[Listed], message_ids: Mapping[str, str], now: float) -> None:
    """Receipts without messages, for what a first read leaves at the server. What has a receipt keeps it."""
    fenced = Fenced(db, lease)
    rows = [(*message, message_ids.get(message.identifier, "")) for message in listed]
    db.execute(_SPARE, (*fenced.key, json.dumps(rows), now))


def _row(captured: Captured, public: str) -> list[object]:
    listed, reference = captured.listed, captured.reference
    return [
        listed.identifier,
        reference.digest.hex(),
        listed.size,
        listed.internal_date,
        listed.email_id,
        captured.disposition.value,
        reference.segment,
        reference.offset,
        reference.length,
        public,
    ]


def segment_committed(db: apsw.Connection, segment: int, end: int) -> None:
    """References reach so far into a segment now."""
    db.execute(_SEGMENT, (segment, end))


def _tie(fenced: Fenced, last: int, batch: Sequence[Captured]) -> int:
    """Tie new receipts to messages had in another folder of the source, by the server's own identity; return how many."""
    db = fenced.db
    if not any(captured.listed.email_id for captured in batch):
        return 0
    tied = 0
    for receipt, digest, email_id in db.execute(_NEW_RECEIPTS, (last,)).fetchall():
        row = db.execute(_SAME_EMAIL, (fenced.source, email_id, last, digest)).fetchone() if email_id else None
        if row is not None:
            db.execute(_TIED, (receipt, row[0]))
            tied += 1
    return tied


def unsettled(db: apsw.Connection, lease: Lease, limit: int) -> list[Unsettled]:
    """Receipts of the present epoch whose disposition the server has not committed, the oldest first."""
    fenced = Fenced(db, lease)
    rows = db.execute(_UNSETTLED, (*fenced.key, limit))
    return [Unsettled(Listed(str(i), int(s), str(d), str(e)), Disposition(w)) for i, s, d, e, w in rows]


def settled(db: apsw.Connection, lease: Lease, identifiers: Sequence[str], now: float, *, gone: bool = False) -> None:
    """The server committed these dispositions; or, ``gone``, holds something else, or nothing, under these identifiers."""
    fenced = Fenced(db, lease)
    column = "gone_at" if gone else "settled_at"
    db.execute(_MARK.format(column=column), (*fenced.key, json.dumps(list(identifiers)), now))


def trouble(
    db: apsw.Connection, lease: Lease, listed: Listed, kind: TroubleKind, detail: str, now: float, not_before: float
) -> None:
    """Remember a message that is listed and not had; count the attempt."""
    fenced = Fenced(db, lease)
    values = (
        listed.identifier,
        listed.size,
        listed.internal_date,
        listed.email_id,
        kind.value,
        detail,
        now,
        not_before,
    )
    db.execute(_TROUBLE, (*fenced.key, *values))


def troubles(db: apsw.Connection, lease: Lease) -> list[Trouble]:
    """The folder's troubles, the oldest first."""
    fenced = Fenced(db, lease)
    return [
        Trouble(
            Listed(str(r[0]), int(r[1]), str(r[2]), str(r[3])),
            TroubleKind(r[4]),
            str(r[5]),
            int(r[6]),
            float(r[7]),
            float(r[8]),
        )
        for r in db.execute(_TROUBLES, fenced.key)
    ]


def confirmed_absent(db: apsw.Connection, lease: Lease, identifiers: Sequence[str]) -> None:
    """These were absent twice, in two conversations: they are gone."""
    fenced = Fenced(db, lease)
    db.execute(_HAD, (*fenced.key, json.dumps([[identifier] for identifier in identifiers])))
