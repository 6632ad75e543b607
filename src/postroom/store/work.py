"""Work: claimed, done, retried. Functions within one transaction.

A claim has a token; whoever comes back with an outdated one changes nothing, because another has the work now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

import apsw

from postroom.errors import StoreError
from postroom.model import WORK_MOVES, Facts, Reference, Work, WorkKind, WorkState
from postroom.store import applications, copies

# SQLite uses the index on open work only where its own condition stands beside (sqlite.org/partialindex.html section 2).
_OPEN = "state IN ('ready', 'leased')"
_CLAIM = f"""
UPDATE work SET state = 'leased', holder = ?1, token = token + 1, attempts = attempts + 1
WHERE id IN (SELECT id FROM work WHERE {_OPEN} AND state = 'ready' AND kind = ?2 AND lane = ?5 AND not_before <= ?3
             ORDER BY not_before, id LIMIT ?4)
RETURNING id, subject, attempts, first_failed_at, token"""  # noqa: S608 - constants
_REFERENCES = """
SELECT m.id, m.segment, m."offset", m.length, m.digest
FROM json_each(?) CROSS JOIN messages m ON m.id = value"""
_FACTS = """
UPDATE messages SET subject = value ->> 3, sender = value ->> 4, date = value ->> 5, message_id = value ->> 6,
                    fault = value ->> 7
FROM json_each(?) AS done
WHERE messages.id = value ->> 2
  AND EXISTS (SELECT 1 FROM work WHERE work.id = value ->> 0 AND work.token = value ->> 1 AND work.state = 'leased')"""
_DONE = """
UPDATE work SET state = 'done', fault = '' FROM json_each(?) AS done
WHERE work.id = value ->> 0 AND work.token = value ->> 1 AND work.state = 'leased'"""
_HOLDERS = f"SELECT DISTINCT holder FROM work WHERE {_OPEN} AND state = 'leased' AND kind = ? AND lane = ?"  # noqa: S608
_RECLAIM = f"""
UPDATE work SET state = 'ready', holder = ''
WHERE {_OPEN} AND state = 'leased' AND kind = ?2 AND lane = ?3 AND holder = ?1
RETURNING subject"""  # noqa: S608
_MOVE = """
UPDATE work SET state = ?2, not_before = ?4, first_failed_at = ?5, fault = ?6, holder = ''
WHERE id = ?1 AND token = ?3 AND state = 'leased'"""
_NEXT = f"SELECT min(not_before) FROM work WHERE {_OPEN} AND state = 'ready' AND kind = ? AND lane = ?"  # noqa: S608


def claim(db: apsw.Connection, kind: WorkKind, lane: str, holder: str, now: float, limit: int) -> list[Work]:
    """Take up to ``limit`` pieces of a lane that are due."""
    rows: Any = db.execute(_CLAIM, (holder, kind.value, now, limit, lane)).fetchall()
    return [Work(int(i), kind, int(s), int(a), None if f is None else float(f), int(t)) for i, s, a, f, t in sorted(rows)]


def references(db: apsw.Connection, messages: Sequence[int]) -> dict[int, Reference]:
    """Where the octets of these messages are."""
    rows = db.execute(_REFERENCES, (json.dumps(list(messages)),))
    return {int(i): Reference(int(s), int(o), int(n), bytes(d)) for i, s, o, n, d in rows}


def finish_process(
    db: apsw.Connection,
    done: Sequence[tuple[Work, Facts]],
    ids: Sequence[str],
    chosen: Sequence[applications.Chosen],
    known: Collection[str],
) -> None:
    """Write what messages say of themselves, make copies and deliveries, and write the work done, at once."""
    rows = json.dumps(
        [[w.id, w.token, w.subject, f.subject, f.sender, f.date, f.message_id, f.fault] for w, f in done],
    )
    db.execute(_FACTS, (rows,))
    copies.make(db, done, ids)
    applications.deliver(db, chosen, known, [piece.subject for piece, _ in done])
    db.execute(_DONE, (rows,))


def move(
    db: apsw.Connection,
    work: Work,
    state: WorkState,
    *,
    not_before: float = 0,
    first_failed_at: float | None = None,
    fault: str = "",
) -> None:
    """Move a claimed piece to another state. Raises ``StoreError`` for a move outside the table, or of a piece lost."""
    if state not in WORK_MOVES[WorkState.LEASED]:
        raise StoreError(f"work does not go from leased to {state.value}")
    db.execute(_MOVE, (work.id, state.value, work.token, not_before, first_failed_at, fault))
    if db.changes() == 0:
        raise StoreError(f"work {work.id} is held by another")


def reclaim(db: apsw.Connection, kind: WorkKind, lane: str, living: Callable[[str], bool]) -> list[int]:
    """Make the work of processes that ended claimable again; return its subjects."""
    found: list[int] = []
    for (holder,) in db.execute(_HOLDERS, (kind.value, lane)).fetchall():
        if not living(str(holder)):
            found += [int(str(subject)) for (subject,) in db.execute(_RECLAIM, (holder, kind.value, lane)).fetchall()]
    return found


def next_due(db: apsw.Connection, kind: WorkKind, lane: str) -> float | None:
    """When the next ready piece of a lane is due; None when there is none."""
    row = db.execute(_NEXT, (kind.value, lane)).fetchone()
    return None if row is None or row[0] is None else float(row[0])
