"""Verbs of the queue of what is sent. Each is one transaction; what is handed in is durable when ``hand_in`` returns.

What becomes of a recipient stands in its row, so that a repeated attempt concerns only those that are not finished. Before
the octet after which a server may accept, ``mark`` makes that known durably; whoever finds a recipient so and its process
gone is in doubt. A claim has a token: an outdated one marks nothing. But a definite answer that comes late settles the doubt
of its own attempt, whoever has the claim by then.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import apsw

from postroom.clock import Clock
from postroom.errors import KeyReused, StoreError
from postroom.model import Reference, Work, WorkKind
from postroom.outbound import (
    Body,
    Content,
    Doubt,
    Envelope,
    Handed,
    LaneCounts,
    Mark,
    Octets,
    Outgoing,
    Passage,
    Passed,
    Recipient,
    RecipientState,
    SubmissionRow,
)
from postroom.store import filings, outbox_rows, work
from postroom.store.blobs import HEADER, Blobs
from postroom.store.capture import segment_committed
from postroom.store.database import Database
from postroom.store.ids import PublicIds
from postroom.store.processes import Processes

_LARGE = 64 * 1024  # octets from which on a message is read in pieces while it is sent
_INTERRUPTED = "the process ended before the server's answer was recorded"

_KNOWN = "SELECT id, asked FROM submissions WHERE owner = ? AND key = ?"
_ADD = """
INSERT INTO submissions (public_id, owner, key, asked, work, mail_from, body, smtputf8, envid, ret, segment, "offset", length,
                         digest, message_id, subject, answers, created_at, send_at)
VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_ADD_RECIPIENTS = """
INSERT INTO recipients (submission, number, address, notify, orcpt, state)
SELECT ?1, key, value ->> 0, value ->> 1, value ->> 2, 'pending' FROM json_each(?2)"""
_ADD_WORK = "INSERT INTO work (kind, lane, subject, not_before) VALUES ('submit', ?, ?, ?)"
_TIE_WORK = "UPDATE submissions SET work = ? WHERE id = ?"

_DOUBTFUL = """
UPDATE recipients SET state = 'doubt', words = ?2, at = ?3
WHERE state = 'sending' AND submission IN (SELECT value FROM json_each(?1)) RETURNING submission, address"""
_PASSAGE = """
INSERT INTO passages (submission, at, event, address, words)
SELECT value ->> 0, ?2, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1)"""
_LOAD = """
SELECT json_group_array(json_array(s.id, s.public_id, s.mail_from, s.body, s.smtputf8, s.envid, s.ret, s.segment, s."offset",
                                   s.length, hex(s.digest), s.message_id,
                                   EXISTS (SELECT 1 FROM recipients WHERE submission = s.id AND state IN ('sent', 'bounced'))
                                   OR EXISTS (SELECT 1 FROM submissions o WHERE o.message_id = s.message_id AND o.id <> s.id)))
FROM json_each(?) CROSS JOIN submissions s ON s.id = value"""
_LOAD_RECIPIENTS = """
SELECT json_group_array(json_array(r.submission, r.number, r.address, r.notify, r.orcpt, r.state, r.at, r.marked))
FROM json_each(?) CROSS JOIN recipients r ON r.submission = value WHERE r.state IN ('pending', 'doubt', 'failed')"""

# value ->> n: work, token, submission, number; then state, code, enhanced, words
_HELD = "EXISTS (SELECT 1 FROM work w WHERE w.id = value ->> 0 AND w.token = value ->> 1 AND w.state = 'leased')"
_MARK = f"""
UPDATE recipients SET state = 'sending', attempt = value ->> 1, at = ?2, marked = ?2 FROM json_each(?1)
WHERE submission = value ->> 2 AND number = value ->> 3 AND recipients.state = 'pending' AND {_HELD}"""  # noqa: S608 - constants
_UNMARKED = """
SELECT DISTINCT value ->> 0 FROM json_each(?1)
WHERE NOT EXISTS (SELECT 1 FROM recipients r WHERE r.submission = value ->> 2 AND r.number = value ->> 3
                  AND r.state = 'sending' AND r.attempt = value ->> 1)"""
