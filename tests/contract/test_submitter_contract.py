"""What every ``Submitter`` promises, over the fake and over the driver at servers of three families.

Those are Postfix and Exim, the sandbox's, and one that does wrong what it is told, with the ways of Microsoft and Gmail too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from offices import FaultsOffice, FaultyOffice, MemoryOffice, Office, at_exim, at_postfix, at_sandbox

from outgoing import account
from postroom.clock import SystemClock
from postroom.drivers import Submitter
from postroom.engine.connection import Connection
from postroom.errors import AuthError, LeaseLost, LoginRefused, NetworkError, PostroomError, Reply, StoreError, Throttled
from postroom.outbound import Body, Content, DeliveryStatus, Envelope, Octets, Recipient, RecipientState
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.exim import Exim
from servers.smtp_faults import GMAIL, MICROSOFT, Fault, Manner
from servers.waiting import wait_for
from submission import Marks, Streamed

FAULTY = ("memory", "faults-data", "faults-microsoft", "faults-gmail")
SOUND = ("postfix-password", "postfix-token", "exim-password", "sandbox-token")
_MANNERS = {
    "faults-data": (Manner(keywords=tuple(word for word in Manner().keywords if word != "CHUNKING")), ""),
    "faults-microsoft": (replace(MICROSOFT, sent_folder=""), "microsoft"),
    "faults-gmail": (replace(GMAIL, sent_folder=""), "google"),
}
SENT, PENDING, FAILED, DOUBT = RecipientState.SENT, RecipientState.PENDING, RecipientState.FAILED, RecipientState.DOUBT
LETTER = b"Subject: a letter\r\n\r\n.dot\r\n..\r\n.\r\nend \r\n\r\n"
LAST = b"Subject: the last letter\r\n\r\nby a conversation of its own\r\n"
LONG = LETTER + (b"." + b"x" * 70 + b"\r\n") * 70_000  # 5 MB
PARTS = LETTER + (b"." + b"x" * 70 + b"\r\n") * 3_000  # more than one piece


@pytest.fixture(scope="module")
def exim(dovecot: Dovecot, certificates: Certificates) -> Iterator[Exim]:
    with Exim(dovecot, certificates=certificates) as running:
        yield running


@pytest.fixture(params=[*FAULTY, *SOUND])
async def office(request: pytest.FixtureRequest, certificates: Certificates, mailbox_user: str) -> AsyncIterator[Office]:
    """A server of a kind, and an account that has nothing there yet."""
    kind, sender = str(request.param), f"from-{mailbox_user}"
    if kind in FAULTY:
        yield faulty_office(kind, request, sender)
    elif kind.startswith("sandbox"):
        async with at_sandbox(certificates, sender) as sandbox:
            yield sandbox
    else:
        server, dovecot = request.getfixturevalue(kind.partition("-")[0]), request.getfixturevalue("dovecot")
        token = request.getfixturevalue("authority").access_token(sender) if kind == "postfix-token" else ""
        yield at_exim(server, dovecot, sender) if kind == "exim-password" else at_postfix(server, dovecot, sender, token=token)


@pytest.fixture(params=FAULTY)
def faulty(request: pytest.FixtureRequest, mailbox_user: str) -> FaultyOffice:
    return faulty_office(request.param, request, f"from-{mailbox_user}")


def faulty_office(kind: str, request: pytest.FixtureRequest, sender: str) -> FaultyOffice:
    if kind == "memory":
        return MemoryOffice(sender)
    return FaultsOffice(request.getfixturevalue("smtp_faults"), sender, *_MANNERS[kind])


@dataclass
class Empty(Marks):
    """Notes who may be accepted from then on, and sees that the server has nothing for them yet."""

    office: Office | None = None

    async def __call__(self, addresses: Sequence[str]) -> None:
        assert self.office is not None
        assert [self.office.received(address) for address in addresses] == [[] for _ in addresses]
        assert self.office.quiet
        await super().__call__(addresses)


def envelope(office: Office, *recipients: str, body: Body = Body.SEVEN_BIT) -> Envelope:
    return Envelope(office.sender, tuple(map(Recipient, recipients)), body)


def cut(octets: bytes, size: int = 65_521) -> Streamed:
    return Streamed([octets[start : start + size] for start in range(0, len(octets), size)])


async def send(
    submitter: Submitter, office: Office, recipient: str, content: Content | None = None, marks: Marks | None = None
) -> DeliveryStatus:
    """Submit a message to one recipient."""
    [status] = await submitter.submit(envelope(office, recipient), content or Octets(LETTER), marks or Marks())
    assert status.address == recipient
    return status


async def arrived(office: Office, recipient: str, count: int) -> list[bytes]:
    """All that the server has for a recipient, once so much is there and nothing is under way."""
    wait_for(lambda: office.quiet and len(office.received(recipient)) >= count, f"{count} messages for {recipient}")
    return office.received(recipient)


async def has_nothing(office: Office, recipient: str) -> None:
    """Nothing was accepted for a recipient: what is sent last, over a conversation of its own, is all that ever arrives."""
    async with office.sending() as submitter:
        assert (await send(submitter, office, recipient, Octets(LAST))).state is SENT
    assert await arrived(office, recipient, 1) == [LAST]


# --- a message that is taken


@pytest.mark.parametrize(
    ("content", "body"),
    [
        pytest.param(Octets(LETTER), Body.SEVEN_BIT, id="dots"),
        pytest.param(Octets(b"Subject: x\r\n\r\n" + b"." * 998 + b"\r\n" + b"y" * 998 + b"\r\n"), Body.SEVEN_BIT, id="long-lines"),
        pytest.param(Octets("Subject: x\r\n\r\nGrüße, 世界\r\n".encode()), Body.EIGHT_BIT, id="8bit"),
        pytest.param(Octets(b"Subject: x\r\n\r\n"), Body.SEVEN_BIT, id="empty-body"),
        pytest.param(Octets(b"Subject: x\r\n\r\nno end"), Body.SEVEN_BIT, id="no-final-line-end"),
        pytest.param(cut(LONG), Body.SEVEN_BIT, id="streamed"),
        pytest.param(cut(LETTER + b".", 1), Body.SEVEN_BIT, id="one-by-one"),
    ],
)
async def test_octets_arrive_as_they_were(office: Office, mailbox_user: str, content: Content, body: Body) -> None:
    marks = Empty(office=office)
    async with office.sending() as submitter:
        [status] = await submitter.submit(envelope(office, mailbox_user, body=body), content, marks)
        assert (status.address, status.state, status.code) == (mailbox_user, SENT, 250)
        assert marks.seen == [[mailbox_user]]
    octets = b"".join(content.pieces())
    whole = octets if octets.endswith(b"\r\n") else octets + b"\r\n"  # RFC 5321 section 4.1.1.4
    assert await arrived(office, mailbox_user, 1) == [whole]


async def test_each_message_of_a_conversation_arrives(office: Office, mailbox_user: str) -> None:
    letters = [LETTER, PARTS, LAST, b"Subject: 4\r\n\r\n4\r\n"]
    async with office.sending() as submitter:
        await submitter.check()
        for octets in letters:
            assert (await send(submitter, office, mailbox_user, cut(octets))).state is SENT
            assert submitter.stands()
            await submitter.check()
    assert sorted(await arrived(office, mailbox_user, 4)) == sorted(letters)


# --- recipients


async def test_each_recipient_has_its_own_status_in_their_order(office: Office, mailbox_user: str) -> None:
    other = f"also-{mailbox_user}"
    first, *more = office.refused
    addresses = [first.address, mailbox_user, *(each.address for each in more), other]
    marks = Empty(office=office)
    async with office.sending() as submitter:
        statuses = await submitter.submit(envelope(office, *addresses), Octets(LETTER), marks)
        assert [status.address for status in statuses] == addresses
        assert marks.seen == [[mailbox_user, other]]
        found = {status.address: status for status in statuses}
        assert (found[mailbox_user].state, found[other].state) == (SENT, SENT)
        for each in office.refused:
            assert found[each.address][:4] == each.status[:4]
            assert each.words in found[each.address].words
    assert await arrived(office, mailbox_user, 1) == await arrived(office, other, 1) == [LETTER]


async def test_where_nobody_is_left_nothing_is_sent_and_the_next_message_is(office: Office, mailbox_user: str) -> None:
    marks = Marks()
    async with office.sending() as submitter:
        for content in (Octets(LETTER), cut(PARTS)):
            statuses = await submitter.submit(envelope(office, *(each.address for each in office.refused)), content, marks)
            assert [status[:4] for status in statuses] == [each.status[:4] for each in office.refused]
            assert submitter.stands()
        assert marks.seen == []
        assert (await send(submitter, office, mailbox_user, Octets(LAST))).state is SENT
    assert await arrived(office, mailbox_user, 1) == [LAST]


@pytest.mark.parametrize("office", ["faults-gmail", "sandbox-token"], indirect=True)
async def test_more_recipients_than_the_server_takes_wait_for_another_turn(office: Office, mailbox_user: str) -> None:
    addresses = [f"{number}-{mailbox_user}" for number in range(101)]
    marks = Empty(office=office)
    async with office.sending() as submitter:
        statuses = await submitter.submit(envelope(office, *addresses), Octets(LETTER), marks)
        assert [status.state for status in statuses] == [SENT] * 100 + [PENDING]
        assert statuses[100][:4] == (addresses[100], PENDING, 452, "4.5.3")
        assert marks.seen == [addresses[:100]]
        assert (await send(submitter, office, addresses[100])).state is SENT
    assert [await arrived(office, address, 1) for address in addresses] == [[LETTER]] * 101


# --- nothing is accepted without a mark


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(LeaseLost("another's"), id="lease-lost"),
        pytest.param(StoreError("no mark"), id="store"),
        pytest.param(asyncio.CancelledError(), id="cancelled"),
    ],
)
@pytest.mark.parametrize("content", [pytest.param(Octets(LETTER), id="small"), pytest.param(cut(PARTS), id="streamed")])
async def test_p27_without_a_mark_nothing_is_accepted(
    office: Office, mailbox_user: str, error: BaseException, content: Content
) -> None:
    marks = Marks(error=error)
    async with office.sending() as submitter:
        with pytest.raises(type(error)):
            await send(submitter, office, mailbox_user, content, marks)
        assert marks.seen == [[mailbox_user]]
        assert not submitter.stands()
        with pytest.raises(NetworkError):
            await submitter.check()
    await has_nothing(office, mailbox_user)


@dataclass(frozen=True)
class Interrupted(Streamed):
    """A content in the middle of which whoever sends it is stopped."""

    def pieces(self) -> Iterator[bytes]:
        for number, piece in enumerate(self.parts):
            if number == len(self.parts) // 2:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            yield piece


async def test_what_is_cancelled_in_the_middle_leaves_nothing_whole(office: Office, mailbox_user: str) -> None:
    marks = Marks()
    async with office.sending() as submitter:
        task = asyncio.create_task(send(submitter, office, mailbox_user, Interrupted(cut(LONG).parts), marks))
        await asyncio.wait([task])
        assert task.cancelled()
        assert not submitter.stands()
    assert marks.seen == []
    await has_nothing(office, mailbox_user)


async def test_a_store_that_fails_in_the_middle_leaves_nothing_whole(office: Office, mailbox_user: str) -> None:
    marks = Marks()
    async with office.sending() as submitter:
        with pytest.raises(StoreError):
            await send(submitter, office, mailbox_user, replace(cut(LONG), error=StoreError("gone")), marks)
        assert not submitter.stands()
    assert marks.seen == []
    await has_nothing(office, mailbox_user)


# --- the account, and the end of a conversation


async def test_p28_a_login_that_is_refused_is_the_accounts_and_no_messages(office: Office, mailbox_user: str) -> None:
    with pytest.raises(LoginRefused) as caught:
        async with office.sending(good=False):
            pytest.fail("it is in")
    assert caught.value.remedy
    assert "another" not in str(caught.value).split()
    await has_nothing(office, mailbox_user)


async def test_a_conversation_is_ended_more_than_once(office: Office, mailbox_user: str) -> None:
    connection = Connection(lambda _: office.sending(), SystemClock())
    whose = account()
    submitter = await connection.ready(whose)
    assert (await send(submitter, office, mailbox_user)).state is SENT
    await connection.close()
    await connection.close()
    with pytest.raises(ZeroDivisionError):
        async with office.sending() as submitter:
            raise ZeroDivisionError
    assert await connection.ready(whose) is not submitter
    await connection.close()
    assert await arrived(office, mailbox_user, 1) == [LETTER]


# --- faults, which only some servers can be made to have

ACCOUNT = (NetworkError, Throttled, AuthError, Reply)
DAY = "550 5.4.5 Daily user sending limit exceeded"
CLOSING = "421 4.3.2 Service shutting down"


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("greeting", CLOSING), id="421-greeting"),
        pytest.param(Fault("greeting", do="cut"), id="cut-greeting"),
        pytest.param(Fault("ehlo", CLOSING), id="421-ehlo"),
        pytest.param(Fault("ehlo", do="half"), id="half-ehlo"),
        pytest.param(Fault("auth", CLOSING), id="421-auth"),
        pytest.param(Fault("auth", do="reset"), id="reset-auth"),
    ],
)
async def test_p28_a_conversation_that_does_not_come_about_is_the_accounts(
    faulty: FaultyOffice, mailbox_user: str, fault: Fault
) -> None:
    faulty.fail(fault, LETTER, mailbox_user)
    with pytest.raises(ACCOUNT):
        async with faulty.sending():
            pytest.fail("it is in")
    await has_nothing(faulty, mailbox_user)


@pytest.mark.parametrize("content", [pytest.param(Octets(LETTER), id="small"), pytest.param(cut(PARTS), id="streamed")])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault("mail", CLOSING), id="421-mail"),
        pytest.param(Fault("mail", DAY), id="quota-mail"),
        pytest.param(Fault("mail", "535 5.7.3 Authentication unsuccessful"), id="535-mail"),
        pytest.param(Fault("mail", do="cut"), id="cut-mail"),
        pytest.param(Fault("rcpt", CLOSING), id="421-rcpt"),
        pytest.param(Fault("rcpt", do="reset"), id="reset-rcpt"),
        pytest.param(Fault("data", CLOSING), id="421-data"),
        pytest.param(Fault("data", do="cut"), id="cut-data"),
        pytest.param(Fault("data", do="half"), id="half-data"),
    ],
)
async def test_p28_what_is_the_accounts_changes_nothing_before_the_end(
    faulty: FaultyOffice, mailbox_user: str, fault: Fault, content: Content
) -> None:
    octets = b"".join(content.pieces())
    if fault.at == "data" and faulty.chunks:
        if octets == LETTER:  # which goes as its last chunk at once
            content, octets = cut(LETTER, 20), LETTER
        fault = replace(fault, at="bdat")
    faulty.fail(fault, octets, mailbox_user)
    marks = Marks()
    async with faulty.sending() as submitter:
        with pytest.raises(ACCOUNT):
            await send(submitter, faulty, mailbox_user, content, marks)
        assert not submitter.stands()
    assert marks.seen == []
    await has_nothing(faulty, mailbox_user)


@pytest.mark.parametrize("do", ["cut", "reset"])
async def test_p27_a_connection_that_is_lost_in_the_content_fails_nothing(faulty: FaultyOffice, mailbox_user: str, do: str) -> None:
    faulty.fail(Fault("content", do=do, after=100_000), LONG, mailbox_user)  # type: ignore[arg-type]
    async with faulty.sending() as submitter:
        with pytest.raises(ACCOUNT):
            await send(submitter, faulty, mailbox_user, cut(LONG))
        assert not submitter.stands()
    await has_nothing(faulty, mailbox_user)


@pytest.mark.parametrize("words", ["451 4.3.0 Error while writing", "550 5.7.1 Refused as spam", "554 5.6.0 Not a message"])
@pytest.mark.parametrize("at", ["mail", "data", "dot"])
async def test_p27_a_definite_no_is_the_messages(faulty: FaultyOffice, mailbox_user: str, at: str, words: str) -> None:
    octets = LETTER
    if at == "data" and faulty.chunks:
        at = "bdat"
    faulty.fail(Fault(at, words), octets, mailbox_user)  # type: ignore[arg-type]
    marks = Marks()
    async with faulty.sending() as submitter:
        status = await send(submitter, faulty, mailbox_user, cut(octets, 20), marks)
        code, enhanced, text = words.split(" ", 2)
        assert status == DeliveryStatus(mailbox_user, FAILED if code > "500" else PENDING, int(code), enhanced, text)
        assert marks.seen == ([[mailbox_user]] if at == "dot" else [])
        assert submitter.stands()
        assert (await send(submitter, faulty, mailbox_user, Octets(LAST))).state is SENT
    assert await arrived(faulty, mailbox_user, 1) == [LAST]


@pytest.mark.parametrize(("words", "kind"), [(CLOSING, NetworkError), (DAY, Throttled)], ids=["closing", "quota"])
@pytest.mark.parametrize("next_", ["submit", "check"])
async def test_p28_what_the_last_answer_says_of_the_account_is_raised_next(
    faulty: FaultyOffice, mailbox_user: str, words: str, kind: type[PostroomError], next_: str
) -> None:
    faulty.fail(Fault("dot", words), LETTER, mailbox_user)
    marks = Marks()
    async with faulty.sending() as submitter:
        status = await send(submitter, faulty, mailbox_user, marks=marks)
        assert (status.state, status.code) == (PENDING, int(words[:3]))
        assert submitter.stands()
        with pytest.raises(kind):
            await (submitter.check() if next_ == "check" else send(submitter, faulty, mailbox_user, marks=marks))
        assert submitter.stands() is (words == DAY)
    assert marks.seen == [[mailbox_user]]
    await has_nothing(faulty, mailbox_user)


@pytest.mark.parametrize("taken", [pytest.param(True, id="taken"), pytest.param(False, id="not-taken")])
@pytest.mark.parametrize("do", ["cut", "reset", "half"])
@pytest.mark.parametrize("content", [pytest.param(Octets(LETTER), id="small"), pytest.param(cut(PARTS), id="streamed")])
async def test_p27_a_lost_answer_is_a_doubt_and_the_end_of_the_conversation(
    faulty: FaultyOffice, mailbox_user: str, do: str, taken: bool, content: Content
) -> None:
    octets = b"".join(content.pieces())
    faulty.fail(Fault("dot", do=do, taken=taken), octets, mailbox_user)  # type: ignore[arg-type]
    marks = Marks()
    async with faulty.sending() as submitter:
        status = await send(submitter, faulty, mailbox_user, content, marks)
        assert (status.state, status.code, status.enhanced) == (DOUBT, 0, "")
        assert status.words
        assert not submitter.stands()
        with pytest.raises(NetworkError):
            await submitter.check()
    assert marks.seen == [[mailbox_user]]
    if taken:
        assert await arrived(faulty, mailbox_user, 1) == [octets]
    else:
        await has_nothing(faulty, mailbox_user)
