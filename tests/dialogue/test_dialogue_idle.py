"""IDLE that ends without a word (P11): found out, learned from, and never taken for quiet."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from fakes import HandClock, ScriptedServer, kit, place
from postroom.drivers import Kit
from postroom.drivers.idles import LONGEST
from postroom.drivers.imap import open_imap
from postroom.drivers.imap_conversation import Conversation
from postroom.errors import Lost, PostroomError, SessionEnded, TimedOut
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret
from postroom.wire.imap.quirks import Quirk

OPEN = """S: * PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello
C: P1 SELECT INBOX
S: * 0 EXISTS
S: * OK [UIDVALIDITY 7] valid
S: * OK [UIDNEXT 1] next
S: P1 OK done
"""
IDLES = OPEN + "C: P2 IDLE\nS: + idling\n"


class Ageing(HandClock):
    """Each look at this clock is so many seconds after the one before."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def monotonic(self) -> float:
        self.advance(self.seconds)
        return super().monotonic()


async def waited(
    server: ScriptedServer, hands: Kit, seconds: float, *, timeout: float = 5.0, over: bool = False
) -> PostroomError | None:
    """What waiting comes to, in a conversation of its own; ``over``: its token's hour has passed."""
    password = PasswordCredentials("user", Secret("pw"), (), "", "pop-client-a")
    try:
        async with open_imap(place(server.port, timeout=timeout), password, hands, None) as reader:
            if over:
                reader._session.login.at, reader._session.login.valid_until = hands.clock.now() - 3600, hands.clock.now()
            await reader.changes("INBOX", None, 100)
            await reader.wait(seconds)
    except PostroomError as error:
        return error
    return None


def longest(server: ScriptedServer, hands: Kit) -> float:
    return hands.idles.longest(f"user at 127.0.0.1:{server.port}")


async def test_p11_a_half_open_connection_is_found_out_by_the_answer_to_done() -> None:
    async with ScriptedServer(IDLES + "C: DONE\n[STALL]") as server:
        assert type(await waited(server, kit(HandClock()), 0.02, timeout=0.05)) is TimedOut


async def test_p11_a_server_that_never_begins_to_idle_is_found_out() -> None:
    async with ScriptedServer(OPEN + "C: P2 IDLE\n[STALL]") as server:
        assert type(await waited(server, kit(HandClock()), 600, timeout=0.05)) is TimedOut


@pytest.mark.parametrize("before", ["C: P1 SELECT INBOX\n", ""], ids=["SELECT", "greeting"])
async def test_p11_there_is_a_deadline_before_idle_too(before: str) -> None:
    script = "S: * PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello\n" * bool(before) + before + "[STALL]"
    async with ScriptedServer(script) as server:
        assert type(await waited(server, kit(HandClock()), 600, timeout=0.05)) is TimedOut


async def test_p11_news_is_looked_for_although_idle_said_nothing() -> None:
    """A server whose IDLE is deaf: the next cycle asks with NOOP, and hears."""
    script = IDLES + "C: DONE\nS: P2 OK\nC: P3 NOOP\nS: * 1 EXISTS\nS: P3 OK\n"
    script += (
        'C: P4 UID FETCH 1:* (UID RFC822.SIZE INTERNALDATE)\nS: * 1 FETCH (UID 1 RFC822.SIZE 9 INTERNALDATE "day")\nS: P4 OK\n'
    )
    password = PasswordCredentials("user", Secret("pw"), (), "", "pop-client-a")
    async with (
        ScriptedServer(script) as server,
        open_imap(place(server.port), password, kit(HandClock()), None) as reader,
    ):
        state = (await reader.changes("INBOX", None, 100)).new_state
        await reader.wait(0.02)
        assert [each.identifier for each in (await reader.changes("INBOX", state, 100)).created] == ["7/1"]


async def test_p11_idle_that_was_cut_twice_at_the_same_age_ends_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third conversation says DONE by itself, a quarter before the age of the cuts."""
    hands = kit(Ageing(150))
    cut, lives = IDLES + "[CLOSE]", IDLES + "S: * OK Still here\nC: DONE\nS: P2 OK\n"
    async with ScriptedServer(cut, cut, lives) as server:
        for _ in range(2):
            assert longest(server, hands) == LONGEST
            assert type(await waited(server, hands, 600)) is Lost
        assert longest(server, hands) == 225
        assert await waited(server, hands, 600) is None
    found = Conversation.quirks.fget
    assert found is not None
    monkeypatch.setattr(Conversation, "quirks", property(lambda talk: found(talk) - {Quirk.IDLE_CUT}))
    hands.idles.cut(f"user at 127.0.0.1:{server.port}", 300)
    async with ScriptedServer(IDLES + "S: * OK Still here\n") as server:
        with pytest.raises(TimeoutError):  # without the cure it goes on idling
            async with asyncio.timeout(0.2):
                await waited(server, hands, 600)


async def test_p11_silence_is_learned_from_too() -> None:
    hands = kit(Ageing(150))
    dead = IDLES + "S: * OK Still here\nS: * OK Still here\nC: DONE\n[STALL]"
    async with ScriptedServer(dead, dead) as server:
        for _ in range(2):
            assert type(await waited(server, hands, 320, timeout=0.5)) is TimedOut
        assert longest(server, hands) < LONGEST


async def test_p11_the_end_of_a_tokens_hour_teaches_nothing() -> None:
    hands = kit(Ageing(150))
    script = IDLES + "S: * BYE Session expired\n[CLOSE]"
    async with ScriptedServer(script, script) as server:
        for _ in range(2):
            assert type(await waited(server, hands, 600, over=True)) is SessionEnded
        assert longest(server, hands) == LONGEST


async def test_p11_the_system_looks_for_a_dead_connection_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address translator that forgets a silent connection hears of it before."""
    made = []
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def watched(*arguments: Any, **named: Any) -> Any:
        made.append(await connect(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(loop, "create_connection", watched)
    async with ScriptedServer(IDLES + "C: DONE\nS: P2 OK\n") as server:
        password = PasswordCredentials("user", Secret("pw"), (), "", "pop-client-a")
        async with open_imap(place(server.port), password, kit(HandClock()), None) as reader:
            ((transport, _),) = made
            kept_alive = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            await reader.changes("INBOX", None, 100)
            await reader.wait(0.02)
    assert kept_alive
