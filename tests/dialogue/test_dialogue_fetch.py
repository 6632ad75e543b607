"""Octets: what servers hand over, how they hand it over, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from postroom.drivers import Reader
from postroom.errors import ImapStatus, LimitExceeded, Lost, PostroomError, RemoteProtocolError, TimedOut
from postroom.model import Absent, Fetched, Listed, Unfetched

Reading = Callable[..., AbstractAsyncContextManager[Reader]]

OPEN = """S: * PREAUTH [CAPABILITY IMAP4rev1] hello
C: P1 SELECT INBOX
S: * 9 EXISTS
S: * OK [UIDVALIDITY 7] valid
S: * OK [UIDNEXT 99] next
S: P1 OK done
"""
LONG = 300_000  # listed as long, and streamed


def listed(uid: int, size: int = 10) -> Listed:
    return Listed(f"7/{uid}", size, "day")


Answer = bytes | str | None


async def fetched(reader: Reader, *wanted: Listed) -> dict[str, Answer]:
    """Each message's octets; None for an absent one, words for one that was not handed over."""
    answers: dict[str, Answer] = {}
    answer: Answer
    async for item in reader.fetch("INBOX", wanted):
        if isinstance(item, Fetched):
            octets = item.octets
            if item.rest is not None:
                octets = b"".join([piece async for piece in item.rest])
                assert len(octets) == item.length
            name, answer = item.listed.identifier, octets
            assert item.listed in wanted
        elif isinstance(item, Absent):
            name, answer = item.identifier, None
        else:
            assert isinstance(item, Unfetched)
            name, answer = item.identifier, str(item.fault)
        assert name not in answers, "answered twice"
        answers[name] = answer
    assert set(answers) == {each.identifier for each in wanted}
    return answers


async def test_nothing_is_asked_for_nothing(reading: Reading) -> None:
    async with reading(OPEN) as reader:
        assert await fetched(reader) == {}


SMALL = OPEN + "C: P2 UID FETCH 1:2 (UID BODY.PEEK[])\n"

TWO = {
    "in order": "S: * 1 FETCH (UID 1 BODY[] {one})\nS: * 2 FETCH (UID 2 BODY[] {two})",
    "in another order": "S: * 2 FETCH (UID 2 BODY[] {two})\nS: * 1 FETCH (UID 1 BODY[] {one})",
    "UID behind": "S: * 1 FETCH (BODY[] {one} UID 1)\nS: * 2 FETCH (BODY[] {two} UID 2)",
    "with more": "S: * 1 FETCH (FLAGS (\\Seen) UID 1 MODSEQ (5) BODY[] {one})\nS: * 2 FETCH (UID 2 BODY[] {two} FLAGS ())",
    "small letters": "S: * 1 FETCH (uid 1 body[] {one})\nS: * 2 FETCH (UID 2 BODY[]<0> {two})",
    "twice": "S: * 1 FETCH (UID 1 BODY[] {one})\nS: * 1 FETCH (UID 1 BODY[] {one})\nS: * 2 FETCH (UID 2 BODY[] {two})",
    "unasked in between": """
        S: * 1 FETCH (UID 1 FLAGS (\\Seen))
        S: * 1 FETCH (UID 1 BODY[] {one})
        S: * 3 EXPUNGE
        S: * 10 EXISTS
        S: * 5 FETCH (FLAGS (\\Seen))
        S: * 5 FETCH (UID 5 BODY[] {other})
        S: * OK [ALERT] busy
        S: * 2 FETCH (UID 2 BODY[] {two})
        S: * 2 FETCH (UID 2 FLAGS (\\Seen))
        """,
    "outside the grammar, and dropped alone": """
        S: * 1 FETCH (UID 1 BODY[] {one})
        S: * 3 FETCH (UID (x
        S: * NONSENSE {other} (
        S: * 2 FETCH (UID 2 BODY[] {two})
        """,
}


