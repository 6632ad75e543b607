"""Greetings, TLS and logins of submission servers, and what is never said."""

from __future__ import annotations

import base64
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from fakes import Authority, HandClock, MemoryKeeper, ScriptedServer, Traces, kit, place
from postroom.drivers.limits import Limits
from postroom.drivers.probe import Probing
from postroom.drivers.smtp_probe import SmtpApproach
from postroom.drivers.smtp_session import SmtpSession
from postroom.errors import (
    LoginRefused,
    Lost,
    NoMechanism,
    PostroomError,
    RemoteProtocolError,
    SessionEnded,
    SmtpReply,
    Throttled,
    TlsError,
)
from postroom.net.credentials import Credentials, PasswordCredentials, TokenCredentials
from postroom.net.grants import Application, RefreshToken
from postroom.net.tokens import TokenRequest, Tokens
from postroom.secret import Secret
from postroom.settings import Security
from postroom.wire.jwt import Wanted
from submission import BYE, LINES, SENDS, hello, plainly, sent, submitting

IN = "S: 235 2.7.0 welcome\n"
DENIED = '{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}'


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def password(*mechanisms: str, provider: str = "") -> Credentials:
    return PasswordCredentials("user", Secret("pass word"), mechanisms, provider, "smtp-client-a")


class Google:
    """An authority, and credentials that get their tokens from it."""

    def __init__(self, *mechanisms: str) -> None:
        self.clock = HandClock()
        self.authority = Authority()
        application = Application("client", Secret("sesame"))
        way = RefreshToken(Secret("refresh"))
        request = TokenRequest("https://a/token", application, way, "mail", None, 300)
        tokens = Tokens(MemoryKeeper(self.clock), self.authority, self.clock)
        self.credentials = TokenCredentials("a@b.c", request, tokens, mechanisms or ("XOAUTH2",), Wanted("a@b.c"), self.clock)


def xoauth2(token: str) -> str:
    return encoded(f"user=a@b.c\1auth=Bearer {token}\1\1")


async def refused(script: str, credentials: Credentials | None = None, **how: Any) -> PostroomError:
    """What a conversation that comes to nothing comes to."""
    with pytest.raises(PostroomError) as caught:
        async with submitting(script, credentials=credentials, **how):
            pass
    return caught.value


# --- greetings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "provider", "kind"),
    [
        pytest.param("S: 554 5.7.1 no service here\n", "", SmtpReply, id="554"),
        pytest.param("S: 421 4.3.0 going down\n", "", Lost, id="421"),
        pytest.param("S: 421 4.7.0 mail.example.org Error: too many connections from 192.0.2.1\n", "", Throttled, id="connections"),
        pytest.param("S: 421 4.7.0 Try again later, closing connection.\n", "google", Throttled, id="google"),
        pytest.param(
            "S: 421-4.3.2 The maximum number of concurrent\nS: 421 4.3.2 server connections\n", "microsoft", Throttled, id="ms"
        ),
        pytest.param("S: +OK POP3\n", "", RemoteProtocolError, id="pop3"),
        pytest.param("[CLOSE]\n", "", Lost, id="closed"),
        pytest.param("S: 220 hello\nC: EHLO [127.0.0.1]\nS: 421 4.7.0 no\n", "", Lost, id="ehlo-421"),
        pytest.param("S: 220 hello\nC: EHLO [127.0.0.1]\nS: 501 5.5.4 bad name\n", "", SmtpReply, id="ehlo-501"),
        pytest.param(
            "S: 220 hello\nC: EHLO [127.0.0.1]\nS: 500 what\nC: HELO [127.0.0.1]\nS: 500 what\n", "", SmtpReply, id="helo"
        ),
    ],
)
async def test_a_greeting_that_turns_us_away(script: str, provider: str, kind: type[PostroomError]) -> None:
    error = await refused(script, provider=provider)
    assert type(error) is kind


# --- logins -----------------------------------------------------------------------------------------------------------

PASSWORD = encoded("\0user\0pass word")


@pytest.mark.parametrize(
    ("offer", "exchange"),
    [
        pytest.param("AUTH LOGIN PLAIN", f"C: AUTH PLAIN {PASSWORD}\n{IN}", id="plain"),
        pytest.param("AUTH=PLAIN", f"C: AUTH PLAIN {PASSWORD}\n{IN}", id="the-old-form"),
        pytest.param(
            "AUTH LOGIN",
            f"C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: {encoded('user')}\nS: 334 UGFzc3dvcmQ6\nC: {encoded('pass word')}\n{IN}",
            id="login",
        ),
    ],
)
async def test_a_login_with_a_password(offer: str, exchange: str) -> None:
    async with submitting(hello(offer) + exchange + BYE, credentials=password()):
        pass


