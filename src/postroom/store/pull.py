"""Messages handed out by lease. Each verb is one transaction; what it says is durable when it returns.

A delivery is a piece of work: ``lane`` is its application, ``not_before`` the time until which it is not handed out: because it was
refused for now, or because somebody's lease runs until then. A lease that has run out stays its holder's until another takes
the message; from then on its token is stale and changes nothing.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import apsw

from postroom.clock import Clock
from postroom.model import Copy, MessageRow, Reference
from postroom.store import reading
from postroom.store.database import Database

_FIRST, _LONGEST = 5, 900  # seconds until a refused message is handed out again, twice as long each time, unless the refusal says

_RUN_OUT = """
UPDATE work SET state = 'dead', holder = '', first_failed_at = coalesce(first_failed_at, ?2), not_before = 0,
                fault = 'its lease ran out at attempt ' || attempts
WHERE state IN ('ready', 'leased') AND state = 'leased' AND kind = 'deliver' AND lane = ?1 AND not_before <= ?2 AND attempts >= ?3
RETURNING subject, fault"""
_DUE = """
FROM work INDEXED BY deliveries_open
WHERE kind = 'deliver' AND state IN ('ready', 'leased') AND lane = ?1 AND not_before <= ?2"""
# What a lease that ran out has is claimed in one step: given back and taken again.
_LEASE = f"""
UPDATE work SET state = 'leased', holder = ?4, token = token + 1, attempts = attempts + 1, not_before = ?5,
  first_failed_at = CASE WHEN state = 'leased' THEN coalesce(first_failed_at, ?2) ELSE first_failed_at END,
  fault = CASE WHEN state = 'leased' THEN 'its lease ran out at attempt ' || attempts ELSE fault END
WHERE id IN (SELECT id {_DUE} ORDER BY subject, copy LIMIT ?3)
RETURNING id, subject, copy, token, attempts, fault"""  # noqa: S608 - constants
_COPIES = "SELECT c.id, c.public_id, c.recipient FROM json_each(?) CROSS JOIN copies c ON c.id = value"

# value ->> n: work, token
_MINE = "work.id = value ->> 0 AND work.token = value ->> 1 AND work.kind = 'deliver' AND work.lane = ?2"
_ACKNOWLEDGE = f"UPDATE work SET state = 'done', holder = '', fault = '' FROM json_each(?1) WHERE {_MINE} AND state = 'leased'"  # noqa: S608
_REFUSE = f"""
UPDATE work SET state = CASE WHEN ?5 OR attempts >= ?6 THEN 'dead' ELSE 'ready' END, holder = '', fault = ?4,
  first_failed_at = coalesce(first_failed_at, ?3),
  not_before = ?3 + coalesce(?7, min({_FIRST} << min(attempts - 1, 10), {_LONGEST}))
FROM json_each(?1) WHERE {_MINE} AND state = 'leased'"""  # noqa: S608
_EXTEND = f"UPDATE work SET not_before = ?3 FROM json_each(?1) WHERE {_MINE} AND state = 'leased'"  # noqa: S608
_RELEASE = f"""
UPDATE work SET state = 'ready', holder = '', attempts = attempts - 1, not_before = 0
FROM json_each(?1) WHERE {_MINE} AND state = 'leased'"""  # noqa: S608
_STATES = f"SELECT key, work.state, work.subject FROM json_each(?1) CROSS JOIN work ON {_MINE}"  # noqa: S608

_OPEN = """
SELECT lane, sum(not_before <= ?1), sum(state = 'ready' AND not_before > ?1), sum(state = 'leased' AND not_before > ?1),
       min(subject)
