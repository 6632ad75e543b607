"""Exim as the tests use it, shown by Python's own client."""

from __future__ import annotations

import contextlib
import itertools
import smtplib
from collections.abc import Iterator

import pytest

from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import DOMAIN, PASSWORD
from servers.exim import Exim, EximError, EximOptions
from servers.postfix import REFUSED, without_trace
from servers.sasl import Login, log_in
from servers.waiting import answers, wait_for

SENDER = f"sender@{DOMAIN}"

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def exim(dovecot: Dovecot, certificates: Certificates) -> Iterator[Exim]:
    with Exim(dovecot, certificates=certificates) as running:
        yield running


def letter() -> bytes:
    """A message whose octets show mistakes."""
    return f"Message-ID: <{next(_numbers)}.exim@{DOMAIN}>\r\nSubject: a letter\r\n\r\n.dot\r\n..\r\nGrüße \r\n\r\n".encode()


@contextlib.contextmanager
def submitting(exim: Exim) -> Iterator[smtplib.SMTP]:
    """A connection after STARTTLS, before AUTH."""
    with smtplib.SMTP(exim.host, exim.submission_port) as connection:
        connection.starttls(context=exim.tls())
        connection.ehlo()
        yield connection


def arrived(dovecot: Dovecot, user: str) -> list[bytes]:
    """What came into a mailbox, as it was sent; waits for the first."""
    return wait_for(lambda: [without_trace(octets) for octets in dovecot.raw(user).values()], f"a message for {user}")


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_what_is_sent_with_a_password_arrives(exim: Exim, dovecot: Dovecot, mailbox_user: str, mechanism: str, tls: str) -> None:
    octets = letter()
    with contextlib.ExitStack() as stack:
        if tls == "starttls":
            connection: smtplib.SMTP = stack.enter_context(submitting(exim))
        else:
            connection = stack.enter_context(smtplib.SMTP_SSL(exim.host, exim.submissions_port, context=exim.tls()))
            connection.ehlo()
        connection.esmtp_features["auth"] = mechanism
        connection.login(SENDER, PASSWORD)
        connection.sendmail(SENDER, [mailbox_user, "somebody@elsewhere.example"], octets)
    assert arrived(dovecot, mailbox_user) == [octets]
    wait_for(lambda: exim.queue() == [], "an empty queue")


def test_tokens_are_taken_and_a_wrong_one_gets_no_challenge(exim: Exim, dovecot: Dovecot, mailbox_user: str) -> None:
    exim.allow({"ya29.good==": SENDER})
    octets = letter()
    with submitting(exim) as connection:
        refused = Login(535, b"Incorrect authentication data", ())
        assert log_in(connection, SENDER, "ya29.bad==") == refused
        assert log_in(connection, mailbox_user, "ya29.good==") == refused
        assert log_in(connection, SENDER, "ya29.good==").code == 235
        connection.sendmail(SENDER, [mailbox_user], octets)
    assert arrived(dovecot, mailbox_user) == [octets]


def test_a_wrong_password_is_refused(exim: Exim) -> None:
    with submitting(exim) as connection, pytest.raises(smtplib.SMTPAuthenticationError):
        connection.login(SENDER, "another")


def test_nothing_goes_without_a_login_and_no_login_without_tls(exim: Exim) -> None:
    with smtplib.SMTP(exim.host, exim.submission_port) as connection:
        connection.ehlo()
        assert "auth" not in connection.esmtp_features
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            connection.sendmail(SENDER, [SENDER], letter())
        assert refused.value.recipients == {SENDER: (530, b"5.7.0 Authentication required")}


def test_recipients_are_refused_each_with_its_own_words(exim: Exim, mailbox_user: str) -> None:
    with submitting(exim) as connection:
        connection.login(SENDER, PASSWORD)
        refused = connection.sendmail(SENDER, [*REFUSED, mailbox_user], letter())
    assert {address: f"{code} {words.decode()}" for address, (code, words) in refused.items()} == REFUSED


def test_chunks_are_taken(exim: Exim, dovecot: Dovecot, mailbox_user: str) -> None:
    octets = letter()
    with submitting(exim) as connection:
        connection.login(SENDER, PASSWORD)
        connection.mail(SENDER)
        connection.rcpt(mailbox_user)
        connection.send(b"BDAT 10\r\n" + octets[:10])
        assert connection.getreply()[0] == 250
        connection.send(b"BDAT %d LAST\r\n" % len(octets[10:]) + octets[10:])
        assert connection.getreply()[0] == 250
    assert arrived(dovecot, mailbox_user) == [octets]


def test_who_speaks_before_its_turn_is_cut_off(exim: Exim) -> None:
    """RFC 2920 section 3.1: EHLO can only be the last of a group."""
    with smtplib.SMTP(exim.host, exim.submission_port) as connection:
        connection.send(f"EHLO one.example.test\r\nMAIL FROM:<{SENDER}>\r\n")
        assert connection.getreply() == (554, b"SMTP synchronization error")
        with pytest.raises(smtplib.SMTPServerDisconnected):
            connection.noop()


def test_the_queue_outlives_a_kill(certificates: Certificates, mailbox_user: str) -> None:
    with Dovecot(certificates=certificates) as dovecot, Exim(dovecot, certificates=certificates) as exim:
        dovecot.stop()
        octets = letter()
        with submitting(exim) as connection:
            connection.login(SENDER, PASSWORD)
            connection.sendmail(SENDER, [mailbox_user], octets)
        wait_for(lambda: "Connection refused" in exim.log_text(), "an attempt to deliver")
        [number] = exim.queue()
        exim.stop()
        assert not answers("127.0.0.1", exim.submission_port)
        dovecot.start()
        exim.start()
        assert number in exim.log_text()
        wait_for(lambda: exim.queue() == [], "the delivery", timeout=30)
        assert arrived(dovecot, mailbox_user) == [octets]


def test_options(dovecot: Dovecot, certificates: Certificates) -> None:
    options = EximOptions(
        refused={f"x@{DOMAIN}": "452 4.2.2 Full"},
        without=("PIPELINING", "CHUNKING", "DSN", "SMTPUTF8"),
        message_size_limit=2000,
        auth_in_clear=True,
        main="accept_8bitmime = false",
    )
    with (
        Exim(dovecot, certificates=certificates, options=options) as exim,
        smtplib.SMTP(exim.host, exim.submission_port) as connection,
    ):
        connection.ehlo()
        assert set(connection.esmtp_features) == {"size", "starttls", "auth", "help"}
        assert connection.esmtp_features["size"] == "2000"
        connection.login(SENDER, PASSWORD)
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            connection.sendmail(SENDER, [f"x@{DOMAIN}"], b"\r\n")
        assert refused.value.recipients == {f"x@{DOMAIN}": (452, b"4.2.2 Full")}
        with pytest.raises(smtplib.SMTPSenderRefused) as too_large:
            connection.sendmail(SENDER, [SENDER], b"x" * 2001)
        assert too_large.value.smtp_code == 552


def test_it_says_why_it_cannot_start(dovecot: Dovecot, certificates: Certificates) -> None:
    options = EximOptions(main="no_such_setting = 1")
    with pytest.raises(EximError, match="no_such_setting"), Exim(dovecot, certificates=certificates, options=options):
        pass