_STATUS = f"""
UPDATE recipients SET state = value ->> 4, code = value ->> 5, enhanced = value ->> 6, words = value ->> 7, at = ?2
FROM json_each(?1)
WHERE submission = value ->> 2 AND number = value ->> 3
  AND (recipients.state IN ('sending', 'doubt') AND recipients.attempt = value ->> 1
       OR recipients.state = 'doubt' AND {_HELD}
       OR recipients.state = 'pending' AND value ->> 4 IN ('pending', 'failed') AND {_HELD})"""  # noqa: S608 - constants
_END = """
UPDATE work SET state = value ->> 2, not_before = value ->> 3, first_failed_at = value ->> 4, fault = value ->> 5, holder = ''
FROM json_each(?1) WHERE work.id = value ->> 0 AND work.token = value ->> 1 AND work.state = 'leased'"""
_SETTLED_LATE = """
UPDATE work SET state = 'ready', not_before = 0 FROM json_each(?1)
WHERE work.id = value ->> 0 AND work.state = 'waiting'
  AND NOT EXISTS (SELECT 1 FROM recipients r WHERE r.submission = work.subject AND r.state = 'doubt')"""
_RELEASE = """
UPDATE work SET state = 'ready', holder = '', attempts = attempts - 1 FROM json_each(?1)
WHERE work.id = value ->> 0 AND work.token = value ->> 1 AND work.state = 'leased'"""