FROM work INDEXED BY deliveries_open WHERE kind = 'deliver' AND state IN ('ready', 'leased') GROUP BY lane"""
_DEAD_COUNTS = (
    "SELECT lane, count(*) FROM work WHERE state IN ('waiting', 'dead') AND state = 'dead' AND kind = 'deliver' GROUP BY lane"
)
_RECEIVED = "SELECT received FROM messages WHERE id = ?"
_NEXT = "SELECT min(not_before) FROM work WHERE kind = 'deliver' AND state IN ('ready', 'leased') AND lane = ?"
_DEAD = """
SELECT m.public_id, c.public_id, m.client, m.subject, m.sender, w.attempts, w.first_failed_at, w.fault
FROM work w JOIN messages m ON m.id = w.subject LEFT JOIN copies c ON c.id = w.copy
WHERE w.state IN ('waiting', 'dead') AND w.state = 'dead' AND w.kind = 'deliver' AND w.lane = ? ORDER BY w.id LIMIT ?"""
_REVIVE = """
UPDATE OR IGNORE work SET state = 'ready', attempts = 0, first_failed_at = NULL, not_before = 0, fault = ''
WHERE state IN ('waiting', 'dead') AND state = 'dead' AND kind = 'deliver' AND lane = ?"""


class Leased(NamedTuple):
    """A message in somebody's hands."""

    token: str  # tells this lease from all others
    attempts: int  # this one included
    until: float  # when the lease runs out
    fault: str  # why it was not acknowledged the last time
    row: MessageRow
    reference: Reference


class Verdict(enum.Enum):
    """What came of a token."""

    TAKEN = "done"
    DEAD = "dead"  # refused for good, or for the last time
    STALE = "stale"  # the lease is another's by now, or was ended before, or never was; nothing was changed


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for an application."""

    waiting: int = 0  # may be leased now
    deferred: int = 0  # refused for now
    leased: int = 0
    dead: int = 0
    oldest: float | None = None  # when the oldest of the first three was captured


class DeadLetter(NamedTuple):
    """A message that was handed out too often, or refused for good."""

    id: str  # public, of the message or the copy
    client: str
    subject: str
    sender: str
    attempts: int
    first_failed_at: float | None
    reason: str


class Pull:
    """The verbs. ``section`` is the application's, in lower case."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    async def due(self, section: str) -> bool:
        """Whether a message may be leased now."""
        now = self._clock.now()
        return await self._db.run(lambda db: bool(db.execute(f"SELECT EXISTS (SELECT 1 {_DUE})", (section, now)).get), writes=False)

    async def next_due(self, section: str) -> float | None:
        """When the next may be leased, unless others come."""
        found = await self._db.run(lambda db: db.execute(_NEXT, (section,)).get, writes=False)
        return None if found is None else float(str(found))

    async def lease(
        self, section: str, consumer: str, limit: int, seconds: float, most: int
    ) -> tuple[list[Leased], list[tuple[int, str]]]:
        """Hand out up to so many messages for so long, the oldest first; to nobody else meanwhile.

        Also the messages (numbers, reasons) that are dead now, since their lease ran out at attempt ``most``.
        """
        now = self._clock.now()
        return await self._db.run(lambda db: _lease(db, section, consumer, limit, now, now + seconds, most))

    async def acknowledge(self, section: str, tokens: Sequence[str]) -> list[Verdict]:
        """These are done, and handed out never again. May be repeated: a token counts as taken then too."""
        return await self._db.run(lambda db: _end(db, _ACKNOWLEDGE, section, tokens, (), {"done": Verdict.TAKEN}))

    async def refuse(
        self, section: str, tokens: Sequence[str], reason: str, *, most: int, retry_after: float | None = None, dead: bool = False
    ) -> list[Verdict]:
        """These are not done: hand them out again, after so many seconds; or, with ``dead`` or at attempt ``most``, lay them aside.

        Without ``retry_after`` it is 5 seconds after the first attempt, and twice as long each time, up to a quarter of an hour.
        May be repeated.
        """
        values = (self._clock.now(), reason, int(dead), most, retry_after)
        said = {"ready": Verdict.TAKEN, "dead": Verdict.DEAD}
        return await self._db.run(lambda db: _end(db, _REFUSE, section, tokens, values, said))

    async def extend(self, section: str, tokens: Sequence[str], seconds: float) -> list[Verdict]:
        """These leases run for so long from now on."""
        until = self._clock.now() + seconds
        return await self._db.run(lambda db: _end(db, _EXTEND, section, tokens, (until,), {"leased": Verdict.TAKEN}))

    async def release(self, section: str, tokens: Sequence[str]) -> None:
        """These never reached who leased them: the attempt does not count."""
        await self._db.run(lambda db: _end(db, _RELEASE, section, tokens, (), {}))

    async def backlogs(self) -> dict[str, Backlog]:
        """What waits for each application, whether or not it is configured."""
        now = self._clock.now()
        return await self._db.run(lambda db: _backlogs(db, now), writes=False)

    async def dead(self, section: str, limit: int) -> list[DeadLetter]:
        """What is laid aside, the longest first."""

        def job(db: apsw.Connection) -> list[DeadLetter]:
            rows: Any = db.execute(_DEAD, (section, limit)).fetchall()
            return [DeadLetter(row[1] or row[0], *row[2:]) for row in rows]

        return await self._db.run(job, writes=False)

    async def revive(self, section: str) -> int:
        """Hand out anew what is laid aside; return how many."""

        def job(db: apsw.Connection) -> int:
            db.execute(_REVIVE, (section,))
            return db.changes()

        return await self._db.run(job)


