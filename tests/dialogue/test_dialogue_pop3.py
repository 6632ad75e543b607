"""What is said to POP3 servers of every kind, and what is never said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from fakes import HandClock, HastyClock, ScriptedServer, kit, place
from postroom.clock import Clock
from postroom.drivers.pop3 import Pop3Reader, open_pop3
from postroom.drivers.provider import Manners
from postroom.errors import ConfigError, LoginRefused, Pop3Error, Throttled, TlsError
from postroom.model import Absent, Disposition, Fetched, Listed, Unfetched, Unsettled
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret
from postroom.settings import Security

DELETE, RETRIEVED = Disposition.DELETE, Disposition.RETRIEVED


def hello(*capabilities: str) -> str:
    lines = "".join(f"S: {line}\n" for line in ("USER", "UIDL", "TOP", *capabilities))
    return f"S: +OK hello\nC: CAPA\nS: +OK\n{lines}S: .\nC: USER user\nS: +OK\nC: PASS pw\nS: +OK in\n"


def stock(*messages: tuple[str, int]) -> str:
    """STAT, UIDL and LIST, one at a time."""
    unique = "".join(f"S: {n} {name}\n" for n, (name, _) in enumerate(messages, 1))
    sizes = "".join(f"S: {n} {size}\n" for n, (_, size) in enumerate(messages, 1))
    total = sum(size for _, size in messages)
    return f"C: STAT\nS: +OK {len(messages)} {total}\nC: UIDL\nS: +OK\n{unique}S: .\nC: LIST\nS: +OK\n{sizes}S: .\n"


def retr(number: int, text: str) -> str:
    return f"C: RETR {number}\nS: +OK\nS: Subject: {text}\nS:\nS: .\n"


PLAIN = Manners()


@asynccontextmanager
async def reading(
    *scripts: str, manners: Manners = PLAIN, user: str = "user", clock: Clock | None = None, **more: Any
) -> AsyncIterator[Pop3Reader]:
    password = PasswordCredentials(user, Secret("pw"), (), "", "pop-client-a")
    async with ScriptedServer(*scripts) as server:
        where = replace(place(server.port, timeout=5.0), manners=manners, **more)
        async with open_pop3(where, password, kit(clock or HandClock()), None) as reader:
            yield reader


def names(created: Sequence[Listed]) -> list[str]:
    return [listed.identifier for listed in created]


async def fetched(reader: Pop3Reader, *listed: Listed) -> list[object]:
    found: list[object] = []
    async for item in reader.fetch("INBOX", listed):
        if isinstance(item, Fetched):
            found.append(item.octets if item.rest is None else b"".join([piece async for piece in item.rest]))
        else:
            found.append(type(item))
    return found


A, B = Listed("a", 20, ""), Listed("b", 30, "")


# --- listing ----------------------------------------------------------------------------------------------------------


async def test_p25_the_number_is_never_the_identity() -> None:
    script = hello() + stock(("a", 20), ("b", 30)) + "C: QUIT\nS: +OK\n"
    again = hello() + stock(("b", 30), ("c", 40)) + retr(1, "b") + "C: QUIT\nS: +OK\n"
    async with reading(script, again) as reader:
        first = await reader.changes("INBOX", None, 100)
        assert first.created == (B, A)  # the newest first
        assert await reader.commit() == ()
        second = await reader.changes("INBOX", first.new_state, 100)
        assert names(second.created) == ["c", "b"]
        assert await fetched(reader, B) == [b"Subject: b\r\n\r\n"]
        assert await reader.commit() == ()


async def test_an_unchanged_maildrop_is_not_listed_again() -> None:
    script = hello() + stock(("a", 20), ("b", 30)) + "C: QUIT\nS: +OK\n"
    again = hello() + "C: STAT\nS: +OK 2 50\nC: UIDL 2\nS: +OK 2 b\nC: QUIT\nS: +OK\n"
    async with reading(script, again, again) as reader:
        first = await reader.changes("INBOX", None, 100)
        await reader.commit()
        second = await reader.changes("INBOX", first.new_state, 100)
        await reader.commit()
        third = await reader.changes("INBOX", second.new_state, 100)
        assert (second.created, third.created, third.new_state) == ((), (), second.new_state)
        await reader.commit()


async def test_p25_unique_ids_that_changed_after_nothing_else_did() -> None:
    first = hello() + stock(("a", 20), ("b", 30)) + "C: QUIT\nS: +OK\n"
    second = hello() + "C: STAT\nS: +OK 2 50\nC: UIDL 2\nS: +OK 2 b\nC: QUIT\nS: +OK\n"
    third = hello() + stock(("x", 20), ("y", 30)) + "C: QUIT\nS: +OK\n"
    third = third.replace("C: UIDL", "C: UIDL 2\nS: +OK 2 y\nC: UIDL", 1)
    async with reading(first, second, third) as reader:
        state = None
        for _ in range(2):
            state = (await reader.changes("INBOX", state, 100)).new_state
            await reader.commit()
        assert "none of the 2 unique-ids" in (await reader.changes("INBOX", state, 100)).reset
        await reader.commit()


async def test_messages_come_as_they_are_where_the_server_knows_utf8() -> None:
    script = hello("UTF8").replace("C: USER", "C: UTF8\nS: +OK\nC: USER") + "C: QUIT\nS: +OK\n"
    refused = hello("UTF8").replace("C: USER", "C: UTF8\nS: -ERR not now\nC: USER") + "C: QUIT\nS: +OK\n"
    for one in (script, refused):
        async with reading(one) as reader:
            await reader.commit()


async def test_all_is_listed_again_after_an_hour_whatever_the_counts_say() -> None:
    script = hello() + stock(("a", 20), ("b", 30)) + "C: QUIT\nS: +OK\n"
    again = hello() + stock(("b", 30), ("a", 20)) + "C: QUIT\nS: +OK\n"
    clock = HandClock()
    async with reading(script, again, clock=clock) as reader:
        first = await reader.changes("INBOX", None, 100)
        await reader.commit()
        clock.advance(3700)
        assert names((await reader.changes("INBOX", first.new_state, 100)).created) == ["a", "b"]
        await reader.commit()


async def test_what_was_not_taken_whole_is_listed_again() -> None:
    script = hello() + stock(("a", 20)) + "C: QUIT\nS: +OK\n"
    async with reading(script, script) as reader:
        first = await reader.changes("INBOX", None, 100)
        await reader.commit()
        assert names((await reader.changes("INBOX", first.began, 100)).created) == ["a"]
        await reader.commit()


async def test_pipelined_where_the_server_takes_it() -> None:
    script = (
        hello("PIPELINING")
        + "C: STAT\nS: +OK 2 50\nC: UIDL\nC: LIST\nS: +OK\nS: 1 a\nS: 2 b\nS: .\nS: +OK\nS: 1 20\nS: 2 30\nS: .\n"
        + "C: RETR 2\nC: RETR 1\nS: +OK\nS: two\nS: .\nS: +OK\nS: one\nS: .\n"
        + "C: DELE 1\nC: DELE 2\nS: +OK\nS: +OK\nC: QUIT\nS: +OK\n"
    )
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        assert await fetched(reader, B, A) == [b"two\r\n", b"one\r\n"]
        settlement = await reader.settle("INBOX", [Unsettled(A, DELETE), Unsettled(B, DELETE)], None)
        assert settlement.committed == ()  # nothing is deleted before QUIT
        assert await reader.commit() == ("a", "b")


HEADS = "C: TOP 1 0\nS: +OK\nS: Message-ID: <1>\nS: Status: RO\nS:\nS: .\nC: TOP 2 0\nS: +OK\nS: Message-ID: <2>\nS:\nS: .\n"


async def test_p25_a_server_without_unique_ids() -> None:
    sizes = "C: LIST\nS: +OK\nS: 1 20\nS: 2 30\nS: .\n"
    first = hello() + "C: STAT\nS: +OK 2 50\nC: UIDL\nS: -ERR what?\n" + sizes + HEADS + "C: QUIT\nS: +OK\n"
    second = hello() + "C: STAT\nS: +OK 2 50\n" + sizes + HEADS.replace("RO", "O") + retr(2, "two") + "C: QUIT\nS: +OK\n"
    async with reading(first, second) as reader:
        before = await reader.changes("INBOX", None, 100)
        assert len(set(names(before.created))) == 2
        await reader.commit()
        after = await reader.changes("INBOX", before.new_state, 100)
        assert after.created == before.created  # Status is the server's own, and no part of the message
        assert await fetched(reader, after.created[0]) == [b"Subject: two\r\n\r\n"]
        await reader.commit()


async def test_p25_one_unique_id_for_two_messages() -> None:
    script = hello() + stock(("a", 20), ("a", 30)) + HEADS + "C: QUIT\nS: +OK\n"
    async with reading(script) as reader:
        changes = await reader.changes("INBOX", None, 100)
        assert len(set(names(changes.created))) == 2
        await reader.commit()


async def test_p25_unique_ids_that_break_later_are_a_reset() -> None:
    first = hello() + stock(("a", 20)) + "C: QUIT\nS: +OK\n"
    second = hello() + stock(("a", 20), ("a", 30)) + HEADS + "C: STAT\nS: +OK 2 50\nC: QUIT\nS: +OK\n"
    async with reading(first, second) as reader:
        before = await reader.changes("INBOX", None, 100)
        await reader.commit()
        broken = await reader.changes("INBOX", before.new_state, 100)
        assert broken.reset == "the server gives 2 messages the unique-id a"
        anew = await reader.changes("INBOX", None, 100)
        assert len(anew.created) == 2
        assert not anew.reset
        await reader.commit()


async def test_p25_unique_ids_that_all_changed_are_a_reset() -> None:
    first = hello() + stock(("a", 20), ("b", 30)) + "C: QUIT\nS: +OK\n"
    second = hello() + stock(("a", 20), ("b", 30), ("c", 40)) + "C: QUIT\nS: +OK\n"
    third = hello() + stock(("x", 20), ("y", 30), ("z", 40)) + "C: STAT\nS: +OK 3 90\nC: QUIT\nS: +OK\n"
    third = third.replace("C: STAT\nS: +OK 3 90\nC: UIDL", "C: STAT\nS: +OK 3 90\nC: UIDL 3\nS: +OK 3 z\nC: UIDL")
    async with reading(first, second, third) as reader:
        state = (await reader.changes("INBOX", None, 100)).new_state
        await reader.commit()
        state = (await reader.changes("INBOX", state, 100)).new_state
        await reader.commit()
        assert "none of the 2 unique-ids" in (await reader.changes("INBOX", state, 100)).reset
        assert names((await reader.changes("INBOX", None, 100)).created) == ["z", "y", "x"]
        await reader.commit()


@pytest.mark.parametrize("refused", ["C: TOP 1 0\nS: -ERR no\n", ""])
async def test_without_unique_ids_and_without_top(refused: str) -> None:
    script = hello() + "C: STAT\nS: +OK 2 40\nC: UIDL\nS: -ERR\nC: LIST\nS: +OK\nS: 1 20\nS: 2 20\nS: .\n" + refused
    script += retr(1, "same") + retr(2, "same") + "C: QUIT\nS: +OK\n"
    async with reading(script, manners=Manners(top=bool(refused))) as reader:
        changes = await reader.changes("INBOX", None, 100)
        second, first = names(changes.created)
        assert second == f"{first}#2"  # two messages that are alike are two
        await reader.commit()


async def test_p25_recent_needs_unique_ids() -> None:
    script = hello().replace("USER user", "USER recent:user") + "C: STAT\nS: +OK 2 50\nC: UIDL\nS: -ERR\n"
    script += "C: LIST\nS: +OK\nS: 1 20\nS: 2 30\nS: .\n" + HEADS
    async with reading(script, user="recent:user") as reader:
        with pytest.raises(ConfigError, match="recent:"):
            await reader.changes("INBOX", None, 100)


# --- taking -----------------------------------------------------------------------------------------------------------


async def test_a_message_that_is_refused_is_in_nobodys_way() -> None:
    script = hello() + stock(("a", 20), ("b", 30)) + "C: RETR 1\nS: -ERR [SYS/TEMP] cannot read it\n" + retr(2, "two")
    async with reading(script + "C: QUIT\nS: +OK\n") as reader:
        await reader.changes("INBOX", None, 100)
        assert await fetched(reader, A, B, Listed("c", 5, "")) == [Absent, Unfetched, b"Subject: two\r\n\r\n"]
        await reader.commit()


async def test_another_message_under_the_same_unique_id_is_not_touched() -> None:
    script = hello() + stock(("a", 21)) + "C: QUIT\nS: +OK\n"
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        assert (await reader.settle("INBOX", [Unsettled(A, DELETE)], None)).gone == ("a",)
        assert await reader.commit() == ()


async def test_heads_by_top_or_by_reading_over_the_text() -> None:
    script = hello() + stock(("a", 20), ("b", 30)) + "C: TOP 1 0\nS: +OK\nS: Subject: one\nS:\nS: .\n"
    script += "C: TOP 2 0\nS: -ERR\nC: RETR 2\nS: +OK\nS: Subject: two\nS:\nS: text\nS: .\nC: QUIT\nS: +OK\n"
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        heads = [item.octets async for item in reader.fetch_headers("INBOX", [A, B]) if isinstance(item, Fetched)]
        assert heads == [b"Subject: one\r\n\r\n", b"Subject: two\r\n\r\n"]
        await reader.commit()


async def test_p25_top_is_never_sent_where_it_is_disabled() -> None:
    script = hello() + stock(("a", 20)) + "C: RETR 1\nS: +OK\nS: Subject: one\nS:\nS: text\nS: .\nC: QUIT\nS: +OK\n"
    async with reading(script, manners=Manners(top=False)) as reader:
        await reader.changes("INBOX", None, 100)
        assert [item.octets async for item in reader.fetch_headers("INBOX", [A]) if isinstance(item, Fetched)] == [
            b"Subject: one\r\n\r\n"
        ]
        await reader.commit()


# --- committing -------------------------------------------------------------------------------------------------------


async def test_p25_no_quit_when_the_commit_failed() -> None:
    script = hello() + stock(("a", 20)) + retr(1, "one") + "C: DELE 1\nS: +OK\n"  # and the connection ends

    async def cycle() -> None:
        async with reading(script) as reader:
            await reader.changes("INBOX", None, 100)
            await fetched(reader, A)
            await reader.settle("INBOX", [Unsettled(A, DELETE)], None)
            raise OSError("the store is full")

    with pytest.raises(OSError, match="full"):
        await cycle()


async def test_a_refused_quit_deleted_nothing_for_certain() -> None:
    script = hello() + stock(("a", 20)) + "C: DELE 1\nS: +OK\nC: QUIT\nS: -ERR some deleted messages not removed\n"
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        await reader.settle("INBOX", [Unsettled(A, DELETE)], None)
        assert await reader.commit() == ()


async def test_a_refused_deletion_is_told() -> None:
    script = hello() + stock(("a", 20)) + "C: DELE 1\nS: -ERR read-only\nC: QUIT\nS: +OK\n"
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        settlement = await reader.settle("INBOX", [Unsettled(A, DELETE)], None)
        assert settlement.remarks == ("the server does not delete: read-only",)
        assert await reader.commit() == ()


HIDING = Manners(hides_retrieved=True)


async def test_p25_where_retrieved_mail_is_hidden_the_hiding_is_committed_by_quit() -> None:
    script = hello() + stock(("a", 20)) + retr(1, "one") + "C: QUIT\nS: +OK\n"
    async with reading(script, manners=HIDING) as reader:
        changes = await reader.changes("INBOX", None, 100)
        assert (changes.hides, changes.behind) == (True, True)
        await fetched(reader, A)
        assert (await reader.settle("INBOX", [Unsettled(A, RETRIEVED)], None)).committed == ()
        assert await reader.commit() == ("a",)


async def test_p25_where_retrieved_mail_is_hidden_no_quit_while_a_message_is_in_trouble() -> None:
    script = hello() + stock(("a", 20), ("b", 30)) + retr(1, "one") + "C: RETR 2\nS: -ERR broken\n"
    later = hello() + stock(("a", 20), ("b", 30)) + retr(1, "one") + "C: QUIT\nS: +OK\n"
    async with reading(script, later, manners=HIDING) as reader:
        await reader.changes("INBOX", None, 100)
        await fetched(reader, A, B)
        await reader.settle("INBOX", [Unsettled(A, RETRIEVED)], None)
        assert await reader.commit() == ()
        # What is here is retrieved once more, so that it is hidden; what is in trouble is not asked for.
        await reader.changes("INBOX", None, 100)
        await reader.settle("INBOX", [Unsettled(A, RETRIEVED)], None)
        assert await reader.commit() == ("a",)


@pytest.mark.parametrize(("delay", "behind"), [((), True), (("LOGIN-DELAY 300",), False)])
async def test_expire_0_is_a_hiding_too(delay: tuple[str, ...], behind: bool) -> None:
    """Whether more is behind nobody knows: it is looked for at once where that costs no delay."""
    async with reading(hello("EXPIRE 0", *delay) + stock() + "C: QUIT\nS: +OK\n") as reader:
        changes = await reader.changes("INBOX", None, 100)
        assert (changes.hides, changes.behind) == (True, behind)
        await reader.commit()


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_no_session_is_held_while_waiting() -> None:
    quiet = hello() + stock() + "C: QUIT\nS: +OK\n"
    async with reading(quiet, clock=HastyClock()) as reader:
        await reader.changes("INBOX", None, 100)
        await reader.commit()
        await reader.wait(5.0)


async def test_a_login_delay_is_told() -> None:
    async with reading(hello("LOGIN-DELAY 300") + stock() + "C: QUIT\nS: +OK\n") as reader:
        assert (await reader.changes("INBOX", None, 100)).pace == 300
        assert not reader.stands()
        await reader.commit()


LOGIN = "S: +OK hello\nC: CAPA\nS: +OK\nS: USER\nS: .\nC: USER user\nS: +OK\nC: PASS pw\nS: -ERR {words}\n"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("[AUTH] Authentication failed.", LoginRefused),
        ("[SYS/PERM] This account is closed", LoginRefused),
        ("Logon failure: unknown user name or bad password.", LoginRefused),
        ("[SYS/TEMP] try later", Pop3Error),
        ("[IN-USE] another session", Pop3Error),
        ("[LOGIN-DELAY] minimum time between mail checks", Throttled),
        ("[LIMIT] Maximum number of connections from user+IP exceeded", Throttled),
    ],
)
async def test_a_refused_login_by_its_code(words: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        async with reading(LOGIN.format(words=words)):
            raise AssertionError("logged in")


async def test_a_server_of_rfc_1939_alone() -> None:
    script = "S: +OK hello\nC: CAPA\nS: -ERR what?\nC: USER user\nS: +OK\nC: PASS pw\nS: +OK\n" + stock() + "C: QUIT\nS: +OK\n"
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        await reader.commit()


async def test_capa_is_never_sent_where_it_is_disabled() -> None:
    script = "S: +OK hello\nC: USER user\nS: +OK\nC: PASS pw\nS: +OK\nC: QUIT\nS: +OK\n"
    async with reading(script, manners=Manners(capabilities=False)) as reader:
        await reader.commit()


@pytest.mark.parametrize(
    "script",
    [
        "S: +OK hello\nC: CAPA\nS: +OK\nS: USER\nS: .\n",
        "S: +OK hello\nC: CAPA\nS: -ERR\nC: STLS\nS: -ERR no\n",
        "S: +OK hello\nC: CAPA\nS: +OK\nS: STLS\nS: .\nC: STLS\nS: +OK\nS: +OK injected\n",
    ],
)
async def test_nothing_is_sent_in_clear_where_stls_is_wanted(script: str) -> None:
    with pytest.raises(TlsError):
        async with reading(script, security=Security.START_TLS):
            raise AssertionError("logged in")