@pytest.mark.parametrize("answer", TWO.values(), ids=list(TWO))
async def test_small_messages(reading: Reading, answer: str) -> None:
    one, two = b"Subject: 1\r\n\r\n* 2 FETCH (UID 2 BODY[] {3}\r\nP2 OK\r\n", b"\0\xff)\r\n"
    async with reading(f"{SMALL}{answer}\nS: P2 OK\n", one=one, two=two, other=b"not asked for") as reader:
        assert await fetched(reader, listed(1), listed(2)) == {"7/1": one, "7/2": two}


@pytest.mark.parametrize(
    ("answer", "first"),
    [
        ("", None),
        ("S: * 1 FETCH (UID 1)\n", "hands over no octets"),
        ("S: * 1 FETCH (UID 1 BODY[] NIL)\n", "hands over no octets"),
        ('S: * 1 FETCH (UID 1 BODY[] "")\n', "hands over no octets"),
        ("S: * 1 FETCH (UID 1 BODY[] {empty})\n", "hands over no octets"),
        ("S: * 1 FETCH (UID 1 FLAGS (\\Seen))\n", "hands over no octets"),
        ("S: * 1 FETCH (FLAGS (\\Seen))\n", None),
        ("S: * 1 FETCH (UID 1 BODY[] (x))\n", None),
    ],
)
async def test_a_message_that_is_not_handed_over(reading: Reading, answer: str, first: str | None) -> None:
    """One that was named is asked for once more, by itself; one that was not is looked for by its UID, and is not there."""
    script = SMALL + answer + "S: * 2 FETCH (UID 2 BODY[] {two})\nS: P2 OK\n"
    script += "C: P3 UID FETCH 1 (UID)\nS: P3 OK\n" if first is None else f"C: P3 UID FETCH 1 (UID BODY.PEEK[])\n{answer}S: P3 OK\n"
    async with reading(script, two=b"two", empty=b"") as reader:
        answers = await fetched(reader, listed(1), listed(2))
    assert answers["7/2"] == b"two"
    said = answers["7/1"]
    assert said is None if first is None else isinstance(said, str) and first in said


async def test_a_body_that_comes_at_last_counts(reading: Reading) -> None:
    script = (
        SMALL + "S: * 1 FETCH (UID 1 BODY[] NIL)\nS: * 1 FETCH (UID 1 BODY[] {one})\nS: * 2 FETCH (UID 2 BODY[] {one})\nS: P2 OK\n"
    )
    async with reading(script, one=b"one") as reader:
        assert await fetched(reader, listed(1), listed(2)) == {"7/1": b"one", "7/2": b"one"}


async def test_two_hundred_missing_from_an_answer_are_absent(reading: Reading) -> None:
    script = OPEN + "C: P2 UID FETCH 1:250 (UID BODY.PEEK[])\nS: * 7 FETCH (UID 7 BODY[] {one})\nS: P2 OK\n"
    script += "C: P3 UID FETCH 1:6,8:250 (UID)\nS: P3 OK\n"
    async with reading(script, one=b"one") as reader:
        answers = await fetched(reader, *(listed(uid) for uid in range(1, 251)))
    assert answers.pop("7/7") == b"one"
    assert list(answers.values()) == [None] * 249


@pytest.mark.parametrize("status", ["NO [SERVERBUG] cannot read it", "BAD cannot read it"])
async def test_one_poisonous_message_does_not_hide_the_others(reading: Reading, status: str) -> None:
    script = OPEN + "C: P2 UID FETCH 1:3 (UID BODY.PEEK[])\nS: * 1 FETCH (UID 1 BODY[] {one})\n" + f"S: P2 {status}\n"
    script += "C: P3 UID FETCH 3 (UID BODY.PEEK[])\nC: P4 UID FETCH 2 (UID BODY.PEEK[])\n"
    script += "S: * 3 FETCH (UID 3 BODY[] {three})\nS: P3 OK\n" + f"S: P4 {status}\n"
    async with reading(script, one=b"one", three=b"three") as reader:
        answers = await fetched(reader, listed(1), listed(2), listed(3))
    assert (answers["7/1"], answers["7/3"]) == (b"one", b"three")
    said = answers["7/2"]
    assert isinstance(said, str)
    assert "cannot read it" in said