class Outbox:
    """The queue of one store."""

    def __init__(self, db: Database, clock: Clock, blobs: Blobs, ids: PublicIds, processes: Processes) -> None:
        self._db = db
        self._clock = clock
        self._blobs = blobs
        self._ids = ids
        self._holder = processes.holder
        self._living = processes.living
        self.filings = filings.Filings(db, clock, processes.holder)

    async def hand_in(self, handed: Handed) -> tuple[SubmissionRow, bool]:
        """Keep a submission; durable when this returns. It as it is kept, and whether it is a new one.

        Raises ``KeyReused`` where its key came with another request before, ``StoreFull``, ``StoreError``.
        """
        now = self._clock.now()
        (public_id,) = self._ids.take(now, 1)
        reference = self._blobs.append(handed.composed.octets)

        def job(db: apsw.Connection) -> tuple[SubmissionRow, bool]:
            if self._blobs.damaged(reference):
                raise StoreError("octets were lost at the disk before they were durable; hand it in again")
            if handed.key is not None and (known := _known(db, handed.owner, handed.key, handed.asked)) is not None:
                return known, False
            segment_committed(db, reference.segment, reference.offset + HEADER.size + reference.length)
            return _add(db, handed, public_id, reference, now), True

        return await self._db.run(job, sync=True)

    async def known(self, owner: str, key: str, asked: bytes) -> SubmissionRow | None:
        """The submission that a key was used for before. Raises ``KeyReused``."""
        return await self._db.run(lambda db: _known(db, owner, key, asked), writes=False)

    # --- sending

    async def take(self, client: str, limit: int) -> list[Outgoing]:
        """Claim a client's submissions that are due. What an ended process left in the middle comes back in doubt."""
        now = self._clock.now()
        return await self._db.run(lambda db: _take(db, client, self._holder, now, limit))

    async def record(self, marks: Sequence[Mark], passed: Sequence[Passed]) -> frozenset[int]:
        """Write marks and outcomes, of many conversations at once; return the numbers of works whose mark was refused.

        A mark is refused where the claim is another's now, or the submission was cancelled: it must not be sent then.
        """
        now = self._clock.now()
        return await self._db.run(lambda db: _record(db, marks, passed, now))

    async def release(self, pieces: Sequence[Work]) -> None:
        """Give claims back that nothing was done about."""
        rows = json.dumps([[piece.id, piece.token] for piece in pieces])
        await self._db.run(lambda db: db.execute(_RELEASE, (rows,)))

    def contents(self, references: Sequence[Reference]) -> list[Content]:
        """The octets of messages; those of long ones are read while they are sent. Blocks: for a thread. Raises ``StoreError``."""
        return [
            _Long(self._blobs, reference) if reference.length > _LARGE else Octets(self._blobs.read(reference))
            for reference in references
        ]

    # --- persons

    async def cancel(self, public_id: str) -> SubmissionRow:
        """Take a submission back that no server may have accepted. Raises ``StateRefused``, ``NotFound``."""
        return await self._change(public_id, outbox_rows.cancel)

    async def replay(self, public_id: str, client: str | None = None) -> SubmissionRow:
        """Send once more to the recipients that failed, by another account where one is named; or what waits, at once.

        Raises ``StateRefused``, ``NotFound``.
        """
        return await self._change(public_id, lambda db, id_, now: outbox_rows.replay(db, id_, now, client))

    async def resolve(self, public_id: str, to: RecipientState, address: str | None = None) -> SubmissionRow:
        """End doubts as a person knows or decides: SENT, PENDING (send again) or FAILED. Raises ``StateRefused``, ``NotFound``."""
        return await self._change(public_id, lambda db, id_, now: outbox_rows.resolve(db, id_, now, to, address))

    async def _change(self, public_id: str, change: Callable[[apsw.Connection, int, float], None]) -> SubmissionRow:
        now = self._clock.now()

        def job(db: apsw.Connection) -> SubmissionRow:
            number = outbox_rows.number_of(db, public_id)
            # Where no account takes it up, gone or paused, nobody else would find out that whoever had it is gone.
            if outbox_rows.abandoned(db, number, self._living):
                interrupt(db, [number], now)
            change(db, number, now)
            return outbox_rows.by_number(db, number)

        return await self._db.run(job)

    # --- looking

    async def one(self, public_id: str) -> SubmissionRow:
        """A submission by its id, or by the beginning of it where that is unique. Raises ``NotFound``."""
        return await self._db.run(lambda db: outbox_rows.by_number(db, outbox_rows.number_of(db, public_id)), writes=False)

    async def passages(self, public_id: str) -> list[Passage]:
        """What happened to a submission, the oldest first. Raises ``NotFound``."""
        return await self._db.run(lambda db: outbox_rows.passages(db, outbox_rows.number_of(db, public_id)), writes=False)

    async def pages(self, asked: outbox_rows.Asked, limit: int | None = None) -> AsyncIterator[SubmissionRow]:
        """Submissions, the newest first."""
        left = limit
        while left is None or left > 0:
            size = 500 if left is None else min(500, left)
            rows = await self.page(asked, size)
            for row in rows:
                yield row
            if len(rows) < size:
                return
            asked, left = asked._replace(before=rows[-1].id), None if left is None else left - size

    async def page(self, asked: outbox_rows.Asked, limit: int) -> list[SubmissionRow]:
        """So many submissions, the newest first."""
        return await self._db.run(lambda db: outbox_rows.page(db, asked, limit), writes=False)

    async def content(self, public_id: str) -> Content:
        """A submission's octets. Raises ``NotFound``."""
        reference = await self._db.run(lambda db: outbox_rows.reference(db, outbox_rows.number_of(db, public_id)), writes=False)
        return _Long(self._blobs, reference)

    async def counts(self) -> dict[str, LaneCounts]:
        """How many submissions of each client stand where."""
        return await self._db.run(outbox_rows.counts, writes=False)


class _Long:
    """Content that is read from the store piece by piece."""

    def __init__(self, blobs: Blobs, reference: Reference) -> None:
        self._blobs = blobs
        self._reference = reference

    @property
    def size(self) -> int:
        return self._reference.length

    def pieces(self) -> Iterator[bytes]:
        return self._blobs.pieces(self._reference)


def _known(db: apsw.Connection, owner: str, key: str, asked: bytes) -> SubmissionRow | None:
    known: Any = db.execute(_KNOWN, (owner, key)).fetchone()
    if known is None:
        return None
    if bytes(known[1]) != asked:
        raise KeyReused(f"Idempotency-Key {key!r} came with another request before")
    return outbox_rows.by_number(db, known[0])


