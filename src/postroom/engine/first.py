"""What ``first-read`` means for a folder. Pure."""

from __future__ import annotations

import datetime

from postroom.drivers import First
from postroom.model import Position
from postroom.settings import FirstRead, PopClient


def first_of(position: Position, client: PopClient) -> First:
    """What of a folder's messages is to be read when it is listed from nothing.

    The setting acts on a folder that was never read. After a reset what was spared is met again by its receipt, and all else
    is read. A reset in the middle of a first read begins that anew, as it was chosen then; ``new`` has become the day on
    which it began, because what came between is not to be left out.
    """
    if position.state is None and position.epoch == 1:
        return client.first_read
    begun = position.first
    if begun is None or begun.ended_at is not None:
        return FirstRead.ALL
    if begun.choice == FirstRead.NEW.value:
        return datetime.datetime.fromtimestamp(begun.begun_at, datetime.UTC).date()
    return FirstRead.ALL if begun.choice == FirstRead.ALL.value else datetime.date.fromisoformat(begun.choice)


def words_of(first: First) -> str:
    """As it is written in the configuration."""
    return first.value if isinstance(first, FirstRead) else first.isoformat()


def seconds_left(left: int, rate: float) -> float | None:
    """How long a first read goes on; None while that cannot be told."""
    return left / rate if rate > 0 else None