async def test_a_set_refused_whole_is_asked_for_one_by_one(reading: Reading) -> None:
    script = OPEN + "C: P2 UID FETCH 1:9 (UID BODY.PEEK[])\nS: P2 NO no\n"
    for number, uid in enumerate(range(9, 3, -1)):  # six in flight
        script += f"C: P{3 + number} UID FETCH {uid} (UID BODY.PEEK[])\n"
    for number, uid in enumerate(range(9, 0, -1)):
        script += f"S: * {uid} FETCH (UID {uid} BODY[] {{one}})\nS: P{3 + number} OK\n"
        if uid > 6:
            script += f"C: P{9 + number} UID FETCH {uid - 6} (UID BODY.PEEK[])\n"
    async with reading(script, one=b"one") as reader:
        answers = await fetched(reader, *(listed(uid) for uid in range(1, 10)))
    assert set(answers.values()) == {b"one"}


# --- long messages ----------------------------------------------------------------------------------------------------

BODY_A = bytes(range(256)) * 2000
BODY_B = b"B" * LONG
ASKED = OPEN + "C: P2 UID FETCH 1 (UID BODY.PEEK[])\nC: P3 UID FETCH 2 (UID BODY.PEEK[])\n"


@pytest.mark.parametrize(
    "answer",
    [
        "S: * 1 FETCH (UID 1 BODY[] {a})\nS: P2 OK\nS: * 2 FETCH (UID 2 BODY[] {b})\nS: P3 OK\n",
        "S: * 2 FETCH (UID 2 BODY[] {b} FLAGS ())\nS: P3 OK\nS: * 1 FETCH (FLAGS () UID 1 BODY[] {a})\nS: P2 OK\n",
        # the answers of two commands mixed
        "S: * 2 FETCH (UID 2 BODY[] {b})\nS: * 1 FETCH (UID 1 BODY[] {a})\nS: P2 OK\nS: P3 OK\n",
        # nobody asked for the one in between
        "S: * 1 FETCH (UID 1 BODY[] {a})\nS: * 3 FETCH (UID 3 BODY[] {c})\nS: P2 OK\nS: * 2 FETCH (UID 2 BODY[] {b})\nS: P3 OK\n",
        "S: * 1 FETCH (BODY[HEADER] {c} UID 1 BODY[] {a})\nS: P2 OK\nS: * 2 FETCH (UID 2 BODY[] {b})\nS: P3 OK\n",
    ],
)
async def test_long_messages_come_in_pieces(reading: Reading, answer: str) -> None:
    async with reading(ASKED + answer, a=BODY_A, b=BODY_B, c=b"c" * LONG) as reader:
        assert await fetched(reader, listed(1, LONG), listed(2, LONG)) == {"7/1": BODY_A, "7/2": BODY_B}


async def test_one_long_message_whose_uid_comes_behind_it(reading: Reading) -> None:
    script = OPEN + "C: P2 UID FETCH 1 (UID BODY.PEEK[])\nS: * 1 FETCH (BODY[] {a} UID 1)\nS: P2 OK\n"
    async with reading(script, a=BODY_A) as reader:
        assert await fetched(reader, listed(1, LONG)) == {"7/1": BODY_A}


async def test_long_messages_whose_uids_come_behind_them(reading: Reading) -> None:
    """Whose octets they were is known too late: they are asked for once more, one at a time, and never mistaken."""
    script = ASKED + "S: * 1 FETCH (BODY[] {a} UID 1)\nS: P2 OK\nS: * 2 FETCH (BODY[] {b} UID 2)\nS: P3 OK\n"
    script += "C: P4 UID FETCH 1 (UID BODY.PEEK[])\nS: * 1 FETCH (BODY[] {a} UID 1)\nS: P4 OK\n"
    async with reading(script, a=BODY_A, b=BODY_B) as reader:
        assert await fetched(reader, listed(1, LONG), listed(2, LONG)) == {"7/1": BODY_A, "7/2": BODY_B}


async def test_a_message_listed_as_short_that_is_long(reading: Reading) -> None:
    script = SMALL + "S: * 1 FETCH (BODY[] {a} UID 1)\nS: * 2 FETCH (UID 2 BODY[] {two})\nS: P2 OK\n"
    script += "C: P3 UID FETCH 1 (UID BODY.PEEK[])\nS: * 1 FETCH (BODY[] {a} UID 1)\nS: P3 OK\n"
    async with reading(script, a=BODY_A, two=b"two") as reader:
        assert await fetched(reader, listed(1), listed(2)) == {"7/1": BODY_A, "7/2": b"two"}


