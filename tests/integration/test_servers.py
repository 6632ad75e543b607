"""The test servers themselves: what other tests take for granted of them is shown here, by Python's own clients."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import http.client
import imaplib
import json
import poplib
import smtplib
import socket
import socketserver
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.authority import OTHER, TEST, Authority
from servers.certificates import Certificates
from servers.dovecot import FIRST_SEEDED, Dovecot
from servers.dovecot_config import PASSWORD
from servers.proxy import Cut, FaultProxy, How
from servers.waiting import wait_for


def message(number: int) -> bytes:
    """A small message whose octets show mistakes: eight-bit, a line that looks like an mbox, no end of line."""
    return (
        f"Message-ID: <{number}@example.test>\r\nSubject: =?utf-8?q?N=C2=B0?= {number}\r\n\r\nFrom nobody\r\n.\r\nGrüße {number}"
    ).encode()


def answer(authority: Authority, refresh_token: str, *, url: str = "", **form: str) -> dict[str, object]:
    """The answer to a plain POST as in RFC 6749 section 6; ``form`` replaces or adds fields."""
    fields = {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        "client_id": TEST.id,
        "client_secret": TEST.secret,
        **form,
    }
    with urllib.request.urlopen(url or authority.token_url, urllib.parse.urlencode(fields).encode()) as reply:
        decoded: dict[str, object] = json.load(reply)
    return decoded


def ask(authority: Authority, refresh_token: str) -> str:
    """The access token for a refresh token."""
    return str(answer(authority, refresh_token)["access_token"])


def refusal(authority: Authority, refresh_token: str, **form: str) -> tuple[int, str]:
    """The status and RFC 6749's error word of a request that must fail."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        answer(authority, refresh_token, **form)
    return caught.value.code, json.load(caught.value)["error"]


AS_OTHER = {"client_id": OTHER.id, "client_secret": OTHER.secret}


class Sasl:
    """A bearer token's conversation; it remembers the server's challenges."""

    def __init__(self, mechanism: str, user: str, token: str) -> None:
        self.mechanism = mechanism
        self.challenges: list[bytes] = []
        first = {"XOAUTH2": f"user={user}\1", "OAUTHBEARER": f"n,a={user},\1"}
        self._answers = [f"{first[mechanism]}auth=Bearer {token}\1\1".encode(), b"\1"]

    def __call__(self, challenge: bytes) -> bytes:
        self.challenges.append(challenge)
        return self._answers.pop(0)


def log_in(dovecot: Dovecot, sasl: Sasl) -> str:
    with imaplib.IMAP4(dovecot.host, dovecot.imap_port) as connection:
        status, _ = connection.authenticate(sasl.mechanism, sasl)
        return status


def assert_refused(dovecot: Dovecot, sasl: Sasl) -> None:
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        log_in(dovecot, sasl)
    challenge = json.loads(sasl.challenges[-1])
    assert challenge["status"] == {"XOAUTH2": "401", "OAUTHBEARER": "invalid_token"}[sasl.mechanism]
    assert challenge["openid-configuration"].endswith("/.well-known/openid-configuration")


both_mechanisms = pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])


