"""What is agreed with a server right behind the login: who we are, which extensions are on, whether octets are deflated.

QRESYNC (RFC 7162) is not asked for. It tells which of the messages that a client keeps a copy of have vanished or changed
their flags; Postroom keeps none in step. Whether a message that it is in trouble with or has not settled is still there, the
FETCH says that it needs anyway, and of the thousand others it wants no list. HIGHESTMODSEQ, which an unchanged folder is
known by, comes with SELECT (CONDSTORE) and STATUS. VANISHED is understood where a server sends it all the same.
"""

from __future__ import annotations

from postroom import __version__
from postroom.drivers.imap_conversation import Conversation
from postroom.errors import ImapStatus
from postroom.wire.imap import commands
from postroom.wire.imap.quirks import Quirk

OURSELVES = {"name": "Postroom", "version": __version__}
"""What the server hears of us (RFC 2971 section 3.3): no host and no user."""


async def introduce(talk: Conversation) -> None:
    """Agree on what the server announces. What it refuses after all is done without."""
    lines = []
    if "ID" in talk.capabilities or Quirk.ID_BEFORE_SELECT in talk.quirks:
        lines.append(commands.identification(OURSELVES))
    if wanted := _wanted(talk.capabilities):
        lines.append(commands.enable(wanted))
    for tag in [await talk.send(line) for line in lines]:  # one round trip for both
        await _agreed(talk, tag)
    # Nothing else may be in flight (RFC 4978 section 3). TLS never deflates here: Python's contexts forbid it.
    wants = talk.place.compress and "COMPRESS=DEFLATE" in talk.capabilities
    if wants and await _agreed(talk, await talk.send(b"COMPRESS DEFLATE")):
        talk.stream.start_deflate(talk.fragments.take())


def _wanted(capabilities: frozenset[str]) -> list[str]:
    """What to ENABLE (RFC 5161). A server of IMAP4rev2 alone speaks it without being asked (RFC 9051 section 6.3.1)."""
    if not capabilities & {"ENABLE", "IMAP4REV2"}:
        return []
    wanted = []
    if capabilities >= {"IMAP4REV1", "IMAP4REV2"}:
        wanted.append("IMAP4rev2")
    if capabilities & {"UTF8=ACCEPT", "UTF8=ONLY"}:  # RFC 9755 sections 3 and 6; messages with UTF-8 in the header come unchanged
        wanted.append("UTF8=ACCEPT")
    return wanted


async def _agreed(talk: Conversation, tag: str) -> bool:
    try:
        await talk.finish(tag)
    except ImapStatus:
        return False
    return True
