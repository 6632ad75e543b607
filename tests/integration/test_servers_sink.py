"""Postfix' sink and source as the tests use them."""

from __future__ import annotations

import smtplib

import pytest

from servers.sink import Captured, Sink, send
from servers.waiting import wait_for


def test_it_counts_what_the_source_sends(real_servers: None) -> None:
    with Sink() as sink:
        send(sink.host, sink.port, 300, connections=7)
        wait_for(lambda: sink.messages == 300, "300 messages")
        sessions = sink.sessions
        sink.kill()
        assert (sink.messages, sink.sessions) == (300, sessions)
        sink.start()
        send(sink.host, sink.port, 10)
        wait_for(lambda: sink.messages == 310, "10 messages more")
        assert sink.captured() == []


def test_it_keeps_what_it_took(real_servers: None) -> None:
    octets = b"Message-ID: <1@example.test>\r\n\r\n.dot\r\n..\r\nGr\xc3\xbc\xc3\x9fe\r\n\r\n"
    with Sink(capture=True) as sink:
        with smtplib.SMTP(sink.host, sink.port) as connection:
            connection.sendmail("a@example.test", ["b@example.test", "c@example.test"], octets)
        expected = Captured("a@example.test", ("b@example.test", "c@example.test"), octets.replace(b"\r\n", b"\n"))
        assert sink.captured() == [expected]
        sink.kill()
        assert sink.captured() == [expected]


def test_its_options_are_smtp_sinks(real_servers: None) -> None:
    with Sink(options=("-p", "-f", "RCPT", "-B", "552 5.2.2 Full")) as sink, smtplib.SMTP(sink.host, sink.port) as connection:
        connection.ehlo()
        assert "pipelining" not in connection.esmtp_features
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            connection.sendmail("a@example.test", ["b@example.test"], b"\r\n")
        assert refused.value.recipients == {"b@example.test": (552, b"5.2.2 Full")}
        with pytest.raises(AssertionError, match=r"5\.2\.2 Full"):
            send(sink.host, sink.port, 1)


def test_a_wrong_option_is_told(real_servers: None) -> None:
    with pytest.raises(AssertionError, match="usage"), Sink(options=("-z",)):
        pass
