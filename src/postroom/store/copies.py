"""Copies of messages for their recipients, as functions within one transaction. A copy is a row: the octets are the message's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from postroom.model import Addressing, Copy, Facts, Work

_ADDRESSING = """
SELECT m.id, m.address, m.copy_header, m.copy_limit FROM json_each(?) CROSS JOIN messages m ON m.id = value
WHERE m.copy_header <> ''"""
# Only whoever holds the work now makes copies; and a copy that is there is not made again.
_HELD = "EXISTS (SELECT 1 FROM work WHERE work.id = value ->> 0 AND work.token = value ->> 1 AND work.state = 'leased')"
_MAKE = f"""
INSERT INTO copies (message, number, recipient, folded, public_id)
SELECT value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 FROM json_each(?) WHERE {_HELD} ON CONFLICT DO NOTHING
"""  # noqa: S608 - a constant
_LEFT_OUT = f"UPDATE messages SET left_out = value ->> 3 FROM json_each(?) WHERE messages.id = value ->> 2 AND {_HELD}"  # noqa: S608

OF_MESSAGE = """
(SELECT json_group_array(json_array(c.public_id, c.recipient) ORDER BY c.number) FROM copies c WHERE c.message = m.id)"""
"""The copies of message ``m`` as JSON, for a list of messages."""

BY_ID = "SELECT message, public_id, recipient FROM copies WHERE public_id >= ?1 AND public_id < ?1 || 'g' LIMIT 2"


def addressing(db: apsw.Connection, messages: Sequence[int]) -> dict[int, Addressing]:
    """Those of the messages that copies are made of."""
    rows: Any = db.execute(_ADDRESSING, (json.dumps(list(messages)),))
    return {row[0]: Addressing(*row[1:]) for row in rows}


def wanted(done: Iterable[tuple[Work, Facts]]) -> int:
    """How many public ids ``make`` takes."""
    return sum(len(facts.copies) for _, facts in done)


def make(db: apsw.Connection, done: Sequence[tuple[Work, Facts]], ids: Sequence[str]) -> None:
    """Make the copies that processing found, and record who is left out."""
    names = iter(ids)
    rows = [
        [work.id, work.token, work.subject, number, recipient, recipient.casefold(), next(names)]
        for work, facts in done
        for number, recipient in enumerate(facts.copies)
    ]
    left = [[work.id, work.token, work.subject, json.dumps(facts.left_out)] for work, facts in done if facts.left_out]
    if rows:
        db.execute(_MAKE, (json.dumps(rows),))
    if left:
        db.execute(_LEFT_OUT, (json.dumps(left),))


def read(text: str) -> tuple[Copy, ...]:
    """What ``OF_MESSAGE`` gave."""
    return tuple(Copy(*pair) for pair in json.loads(text))