async def test_a_long_message_that_is_absent(reading: Reading) -> None:
    script = OPEN + "C: P2 UID FETCH 1 (UID BODY.PEEK[])\nC: P3 UID FETCH 2 (UID BODY.PEEK[])\nS: P2 OK\nS: P3 NO never\n"
    script += "C: P4 UID FETCH 1 (UID)\nS: P4 OK\n"
    async with reading(script) as reader:
        answers = await fetched(reader, listed(1, LONG), listed(2, LONG))
    assert answers["7/1"] is None
    assert isinstance(answers["7/2"], str)


async def test_a_piece_not_taken_is_read_over(reading: Reading) -> None:
    """Whoever leaves a long message in the middle gets the next one all the same."""
    script = ASKED + "S: * 1 FETCH (UID 1 BODY[] {a})\nS: P2 OK\nS: * 2 FETCH (UID 2 BODY[] {b})\nS: P3 OK\n"
    names = []
    async with reading(script, a=BODY_A, b=BODY_B) as reader:
        async for item in reader.fetch("INBOX", [listed(1, LONG), listed(2, LONG)]):
            assert isinstance(item, Fetched)
            names.append(item.listed.identifier)
    assert names == ["7/1", "7/2"]


# --- endings ----------------------------------------------------------------------------------------------------------


async def failed(reading: Reading, script: str, *, timeout: float = 5, **literals: bytes) -> PostroomError:
    """What fetching two long messages comes to."""
    try:
        async with reading(script, timeout=timeout, **literals) as reader:
            await fetched(reader, listed(1, LONG), listed(2, LONG))
    except PostroomError as error:
        return error
    pytest.fail("nothing was noticed")


@pytest.mark.parametrize("end", ["[CLOSE]", "[RESET]", "S: * BYE shutting down\n[CLOSE]"])
@pytest.mark.parametrize("before", ["", "S: * 1 FETCH (UID 1 BODY[] {a})\n", "S: * 1 FETCH (UID 1 BODY[] {a})\nS: P2 OK\n"])
async def test_a_connection_that_ends(reading: Reading, before: str, end: str) -> None:
    assert type(await failed(reading, ASKED + before + end, a=BODY_A)) is Lost


@pytest.mark.parametrize("size", [400_000, 10**15])
async def test_a_message_cut_off_in_the_middle_is_no_message(reading: Reading, size: int) -> None:
    script = ASKED + f"S: * 1 FETCH (UID 1 BODY[] {{{size}}}\ns: only this much\n[CLOSE]"
    assert type(await failed(reading, script)) is Lost


async def test_a_server_that_falls_silent_in_a_message(reading: Reading) -> None:
    script = ASKED + "S: * 1 FETCH (UID 1 BODY[] {400000}\ns: only this much\n[STALL]"
    assert type(await failed(reading, script, timeout=0.05)) is TimedOut


async def test_an_answer_to_a_command_that_nobody_gave(reading: Reading) -> None:
    error = await failed(reading, ASKED + "S: P9 OK done\n")
    assert type(error) is RemoteProtocolError
    assert "P9" in str(error)


async def test_an_answer_without_end(reading: Reading) -> None:
    script = ASKED + "s: * 1 FETCH (UID 1 FLAGS (" + "x " * 200_000 + "\n"
    assert type(await failed(reading, script)) is LimitExceeded


async def test_a_refusal_keeps_the_servers_words(reading: Reading) -> None:
    script = OPEN + "C: P2 UID FETCH 1 (UID BODY.PEEK[])\nS: P2 NO [SERVERBUG] sorry\n"
    async with reading(script) as reader:
        async for item in reader.fetch("INBOX", [listed(1)]):
            assert isinstance(item, Unfetched)
            assert isinstance(item.fault, ImapStatus)
            assert (item.fault.status, item.fault.code, item.fault.text) == ("NO", "SERVERBUG", "sorry")