def _add(db: apsw.Connection, handed: Handed, public_id: str, reference: Reference, now: float) -> SubmissionRow:
    """Write a submission; it as it would be read back."""
    envelope = handed.composed.envelope
    not_before = max(handed.send_at, 0.0)
    row = outbox_rows.begun(handed, public_id, now, not_before)
    db.execute(
        _ADD,
        (
            row.id,
            row.owner,
            handed.key,
            handed.asked if handed.key is not None else None,
            row.mail_from,
            envelope.body.value,
            int(envelope.smtputf8),
            envelope.envid,
            envelope.ret,
            *reference,
            row.message_id,
            row.subject,
            row.answers,
            row.created_at,
            row.send_at,
        ),
    )
    number = db.last_insert_rowid()
    people = [[known.address, ",".join(known.notify), known.orcpt] for known in envelope.recipients]
    db.execute(_ADD_RECIPIENTS, (number, json.dumps(people)))
    db.execute(_ADD_WORK, (handed.client, number, not_before))
    db.execute(_TIE_WORK, (db.last_insert_rowid(), number))
    return row


def _take(db: apsw.Connection, client: str, holder: str, now: float, limit: int) -> list[Outgoing]:
    pieces = work.claim(db, WorkKind.SUBMIT, client, holder, now, limit)
    if not pieces:
        return []
    subjects = [piece.subject for piece in pieces]
    interrupt(db, subjects, now)
    numbers = json.dumps(subjects)
    found = {row[0]: row for row in json.loads(str(db.execute(_LOAD, (numbers,)).get))}
    people: dict[int, list[Any]] = {}
    for row in json.loads(str(db.execute(_LOAD_RECIPIENTS, (numbers,)).get)):
        people.setdefault(row[0], []).append(row)
    return [_outgoing(piece, found[piece.subject], people.get(piece.subject, [])) for piece in pieces]


def interrupt(db: apsw.Connection, numbers: Sequence[int], now: float) -> None:
    """Of these, on which nobody works any more, what was just being sent is in doubt."""
    doubtful = db.execute(_DOUBTFUL, (json.dumps(numbers), _INTERRUPTED, now)).fetchall()
    if doubtful:
        rows: list[list[object]] = [[number, "doubt", address, _INTERRUPTED] for number, address in doubtful]
        db.execute(_PASSAGE, (json.dumps(rows), now))


def _outgoing(piece: Work, row: Sequence[Any], people: Sequence[Sequence[Any]]) -> Outgoing:
    _, public_id, mail_from, body, smtputf8, envid, ret, segment, offset, length, digest, message_id, ambiguous = row
    pending = [person for person in people if person[5] == "pending"]
    recipients = tuple(Recipient(person[2], tuple(filter(None, person[3].split(","))), person[4]) for person in pending)
    return Outgoing(
        work=piece,
        public_id=public_id,
        envelope=Envelope(mail_from, recipients, Body(body), bool(smtputf8), envid, ret),
        numbers=tuple(person[1] for person in pending),
        doubts=tuple(Doubt(person[1], person[2], person[6], person[7]) for person in people if person[5] == "doubt"),
        failed=any(person[5] == "failed" for person in people),
        reference=Reference(segment, offset, length, bytes.fromhex(digest)),
        message_id=message_id,
        ambiguous=bool(ambiguous),
    )


def _record(db: apsw.Connection, marks: Sequence[Mark], passed: Sequence[Passed], now: float) -> frozenset[int]:
    if passed:
        statuses = [
            [end.work.id, end.work.token, end.work.subject, number, status.state.value, *status[2:]]
            for end in passed
            for number, status in end.statuses
        ]
        db.execute(_STATUS, (json.dumps(statuses), now))
        ends = json.dumps(
            [[end.work.id, end.work.token, end.state.value, end.not_before, end.first_failed_at, end.fault] for end in passed]
        )
        db.execute(_END, (ends,))
        if db.changes() < len(passed):
            db.execute(_SETTLED_LATE, (ends,))
        rows = [[end.work.subject, *passage] for end in passed for passage in end.passages]
        if rows:
            db.execute(_PASSAGE, (json.dumps(rows), now))
        if copies := [end.work.subject for end in passed if end.copy]:
            filings.want(db, copies, now)
    if not marks:
        return frozenset()
    wanted = [[mark.work.id, mark.work.token, mark.work.subject, number] for mark in marks for number in mark.numbers]
    text = json.dumps(wanted)
    db.execute(_MARK, (text, now))
    if db.changes() == len(wanted):
        return frozenset()
    refused: Any = db.execute(_UNMARKED, (text,)).fetchall()
    return frozenset(int(id_) for (id_,) in refused)