async def test_p10b_there_is_no_second_ehlo_behind_the_login() -> None:
    script = hello("AUTH XOAUTH2") + f"C: AUTH XOAUTH2 {xoauth2('token-1')}\n{IN}" + SENDS + LINES + "S: 250 ok\n" + BYE
    async with submitting(script, credentials=Google().credentials) as submitter:
        assert len(await sent(submitter)) == 1  # the script is strict: what follows AUTH is MAIL


async def test_without_credentials_nobody_logs_in() -> None:
    async with submitting(hello("AUTH PLAIN") + SENDS + LINES + "S: 250 ok\n" + BYE) as submitter:
        assert len(await sent(submitter)) == 1


async def test_the_standard_mechanism_is_preferred_and_its_error_answered() -> None:
    google = Google("XOAUTH2", "OAUTHBEARER")
    async with ScriptedServer() as server:

        def bearer(token: str) -> str:
            return encoded(f"n,a=a@b.c,\1host=127.0.0.1\1port={server.port}\1auth=Bearer {token}\1\1")

        script = hello("AUTH XOAUTH2 OAUTHBEARER") + f"C: AUTH OAUTHBEARER {bearer('token-1')}\nS: 334 {encoded(DENIED)}\n"
        script += f"C: {encoded(chr(1))}\nS: 535 5.7.8 no\nC: AUTH OAUTHBEARER {bearer('token-2')}\n{IN}"
        server.play(script)
        session = await SmtpSession.open(place(server.port), google.credentials, kit(google.clock).dialer, google.clock, None)
        session.stream.close()


async def test_a_refused_token_is_made_anew_once() -> None:
    google = Google()
    script = hello("AUTH XOAUTH2") + f"C: AUTH XOAUTH2 {xoauth2('token-1')}\nS: 334 {encoded(DENIED)}\nC:\nS: 535 5.7.8 no\n"
    script += f"C: AUTH XOAUTH2 {xoauth2('token-2')}\n"
    async with submitting(script + IN + BYE, credentials=google.credentials):
        assert len(google.authority.forms) == 2
    google = Google()
    error = await refused(script + f"S: 334 {encoded(DENIED)}\nC:\nS: 535 5.7.8 no\n", google.credentials)
    assert type(error) is LoginRefused
    assert "(status 401, wanted scope https://mail.google.com/)" in str(error)
    assert "token-" not in str(error)
    assert len(google.authority.forms) == 2


async def test_a_response_too_long_for_the_command_follows_it() -> None:
    def credentials(length: int) -> Credentials:
        return PasswordCredentials("u", Secret("x" * length), (), "", "smtp-client-a")

    longest = (12288 - len("AUTH PLAIN \r\n")) // 4 * 3 - 3  # octets of a response that fits (RFC 4954 section 4)
    fits, long = encoded("\0u\0" + "x" * longest), encoded("\0u\0" + "x" * (longest + 3))
    async with submitting(hello("AUTH PLAIN") + f"C: AUTH PLAIN {fits}\n{IN}" + BYE, credentials=credentials(longest)):
        pass
    script = hello("AUTH PLAIN") + f"C: AUTH PLAIN\nS: 334\nC: {long}\n{IN}"
    async with submitting(script + BYE, credentials=credentials(longest + 3)):
        pass


