"""The faulty SMTP server: each fault that can be ordered is seen by Python's own client, and the record is true."""

from __future__ import annotations

import contextlib
import json
import smtplib
import socket
import time
from dataclasses import replace

import pytest
from faulty import OTHER, READER, SENDER, connected, letter, logged_in, message_ids

from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot_config import PASSWORD
from servers.sasl import log_in
from servers.smtp_faults import TRY_LATER, Fault, Manner, SmtpFaults
from servers.smtp_faults_orders import At
from servers.waiting import wait_for


def said(connection: smtplib.SMTP, octets: bytes) -> tuple[int, bytes]:
    """The answer to these octets."""
    connection.send(octets)
    return connection.getreply()


def heard(connection: smtplib.SMTP, octets: bytes) -> bytes:
    """All that is said to these octets until the connection ends, or until nothing came for a while."""
    connection.send(octets)
    assert connection.sock is not None
    connection.sock.settimeout(0.3)
    answer = b""
    with contextlib.suppress(OSError):
        while chunk := connection.sock.recv(1000):
            answer += chunk
    return answer


def replies(connection: smtplib.SMTP, at: At) -> tuple[int, bytes]:
    """Go on until this command is answered, each step in its order; the answer."""
    steps = {
        "ehlo": lambda: connection.ehlo(),
        "mail": lambda: connection.mail(SENDER),
        "rcpt": lambda: connection.rcpt(READER),
        "data": lambda: connection.docmd("DATA"),
        "dot": lambda: said(connection, b"Subject: x\r\n\r\nx\r\n.\r\n"),
        "rset": lambda: connection.rset(),
        "noop": lambda: connection.noop(),
        "quit": lambda: connection.docmd("QUIT"),
    }
    for name, step in steps.items():
        answer = step()
        if name == at:
            return answer
    raise AssertionError(at)


COMMANDS: tuple[At, ...] = ("ehlo", "mail", "rcpt", "data", "dot", "rset", "noop", "quit")


# Without faults


def test_messages_are_taken_and_recorded(smtp_faults: SmtpFaults) -> None:
    message_id, octets = letter()
    with smtplib.SMTP(smtp_faults.host, smtp_faults.port) as connection:
        connection.starttls(context=smtp_faults.tls())
        connection.login(SENDER, PASSWORD)
        assert {"pipelining", "size", "8bitmime", "smtputf8", "chunking", "dsn"} <= set(connection.esmtp_features)
        options = ["BODY=8BITMIME", f"SIZE={len(octets)}", "RET=HDRS", "ENVID=q1"]
        assert connection.sendmail(SENDER, [READER, OTHER], octets, options, ["NOTIFY=FAILURE"]) == {}
        assert smtp_faults.logins() == [SENDER]
    message = smtp_faults.taken()[-1]
    assert (message.user, message.sender, message.recipients, message.message_id) == (SENDER, SENDER, (READER, OTHER), message_id)
    assert smtp_faults.octets(message.number) == octets
    assert [said.line for said in smtp_faults.log()][-1] == "QUIT"
    assert PASSWORD not in str(smtp_faults.log())


def test_chunks_are_taken(smtp_faults: SmtpFaults) -> None:
    _, octets = letter()
    group = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{READER}>\r\nBDAT 7\r\n".encode() + octets[:7]
    with logged_in(smtp_faults) as connection:
        connection.send(group + b"BDAT %d LAST\r\n" % len(octets[7:]) + octets[7:])
        assert [connection.getreply()[0] for _ in range(4)] == [250] * 4
    assert smtp_faults.octets(smtp_faults.taken()[-1].number) == octets


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_tokens_are_judged_by_the_authority_or_as_ordered(smtp_faults: SmtpFaults, authority: Authority, mechanism: str) -> None:
    smtp_faults.allow({"ordered": SENDER})
    for token, code in {authority.access_token(SENDER): 235, authority.access_token(OTHER): 535, "ordered": 235}.items():
        with connected(smtp_faults) as connection:
            login = log_in(connection, SENDER, token, mechanism)
            assert login.code == code
            assert [json.loads(challenge)["status"] for challenge in login.challenges] == ["401"] * (code == 535)
    authority.fault("unavailable", endpoint="introspection")
    with connected(smtp_faults) as connection:
        assert log_in(connection, SENDER, authority.access_token(SENDER), mechanism).code == 454


def test_it_insists_on_order_and_on_what_it_announced(smtp_faults: SmtpFaults) -> None:
    smtp_faults.behave(Manner(keywords=("SIZE 100",)))
    with connected(smtp_faults) as connection:
        assert connection.mail(SENDER)[0] == 530
        connection.login(SENDER, PASSWORD)
        assert connection.rcpt(READER)[0] == 503
        assert connection.docmd(f"MAIL FROM:<{SENDER}> BODY=8BITMIME")[0] == 555
        assert connection.docmd(f"MAIL FROM:<{SENDER}> SIZE=101")[0] == 552
        assert connection.mail(SENDER)[0] == 250
        assert connection.docmd(f"RCPT TO:<{READER}> NOTIFY=NEVER")[0] == 555
        assert connection.rcpt(READER)[0] == 250
        assert connection.data(b"x" * 101)[0] == 552
        connection.send("NOOP\r\nNOOP\r\n")
        assert connection.getreply()[0] == 250
        assert connection.rset()[0] == 250  # the second NOOP was thrown away: PIPELINING was not announced
    with smtplib.SMTP(smtp_faults.host, smtp_faults.port) as connection:
        connection.ehlo()
        assert "auth" not in connection.esmtp_features


