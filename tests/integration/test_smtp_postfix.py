"""Submission against a real Postfix, whose logins Dovecot judges and which delivers there: what was sent is read back."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from email import message_from_bytes
from typing import Any

import pytest

from fakes import HandClock, Traces, kit
from postroom.clock import SystemClock
from postroom.drivers.provider import Place
from postroom.drivers.smtp import SmtpSubmitter, open_smtp
from postroom.errors import LoginRefused
from postroom.model import AccessToken
from postroom.net.credentials import Credentials, PasswordCredentials, TokenCredentials
from postroom.net.grants import Application, RefreshToken
from postroom.net.tokens import TokenRequest
from postroom.outbound import Body, DeliveryStatus, Envelope, Octets, Recipient, RecipientState
from postroom.secret import Secret
from postroom.settings import Security
from postroom.wire.jwt import Wanted
from servers.authority import Authority
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import DOMAIN, PASSWORD
from servers.postfix import ALIASES, REFUSED, Options, Postfix, without_trace
from servers.waiting import wait_for
from submission import Marks, Streamed

SENDER = f"sender@{DOMAIN}"
SENT, PENDING, FAILED = RecipientState.SENT, RecipientState.PENDING, RecipientState.FAILED

_numbers = itertools.count(1)


def letter(size: int = 0) -> tuple[str, bytes]:
    """A message whose octets show mistakes, and its Message-ID."""
    message_id = f"<{next(_numbers)}.smtp@{DOMAIN}>"
    lines = f"Message-ID: {message_id}\r\nSubject: a letter\r\n\r\n.dot\r\n..\r\n.\r\nend \r\n\r\n".encode()
    return message_id, lines + b"".join(b".%d %b\r\n" % (n, b"x" * 70) for n in range(size // 80))


class Given:
    """A source of tokens that were got elsewhere."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)

    async def get(self, request: TokenRequest, refused: int | None = None) -> AccessToken:
        version = min((refused or 0) + 1, len(self._tokens))
        now = SystemClock().now()
        return AccessToken(Secret(self._tokens[version - 1]), version, 3600, now + 3600)


def password(*mechanisms: str, user: str = SENDER, word: str = PASSWORD) -> Credentials:
    return PasswordCredentials(user, Secret(word), mechanisms, "", "smtp-client-a")


def token(mechanism: str, *tokens: str) -> Credentials:
    request = TokenRequest("https://a/token", Application("client"), RefreshToken(Secret("r")), "mail", None, 300)
    return TokenCredentials(SENDER, request, Given(*tokens), (mechanism,), Wanted(SENDER), SystemClock())


def submitting(
    postfix: Postfix, credentials: Credentials | None, security: Security = Security.START_TLS, traces: Traces | None = None
) -> AbstractAsyncContextManager[SmtpSubmitter]:
    ports = {
        Security.START_TLS: postfix.submission_port,
        Security.SSL_TLS: postfix.submissions_port,
        Security.NONE: postfix.relay_port,
    }
    there = Place(postfix.host, ports[security], security, postfix.ca_file, 10.0, 30.0)
    return open_smtp(there, credentials, kit(SystemClock()), traces("smtp-client-a") if traces is not None else None)


def to(*addresses: str, **fields: Any) -> Envelope:
    return replace(Envelope(SENDER, tuple(map(Recipient, addresses))), **fields)


def received(dovecot: Dovecot, user: str) -> list[bytes]:
    """What came into a mailbox, as it was sent."""
    return [without_trace(octets) for octets in dovecot.raw(user).values()]


def brief(statuses: Sequence[DeliveryStatus]) -> list[tuple[object, ...]]:
    return [(status.state, status.code, status.enhanced) for status in statuses]


@pytest.fixture(scope="module")
def plain_postfix(dovecot: Dovecot, certificates: Certificates, root: None) -> Iterator[Postfix]:
    """One that knows none of the extensions that save time, and delivers what is beyond ASCII."""
    options = Options(without=("PIPELINING", "CHUNKING"), delivery="lda")
    with Postfix(dovecot, certificates=certificates, options=options) as running:
        yield running


