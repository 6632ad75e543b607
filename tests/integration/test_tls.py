"""TLS from the start and by STARTTLS: whom it trusts, and that nothing secret is said before it is trusted."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Conversation, Gate, Here, Scripted, basic, letter, oauth, rig_sections

from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD

SECURITIES = ("ssl-tls", "start-tls")
both_securities = pytest.mark.parametrize("security", SECURITIES)


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture(scope="module")
def stranger(authority: Authority, certificates: Certificates) -> Iterator[Dovecot]:
    """A server whose certificate holds another name."""
    with Dovecot(authority.tokens, certificates=certificates, certificate_names=("wrong.example",)) as running:
        yield running


def port_of(dovecot: Dovecot, security: str) -> int:
    return dovecot.imaps_port if security == "ssl-tls" else dovecot.imap_port


def put_both(here: Here, dovecot: Dovecot, authority: Authority, user: str, **options: object) -> None:
    """For each security a client with a password and one with a token."""
    here.change(rig_sections(authority))
    for security in SECURITIES:
        common = {"pop_connection_security": security, **options}
        port = port_of(dovecot, security)
        here.put(f"pop-client-{security}-password", basic(port, f"{security}.{user}", **common))
        token = authority.refresh_token(f"{security}.token.{user}")
        here.put(f"pop-client-{security}-token", oauth(port, f"{security}.token.{user}", token, **common))


# --- trusted ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["localhost", "127.0.0.1"])
def test_with_the_authority_in_tls_ca_file(
    here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str, server: str
) -> None:
    put_both(here, dovecot, authority, mailbox_user, tls_ca_file=dovecot.ca_file, server=server)
    for security in SECURITIES:
        dovecot.deliver(f"{security}.{mailbox_user}", letter(1, 100_000))
    reports = here.read()
    assert {client: report["captured"] for client, report in reports.items()} == {
        "pop-client-ssl-tls-password": 1,
        "pop-client-ssl-tls-token": 0,
        "pop-client-start-tls-password": 1,
        "pop-client-start-tls-token": 0,
    }
    for security in SECURITIES:
        [line] = [line for line in dovecot.log_text().splitlines() if f"Login: user=<{security}.{mailbox_user}>" in line][-1:]
        assert ", TLS" in line


def test_the_authority_over_tls(here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
    """The refresh token too goes to a trusted place only."""
    here.change(rig_sections(authority))
    here.put("authority-rig", {"token_endpoint": f"{authority.https_url}/token"})
    here.put("pop-client-a", oauth(dovecot.imap_port, mailbox_user, authority.refresh_token(mailbox_user)))
    finding = here.check()["pop-client-a"]
    assert "certificate" in finding["words"]
    assert authority.https_url in finding["words"]
    assert "tls-ca-file" in finding["remedy"]
    assert authority.count(mailbox_user) == 0
    here.put("authority-rig", {"tls-ca-file": dovecot.ca_file})
    assert here.check()["pop-client-a"]["ok"]
    assert authority.count(mailbox_user) == 1


# --- not trusted ------------------------------------------------------------------------------------------------------


def assert_untrusted(here: Here, server: Dovecot, authority: Authority, user: str, words: str) -> None:
    """No client logs in, each says why, and nobody's name or token has left this machine's memory."""
    before = len(server.log_text())
    findings = here.check()
    assert len(findings) == 4
    for finding in findings.values():
        assert not finding["ok"]
        assert words in finding["words"], finding
        assert "tls-ca-file" in finding["remedy"]
    assert authority.count(f"ssl-tls.token.{user}") == authority.count(f"start-tls.token.{user}") == 0
    log = server.log_text()[before:]
    assert user not in log
    assert "Login" not in log


def test_another_name(here: Here, authority: Authority, stranger: Dovecot, mailbox_user: str) -> None:
    put_both(here, stranger, authority, mailbox_user, tls_ca_file=stranger.ca_file)
    assert_untrusted(here, stranger, authority, mailbox_user, "Hostname mismatch, certificate is not valid for 'localhost'")


def test_an_unknown_authority(here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
    put_both(here, dovecot, authority, mailbox_user)
    assert_untrusted(here, dovecot, authority, mailbox_user, "unable to get local issuer certificate")


def test_another_companys_authority(here: Here, authority: Authority, dovecot: Dovecot, mailbox_user: str) -> None:
    with Certificates() as others:
        put_both(here, dovecot, authority, mailbox_user, tls_ca_file=others.ca_file)
        assert_untrusted(here, dovecot, authority, mailbox_user, "unable to get local issuer certificate")


def test_before_tls_only_starttls_is_said(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """What passes in clear, octet by octet: the wish for TLS and then TLS records alone."""
    with Gate(dovecot.imap_port) as proxy:
        here.put("pop-client-a", basic(proxy.port, mailbox_user, pop_connection_security="start-tls"))
        assert not here.check()["pop-client-a"]["ok"]
        here.put("pop-client-a", {"tls-ca-file": dovecot.ca_file})
        assert here.check()["pop-client-a"]["ok"]
    assert proxy.said.startswith(b"P1 STARTTLS\r\n\x16\x03")  # and a TLS handshake (RFC 8446 section 5.1)
    assert proxy.said.count(b"P1 STARTTLS\r\n\x16\x03") == 2
    assert_no_password(proxy.said, mailbox_user)


def assert_no_password(said: bytes | bytearray, user: str) -> None:
    """Neither as it is, nor in the forms of PLAIN and LOGIN."""
    assert user.encode() not in said
    for secret in (f"\0{user}\0{PASSWORD}", user):
        assert base64.b64encode(secret.encode()) not in said
    assert b"AUTHENTICATE" not in said
    assert b"LOGIN" not in said


# --- servers that will not, and those in between ----------------------------------------------------------------------


def without_starttls(talk: Conversation) -> None:
    talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=LOGIN] ready")
    for tag, _ in talk.commands():
        talk.say(f"{tag} OK done")


def refusing_starttls(talk: Conversation) -> None:
    talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR STARTTLS AUTH=PLAIN] ready")
    for tag, command in talk.commands():
        talk.say(f"{tag} NO not today" if command == "STARTTLS" else f"{tag} OK done")


def saying_more(talk: Conversation) -> None:
    """Somebody in between puts an answer of his own behind the server's, to be taken for one that came over TLS."""
    talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR STARTTLS AUTH=PLAIN] ready")
    for tag, command in talk.commands():
        if command == "STARTTLS":
            talk.say(f"{tag} OK begin", "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] injected", "P2 OK injected")
        else:
            talk.say(f"{tag} OK done")


