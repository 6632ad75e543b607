"""Headers alone, for messages whose text is not wanted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from postroom.drivers.imap_session import ImapSession, uid_of
from postroom.errors import ImapStatus, RemoteProtocolError
from postroom.model import Absent, Fetched, Listed, Unfetched
from postroom.wire.imap import commands, types
from postroom.wire.imap.fragments import STREAMED


async def fetch_headers(session: ImapSession, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
    """BODY.PEEK[HEADER] (RFC 9051 section 6.4.5.1), one message at a time: such messages are few."""
    for message in listed:
        uid = uid_of(message.identifier)
        try:
            responses = await session.command(commands.uid_fetch(b"%d" % uid, b"UID BODY.PEEK[HEADER]"))
        except ImapStatus as refused:
            yield Unfetched(message.identifier, refused)
            continue
        mine = [r for r in responses if isinstance(r, types.Fetch) and r.header is not None and r.uid in (uid, None)]
        if mine and mine[0].header is STREAMED:
            yield Unfetched(message.identifier, RemoteProtocolError("the header is longer than Postroom holds"))
        elif mine and mine[0].header:
            yield Fetched(message, mine[0].header)
        elif mine:
            yield Unfetched(message.identifier, RemoteProtocolError("the server lists the message and hands over no header"))
        else:
            yield Absent(message.identifier)
