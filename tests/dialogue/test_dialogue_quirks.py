"""What servers do otherwise. Each cure is shown to be one: without it, the same conversation comes to another end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from fakes import HandClock, ScriptedServer, kit, place
from postroom import __version__
from postroom.drivers.imap import ImapReader
from postroom.drivers.imap_conversation import Conversation
from postroom.drivers.imap_session import ImapSession
from postroom.errors import ImapStatus, RemoteProtocolError
from postroom.model import Absent, Disposition, Fetched, Listed, Unfetched, Unsettled
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret
from postroom.wire.imap.quirks import KNOWN, Quirk, quirks_of

Reading = Callable[..., AbstractAsyncContextManager[ImapReader]]
Without = Callable[[Quirk], None]

OPEN = """S: * PREAUTH [CAPABILITY IMAP4rev1] hello
C: P1 SELECT INBOX
S: * 9 EXISTS
S: * OK [UIDVALIDITY 7] valid
S: * OK [UIDNEXT 99] next
S: P1 OK done
"""


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Without:
    """Switch the cure of a quirk off."""

    def switch_off(quirk: Quirk) -> None:
        found = Conversation.quirks.fget
        assert found is not None
        monkeypatch.setattr(Conversation, "quirks", property(lambda talk: found(talk) - {quirk}))

    return switch_off


def listed(uid: int, size: int = 10) -> Listed:
    return Listed(f"7/{uid}", size, "day")


async def answers(reader: ImapReader, *uids: int, size: int = 10) -> dict[str, str]:
    """What became of each message: its octets, ``absent`` or ``fault``."""
    found = {}
    async for item in reader.fetch("INBOX", [listed(uid, size) for uid in uids]):
        if isinstance(item, Fetched):
            octets = item.octets if item.rest is None else b"".join([piece async for piece in item.rest])
            found[item.listed.identifier] = octets.decode()[:5]
        else:
            found[item.identifier] = "absent" if isinstance(item, Absent) else "fault"
    return found


async def test_p19_an_ok_without_octets_is_asked_about_once_more(reading: Reading, without: Without) -> None:
    """iCloud answers so to some forms of the question, Exchange as long as it has the number and not yet the message."""
    asked = OPEN + "C: P2 UID FETCH 1:2 (UID BODY.PEEK[])\nS: * 1 FETCH (UID 1)\nS: * 2 FETCH (UID 2 BODY[] {two})\nS: P2 OK\n"
    again = "C: P3 UID FETCH 1 (UID BODY.PEEK[])\nS: * 1 FETCH (UID 1 BODY[] {one})\nS: P3 OK\n"
    async with reading(asked + again, one=b"one", two=b"two") as reader:
        assert await answers(reader, 1, 2) == {"7/1": "one", "7/2": "two"}
    without(Quirk.BODY_LEFT_OUT)
    async with reading(asked, two=b"two") as reader:
        assert await answers(reader, 1, 2) == {"7/1": "fault", "7/2": "two"}


async def test_p19_octets_that_never_come_are_a_fault_and_never_absence(reading: Reading) -> None:
    script = OPEN + "C: P2 UID FETCH 1 (UID BODY.PEEK[])\nS: * 1 FETCH (UID 1 BODY[] NIL)\nS: P2 OK\n"
    script += "C: P3 UID FETCH 1 (UID BODY.PEEK[])\nS: P3 OK\n"
    async with reading(script) as reader:
        [item] = [item async for item in reader.fetch("INBOX", [listed(1)])]
    assert isinstance(item, Unfetched)
    assert isinstance(item.fault, RemoteProtocolError)
    assert "hands over no octets" in str(item.fault)


async def test_p19_what_an_answer_leaves_out_is_looked_for_before_it_counts_as_gone(reading: Reading, without: Without) -> None:
    """Two hundred UIDs were missing from an answer that was OK: they were in the mailbox all the same."""
    asked = OPEN + "C: P2 UID FETCH 1:4 (UID BODY.PEEK[])\nS: * 1 FETCH (UID 1 BODY[] {one})\nS: P2 OK\n"
    looked = "C: P3 UID FETCH 2:4 (UID)\nS: * 2 FETCH (UID 2)\nS: * 3 FETCH (UID 3 FLAGS ())\nS: P3 OK\n"
    again = "C: P4 UID FETCH 2:3 (UID BODY.PEEK[])\nS: * 2 FETCH (UID 2 BODY[] {two})\nS: P4 OK\n"
    async with reading(asked + looked + again, one=b"one", two=b"two") as reader:
        assert await answers(reader, 1, 2, 3, 4) == {"7/1": "one", "7/2": "two", "7/3": "fault", "7/4": "absent"}
    without(Quirk.NOT_ANSWERED)
    async with reading(asked, one=b"one") as reader:
        assert await answers(reader, 1, 2, 3, 4) == {"7/1": "one", "7/2": "absent", "7/3": "absent", "7/4": "absent"}


async def test_p19_one_that_cannot_be_read_is_no_gap(reading: Reading) -> None:
    """An answer outside the grammar is dropped alone, and the message that it was about is asked for again."""
    script = (
        OPEN
        + "C: P2 UID FETCH 1:2 (UID BODY.PEEK[])\nS: * 1 FETCH (UID 1 BODY[] (x))\nS: * 2 FETCH (UID 2 BODY[] {two})\nS: P2 OK\n"
    )
    script += "C: P3 UID FETCH 1 (UID)\nS: * 1 FETCH (UID 1)\nS: P3 OK\n"
    script += "C: P4 UID FETCH 1 (UID BODY.PEEK[])\nS: * 1 FETCH (UID 1 BODY[] {one})\nS: P4 OK\n"
    async with reading(script, one=b"one", two=b"two") as reader:
        assert await answers(reader, 1, 2) == {"7/1": "one", "7/2": "two"}


@pytest.mark.parametrize("look", ["NO [SERVERBUG] sorry", "BAD what?"])
async def test_p19_a_look_that_is_refused_leaves_a_fault(reading: Reading, look: str) -> None:
    script = OPEN + f"C: P2 UID FETCH 1:2 (UID BODY.PEEK[])\nS: P2 OK\nC: P3 UID FETCH 1:2 (UID)\nS: P3 {look}\n"
    async with reading(script) as reader:
        assert await answers(reader, 1, 2) == {"7/1": "fault", "7/2": "fault"}


async def test_p19_a_poisonous_message_among_those_asked_about_again(reading: Reading) -> None:
    script = OPEN + "C: P2 UID FETCH 1:2 (UID BODY.PEEK[])\nS: * 1 FETCH (UID 1)\nS: * 2 FETCH (UID 2)\nS: P2 OK\n"
    script += "C: P3 UID FETCH 1:2 (UID BODY.PEEK[])\nS: P3 NO [SERVERBUG] no\n"
    script += "C: P4 UID FETCH 2 (UID BODY.PEEK[])\nC: P5 UID FETCH 1 (UID BODY.PEEK[])\n"
    script += "S: * 2 FETCH (UID 2 BODY[] {two})\nS: P4 OK\nS: P5 NO [SERVERBUG] no\n"
    async with reading(script, two=b"two") as reader:
        assert await answers(reader, 1, 2) == {"7/1": "fault", "7/2": "two"}


async def test_p19_a_uid_left_out_is_the_only_one_in_flight(reading: Reading, without: Without) -> None:
    asked = OPEN + "C: P2 UID FETCH 1 (UID BODY.PEEK[])\nS: * 1 FETCH (BODY[] {one})\nS: P2 OK\n"
    async with reading(asked, one=b"one") as reader:
        assert await answers(reader, 1) == {"7/1": "one"}
    without(Quirk.UID_LEFT_OUT)
    async with reading(asked + "C: P3 UID FETCH 1 (UID)\nS: P3 OK\n", one=b"one") as reader:
        assert await answers(reader, 1) == {"7/1": "absent"}


async def test_p19_a_server_that_renumbers_without_a_word(reading: Reading) -> None:
    """Places in the list mean nothing to us: an EXPUNGE that was never told moves no octets to another message."""
    script = OPEN + "C: P2 UID FETCH 5:6 (UID BODY.PEEK[])\n"
    script += (
        "S: * 5 FETCH (UID 5 BODY[] {five})\nS: * 5 FETCH (UID 6 BODY[] {six})\nS: * 5 FETCH (UID 9 BODY[] {none})\nS: P2 OK\n"
    )
    async with reading(script, five=b"five", six=b"six", none=b"none") as reader:
        assert await answers(reader, 5, 6) == {"7/5": "five", "7/6": "six"}


async def test_p19_a_header_in_the_answer_is_not_the_message(reading: Reading) -> None:
    script = OPEN + "C: P2 UID FETCH 1 (UID BODY.PEEK[])\nS: * 1 FETCH (UID 1 BODY[HEADER] {head})\nS: P2 OK\n"
    script += "C: P3 UID FETCH 1 (UID BODY.PEEK[])\nS: * 1 FETCH (UID 1 BODY[HEADER] {head})\nS: P3 OK\n"
    async with reading(script, head=b"Subject: x\r\n\r\n") as reader:
        assert await answers(reader, 1) == {"7/1": "fault"}


# --- P18: nothing is lost by asking or settling ----------------------------------------------------------------------------


async def test_p18_reading_sets_no_flag_and_minds_none(reading: Reading) -> None:
    """What somebody read in Outlook first is listed like any other, and every question is a PEEK: the script has no other."""
    script = (
        OPEN
        + """
    C: P2 UID FETCH 1:98 (UID RFC822.SIZE INTERNALDATE)
    S: * 1 FETCH (UID 1 RFC822.SIZE 10 INTERNALDATE "day" FLAGS (\\Seen))
    S: * 2 FETCH (UID 2 RFC822.SIZE 10 INTERNALDATE "day")
    S: P2 OK
    C: P3 UID FETCH 1:2 (UID BODY.PEEK[])
    S: * 1 FETCH (UID 1 BODY[] {one} FLAGS (\\Seen))
    S: * 2 FETCH (UID 2 BODY[] {two})
    S: P3 OK
    """
    )
    async with reading(script, one=b"one", two=b"two") as reader:
        changes = await reader.changes("INBOX", None, 100)
        assert {each.identifier for each in changes.created} == {"7/1", "7/2"}
        assert await answers(reader, 1, 2) == {"7/1": "one", "7/2": "two"}


async def test_p18_a_message_without_octets_is_never_deleted_by_its_number_alone(reading: Reading) -> None:
    """Whatever is captured is compared in size and date first: the number may be another message's by now."""
    script = (
        OPEN
        + """
    C: P2 UID FETCH 1:2 (UID RFC822.SIZE INTERNALDATE)
    S: * 1 FETCH (UID 1 RFC822.SIZE 999 INTERNALDATE "day")
    S: P2 OK
    """
    )
    async with reading(script) as reader:
        settlement = await reader.settle("INBOX", [Unsettled(listed(uid), Disposition.DELETE) for uid in (1, 2)], None)
    assert settlement.committed == ()
    assert set(settlement.gone) == {"7/1", "7/2"}


