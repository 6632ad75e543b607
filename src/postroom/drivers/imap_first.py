"""What a first read over IMAP takes, and the header lines by which messages are known again."""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable, Sequence

from postroom.drivers import First
from postroom.drivers.imap_session import ImapSession, identifier, uid_of
from postroom.model import Listed, Preview
from postroom.settings import FirstRead
from postroom.wire.imap import commands, dates, types

_SAMPLE = 200  # sizes that speak for all
_SET = 500  # messages in a command for header lines
_WINDOW = 4  # of these in flight
_MESSAGE_ID = b"UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"


def utc_day(internal_date: str) -> datetime.date | None:
    """The day (UTC) of a date-time (RFC 9051 section 9); None for what is none."""
    when = dates.read_date_time(internal_date)
    return None if when is None else when.date()


async def preview(session: ImapSession, folder: str, first: First) -> Preview:
    """What a first read would take; a sample of the sizes speaks for all. Raises ``ImapStatus`` and the network's errors."""
    selected = session.selected
    if selected is None or selected.folder != folder:
        selected = await session.select(folder)
    if first is FirstRead.NEW or not selected.exists:
        return Preview(0, 0)
    if first is FirstRead.ALL:
        numbers = range(1, selected.exists + 1)
        return Preview(len(numbers), await _octets(session, commands.fetch, numbers))
    assert isinstance(first, datetime.date)
    uids = list(await session.search(commands.since(first)))
    return Preview(len(uids), await _octets(session, commands.uid_fetch, uids))


async def _octets(session: ImapSession, fetch: Callable[[bytes, bytes], bytes], numbers: Sequence[int]) -> int:
    sample = {numbers[n * len(numbers) // _SAMPLE] for n in range(_SAMPLE)} if len(numbers) > _SAMPLE else set(numbers)
    sizes: list[int] = []
    for some in commands.sequence_sets(sample):
        answers = await session.command(fetch(some, b"RFC822.SIZE"))
        sizes += [answer.size for answer in answers if isinstance(answer, types.Fetch) and answer.size is not None]
    return sum(sizes) * len(numbers) // max(len(sizes), 1)


async def headers(session: ImapSession, listed: Sequence[Listed]) -> dict[str, bytes]:
    """The Message-ID line of each, pipelined. What the server refuses is left out: it is in doubt, and fetched."""
    selected = session.selected
    assert selected is not None
    uids = sorted(uid_of(message.identifier) for message in listed)
    sets = [some for start in range(0, len(uids), _SET) for some in commands.sequence_sets(uids[start : start + _SET])]
    waiting = deque(sets)
    flight: set[str] = set()
    found: dict[str, bytes] = {}
    while waiting or flight:
        while waiting and len(flight) < _WINDOW:
            flight.add(await session.send(commands.uid_fetch(waiting.popleft(), _MESSAGE_ID)))
        response = await session.response()
        if isinstance(response, types.Fetch) and response.uid is not None:
            lines = [value for name, value in response.others.items() if name.startswith("BODY[HEADER") and value is not None]
            found.update((identifier(selected.validity, response.uid), line) for line in lines if isinstance(line, bytes))
        elif isinstance(response, types.StatusResponse) and response.tag:
            flight.discard(response.tag)
    return found