class TestTokens:
    @both_mechanisms
    def test_a_token_from_the_token_endpoint_logs_in(
        self, authority: Authority, dovecot: Dovecot, mailbox_user: str, mechanism: str
    ) -> None:
        token = ask(authority, authority.refresh_token(mailbox_user))
        assert log_in(dovecot, Sasl(mechanism, mailbox_user, token)) == "OK"

    @both_mechanisms
    def test_bad_tokens_are_refused_with_a_challenge(
        self, authority: Authority, dovecot: Dovecot, mailbox_user: str, mechanism: str
    ) -> None:
        revoked = ask(authority, authority.refresh_token(mailbox_user))
        assert authority.revoke_access(revoked) == 1
        for token in (
            "never-was-a-token",
            authority.access_token("somebody.else@example.test"),
            authority.access_token(mailbox_user, ttl=0),
            revoked,
        ):
            assert_refused(dovecot, Sasl(mechanism, mailbox_user, token))

    def test_a_token_ends_with_its_lifetime(self, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        authority.set_access_ttl(1)
        refresh_token = authority.refresh_token(mailbox_user)
        given = answer(authority, refresh_token)
        assert given["expires_in"] == 1
        token = str(given["access_token"])
        wait_for(lambda: not accepted(dovecot, mailbox_user, token), "the end of the token", timeout=5)

    def test_tokens_as_long_as_those_of_microsoft(self, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        authority.set_token_length(2000)
        token = ask(authority, authority.refresh_token(mailbox_user))
        assert len(token) == 2000
        assert accepted(dovecot, mailbox_user, token)

    def test_all_tokens_of_an_account_end_at_once(self, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        mine = [ask(authority, authority.refresh_token(mailbox_user)) for _ in range(2)]
        others = authority.access_token("somebody.else@example.test")
        assert authority.revoke_access(account=mailbox_user) == 2
        assert not any(accepted(dovecot, mailbox_user, token) for token in mine)
        assert accepted(dovecot, "somebody.else@example.test", others)

    def test_an_authority_in_trouble_is_no_refusal(self, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
        token = authority.access_token(mailbox_user)
        authority.fault("unavailable", endpoint="introspection")
        with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE"):
            log_in(dovecot, Sasl("XOAUTH2", mailbox_user, token))
        assert accepted(dovecot, mailbox_user, token)


def accepted(dovecot: Dovecot, user: str, token: str) -> bool:
    try:
        return log_in(dovecot, Sasl("XOAUTH2", user, token)) == "OK"
    except imaplib.IMAP4.error:
        return False


class TestTokenEndpoint:
    @pytest.mark.parametrize(
        "scope",
        [
            "https://mail.google.com/",
            "https://outlook.office.com/.default offline_access",
            "openid offline_access mail",
        ],
    )
    def test_the_scopes_and_paths_of_the_providers(self, authority: Authority, mailbox_user: str, scope: str) -> None:
        refresh_token = authority.refresh_token(mailbox_user)
        for url in (authority.token_url, authority.microsoft_token_url("contoso.example")):
            granted = answer(authority, refresh_token, url=url, scope=scope)
            assert set(str(granted["scope"]).split()) == set(scope.split())
            assert "refresh_token" not in granted  # the old one stays good and is not repeated
        assert [(entry.path, entry.scope, entry.status) for entry in authority.requests(mailbox_user)] == [
            ("/token", scope, 200),
            ("/contoso.example/oauth2/v2.0/token", scope, 200),
        ]

    def test_it_speaks_tls(self, authority: Authority, dovecot: Dovecot) -> None:
        url = f"{authority.https_url}/.well-known/openid-configuration"
        with urllib.request.urlopen(url, context=dovecot.tls()) as reply:
            assert json.load(reply)["issuer"] == authority.url

    def test_refusals(self, authority: Authority, mailbox_user: str) -> None:
        good = authority.refresh_token(mailbox_user)
        assert refusal(authority, good, **AS_OTHER) == (400, "invalid_grant")
        assert refusal(authority, good, client_secret="wrong") == (401, "invalid_client")
        assert refusal(authority, good, scope="no.such.scope") == (400, "invalid_scope")
        assert refusal(authority, "never-was-a-token") == (400, "invalid_grant")
        assert refusal(authority, authority.refresh_token(mailbox_user, ttl=0)) == (400, "invalid_grant")
        authority.revoke_refresh(account=mailbox_user)
        assert refusal(authority, good) == (400, "invalid_grant")

    def test_each_client_has_its_own_tokens(self, authority: Authority, mailbox_user: str) -> None:
        answer(authority, authority.refresh_token(mailbox_user, client=OTHER), **AS_OTHER)
        [entry] = authority.requests(mailbox_user)
        assert (entry.client_id, entry.grant_type, entry.authentication) == (OTHER.id, "refresh_token", "post")

    def test_rotation_ends_everything_on_reuse(self, authority: Authority, mailbox_user: str) -> None:
        first = authority.refresh_token(mailbox_user, rotate=True)
        second = str(answer(authority, first)["refresh_token"])
        assert second != first
        assert refusal(authority, first) == (400, "invalid_grant")
        assert refusal(authority, second) == (400, "invalid_grant")

    def test_rotation_that_keeps_the_old_token(self, authority: Authority, mailbox_user: str) -> None:
        authority.rotate(True, reuse_detection=False)
        first = authority.refresh_token(mailbox_user)
        second = str(answer(authority, first)["refresh_token"])
        assert second != first
        assert ask(authority, first)
        assert ask(authority, second)

    def test_faults(self, authority: Authority, mailbox_user: str) -> None:
        refresh_token = authority.refresh_token(mailbox_user)
        authority.fault("throttled", retry_after=7)
        with pytest.raises(urllib.error.HTTPError) as throttled:
            ask(authority, refresh_token)
        assert (throttled.value.code, throttled.value.headers["Retry-After"]) == (429, "7")
        authority.fault("unavailable", 2)
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError, match="503"):
                ask(authority, refresh_token)
        authority.fault("broken")
        with pytest.raises(json.JSONDecodeError):
            ask(authority, refresh_token)
        authority.fault("answer", status=400, body='{"error":"invalid_grant","error_description":"AADSTS50173"}')
        assert refusal(authority, refresh_token) == (400, "invalid_grant")
        assert ask(authority, refresh_token)
        assert [entry.status for entry in authority.requests(mailbox_user)] == [429, 503, 503, 200, 400, 200]

    def test_an_answer_that_is_lost_was_processed(self, authority: Authority, mailbox_user: str) -> None:
        first = authority.refresh_token(mailbox_user, rotate=True)
        authority.fault("drop")
        with pytest.raises(http.client.RemoteDisconnected):
            ask(authority, first)
        authority.fault("lost")
        with pytest.raises(http.client.RemoteDisconnected):
            ask(authority, first)
        assert refusal(authority, first) == (400, "invalid_grant")  # it was used: the dropped request did not count
        assert [entry.fault for entry in authority.requests(mailbox_user)] == ["drop", "lost", None]

    def test_a_slow_answer(self, authority: Authority, mailbox_user: str) -> None:
        authority.fault("delay", seconds=0.2)
        begun = time.monotonic()
        assert ask(authority, authority.refresh_token(mailbox_user))
        assert time.monotonic() - begun >= 0.2

    def test_consent_without_a_browser(self, authority: Authority, mailbox_user: str) -> None:
        redirected = consent(authority, mailbox_user)
        form = {"grant_type": "authorization_code", "code": redirected["code"], "redirect_uri": REDIRECT}
        given = answer(authority, "", **form)
        assert ask(authority, str(given["refresh_token"]))
        assert consent(authority, "deny")["error"] == "access_denied"


REDIRECT = "http://127.0.0.1:1/callback"


def consent(authority: Authority, login_hint: str) -> dict[str, str]:
    """What the application is told at its redirect address, after Google's path to the consent page."""
    query = {
        "client_id": TEST.id,
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "openid offline_access https://mail.google.com/",
        "prompt": "consent",
        "login_hint": login_hint,
    }
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(), StopAtTheApplication())
    with pytest.raises(urllib.error.HTTPError) as redirected:
        browser.open(f"{authority.url}/o/oauth2/v2/auth?{urllib.parse.urlencode(query)}")
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(redirected.value.headers["Location"]).query))


