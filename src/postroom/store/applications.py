"""Who gets messages: applications begin, are absent for a while, get messages of before. Deliveries are made here.

A message becomes an application's in the transaction that ends its processing; ``deliver`` is its part. What an application
could not get then, since it is new or was not in the configuration, comes by a fill: a walk over messages in pages, each one
transaction that also moves the fill on, so that a stop anywhere loses nothing and hands nothing over twice.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import apsw

from postroom.clock import Clock
from postroom.errors import NotFound
from postroom.model import Copy, Reference, Work
from postroom.store.database import Database

_PAGE = 500

# value ->> n: application, message, number of the copy; then work and token, where processing makes the delivery
_HELD = "EXISTS (SELECT 1 FROM work w WHERE w.id = value ->> 3 AND w.token = value ->> 4 AND w.state = 'leased')"
# Whose a message is, is read in the transaction: another system may have it by now. One that is not processed waits for that.
_FILLED = """
m.id NOT IN (SELECT subject FROM work WHERE state IN ('ready', 'leased') AND kind = 'process')
  AND (?2 OR NOT EXISTS (SELECT 1 FROM work w WHERE w.kind = 'deliver' AND w.subject = m.id AND w.lane = a.section))"""
_DELIVER = """
INSERT INTO work (kind, lane, subject, copy)
SELECT 'deliver', a.section, m.id, coalesce(c.id, 0)
FROM json_each(?1) CROSS JOIN applications a ON a.section = value ->> 0
CROSS JOIN messages m ON m.id = value ->> 1 AND m.handled = ''
LEFT JOIN copies c ON c.message = m.id AND c.number = value ->> 2
WHERE (value ->> 2 IS NULL OR c.id IS NOT NULL) AND {condition} ON CONFLICT DO NOTHING"""
# What is dead is handed over again as itself.
_REVIVE = """
UPDATE OR IGNORE work SET state = 'ready', attempts = 0, first_failed_at = NULL, not_before = 0, fault = ''
FROM json_each(?1)
WHERE work.kind = 'deliver' AND work.lane = value ->> 0 AND work.subject = value ->> 1 AND work.state = 'dead'"""
_MISSED = """
UPDATE applications SET missed = ?2
WHERE section NOT IN (SELECT value FROM json_each(?1)) AND (missed IS NULL OR missed > ?2)"""

_ROWS = "SELECT section, begun_at, missed IS NOT NULL FROM applications ORDER BY section"
_NEW = "INSERT INTO applications (section, begun_at) VALUES (?, ?) ON CONFLICT DO NOTHING"
_BACK = "SELECT missed FROM applications WHERE section = ? AND missed IS NOT NULL"
_LAST = "SELECT coalesce(max(id), 0) FROM messages"
_FILL = "INSERT INTO fills (application, after, last, since, again) SELECT ?1, ?2, last, ?3, ?4 FROM (SELECT ({last}) AS last)"
_FILLING = "SELECT application FROM fills GROUP BY application ORDER BY min(id)"
_NEXT_FILL = "SELECT id, application, after, last, since, again FROM fills WHERE application = ? ORDER BY id LIMIT 1"
_MESSAGES = """
SELECT m.id, m.received >= ?3 AND m.handled = '', m.client, r.folder, m.address, m.segment, m."offset", m.length, m.digest,
       (SELECT json_group_array(json_array(c.public_id, c.recipient) ORDER BY c.number) FROM copies c WHERE c.message = m.id)
