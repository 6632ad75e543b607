"""getmail6 and mpop read what a server has, once, and delete when they are told to."""

from __future__ import annotations

import poplib

import pytest

from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.fetcher import Fetcher, Mailbox
from servers.getmail import Getmail
from servers.gmail_pop3 import GmailPop3
from servers.mpop import Mpop

LETTERS = [b"Subject: %d\r\nFrom: a@example.test\r\n\r\n.a dot\r\nGr\xc3\xbc\xc3\x9fe\r\n" % number for number in range(5)]
LATER = b"Subject: later\r\nFrom: a@example.test\r\n\r\nbody\r\n"


def left(dovecot: Dovecot, user: str) -> int:
    connection = poplib.POP3(dovecot.host, dovecot.pop3_port)
    connection.user(user)
    connection.pass_(PASSWORD)
    count: int = connection.stat()[0]
    connection.quit()
    return count


@pytest.mark.parametrize(
    ("kind", "protocol", "tls"),
    [
        (Getmail, "pop3", False),
        (Getmail, "pop3", True),
        (Getmail, "imap", False),
        (Getmail, "imap", True),
        (Mpop, "pop3", False),
        (Mpop, "pop3", True),
    ],
)
def test_each_message_is_read_once_and_deleted_when_told(
    dovecot: Dovecot, mailbox_user: str, kind: type[Fetcher], protocol: str, tls: bool
) -> None:
    port = int(getattr(dovecot, f"{protocol}{'s' if tls else ''}_port"))
    ca_file = dovecot.ca_file if tls else None
    mailbox = Mailbox("imap" if protocol == "imap" else "pop3", dovecot.host, port, mailbox_user, ca_file=ca_file)
    dovecot.seed(mailbox_user, LETTERS)
    with kind(mailbox) as fetcher:
        done = fetcher.run()
        assert done.status == 0, done.words
        assert sorted(fetcher.kept()) == LETTERS
        dovecot.deliver(mailbox_user, LATER)
        assert fetcher.run().status == 0
        assert sorted(fetcher.kept()) == [*LETTERS, LATER]
        assert left(dovecot, mailbox_user) == 6
        fetcher.delete = True
        assert fetcher.run().status == 0
        assert len(fetcher.kept()) == 6
        assert left(dovecot, mailbox_user) == 0
    assert not fetcher.directory.exists()


@pytest.mark.parametrize("kind", [Getmail, Mpop])
def test_at_gmail_what_one_has_read_the_other_never_sees(
    real_servers: None, certificates: Certificates, mailbox_user: str, kind: type[Fetcher]
) -> None:
    with GmailPop3(certificates=certificates) as gmail:
        gmail.add_user(mailbox_user)
        for letter in LETTERS:
            gmail.deliver(mailbox_user, letter)
        mailbox = Mailbox("pop3", gmail.host, gmail.tls_port, mailbox_user, ca_file=certificates.ca_file)
        for reader, read in ((kind, LETTERS), (Getmail, [])):
            with reader(mailbox) as fetcher:
                done = fetcher.run()
                assert done.status == 0, done.words
                assert sorted(fetcher.kept()) == read
        assert all(mail.popped for mail in gmail.mails(mailbox_user))


@pytest.mark.parametrize("kind", [Getmail, Mpop])
def test_a_refused_login_is_told(dovecot: Dovecot, mailbox_user: str, kind: type[Fetcher]) -> None:
    with kind(Mailbox("pop3", dovecot.host, dovecot.pop3_port, mailbox_user, password="wrong")) as fetcher:
        done = fetcher.run()
        assert done.status != 0 or "error" in done.words.lower(), done
        assert fetcher.kept() == []