class StopAtTheApplication(urllib.request.HTTPRedirectHandler):
    """A browser that follows the authority's redirections and fails at the one to the application."""

    def redirect_request(
        self, req: urllib.request.Request, fp: object, code: int, msg: str, headers: object, newurl: str
    ) -> urllib.request.Request | None:
        return None if newurl.startswith(REDIRECT) else urllib.request.Request(newurl)


class TestTls:
    def test_imap(self, dovecot: Dovecot, mailbox_user: str) -> None:
        with imaplib.IMAP4(dovecot.host, dovecot.imap_port) as plain:
            plain.starttls(dovecot.tls())
            plain.login(mailbox_user, PASSWORD)
        with imaplib.IMAP4_SSL("127.0.0.1", dovecot.imaps_port, ssl_context=dovecot.tls()) as wrapped:
            wrapped.login(mailbox_user, PASSWORD)

    def test_pop3(self, dovecot: Dovecot, mailbox_user: str) -> None:
        plain = poplib.POP3(dovecot.host, dovecot.pop3_port)
        plain.stls(dovecot.tls())
        wrapped = poplib.POP3_SSL(dovecot.host, dovecot.pop3s_port, context=dovecot.tls())
        for connection in (plain, wrapped):
            connection.user(mailbox_user)
            connection.pass_(PASSWORD)
            connection.quit()
        assert [session.protocol for session in dovecot.ended(mailbox_user, at_least=2)] == ["pop3", "pop3"]

    def test_a_client_that_does_not_know_the_authority(self, dovecot: Dovecot) -> None:
        with pytest.raises(ssl.SSLCertVerificationError):
            imaplib.IMAP4_SSL(dovecot.host, dovecot.imaps_port, ssl_context=ssl.create_default_context())

    def test_a_certificate_with_another_name(self, real_servers: None, certificates: Certificates) -> None:
        with Dovecot(certificates=certificates, certificate_names=("wrong.example",)) as other:
            with pytest.raises(ssl.SSLCertVerificationError, match="ostname mismatch"):
                imaplib.IMAP4_SSL(other.host, other.imaps_port, ssl_context=other.tls())
            other.restart(certificate_names=("localhost",))
            with imaplib.IMAP4_SSL(other.host, other.imaps_port, ssl_context=other.tls()) as connection:
                assert "AUTH=XOAUTH2" not in connection.capabilities  # no authority was given


