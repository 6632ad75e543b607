"""Postfix as the tests use it, shown by Python's own client."""

from __future__ import annotations

import contextlib
import itertools
import json
import smtplib
import socket
from collections.abc import Iterator

import pytest

from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import DOMAIN, PASSWORD
from servers.postfix import ALIASES, BOUNCED, REFUSED, Options, Postfix, PostfixError, without_trace
from servers.sasl import log_in
from servers.waiting import answers, wait_for

SENDER = f"sender@{DOMAIN}"

_numbers = itertools.count(1)


def letter() -> tuple[str, bytes]:
    """A message whose octets show mistakes, and its Message-ID."""
    message_id = f"<{next(_numbers)}.postfix@{DOMAIN}>"
    return message_id, f"Message-ID: {message_id}\r\nSubject: a letter\r\n\r\n.dot\r\n..\r\nGrüße \r\n\r\n".encode()


@contextlib.contextmanager
def submitting(postfix: Postfix) -> Iterator[smtplib.SMTP]:
    """A connection after STARTTLS, before AUTH."""
    with smtplib.SMTP(postfix.host, postfix.submission_port) as connection:
        connection.starttls(context=postfix.tls())
        connection.ehlo()
        yield connection


@contextlib.contextmanager
def logged_in(postfix: Postfix, user: str = SENDER) -> Iterator[smtplib.SMTP]:
    """The same after a login with a password."""
    with submitting(postfix) as connection:
        connection.login(user, PASSWORD)
        yield connection


def received(dovecot: Dovecot, user: str) -> list[bytes]:
    """What came into a mailbox, as it was sent."""
    return [without_trace(octets) for octets in dovecot.raw(user).values()]


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_what_is_sent_with_a_token_arrives(
    postfix: Postfix, dovecot: Dovecot, authority: Authority, mailbox_user: str, mechanism: str, tls: str
) -> None:
    with contextlib.ExitStack() as stack:
        if tls == "starttls":
            connection: smtplib.SMTP = stack.enter_context(submitting(postfix))
        else:
            connection = stack.enter_context(smtplib.SMTP_SSL(postfix.host, postfix.submissions_port, context=postfix.tls()))
            connection.ehlo()
        login = log_in(connection, SENDER, authority.access_token(SENDER), mechanism)
        assert (login.code, login.challenges) == (235, ())
        message_id, octets = letter()
        connection.sendmail(SENDER, [mailbox_user], octets)
    [line] = postfix.logged(message_id)
    assert "status=sent" in line
    assert received(dovecot, mailbox_user) == [octets]


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_a_wrong_token_gets_a_challenge_and_535(postfix: Postfix, authority: Authority, mechanism: str) -> None:
    another = authority.access_token(f"another@{DOMAIN}")
    with submitting(postfix) as connection:
        for token in ("made-up", another):
            login = log_in(connection, SENDER, token, mechanism)
            [challenge] = login.challenges
            assert json.loads(challenge)["status"] in {"401", "invalid_token"}
            assert (login.code, login.words[:5]) == (535, b"5.7.8")
        assert log_in(connection, SENDER, authority.access_token(SENDER), mechanism).code == 235


def test_a_token_as_long_as_microsofts_is_taken(postfix: Postfix, authority: Authority) -> None:
    authority.set_token_length(4000)
    with submitting(postfix) as connection:
        assert log_in(connection, SENDER, authority.access_token(SENDER)).code == 235


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_passwords(postfix: Postfix, mechanism: str) -> None:
    with submitting(postfix) as connection:
        connection.esmtp_features["auth"] = mechanism
        assert connection.login(SENDER, PASSWORD)[0] == 235
    with submitting(postfix) as connection:
        connection.esmtp_features["auth"] = mechanism
        with pytest.raises(smtplib.SMTPAuthenticationError) as raised:
            connection.login(SENDER, "another")
    assert raised.value.smtp_code == 535


def test_nothing_goes_without_a_login_and_no_login_without_tls(postfix: Postfix) -> None:
    with smtplib.SMTP(postfix.host, postfix.submission_port) as connection:
        connection.ehlo()
        assert "auth" not in connection.esmtp_features
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            connection.sendmail(SENDER, [SENDER], letter()[1])


def test_the_relay_asks_nobody(postfix: Postfix, dovecot: Dovecot, mailbox_user: str) -> None:
    message_id, octets = letter()
    with smtplib.SMTP(postfix.host, postfix.relay_port) as connection:
        connection.ehlo()
        assert "auth" not in connection.esmtp_features
        connection.sendmail(SENDER, [mailbox_user, "somebody@elsewhere.example"], octets)
    lines = postfix.logged(message_id)
    assert any("relay=none" in line and "discard" in line for line in lines if "elsewhere" in line)
    assert received(dovecot, mailbox_user) == [octets]


def test_recipients_are_refused_each_with_its_own_words(postfix: Postfix, mailbox_user: str) -> None:
    with logged_in(postfix) as connection:
        refused = connection.sendmail(SENDER, [*REFUSED, mailbox_user], letter()[1])
    assert set(refused) == set(REFUSED)
    for address, (code, words) in refused.items():
        expected, enhanced, rest = REFUSED[address].split(" ", 2)
        assert code == int(expected)
        assert words.startswith(enhanced.encode())
        assert rest.encode() in words


