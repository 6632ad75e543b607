"""Courier as the tests use it, shown by Python's own clients."""

from __future__ import annotations

import imaplib
import poplib
import socket
from collections.abc import Iterator

import pytest

from servers.certificates import Certificates
from servers.courier import Courier
from servers.dovecot_config import PASSWORD
from servers.waiting import answers, wait_for

LETTERS = [b"Subject: %d\r\n\r\n.one dot\r\n\xe9\r\n" % number for number in range(12)]


@pytest.fixture(scope="module")
def courier(real_servers: None, certificates: Certificates) -> Iterator[Courier]:
    with Courier(certificates=certificates) as running:
        yield running


def test_what_was_delivered_is_read_by_imap(courier: Courier, mailbox_user: str) -> None:
    courier.seed(mailbox_user, LETTERS)
    with courier.imap(mailbox_user) as connection:
        connection.select("INBOX", readonly=True)
        _, parts = connection.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
    assert [part[1] for part in parts if isinstance(part, tuple)] == LETTERS


def test_what_was_delivered_is_read_by_pop3(courier: Courier, mailbox_user: str) -> None:
    courier.seed(mailbox_user, LETTERS)
    connection = poplib.POP3(courier.host, courier.pop3_port)
    connection.user(mailbox_user)
    connection.pass_(PASSWORD)
    assert [b"\r\n".join([*connection.retr(number)[1], b""]) for number in range(1, 13)] == LETTERS
    uidls = [line.split()[1] for line in connection.uidl()[1]]
    assert len(set(uidls)) == len(LETTERS)
    connection.dele(1)
    connection.quit()
    again = poplib.POP3(courier.host, courier.pop3_port)
    again.user(mailbox_user)
    again.pass_(PASSWORD)
    assert [line.split()[1] for line in again.uidl()[1]] == uidls[1:]
    again.quit()


def test_an_idling_client_is_told(courier: Courier, mailbox_user: str) -> None:
    courier.add_user(mailbox_user)
    with courier.imap(mailbox_user) as connection:
        connection.select()
        connection.send(b"i IDLE\r\n")
        assert connection.readline().startswith(b"+")
        courier.deliver(mailbox_user, LETTERS[0])
        assert connection.readline() == b"* 1 EXISTS\r\n"
        assert connection.readline() == b"* 1 RECENT\r\n"
        connection.send(b"DONE\r\n")
        assert connection.readline().startswith(b"i OK")


def test_folders_are_below_the_inbox(courier: Courier, mailbox_user: str) -> None:
    courier.deliver(mailbox_user, LETTERS[0], "INBOX.Sent")
    with courier.imap(mailbox_user) as connection:
        assert connection.namespace()[1][0].startswith(b'(("INBOX." "."))')
        assert connection.select("INBOX.Sent")[1] == [b"1"]


def test_tls(courier: Courier, mailbox_user: str) -> None:
    courier.add_user(mailbox_user)
    with imaplib.IMAP4_SSL(courier.host, courier.imaps_port, ssl_context=courier.tls()) as imap:
        assert imap.login(mailbox_user, PASSWORD)[0] == "OK"
    pop3 = poplib.POP3_SSL(courier.host, courier.pop3s_port, context=courier.tls())
    pop3.user(mailbox_user)
    assert pop3.pass_(PASSWORD).startswith(b"+OK")
    pop3.quit()


def test_a_wrong_password_is_refused(courier: Courier, mailbox_user: str) -> None:
    courier.add_user(mailbox_user)
    with imaplib.IMAP4(courier.host, courier.imap_port) as imap, pytest.raises(imaplib.IMAP4.error):
        imap.login(mailbox_user, "another")
    pop3 = poplib.POP3(courier.host, courier.pop3_port)
    pop3.user(mailbox_user)
    with pytest.raises(poplib.error_proto):
        pop3.pass_("another")
    pop3.close()


def test_what_it_announces_may_be_less_and_it_leaves_nothing(certificates: Certificates) -> None:
    with Courier(certificates=certificates, imap={"IMAP_CAPABILITY": "IMAP4rev1 IDLE"}) as poor:
        with imaplib.IMAP4(poor.host, poor.imap_port) as imap:
            assert "IDLE" in imap.capabilities
            assert not {"UIDPLUS", "NAMESPACE", "QUOTA"} & set(imap.capabilities)
        port, home = poor.imap_port, poor.home("nobody").parent.parent
        socket.create_connection((poor.host, poor.pop3_port)).close()
        assert home.exists()
    wait_for(lambda: not answers("127.0.0.1", port), "the end of Courier")
    assert not home.exists()
