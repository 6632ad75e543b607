"""Dovecot with parts of it switched off or set otherwise, as tests of a poorer server need it."""

from __future__ import annotations

import imaplib
import poplib
import zlib
from collections.abc import Iterator

import pytest

from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import CAPABILITY, PASSWORD, imap_without, pop3_settings

USER = "switches@example.test"
EXTENSIONS = (
    "CONDSTORE QRESYNC MOVE UIDPLUS IDLE ESEARCH LITERAL+ COMPRESS=DEFLATE NAMESPACE ID SPECIAL-USE ENABLE SASL-IR UNSELECT"
)


@pytest.fixture(scope="module")
def own(real_servers: None, certificates: Certificates) -> Iterator[Dovecot]:
    with Dovecot(certificates=certificates) as running:
        running.seed(USER, [b"Subject: %d\r\n\r\n" % number for number in range(3)])
        yield running


def announced(dovecot: Dovecot) -> tuple[set[str], set[str]]:
    """What it says before login and after."""
    with imaplib.IMAP4(dovecot.host, dovecot.imap_port) as connection:
        before = set(connection.capabilities)
        connection.login(USER, PASSWORD)
        return before, set(connection.capability()[1][0].decode().upper().split())


def log_in(dovecot: Dovecot) -> poplib.POP3:
    connection = poplib.POP3(dovecot.host, dovecot.pop3_port)
    connection.user(USER)
    connection.pass_(PASSWORD)
    return connection


def uidls(dovecot: Dovecot) -> list[str]:
    connection = log_in(dovecot)
    found = [line.decode().split()[1] for line in connection.uidl()[1]]
    connection.quit()
    return found


def test_by_itself_it_announces_all(own: Dovecot) -> None:
    own.restart(imap="")
    assert announced(own)[1] == {name.upper() for name in CAPABILITY.split()}


@pytest.mark.parametrize("extension", EXTENSIONS.split())
def test_an_extension_is_switched_off(own: Dovecot, extension: str) -> None:
    own.restart(imap=imap_without(extension))
    before, after = announced(own)
    assert after == {name.upper() for name in CAPABILITY.split()} - {extension}
    assert extension not in before


def test_what_was_never_announced_cannot_be_switched_off() -> None:
    with pytest.raises(ValueError, match="X-NONE"):
        imap_without("X-NONE")


def test_compression(own: Dovecot) -> None:
    with own.imap(USER) as connection:
        connection.send(b"c COMPRESS DEFLATE\r\n")
        assert connection.readline().startswith(b"c OK")
        squeeze, stretch = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)
        connection.send(squeeze.compress(b"n NOOP\r\n") + squeeze.flush(zlib.Z_SYNC_FLUSH))
        assert b"n OK" in stretch.decompress(connection.sock.recv(1000))
        connection.sock.close()  # imaplib knows nothing of it


def test_folders_tell_their_use(own: Dovecot) -> None:
    with own.imap(USER) as connection:
        connection.create("Sent")
        _, lines = connection.list()
    assert any(rb"\Sent" in line and line.endswith(b" Sent") for line in lines if isinstance(line, bytes))


def test_uidls_are_made_otherwise(own: Dovecot) -> None:
    own.restart(pop3=pop3_settings(uidl_format="%u.%v"))
    assert [uidl.split(".")[0] for uidl in uidls(own)] == ["1", "2", "3"]
    own.restart(pop3=pop3_settings(uidl_format="%g"))
    assert all(".test," in uidl for uidl in uidls(own))


def test_a_second_session_is_refused_where_sessions_lock(own: Dovecot) -> None:
    own.restart(pop3=pop3_settings(lock_session=True))
    first = log_in(own)
    with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
        log_in(own)
    first.quit()
    own.restart(pop3=pop3_settings())
    first, second = log_in(own), log_in(own)
    first.quit()
    second.quit()