def _lease(
    db: apsw.Connection, section: str, consumer: str, limit: int, now: float, until: float, most: int
) -> tuple[list[Leased], list[tuple[int, str]]]:
    died: Any = db.execute(_RUN_OUT, (section, now, most)).fetchall()
    rows: Any = sorted(db.execute(_LEASE, (section, now, limit, consumer, until)).fetchall(), key=lambda row: row[1:3])
    messages = reading.by_number(db, sorted({row[1] for row in rows}))
    numbers = json.dumps([row[2] for row in rows if row[2]])
    found: Any = db.execute(_COPIES, (numbers,))
    copies = {row[0]: Copy(row[1], row[2]) for row in found}
    items = []
    for id_, message, copy, token, attempts, fault in rows:
        row, reference = messages[message]
        items.append(Leased(f"{id_}-{token}", attempts, until, fault, replace(row, copy=copies.get(copy)), reference))
    return items, died


def _end(
    db: apsw.Connection, statement: str, section: str, tokens: Sequence[str], values: tuple[Any, ...], said: dict[str, Verdict]
) -> list[Verdict]:
    """Carry a statement out for these tokens; say of each whether its delivery stands as it should."""
    rows = json.dumps([_parts(token) for token in tokens])
    db.execute(statement, (rows, section, *values))
    found: Any = db.execute(_STATES, (rows, section)).fetchall()
    states = {key: state for key, state, _ in found}
    return [said.get(states.get(key, ""), Verdict.STALE) for key in range(len(tokens))]


def _parts(token: str) -> tuple[int, int]:
    """Work and claim; of what is no token, those of none."""
    work, _, claim = token.partition("-")
    if len(token) <= 38 and work.isdecimal() and claim.isdecimal() and token.isascii():
        return int(work), int(claim)
    return 0, 0


def _backlogs(db: apsw.Connection, now: float) -> dict[str, Backlog]:
    dead: Any = dict(db.execute(_DEAD_COUNTS).fetchall())  # type: ignore[arg-type]
    found = {lane: Backlog(dead=count) for lane, count in dead.items()}
    rows: Any = db.execute(_OPEN, (now,)).fetchall()
    for lane, waiting, deferred, leased, oldest in rows:
        received: Any = db.execute(_RECEIVED, (oldest,)).get
        found[lane] = Backlog(waiting, deferred, leased, dead.get(lane, 0), received)
    return found
