"""IMAP's extensions with a real server, each announced and left out: what was sent, and what came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from fakes import HandClock, Traces, kit
from postroom import __version__
from postroom.drivers import Kit
from postroom.drivers.imap import ImapReader, open_imap
from postroom.drivers.imap_probe import ImapApproach
from postroom.drivers.imap_session import ImapSession
from postroom.drivers.probe import Probing
from postroom.drivers.provider import Place
from postroom.errors import Throttled, TimedOut
from postroom.model import Disposition, Fetched, Listed, Unsettled
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret
from postroom.settings import Security
from postroom.wire.imap.numbers import Numbers
from servers.certificates import Certificates
from servers.dovecot import Dovecot
from servers.dovecot_config import CAPABILITY, PASSWORD, imap_without
from servers.proxy import FaultProxy

COURIER_LIKE = """
namespace inbox {
  prefix = INBOX.
  separator = .
  mailbox Gesendet {
    auto = create
    special_use = \\Sent
  }
  mailbox Starred {
    auto = create
  }
}
"""


@dataclass
class Party:
    """A user of a server, and what was said."""

    dovecot: Dovecot
    user: str
    kit: Kit
    traces: Traces

    def place(self, *, compress: bool = False, port: int | None = None, timeout: float = 5.0) -> Place:
        tls = Security.SSL_TLS if port is None else Security.NONE
        there = port or self.dovecot.imaps_port
        return Place(self.dovecot.host, there, tls, self.dovecot.ca_file, 5.0, timeout, compress=compress)

    @property
    def credentials(self) -> PasswordCredentials:
        return PasswordCredentials(self.user, Secret(PASSWORD), (), "", "pop-client-a")

    @asynccontextmanager
    async def session(self, *, compress: bool = False) -> AsyncIterator[ImapSession]:
        trace = self.traces("pop-client-a")
        place = self.place(compress=compress)
        opened = await ImapSession.open(place, self.credentials, self.kit.dialer, self.kit.clock, trace)
        yield opened
        await opened.close()

    @asynccontextmanager
    async def reader(self, **how: float) -> AsyncIterator[ImapReader]:
        place = self.place(**how)  # type: ignore[arg-type]
        async with open_imap(place, self.credentials, self.kit, self.traces("pop-client-a")) as opened:
            yield opened

    @property
    def sent(self) -> list[str]:
        """The commands, without their tags."""
        return [line.partition(" ")[2] or line for side, line in self.traces.lines if side == "C"]


def party(dovecot: Dovecot, user: str) -> Party:
    return Party(dovecot, user, kit(HandClock()), Traces())


@pytest.fixture(scope="module")
def servers(real_servers: None, certificates: Certificates) -> Iterator[Dovecot]:
    """A Dovecot of this module's own, whose announcements the tests change."""
    with Dovecot(certificates=certificates) as running:
        yield running


@pytest.fixture
def announcing(servers: Dovecot) -> Iterator[Dovecot]:
    """Restart it with other settings: ``restart(imap=...)``; the usual ones come back behind the test."""
    yield servers
    servers.restart(imap="", extra="")


@pytest.fixture(scope="module")
def courier_like(real_servers: None, certificates: Certificates) -> Iterator[Dovecot]:
    """A Dovecot whose personal folders are below ``INBOX.``."""
    with Dovecot(certificates=certificates, extra=COURIER_LIKE) as running:
        yield running


def mail(number: int, size: int = 100) -> bytes:
    return f"Message-ID: <{number}@example.test>\r\nSubject: {number}\r\n\r\n".encode() + b"x" * size + b"\r\n"


# --- ID, ENABLE -------------------------------------------------------------------------------------------------------

ID = f'ID ("name" "Postroom" "version" "{__version__}")'


async def test_id(servers: Dovecot, mailbox_user: str) -> None:
    who = party(servers, mailbox_user)
    async with who.session() as session:
        assert session.server_id == {"name": "Dovecot"}
    assert ID in who.sent
    assert mailbox_user not in ID


async def test_no_id_where_it_is_not_announced(announcing: Dovecot, mailbox_user: str) -> None:
    announcing.restart(imap=imap_without("ID"))
    who = party(announcing, mailbox_user)
    async with who.session() as session:
        await session.select("INBOX")
        assert session.server_id == {}
    assert who.sent == ["AUTHENTICATE PLAIN ***", "SELECT INBOX (CONDSTORE)", "LOGOUT"]