class TestMail:
    def test_two_thousand_seeded_messages_read_back_octet_for_octet(self, dovecot: Dovecot, mailbox_user: str) -> None:
        messages = [message(number) for number in range(2000)]
        dovecot.seed(mailbox_user, messages)
        assert dovecot.raw(mailbox_user) == dict(enumerate(messages, start=1))

    def test_internal_dates(self, real_servers: None, certificates: Certificates) -> None:
        when = datetime.datetime(2001, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
        user = "dates@example.test"
        with Dovecot(certificates=certificates) as fresh:
            fresh.seed(user, [message(1), message(2)])
            fresh.deliver(user, message(3), when=when)
            with fresh.imap(user) as connection:
                connection.select(readonly=True)
                _, lines = connection.fetch("1:*", "(INTERNALDATE)")
        dates = [imaplib.Internaldate2tuple(line) for line in lines if isinstance(line, bytes)]
        stamps = [int(time.mktime(date)) for date in dates if date]
        assert stamps == [FIRST_SEEDED, FIRST_SEEDED + 1, int(when.timestamp())]

    def test_folders(self, dovecot: Dovecot, mailbox_user: str) -> None:
        for number, folder in enumerate(["INBOX", "Archive/2026", "Entwürfe & mehr"]):
            dovecot.seed(mailbox_user, [message(number)], folder)
            dovecot.deliver(mailbox_user, message(number + 100), folder)
            assert list(dovecot.raw(mailbox_user, folder).values()) == [message(number), message(number + 100)]

    @pytest.mark.parametrize("when", [None, datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)])
    def test_delivery_is_told_to_a_waiting_session(
        self, dovecot: Dovecot, mailbox_user: str, when: datetime.datetime | None
    ) -> None:
        with dovecot.imap(mailbox_user) as connection:
            connection.select()
            connection.send(b"x IDLE\r\n")
            assert connection.readline().startswith(b"+")
            dovecot.deliver(mailbox_user, message(1), when=when)
            connection.sock.settimeout(10)
            assert connection.readline() == b"* 1 EXISTS\r\n"
            connection.send(b"DONE\r\n")

    def test_lmtp(self, dovecot: Dovecot, mailbox_user: str) -> None:
        with smtplib.LMTP("127.0.0.1", dovecot.lmtp_port) as lmtp:
            lmtp.sendmail("a@example.test", mailbox_user, message(1))
        [stored] = dovecot.raw(mailbox_user).values()
        assert stored.startswith(b"Return-Path: <a@example.test>\r\n")
        assert stored.rstrip().endswith("Grüße 1".encode())

    def test_a_restored_backup_gives_uids_again(self, dovecot: Dovecot, mailbox_user: str, tmp_path: Path) -> None:
        dovecot.seed(mailbox_user, [message(1), message(2)])
        before = uid_validity(dovecot, mailbox_user)
        dovecot.raw(mailbox_user)
        dovecot.copy_maildir(mailbox_user, tmp_path / "backup")
        dovecot.deliver(mailbox_user, message(3))
        assert dovecot.raw(mailbox_user)[3] == message(3)
        dovecot.restore_maildir(mailbox_user, tmp_path / "backup")
        assert dovecot.raw(mailbox_user) == {1: message(1), 2: message(2)}
        dovecot.deliver(mailbox_user, message(4))
        assert dovecot.raw(mailbox_user)[3] == message(4)
        assert uid_validity(dovecot, mailbox_user) == before

    def test_a_cleared_mailbox_is_empty(self, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [message(1)])
        connection = imaplib.IMAP4(dovecot.host, dovecot.imap_port)
        connection.login(mailbox_user, PASSWORD)
        connection.select()
        assert dovecot.sessions(mailbox_user) == 1
        dovecot.clear(mailbox_user)
        assert connection.readline() == b"* BYE Server shutting down.\r\n"
        connection.shutdown()
        assert dovecot.raw(mailbox_user) == {}

    def test_octets_of_a_client_are_counted(self, dovecot: Dovecot, mailbox_user: str) -> None:
        connection = imaplib.IMAP4(dovecot.host, dovecot.imap_port)
        connection.login(mailbox_user, PASSWORD)
        connection.send(b"x NOOP\r\ny LOGOUT\r\n")
        connection.shutdown()
        [session] = dovecot.ended(mailbox_user, at_least=1)
        assert session.protocol == "imap"
        # Dovecot does not count the line end of the last command.
        assert dovecot.octets_in(mailbox_user) == session.octets_in == len(b"x NOOP\r\ny LOGOUT")

    def test_a_poor_server(self, real_servers: None, certificates: Certificates) -> None:
        with Dovecot(certificates=certificates, imap="imap_capability = IMAP4rev1 IDLE") as poor:
            with poor.imap("a@example.test") as connection:
                _, capabilities = connection.capability()
            assert capabilities[-1] == b"IMAP4rev1 IDLE"

    def test_many_refused_logins_cost_the_next_one_nothing(self, dovecot: Dovecot, mailbox_user: str) -> None:
        for _ in range(4):
            with pytest.raises(imaplib.IMAP4.error), imaplib.IMAP4(dovecot.host, dovecot.imap_port) as refused:
                refused.login(mailbox_user, "another password")
        begun = time.monotonic()
        connections = [imaplib.IMAP4(dovecot.host, dovecot.imap_port) for _ in range(100)]
        for connection in connections:
            connection.login(mailbox_user, PASSWORD)
        assert dovecot.sessions(mailbox_user) == 100
        for connection in connections:
            connection.logout()
        assert time.monotonic() - begun < 15  # the penalty by default, for the first login alone


