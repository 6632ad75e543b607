"""What is done to messages at their server, and above all what is not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from postroom.drivers import Reader, Settlement
from postroom.errors import ImapStatus, Lost
from postroom.model import Disposition, Listed, Unsettled

Reading = Callable[..., AbstractAsyncContextManager[Reader]]

SEEN, DELETE, MOVE = Disposition.SEEN, Disposition.DELETE, Disposition.MOVE
ITEMS = "(UID RFC822.SIZE INTERNALDATE)"


def hello(capabilities: str = "", validity: int = 7) -> str:
    return f"""S: * PREAUTH [CAPABILITY IMAP4rev1 {capabilities}] hello
C: P1 SELECT INBOX
S: * 9 EXISTS
S: * OK [UIDVALIDITY {validity}] valid
S: * OK [UIDNEXT 99] next
S: P1 OK done
"""


def item(uid: int, disposition: Disposition, size: int = 10, date: str = "day", validity: int = 7) -> Unsettled:
    return Unsettled(Listed(f"{validity}/{uid}", size, date), disposition)


def held(*uids: int) -> str:
    """The server shows the messages as they were captured."""
    rows = "".join(f'S: * {uid} FETCH (UID {uid} RFC822.SIZE 10 INTERNALDATE "day")\n' for uid in uids)
    asked = f"{uids[0]}:{uids[-1]}" if len(uids) > 1 else str(uids[0])
    return f"C: P2 UID FETCH {asked} {ITEMS}\n{rows}S: P2 OK\n"


async def settled(reading: Reading, script: str, *items: Unsettled, target: str | None = None) -> Settlement:
    async with reading(script) as reader:
        return await reader.settle("INBOX", items, target)


def names(*uids: int) -> tuple[str, ...]:
    return tuple(f"7/{uid}" for uid in uids)


# --- seen, deleted, moved ---------------------------------------------------------------------------------------------


async def test_seen(reading: Reading) -> None:
    script = hello() + held(1, 2) + "C: P3 UID STORE 1:2 +FLAGS.SILENT (\\Seen)\nS: P3 OK\n"
    assert await settled(reading, script, item(1, SEEN), item(2, SEEN)) == Settlement(names(1, 2))


async def test_deleted(reading: Reading) -> None:
    script = hello("UIDPLUS") + held(1, 2)
    script += (
        "C: P3 UID STORE 1:2 +FLAGS.SILENT (\\Deleted)\nS: P3 OK\nC: P4 UID EXPUNGE 1:2\nS: * 1 EXPUNGE\nS: * 1 EXPUNGE\nS: P4 OK\n"
    )
    assert await settled(reading, script, item(1, DELETE), item(2, DELETE)) == Settlement(names(1, 2))


async def test_moved(reading: Reading) -> None:
    script = hello("MOVE") + held(1) + 'C: P3 UID MOVE 1 "Done"\nS: * OK [COPYUID 1 1 1] moved\nS: * 1 EXPUNGE\nS: P3 OK\n'
    assert await settled(reading, script, item(1, MOVE), target="Done") == Settlement(names(1))


async def test_each_disposition_for_itself(reading: Reading) -> None:
    script = hello("UIDPLUS MOVE") + held(1, 2, 3, 4)
    script += "C: P3 UID STORE 2 +FLAGS.SILENT (\\Seen)\nS: P3 OK\n"
    script += 'C: P4 UID MOVE 3 "Done"\nS: P4 OK\n'
    script += "C: P5 UID STORE 1,4 +FLAGS.SILENT (\\Deleted)\nS: P5 OK\nC: P6 UID EXPUNGE 1,4\nS: P6 OK\n"
    settlement = await settled(reading, script, item(1, DELETE), item(2, SEEN), item(3, MOVE), item(4, DELETE), target="Done")
    assert sorted(settlement.committed) == list(names(1, 2, 3, 4))


async def test_nothing_is_moved_nowhere(reading: Reading) -> None:
    assert await settled(reading, hello("MOVE") + held(1), item(1, MOVE)) == Settlement()


# --- comparing first --------------------------------------------------------------------------------------------------

OTHERS = {
    "another size": 'S: * 1 FETCH (UID 1 RFC822.SIZE 11 INTERNALDATE "day")\n',
    "another date": 'S: * 1 FETCH (UID 1 RFC822.SIZE 10 INTERNALDATE "another day")\n',
    "none": "",
    "without its size": 'S: * 1 FETCH (UID 1 INTERNALDATE "day")\n',
    "of another number": 'S: * 1 FETCH (UID 3 RFC822.SIZE 10 INTERNALDATE "day")\n',
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=list(OTHERS))
@pytest.mark.parametrize("disposition", [SEEN, DELETE, MOVE])
async def test_another_message_under_the_number_is_left_alone(reading: Reading, disposition: Disposition, other: str) -> None:
    script = hello("UIDPLUS MOVE") + f"C: P2 UID FETCH 1 {ITEMS}\n{other}S: P2 OK\n"
    assert await settled(reading, script, item(1, disposition), target="Done") == Settlement((), names(1))


async def test_only_the_foreign_ones_are_left_alone(reading: Reading) -> None:
    script = (
        hello("UIDPLUS") + f"C: P2 UID FETCH 1:2 {ITEMS}\n" + 'S: * 2 FETCH (UID 2 RFC822.SIZE 10 INTERNALDATE "day")\nS: P2 OK\n'
    )
    script += "C: P3 UID STORE 2 +FLAGS.SILENT (\\Deleted)\nS: P3 OK\nC: P4 UID EXPUNGE 2\nS: P4 OK\n"
    assert await settled(reading, script, item(1, DELETE), item(2, DELETE)) == Settlement(names(2), names(1))


async def test_what_is_said_of_flags_in_between_makes_nothing_foreign(reading: Reading) -> None:
    """Another client marks the message while we look at it."""
    script = hello() + f"C: P2 UID FETCH 1 {ITEMS}\n" + 'S: * 1 FETCH (UID 1 RFC822.SIZE 10 INTERNALDATE "day")\n'
    script += "S: * 1 FETCH (UID 1 FLAGS (\\Answered))\nS: P2 OK\n"
    script += "C: P3 UID STORE 1 +FLAGS.SILENT (\\Seen)\nS: P3 OK\n"
    assert await settled(reading, script, item(1, SEEN)) == Settlement(names(1))


async def test_identifiers_of_another_validity_are_not_touched(reading: Reading) -> None:
    """Neither committed nor gone: it is asked for again, and a reset comes first."""
    assert await settled(reading, hello("UIDPLUS", validity=8), item(1, DELETE)) == Settlement()
    assert await settled(reading, hello("UIDPLUS", validity=77), item(1, DELETE)) == Settlement()


async def test_what_this_conversation_listed_is_known_to_be_the_same(reading: Reading) -> None:
    script = hello("UIDPLUS").replace("UIDNEXT 99", "UIDNEXT 2") + f"C: P2 UID FETCH 1:1 {ITEMS}\n"
    script += 'S: * 1 FETCH (UID 1 RFC822.SIZE 10 INTERNALDATE "day")\nS: P2 OK\n'
    script += "C: P3 UID STORE 1 +FLAGS.SILENT (\\Deleted)\nS: P3 OK\nC: P4 UID EXPUNGE 1\nS: P4 OK\n"
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        assert await reader.settle("INBOX", [item(1, DELETE)], None) == Settlement(names(1))


async def test_what_was_captured_as_another_message_is_compared_all_the_same(reading: Reading) -> None:
    """Listed now with another size than the receipt holds: the receipt is not of this message."""
    script = hello("UIDPLUS").replace("UIDNEXT 99", "UIDNEXT 2") + f"C: P2 UID FETCH 1:1 {ITEMS}\n"
    row = 'S: * 1 FETCH (UID 1 RFC822.SIZE 11 INTERNALDATE "day")\n'
    script += f"{row}S: P2 OK\nC: P3 UID FETCH 1 {ITEMS}\n{row}S: P3 OK\n"
    async with reading(script) as reader:
        await reader.changes("INBOX", None, 100)
        assert await reader.settle("INBOX", [item(1, DELETE)], None) == Settlement((), names(1))


# --- servers that lack something --------------------------------------------------------------------------------------

MARKED = hello() + held(1, 2) + "C: P3 UID STORE 1:2 +FLAGS.SILENT (\\Deleted)\nS: P3 OK\nC: P4 UID SEARCH DELETED\n"


async def test_without_uidplus_expunge_takes_only_ours(reading: Reading) -> None:
    script = MARKED + "S: * SEARCH 1 2\nS: P4 OK\nC: P5 EXPUNGE\nS: * 1 EXPUNGE\nS: * 1 EXPUNGE\nS: P5 OK\n"
    assert await settled(reading, script, item(1, DELETE), item(2, DELETE)) == Settlement(names(1, 2))


@pytest.mark.parametrize(
    "answer",
    [
        "S: * SEARCH 1 2 9\n",
        "S: * SEARCH 9\n",
        "S: * SEARCH 1\nS: * SEARCH 2 9\n",
        "S: * SEARCH 1 2 nine\n",  # outside the grammar, and so unknown
        'S: * ESEARCH (TAG "P4") UID ALL 1:2,9\n',
        "",
    ],
    ids=repr,
)
async def test_without_uidplus_others_are_not_expunged(reading: Reading, answer: str) -> None:
    settlement = await settled(reading, MARKED + f"{answer}S: P4 OK\n", item(1, DELETE), item(2, DELETE))
    assert settlement.committed == names(1, 2)
    assert len(settlement.remarks) == 1
    assert "other messages are, or may be, marked" in settlement.remarks[0]


async def test_without_move_copy_comes_first(reading: Reading) -> None:
    script = hello("UIDPLUS") + held(1) + 'C: P3 UID COPY 1 "Done"\nS: P3 OK\n'
    script += "C: P4 UID STORE 1 +FLAGS.SILENT (\\Deleted)\nS: P4 OK\nC: P5 UID EXPUNGE 1\nS: P5 OK\n"
    assert await settled(reading, script, item(1, MOVE), target="Done") == Settlement(names(1))


async def test_what_could_not_be_copied_is_not_deleted(reading: Reading) -> None:
    script = hello("UIDPLUS") + held(1) + 'C: P3 UID COPY 1 "Done"\nS: P3 NO [OVERQUOTA] full\n'
    with pytest.raises(ImapStatus, match="OVERQUOTA"):
        await settled(reading, script, item(1, MOVE), target="Done")


@pytest.mark.parametrize(("capability", "verb"), [("MOVE", "MOVE"), ("UIDPLUS", "COPY")])
async def test_a_target_that_is_missing_is_made(reading: Reading, capability: str, verb: str) -> None:
    script = hello(capability) + held(1) + f'C: P3 UID {verb} 1 "Erledigt &APw-"\nS: P3 NO [TRYCREATE] no such mailbox\n'
    script += f'C: P4 CREATE "Erledigt &APw-"\nS: P4 OK\nC: P5 UID {verb} 1 "Erledigt &APw-"\nS: P5 OK\n'
    if verb == "COPY":
        script += "C: P6 UID STORE 1 +FLAGS.SILENT (\\Deleted)\nS: P6 OK\nC: P7 UID EXPUNGE 1\nS: P7 OK\n"
    assert await settled(reading, script, item(1, MOVE), target="Erledigt ü") == Settlement(names(1))


@pytest.mark.parametrize(
    "rest",
    [
        "S: P3 NO [NOPERM] not yours\n",
        'S: P3 NO [TRYCREATE] no such mailbox\nC: P4 CREATE "Done"\nS: P4 NO [NOPERM] not yours\n',
        'S: P3 NO [TRYCREATE] no\nC: P4 CREATE "Done"\nS: P4 OK\nC: P5 UID MOVE 1 "Done"\nS: P5 NO [TRYCREATE] still not\n',
    ],
)
async def test_a_move_that_is_refused(reading: Reading, rest: str) -> None:
    with pytest.raises(ImapStatus):
        await settled(reading, hello("MOVE") + held(1) + f'C: P3 UID MOVE 1 "Done"\n{rest}', item(1, MOVE), target="Done")


async def test_a_flag_that_is_refused(reading: Reading) -> None:
    script = hello() + held(1) + "C: P3 UID STORE 1 +FLAGS.SILENT (\\Seen)\nS: P3 NO [READ-ONLY] cannot\n"
    with pytest.raises(ImapStatus, match="READ-ONLY"):
        await settled(reading, script, item(1, SEEN))


@pytest.mark.parametrize("where", ["P2", "P3", "P4"])
async def test_a_connection_that_ends_commits_nothing(reading: Reading, where: str) -> None:
    script = hello("UIDPLUS") + held(1)
    script += "C: P3 UID STORE 1 +FLAGS.SILENT (\\Deleted)\nS: P3 OK\nC: P4 UID EXPUNGE 1\nS: * 1 EXPUNGE\nS: P4 OK\n"
    script = script[: script.index(f"S: {where} OK")] + "[CLOSE]"
    with pytest.raises(Lost):
        await settled(reading, script, item(1, DELETE))


async def test_many_are_settled_in_lines_of_bounded_length(reading: Reading) -> None:
    uids = list(range(1, 4001, 2))
    script, tag = hello(), 2
    sets = []
    line = ""
    for uid in uids:
        if line and len(line) + 1 + len(str(uid)) > 7800:
            sets.append(line)
            line = ""
        line = f"{line},{uid}" if line else str(uid)
    sets.append(line)
    assert len(sets) == 2
    for each in sets:
        script += f"C: P{tag} UID FETCH {each} {ITEMS}\n"
        script += "".join(f'S: * 1 FETCH (UID {uid} RFC822.SIZE 10 INTERNALDATE "day")\n' for uid in each.split(","))
        script += f"S: P{tag} OK\n"
        tag += 1
    for each in sets:
        script += f"C: P{tag} UID STORE {each} +FLAGS.SILENT (\\Seen)\nS: P{tag} OK\n"
        tag += 1
    settlement = await settled(reading, script, *(item(uid, SEEN) for uid in uids))
    assert settlement.committed == names(*uids)


async def test_settling_another_folder_opens_it(reading: Reading) -> None:
    script = hello() + hello().replace("P1", "P2").replace("INBOX", '"Other"').split("\n", 1)[1]
    script += f"C: P3 UID FETCH 1 {ITEMS}\n" + 'S: * 1 FETCH (UID 1 RFC822.SIZE 10 INTERNALDATE "day")\nS: P3 OK\n'
    script += "C: P4 UID STORE 1 +FLAGS.SILENT (\\Seen)\nS: P4 OK\n"
    async with reading(script) as reader:
        async for _ in reader.fetch("INBOX", []):
            pytest.fail("nothing was asked for")
        assert await reader.settle("Other", [item(1, SEEN)], None) == Settlement(names(1))
        assert tuple(await reader.commit()) == ()