@pytest.mark.parametrize(
    ("answer", "provider", "kind", "words"),
    [
        pytest.param("454 4.7.0 Temporary authentication failure", "", SmtpReply, "could not check the login", id="454"),
        pytest.param(
            "454 4.7.0 Too many login attempts, please try again later.", "google", Throttled, "too many", id="google-454"
        ),
        pytest.param("432 4.3.2 Concurrent connections limit exceeded.", "microsoft", Throttled, "three connections", id="432"),
        pytest.param("535 5.7.3 Authentication unsuccessful", "microsoft", LoginRefused, "SMTP.Send", id="5.7.3"),
        pytest.param("534 5.7.9 Application-specific password required", "google", LoginRefused, "apppasswords", id="5.7.9"),
        pytest.param("535 5.7.8 Username and Password not accepted", "google", LoginRefused, "application password", id="5.7.8"),
        pytest.param("538 5.7.11 Encryption required", "", LoginRefused, "smtp-connection-security", id="538"),
        pytest.param("504 5.5.4 no such mechanism", "", LoginRefused, "", id="504"),
        pytest.param("334 Zm9v", "", RemoteProtocolError, "", id="no-end"),
    ],
)
async def test_a_login_that_is_refused_is_explained(answer: str, provider: str, kind: type[PostroomError], words: str) -> None:
    script = hello("AUTH PLAIN") + f"C: AUTH PLAIN {PASSWORD}\nS: {answer}\n"
    error = await refused(script, password(provider=provider), provider=provider)
    assert type(error) is kind
    assert words in error.remedy
    if kind is not RemoteProtocolError:
        assert answer in error.detail


@pytest.mark.parametrize("where", ["Tenant", "Mailbox"])
async def test_p10b_smtp_that_is_switched_off_is_no_wrong_password(where: str) -> None:
    answer = f"535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the {where}."
    script = hello("AUTH PLAIN") + f"C: AUTH PLAIN {PASSWORD}\nS: {answer}\n"
    error = await refused(script, password(provider="microsoft"), provider="microsoft")
    assert type(error) is LoginRefused
    assert error.certain  # nobody tries again every few seconds
    assert "switched off" in error.remedy
    assert "Authenticated SMTP" in error.remedy
    assert "GRAPH" in error.remedy
    assert answer in error.detail


async def test_no_mechanism_that_we_may_use() -> None:
    assert type(await refused(hello("AUTH GSSAPI"), password())) is NoMechanism
    assert type(await refused(hello(), password())) is NoMechanism


async def test_a_conversation_ends_with_its_token() -> None:
    script = hello("AUTH XOAUTH2") + f"C: AUTH XOAUTH2 {xoauth2('token-1')}\n{IN}C: NOOP\n"
    for passed, stands, kind in ((0, True, Lost), (3600 - 61, True, Lost), (3600 - 59, False, Lost), (3600, False, SessionEnded)):
        google = Google()
        async with submitting(
            script + "S: 421 4.7.0 bye\n[CLOSE]\n", credentials=google.credentials, clock=google.clock
        ) as submitter:
            google.clock.advance(passed)
            assert submitter.stands() is stands
            with pytest.raises(Lost) as caught:
                await submitter.check()
            assert type(caught.value) is kind


async def test_the_trace_holds_no_secret() -> None:
    traces = Traces()
    script = (
        hello("AUTH XOAUTH2") + f"C: AUTH XOAUTH2 {xoauth2('token-1')}\nS: 334 {encoded(DENIED)}\nC:\nS: 535 5.7.8 token-1 is no\n"
    )
    script += f"C: AUTH XOAUTH2 {xoauth2('token-2')}\n{IN}" + SENDS + LINES + "S: 250 ok\n" + BYE
    async with submitting(script, credentials=Google().credentials, traces=traces) as submitter:
        await sent(submitter)
    said = [line for side, line in traces.lines if side == "C"]
    assert said == [
        "EHLO [127.0.0.1]",
        "AUTH XOAUTH2 ***",
        "***",
        "AUTH XOAUTH2 ***",
        "MAIL FROM:<a@b.c>",
        "RCPT TO:<x@y.z>",
        "DATA",
        "{24 octets}",
        "QUIT",
    ]
    assert not any("token-" in line or "Subject" in line for _, line in traces.lines)
    assert ("S", "334 ***") in traces.lines
    traces = Traces()
    script = hello("CHUNKING") + "C: MAIL FROM:<a@b.c>\nC: RCPT TO:<x@y.z>\nS: 250 ok\nS: 250 ok\n"
    async with submitting(
        script + "C: BDAT 21 LAST\n" + LINES.replace("C: .\n", "") + "S: 250 ok\n" + BYE, traces=traces
    ) as submitter:
        await sent(submitter)
    assert ("C", "BDAT 21 LAST {21 octets}") in traces.lines


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority_of_names() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secured(authority_of_names: trustme.CA, tmp_path: Path) -> tuple[ssl.SSLContext, dict[str, Any]]:
    authority_of_names.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority_of_names.issue_cert("localhost").configure_cert(context)
    return context, {"security": Security.START_TLS, "ca_file": tmp_path / "ca.pem", "host": "localhost"}


