"""Submission against Exim, another family: it cuts off whoever speaks before his turn, and refuses a token without a challenge."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import pytest

from fakes import kit
from postroom.clock import SystemClock
from postroom.drivers.provider import Place
from postroom.drivers.smtp import SmtpSubmitter, open_smtp
from postroom.errors import LoginRefused
from postroom.net.credentials import PasswordCredentials
from postroom.outbound import Octets, RecipientState
from postroom.secret import Secret
from postroom.settings import Security
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import DOMAIN, PASSWORD
from servers.exim import Exim, EximOptions
from servers.postfix import without_trace
from servers.waiting import wait_for
from submission import Marks, Streamed, to

SENDER = f"sender@{DOMAIN}"
SENT, PENDING, FAILED = RecipientState.SENT, RecipientState.PENDING, RecipientState.FAILED
TEXT = b"Subject: a letter\r\n\r\n.dot\r\n..\r\n.\r\nend \r\n\r\n"


@pytest.fixture(scope="module", params=["all", "no-chunks", "none"])
def exim(dovecot: Dovecot, certificates: Certificates, request: pytest.FixtureRequest) -> Iterator[Exim]:
    without = {"all": (), "no-chunks": ("CHUNKING",), "none": ("CHUNKING", "PIPELINING", "DSN", "SMTPUTF8")}[request.param]
    with Exim(dovecot, certificates=certificates, options=EximOptions(without=without)) as running:  # type: ignore[arg-type]
        yield running


def submitting(exim: Exim, mechanism: str = "PLAIN", word: str = PASSWORD) -> AbstractAsyncContextManager[SmtpSubmitter]:
    credentials = PasswordCredentials(SENDER, Secret(word), (mechanism,), "", "smtp-client-a")
    there = Place(exim.host, exim.submission_port, Security.START_TLS, exim.ca_file, 10.0, 30.0)
    return open_smtp(there, credentials, kit(SystemClock()), None)


def arrived(dovecot: Dovecot, user: str, count: int) -> list[bytes]:
    """So many messages of a mailbox, as they were sent."""
    wait_for(lambda: len(dovecot.raw(user)) >= count, f"{count} messages for {user}")
    return [without_trace(octets) for octets in dovecot.raw(user).values()]


async def test_messages_of_any_size_arrive_as_they_were(exim: Exim, dovecot: Dovecot, mailbox_user: str) -> None:
    long = TEXT + (b"." + b"x" * 70 + b"\r\n") * 20_000
    contents = [Octets(TEXT), Streamed([long[start : start + 65_521] for start in range(0, len(long), 65_521)])]
    async with submitting(exim) as submitter:
        for content in contents:
            marks = Marks()
            (status,) = await submitter.submit(replace(to(mailbox_user), mail_from=SENDER), content, marks)
            assert (status.state, status.code, marks.seen) == (SENT, 250, [[mailbox_user]])
            await submitter.check()
    assert sorted(arrived(dovecot, mailbox_user, 2), key=len) == [TEXT, long]


async def test_each_recipient_has_its_own_answer(exim: Exim, dovecot: Dovecot, mailbox_user: str) -> None:
    async with submitting(exim, "LOGIN") as submitter:
        envelope = replace(to(f"nobody@{DOMAIN}", mailbox_user, f"slow@{DOMAIN}"), mail_from=SENDER)
        marks = Marks()
        statuses = await submitter.submit(envelope, Octets(TEXT), marks)
        assert [(status.state, status.code) for status in statuses] == [(FAILED, 550), (SENT, 250), (PENDING, 450)]
        assert marks.seen == [[mailbox_user]]
        none = await submitter.submit(replace(to(f"nobody@{DOMAIN}"), mail_from=SENDER), Octets(TEXT), marks)
        assert none[0].state is FAILED
        await submitter.check()
    assert arrived(dovecot, mailbox_user, 1) == [TEXT]


async def test_a_login_that_is_refused(exim: Exim) -> None:
    with pytest.raises(LoginRefused, match="535"):
        async with submitting(exim, word="another"):
            pass
