"""IMAP servers of other families than Dovecot's: a login without SASL, names in UTF-8, folders below a prefix."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from fakes import HandClock, Traces, kit
from postroom.drivers.imap import ImapReader, open_imap
from postroom.drivers.provider import Place
from postroom.errors import LoginRefused
from postroom.model import Disposition, Fetched, Unsettled
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret
from postroom.settings import Security
from postroom.wire.imap.numbers import Numbers
from servers.certificates import Certificates
from servers.courier import Courier
from servers.dovecot_config import PASSWORD
from servers.pymap_server import Pymap

LETTERS = [b"Subject: %d\r\n\r\nletter\r\n" % number for number in range(5)]


@pytest.fixture(scope="module")
def courier(real_servers: None, certificates: Certificates) -> Iterator[Courier]:
    with Courier(certificates=certificates) as running:
        yield running


@pytest.fixture(scope="module")
def pymap(real_servers: None, certificates: Certificates) -> Iterator[Pymap]:
    with Pymap(certificates=certificates) as running:
        yield running


@asynccontextmanager
async def reading(server: Courier | Pymap, user: str, traces: Traces, password: str = PASSWORD) -> AsyncIterator[ImapReader]:
    place = Place(
        server.host, server.imap_port, Security.NONE, server.ca_file, 5.0, 30.0
    )  # Courier thinks over a refusal for five seconds
    credentials = PasswordCredentials(user, Secret(password), (), "", "pop-client-a")
    async with open_imap(place, credentials, kit(HandClock()), traces("pop-client-a")) as reader:
        yield reader


def sent(traces: Traces) -> list[str]:
    """The commands, without their tags."""
    return [line.partition(" ")[2] or line for side, line in traces.lines if side == "C"]


async def test_courier_knows_no_sasl_and_is_logged_in_to_by_command(courier: Courier, mailbox_user: str) -> None:
    courier.seed(mailbox_user, LETTERS)
    traces = Traces()
    async with reading(courier, mailbox_user, traces) as reader:
        changes = await reader.changes("INBOX", None, 10)
        bodies = [item.octets async for item in reader.fetch("INBOX", changes.created) if isinstance(item, Fetched)]
    assert sorted(bodies) == LETTERS
    assert sent(traces)[0] == "LOGIN *** ***"
    assert not any(PASSWORD in line.split() for _, line in traces.lines)


async def test_courier_refuses_a_wrong_password(courier: Courier, mailbox_user: str) -> None:
    courier.add_user(mailbox_user)
    traces = Traces()
    with pytest.raises(LoginRefused):
        async with reading(courier, mailbox_user, traces, "wörng"):
            pass
    assert "wörng" not in str(traces.lines)


@pytest.mark.parametrize("agreed", [True, False])
async def test_a_folder_has_one_name_in_both_encodings(
    courier: Courier, mailbox_user: str, agreed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by UTF-8 where UTF8=ACCEPT is on, by modified UTF-7 where it is not, and found by the other one."""
    courier.seed(mailbox_user, LETTERS[:2])
    traces = Traces()

    def agree(yes: bool) -> None:
        if not yes:
            monkeypatch.setattr("postroom.drivers.imap_introduce._wanted", lambda _capabilities: [])
        else:
            monkeypatch.undo()

    agree(agreed)
    async with reading(courier, mailbox_user, traces) as reader:
        created = (await reader.changes("INBOX", None, 10)).created
        settlement = await reader.settle("INBOX", [Unsettled(created[0], Disposition.MOVE)], "Größe")
        assert settlement.committed == (created[0].identifier,)
        assert settlement.remarks == ("Größe is the server's folder INBOX.Größe",)
    assert ("ENABLE UTF8=ACCEPT" in sent(traces)) == agreed
    assert any(line.endswith('"INBOX.Gr&APYA3w-e"') for line in sent(traces)) != agreed
    agree(not agreed)
    async with reading(courier, mailbox_user, traces) as reader:
        assert len((await reader.changes("Größe", None, 10)).created) == 1
        assert len((await reader.changes("INBOX", None, 10)).created) == 1


@pytest.mark.parametrize("folder", ["Work", "INBOX/Work", "INBOX.Work"])
async def test_folders_of_courier_are_below_inbox(courier: Courier, mailbox_user: str, folder: str) -> None:
    courier.seed(mailbox_user, LETTERS)
    courier.seed(mailbox_user, LETTERS[:3], "INBOX.Work")
    traces = Traces()
    async with reading(courier, mailbox_user, traces) as reader:
        assert len((await reader.changes("INBOX", None, 10)).created) == 5
        assert len((await reader.changes(folder, None, 10)).created) == 3
    assert ("NAMESPACE" in sent(traces)) == (folder != "INBOX.Work")


@pytest.mark.parametrize("family", ["courier", "pymap"])
async def test_search_without_esearch(family: str, request: pytest.FixtureRequest, mailbox_user: str) -> None:
    server: Courier | Pymap = request.getfixturevalue(family)
    user = server.user if isinstance(server, Pymap) else mailbox_user
    if isinstance(server, Courier):
        server.seed(user, LETTERS)
    else:
        with server.imap() as connection:
            for letter in LETTERS:
                connection.append("INBOX", "", None, letter)  # type: ignore[arg-type]
    traces = Traces()
    async with reading(server, user, traces) as reader:
        created = (await reader.changes("INBOX", None, 10)).created
        uids = [int(each.identifier.partition("/")[2]) for each in created]
        found = await reader._session.search(b"ALL")
        assert found == Numbers.of(uids)
        assert len(found) == 5
        await reader.settle("INBOX", [Unsettled(created[0], Disposition.DELETE)], None)
        assert await reader._session.search(b"ALL") == Numbers.of(set(uids) - {max(uids)})
    assert "UID SEARCH ALL" in sent(traces)
