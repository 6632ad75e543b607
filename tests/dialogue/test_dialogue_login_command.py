"""Servers that know no SASL: the LOGIN command (RFC 9051 section 6.2.3)."""

from __future__ import annotations

import pytest
from test_dialogue_login import refused, session

from fakes import ScriptedServer, Traces
from postroom.errors import LoginRefused, NoMechanism
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret

NO_SASL = "S: * OK [CAPABILITY IMAP4rev1 {}] hello\n"


async def test_a_server_without_sasl_is_logged_in_to_by_command() -> None:
    """Courier announces no AUTH= unless it is told to; LOGIN is then the only way in (RFC 9051 section 6.2.3)."""
    script = NO_SASL.format("IDLE") + 'C: P1 LOGIN "user" "pw"\nS: P1 OK [CAPABILITY IMAP4rev1 MOVE] in\n'
    traces = Traces()
    async with ScriptedServer(script) as server, session(server, traces=traces) as s:
        assert s.capabilities == {"IMAP4REV1", "MOVE"}
    assert ("C", "P1 LOGIN *** ***") in traces.lines
    assert not any('"pw"' in line for _, line in traces.lines)


@pytest.mark.parametrize("extensions", ["LITERAL+", ""])
async def test_a_password_in_octets_is_a_literal_that_nobody_sees(extensions: str) -> None:
    sign, leave = ("+", "") if extensions else ("", "S: + go on\n")
    script = NO_SASL.format(extensions) + f'C: P1 LOGIN "user" {{8{sign}}}\n{leave}C: pässwö\nS: P1 OK in\n'
    script += "C: P2 CAPABILITY\nS: * CAPABILITY IMAP4rev1\nS: P2 OK\n"
    traces = Traces()
    credentials = PasswordCredentials("user", Secret("pässwö"), (), "", "pop-client-a")
    async with ScriptedServer(script) as server, session(server, credentials, traces=traces):
        pass
    assert "pässwö" not in str(traces.lines)


@pytest.mark.parametrize("answer", ["S: P1 NO [AUTHENTICATIONFAILED] wrong\n", "S: P1 NO wrong\n"])
async def test_a_refused_login_by_command(answer: str) -> None:
    error = await refused(NO_SASL.format("") + 'C: P1 LOGIN "user" "pw"\n' + answer)
    assert type(error) is LoginRefused


async def test_a_login_that_is_switched_off_is_not_tried() -> None:
    error = await refused(NO_SASL.format("LOGINDISABLED"))
    assert type(error) is NoMechanism


async def test_a_password_is_not_sent_by_command_where_tokens_are_the_way_in() -> None:
    error = await refused(NO_SASL.format("AUTH=XOAUTH2"))
    assert type(error) is NoMechanism