async def test_what_was_said_in_clear_counts_for_nothing(secured: tuple[ssl.SSLContext, dict[str, Any]]) -> None:
    context, there = secured
    script = plainly("STARTTLS", "AUTH LOGIN", "PIPELINING", "DSN") + "C: STARTTLS\nS: 220 go\n[TLS]\n"
    script += "C: EHLO [127.0.0.1]\nS: 250-hello\nS: 250 AUTH PLAIN\n" + f"C: AUTH PLAIN {PASSWORD}\n{IN}" + BYE
    async with submitting(script, credentials=password(), tls=context, **there) as submitter:
        assert submitter.stands()


@pytest.mark.parametrize("line", ["250 injected", "250-AUTH PLAIN", "2"])
async def test_octets_before_tls_are_refused(line: str, secured: tuple[ssl.SSLContext, dict[str, Any]]) -> None:
    context, there = secured
    error = await refused(plainly("STARTTLS") + f"C: STARTTLS\nS: 220 go\ns: {line}\n", tls=context, **there)
    assert type(error) is TlsError
    assert "somebody may be in between" in str(error)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (plainly("AUTH PLAIN"), "does not offer STARTTLS"),
        (plainly("STARTTLS") + "C: STARTTLS\nS: 454 4.7.0 not now\n", "refuses STARTTLS: 454 4.7.0 not now"),
    ],
)
async def test_nothing_is_said_where_tls_cannot_begin(script: str, words: str) -> None:
    error = await refused(script, password(), security=Security.START_TLS)
    assert type(error) is TlsError
    assert words in str(error)


async def test_tls_at_once_where_the_server_begins_in_clear(secured: tuple[ssl.SSLContext, dict[str, Any]]) -> None:
    error = await refused("S: 220 hello\n[CLOSE]\n", **{**secured[1], "security": Security.SSL_TLS})
    assert type(error) is TlsError
    assert "smtp-connection-security" in error.remedy


# --- the probe --------------------------------------------------------------------------------------------------------


async def steps(script: str, credentials: Credentials | None, limits: Limits, clock: HandClock) -> dict[str, str]:
    async with ScriptedServer("S: 220 hello\n", script) as server:  # the first connection only shows that the port answers
        where = replace(place(server.port), limits=limits)
        probe = Probing(SmtpApproach.connect, where, credentials, kit(clock).dialer, clock, None)
        return {step.name: str(step.error) if step.error else step.words async for step in probe.steps((), {})}


async def test_every_step_of_a_server_that_tells_what_it_can() -> None:
    google = Google()
    offers = ("SIZE 35882577", "8BITMIME", "AUTH XOAUTH2 PLAIN", "DSN", "LIMITS RCPTMAX=50 MAILMAX=20")
    script = hello(*offers) + f"C: AUTH XOAUTH2 {xoauth2('token-1')}\n{IN}" + BYE
    told = await steps(script, google.credentials, Limits(recipients=100, connections=3, messages_a_minute=30), google.clock)
    assert list(told) == ["dns", "tcp", "tls", "capabilities", "token", "login", "limits"]
    assert told["tls"].endswith("(smtp-connection-security = none)")
    assert told["capabilities"] == (
        "SMTP with PIPELINING, 8BITMIME, DSN, SIZE; without SMTPUTF8, CHUNKING, BINARYMIME, ENHANCEDSTATUSCODES;"
        " logins by XOAUTH2, PLAIN"
    )
    assert told["login"] == "as a@b.c"
    assert told["limits"] == (
        "messages of 35.9 MB at most; 50 recipients of one message, more go in several; 20 messages over one connection;"
        " 3 connections at once; 30 messages a minute"
    )


async def test_the_steps_without_a_login_and_those_that_end_early() -> None:
    told = await steps(plainly() + BYE, None, Limits(), HandClock())
    assert told["login"] == "none: enable-authentication is false"
    assert told["limits"] == "the server names none"
    assert told["capabilities"].startswith("SMTP without extensions; logins by no mechanism")
    told = await steps(hello("AUTH PLAIN") + f"C: AUTH PLAIN {PASSWORD}\nS: 535 5.7.8 no\n", password(), Limits(), HandClock())
    assert list(told)[-1] == "login"
    assert "535 5.7.8 no" in told["login"]
