"""What the tests of the faulty SMTP server share: a client, and messages whose octets show mistakes."""

from __future__ import annotations

import contextlib
import itertools
import smtplib
from collections.abc import Iterator

from servers.dovecot_config import DOMAIN, PASSWORD
from servers.smtp_faults import SmtpFaults

SENDER, READER, OTHER = f"sender@{DOMAIN}", f"reader@{DOMAIN}", f"other@{DOMAIN}"

_numbers = itertools.count(1)


def letter() -> tuple[str, bytes]:
    """A message whose octets show mistakes, and its Message-ID."""
    message_id = f"<{next(_numbers)}.faults@{DOMAIN}>"
    return message_id, f"Subject: a letter\r\nMessage-ID:\r\n {message_id}\r\n\r\n.dot\r\n..\r\nGrüße \r\n\r\n".encode()


@contextlib.contextmanager
def connected(server: SmtpFaults) -> Iterator[smtplib.SMTP]:
    """A connection over TLS, before AUTH; its end is not looked at."""
    connection = smtplib.SMTP_SSL(server.host, server.tls_port, context=server.tls(), timeout=5)
    try:
        connection.ehlo()
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def logged_in(server: SmtpFaults, user: str = SENDER) -> Iterator[smtplib.SMTP]:
    """The same after a login with a password."""
    with connected(server) as connection:
        connection.login(user, PASSWORD)
        yield connection


def message_ids(server: SmtpFaults) -> list[str]:
    """The record by its Message-IDs, oldest first."""
    return [message.message_id for message in server.taken()]
