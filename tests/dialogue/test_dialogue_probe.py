"""The way to a POP3 mailbox, one step at a time: what is said, and what is never done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import HandClock, ScriptedServer, kit, place
from postroom.drivers import First
from postroom.drivers.pop3_probe import Pop3Approach
from postroom.drivers.probe import Probing
from postroom.drivers.provider import Manners
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret
from postroom.settings import FirstRead, Security

LOGIN = "C: USER user\nS: +OK\nC: PASS pw\nS: +OK in\n"
NOTHING: dict[str, First] = {}


def greeting(*capabilities: str) -> str:
    return "S: +OK hello\nC: CAPA\nS: +OK\n" + "".join(f"S: {line}\n" for line in capabilities) + "S: .\n"


async def steps(
    script: str, manners: Manners | None = None, first: dict[str, First] = NOTHING, security: Security = Security.NONE
) -> dict[str, str]:
    """What each step told; an error in words."""
    async with ScriptedServer("S: +OK hello\n", script) as server:  # the first connection only shows that the port answers
        where = replace(place(server.port), manners=manners or Manners(), security=security)
        who = PasswordCredentials("user", Secret("pw"), (), "", "pop-client-a")
        probe = Probing(Pop3Approach.connect, where, who, kit(HandClock()).dialer, HandClock(), None)
        return {step.name: str(step.error) if step.error else step.words async for step in probe.steps(("INBOX",), first)}


async def test_every_step_of_a_server_that_has_it_all() -> None:
    script = greeting("USER", "UIDL", "TOP", "PIPELINING", "SASL PLAIN", "LOGIN-DELAY 30") + LOGIN
    script += "C: STAT\nS: +OK 1234 4200\nC: UIDL 1\nS: +OK 1 a\nC: STAT\nS: +OK 1234 4200\nC: QUIT\nS: +OK\n"
    told = await steps(script.replace(LOGIN, "C: AUTH PLAIN AHVzZXIAcHc=\nS: +OK\n"), first={"INBOX": FirstRead.ALL})
    assert list(told) == ["dns", "tcp", "tls", "capabilities", "login", "maildrop", "first-read"]
    assert told["capabilities"] == "POP3; logins by LOGIN, PLAIN"
    assert told["login"] == "as user; one login in 30 s is allowed"
    assert told["maildrop"] == "1,234 messages, 4.2 kB; with UIDL, TOP, PIPELINING"
    assert told["first-read"] == "INBOX was never read: first-read = all takes 1,234 messages, about 4.2 kB"


async def test_an_empty_maildrop_of_which_nothing_is_read() -> None:
    script = greeting("USER", "UIDL", "TOP") + LOGIN + "C: STAT\nS: +OK 0 0\nC: STAT\nS: +OK 0 0\nC: QUIT\nS: +OK\n"
    told = await steps(script, first={"INBOX": FirstRead.NEW})
    assert told["maildrop"] == "no messages; with UIDL, TOP; without PIPELINING"
    assert told["first-read"] == "INBOX was never read: first-read = new takes 0 messages"


async def test_what_a_server_announces_and_does_not_do() -> None:
    script = greeting("USER", "UIDL") + LOGIN + "C: STAT\nS: +OK 2 40\nC: UIDL 1\nS: -ERR no\nC: QUIT\nS: +OK\n"
    told = await steps(script)
    assert told["maildrop"] == (
        "2 messages, 40 octets; without UIDL, TOP, PIPELINING; messages are told apart by their whole text, read in each cycle"
    )


async def test_a_server_that_tells_nothing_is_tried() -> None:
    script = "S: +OK hello\nC: CAPA\nS: -ERR what\n" + LOGIN
    script += "C: STAT\nS: +OK 2 40\nC: UIDL 1\nS: -ERR no\nC: TOP 1 0\nS: +OK\nS: Subject: a\nS:\nS: .\nC: QUIT\nS: +OK\n"
    told = await steps(script)
    assert told["capabilities"] == "POP3 without CAPA; logins by LOGIN, XOAUTH2"
    assert told["maildrop"].endswith("with TOP; without UIDL, PIPELINING; messages are told apart by their headers")


async def test_what_is_switched_off_is_not_tried() -> None:
    script = "S: +OK hello\n" + LOGIN + "C: STAT\nS: +OK 2 40\nC: UIDL 1\nS: +OK 1 a\nC: QUIT\nS: +OK\n"
    told = await steps(script, Manners(capabilities=False, top=False))
    assert told["capabilities"].startswith("POP3; CAPA is not asked (mail.pop3.disablecapa)")
    assert told["maildrop"].endswith("with UIDL; without TOP, PIPELINING")


async def test_p25_hidden_mail_is_told_before_it_is_hidden() -> None:
    script = greeting("USER", "UIDL", "TOP") + LOGIN + "C: STAT\nS: +OK 250 40\nC: UIDL 1\nS: +OK 1 a\nC: QUIT\nS: +OK\n"
    told = await steps(script, Manners(hides_retrieved=True))
    assert "what is retrieved is hidden from every POP3 client from then on" in told["maildrop"]


@pytest.mark.parametrize(
    ("script", "security", "last", "words"),
    [
        ("S: -ERR [SYS/TEMP] not now\n", Security.NONE, "capabilities", "SYS/TEMP"),
        (greeting("USER"), Security.START_TLS, "tls", "does not offer STLS"),
        (greeting("USER") + "C: USER user\nS: +OK\nC: PASS pw\nS: -ERR [AUTH] no\n", Security.NONE, "login", "[AUTH] no"),
        (greeting("USER") + LOGIN + "C: STAT\nS: -ERR [SYS/PERM] broken\n", Security.NONE, "maildrop", "broken"),
        (greeting("USER") + LOGIN + "C: STAT\nS: +OK 2 40\nC: UIDL 1\n[CLOSE]\n", Security.NONE, "maildrop", ""),
    ],
)
async def test_the_first_step_that_fails_is_the_last(script: str, security: Security, last: str, words: str) -> None:
    told = await steps(script, security=security)
    assert list(told)[-1] == last
    assert words in told[last]
