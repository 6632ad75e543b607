"""Limits that a server tells of (P16): at the greeting, at the login, and in the middle of a conversation."""

from __future__ import annotations

import pytest
from test_dialogue_login import HELLO, refused, session

from fakes import ScriptedServer
from postroom.errors import Lost, Throttled

DOVECOT = "[LIMIT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)"
GMAIL = "[ALERT] Too many simultaneous connections. (Failure)"
COURIER = "Maximum connection limit reached for 192.0.2.1"
EXCHANGE = "Request is throttled. Suggested Backoff Time: 89117 milliseconds"


@pytest.mark.parametrize(("words", "limit"), [(DOVECOT, 10), (GMAIL, None), (COURIER, None)])
@pytest.mark.parametrize(
    "script",
    ["S: * BYE {}\n", HELLO + "C: P1 AUTHENTICATE PLAIN AHVzZXIAcHc=\nS: P1 NO {}\n"],
    ids=["greeting", "login"],
)
async def test_p16_a_limit_is_learned_from_the_refusal(script: str, words: str, limit: int | None) -> None:
    error = await refused(script.format(words))
    assert type(error) is Throttled
    assert error.limit == limit
    assert words.rpartition("] ")[2] in str(error)
    assert error.remedy


async def test_p16_a_limit_that_ends_a_conversation_is_no_broken_line() -> None:
    script = f"S: * PREAUTH [CAPABILITY IMAP4rev1] hello\nC: P1 NOOP\nS: * BYE {DOVECOT}\n[CLOSE]"
    async with ScriptedServer(script) as server, session(server) as opened:
        with pytest.raises(Throttled) as caught:
            await opened.command(b"NOOP")
        assert caught.value.limit == 10


async def test_another_farewell_is_a_line_that_broke() -> None:
    script = "S: * PREAUTH [CAPABILITY IMAP4rev1] hello\nC: P1 NOOP\nS: * BYE Server shutting down\n[CLOSE]"
    async with ScriptedServer(script) as server, session(server) as opened:
        with pytest.raises(Lost, match="shutting down"):
            await opened.command(b"NOOP")


async def test_a_time_that_the_server_names_is_kept() -> None:
    error = await refused(f"S: * BYE {EXCHANGE}\n")
    assert type(error) is Throttled
    assert error.retry_after == 89.117
