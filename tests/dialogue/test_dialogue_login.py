"""Greetings, TLS and logins that no real server gives on demand."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from fakes import START, Authority, HandClock, MemoryKeeper, ScriptedServer, Traces, kit, place, refusal
from postroom.drivers.imap_session import ImapSession
from postroom.errors import (
    AuthError,
    Fate,
    ImapStatus,
    LoginRefused,
    Lost,
    NoMechanism,
    PostroomError,
    RemoteProtocolError,
    SessionEnded,
    Throttled,
    TimedOut,
    TlsError,
    TokenRefused,
)
from postroom.net.credentials import Credentials, PasswordCredentials, TokenCredentials
from postroom.net.grants import Application, RefreshToken
from postroom.net.tokens import TokenRequest, Tokens
from postroom.secret import Secret
from postroom.settings import Security
from postroom.wire.jwt import Wanted


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def password(*mechanisms: str) -> Credentials:
    return PasswordCredentials("user", Secret("pw"), mechanisms, "", "pop-client-a")


class Google:
    """An authority, and credentials that get their tokens from it."""

    def __init__(self, *mechanisms: str) -> None:
        self.clock = HandClock()
        self.authority = Authority()
        self.tokens = Tokens(MemoryKeeper(self.clock), self.authority, self.clock)
        request = TokenRequest(
            "https://a/token", Application("client", Secret("sesame")), RefreshToken(Secret("refresh")), "mail", None, 300
        )
        self.credentials = TokenCredentials("a@b.c", request, self.tokens, mechanisms or ("XOAUTH2",), Wanted("a@b.c"), self.clock)


def xoauth2(token: str) -> str:
    return encoded(f"user=a@b.c\1auth=Bearer {token}\1\1")


@asynccontextmanager
async def session(
    server: ScriptedServer,
    credentials: Credentials | None = None,
    *,
    security: Security = Security.NONE,
    ca_file: Path | None = None,
    clock: HandClock | None = None,
    timeout: float = 5.0,
    traces: Traces | None = None,
) -> AsyncIterator[ImapSession]:
    there = place(server.port, security=security, ca_file=ca_file, timeout=timeout)
    clock = clock or HandClock()
    trace = None if traces is None else traces("pop-client-a")
    opened = await ImapSession.open(there, credentials or password(), kit(clock).dialer, clock, trace)
    yield opened
    await opened.close()


async def refused(
    script: str, credentials: Credentials | None = None, *, tls: ssl.SSLContext | None = None, **how: Any
) -> PostroomError:
    """What a conversation that comes to nothing comes to."""
    try:
        async with ScriptedServer(script, tls=tls) as server, session(server, credentials, **how):
            pass
    except PostroomError as error:
        return error
    pytest.fail("the conversation came about")


HELLO = "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=OAUTHBEARER] hello\n"

# --- greetings --------------------------------------------------------------------------------------------------------


async def test_a_server_that_knows_us_already_is_not_logged_in_to() -> None:
    async with ScriptedServer("S: * PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello") as server, session(server) as s:
        assert s.capabilities == {"IMAP4REV1", "IDLE"}


async def test_capabilities_are_asked_for_where_the_greeting_has_none() -> None:
    script = """
    S: * PREAUTH hello
    C: P1 CAPABILITY
    S: * CAPABILITY IMAP4rev1 IDLE
    S: P1 OK done
    """
    async with ScriptedServer(script) as server, session(server) as s:
        assert s.capabilities == {"IMAP4REV1", "IDLE"}


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        ("* BYE Too many connections", Throttled),
        ("* BYE [ALERT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", Throttled),
        ("* BYE Server is shutting down", Lost),
        ("* BYE", Lost),
        ("* BAD what", RemoteProtocolError),
        ("220 mail.example.org ESMTP", RemoteProtocolError),
        ("+OK POP3 ready", RemoteProtocolError),
        ("SSH-2.0-OpenSSH_9.2", RemoteProtocolError),
        ("* CAPABILITY IMAP4rev1", RemoteProtocolError),
    ],
)
async def test_a_greeting_that_is_no_welcome(greeting: str, kind: type[PostroomError]) -> None:
    error = await refused(f"S: {greeting}")
    assert type(error) is kind
    assert error.fate is Fate.RETRY
    if "BYE " in greeting:
        assert greeting.partition("] ")[2] or greeting[6:] in str(error)


@pytest.mark.parametrize("end", ["[CLOSE]", "[RESET]"])
async def test_a_server_that_says_nothing_and_goes(end: str) -> None:
    assert type(await refused(end)) is Lost


async def test_a_server_that_says_nothing_at_all() -> None:
    error = await refused("[STALL]", timeout=0.05)
    assert type(error) is TimedOut
    assert "within 0.05 s" in str(error)


async def test_a_greeting_without_end() -> None:
    error = await refused("s: * OK " + "x" * 300_000)
    assert "more than" in str(error)


# --- passwords --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dialogue",
    [
        """
        S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello
        C: P1 AUTHENTICATE PLAIN AHVzZXIAcHc=
        S: P1 OK [CAPABILITY IMAP4rev1 IDLE] in
        """,
        """
        # no SASL-IR: the server is waited for
        S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello
        C: P1 AUTHENTICATE PLAIN
        S: +
        C: AHVzZXIAcHc=
        S: P1 OK [CAPABILITY IMAP4rev1 IDLE] in
        """,
        """
        # capabilities neither in the greeting nor in the answer
        S: * OK hello
        C: P1 CAPABILITY
        S: * CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR
        S: P1 OK
        C: P2 AUTHENTICATE PLAIN AHVzZXIAcHc=
        S: P2 OK in
        C: P3 CAPABILITY
        S: * CAPABILITY IMAP4rev1 IDLE
        S: P3 OK
        """,
        """
        # untagged capabilities before the answer, and idle talk
        S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello
        C: P1 AUTHENTICATE PLAIN AHVzZXIAcHc=
        S: * OK still here
        S: * CAPABILITY IMAP4rev1 IDLE
        S: P1 OK in
        """,
        """
        S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=LOGIN] hello
        C: P1 AUTHENTICATE LOGIN
        S: + VXNlcm5hbWU6
        C: dXNlcg==
        S: + UGFzc3dvcmQ6
        C: cHc=
        S: P1 OK [CAPABILITY IMAP4rev1 IDLE] in
        """,
    ],
)
async def test_logins_with_a_password(dialogue: str) -> None:
    async with ScriptedServer(dialogue) as server, session(server) as s:
        assert s.capabilities == {"IMAP4REV1", "IDLE"}


async def test_the_allowed_mechanism_is_taken() -> None:
    script = HELLO + "C: P1 AUTHENTICATE LOGIN\nS: P1 NO not so"
    error = await refused(script, password("LOGIN"))
    assert type(error) is LoginRefused


async def test_no_common_mechanism() -> None:
    error = await refused("S: * OK [CAPABILITY IMAP4rev1 AUTH=CRAM-MD5 LOGINDISABLED] hello", password("PLAIN"))
    assert type(error) is NoMechanism
    assert str(error).endswith("the configuration allows PLAIN; the server offers CRAM-MD5")


async def test_a_wrong_password_is_refused_with_the_servers_words() -> None:
    error = await refused(HELLO + "C: P1 AUTHENTICATE PLAIN AHVzZXIAcHc=\nS: P1 NO [AUTHENTICATIONFAILED] Invalid credentials")
    assert type(error) is LoginRefused
    assert error.fate is Fate.REAUTHORIZE
    assert str(error).endswith("127.0.0.1: NO [AUTHENTICATIONFAILED] Invalid credentials")


PASSING = [
    ("NO [UNAVAILABLE] Temporary authentication failure", ImapStatus),
    ("NO [INUSE] mailbox locked", ImapStatus),
    ("NO [SERVERBUG] oops", ImapStatus),
    ("NO [LIMIT] slow down", Throttled),
    ("NO [ALERT] Too many simultaneous connections. (Failure)", Throttled),
    ("NO [THROTTLED] Account exceeded command or bandwidth limits. Rate limit", Throttled),
    ("BAD User is authenticated but not connected. Try again later", Throttled),
]


@pytest.mark.parametrize(("answer", "kind"), PASSING)
async def test_passing_trouble_is_no_wrong_password(answer: str, kind: type[PostroomError]) -> None:
    error = await refused(HELLO + f"C: P1 AUTHENTICATE PLAIN AHVzZXIAcHc=\nS: P1 {answer}")
    assert type(error) is kind
    assert not isinstance(error, AuthError)
    assert error.fate is Fate.RETRY


@pytest.mark.parametrize(("answer", "kind"), PASSING)
async def test_passing_trouble_asks_for_no_fresh_token(answer: str, kind: type[PostroomError]) -> None:
    google = Google()
    error = await refused(HELLO + f"C: P1 AUTHENTICATE XOAUTH2 {xoauth2('token-1')}\nS: P1 {answer}", google.credentials)
    assert type(error) is kind
    assert len(google.authority.forms) == 1


async def test_a_server_that_goes_on_asking_breaks_the_protocol() -> None:
    error = await refused(HELLO + "C: P1 AUTHENTICATE PLAIN AHVzZXIAcHc=\nS: + bW9yZQ==")
    assert type(error) is RemoteProtocolError


@pytest.mark.parametrize(("last", "kind"), [("S: * BYE no\n[CLOSE]", Lost), ("[CLOSE]", Lost), ("[RESET]", Lost)])
async def test_a_connection_that_ends_in_the_login(last: str, kind: type[PostroomError]) -> None:
    error = await refused(HELLO + f"C: P1 AUTHENTICATE PLAIN AHVzZXIAcHc=\n{last}")
    assert type(error) is kind
    assert error.fate is Fate.RETRY


async def test_a_server_silent_in_the_login() -> None:
    error = await refused(HELLO + "C: P1 AUTHENTICATE PLAIN AHVzZXIAcHc=\n[STALL]", timeout=0.05)
    assert type(error) is TimedOut


# --- tokens -----------------------------------------------------------------------------------------------------------

DENIED = '{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}'
IN = "OK [CAPABILITY IMAP4rev1 IDLE] in"


async def test_a_token_opens_the_mailbox() -> None:
    google = Google()
    script = HELLO + f"C: P1 AUTHENTICATE XOAUTH2 {xoauth2('token-1')}\nS: P1 {IN}"
    async with ScriptedServer(script, script) as server:
        for _ in range(2):
            async with session(server, google.credentials, clock=google.clock) as s:
                assert "IDLE" in s.capabilities
    assert len(google.authority.forms) == 1


async def test_without_sasl_ir_the_token_waits_for_the_server() -> None:
    script = f"""
    S: * OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2] hello
    C: P1 AUTHENTICATE XOAUTH2
    S: +
    C: {xoauth2("token-1")}
    S: P1 {IN}
    """
    async with ScriptedServer(script) as server, session(server, Google().credentials):
        pass


def bearer(token: str, port: int) -> str:
    return encoded(f"n,a=a@b.c,\1host=127.0.0.1\1port={port}\1auth=Bearer {token}\1\1")


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
async def test_a_refused_token_is_replaced_once(mechanism: str) -> None:
    google = Google(mechanism)
    server = ScriptedServer()
    async with server:

        def blob(token: str) -> str:
            return xoauth2(token) if mechanism == "XOAUTH2" else bearer(token, server.port)

        answer = {"XOAUTH2": "", "OAUTHBEARER": "AQ=="}[mechanism]
        server.play(f"""
        {HELLO}
        C: P1 AUTHENTICATE {mechanism} {blob("token-1")}
        S: + {encoded(DENIED)}
        C: {answer}
        S: P1 NO SASL authentication failed
        C: P2 CAPABILITY
        S: * CAPABILITY IMAP4rev1 SASL-IR AUTH={mechanism}
        S: P2 OK
        C: P3 AUTHENTICATE {mechanism} {blob("token-2")}
        S: P3 {IN}
        """)
        async with session(server, google.credentials, clock=google.clock):
            pass
    assert len(google.authority.forms) == 2


async def test_the_standard_mechanism_is_preferred() -> None:
    google = Google("XOAUTH2", "OAUTHBEARER")
    async with ScriptedServer() as server:
        server.play(f"{HELLO}C: P1 AUTHENTICATE OAUTHBEARER {bearer('token-1', server.port)}\nS: P1 {IN}")
        async with session(server, google.credentials):
            pass


def twice(challenge: str) -> str:
    lines = [HELLO]
    for tag, token in ((1, "token-1"), (3, "token-2")):
        lines.append(f"C: P{tag} AUTHENTICATE XOAUTH2 {xoauth2(token)}")
        if challenge:
            lines += [f"S: + {challenge}", "C: "]
        lines.append(f"S: P{tag} NO AUTHENTICATE failed.")
        if tag == 1:
            lines += ["C: P2 CAPABILITY", "S: * CAPABILITY SASL-IR AUTH=XOAUTH2", "S: P2 OK"]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        (encoded(DENIED), "(status 401, wanted scope https://mail.google.com/)"),
        (encoded('{"status":"invalid_token"}'), "(status invalid_token)"),
        (encoded("no json"), "(no json)"),
        (encoded("[]"), "([])"),
        ("in clear, as Microsoft did", "(in clear, as Microsoft did)"),
        ("", "AUTHENTICATE failed."),
    ],
)
async def test_a_token_refused_twice_is_told_of_with_the_servers_reason(challenge: str, words: str) -> None:
    google = Google()
    error = await refused(twice(challenge), google.credentials, clock=google.clock)
    assert type(error) is LoginRefused
    assert str(error).endswith(words)
    assert len(google.authority.forms) == 2
    assert "token" not in str(error).replace("invalid_token", "")


async def test_a_refusal_by_the_authority_is_told_of_in_its_words() -> None:
    google = Google()
    google.authority.answers.append(refusal("invalid_grant", "Token has been expired or revoked."))
    error = await refused(HELLO, google.credentials)
    assert isinstance(error, TokenRefused)
    assert "Token has been expired or revoked." in str(error)


async def test_a_conversation_ends_with_its_token() -> None:
    google = Google()
    script = HELLO + f"C: P1 AUTHENTICATE XOAUTH2 {xoauth2('token-1')}\nS: P1 {IN}\nC: P2 NOOP\nS: * BYE Session expired\n[CLOSE]"
    async with ScriptedServer(script, script) as server:
        for passed, kind in ((0, Lost), (3600, SessionEnded)):
            google.clock = HandClock(START)
            there = place(server.port)
            s = await ImapSession.open(there, Google().credentials, kit(google.clock).dialer, google.clock, None)
            google.clock.advance(passed)
            with pytest.raises(Lost, match="Session expired") as caught:
                await s.command(b"NOOP")
            assert type(caught.value) is kind


async def test_the_trace_holds_no_secret() -> None:
    google = Google()
    traces = Traces()
    await refused(twice(encoded(DENIED)), google.credentials, clock=google.clock, traces=traces)
    plain = HELLO + "C: P1 AUTHENTICATE PLAIN AHVzZXIAcHc=\nS: P1 NO no"
    await refused(plain, traces=traces)
    said = [line for side, line in traces.lines if side == "C"]
    assert said == [
        "P1 AUTHENTICATE XOAUTH2 ***",
        "***",
        "P2 CAPABILITY",
        "P3 AUTHENTICATE XOAUTH2 ***",
        "***",
        "P1 AUTHENTICATE PLAIN ***",
    ]
    assert len(traces.lines) > 2 * len(said)


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority_of_names() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority_of_names: trustme.CA, tmp_path: Path) -> Path:
    authority_of_names.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path / "ca.pem"


def served(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


CLEAR = "S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=X-EVIL] hello\nC: P1 STARTTLS\n"


async def test_what_was_said_in_clear_counts_for_nothing(authority_of_names: trustme.CA, ca_file: Path) -> None:
    script = (
        CLEAR
        + """
        S: P1 OK begin
        [TLS]
        C: P2 CAPABILITY
        S: * CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN
        S: P2 OK
        C: P3 AUTHENTICATE PLAIN AHVzZXIAcHc=
        S: P3 OK [CAPABILITY IMAP4rev1 IDLE] in
        """
    )
    tls = served(authority_of_names, "localhost")
    async with ScriptedServer(script, tls=tls) as server, session(server, security=Security.START_TLS, ca_file=ca_file) as s:
        assert s.capabilities == {"IMAP4REV1", "IDLE"}


INJECTED: Sequence[str] = [
    "* CAPABILITY IMAP4rev1 AUTH=PLAIN",
    "P2 OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] injected",
    "* 1 FETCH (BODY[] {5}",
    "* ",
]


@pytest.mark.parametrize("line", INJECTED)
async def test_octets_before_tls_are_refused(line: str, ca_file: Path) -> None:
    error = await refused(f"{CLEAR}S: P1 OK begin\nS: {line}\n", security=Security.START_TLS, ca_file=ca_file)
    assert type(error) is TlsError
    assert "somebody may be in between" in str(error)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello", "does not offer STARTTLS"),
        ("S: * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hello", "logged in before TLS could begin"),
        ("S: * OK hello\nC: P1 CAPABILITY\nS: * CAPABILITY IMAP4rev1\nS: P1 OK", "does not offer STARTTLS"),
    ],
)
async def test_nothing_is_said_where_tls_cannot_begin(script: str, words: str) -> None:
    error = await refused(script, security=Security.START_TLS)
    assert type(error) is TlsError
    assert words in str(error)


async def test_a_server_that_takes_starttls_back() -> None:
    error = await refused(CLEAR + "S: P1 BAD not now", security=Security.START_TLS)
    assert type(error) is ImapStatus


async def test_a_certificate_of_another_name_is_refused_at_starttls(authority_of_names: trustme.CA, ca_file: Path) -> None:
    tls = served(authority_of_names, "other.example")
    error = await refused(CLEAR + "S: P1 OK begin\n[TLS]", tls=tls, security=Security.START_TLS, ca_file=ca_file)
    assert type(error) is TlsError
    assert "localhost" in str(error)


async def test_noise_instead_of_tls(ca_file: Path) -> None:
    error = await refused(CLEAR + "S: P1 OK begin\n[CLOSE]", security=Security.START_TLS, ca_file=ca_file)
    assert error.fate is Fate.RETRY