async def test_what_is_announced_and_not_enabled_is_not_relied_on(announcing: Dovecot, mailbox_user: str) -> None:
    """Dovecot 2.3 has no UTF8=ACCEPT: it says ENABLED without it, and folder names stay in modified UTF-7."""
    announcing.restart(imap=f"imap_capability = {CAPABILITY} UTF8=ACCEPT IMAP4rev2\n")
    announcing.seed(mailbox_user, [mail(1)], "Entwürfe")
    who = party(announcing, mailbox_user)
    async with who.session() as session:
        assert not session.utf8
        assert (await session.select("Entwürfe")).exists == 1
    assert "ENABLE IMAP4rev2 UTF8=ACCEPT" in who.sent
    assert 'SELECT "Entw&APw-rfe" (CONDSTORE)' in who.sent


async def test_nothing_is_enabled_where_nothing_would_come_of_it(servers: Dovecot, mailbox_user: str) -> None:
    who = party(servers, mailbox_user)
    async with who.session() as session:
        assert {"ENABLE", "QRESYNC", "CONDSTORE"} <= session.capabilities
    assert not any(line.startswith("ENABLE") for line in who.sent)


async def test_vanished_of_a_real_server(servers: Dovecot, mailbox_user: str) -> None:
    """Where QRESYNC is on all the same, EXPUNGE comes as VANISHED, and the folder is still counted right."""
    servers.seed(mailbox_user, [mail(number) for number in range(5)])
    who = party(servers, mailbox_user)
    async with who.session() as session:
        await session.command(b"ENABLE QRESYNC")
        selected = await session.select("INBOX")
        selected.touched = False
        await session.command(b"UID STORE 2:3 +FLAGS.SILENT (\\Deleted)")
        await session.command(b"UID EXPUNGE 2:3")
        assert any(line.startswith("* VANISHED 2:3") for _, line in who.traces.lines)
        assert (selected.exists, selected.expunged, selected.touched) == (3, 2, True)


# --- ESEARCH ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [True, False])
async def test_search(announcing: Dovecot, mailbox_user: str, announced: bool) -> None:
    if not announced:
        announcing.restart(imap=imap_without("ESEARCH"))
    announcing.seed(mailbox_user, [mail(number) for number in range(9)])
    who = party(announcing, mailbox_user)
    async with who.session() as session:
        await session.select("INBOX")
        await session.command(b"UID STORE 4 +FLAGS.SILENT (\\Deleted)")
        assert await session.search(b"ALL") == Numbers([(1, 9)])
        assert await session.search(b"DELETED") == Numbers([(4, 4)])
        await session.command(b"UID EXPUNGE 4")
        assert await session.search(b"ALL") == Numbers([(1, 3), (5, 9)])
        assert await session.search(b"DELETED") == Numbers()
    assert ("UID SEARCH RETURN (ALL) DELETED" in who.sent) == announced
    assert ("UID SEARCH DELETED" in who.sent) != announced


