"""pymap as the tests use it, shown by Python's own client."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator

import pytest

from servers.certificates import Certificates
from servers.dovecot_config import PASSWORD
from servers.pymap_server import Pymap

LETTERS = [b"Subject: %d\r\n\r\n.one dot\r\n" % number for number in range(12)]


@pytest.fixture
def pymap(certificates: Certificates, mailbox_user: str) -> Iterator[Pymap]:
    with Pymap(mailbox_user, certificates=certificates) as running:
        yield running


def test_what_was_delivered_is_read(pymap: Pymap) -> None:
    pymap.seed(LETTERS)
    with pymap.imap() as connection:
        connection.select("INBOX", readonly=True)
        _, parts = connection.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
    assert [part[1] for part in parts if isinstance(part, tuple)] == LETTERS


def test_a_session_is_told_of_what_arrives(pymap: Pymap) -> None:
    with pymap.imap() as connection:
        assert connection.select()[1] == [b"0"]
        connection.send(b"i IDLE\r\n")
        assert connection.readline().startswith(b"+")
        pymap.deliver(LETTERS[0])
        assert connection.readline() == b"* 1 EXISTS\r\n"
        connection.send(b"DONE\r\n")


def test_what_it_announces(pymap: Pymap) -> None:
    with pymap.imap() as connection:
        said = connection.capability()[1][0].decode().upper().split()
    assert {"IDLE", "UIDPLUS", "MOVE"} <= set(said)
    assert not {"CONDSTORE", "QRESYNC", "NAMESPACE", "ESEARCH", "SPECIAL-USE", "SASL-IR"} & set(said)


def test_tls_after_starttls(pymap: Pymap) -> None:
    with imaplib.IMAP4(pymap.host, pymap.imap_port) as connection:
        connection.starttls(pymap.tls())
        assert connection.login(pymap.user, PASSWORD)[0] == "OK"


def test_a_wrong_password_is_refused(pymap: Pymap) -> None:
    with imaplib.IMAP4(pymap.host, pymap.imap_port) as connection, pytest.raises(imaplib.IMAP4.error):
        connection.login(pymap.user, "another")