# Faults


@pytest.mark.parametrize(
    "reply",
    [
        "432 4.3.2 Concurrent connections limit exceeded",
        "450 4.2.1 Too fast",
        "451 4.3.0 Try again",
        "452 4.2.2 Full",
        "535 5.7.8 No",
        "550 5.1.1 Nobody",
        "552-5.3.4 Too\n552 5.3.4 large",
        "554 5.7.1 Spam",
    ],
    ids=["432", "450", "451", "452", "535", "550", "552", "554"],
)
@pytest.mark.parametrize("at", COMMANDS)
def test_any_command_is_answered_as_ordered_and_not_carried_out(smtp_faults: SmtpFaults, at: At, reply: str) -> None:
    before = message_ids(smtp_faults)
    with logged_in(smtp_faults) as connection:
        smtp_faults.fail(Fault(at, reply))
        code, words = replies(connection, at)
        assert (code, words) == (int(reply[:3]), b"\n".join(line[4:].encode() for line in reply.split("\n")))
        if at != "quit":
            assert connection.noop()[0] == 250
    assert message_ids(smtp_faults) == before + [""] * (at in {"rset", "noop", "quit"})


@pytest.mark.parametrize("at", ["greeting", *COMMANDS])
def test_421_ends_the_connection(smtp_faults: SmtpFaults, at: At) -> None:
    smtp_faults.fail(replace(TRY_LATER, at=at))
    if at == "greeting":
        with pytest.raises(smtplib.SMTPConnectError) as refused:
            smtplib.SMTP(smtp_faults.host, smtp_faults.port)
        assert refused.value.smtp_code == 421
        return
    with contextlib.closing(smtplib.SMTP_SSL(smtp_faults.host, smtp_faults.tls_port, context=smtp_faults.tls())) as connection:
        if at != "ehlo":
            connection.login(SENDER, PASSWORD)
        assert replies(connection, at)[0] == 421
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            connection.noop()


@pytest.mark.parametrize("how", ["cut", "reset"])
@pytest.mark.parametrize("at", COMMANDS)
def test_the_connection_ends_in_the_place_of_an_answer(smtp_faults: SmtpFaults, at: At, how: str) -> None:
    before = message_ids(smtp_faults)
    with logged_in(smtp_faults) as connection:
        smtp_faults.fail(Fault(at, do=how))  # type: ignore[arg-type]
        with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
            replies(connection, at)
    assert len(message_ids(smtp_faults)) == len(before) + (at in {"rset", "noop", "quit"})
    assert smtp_faults.log()[-1].line == "(ended)"


@pytest.mark.parametrize("how", ["cut", "reset", "half", "hang", "half-hang"])
@pytest.mark.parametrize("taken", [False, True], ids=["lost", "taken"])
def test_the_end_of_a_message_without_an_answer(smtp_faults: SmtpFaults, how: str, taken: bool) -> None:
    before = message_ids(smtp_faults)
    with logged_in(smtp_faults) as connection:
        smtp_faults.fail(Fault("dot", do=how, taken=taken))  # type: ignore[arg-type]
        replies(connection, "data")
        assert heard(connection, b"Message-ID: <x>\r\n\r\n.\r\n") == (b"250 2." if how.startswith("half") else b"")
        assert (smtp_faults.logins() == []) == (not how.endswith("hang"))
    assert message_ids(smtp_faults) == before + ["<x>"] * taken


def test_a_message_is_taken_and_refused_all_the_same(smtp_faults: SmtpFaults) -> None:
    message_id, octets = letter()
    smtp_faults.fail(Fault("dot", "451 4.3.0 Something went wrong", taken=True))
    with logged_in(smtp_faults) as connection, pytest.raises(smtplib.SMTPDataError):
        connection.sendmail(SENDER, [READER], octets)
    assert message_ids(smtp_faults)[-1] == message_id


@pytest.mark.parametrize("chunked", [False, True], ids=["data", "bdat"])
@pytest.mark.parametrize("after", [0, 1, 30, 5000])
def test_the_connection_ends_within_a_message(smtp_faults: SmtpFaults, after: int, chunked: bool) -> None:
    before = message_ids(smtp_faults)
    octets = letter()[1] + b"x" * 76 * 100 + b"\r\n"
    smtp_faults.fail(Fault("content", do="cut", after=after))
    with logged_in(smtp_faults) as connection:
        connection.mail(SENDER)
        connection.rcpt(READER)
        if not chunked:
            connection.docmd("DATA")
        octets = b"BDAT %d LAST\r\n" % len(octets) + octets if chunked else octets + b".\r\n"
        with contextlib.suppress(OSError):  # it may have ended before all was sent
            assert heard(connection, octets) == b""
    assert message_ids(smtp_faults) == before


