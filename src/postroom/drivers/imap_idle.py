"""IDLE (RFC 2177): hear of news at once, for as long as the way to the server lets a connection be silent.

Silence proves nothing: a connection that died without a word looks the same. So IDLE ends by itself after some minutes with
DONE, and the server's answer to it is the proof that all was well; where none comes within ``protocol-timeout``, the
conversation is lost and made anew. How long IDLE may last is learned from where it was cut.
"""

from __future__ import annotations

from postroom.clock import Clock
from postroom.drivers.idles import LONGEST, Idles
from postroom.drivers.imap_conversation import Conversation, Selected
from postroom.errors import Lost, SessionEnded, TimedOut
from postroom.wire.imap import types
from postroom.wire.imap.quirks import Quirk


async def idle(talk: Conversation, selected: Selected, seconds: float, clock: Clock, idles: Idles, mailbox: str) -> None:
    """Idle until the server tells of something, or the time is over. Raises ``Lost``, ``TimedOut``.

    Where the server announces IDLE and refuses it, the time passes all the same: the caller's next look is the poll.
    """
    tag = await talk.send(b"IDLE")
    if not await _idling(talk, tag):
        await clock.sleep(seconds)
        return
    talk.fragments.shrink()  # the buffer comes back with the first octet
    minded = Quirk.IDLE_CUT in talk.quirks
    began = clock.monotonic()
    end = began + min(seconds, idles.longest(mailbox) if minded else LONGEST)
    try:
        while not selected.touched and (left := end - clock.monotonic()) > 0:
            if await talk.unsolicited(left) is None:
                break
        await talk.done()
        await talk.finish(tag)
    except (Lost, TimedOut) as error:
        if not isinstance(error, SessionEnded):  # a token's hour is no time-out of anybody's
            idles.cut(mailbox, clock.monotonic() - began)
        raise


async def _idling(talk: Conversation, tag: str) -> bool:
    """True once the server idles with us, False when it refuses."""
    while True:
        response = await talk.response()
        if isinstance(response, types.Continuation):
            return True
        if isinstance(response, types.StatusResponse) and response.tag == tag:
            return False