@pytest.mark.parametrize("address", sorted(address for address, words in BOUNCED.items() if words.startswith("5")))
def test_what_is_accepted_and_then_refused_is_reported(postfix: Postfix, dovecot: Dovecot, mailbox_user: str, address: str) -> None:
    message_id, octets = letter()
    options = ["ENVID=QQ314159", "RET=HDRS"]
    with logged_in(postfix, mailbox_user) as connection:
        connection.sendmail(mailbox_user, [address], octets, options, ["NOTIFY=FAILURE", f"ORCPT=rfc822;{address}"])
    postfix.logged(message_id)
    [report] = wait_for(lambda: received(dovecot, mailbox_user), "the report")
    assert b"Original-Envelope-Id: QQ314159\r\n" in report
    assert f"Original-Recipient: rfc822;{address}\r\n".encode() in report
    assert f"Status: {BOUNCED[address].split()[1]}\r\n".encode() in report
    assert b"Action: failed\r\n" in report


def test_success_is_reported_where_asked(postfix: Postfix, dovecot: Dovecot, mailbox_user: str) -> None:
    with logged_in(postfix, mailbox_user) as connection:
        connection.sendmail(mailbox_user, [f"reader@{DOMAIN}"], letter()[1], [], ["NOTIFY=SUCCESS"])
    [report] = wait_for(lambda: received(dovecot, mailbox_user), "the report")
    assert b"Action: relayed\r\n" in report


def test_the_queue_outlives_a_stop_and_a_kill(dovecot: Dovecot, certificates: Certificates, root: None) -> None:
    with Postfix(dovecot, certificates=certificates) as postfix:
        with logged_in(postfix) as connection:
            connection.sendmail(SENDER, [f"later@{DOMAIN}"], letter()[1])

        def put_off() -> bool:
            return any("Greylisted" in why for message in postfix.queue() for why in message.why)

        wait_for(put_off, "a deferred message")
        attempts = postfix.log_text().count("status=deferred")
        [before] = postfix.queue()
        assert (before.sender, before.recipients) == (SENDER, (f"later@{DOMAIN}",))
        postfix.stop()
        assert not answers("127.0.0.1", postfix.submission_port)
        postfix.start()
        postfix.kill()
        assert not answers("127.0.0.1", postfix.submission_port)
        postfix.start()
        assert [message.id for message in postfix.queue()] == [before.id]
        postfix.flush()
        wait_for(lambda: postfix.log_text().count("status=deferred") > attempts, "another attempt")
        postfix.forget()
        assert postfix.queue() == []


def test_options(dovecot: Dovecot, certificates: Certificates, mailbox_user: str, root: None) -> None:
    options = Options(
        refused={f"x@{DOMAIN}": "550 5.2.1 Disabled"},
        own_sender_only=True,
        recipient_restrictions=("reject_non_fqdn_recipient",),
        message_size_limit=2000,
        without=("PIPELINING", "CHUNKING", "DSN", "SMTPUTF8", "8BITMIME"),
        auth_in_clear=True,
    )
    with (
        Postfix(dovecot, certificates=certificates, options=options) as postfix,
        smtplib.SMTP(postfix.host, postfix.submission_port) as connection,
    ):
        connection.ehlo()
        assert set(connection.esmtp_features) == {"size", "vrfy", "etrn", "starttls", "auth", "enhancedstatuscodes"}
        assert connection.esmtp_features["size"] == "2000"
        connection.login(SENDER, PASSWORD)
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            connection.sendmail(mailbox_user, [SENDER], letter()[1])
        assert refused.value.recipients[SENDER][0] == 553
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            connection.sendmail(SENDER, [f"x@{DOMAIN}", "nobody"], b"\r\n")
        assert refused.value.recipients[f"x@{DOMAIN}"][1].startswith(b"5.2.1")
        assert refused.value.recipients["nobody"][0] == 504
        with pytest.raises(smtplib.SMTPSenderRefused) as too_large:
            connection.sendmail(SENDER, [SENDER], b"x" * 2001)
        assert too_large.value.smtp_code == 552


def test_beyond_ascii(dovecot: Dovecot, certificates: Certificates, root: None) -> None:
    [(address, reader)] = ALIASES.items()
    message_id, octets = letter()
    octets = octets.replace(b"a letter", "ein Brief mit Grüßen".encode())
    with Postfix(dovecot, certificates=certificates, options=Options(delivery="lda")) as postfix:
        with logged_in(postfix) as connection:
            connection.sendmail(SENDER, [address], octets, ["SMTPUTF8", "BODY=8BITMIME"])
        [line] = postfix.logged(message_id)
    assert "status=sent" in line
    assert octets in received(dovecot, reader)  # others write to that alias too


def test_a_dovecot_without_the_socket_is_refused(certificates: Certificates, root: None) -> None:
    dovecot = Dovecot(certificates=certificates)
    try:
        with pytest.raises(AssertionError, match="sasl=True"):
            Postfix(dovecot, certificates=certificates)
    finally:
        dovecot.close()


def test_it_says_that_it_cannot_start(dovecot: Dovecot, certificates: Certificates, root: None) -> None:
    postfix = Postfix(dovecot, certificates=certificates)
    with socket.create_server(("127.0.0.1", postfix.relay_port)), pytest.raises(PostfixError, match="startup failed"), postfix:
        pass