# --- logins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("security", [Security.START_TLS, Security.SSL_TLS])
@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER", "PLAIN", "LOGIN"])
async def test_what_is_sent_by_each_login_arrives_as_it_was(
    postfix: Postfix, dovecot: Dovecot, authority: Authority, mailbox_user: str, mechanism: str, security: Security
) -> None:
    basic = mechanism in ("PLAIN", "LOGIN")
    credentials = password(mechanism) if basic else token(mechanism, authority.access_token(SENDER))
    message_id, octets = letter()
    marks, traces = Marks(), Traces()
    async with submitting(postfix, credentials, security, traces) as submitter:
        (status,) = await submitter.submit(to(mailbox_user), Octets(octets), marks)
        await submitter.check()
        assert submitter.stands()
    assert (status.address, status.state, status.code, status.enhanced) == (mailbox_user, SENT, 250, "2.0.0")
    assert re.match(r"Ok: \d+ bytes queued as \w+", status.words)
    assert marks.seen == [[mailbox_user]]
    [line] = postfix.logged(message_id)
    assert "status=sent" in line
    assert received(dovecot, mailbox_user) == [octets]
    said = [line for side, line in traces.lines if side == "C"]
    assert [line.split()[0] for line in said].count("EHLO") == (2 if security is Security.START_TLS else 1)
    assert not any(PASSWORD in line.split() or "Subject" in line for line in said)


async def test_a_token_that_is_refused_is_followed_by_a_fresh_one(
    postfix: Postfix, dovecot: Dovecot, authority: Authority, mailbox_user: str
) -> None:
    message_id, octets = letter()
    async with submitting(postfix, token("XOAUTH2", "made-up", authority.access_token(SENDER))) as submitter:
        assert (await submitter.submit(to(mailbox_user), Octets(octets), Marks()))[0].state is SENT
    postfix.logged(message_id)
    assert received(dovecot, mailbox_user) == [octets]


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER", "PLAIN"])
async def test_a_login_that_is_refused_is_told_of(postfix: Postfix, mechanism: str) -> None:
    credentials = password(word="another") if mechanism == "PLAIN" else token(mechanism, "made-up", "made-up-too")
    with pytest.raises(LoginRefused, match=r"535 5\.7\.8") as caught:
        async with submitting(postfix, credentials):
            pass
    assert "made-up" not in str(caught.value)
    assert caught.value.remedy


async def test_a_token_too_long_for_a_line_of_512_octets_is_taken(postfix: Postfix, authority: Authority) -> None:
    authority.set_token_length(4000)
    async with submitting(postfix, token("XOAUTH2", authority.access_token(SENDER))) as submitter:
        await submitter.check()


async def test_p28_without_a_login_the_account_is_at_fault_and_not_the_message(postfix: Postfix) -> None:
    marks = Marks()
    with pytest.raises(LoginRefused, match="Access denied") as caught:
        async with submitting(postfix, None) as submitter:
            await submitter.submit(to(SENDER), Octets(letter()[1]), marks)
    assert "enable-authentication" in caught.value.remedy
    assert marks.seen == []


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extensions", ["all", "none"])
@pytest.mark.parametrize("size", [0, 4_000, 1_000_000])
async def test_messages_of_any_size_arrive_as_they_were(
    postfix: Postfix, plain_postfix: Postfix, dovecot: Dovecot, mailbox_user: str, extensions: str, size: int
) -> None:
    server = postfix if extensions == "all" else plain_postfix
    message_id, octets = letter(size)
    cut = [octets[start : start + 65_521] for start in range(0, len(octets), 65_521)]
    traces = Traces()
    async with submitting(server, password(), traces=traces) as submitter:
        content = Streamed(cut) if size > 500_000 else Octets(octets)
        assert brief(await submitter.submit(to(mailbox_user), content, Marks())) == [(SENT, 250, "2.0.0")]
    server.logged(message_id)
    assert received(dovecot, mailbox_user) == [octets]
    said = [line.split()[0] for side, line in traces.lines if side == "C"]
    assert ("BDAT" in " ".join(line for _, line in traces.lines)) is (extensions == "all")
    assert ("DATA" in said) is (extensions == "none")


async def test_many_messages_over_one_conversation(postfix: Postfix, dovecot: Dovecot, mailbox_user: str) -> None:
    letters = [letter(2_000) for _ in range(30)]
    async with submitting(postfix, None, Security.NONE) as submitter:
        for _, octets in letters:
            assert (await submitter.submit(to(mailbox_user), Octets(octets), Marks()))[0].state is SENT
    for message_id, _ in letters:
        postfix.logged(message_id)
    assert sorted(received(dovecot, mailbox_user)) == sorted(octets for _, octets in letters)