def uid_validity(dovecot: Dovecot, user: str) -> str:
    return dovecot.doveadm("mailbox", "status", "-u", user, "uidvalidity", "INBOX").strip()


class Echo(socketserver.StreamRequestHandler):
    """A server that greets and then sends back what it gets."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            self.request.sendall(b"hello\n")
            while data := self.request.recv(65536):
                self.request.sendall(data)


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """The port of an echoing server."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield server.server_address[1]
        server.shutdown()


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


class TestProxy:
    def test_it_passes_and_counts(self, echo: int) -> None:
        with FaultProxy("127.0.0.1", echo) as proxy:
            with socket.create_connection((proxy.host, proxy.port)) as client:
                assert client.recv(100) == b"hello\n"
                for word in (b"one", b"two"):
                    client.sendall(word)
                    assert client.recv(100) == word
                client.shutdown(socket.SHUT_WR)
                assert read_all(client) == b""
            assert proxy.connections == 1
            assert (proxy.total.to_server, proxy.total.to_client, proxy.total.round_trips) == (6, 12, 2)

    def test_much_data_in_both_directions(self, echo: int) -> None:
        octets = bytes(range(256)) * 20_000
        with FaultProxy("127.0.0.1", echo) as proxy, socket.create_connection((proxy.host, proxy.port)) as client:
            client.settimeout(30)
            sender = client.dup()

            def send() -> None:
                sender.sendall(octets)
                sender.shutdown(socket.SHUT_WR)

            thread = threading.Thread(target=send)
            thread.start()
            assert read_all(client) == b"hello\n" + octets
            thread.join()
            sender.close()

    @pytest.mark.parametrize("how", ["fin", "rst", "stall"])
    @pytest.mark.parametrize("after", [0, 1, 6, 9])
    def test_cut_towards_the_client(self, echo: int, how: How, after: int) -> None:
        with FaultProxy("127.0.0.1", echo) as proxy:
            proxy.cut_next(Cut("to_client", after, how))
            with socket.create_connection((proxy.host, proxy.port)) as client:
                client.settimeout(0.2)
                if after > len(b"hello\n"):
                    client.sendall(b"world\n")
                assert received(client, after) == (b"hello\nworld\n"[:after], how)
            assert proxy.total.to_client == after
            wait_for(lambda: proxy.living == 0, "the end of the connection")
            assert greeting(proxy) == b"hello\n"  # only the one connection was to be cut

    @pytest.mark.parametrize("how", ["fin", "rst", "stall"])
    def test_cut_towards_the_server(self, echo: int, how: How) -> None:
        with FaultProxy("127.0.0.1", echo, cut=Cut("to_server", 3, how)) as proxy:
            with socket.create_connection((proxy.host, proxy.port)) as client:
                client.settimeout(0.2)
                assert client.recv(100) == b"hello\n"
                client.sendall(b"world\n")
                data, end = received(client, 3)
                assert b"wor".startswith(data)
                assert end == how
            assert proxy.total.to_server == 3

    @pytest.mark.parametrize("how", ["fin", "rst", "stall"])
    def test_cut_all(self, echo: int, how: How) -> None:
        with FaultProxy("127.0.0.1", echo) as proxy, socket.create_connection((proxy.host, proxy.port)) as client:
            client.settimeout(0.2)
            assert client.recv(100) == b"hello\n"
            assert proxy.cut_all(how) == 1
            assert received(client, 0) == (b"", how)

    def test_nobody_listens_behind_it(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        with FaultProxy("127.0.0.1", port) as proxy, pytest.raises(ConnectionResetError):
            greeting(proxy)

    async def test_delay_keeps_order_and_lets_much_be_under_way(self, echo: int) -> None:
        async with FaultProxy("127.0.0.1", echo, delay=0.05) as proxy:
            now = asyncio.get_running_loop().time
            begun = now()
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
            assert await reader.readline() == b"hello\n"
            assert now() - begun >= 0.15  # SYN, its answer, and the greeting's way
            begun = now()
            for number in range(100):
                writer.write(b"%d\n" % number)
                await asyncio.sleep(0.001)
            assert [await reader.readline() for _ in range(100)] == [b"%d\n" % number for number in range(100)]
            assert 0.1 <= now() - begun < 5  # one round trip beyond the sending; a hundred would be ten seconds
            writer.close()
            await writer.wait_closed()

    async def test_cut_all_inside_a_loop(self, echo: int) -> None:
        async with FaultProxy("127.0.0.1", echo) as proxy:
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port)
            await reader.readline()
            proxy.cut_all()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()

    def test_before_dovecot(self, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [message(1)])
        with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
            with imaplib.IMAP4(proxy.host, proxy.port) as connection:
                connection.login(mailbox_user, PASSWORD)
                connection.select()
            whole = proxy.total.to_client
            assert proxy.total.round_trips == 4  # CAPABILITY, LOGIN, SELECT, LOGOUT
            proxy.cut_next(Cut("to_client", whole // 2, "rst"))
            connection = imaplib.IMAP4(proxy.host, proxy.port)
            with pytest.raises((imaplib.IMAP4.abort, OSError)):
                connection.login(mailbox_user, PASSWORD)
            connection.shutdown()


def greeting(proxy: FaultProxy) -> bytes:
    with socket.create_connection((proxy.host, proxy.port)) as client:
        return client.recv(100)


def received(client: socket.socket, at_most: int) -> tuple[bytes, How]:
    """What still arrives, and how the connection ends (a silence of the socket's time-out is a stall)."""
    data = b""
    try:
        while chunk := client.recv(100):
            data += chunk
            assert len(data) <= at_most
    except ConnectionResetError:
        return data, "rst"
    except TimeoutError:
        return data, "stall"
    return data, "fin"
