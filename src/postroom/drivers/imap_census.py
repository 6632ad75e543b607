"""Count an IMAP folder: what the server holds, asked for twice over, because a server may leave messages out of an answer.

The folder is walked downwards by message sequence numbers, so that a piece is bounded however sparse the UIDs are. What is
expunged meanwhile moves numbers down only (RFC 9051 section 7.5.1): a message may come up again, and is passed over, but none
is stepped over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from postroom.drivers.imap_conversation import Selected
from postroom.drivers.imap_session import ImapSession, identifier
from postroom.errors import RemoteProtocolError
from postroom.model import Listed
from postroom.wire.imap import commands, types
from postroom.wire.imap.numbers import Numbers

PIECE = 2000  # messages asked for at once
_AGAIN = 100  # of those that were left out of an answer


async def census(session: ImapSession, selected: Selected, items: bytes) -> AsyncIterator[Sequence[Listed]]:
    """Every message of the selected folder, the newest first. ``items``: what FETCH is to say of each."""
    high, below = selected.exists, 1 << 32
    while (high := min(high, selected.exists)) > 0:
        low = max(1, high - PIECE + 1)
        sequence = b"%d:%d" % (low, high)
        named = _named(await session.searched(sequence), high - low + 1)
        held = _rows(selected.validity, await session.command(commands.fetch(sequence, items)))
        for uids in _pieces(sorted(named - held.keys())):
            for line in commands.sequence_sets(uids):
                held |= _rows(selected.validity, await session.command(commands.uid_fetch(line, items)))
        known = [uid for uid in sorted(named | held.keys(), reverse=True) if uid < below]
        if known:
            below = known[-1]
            yield [held.get(uid) or Listed(identifier(selected.validity, uid), 0, "") for uid in known]
        high = low - 1


def _named(numbers: Numbers | None, most: int) -> set[int]:
    """What SEARCH named. Raises ``RemoteProtocolError`` for more than there can be, which may be more than memory holds."""
    if numbers is None:
        return set()
    if len(numbers) > most:
        raise RemoteProtocolError(f"SEARCH among {most} messages names {len(numbers)}")
    return {uid for low, high in numbers.ranges() for uid in range(low, high + 1)}


def _rows(validity: int, responses: Iterable[types.Response]) -> dict[int, Listed]:
    rows = {}
    for said in responses:
        if isinstance(said, types.Fetch) and said.uid is not None and said.size is not None:
            rows[said.uid] = Listed(identifier(validity, said.uid), said.size, said.internal_date, said.email_id)
    return rows


def _pieces(uids: Sequence[int]) -> list[Sequence[int]]:
    return [uids[start : start + _AGAIN] for start in range(0, len(uids), _AGAIN)]
