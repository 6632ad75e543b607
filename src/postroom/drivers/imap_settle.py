"""Settle messages over IMAP: mark them seen, delete or move them.

Before anything is destroyed, size and date of what the server holds under the number are compared with what was captured:
a server restored from a backup hands out numbers again. What was listed in this very conversation is known to be the same,
for a UID does not change its message while a folder is open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from postroom.drivers import Settlement
from postroom.drivers.imap_session import ImapSession, uid_of
from postroom.errors import ImapStatus
from postroom.model import Disposition, Listed, Unsettled
from postroom.wire.imap import commands, types

_LEFT_FLAGGED = "the server has no UIDPLUS and other messages are, or may be, marked \\Deleted too: ours wait for an EXPUNGE"


async def settle(session: ImapSession, items: Sequence[Unsettled], target: str | None, listed: Mapping[str, Listed]) -> Settlement:
    """Do what each disposition says. Raises ``ImapStatus`` and the network's errors; then what was done is done again."""
    selected = session.selected
    assert selected is not None
    mine = [item for item in items if item.listed.identifier.startswith(f"{selected.validity}/")]
    unproved = [item for item in mine if listed.get(item.listed.identifier) != item.listed]
    foreign = await _foreign(session, unproved)
    remarks: list[str] = []
    committed: list[str] = []
    for disposition in (Disposition.SEEN, Disposition.MOVE, Disposition.DELETE):
        group = [i for i in mine if i.disposition is disposition and i.listed.identifier not in foreign]
        for uids in commands.sequence_sets(_uid(item) for item in group):
            if disposition is Disposition.SEEN:
                await session.command(commands.uid_store(uids, b"\\Seen"))
            elif disposition is Disposition.DELETE:
                remarks += await _delete(session, uids, {_uid(item) for item in group})
            elif target is not None:
                remarks += await _move(session, uids, target, {_uid(item) for item in group})
        if group and (disposition is not Disposition.MOVE or target is not None):
            committed += [item.listed.identifier for item in group]
    return Settlement(tuple(committed), tuple(foreign), tuple(dict.fromkeys(remarks)))


def _uid(item: Unsettled) -> int:
    return uid_of(item.listed.identifier)


async def _foreign(session: ImapSession, items: Sequence[Unsettled]) -> set[str]:
    """Those under whose number the server holds another message, or none."""
    held: dict[int, tuple[int | None, str]] = {}
    for uids in commands.sequence_sets(_uid(item) for item in items):
        for response in await session.command(commands.uid_fetch(uids, b"UID RFC822.SIZE INTERNALDATE")):
            if isinstance(response, types.Fetch) and response.uid is not None and response.size is not None:
                held[response.uid] = (response.size, response.internal_date)
    return {item.listed.identifier for item in items if held.get(_uid(item)) != (item.listed.size, item.listed.internal_date)}


async def _delete(session: ImapSession, uids: bytes, ours: set[int]) -> list[str]:
    """\\Deleted and UID EXPUNGE (RFC 4315 section 2.1); without it EXPUNGE only where it takes nothing of others."""
    await session.command(commands.uid_store(uids, b"\\Deleted"))
    if session.knows("UIDPLUS"):
        await session.command(commands.uid_expunge(uids))
        return []
    async for deleted in session.search_stretches(b"DELETED"):
        if deleted is None or not all(uid in ours for uid in deleted):  # no answer to read is no yes
            return [_LEFT_FLAGGED]
    await session.command(b"EXPUNGE")
    return []


async def _move(session: ImapSession, uids: bytes, target: str, ours: set[int]) -> list[str]:
    """UID MOVE (RFC 6851); else COPY, which a server carries out whole or not at all (RFC 9051 section 6.4.7), then delete."""
    if session.knows("MOVE"):
        return await _into(session, commands.uid_move, uids, target)
    remarks = await _into(session, commands.uid_copy, uids, target)
    return remarks + await _delete(session, uids, ours)


async def _into(session: ImapSession, line: Callable[[bytes, bytes], bytes], uids: bytes, target: str) -> list[str]:
    """Carry a command out; find or make its target first where the server knows none of that name (TRYCREATE)."""
    folders = session.folders
    try:
        await session.command(line(uids, await folders.name(target)))
    except ImapStatus as refused:
        await session.command(line(uids, await folders.made(target, refused)))
    return [folders.remarks[target]] if target in folders.remarks else []