# --- NetEase --------------------------------------------------------------------------------------------------------------

SESAME = "S: P1 OK [CAPABILITY IMAP4rev1] in\n"


def hello(greeting: str) -> str:
    return f"S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] {greeting}\nC: P1 AUTHENTICATE PLAIN AHVzZXIAcHc=\n" + SESAME


def identified(tag: str) -> str:
    return f'C: {tag} ID ("name" "Postroom" "version" "{__version__}")\nS: {tag} OK ID completed\n'


def selected(tag: str, answer: str = "OK done") -> str:
    return f"C: {tag} SELECT INBOX\nS: * 1 EXISTS\nS: * OK [UIDVALIDITY 7] valid\nS: {tag} {answer}\n"


@asynccontextmanager
async def session(script: str) -> AsyncIterator[ImapSession]:
    clock = HandClock()
    credentials = PasswordCredentials("user", Secret("pw"), (), "", "pop-client-a")
    async with ScriptedServer(script) as server:
        opened = await ImapSession.open(place(server.port), credentials, kit(clock).dialer, clock, None)
        yield opened
        await opened.close()


async def test_coremail_hears_who_we_are_before_a_folder_is_opened(without: Without) -> None:
    coremail = hello("Coremail System IMap Server Ready(163com[726cd87d])")
    async with session(coremail + identified("P2") + selected("P3")) as opened:
        assert (await opened.select("INBOX")).exists == 1
    without(Quirk.ID_BEFORE_SELECT)
    async with session(coremail + selected("P2")) as opened:
        await opened.select("INBOX")


