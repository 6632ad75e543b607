"""Searching a folder of any size, at servers with ESEARCH and without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fakes import HandClock, ScriptedServer, kit, place
from postroom.drivers.imap_session import ImapSession
from postroom.errors import ImapStatus, RemoteProtocolError
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret
from postroom.wire.imap.numbers import Numbers


@asynccontextmanager
async def opened(script: str, *, exists: int = 3, extensions: str = "") -> AsyncIterator[ImapSession]:
    """A session with INBOX open, at a server that goes by the script from then on."""
    begin = f"""
    S: * PREAUTH [CAPABILITY IMAP4rev1 {extensions}] hello
    C: P1 SELECT INBOX
    S: * {exists} EXISTS
    S: * OK [UIDVALIDITY 7] valid
    S: P1 OK done
    """
    clock = HandClock()
    credentials = PasswordCredentials("user", Secret("pw"), (), "", "pop-client-a")
    async with ScriptedServer(begin + script) as server:
        session = await ImapSession.open(place(server.port), credentials, kit(clock).dialer, clock, None)
        await session.select("INBOX")
        yield session
        await session.close()


async def test_ranges_where_the_server_has_them() -> None:
    script = 'C: P2 UID SEARCH RETURN (ALL) ALL\nS: * ESEARCH (TAG "P2") UID ALL 2:4,9\nS: P2 OK\n'
    async with opened(script, extensions="ESEARCH") as session:
        assert await session.search(b"ALL") == Numbers.of([2, 3, 4, 9])


async def test_numbers_where_it_has_not() -> None:
    script = "C: P2 UID SEARCH SEEN\nS: * SEARCH 9 2 3\nS: * SEARCH 4\nS: P2 OK\n"
    async with opened(script) as session:
        assert await session.search(b"SEEN") == Numbers.of([2, 3, 4, 9])


@pytest.mark.parametrize("extensions", ["", "ESEARCH"])
async def test_nothing_is_an_answer(extensions: str) -> None:
    asked = "RETURN (ALL) DELETED" if extensions else "DELETED"
    answer = '* ESEARCH (TAG "P2") UID' if extensions else "* SEARCH"
    async with opened(f"C: P2 UID SEARCH {asked}\nS: {answer}\nS: P2 OK\n", extensions=extensions) as session:
        assert await session.search(b"DELETED") == Numbers()


@pytest.mark.parametrize(
    "answer", ["", "S: * SEARCH 1 x\n", 'S: * ESEARCH (TAG "P9") UID ALL 1\n', 'S: * ESEARCH (TAG "P2") ALL 1\n', "S: * 2 EXISTS\n"]
)
async def test_no_answer_is_not_nothing(answer: str) -> None:
    """A foreign tag, numbers that are no UIDs, or silence: an audit would take it for an empty folder."""
    async with opened(f"C: P2 UID SEARCH ALL\n{answer}S: P2 OK\n") as session:
        with pytest.raises(RemoteProtocolError, match="answers no SEARCH"):
            await session.search(b"ALL")


async def test_a_refusal_is_a_refusal() -> None:
    async with opened("C: P2 UID SEARCH ALL\nS: P2 NO busy\n") as session:
        with pytest.raises(ImapStatus, match="busy"):
            await session.search(b"ALL")


async def test_a_large_folder_is_searched_in_stretches() -> None:
    script = """
    C: P2 UID SEARCH RETURN (ALL) 1:20000 ALL
    S: * ESEARCH (TAG "P2") UID ALL 1:20000
    S: P2 OK
    C: P3 UID SEARCH RETURN (ALL) 20001:40000 ALL
    S: * ESEARCH (TAG "P3") UID ALL 20001:39999,50000
    S: P3 OK
    C: P4 UID SEARCH RETURN (ALL) 40001:40003 ALL
    S: * ESEARCH (TAG "P4") UID ALL 50001:50003
    S: P4 OK
    """
    async with opened(script, exists=40_003, extensions="ESEARCH") as session:
        found = await session.search(b"ALL")
    assert found == Numbers([(1, 39_999), (50_000, 50_003)])


@pytest.mark.parametrize(("told", "extensions"), [("* 7 EXPUNGE\nS: * 7 EXPUNGE", ""), ("* VANISHED 7:8", "")])
async def test_what_leaves_meanwhile_hides_nobody(told: str, extensions: str) -> None:
    """Two messages leave while the first stretch is read: the second begins two places earlier than it would have."""
    script = f"""
    C: P2 UID SEARCH 1:20000 ALL
    S: * SEARCH 1 2
    S: {told}
    S: P2 OK
    C: P3 UID SEARCH 19999:20001 ALL
    S: * SEARCH 20001 20002 20003
    S: P3 OK
    """
    async with opened(script, exists=20_003, extensions=extensions) as session:
        assert await session.search(b"ALL") == Numbers.of([1, 2, 20_001, 20_002, 20_003])