@pytest.mark.parametrize("extensions", ["all", "none"])
async def test_each_recipient_has_its_own_answer(
    postfix: Postfix, plain_postfix: Postfix, dovecot: Dovecot, mailbox_user: str, extensions: str
) -> None:
    message_id, octets = letter()
    marks = Marks()
    server = postfix if extensions == "all" else plain_postfix
    async with submitting(server, password()) as submitter:
        addresses = (f"nobody@{DOMAIN}", mailbox_user, f"slow@{DOMAIN}", f"list@{DOMAIN}")
        statuses = await submitter.submit(to(*addresses), Octets(octets), marks)
        assert brief(statuses) == [(FAILED, 550, "5.1.1"), (SENT, 250, "2.0.0"), (PENDING, 450, "4.2.1"), (FAILED, 550, "5.7.1")]
        assert "No such user here" in statuses[0].words
        assert marks.seen == [[mailbox_user]]
        refused = await submitter.submit(to(*REFUSED), Octets(octets), marks)  # none is left: it is reset, and goes on
        assert {status.state for status in refused} == {FAILED, PENDING}
        await submitter.check()
    server.logged(message_id)
    assert received(dovecot, mailbox_user) == [octets]


async def test_a_report_of_success_names_the_envelope(postfix: Postfix, dovecot: Dovecot, mailbox_user: str) -> None:
    message_id, octets = letter()
    envelope = Envelope(
        mailbox_user,
        (Recipient("x@elsewhere.example", ("SUCCESS",), "rfc822;first+1@elsewhere.example"),),
        envid="id=7 +",
        ret="HDRS",
    )
    async with submitting(postfix, password(user=mailbox_user)) as submitter:
        assert (await submitter.submit(envelope, Octets(octets), Marks()))[0].state is SENT
    postfix.logged(message_id)
    report = wait_for(lambda: next(iter(dovecot.raw(mailbox_user).values()), None), "the report")
    parts = [part for part in message_from_bytes(report).walk() if part.get_content_type() == "message/delivery-status"]
    told = str(parts[0])
    assert "Original-Envelope-Id: id=7 +" in told
    assert "Original-Recipient: rfc822;first+1@elsewhere.example" in told
    assert "Action: relayed" in told or "Action: delivered" in told


async def test_addresses_and_a_header_beyond_ascii(plain_postfix: Postfix, dovecot: Dovecot) -> None:
    (address, mailbox), octets = next(iter(ALIASES.items())), letter()[1].replace(b"a letter", "ein Gruß".encode())
    envelope = to(address, smtputf8=True, body=Body.EIGHT_BIT)
    before = len(received(dovecot, mailbox))
    async with submitting(plain_postfix, password()) as submitter:
        assert (await submitter.submit(envelope, Octets(octets), Marks()))[0].state is SENT
    wait_for(lambda: len(received(dovecot, mailbox)) > before, "the message")
    assert received(dovecot, mailbox)[-1] == octets


async def test_what_this_server_lacks_is_named_before_anything_is_sent(postfix: Postfix) -> None:
    async with submitting(postfix, password()) as submitter:
        (binary,) = await submitter.submit(to(SENDER, body=Body.BINARY), Octets(b"a\0b"), Marks())
        assert (binary.state, binary.code, binary.enhanced) == (FAILED, 0, "5.6.3")
        huge = replace_size(11_000_000)
        (large,) = await submitter.submit(to(SENDER), huge, Marks())
        assert (large.state, large.enhanced) == (FAILED, "5.3.4")
        await submitter.check()


def replace_size(size: int) -> Any:
    """A content that says that it is large, and is never asked for its octets."""

    class Large(Streamed):
        @property
        def size(self) -> int:
            return size

    return Large([], AssertionError("nobody may read it"))


async def test_the_token_of_the_conversation_ends_it(postfix: Postfix, authority: Authority) -> None:
    credentials = token("XOAUTH2", authority.access_token(SENDER))
    clock = HandClock(SystemClock().now())
    there = Place(postfix.host, postfix.submission_port, Security.START_TLS, postfix.ca_file, 10.0, 30.0)
    async with open_smtp(there, credentials, kit(clock), None) as submitter:
        assert submitter.stands()
        clock.advance(3600)
        assert not submitter.stands()