@pytest.mark.parametrize("announced", [True, False])
async def test_search_in_stretches(servers: Dovecot, mailbox_user: str, announced: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.drivers.imap_session._STRETCH", 4)
    servers.seed(mailbox_user, [mail(number) for number in range(10)])
    who = party(servers, mailbox_user)
    async with who.session() as session:
        await session.select("INBOX")
        if not announced:
            session.capabilities -= {"ESEARCH"}
        assert await session.search(b"ALL") == Numbers([(1, 10)])
    assert sum(line.startswith("UID SEARCH") for line in who.sent) == 3


@pytest.mark.parametrize("announced", [True, False])
async def test_without_uidplus_only_ours_are_expunged(announcing: Dovecot, mailbox_user: str, announced: bool) -> None:
    announcing.restart(imap=imap_without("UIDPLUS", *([] if announced else ["ESEARCH"])))
    announcing.seed(mailbox_user, [mail(1), mail(2)])
    who = party(announcing, mailbox_user)
    async with who.reader() as reader:
        changes = await reader.changes("INBOX", None, 10)
        first = min(changes.created, key=lambda each: int(each.identifier.partition("/")[2]))
        settlement = await reader.settle("INBOX", [Unsettled(first, Disposition.DELETE)], None)
        assert settlement.committed == (first.identifier,)
    assert set(announcing.raw(mailbox_user)) == {2}
    assert ("UID SEARCH RETURN (ALL) DELETED" if announced else "UID SEARCH DELETED") in who.sent


# --- COMPRESS ---------------------------------------------------------------------------------------------------------


async def read_all(who: Party, folder: str = "INBOX", **how: float) -> tuple[dict[str, bytes], int]:
    """Every message by identifier, and how many octets crossed the network."""
    found = {}
    async with who.reader(**how) as reader:
        changes = await reader.changes(folder, None, 1000)
        async for item in reader.fetch(folder, changes.created):
            assert isinstance(item, Fetched)
            octets = item.octets if item.rest is None else b"".join([piece async for piece in item.rest])
            found[item.listed.identifier] = octets
        return found, reader._session.stream.octets_in


async def test_compressed_octets_are_the_same_and_fewer(servers: Dovecot, mailbox_user: str) -> None:
    servers.seed(mailbox_user, [*(mail(number, 3000) for number in range(40)), mail(41, 3_000_000)])
    who = party(servers, mailbox_user)
    clear, octets = await read_all(who)
    assert "COMPRESS DEFLATE" not in who.sent
    deflated, fewer = await read_all(who, compress=True)
    assert "COMPRESS DEFLATE" in who.sent
    assert deflated == clear
    assert len(clear) == 41
    assert fewer * 20 < octets


async def test_no_compression_where_it_is_not_announced(announcing: Dovecot, mailbox_user: str) -> None:
    announcing.restart(imap=imap_without("COMPRESS=DEFLATE"))
    announcing.deliver(mailbox_user, mail(1))
    who = party(announcing, mailbox_user)
    assert len((await read_all(who, compress=True))[0]) == 1
    assert "COMPRESS DEFLATE" not in who.sent


async def test_compression_that_is_announced_and_refused(announcing: Dovecot, mailbox_user: str) -> None:
    announcing.restart(imap=f"mail_plugins =\nimap_capability = {CAPABILITY}\n")
    announcing.deliver(mailbox_user, mail(1))
    who = party(announcing, mailbox_user)
    assert len((await read_all(who, compress=True))[0]) == 1
    assert "COMPRESS DEFLATE" in who.sent


async def test_idle_and_news_are_compressed_too(servers: Dovecot, mailbox_user: str) -> None:
    who = party(servers, mailbox_user)
    async with who.reader(compress=True) as reader:
        state = (await reader.changes("INBOX", None, 10)).new_state
        servers.deliver(mailbox_user, mail(1))
        await reader.wait(10)
        assert len((await reader.changes("INBOX", state, 10)).created) == 1
    assert "IDLE" in who.sent


# --- NAMESPACE, SPECIAL-USE, names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["Work", "INBOX/Work", "INBOX.Work"])
async def test_a_folder_below_the_prefix(courier_like: Dovecot, mailbox_user: str, folder: str) -> None:
    courier_like.doveadm("mailbox", "create", "-u", mailbox_user, "INBOX.Work")
    who = party(courier_like, mailbox_user)
    async with who.session() as session:
        found = await session.select(folder)
        assert (found.folder, found.exists) == (folder, 0)
        written = folder == "INBOX.Work"
        assert bool(session.folders.remarks) != written
    assert ("NAMESPACE" in who.sent) != written


async def test_a_delimiter_is_found_without_namespace(courier_like: Dovecot, mailbox_user: str) -> None:
    courier_like.doveadm("mailbox", "create", "-u", mailbox_user, "INBOX.Work")
    who = party(courier_like, mailbox_user)
    async with who.session() as session:
        session.capabilities -= {"NAMESPACE"}
        await session.select("INBOX/Work")
    assert 'LIST "" ""' in who.sent


@pytest.mark.parametrize("move", [True, False])
async def test_a_target_is_made_below_the_prefix(courier_like: Dovecot, mailbox_user: str, move: bool) -> None:
    courier_like.deliver(mailbox_user, mail(1))
    who = party(courier_like, mailbox_user)
    async with who.reader() as reader:
        [listed] = (await reader.changes("INBOX", None, 10)).created
        if not move:
            reader._session.capabilities -= {"MOVE"}
        settlement = await reader.settle("INBOX", [Unsettled(listed, Disposition.MOVE)], "Erledigt/Größe")
        assert settlement.committed == (listed.identifier,)
        assert settlement.remarks == ("Erledigt/Größe is the server's folder INBOX.Erledigt.Größe",)
        assert (await reader.changes("Erledigt/Größe", None, 10)).total == 1
        assert (await reader.changes("INBOX", None, 10)).total == 0


@pytest.mark.parametrize("announced", [True, False])
async def test_folders_by_their_use(courier_like: Dovecot, mailbox_user: str, announced: bool) -> None:
    who = party(courier_like, mailbox_user)
    async with who.session() as session:
        if not announced:
            session.capabilities -= {"SPECIAL-USE", "LIST-EXTENDED"}
        await session.select("\\Sent")
        assert session.folders.remarks["\\Sent"].endswith("INBOX.Gesendet")
        await session.select("\\Flagged")  # of which the server does not say it
        assert session.folders.remarks["\\Flagged"].endswith("INBOX.Starred")
    assert ('LIST (SPECIAL-USE) "" "*"' in who.sent) == announced
    assert 'LIST "" "*"' in who.sent


@pytest.mark.parametrize("announced", [True, False])
async def test_literals(announcing: Dovecot, mailbox_user: str, announced: bool) -> None:
    """A name in octets, as a list may show it: Dovecot knows none such, and says so at the end of the command."""
    if not announced:
        announcing.restart(imap=imap_without("LITERAL+"))
    who = party(announcing, mailbox_user)
    async with who.session() as session:
        await session.command(b"CREATE {4}\r\nWork")
        session.folders.found("work", b"Work")
        await session.command(b"SELECT {4}\r\nWork")
    assert any("{4+}" in line for line in who.sent) == announced
    assert any(line.endswith("{4}") for line in who.sent) != announced


async def test_check_tells_server_and_folders(courier_like: Dovecot, mailbox_user: str) -> None:
    who = party(courier_like, mailbox_user)
    probe = Probing(ImapApproach.connect, who.place(), who.credentials, who.kit.dialer, who.kit.clock, None)
    steps = {step.name: step.words async for step in probe.steps(("INBOX", "\\Sent"), {})}
    assert steps["login"] == f"as {mailbox_user}; the server is Dovecot"
    assert steps["select"] == "INBOX 0, \\Sent 0 (\\Sent is the server's folder INBOX.Gesendet)"


async def test_several_folders_over_one_connection(servers: Dovecot, mailbox_user: str) -> None:
    folders = ["INBOX", "Entwürfe", "A & B/台北"]
    for number, folder in enumerate(folders):
        servers.seed(mailbox_user, [mail(each) for each in range(number + 1)], folder)
    who = party(servers, mailbox_user)
    async with who.reader() as reader:
        for number, folder in enumerate(folders):
            changes = await reader.changes(folder, None, 10)
            assert len(changes.created) == number + 1
            assert len([item async for item in reader.fetch(folder, changes.created)]) == number + 1
    assert sum(line.startswith("AUTHENTICATE") for line in who.sent) == 1


# --- pains ------------------------------------------------------------------------------------------------------------


async def test_p16_the_limit_of_a_server_is_learned_from_its_refusal(announcing: Dovecot, mailbox_user: str) -> None:
    announcing.restart(imap="mail_max_userip_connections = 2\n")
    who = party(announcing, mailbox_user)
    async with who.session(), who.session():
        with pytest.raises(Throttled) as caught:
            async with who.session():
                pass
    assert caught.value.limit == 2
    assert "mail_max_userip_connections=2" in str(caught.value)


async def test_p18_reading_leaves_no_trace_in_the_mailbox(servers: Dovecot, mailbox_user: str) -> None:
    servers.seed(mailbox_user, [mail(1), mail(2, 400_000)])
    with servers.imap(mailbox_user) as other:
        other.select("INBOX")
        other.uid("STORE", "1", "+FLAGS", "(\\Seen)")
    who = party(servers, mailbox_user)
    found, _ = await read_all(who)
    assert len(found) == 2  # one of them was seen by somebody before
    with servers.imap(mailbox_user) as other:
        other.select("INBOX", readonly=True)
        assert other.uid("SEARCH", "SEEN")[1] == [b"1"]
    assert [line for line in who.sent if "UNSEEN" in line or " STORE " in line] == []
    assert all("BODY.PEEK[]" in line for line in who.sent if "BODY" in line)


async def test_p19_what_is_listed_and_gone_is_absent_and_what_is_there_is_not(servers: Dovecot, mailbox_user: str) -> None:
    servers.seed(mailbox_user, [mail(1), mail(2)])
    who = party(servers, mailbox_user)
    async with who.reader() as reader:
        changes = await reader.changes("INBOX", None, 10)
        gone = Listed(changes.created[0].identifier.partition("/")[0] + "/77", 9, "day")
        answers = {type(item).__name__ async for item in reader.fetch("INBOX", [*changes.created, gone])}
        assert answers == {"Fetched", "Absent"}
    assert "UID FETCH 77 (UID)" in who.sent


async def cut_off(who: Party, proxy: FaultProxy) -> None:
    """Wait for news behind a way to the server that swallows everything from now on."""
    async with who.reader(port=proxy.port, timeout=0.3) as reader:
        await reader.changes("INBOX", None, 10)
        assert proxy.cut_all("stall") == 1
        await reader.wait(0.05)


async def test_p11_a_half_open_connection_is_found_out(servers: Dovecot, mailbox_user: str) -> None:
    async with FaultProxy("127.0.0.1", servers.imap_port) as proxy:
        with pytest.raises(TimedOut):
            await cut_off(party(servers, mailbox_user), proxy)