FROM messages m JOIN receipts r ON r.id = m.id WHERE m.id > ?1 AND m.id <= ?2 ORDER BY m.id LIMIT ?4"""
_ORIGINS = """
SELECT m.id, m.handled = '', m.client, r.folder, m.address, m.segment, m."offset", m.length, m.digest, '[]'
FROM json_each(?) CROSS JOIN messages m ON m.id = value JOIN receipts r ON r.id = m.id"""
_FORGET = "UPDATE work SET state = 'cancelled', holder = '' WHERE kind = 'deliver' AND lane = ? AND state IN {states}"


class Offered(NamedTuple):
    """A message as applications choose by it."""

    message: int
    ours: bool  # False: another system has it
    client: str  # section that captured it
    folder: str
    address: str  # that the mailbox served
    reference: Reference
    copies: tuple[Copy, ...] = ()


class Chosen(NamedTuple):
    """A message, or a copy of it, that an application wants."""

    application: str  # section
    message: int
    copy: int | None = None  # its number among the message's copies
    work: Work | None = None  # the processing that ends with it


class Fill(NamedTuple):
    """Messages of before that are to be handed to an application."""

    id: int
    application: str
    after: int
    last: int
    since: float
    again: bool


class Row(NamedTuple):
    """An application that was ever in the configuration."""

    section: str
    begun_at: float
    absent: bool  # messages were processed since it was last in the configuration


class Applications:
    """The verbs."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    async def begin(self, known: Mapping[str, float | None]) -> None:
        """These are in the configuration. New ones begin; those that were absent are to get what came meanwhile.

        ``known`` says from when on messages of before are a new one's too; None for none of them. May be repeated.
        """
        now = self._clock.now()
        await self._db.run(lambda db: _begin(db, known, now))

    async def rows(self) -> list[Row]:
        """All of them."""
        return await self._db.run(lambda db: [Row(str(s), float(b), bool(m)) for s, b, m in _all(db, _ROWS)], writes=False)

    async def offered(self, messages: Sequence[int]) -> dict[int, Offered]:
        """These messages as applications choose by them, without their copies."""
        rows = json.dumps(list(messages))
        return await self._db.run(lambda db: {row[0]: _offered(row) for row in _all(db, _ORIGINS, rows)}, writes=False)

    async def replay(self, section: str, since: float) -> None:
        """What was captured from then on is to be handed over again, whatever became of it. Raises ``NotFound``."""

        def job(db: apsw.Connection) -> None:
            if db.execute("SELECT 1 FROM applications WHERE section = ?", (section,)).fetchone() is None:
                raise NotFound(f"{section} has not begun yet", remedy="The service begins it, or postroom run --once.")
            db.execute(_FILL.format(last=_LAST), (section, 0, since, 1))

        await self._db.run(job)

    async def filling(self) -> list[str]:
        """The applications that are still to get messages of before, those first that have waited longest."""
        return await self._db.run(lambda db: [str(section) for (section,) in _all(db, _FILLING)], writes=False)

    async def page(self, section: str) -> tuple[Fill, list[Offered]] | None:
        """The application's next fill, and the messages that it comes to next; None when nothing is left."""
        return await self._db.run(lambda db: _page(db, section), writes=False)

    async def fill(self, fill: Fill, page: Sequence[Offered], chosen: Sequence[Chosen]) -> int:
        """Hand a page's chosen over and move the fill on, unless another did; return how many wait more than before."""
        return await self._db.run(lambda db: _fill(db, fill, page, chosen))

    async def forget(self, section: str) -> int:
        """As if it had never been: nothing waits for it any more. Return how many did."""

        def job(db: apsw.Connection) -> int:
            count = 0
            for states in ("('ready', 'leased')", "('waiting', 'dead')"):  # each as its index has it
                db.execute(_FORGET.format(states=states), (section,))
                count += db.changes()
            db.execute("DELETE FROM fills WHERE application = ?", (section,))
            db.execute("DELETE FROM applications WHERE section = ?", (section,))
            return count

        return await self._db.run(job)


def deliver(db: apsw.Connection, chosen: Sequence[Chosen], known: Collection[str], messages: Sequence[int]) -> None:
    """With the end of their processing messages become those applications' that chose them.

    ``known`` were asked; for all others it is written down that they were not.
    """
    rows = [[c.application, c.message, c.copy, c.work.id, c.work.token] for c in chosen if c.work is not None]
    if rows:
        db.execute(_DELIVER.format(condition=_HELD), (json.dumps(rows),))
    if messages:
        db.execute(_MISSED, (json.dumps(list(known)), min(messages) - 1))


def _all(db: apsw.Connection, statement: str, *values: Any) -> Any:
    return db.execute(statement, values).fetchall()


def _begin(db: apsw.Connection, known: Mapping[str, float | None], now: float) -> None:
    for section, since in known.items():
        db.execute(_NEW, (section, now))
        if db.changes():
            if since is not None:
                db.execute(_FILL.format(last=_LAST), (section, 0, since, 0))
        elif (missed := db.execute(_BACK, (section,)).fetchone()) is not None:
            db.execute(_FILL.format(last=_LAST), (section, missed[0], 0.0, 0))
            db.execute("UPDATE applications SET missed = NULL WHERE section = ?", (section,))


def _offered(row: Any) -> Offered:
    copies = tuple(Copy(*pair) for pair in json.loads(row[9]))
    return Offered(row[0], bool(row[1]), row[2], row[3], row[4], Reference(*row[5:9]), copies)


def _page(db: apsw.Connection, section: str) -> tuple[Fill, list[Offered]] | None:
    row: Any = db.execute(_NEXT_FILL, (section,)).fetchone()
    if row is None:
        return None
    fill = Fill(*row)._replace(again=bool(row[5]))
    return fill, [_offered(row) for row in _all(db, _MESSAGES, fill.after, fill.last, fill.since, _PAGE)]


def _fill(db: apsw.Connection, fill: Fill, page: Sequence[Offered], chosen: Sequence[Chosen]) -> int:
    if len(page) < _PAGE:
        db.execute("DELETE FROM fills WHERE id = ? AND after = ?", (fill.id, fill.after))
    else:
        db.execute("UPDATE fills SET after = ? WHERE id = ? AND after = ?", (page[-1].message, fill.id, fill.after))
    if not db.changes():  # another process was faster
        return 0
    rows = json.dumps([[c.application, c.message, c.copy] for c in chosen])
    count = 0
    if fill.again:
        db.execute(_REVIVE, (rows,))
        count += db.changes()
    db.execute(_DELIVER.format(condition=_FILLED), (rows, int(fill.again)))
    return count + db.changes()
