"""Counting a folder: each message once, also where the server leaves some out of an answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from test_dialogue_listing import HELLO, ITEMS, mail, row, select

from postroom.drivers import Reader, imap_census
from postroom.errors import ImapStatus, RemoteProtocolError
from postroom.model import Listed

Reading = Callable[..., AbstractAsyncContextManager[Reader]]


async def counted(reader: Reader) -> list[Listed]:
    return [listed async for piece in reader.census("INBOX") for listed in piece]


async def test_an_empty_folder_is_not_asked_about(reading: Reading) -> None:
    async with reading(HELLO + select("P1", exists=0, next_=1)) as reader:
        assert await counted(reader) == []


async def test_a_folder_is_walked_downwards_in_pieces(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_census, "PIECE", 2)
    script = HELLO + select("P1", exists=3, next_=100)
    script += "C: P2 UID SEARCH 2:3\nS: * SEARCH 8 99\nS: P2 OK done\n"
    script += f"C: P3 FETCH 2:3 {ITEMS}\n" + row(2, 8) + row(3, 99) + "S: P3 OK done\n"
    script += "C: P4 UID SEARCH 1:1\nS: * SEARCH 3\nS: P4 OK done\n"
    script += f"C: P5 FETCH 1:1 {ITEMS}\n" + row(1, 3) + "S: P5 OK done\n"
    async with reading(script) as reader:
        assert await counted(reader) == [mail(99), mail(8), mail(3)]


async def test_what_is_expunged_meanwhile_makes_nothing_be_stepped_over(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    """Message 1 goes: what was 2 is 1 then, and what was 3 comes up a second time as 2."""
    monkeypatch.setattr(imap_census, "PIECE", 2)
    script = HELLO + select("P1", exists=4, next_=100)
    script += "C: P2 UID SEARCH 3:4\nS: * SEARCH 13 14\nS: P2 OK done\n"
    script += f"C: P3 FETCH 3:4 {ITEMS}\n" + row(3, 13) + row(4, 14) + "S: P3 OK done\n"
    script += "C: P4 UID SEARCH 1:2\nS: * SEARCH 11 12\nS: * 1 EXPUNGE\nS: P4 OK done\n"
    script += f"C: P5 FETCH 1:2 {ITEMS}\n" + row(1, 12) + row(2, 13) + "S: P5 OK done\n"
    script += f"C: P6 UID FETCH 11 {ITEMS}\nS: P6 OK done\n"
    async with reading(script) as reader:
        found = await counted(reader)
    assert [listed.identifier for listed in found] == ["7/14", "7/13", "7/12", "7/11"]


async def test_p19_what_fetch_leaves_out_is_asked_for_by_its_uid(reading: Reading) -> None:
    script = HELLO + select("P1", exists=3, next_=12)
    script += "C: P2 UID SEARCH 1:3\nS: * SEARCH 3 8 11\nS: P2 OK done\n"
    script += f"C: P3 FETCH 1:3 {ITEMS}\n" + row(1, 3) + "S: P3 OK done\n"
    script += f"C: P4 UID FETCH 8,11 {ITEMS}\n" + row(2, 8) + "S: P4 OK done\n"
    async with reading(script) as reader:
        assert await counted(reader) == [Listed("7/11", 0, ""), mail(8), mail(3)]


async def test_p19_what_search_leaves_out_is_counted_too(reading: Reading) -> None:
    script = HELLO + select("P1", exists=2, next_=12)
    script += "C: P2 UID SEARCH 1:2\nS: * SEARCH 3\nS: P2 OK done\n"
    script += f"C: P3 FETCH 1:2 {ITEMS}\n" + row(1, 3) + row(2, 8) + "S: P3 OK done\n"
    async with reading(script) as reader:
        assert await counted(reader) == [mail(8), mail(3)]


async def test_ranges_are_read_and_no_more_than_there_can_be(reading: Reading) -> None:
    """ESEARCH (RFC 4731) says many UIDs in few octets: more than memory holds must not come of it."""
    hello = "S: * PREAUTH [CAPABILITY IMAP4rev1 IDLE ESEARCH] hello\n"
    script = hello + select("P1", exists=2, next_=12)
    script += 'C: P2 UID SEARCH RETURN (ALL) 1:2\nS: * ESEARCH (TAG "P2") UID ALL 3:4\nS: P2 OK done\n'
    script += f"C: P3 FETCH 1:2 {ITEMS}\n" + row(1, 3) + row(2, 4) + "S: P3 OK done\n"
    script += 'C: P4 UID SEARCH RETURN (ALL) 1:2\nS: * ESEARCH (TAG "P4") UID ALL 1:4294967295\nS: P4 OK done\n'
    async with reading(script) as reader:
        assert await counted(reader) == [mail(4), mail(3)]
        with pytest.raises(RemoteProtocolError):
            await counted(reader)


async def test_a_refusal_is_raised(reading: Reading) -> None:
    script = HELLO + select("P1", exists=1, next_=2) + "C: P2 UID SEARCH 1:1\nS: P2 NO not now\n"
    async with reading(script) as reader:
        with pytest.raises(ImapStatus):
            await counted(reader)


async def test_news_that_come_meanwhile_are_listed_by_the_next_cycle(reading: Reading) -> None:
    """The census takes nothing from the cycles that use the same conversation."""
    script = HELLO + select("P1", exists=1, next_=2)
    script += f"C: P2 UID FETCH 1:1 {ITEMS}\n" + row(1, 1) + "S: P2 OK done\n"
    script += "C: P3 UID SEARCH 1:1\nS: * SEARCH 1\nS: * 2 EXISTS\nS: P3 OK done\n"
    script += f"C: P4 FETCH 1:1 {ITEMS}\n" + row(1, 1) + "S: P4 OK done\n"
    script += f"C: P5 UID FETCH 1:* {ITEMS}\n" + row(1, 1) + row(2, 2) + "S: P5 OK done\n"
    async with reading(script) as reader:
        first = await reader.changes("INBOX", None, 100)
        assert await counted(reader) == [mail(1)]
        assert (await reader.changes("INBOX", first.new_state, 100)).created == (mail(2),)
