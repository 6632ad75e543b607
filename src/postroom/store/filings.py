"""Verbs of the copies in Sent that are to be filed: one piece of work for a submission, made once somebody has it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import apsw

from postroom.clock import Clock
from postroom.model import Reference, Work, WorkKind, WorkState
from postroom.outbound import Filing
from postroom.store import work
from postroom.store.database import Database

_SETTLES = 10.0  # seconds that a server has to file a copy of its own accord, where nobody knows that it does

_WANT = """
INSERT OR IGNORE INTO work (kind, lane, subject, not_before)
SELECT 'file', w.lane, s.id, ?2 FROM json_each(?1) CROSS JOIN submissions s ON s.id = value JOIN work w ON w.id = s.work
WHERE EXISTS (SELECT 1 FROM recipients r WHERE r.submission = s.id AND r.state IN ('sent', 'bounced'))"""
_LANES = "SELECT DISTINCT lane FROM work WHERE state IN ('ready', 'leased') AND kind = 'file'"
_LOAD = """
SELECT s.id, s.public_id, s.message_id, s.segment, s."offset", s.length, s.digest,
       (SELECT min(r.marked) FROM recipients r WHERE r.submission = s.id AND r.state IN ('sent', 'bounced'))
FROM json_each(?) CROSS JOIN submissions s ON s.id = value"""
_PASSAGE = "INSERT INTO passages (submission, at, event, address, words) VALUES (?, ?, 'not filed', '', ?)"


def want(db: apsw.Connection, submissions: Sequence[int], now: float) -> None:
    """Have a copy filed of each of these that somebody has; of each only once, however often it is wanted."""
    db.execute(_WANT, (json.dumps(list(submissions)), now + _SETTLES))


class Filings:
    """The copies of one store that are to be filed. A piece belongs to the account that the submission was first sent by."""

    def __init__(self, db: Database, clock: Clock, holder: str) -> None:
        self._db = db
        self._clock = clock
        self._holder = holder

    async def lanes(self) -> frozenset[str]:
        """The sections for which a copy waits, whether or not they are configured."""
        return await self._db.run(lambda db: frozenset(str(lane) for (lane,) in db.execute(_LANES).fetchall()), writes=False)

    async def take(self, client: str, limit: int) -> list[Filing]:
        """Claim a client's copies that are due."""
        now = self._clock.now()
        return await self._db.run(lambda db: _take(db, client, self._holder, now, limit))

    async def end(
        self,
        filing: Filing,
        state: WorkState,
        *,
        not_before: float = 0.0,
        first_failed_at: float | None = None,
        fault: str = "",
    ) -> None:
        """Write what became of a copy: DONE, READY (again) or DEAD. Raises ``StoreError`` where the piece is another's now."""
        now = self._clock.now()

        def job(db: apsw.Connection) -> None:
            work.move(db, filing.work, state, not_before=not_before, first_failed_at=first_failed_at, fault=fault)
            if state is WorkState.DEAD:
                db.execute(_PASSAGE, (filing.work.subject, now, fault))

        await self._db.run(job)


def _take(db: apsw.Connection, client: str, holder: str, now: float, limit: int) -> list[Filing]:
    pieces = work.claim(db, WorkKind.FILE, client, holder, now, limit)
    rows: Any = db.execute(_LOAD, (json.dumps([piece.subject for piece in pieces]),)).fetchall()
    found = {row[0]: row[1:] for row in rows}
    return [_filing(piece, *found[piece.subject]) for piece in pieces]


def _filing(
    piece: Work, public_id: str, message_id: str, segment: int, offset: int, length: int, digest: bytes, sent_at: float | None
) -> Filing:
    return Filing(piece, public_id, message_id, Reference(segment, offset, length, digest), sent_at or 0.0)