def test_one_recipient_is_refused_and_the_others_are_not(smtp_faults: SmtpFaults) -> None:
    smtp_faults.fail(Fault("rcpt", "550 5.1.1 Nobody", recipient=OTHER, times=0))
    for _ in range(2):
        with logged_in(smtp_faults) as connection:
            assert connection.sendmail(SENDER, [READER, OTHER], letter()[1]) == {OTHER: (550, b"5.1.1 Nobody")}
        assert smtp_faults.taken()[-1].recipients == (READER,)


def test_faults_come_when_their_turn_is(smtp_faults: SmtpFaults) -> None:
    smtp_faults.fail(Fault("noop", "450 a", skip=1, times=2), Fault("noop", "450 b"), Fault("noop", "450 c", session=2**31))
    with connected(smtp_faults) as connection:
        said = [connection.noop() for _ in range(5)]
    # b has the first occasion, which a lets pass; a has the next two.
    assert said == [(450, b"b"), (450, b"a"), (450, b"a"), (250, b"2.0.0 OK"), (250, b"2.0.0 OK")]


def test_answers_of_a_group_are_lost(smtp_faults: SmtpFaults) -> None:
    group = f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{READER}>\r\nRCPT TO:<{OTHER}>\r\nNOOP\r\n"
    with logged_in(smtp_faults) as connection:
        smtp_faults.fail(Fault("rcpt", do="silence"))
        connection.send(group)
        assert [connection.getreply()[1] for _ in range(3)] == [b"2.1.0 OK", b"2.1.5 OK", b"2.0.0 OK"]
        connection.rset()
        smtp_faults.fail(Fault("mail", do="discard"))
        connection.send(group)
        assert connection.getreply()[1] == b"2.1.0 OK"
        assert connection.sock is not None
        connection.sock.settimeout(0.2)
        with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
            connection.getreply()


def test_a_late_answer_is_late(smtp_faults: SmtpFaults) -> None:
    with connected(smtp_faults) as connection:
        smtp_faults.fail(Fault("noop", seconds=0.3))
        before = time.monotonic()
        assert connection.noop()[0] == 250
        assert time.monotonic() - before >= 0.3


def test_an_answer_is_held_until_the_word_is_given(smtp_faults: SmtpFaults) -> None:
    with logged_in(smtp_faults) as connection:
        connection.mail(SENDER)
        connection.rcpt(READER)
        connection.docmd("DATA")
        smtp_faults.fail(Fault("dot", do="hold"))
        before = len(smtp_faults.taken())
        connection.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
        wait_for(lambda: len(smtp_faults.taken()) == before + 1, "the message")
        assert connection.sock is not None
        connection.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.sock.recv(1)
        connection.sock.settimeout(5)
        smtp_faults.go_on()
        assert connection.getreply() == (250, b"2.0.0 OK")


def test_what_is_no_reply_is_said(smtp_faults: SmtpFaults) -> None:
    smtp_faults.fail(Fault("greeting", "HTTP/1.1 400 Bad Request"))
    with socket.create_connection((smtp_faults.host, smtp_faults.port)) as connection:
        assert connection.recv(1000) == b"HTTP/1.1 400 Bad Request\r\n"


def test_starttls_is_refused(smtp_faults: SmtpFaults) -> None:
    smtp_faults.fail(Fault("starttls", "454 4.7.0 TLS not available"))
    with smtplib.SMTP(smtp_faults.host, smtp_faults.port) as connection:
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            connection.starttls(context=smtp_faults.tls())
        assert refused.value.smtp_code == 454
        assert connection.starttls(context=smtp_faults.tls())[0] == 220
        assert connection.ehlo()[0] == 250


# The record


def test_the_record_outlives_kills_and_goes_on(certificates: Certificates) -> None:
    with SmtpFaults(certificates=certificates, manner=Manner(auth_required=False)) as server:
        expected = []
        for round_ in range(3):
            message_id, octets = letter()
            server.fail(Fault("dot", do="hang", taken=True))
            with connected(server) as connection:
                connection.mail("")
                connection.rcpt(READER)
                connection.docmd("DATA")
                connection.send(octets.replace(b"\r\n.", b"\r\n..") + b".\r\n")
                expected.append(message_id)
                wait_for(lambda: message_ids(server) == expected, "the record")
                server.kill()
                assert message_ids(server) == expected
                assert server.octets(round_ + 1) == octets
                if round_ == 1:  # a line that the kill cut short
                    with server.ledger.open("ab") as ledger:
                        ledger.write(b'{"number": 3, "sess')
                    assert message_ids(server) == expected
                server.start()
        assert [message.number for message in server.taken()] == [1, 2, 3]
