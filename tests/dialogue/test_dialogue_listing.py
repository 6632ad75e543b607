"""What is listed, and when a server's numbers are believed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from fakes import HastyClock
from postroom.drivers import Reader
from postroom.drivers.imap import State
from postroom.errors import ImapStatus, Lost, PostroomError, TimedOut
from postroom.model import Changes, Listed

Reading = Callable[..., AbstractAsyncContextManager[Reader]]

HELLO = "S: * PREAUTH [CAPABILITY IMAP4rev1 IDLE] hello\n"
HELLO_CONDSTORE = "S: * PREAUTH [CAPABILITY IMAP4rev1 IDLE CONDSTORE] hello\n"
ITEMS = "(UID RFC822.SIZE INTERNALDATE)"


def row(number: int, uid: int, size: int = 100) -> str:
    return f'S: * {number} FETCH (UID {uid} RFC822.SIZE {size} INTERNALDATE "{uid % 28 + 1:02}-Jan-2024 00:00:00 +0000")\n'


def mail(uid: int, size: int = 100, validity: int = 7) -> Listed:
    return Listed(f"{validity}/{uid}", size, f"{uid % 28 + 1:02}-Jan-2024 00:00:00 +0000")


def select(tag: str, *, exists: int, next_: int | None, folder: str = "INBOX", validity: int = 7, modseq: int | None = None) -> str:
    """SELECT as most servers answer it."""
    lines = [f"C: {tag} SELECT {folder}{'' if modseq is None else ' (CONDSTORE)'}", f"S: * {exists} EXISTS", "S: * 0 RECENT"]
    lines += [f"S: * OK [UIDVALIDITY {validity}] valid"]
    lines += [] if next_ is None else [f"S: * OK [UIDNEXT {next_}] next"]
    lines += [] if modseq is None else [f"S: * OK [HIGHESTMODSEQ {modseq}] highest"]
    return "\n".join([*lines, f"S: {tag} OK [READ-WRITE] done", ""])


def state(changes: Changes) -> State:
    return State.read(changes.new_state)


# --- a first look -----------------------------------------------------------------------------------------------------


async def test_an_empty_folder_costs_its_select(reading: Reading) -> None:
    async with reading(HELLO + select("P1", exists=0, next_=1)) as reader:
        changes = await reader.changes("INBOX", None, 100)
    assert (changes.created, changes.more, changes.reset, changes.total) == ((), False, "", 0)
    assert state(changes).whole


async def test_a_first_look_lists_the_newest_first(reading: Reading) -> None:
    script = HELLO + select("P1", exists=3, next_=12)
    script += f"C: P2 UID FETCH 1:11 {ITEMS}\n" + row(1, 3) + row(2, 8) + row(3, 11) + "S: P2 OK done\n"
    async with reading(script) as reader:
        changes = await reader.changes("INBOX", None, 100)
    assert changes.created == (mail(11), mail(8), mail(3))
    assert (changes.more, changes.total) == (False, 3)
    assert state(changes).whole


async def test_a_first_look_at_a_large_folder_takes_several_cycles(reading: Reading) -> None:
    script = HELLO + select("P1", exists=5, next_=6)
    script += f"C: P2 UID FETCH 4:5 {ITEMS}\n" + row(4, 4) + row(5, 5) + "S: P2 OK done\n"
    script += f"C: P3 UID FETCH 2:3 {ITEMS}\n" + row(2, 2) + row(3, 3) + "S: P3 OK done\n"
    script += f"C: P4 UID FETCH 1:1 {ITEMS}\n" + row(1, 1) + "S: P4 OK done\n"
    async with reading(script) as reader:
        first = await reader.changes("INBOX", None, 2)
        second = await reader.changes("INBOX", first.new_state, 2)
        third = await reader.changes("INBOX", second.new_state, 2)
    assert [changes.created for changes in (first, second, third)] == [(mail(5), mail(4)), (mail(3), mail(2)), (mail(1),)]
    assert [changes.more for changes in (first, second, third)] == [True, True, False]


async def test_an_identity_that_survives_a_move_is_asked_for(reading: Reading) -> None:
    script = "S: * PREAUTH [CAPABILITY IMAP4rev1 OBJECTID] hello\n" + select("P1", exists=1, next_=2)
    script += "C: P2 UID FETCH 1:1 (UID RFC822.SIZE INTERNALDATE EMAILID)\n"
    script += 'S: * 1 FETCH (UID 1 RFC822.SIZE 5 INTERNALDATE "x" EMAILID (M99))\nS: P2 OK\n'
    async with reading(script) as reader:
        assert (await reader.changes("INBOX", None, 9)).created == (Listed("7/1", 5, "x", "M99"),)


async def test_googles_own_identity_is_asked_for(reading: Reading) -> None:
    script = "S: * PREAUTH [CAPABILITY IMAP4rev1 X-GM-EXT-1] hello\n" + select("P1", exists=1, next_=2)
    script += "C: P2 UID FETCH 1:1 (UID RFC822.SIZE INTERNALDATE X-GM-MSGID)\n"
    script += 'S: * 1 FETCH (X-GM-MSGID 1278455344230334865 UID 1 RFC822.SIZE 5 INTERNALDATE "x")\nS: P2 OK\n'
    async with reading(script) as reader:
        assert (await reader.changes("INBOX", None, 9)).created == (Listed("7/1", 5, "x", "1278455344230334865"),)


# --- what came since --------------------------------------------------------------------------------------------------

KNOWN = State(7, 12, 11, 1, 0, 11, mail(11).internal_date.join(["100 ", ""])).text()
KNOWN_MODSEQ = State(7, 12, 11, 1, 500, 11, f"100 {mail(11).internal_date}").text()


async def test_what_came_is_above_the_mark(reading: Reading) -> None:
    script = HELLO + select("P1", exists=3, next_=14)
    script += f"C: P2 UID FETCH 11:13 {ITEMS}\n" + row(1, 11) + row(2, 12) + row(3, 13) + "S: P2 OK done\n"
    async with reading(script) as reader:
        changes = await reader.changes("INBOX", KNOWN, 100)
    assert changes.created == (mail(12), mail(13))
    assert (state(changes).newest, state(changes).mark, changes.more) == (13, 13, False)


async def test_an_unchanged_folder_costs_its_select_and_a_look_at_the_mark(reading: Reading) -> None:
    script = HELLO + select("P1", exists=1, next_=12) + f"C: P2 UID FETCH 11:11 {ITEMS}\n" + row(1, 11) + "S: P2 OK done\n"
    script += "C: P3 NOOP\nS: P3 OK\n"
    async with reading(script) as reader:
        first = await reader.changes("INBOX", KNOWN, 100)
        second = await reader.changes("INBOX", first.new_state, 100)
    assert [changes.created for changes in (first, second)] == [(), ()]
    assert State.read(second.new_state) == State.read(KNOWN)


async def test_the_last_known_message_is_not_new(reading: Reading) -> None:
    """``n:*`` names the last message even where its number is below n (RFC 9051 section 6.4.8)."""
    script = HELLO + select("P1", exists=1, next_=12) + f"C: P2 UID FETCH 11:11 {ITEMS}\n" + row(1, 11) + "S: P2 OK done\n"
    script += f"C: P3 NOOP\nS: * 1 EXISTS\nS: P3 OK\nC: P4 UID FETCH 11:* {ITEMS}\n" + row(1, 11) + "S: P4 OK done\n"
    async with reading(script) as reader:
        first = await reader.changes("INBOX", KNOWN, 100)
        second = await reader.changes("INBOX", first.new_state, 100)
    assert (second.created, second.more, second.reset) == ((), False, "")


async def test_the_marked_message_may_be_gone(reading: Reading) -> None:
    script = HELLO + select("P1", exists=1, next_=13) + f"C: P2 UID FETCH 11:12 {ITEMS}\n" + row(1, 12) + "S: P2 OK done\n"
    async with reading(script) as reader:
        assert (await reader.changes("INBOX", KNOWN, 100)).created == (mail(12),)


async def test_an_answer_without_size_or_uid_lists_nothing(reading: Reading) -> None:
    """A server that speaks of flags in between says nothing of what is new; Exchange leaves items out."""
    script = HELLO + select("P1", exists=3, next_=14) + f"C: P2 UID FETCH 11:13 {ITEMS}\n"
    script += "S: * 2 FETCH (FLAGS (\\Seen))\nS: * 2 FETCH (UID 12 FLAGS (\\Seen))\n" + row(3, 13) + "S: * 9 EXPUNGE\nS: P2 OK\n"
    async with reading(script) as reader:
        changes = await reader.changes("INBOX", KNOWN, 100)
        assert changes.created == (mail(13),)
        assert changes.more  # EXPUNGE came in between: look again


async def test_news_while_the_folder_is_open(reading: Reading) -> None:
    script = HELLO + select("P1", exists=0, next_=1)
    script += "C: P2 NOOP\nS: * 2 EXISTS\nS: P2 OK\n"
    script += f"C: P3 UID FETCH 1:* {ITEMS}\n" + row(1, 1) + row(2, 2) + "S: P3 OK done\n"
    async with reading(script) as reader:
        first = await reader.changes("INBOX", None, 100)
        second = await reader.changes("INBOX", first.new_state, 100)
    assert second.created == (mail(1), mail(2))


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_the_limit_cuts_and_the_rest_follows(reading: Reading, limit: int) -> None:
    script = HELLO + select("P1", exists=4, next_=15)
    answer = row(1, 11) + row(2, 12) + row(3, 13) + row(4, 14)
    script += f"C: P2 UID FETCH 11:14 {ITEMS}\n{answer}S: P2 OK done\n"
    taken = list(range(12, 12 + limit))
    tag = 3
    while taken[-1] < 14:
        script += f"C: P{tag} UID FETCH {taken[-1]}:14 {ITEMS}\n"
        script += "".join(row(uid - 10, uid) for uid in range(taken[-1], 15)) + f"S: P{tag} OK done\n"
        taken += range(taken[-1] + 1, min(taken[-1] + limit, 14) + 1)
        tag += 1
    found: list[Listed] = []
    async with reading(script) as reader:
        changes = await reader.changes("INBOX", KNOWN, limit)
        found += changes.created
        while changes.more:
            changes = await reader.changes("INBOX", changes.new_state, limit)
            assert len(changes.created) <= limit
            found += changes.created
    assert found == [mail(12), mail(13), mail(14)]


async def test_a_limit_reached_at_the_end_of_a_stretch_passes_nothing_over(reading: Reading) -> None:
    """The stretch from the mark holds exactly as many as are allowed, and one more message lies beyond it."""
    script = HELLO + select("P1", exists=4, next_=3001)
    script += f"C: P2 UID FETCH 11:1011 {ITEMS}\n" + row(1, 11) + row(2, 500) + row(3, 501) + "S: P2 OK\n"
    script += f"C: P3 UID FETCH 501:2011 {ITEMS}\n" + row(3, 501) + row(4, 2000) + "S: P3 OK\n"
    script += f"C: P4 UID FETCH 501:2011 {ITEMS}\n" + row(3, 501) + row(4, 2000) + "S: P4 OK\n"
    script += f"C: P5 UID FETCH 2000:3000 {ITEMS}\n" + row(4, 2000) + "S: P5 OK\n"
    async with reading(script) as reader:
        first = await reader.changes("INBOX", KNOWN, 2)
        assert first.created == (mail(500), mail(501))
        assert first.more
        second = await reader.changes("INBOX", first.new_state, 2)
    assert second.created == (mail(2000),)
    assert not second.more


# --- servers that keep something to themselves ------------------------------------------------------------------------


async def test_without_uidnext_the_last_message_tells(reading: Reading) -> None:
    script = HELLO + select("P1", exists=2, next_=None) + "C: P2 UID FETCH * (UID)\nS: * 2 FETCH (UID 9)\nS: P2 OK\n"
    script += f"C: P3 UID FETCH 10:* {ITEMS}\n" + row(2, 9) + "S: P3 OK\n"
    script += f"C: P4 UID FETCH 1:9 {ITEMS}\n" + row(1, 4) + row(2, 9) + "S: P4 OK\n"
    async with reading(script) as reader:
        changes = await reader.changes("INBOX", None, 100)
    assert changes.created == (mail(9), mail(4))
    assert not changes.more


async def test_without_uidnext_news_is_found(reading: Reading) -> None:
    script = HELLO + select("P1", exists=3, next_=None)
    script += f"C: P2 UID FETCH 11:* {ITEMS}\n" + row(2, 11) + row(3, 15) + "S: P2 OK\n"
    async with reading(script) as reader:
        changes = await reader.changes("INBOX", KNOWN, 100)
    assert (changes.created, changes.more, changes.reset) == ((mail(15),), False, "")
    assert (state(changes).newest, state(changes).next) == (15, 16)


UNLASTING = [
    "",
    "S: * OK [UIDVALIDITY 0] none\n",
    "S: * OK [UIDVALIDITY 7] valid\nS: * NO [UIDNOTSTICKY] not kept\n",
]


@pytest.mark.parametrize("said", UNLASTING)
async def test_p21_without_a_lasting_uidvalidity_identities_hold_until_the_next_select(reading: Reading, said: str) -> None:
    one = f"C: P2 UID FETCH 1:1 {ITEMS}\n" + row(1, 1) + "S: P2 OK done\n"
    opened = "S: * 1 EXISTS\nS: * OK [UIDNEXT 2] next\n" + said
    script = HELLO + "C: P1 SELECT INBOX\n" + opened + "S: P1 OK done\n" + one
    script += "C: P3 NOOP\nS: P3 OK\n"
    script += "C: P4 SELECT Other\n" + opened.replace("1 EXISTS", "0 EXISTS").replace("UIDNEXT 2", "UIDNEXT 1") + "S: P4 OK\n"
    script += "C: P5 SELECT INBOX\n" + opened + "S: P5 OK done\n" + one.replace("P2", "P6")
    async with reading(script.replace("SELECT Other", 'SELECT "Other"')) as reader:
        first = await reader.changes("INBOX", None, 100)
        again = await reader.changes("INBOX", first.new_state, 100)
        await reader.changes("Other", None, 100)
        other = await reader.changes("INBOX", again.new_state, 100)
        anew = await reader.changes("INBOX", None, 100)
    assert first.created == anew.created == (mail(1, validity=0),)
    assert (again.created, again.reset) == ((), "")
    assert (other.created, other.lasting) == ((), False)
    assert "keeps no UIDs from one SELECT to the next" in other.reset


@pytest.mark.parametrize("said", UNLASTING)
async def test_p21_a_server_that_stops_to_keep_uids(reading: Reading, said: str) -> None:
    async with reading(HELLO + "C: P1 SELECT INBOX\nS: * 1 EXISTS\n" + said + "S: P1 OK done\n") as reader:
        changes = await reader.changes("INBOX", KNOWN, 100)
    assert (changes.created, changes.lasting) == ((), False)
    assert changes.reset


async def test_a_folder_that_is_not_there(reading: Reading) -> None:
    script = HELLO + 'C: P1 SELECT "Entw&APw-rfe"\nS: P1 NO [NONEXISTENT] Mailbox doesn\'t exist\n'
    with pytest.raises(ImapStatus, match="NONEXISTENT") as caught:
        async with reading(script) as reader:
            await reader.changes("Entwürfe", None, 100)
    assert caught.value.code == "NONEXISTENT"


# --- other identities -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selected", "reason"),
    [
        (select("P1", exists=1, next_=20, validity=8), "UIDVALIDITY was 7 and is 8"),
        (select("P1", exists=1, next_=20, validity=6), "UIDVALIDITY was 7 and is 6"),
        (select("P1", exists=1, next_=5), "UIDNEXT was 12 and is 5"),
        (select("P1", exists=0, next_=1), "UIDNEXT was 12 and is 1"),
    ],
)
async def test_p21_numbers_that_are_not_comparable(reading: Reading, selected: str, reason: str) -> None:
    async with reading(HELLO + selected) as reader:
        changes = await reader.changes("INBOX", KNOWN, 100)
    assert changes.reset.startswith(reason)
    assert (changes.created, changes.new_state) == ((), "")


async def test_a_modseq_that_runs_backwards(reading: Reading) -> None:
    script = HELLO_CONDSTORE + select("P1", exists=1, next_=14, modseq=400)
    async with reading(script) as reader:
        changes = await reader.changes("INBOX", KNOWN_MODSEQ, 100)
    assert changes.reset.startswith("HIGHESTMODSEQ was 500 and is 400")


@pytest.mark.parametrize("marked", [row(1, 11, 101), row(1, 11).replace("Jan", "Feb")])
async def test_p21_a_marked_message_that_is_another_one(reading: Reading, marked: str) -> None:
    """The server was restored, and has counted as far again."""
    script = HELLO + select("P1", exists=2, next_=14) + f"C: P2 UID FETCH 11:13 {ITEMS}\n{marked}" + row(2, 13) + "S: P2 OK\n"
    async with reading(script) as reader:
        changes = await reader.changes("INBOX", KNOWN, 100)
    assert "UID 11 is another message now" in changes.reset


async def test_after_a_reset_all_is_listed_over_the_same_conversation(reading: Reading) -> None:
    script = HELLO + select("P1", exists=1, next_=3, validity=8)
    script += f"C: P2 UID FETCH 1:2 {ITEMS}\n" + row(1, 2) + "S: P2 OK\n"
    async with reading(script) as reader:
        assert (await reader.changes("INBOX", KNOWN, 100)).reset
        changes = await reader.changes("INBOX", None, 100)
    assert changes.created == (mail(2, validity=8),)


# --- several folders --------------------------------------------------------------------------------------------------


TWO_FOLDERS = (
    HELLO_CONDSTORE
    + select("P1", exists=1, next_=12, folder='"Other"', modseq=500)
    + f"C: P2 UID FETCH 11:11 {ITEMS}\n"
    + row(1, 11)
    + "S: P2 OK\n"
    + select("P3", exists=0, next_=1, modseq=1)
    + 'C: P4 STATUS "Other" (UIDVALIDITY UIDNEXT HIGHESTMODSEQ)\n'
)


async def test_an_unchanged_second_folder_costs_one_status(reading: Reading) -> None:
    script = TWO_FOLDERS + 'S: * STATUS "Other" (UIDVALIDITY 7 UIDNEXT 12 HIGHESTMODSEQ 500)\nS: P4 OK\n'
    script += "C: P5 NOOP\nS: P5 OK\n"
    async with reading(script) as reader:
        await reader.changes("Other", KNOWN_MODSEQ, 100)
        first = await reader.changes("INBOX", None, 100)
        other = await reader.changes("Other", KNOWN_MODSEQ, 100)
        assert (other.created, other.more, other.new_state) == ((), False, KNOWN_MODSEQ)
        await reader.changes("INBOX", first.new_state, 100)


@pytest.mark.parametrize(
    "answer",
    [
        "UIDVALIDITY 7 UIDNEXT 13 HIGHESTMODSEQ 501",
        "UIDVALIDITY 7 UIDNEXT 12 HIGHESTMODSEQ 501",
        "UIDVALIDITY 8 UIDNEXT 12 HIGHESTMODSEQ 500",
        "UIDNEXT 12",
    ],
)
async def test_a_changed_second_folder_is_opened(reading: Reading, answer: str) -> None:
    script = TWO_FOLDERS + f'S: * STATUS "Other" ({answer})\nS: P4 OK\n'
    script += select("P5", exists=0, next_=20, validity=9, folder='"Other"', modseq=501)
    async with reading(script) as reader:
        await reader.changes("Other", KNOWN_MODSEQ, 100)
        await reader.changes("INBOX", None, 100)
        assert (await reader.changes("Other", KNOWN_MODSEQ, 100)).reset.startswith("UIDVALIDITY was 7")


async def test_equal_numbers_in_two_folders_are_two_messages(reading: Reading) -> None:
    script = HELLO + select("P1", exists=1, next_=2) + f"C: P2 UID FETCH 1:1 {ITEMS}\n" + row(1, 1) + "S: P2 OK\n"
    script += select("P3", exists=1, next_=2, folder='"Other"') + f"C: P4 UID FETCH 1:1 {ITEMS}\n" + row(1, 1, 50) + "S: P4 OK\n"
    async with reading(script) as reader:
        first = await reader.changes("INBOX", None, 100)
        second = await reader.changes("Other", None, 100)
    assert (first.created, second.created) == ((mail(1),), (mail(1, 50),))


# --- waiting ----------------------------------------------------------------------------------------------------------

EMPTY = HELLO + select("P1", exists=0, next_=1)


async def test_news_ends_the_waiting(reading: Reading) -> None:
    script = EMPTY + "C: P2 IDLE\nS: + idling\nS: * OK Still here\nS: * 1 EXISTS\nC: DONE\nS: P2 OK\n"
    script += f"C: P3 UID FETCH 1:* {ITEMS}\n" + row(1, 1) + "S: P3 OK\n"
    async with reading(script) as reader:
        first = await reader.changes("INBOX", None, 100)
        await reader.wait(600)
        assert (await reader.changes("INBOX", first.new_state, 100)).created == (mail(1),)


async def test_news_before_the_server_idles_counts(reading: Reading) -> None:
    script = EMPTY + "C: P2 IDLE\nS: * 1 EXISTS\nS: + idling\nC: DONE\nS: P2 OK\n"
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        await reader.wait(600)


async def test_a_poll_ends_the_waiting_and_proves_the_path(reading: Reading) -> None:
    script = EMPTY + "C: P2 IDLE\nS: + idling\nC: DONE\nS: P2 OK\n"
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        await reader.wait(0.02)


async def left(reading: Reading, script: str, *, seconds: float = 600, timeout: float = 5) -> PostroomError:
    """What waiting comes to where the server is there no more."""
    try:
        async with reading(script, timeout=timeout) as reader:
            await reader.changes("INBOX", None, 100)
            await reader.wait(seconds)
    except PostroomError as error:
        return error
    pytest.fail("nothing was noticed")


async def test_a_server_that_died_in_silence_is_found_out(reading: Reading) -> None:
    """DONE is not answered: the connection is half open."""
    script = EMPTY + "C: P2 IDLE\nS: + idling\nC: DONE\n[STALL]"
    assert type(await left(reading, script, seconds=0.02, timeout=0.05)) is TimedOut


@pytest.mark.parametrize("end", ["S: * BYE Server shutting down\n[CLOSE]", "[CLOSE]", "[RESET]"])
async def test_a_server_that_leaves_while_we_idle(reading: Reading, end: str) -> None:
    error = await left(reading, EMPTY + "C: P2 IDLE\nS: + idling\n" + end)
    assert type(error) is Lost
    assert "BYE" not in end or "Server shutting down" in str(error)


async def test_a_server_without_idle_is_polled(reading: Reading) -> None:
    clock = HastyClock()
    script = "S: * PREAUTH [CAPABILITY IMAP4rev1] hello\n" + select("P1", exists=0, next_=1)
    async with reading(script, clock=clock) as reader:
        await reader.changes("INBOX", None, 100)
        await reader.wait(60)
    assert clock.slept == [60]


@pytest.mark.parametrize("answer", ["NO not now", "BAD what"])
async def test_a_server_that_announces_idle_and_refuses_is_polled(reading: Reading, answer: str) -> None:
    clock = HastyClock()
    async with reading(EMPTY + f"C: P2 IDLE\nS: P2 {answer}\n", clock=clock) as reader:
        await reader.changes("INBOX", None, 100)
        await reader.wait(60)
    assert clock.slept == [60]


async def test_what_the_server_says_while_we_leave_is_heard(reading: Reading) -> None:
    script = EMPTY + "C: P2 IDLE\nS: + idling\nC: DONE\nS: * 1 EXISTS\nS: P2 OK\n"
    script += f"C: P3 UID FETCH 1:* {ITEMS}\n" + row(1, 1) + "S: P3 OK\n"
    async with reading(script) as reader:
        first = await reader.changes("INBOX", None, 100)
        await reader.wait(0.02)
        assert (await reader.changes("INBOX", first.new_state, 100)).created == (mail(1),)


@pytest.mark.parametrize("modseq", [None, 5])
async def test_the_first_folder_is_idled_on_after_others(reading: Reading, modseq: int | None) -> None:
    script = (HELLO if modseq is None else HELLO_CONDSTORE) + select("P1", exists=0, next_=1, modseq=modseq)
    script += select("P2", exists=0, next_=1, folder='"Other"', modseq=modseq)
    script += select("P3", exists=0, next_=1, modseq=modseq) + "C: P4 IDLE\nS: + idling\nC: DONE\nS: P4 OK\n"
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        await reader.changes("Other", None, 100)
        await reader.wait(0.02)


async def test_news_of_the_first_folder_meanwhile_ends_the_waiting_at_once(reading: Reading) -> None:
    script = EMPTY + select("P2", exists=0, next_=1, folder='"Other"') + select("P3", exists=1, next_=2)
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        await reader.changes("Other", None, 100)
        await reader.wait(600)


async def test_a_wait_that_is_cancelled_ends_without_a_farewell(reading: Reading) -> None:
    """The conversation is out of step, so no LOGOUT is tried: the client simply goes."""
    async with reading(EMPTY + "C: P2 IDLE\nS: + idling\n") as reader:
        await reader.changes("INBOX", None, 100)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await reader.wait(600)