def half_a_line(talk: Conversation) -> None:
    """The same with the beginning of a line, which the first octets over TLS would end."""
    talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR STARTTLS AUTH=PLAIN] ready")
    for tag, command in talk.commands():
        talk.connection.sendall(f"{tag} OK {command}\r\n* OK [CAPAB".encode())


def logged_in_already(talk: Conversation) -> None:
    """STARTTLS is not possible after PREAUTH (RFC 9051 section 6.2.1): a way to keep a client in clear."""
    talk.say("* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome")
    for tag, _ in talk.commands():
        talk.say(f"{tag} OK done")


def without_tls(talk: Conversation) -> None:
    """STARTTLS is taken, and what follows is no TLS."""
    talk.say("* OK [CAPABILITY IMAP4rev1 SASL-IR STARTTLS AUTH=PLAIN] ready")
    tag, _, _ = talk.hear().partition(" ")
    talk.say(f"{tag} OK begin")
    talk.connection.recv(5)
    talk.say("* OK still in clear, log in please")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (without_starttls, "does not offer STARTTLS"),
        (refusing_starttls, "NO not today"),
        (saying_more, "the server sent more before TLS began; somebody may be in between"),
        (half_a_line, "the server sent more before TLS began; somebody may be in between"),
        (logged_in_already, "the server is logged in before TLS could begin"),
        (without_tls, "WRONG_VERSION_NUMBER"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_nothing_is_said_in_clear(here: Here, certificates: Certificates, mailbox_user: str, script: object, words: str) -> None:
    with Scripted(script) as server:  # type: ignore[arg-type]
        options = {"pop_connection_security": "start-tls", "tls_ca_file": certificates.ca_file, "protocol_timeout": "5s"}
        here.put("pop-client-a", basic(server.port, mailbox_user, **options))
        finding = here.check()["pop-client-a"]
    assert not finding["ok"]
    assert words in finding["words"]
    assert_no_password(server.said, mailbox_user)


def test_the_remedy_where_starttls_is_not_offered(here: Here, mailbox_user: str) -> None:
    with Scripted(without_starttls) as server:
        here.put("pop-client-a", basic(server.port, mailbox_user, pop_connection_security="start-tls"))
        finding = here.check()["pop-client-a"]
    assert "Set pop-connection-security = ssl-tls (port 993)" in finding["remedy"]
    assert "Nothing was sent in clear" in finding["remedy"]


def test_a_real_server_without_tls(here: Here, real_servers: None, mailbox_user: str) -> None:
    with Dovecot(extra="ssl = no") as bare, Gate(bare.imap_port) as proxy:
        here.put("pop-client-a", basic(proxy.port, mailbox_user, pop_connection_security="start-tls"))
        assert "does not offer STARTTLS" in here.check()["pop-client-a"]["words"]
        assert_no_password(proxy.said, mailbox_user)


def test_tls_at_once_to_a_port_that_begins_in_clear(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(
        "pop-client-a",
        basic(dovecot.imap_port, mailbox_user, pop_connection_security="ssl-tls", tls_ca_file=dovecot.ca_file),
    )
    finding = here.check()["pop-client-a"]
    assert not finding["ok"]
    assert f"localhost:{dovecot.imap_port}" in finding["words"]
    assert "certificate" not in finding["words"]  # it is not the certificate that is wrong
    assert "Check port and pop-connection-security: ssl-tls speaks TLS at once (993)" in finding["remedy"]


def test_in_clear_to_a_port_with_tls(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """Such a server waits for our TLS and says nothing: the silence ends at protocol-timeout, and nothing was sent."""
    with Gate(dovecot.imaps_port) as proxy:
        here.put("pop-client-a", basic(proxy.port, mailbox_user, protocol_timeout="1s"))
        finding = here.check()["pop-client-a"]
        assert "did not answer in time" in finding["words"]
        assert bytes(proxy.said) == b""


def test_nobody_listens(here: Here, authority: Authority, mailbox_user: str) -> None:
    here.change(rig_sections(authority))
    here.put("pop-client-a", oauth(1, mailbox_user, authority.refresh_token(mailbox_user)))
    finding = here.check()["pop-client-a"]
    assert "localhost:1: Connection refused" in finding["words"]
    assert "Check the options server, port and pop-connection-security" in finding["remedy"].replace("`", "")
    assert authority.count(mailbox_user) == 0