async def test_a_server_that_calls_the_login_unsafe_hears_who_we_are() -> None:
    """Its greeting does not tell any more who it is ("IMAP4 ready")."""
    refused = "NO SELECT Unsafe Login. Please contact kefu@188.com for help"
    script = hello("IMAP4 ready") + f"C: P2 SELECT INBOX\nS: P2 {refused}\n" + identified("P3") + selected("P4")
    async with session(script) as opened:
        assert (await opened.select("INBOX")).exists == 1
    script = hello("IMAP4 ready") + f"C: P2 SELECT INBOX\nS: P2 {refused}\n" + identified("P3") + selected("P4", refused)
    async with session(script) as opened:
        with pytest.raises(ImapStatus, match="Unsafe Login"):
            await opened.select("INBOX")


# --- the table --------------------------------------------------------------------------------------------------------


def test_every_quirk_is_known_with_its_server_date_and_source() -> None:
    assert {known.quirk for known in KNOWN} == set(Quirk)
    for known in KNOWN:
        assert all((known.server, known.does, known.cure)), known.quirk
        assert known.since[:4].isdigit()
        assert known.source.startswith("https://")


@pytest.mark.parametrize(
    ("greeting", "capabilities", "server_id", "quirk"),
    [
        ("Coremail System IMap Server Ready(163com[7])", set(), {}, Quirk.ID_BEFORE_SELECT),
        ("IMAP4rev1 Hello", {"XYMHIGHESTMODSEQ"}, {}, Quirk.NEWEST_ONLY),
        ("hello", set(), {"vendor": "Yahoo! Inc.", "name": "Y!IMAP"}, Quirk.NEWEST_ONLY),
    ],
)
def test_a_quirk_is_known_by_what_a_server_shows(
    greeting: str, capabilities: set[str], server_id: dict[str, str], quirk: Quirk
) -> None:
    everywhere = quirks_of("Dovecot ready.", frozenset({"IMAP4REV1"}), {"name": "Dovecot"})
    assert quirk not in everywhere
    assert quirks_of(greeting, frozenset(capabilities), server_id) == everywhere | {quirk}
