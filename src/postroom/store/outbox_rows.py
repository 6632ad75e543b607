"""The queue for lists, and what persons change in it, as functions within one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import apsw

from postroom.errors import Ambiguous, NotFound, StateRefused
from postroom.model import WORK_MOVES, Reference, WorkState
from postroom.outbound import RECIPIENT_MOVES, STATE_WORDS, Handed, LaneCounts, Passage, RecipientRow, RecipientState, SubmissionRow

_NUMBER = "SELECT id, public_id FROM submissions WHERE public_id >= ?1 AND public_id < ?1 || 'g' LIMIT 2"
_ROW = """
SELECT s.public_id, w.lane, s.owner, w.state, w.attempts, w.not_before, w.fault, s.mail_from, s.message_id, s.subject,
       s.length, s.answers, s.created_at, s.send_at,
       (SELECT json_group_array(json_array(r.address, r.state, r.code, r.enhanced, r.words, r.at) ORDER BY r.number)
        FROM recipients r WHERE r.submission = s.id)
FROM submissions s JOIN work w ON w.id = s.work"""
_PASSAGES = "SELECT at, event, address, words FROM passages WHERE submission = ? ORDER BY id"
_REFERENCE = 'SELECT segment, "offset", length, digest FROM submissions WHERE id = ?'
_WORK = "SELECT w.id, w.state, s.public_id FROM submissions s JOIN work w ON w.id = s.work WHERE s.id = ?"
_CLAIMED = "SELECT w.id, w.holder FROM submissions s JOIN work w ON w.id = s.work WHERE s.id = ? AND w.state = 'leased'"
# SQLite uses an index on part of the work only where that part's own condition stands in the question.
_COUNTS = """
SELECT lane, state, count, (SELECT created_at FROM submissions WHERE id = first) FROM (
  SELECT lane, state, count(*) AS count, min(subject) AS first FROM work
  WHERE state IN ('ready', 'leased') AND kind = 'submit' GROUP BY lane, state
  UNION ALL
  SELECT lane, state, count(*), min(subject) FROM work
  WHERE state IN ('waiting', 'dead') AND kind = 'submit' GROUP BY lane, state)"""
# A claim that is taken away has another token, so that whoever held it marks nothing any more.
_MOVE_WORK = "UPDATE work SET state = ?2, not_before = 0, token = token + 1, holder = '', fault = '' WHERE id = ?1"
_FRESH = "UPDATE work SET attempts = 0, first_failed_at = NULL WHERE id = ?"
_LANE = "UPDATE work SET lane = ?2 WHERE id = ?1"
_STATES = "SELECT DISTINCT state FROM recipients WHERE submission = ?"
_MOVE = "UPDATE recipients SET state = ?3, at = ?4 WHERE submission = ?1 AND state = ?2"
_RESOLVE = """
UPDATE recipients SET state = ?2, at = ?3, code = 0, enhanced = '', words = ?5
WHERE submission = ?1 AND state = 'doubt' AND (?4 IS NULL OR address = ?4)"""
_NOTE = "INSERT INTO passages (submission, at, event, address, words) VALUES (?, ?, ?, ?, ?)"

_S = RecipientState

RESOLVED = "resolved by a person"
"""The words of a recipient whose doubt a person ended: what they were is in the history."""


class Asked(NamedTuple):
    """Which submissions."""

    client: str | None = None
    states: tuple[WorkState, ...] = ()  # empty: all
    owner: str | None = None
    address: str | None = None  # of a recipient
    message_id: str | None = None
    before: str | None = None  # older than the submission with this id
    clients: tuple[str, ...] = ()  # of one of these only; empty: of any


def number_of(db: apsw.Connection, public_id: str) -> int:
    """The row of a submission by its id, or by the beginning of it. Raises ``NotFound``, ``Ambiguous``."""
    rows: Any = db.execute(_NUMBER, (public_id.lower(),)).fetchall()
    exact = [row for row in rows if row[1] == public_id.lower()]
    if len(exact or rows) != 1 or not public_id:
        if rows:
            raise Ambiguous(f"more than one submission begins with '{public_id}'")
        raise NotFound(f"no submission begins with '{public_id}'")
    return int((exact or rows)[0][0])


def by_number(db: apsw.Connection, number: int) -> SubmissionRow:
    """A submission."""
    row: Any = db.execute(f"{_ROW} WHERE s.id = ?", (number,)).fetchone()
    return _row(row)


def begun(handed: Handed, public_id: str, now: float, not_before: float) -> SubmissionRow:
    """A submission as it is kept at first."""
    composed = handed.composed
    return SubmissionRow(
        id=public_id,
        client=handed.client,
        owner=handed.owner,
        state=WorkState.READY,
        attempts=0,
        not_before=not_before,
        fault="",
        mail_from=composed.envelope.mail_from,
        message_id=composed.message_id,
        subject=composed.subject,
        size=len(composed.octets),
        answers=handed.answers,
        created_at=now,
        send_at=not_before or now,
        recipients=tuple(RecipientRow(one.address, RecipientState.PENDING, 0, "", "", 0.0) for one in composed.envelope.recipients),
    )


def page(db: apsw.Connection, asked: Asked, limit: int) -> list[SubmissionRow]:
    """So many submissions, the newest first."""
    conditions: list[tuple[str, object]] = [
        ("w.lane = ?", asked.client),
        ("w.lane IN (SELECT value FROM json_each(?))", json.dumps(asked.clients) if asked.clients else None),
        ("w.state IN (SELECT value FROM json_each(?))", json.dumps([s.value for s in asked.states]) if asked.states else None),
        ("s.owner = ?", asked.owner),
        ("EXISTS (SELECT 1 FROM recipients r WHERE r.submission = s.id AND lower(r.address) = lower(?))", asked.address),
        ("s.message_id = ?", asked.message_id),
        ("s.public_id < ?", asked.before),
    ]
    chosen = [(text, value) for text, value in conditions if value is not None]
    where = " AND ".join(text for text, _ in chosen) or "true"
    rows: Any = db.execute(
        f"{_ROW} WHERE {where} ORDER BY s.public_id DESC LIMIT ?",
        (*(value for _, value in chosen), limit),
    ).fetchall()
    return [_row(row) for row in rows]


def passages(db: apsw.Connection, number: int) -> list[Passage]:
    """What happened to a submission."""
    rows: Any = db.execute(_PASSAGES, (number,)).fetchall()
    return [Passage(*row) for row in rows]


def reference(db: apsw.Connection, number: int) -> Reference:
    """Where the octets of a submission are."""
    row: Any = db.execute(_REFERENCE, (number,)).fetchone()
    return Reference(*row)


def counts(db: apsw.Connection) -> dict[str, LaneCounts]:
    """How many submissions of each client stand where."""
    found: dict[str, dict[str, Any]] = {}
    for lane, state, count, oldest in db.execute(_COUNTS).fetchall():
        of_lane = found.setdefault(str(lane), {})
        of_lane[str(state)] = count
        if state == "ready":
            of_lane["oldest"] = oldest
    return {lane: LaneCounts(**of_lane) for lane, of_lane in found.items()}


def abandoned(db: apsw.Connection, number: int, living: Callable[[str], bool]) -> bool:
    """Whether no living process works on a submission; the claim of one that ended is taken away."""
    row: Any = db.execute(_CLAIMED, (number,)).fetchone()
    if row is not None and living(str(row[1])):
        return False
    if row is not None:
        db.execute(_MOVE_WORK, (row[0], WorkState.READY.value))
    return True


def cancel(db: apsw.Connection, number: int, now: float) -> None:
    """Take a submission back. Raises ``StateRefused`` where a server may have it, or nothing is left to take back."""
    work, state, public_id = _work(db, number)
    states = {str(found) for (found,) in db.execute(_STATES, (number,)).fetchall()}
    if _S.SENDING.value in states:
        raise StateRefused("it is just being handed to the server", remedy="Look again in a moment.")
    if _S.DOUBT.value in states:
        raise StateRefused("the server may have accepted it", remedy=f"Resolve the doubt: {_resolving(public_id)}.")
    if state not in (WorkState.READY, WorkState.LEASED, WorkState.WAITING) or _S.PENDING.value not in states:
        raise StateRefused(f"it is {STATE_WORDS[state]}: nothing is left to take back", remedy="Nothing is to be done.")
    if state is WorkState.LEASED:  # claimed, and not begun: the claim is taken away first
        _move_work(db, work, state, WorkState.READY)
        state = WorkState.READY
    _move_work(db, work, state, WorkState.CANCELLED)
    _move(db, number, _S.PENDING, _S.CANCELLED, now)
    db.execute(_NOTE, (number, now, "cancelled", "", ""))


def replay(db: apsw.Connection, number: int, now: float, client: str | None) -> None:
    """Send again what failed, or at once what waits. Raises ``StateRefused``."""
    work, state, public_id = _work(db, number)
    if state is WorkState.WAITING:
        raise StateRefused("it is in doubt: the server may have accepted it", remedy=f"Resolve the doubt: {_resolving(public_id)}.")
    if state not in (WorkState.DEAD, WorkState.READY):
        words = f"it is {STATE_WORDS[state]}, and only what failed or waits to be sent is sent again"
        raise StateRefused(words, remedy=f"See postroom outbox show {public_id}.")
    if state is WorkState.DEAD:
        _move(db, number, _S.FAILED, _S.PENDING, now)
    _move_work(db, work, state, WorkState.READY)
    db.execute(_FRESH, (work,))
    if client is not None:
        db.execute(_LANE, (work, client))
    db.execute(_NOTE, (number, now, "replayed", "", f"by [{client}]" if client else ""))


def resolve(db: apsw.Connection, number: int, now: float, to: RecipientState, address: str | None) -> None:
    """End doubts. Raises ``StateRefused`` where there is none."""
    work, state, public_id = _work(db, number)
    if state is WorkState.LEASED:
        raise StateRefused("it is being worked on", remedy="Look again in a moment.")
    _check_move(_S.DOUBT, to)
    db.execute(_RESOLVE, (number, to.value, now, address, RESOLVED))
    if not db.changes():
        whom = f" about {address}" if address else ""
        raise StateRefused(f"there is no doubt{whom}: it is {STATE_WORDS[state]}", remedy=f"See postroom outbox show {public_id}.")
    db.execute(_NOTE, (number, now, "resolved", address or "", {_S.PENDING: "to be sent again"}.get(to, to.value)))
    # Whoever claims it next finds what is left to do, if only that all is done.
    _move_work(db, work, state, WorkState.READY)


def _work(db: apsw.Connection, number: int) -> tuple[int, WorkState, str]:
    row: Any = db.execute(_WORK, (number,)).fetchone()
    return int(row[0]), WorkState(row[1]), str(row[2])


def _resolving(public_id: str) -> str:
    return f"postroom outbox resolve {public_id} --as sent|resend|failed"


def _move_work(db: apsw.Connection, work: int, before: WorkState, after: WorkState) -> None:
    if after is not before and after not in WORK_MOVES[before]:
        raise StateRefused(f"work does not go from {before.value} to {after.value}")
    db.execute(_MOVE_WORK, (work, after.value))


def _move(db: apsw.Connection, number: int, before: RecipientState, after: RecipientState, now: float) -> None:
    _check_move(before, after)
    db.execute(_MOVE, (number, before.value, after.value, now))


def _check_move(before: RecipientState, after: RecipientState) -> None:
    if after not in RECIPIENT_MOVES[before]:
        raise StateRefused(f"a recipient does not go from {before.value} to {after.value}")


def _row(row: Any) -> SubmissionRow:
    people = [RecipientRow(a, RecipientState(s), c, e, w, at) for a, s, c, e, w, at in json.loads(row[14])]
    return SubmissionRow(*[*row[:3], WorkState(row[3]), *row[4:14], tuple(people)])
