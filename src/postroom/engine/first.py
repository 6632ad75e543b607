"""What ``first-read`` means for a folder. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping

from postroom.drivers import First
from postroom.mime.examine import examine, message_id_of
from postroom.model import Position
from postroom.settings import FirstRead, PopClient

_RECEIVED = re.compile(rb"^received[ \t]*:((?:[^\r\n]|\r?\n[ \t])*)", re.IGNORECASE | re.MULTILINE)


def first_of(position: Position, client: PopClient) -> First:
    """What of a folder's messages is to be read when it is listed from nothing.

    The setting acts on a folder that was never read. After a reset what was spared is met again by its receipt, and all else
    is read. Where a first read was interrupted so early that all is listed again, or by a reset, it is begun anew as it was
    chosen then; ``new`` has become the day on which it began, because what came between is not to be left out.
    """
    begun = position.first
    if begun is None:
        return client.first_read if position.epoch == 1 and not position.state else FirstRead.ALL
    if begun.ended_at is not None:
        return FirstRead.ALL
    if begun.choice == FirstRead.NEW.value:
        return datetime.datetime.fromtimestamp(begun.begun_at, datetime.UTC).date()
    return FirstRead.ALL if begun.choice == FirstRead.ALL.value else datetime.date.fromisoformat(begun.choice)


def words_of(first: First) -> str:
    """As it is written in the configuration."""
    return first.value if isinstance(first, FirstRead) else first.isoformat()


def ids_of(headers: Mapping[str, bytes]) -> dict[str, str]:
    """Message-IDs by identifier, read as those of captured messages are."""
    return {identifier: message_id_of(header) for identifier, header in headers.items()}


def arrived_before(header: bytes, day: datetime.date) -> bool:
    """Whether the server got a message before a day (UTC), by its topmost trace field (RFC 5321 section 4.4), else by its Date.

    False for one that does not tell: it is read.
    """
    from email.utils import parsedate_to_datetime

    received = _RECEIVED.search(header)
    words = received[1].rpartition(b";")[2].decode("ascii", "replace") if received else examine(header).date
    try:
        when = parsedate_to_datetime(" ".join(words.split()))
        # "-0000" and no zone at all: the time is UTC (RFC 5322 section 3.3)
        when = when if when.tzinfo else when.replace(tzinfo=datetime.UTC)
        return when.astimezone(datetime.UTC).date() < day
    except (ValueError, OverflowError):
        return False


def seconds_left(left: int, rate: float) -> float | None:
    """How long a first read goes on; None while that cannot be told."""
    return left / rate if rate > 0 else None
