"""The folder of what was sent at real servers: found, compared, filed, made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import START, HandClock, Recorder, Traces, kit
from outgoing import SECTION, MemoryServer, Plan, handed
from postroom.drivers import Account, Kit, Mailbox, SentFolder, open_sent
from postroom.drivers.imap_sent import USE, ImapSent, open_imap_sent
from postroom.drivers.limits import DEFAULT
from postroom.drivers.provider import Place
from postroom.engine.filing import Filer
from postroom.engine.sent import Evidence, wants_copy
from postroom.engine.submit import Sender, Sending
from postroom.errors import ImapStatus
from postroom.model import WorkKind
from postroom.net.credentials import PasswordCredentials
from postroom.outbound import Content, Octets, RecipientState
from postroom.secret import Secret
from postroom.settings import MailboxType, PopClient, Security, SmtpClient
from postroom.store import Store
from servers.certificates import Certificates
from servers.courier import Courier
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD, imap_without
from servers.pymap_server import Pymap

ID = "<one@example.org>"
FULL = """
plugin {
  quota = maildir:User quota
  quota_rule = *:storage=20K
}
"""


def message(message_id: str, text: str = "hello") -> bytes:
    return f"From: a@example.org\r\nMessage-ID: {message_id}\r\nSubject: sent\r\n\r\n{text}\r\n".encode()


@pytest.fixture(scope="module")
def dovecot(real_servers: None, certificates: Certificates) -> Iterator[Dovecot]:
    with Dovecot(certificates=certificates) as running:
        yield running


@asynccontextmanager
async def opened(
    server: Dovecot | Courier | Pymap, user: str, folder: str = USE, traces: Traces | None = None
) -> AsyncIterator[ImapSent]:
    place = Place(server.host, server.imap_port, Security.NONE, server.ca_file, 5.0, 30.0)
    credentials = PasswordCredentials(user, Secret(PASSWORD), (), "", "pop-client-a")
    trace = traces("pop-client-a") if traces is not None else None
    async with open_imap_sent(place, credentials, kit(HandClock()), trace, folder) as sent:
        yield sent


async def test_a_copy_is_filed_where_the_server_has_its_sent_mail_and_found_again(dovecot: Dovecot, mailbox_user: str) -> None:
    dovecot.doveadm("mailbox", "create", "-u", mailbox_user, "Sent")
    async with opened(dovecot, mailbox_user) as sent:
        assert not await sent.has(ID, START)
        await sent.file(Octets(message(ID)), START)
        assert await sent.has(ID, START)
        assert not await sent.has(ID, START + 1)
    with dovecot.imap(mailbox_user) as connection:
        connection.select("Sent", readonly=True)
        _, [row] = connection.fetch("1", "(FLAGS INTERNALDATE)")
    assert b"\\Seen" in row
    assert b"14-Nov-2023 22:13:20 +0000" in row
    assert list(dovecot.raw(mailbox_user, "Sent").values()) == [message(ID)]


@pytest.mark.parametrize("folder", [USE, "Gesendet/Über uns"], ids=["use", "named"])
async def test_a_folder_that_is_not_there_holds_nothing_and_is_made(dovecot: Dovecot, mailbox_user: str, folder: str) -> None:
    async with opened(dovecot, mailbox_user, folder) as sent:
        assert not await sent.has(ID, START)
        await sent.file(Octets(message(ID)), START)
        assert await sent.has(ID, START)
    assert len(dovecot.raw(mailbox_user, "Sent" if folder == USE else folder)) == 1


async def test_p27_an_id_within_another_is_not_that_message(dovecot: Dovecot, mailbox_user: str) -> None:
    """What HEADER finds holds the id somewhere (RFC 9051 section 6.4.4)."""
    dovecot.seed(
        mailbox_user, [message("<one@example.org>.de"), message("<ONE@example.org>"), message("x<one@example.org>")], "Sent"
    )
    with dovecot.imap(mailbox_user) as connection:
        connection.select("Sent", readonly=True)
        assert len(connection.search(None, "HEADER", "Message-ID", f'"{ID}"')[1][0].split()) == 3
    async with opened(dovecot, mailbox_user) as sent:
        assert not await sent.has(ID, START - 300)
        await sent.file(Octets(message(ID)), START)
        assert await sent.has(ID, START)


ODD = ['<"a b\\\\c"@example.org>', "no-brackets@example.org", "<ü@bücher.test>", "<!&!AAAA@x>", "<a{5}@x>", f"<{'long' * 200}@x>"]


@pytest.mark.parametrize("message_id", ODD, ids=["quotes", "no brackets", "utf-8", "as outlook's", "as a literal's", "long"])
async def test_odd_ids(dovecot: Dovecot, mailbox_user: str, message_id: str) -> None:
    traces = Traces()
    async with opened(dovecot, mailbox_user, traces=traces) as sent:
        await sent.file(Octets(message(message_id)), START)
        assert await sent.has(message_id, START)
        assert not await sent.has(message_id + "x", START)
    said = [line for side, line in traces.lines if side == "C"]
    assert any("HEADER Message-ID" in line for line in said)
    assert not any(" BAD " in line for _, line in traces.lines)


async def test_p27_search_itself_finds_an_old_one_among_many(dovecot: Dovecot, mailbox_user: str) -> None:
    dovecot.seed(mailbox_user, [message(ID), *(message(f"<{n}@example.org>") for n in range(300))], "Sent")
    traces = Traces()
    async with opened(dovecot, mailbox_user, traces=traces) as sent:
        assert await sent.has(ID, START - 300)
    assert not any(" FETCH 202:*" in line for _, line in traces.lines)


async def test_a_long_copy_goes_in_pieces(dovecot: Dovecot, mailbox_user: str, tmp_path: Path) -> None:
    octets = message(ID, "\r\n".join(["x" * 998] * 5000))
    with_store = Store(tmp_path, HandClock(), f"file:{tmp_path / 'vault.key'}", {})
    try:
        whole = handed(b"0")
        composed = replace(whole.composed, octets=octets)
        public_id = (await with_store.outbox.hand_in(replace(whole, composed=composed)))[0].id
        content: Content = await with_store.outbox.content(public_id)
        async with opened(dovecot, mailbox_user) as sent:
            await sent.file(content, START)
            assert await sent.has(ID, START)
    finally:
        with_store.close()
    assert list(dovecot.raw(mailbox_user, "Sent").values()) == [octets]


@pytest.mark.parametrize("missing", ["LITERAL+", "SPECIAL-USE", "ESEARCH", "UIDPLUS"])
async def test_servers_that_know_less(real_servers: None, certificates: Certificates, mailbox_user: str, missing: str) -> None:
    without = (missing, "LIST-EXTENDED") if missing == "SPECIAL-USE" else (missing,)
    with Dovecot(certificates=certificates, imap=imap_without(*without)) as dovecot:
        async with opened(dovecot, mailbox_user) as sent:
            await sent.file(Octets(message(ID)), START)
            assert await sent.has(ID, START)
        assert len(dovecot.raw(mailbox_user, "Sent")) == 1


async def test_a_full_mailbox_takes_no_copy_and_the_conversation_goes_on(
    real_servers: None, certificates: Certificates, mailbox_user: str
) -> None:
    with Dovecot(certificates=certificates, extra=FULL, imap="mail_plugins = $mail_plugins quota") as dovecot:
        async with opened(dovecot, mailbox_user) as sent:
            with pytest.raises(ImapStatus, match="OVERQUOTA"):
                await sent.file(Octets(message(ID, "x" * 50_000)), START)
            await sent.file(Octets(message(ID)), START)
            assert await sent.has(ID, START)
        assert len(dovecot.raw(mailbox_user, "Sent")) == 1


async def test_courier_has_its_folders_below_inbox(real_servers: None, certificates: Certificates, mailbox_user: str) -> None:
    with Courier(certificates=certificates) as courier:
        courier.add_user(mailbox_user)
        async with opened(courier, mailbox_user) as sent:
            assert not await sent.has(ID, START)
            await sent.file(Octets(message(ID)), START)
            assert await sent.has(ID, START)
            assert not await sent.has("<two@example.org>", START)
            assert sent.folder == "INBOX.Sent"
        async with opened(courier, mailbox_user) as sent:
            assert await sent.has(ID, START)


async def test_pymap(real_servers: None, certificates: Certificates) -> None:
    with Pymap(certificates=certificates) as pymap:
        pymap.seed([message("<two@example.org>")], "Sent")
        async with opened(pymap, pymap.user) as sent:
            assert not await sent.has(ID, START)
            await sent.file(Octets(message(ID)), START)
            assert await sent.has(ID, START)


# --- with the engine --------------------------------------------------------------------------------------------------


class Post:
    """A store, a server that mail goes to without a network, and a real mailbox."""

    def __init__(self, dovecot: Dovecot, user: str, directory: Path) -> None:
        self.directory = directory
        self.clock = HandClock()
        self.kit = kit(self.clock)
        self.server = MemoryServer()
        box = PopClient(
            section="pop-client-a",
            name="a",
            type=MailboxType.IMAP,
            server=dovecot.host,
            port=dovecot.imap_port,
            security=Security.NONE,
            mailbox=user,
            password=Secret(PASSWORD),
        )
        self.mailbox = Mailbox(box, None, {})
        self.account = Account(SmtpClient(section=SECTION, name="a", server=dovecot.host, user=user), None, {})
        self.open()

    def open(self) -> None:
        self.store = Store(self.directory, self.clock, f"file:{self.directory / 'vault.key'}", {})

    def mailbox_for(self, _account: Account) -> Mailbox:
        return self.mailbox

    async def deliver(self) -> None:
        around = Sending(
            self.store,
            self.clock,
            Recorder(),
            self.server.conversation,
            Evidence(self.mailbox_for, self.kit).look,
            lambda _account: DEFAULT,
            lambda account: wants_copy(account, self.mailbox, self.kit.providers),
        )
        await asyncio.wait_for(Sender(SECTION, lambda: self.account, around).drain(), 20)

    def filer(self, open_: object = open_sent) -> Filer:
        return Filer(self.store, self.kit, Recorder(), lambda _section: self.account, self.mailbox_for, open_)  # type: ignore[arg-type]


@pytest.fixture
def post(dovecot: Dovecot, mailbox_user: str, tmp_path: Path) -> Iterator[Post]:
    post = Post(dovecot, mailbox_user, tmp_path)
    yield post
    post.store.close()


def composed(number: int) -> bytes:
    return message(f"<{number}@example.org>")


async def hand_in(post: Post, count: int) -> list[str]:
    ids = []
    for number in range(count):
        whole = handed(b"%d" % number)
        octets = replace(whole.composed, octets=composed(number))
        ids.append((await post.store.outbox.hand_in(replace(whole, composed=octets)))[0].id)
    return ids


class _Killed(BaseException):
    """The process is gone."""


class _Deadly:
    """The folder of a process that is killed behind its first APPEND."""

    def __init__(self, sent: SentFolder) -> None:
        self._sent = sent
        self.folder = sent.folder

    async def has(self, message_id: str, since: float) -> bool:
        return await self._sent.has(message_id, since)

    async def file(self, content: Content, when: float) -> None:
        await self._sent.file(content, when)
        raise _Killed


async def test_p27_killed_between_append_and_record_each_message_is_filed_once(
    post: Post, dovecot: Dovecot, mailbox_user: str
) -> None:
    await hand_in(post, 5)
    await post.deliver()
    post.clock.advance(10)

    def deadly(mailbox: Mailbox, hands: Kit, folder: str | None = None) -> AbstractAsyncContextManager[SentFolder] | None:
        whole = open_sent(mailbox, hands, folder)
        assert whole is not None

        @asynccontextmanager
        async def conversation() -> AsyncIterator[SentFolder]:
            async with whole as sent:
                yield _Deadly(sent)

        return conversation()

    for _ in range(5):
        with pytest.raises(_Killed):
            await post.filer(deadly).drain()
        post.store.close()  # nothing was written, nothing is given back
        post.open()
    await post.filer().drain()
    assert sorted(dovecot.raw(mailbox_user, "Sent").values()) == [composed(number) for number in range(5)]
    assert await post.store.next_due(WorkKind.FILE, SECTION) is None


async def test_p27_a_doubt_is_settled_by_what_the_server_filed(post: Post, dovecot: Dovecot, mailbox_user: str) -> None:
    [public_id] = await hand_in(post, 1)
    post.server.plans[composed(0)] = [Plan(lost=True)]
    await post.deliver()
    assert (await post.store.outbox.one(public_id)).recipients[0].state is RecipientState.DOUBT
    dovecot.seed(mailbox_user, [message("<0@example.org>x"), composed(0)], "Sent")
    post.clock.advance(5)
    await post.deliver()
    row = await post.store.outbox.one(public_id)
    assert (row.recipients[0].state, row.recipients[0].words) == (RecipientState.SENT, "a copy is in Sent")
    assert len(post.server.taken) == 1
