"""What is agreed on behind the login, and the names of folders that follow from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fakes import HandClock, ScriptedServer, Traces, kit, place
from postroom import __version__
from postroom.drivers.imap_session import ImapSession
from postroom.drivers.imap_settle import settle
from postroom.errors import ImapStatus, LocalProtocolError, Lost, RemoteProtocolError
from postroom.model import Disposition, Listed, Unsettled
from postroom.net.credentials import PasswordCredentials
from postroom.secret import Secret


@asynccontextmanager
async def session(script: str, traces: Traces | None = None) -> AsyncIterator[ImapSession]:
    clock = HandClock()
    credentials = PasswordCredentials("user", Secret("pw"), (), "", "pop-client-a")
    async with ScriptedServer(script) as server:
        trace = None if traces is None else traces("pop-client-a")
        opened = await ImapSession.open(place(server.port), credentials, kit(clock).dialer, clock, trace)
        yield opened
        await opened.close()


def hello(extensions: str, version: str = "IMAP4rev1") -> str:
    return f"S: * PREAUTH [CAPABILITY {version} {extensions}] hello\n"


def selected(tag: str, name: str, *, exists: int = 3) -> str:
    return f"C: {tag} SELECT {name}\nS: * {exists} EXISTS\nS: * OK [UIDVALIDITY 7] valid\nS: {tag} OK done\n"


# --- ID and ENABLE ----------------------------------------------------------------------------------------------------

ID = f'ID ("name" "Postroom" "version" "{__version__}")'


async def test_the_server_hears_name_and_version_and_no_more() -> None:
    traces = Traces()
    script = hello("ID") + f'C: P1 {ID}\nS: * ID ("name" "Dovecot" "Version" "2.4")\nS: P1 OK\n'
    async with session(script, traces) as opened:
        assert opened.server_id == {"name": "Dovecot", "version": "2.4"}
    assert ("S", '* ID ("name" "Dovecot" "Version" "2.4")') in traces.lines


@pytest.mark.parametrize("answer", ["BAD Parse command error", "NO not today"])
async def test_who_will_not_be_introduced_is_read_all_the_same(answer: str) -> None:
    async with session(hello("ID") + f"C: P1 {ID}\nS: P1 {answer}\n" + selected("P2", "INBOX")) as opened:
        await opened.select("INBOX")


async def test_id_and_enable_go_in_one_round_trip() -> None:
    script = hello("ID ENABLE UTF8=ACCEPT IMAP4rev2")
    script += f"C: P1 {ID}\nC: P2 ENABLE IMAP4rev2 UTF8=ACCEPT\n"
    script += "S: * ID NIL\nS: P1 OK\nS: * ENABLED IMAP4rev2 UTF8=ACCEPT\nS: P2 OK\n"
    async with session(script) as opened:
        assert opened.enabled == {"IMAP4REV2", "UTF8=ACCEPT"}
        assert opened.utf8


@pytest.mark.parametrize(
    ("begin", "utf8"),
    [
        (hello("ENABLE UTF8=ACCEPT LITERAL+") + "C: P1 ENABLE UTF8=ACCEPT\nS: * ENABLED UTF8=ACCEPT\nS: P1 OK\n", True),
        (hello("ENABLE UTF8=ONLY LITERAL+") + "C: P1 ENABLE UTF8=ACCEPT\nS: * ENABLED UTF8=ACCEPT\nS: P1 OK\n", True),
        (hello("IMAP4rev2 LITERAL+") + "C: P1 ENABLE IMAP4rev2\nS: * ENABLED IMAP4rev2\nS: P1 OK\n", True),
        # announced and not switched on: names stay as they were
        (hello("ENABLE UTF8=ACCEPT LITERAL+") + "C: P1 ENABLE UTF8=ACCEPT\nS: * ENABLED\nS: P1 OK\n", False),
        (hello("ENABLE UTF8=ACCEPT LITERAL+") + "C: P1 ENABLE UTF8=ACCEPT\nS: P1 NO sorry\n", False),
        # announced by a server that cannot be asked
        (hello("UTF8=ACCEPT LITERAL+") + "C: P1 NOOP\nS: P1 OK\n", False),
        # nothing but IMAP4rev2: it is on without being asked
        (hello("LITERAL+", "IMAP4rev2") + "C: P1 NOOP\nS: P1 OK\n", True),
    ],
)
async def test_names_are_utf8_where_both_sides_agreed(begin: str, utf8: bool) -> None:
    name = "{9+}\nC: Entwürfe" if utf8 else '"Entw&APw-rfe"'
    async with session(begin + selected("P2", name)) as opened:
        if "NOOP" in begin:
            await opened.command(b"NOOP")
        assert opened.utf8 == utf8
        await opened.select("Entwürfe")


async def test_several_folders_over_one_connection_with_names_of_both_kinds() -> None:
    """The last one is gone with the connection."""
    plain = hello("CONDSTORE") + "".join(
        f"C: P{n} SELECT {name} (CONDSTORE)\nS: * {n} EXISTS\nS: * OK [UIDVALIDITY {n}] valid\nS: P{n} OK done\n"
        for n, name in enumerate(["INBOX", '"Entw&APw-rfe"', '"&U,BTFw-/&ZeVnLIqe-"', '"A&-B"'], 1)
    )
    async with session(plain + 'C: P5 SELECT "gone" (CONDSTORE)\nS: * BYE going down\n[CLOSE]') as opened:
        for number, folder in enumerate(["INBOX", "Entwürfe", "台北/日本語", "A&B"], 1):
            found = await opened.select(folder)
            assert (found.folder, found.validity, found.exists) == (folder, number, number)
        with pytest.raises(Lost, match="going down"):
            await opened.select("gone")


async def test_vanished_is_understood_without_being_asked_for() -> None:
    script = hello("ENABLE QRESYNC") + selected("P1", "INBOX", exists=9)
    script += "C: P2 NOOP\nS: * VANISHED 300:303\nS: * VANISHED (EARLIER) 1:299\nS: P2 OK\n"
    async with session(script) as opened:
        found = await opened.select("INBOX")
        found.touched = False
        await opened.command(b"NOOP")
        assert (found.exists, found.expunged, found.touched) == (5, 4, True)


# --- literals ---------------------------------------------------------------------------------------------------------

AGREED = "C: P1 ENABLE UTF8=ACCEPT\nS: * ENABLED UTF8=ACCEPT\nS: P1 OK\n"


async def test_a_literal_waits_for_leave() -> None:
    script = hello("ENABLE UTF8=ACCEPT") + AGREED + "C: P2 SELECT {2}\nS: * 1 EXISTS\nS: + go on\nC: ü\n"
    script += "S: * 1 EXISTS\nS: * OK [UIDVALIDITY 7] valid\nS: P2 OK done\n"
    async with session(script) as opened:
        assert (await opened.select("ü")).exists == 1


async def test_a_literal_that_gets_no_leave_is_a_refusal() -> None:
    script = hello("ENABLE UTF8=ACCEPT") + AGREED + "C: P2 SELECT {2}\nS: P2 NO [CANNOT] no literals\nC: P3 NOOP\nS: P3 OK\n"
    async with session(script) as opened:
        with pytest.raises(ImapStatus, match="no literals"):
            await opened.select("ü")
        await opened.command(b"NOOP")


@pytest.mark.parametrize(("size", "sign"), [(4096, "+"), (4098, "")])
async def test_a_long_literal_waits_for_leave_where_only_short_ones_need_none(size: int, sign: str) -> None:
    """RFC 7888 section 5."""
    name = "ü" * (size // 2)
    leave = "" if sign else "S: + go on\n"
    script = hello("ENABLE UTF8=ACCEPT LITERAL-") + AGREED + f"C: P2 SELECT {{{size}{sign}}}\n{leave}C: {name}\n"
    async with session(script + "S: * OK [UIDVALIDITY 7] valid\nS: P2 OK done\n") as opened:
        await opened.select(name)


async def test_a_literal_that_waits_goes_alone() -> None:
    async with session(hello("") + "C: P1 NOOP\nC: P2 NOOP\nS: P1 OK\nS: P2 OK\n") as opened:
        tags = [await opened.send(b"NOOP"), await opened.send(b"NOOP")]
        with pytest.raises(LocalProtocolError, match="in flight"):
            await opened.send(b"SELECT {1}\r\nx")
        opened._unanswered -= 1  # what was not sent is not answered
        for tag in tags:
            await opened.finish(tag)


# --- where folders are ------------------------------------------------------------------------------------------------

COURIER = hello("NAMESPACE") + 'C: P1 SELECT "{}"\nS: P1 NO Unable to open this mailbox.\n'
COURIER += 'C: P2 NAMESPACE\nS: * NAMESPACE (("INBOX." ".")) NIL (("shared." "."))\nS: P2 OK\n'


@pytest.mark.parametrize(
    ("written", "tried"),
    [
        ("Processed", ["INBOX.Processed"]),
        ("INBOX/Processed", ["INBOX.Processed"]),
        ("Work/2026", ["Work.2026", "INBOX.Work.2026"]),
    ],
)
async def test_a_folder_below_the_prefix_of_the_server(written: str, tried: list[str]) -> None:
    script = COURIER.format(written)
    for number, name in enumerate(tried, 3):
        last = number == len(tried) + 2
        script += selected(f"P{number}", f'"{name}"') if last else f'C: P{number} SELECT "{name}"\nS: P{number} NO no\n'
    number = len(tried) + 3
    async with session(script + selected(f"P{number}", f'"{tried[-1]}"')) as opened:
        assert (await opened.select(written)).folder == written
        assert opened.folders.remarks == {written: f"{written} is the server's folder {tried[-1]}"}
        await opened.select(written)  # found once


async def test_a_delimiter_of_its_own_without_namespaces() -> None:
    script = hello("") + 'C: P1 SELECT "a/b"\nS: P1 NO no\nC: P2 LIST "" ""\nS: * LIST (\\Noselect) "." ""\nS: P2 OK\n'
    async with session(script + selected("P3", '"a.b"')) as opened:
        await opened.select("a/b")


async def test_a_folder_that_is_nowhere_keeps_the_servers_first_words() -> None:
    script = COURIER.format("Nowhere") + 'C: P3 SELECT "INBOX.Nowhere"\nS: P3 NO Nor this one.\n'
    async with session(script) as opened:
        with pytest.raises(ImapStatus, match="Unable to open this mailbox"):
            await opened.select("Nowhere")


@pytest.mark.parametrize("answer", ["NO [SERVERBUG] sorry", "NO [NOPERM] not yours", "BAD what", "NO [INUSE] busy"])
async def test_a_refusal_about_something_else_is_not_looked_around(answer: str) -> None:
    async with session(hello("NAMESPACE") + f'C: P1 SELECT "Work"\nS: P1 {answer}\n') as opened:
        with pytest.raises(ImapStatus):
            await opened.select("Work")


async def test_the_inbox_is_not_looked_for_elsewhere() -> None:
    async with session(hello("NAMESPACE") + "C: P1 SELECT INBOX\nS: P1 NO no\n") as opened:
        with pytest.raises(ImapStatus):
            await opened.select("INBOX")


def moved(target: str, rest: str) -> str:
    script = hello("NAMESPACE MOVE") + selected("P1", "INBOX")
    script += 'C: P2 UID FETCH 5 (UID RFC822.SIZE INTERNALDATE)\nS: * 1 FETCH (UID 5 RFC822.SIZE 9 INTERNALDATE "day")\nS: P2 OK\n'
    return script + f'C: P3 UID MOVE 5 "{target}"\n' + rest


SPACES = 'C: P4 NAMESPACE\nS: * NAMESPACE (("INBOX." ".")) NIL NIL\nS: P4 OK\n'
FIVE = [Unsettled(Listed("7/5", 9, "day"), Disposition.MOVE)]


@pytest.mark.parametrize("exists", [True, False])
async def test_a_target_is_found_or_made_below_the_prefix(exists: bool) -> None:
    rest = "S: P3 NO [TRYCREATE] no such folder\n" + SPACES
    rest += 'C: P5 LIST "" "INBOX.Done"\n' + 'S: * LIST () "." INBOX.Done\n' * exists + "S: P5 OK\n"
    tag = 6
    if not exists:
        rest += 'C: P6 CREATE "Done"\nS: P6 NO Invalid mailbox name.\nC: P7 CREATE "INBOX.Done"\nS: P7 OK\n'
        tag = 8
    rest += f'C: P{tag} UID MOVE 5 "INBOX.Done"\nS: P{tag} OK\n'
    async with session(moved("Done", rest)) as opened:
        await opened.select("INBOX")
        settlement = await settle(opened, FIVE, "Done", {})
    assert settlement.committed == ("7/5",)
    assert settlement.remarks == ("Done is the server's folder INBOX.Done",)


async def test_a_move_refused_for_another_reason_makes_no_folder() -> None:
    """The server knows the folder; why it refuses, it does not say."""
    rest = "S: P3 NO Something is wrong\n" + SPACES + 'C: P5 LIST "" "Done"\nS: * LIST () "." Done\nS: P5 OK\n'
    async with session(moved("Done", rest)) as opened:
        await opened.select("INBOX")
        with pytest.raises(ImapStatus, match="Something is wrong"):
            await settle(opened, FIVE, "Done", {})


# --- folders by their use ---------------------------------------------------------------------------------------------


async def test_a_use_is_asked_for() -> None:
    script = hello("SPECIAL-USE LIST-EXTENDED") + 'C: P1 LIST (SPECIAL-USE) "" "*"\n'
    script += 'S: * LIST (\\HasNoChildren \\Sent) "/" Gesendet\nS: * LIST (\\Junk \\NoSelect) "/" Spam\n'
    script += 'S: * LIST (\\All) "/" "[Gmail]/Alle Nachrichten"\nS: P1 OK\n'
    async with session(script + selected("P2", '"[Gmail]/Alle Nachrichten"')) as opened:
        assert (await opened.select("\\All")).folder == "\\All"
        assert opened.folders.remarks == {"\\All": "\\All is the server's folder [Gmail]/Alle Nachrichten"}


@pytest.mark.parametrize("extensions", ["SPECIAL-USE", ""])
async def test_attributes_of_a_plain_list_count(extensions: str) -> None:
    script = hello(extensions) + 'C: P1 LIST "" "*"\nS: * LIST () "/" Sent\nS: * LIST (\\SENT) "/" Old\nS: P1 OK\n'
    async with session(script + selected("P2", '"Old"')) as opened:
        await opened.select("\\Sent")


@pytest.mark.parametrize(
    ("use", "listed", "name"),
    [
        ("\\Sent", ["Sent Items", "INBOX.Sent"], '"INBOX.Sent"'),  # in the order of the usual names
        ("\\Drafts", ["INBOX", "Entw&APw-rfe"], '"Entw&APw-rfe"'),
        ("\\trash", ["Gel&APY-schte Objekte"], '"Gel&APY-schte Objekte"'),
        ("\\Junk", ["INBOX.SPAM"], '"INBOX.SPAM"'),
    ],
)
async def test_usual_names_where_the_server_tells_no_use(use: str, listed: list[str], name: str) -> None:
    entries = "".join(f'S: * LIST () "." "{each}"\n' for each in listed)
    script = hello("SPECIAL-USE LIST-EXTENDED") + 'C: P1 LIST (SPECIAL-USE) "" "*"\nS: P1 OK\n'
    async with session(script + f'C: P2 LIST "" "*"\n{entries}S: P2 OK\n' + selected("P3", name)) as opened:
        await opened.select(use)


async def test_a_name_that_the_server_keeps_in_octets_is_sent_back_in_octets() -> None:
    script = hello("LITERAL+") + 'C: P1 LIST "" "*"\nS: * LIST (\\Archive) "/" "Altes/Büro"\nS: P1 OK\n'
    script += "C: P2 SELECT {11+}\nC: Altes/Büro\n"
    async with session(script + "S: * OK [UIDVALIDITY 7] valid\nS: P2 OK done\n") as opened:
        await opened.select("\\Archive")


async def test_a_use_that_no_folder_has_says_what_to_write() -> None:
    async with session(hello("") + 'C: P1 LIST "" "*"\nS: * LIST () "/" INBOX\nS: P1 OK\n') as opened:
        with pytest.raises(ImapStatus, match=r"no folder is \\Flagged") as caught:
            await opened.select("\\Flagged")
    assert "own name" in caught.value.remedy
    assert caught.value.code == "NONEXISTENT"


async def test_an_ok_to_half_a_command_breaks_the_protocol() -> None:
    script = hello("ENABLE UTF8=ACCEPT") + AGREED + "C: P2 SELECT {2}\nS: P2 OK done\n"
    async with session(script) as opened:
        with pytest.raises(RemoteProtocolError, match="before it was sent"):
            await opened.select("ü")
