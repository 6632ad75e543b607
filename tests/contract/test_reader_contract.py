"""What every ``Reader`` promises, over the fakes, over IMAP of three families of servers, and over POP3 of three."""

from __future__ import annotations

import datetime
import imaplib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from boxes import Box, GmailBox, MaildropBox, MemoryBox, at_courier, at_dovecot, at_pymap

from postroom.drivers import First, Reader
from postroom.model import Absent, Changes, Disposition, Fetched, Listed, Unsettled
from postroom.settings import FirstRead
from servers.authority import Authority
from servers.certificates import Certificates
from servers.courier import Courier
from servers.gmail_pop3 import GmailPop3
from servers.pymap_server import Pymap

MEMORY = ("memory", "maildrop", "hiding-maildrop")
REAL = ("imap-dovecot", "imap-courier", "imap-pymap", "pop3-dovecot", "pop3-courier", "pop3-gmail")
_folders = itertools.count(1)


@pytest.fixture(scope="module")
def courier(real_servers: None, certificates: Certificates) -> Iterator[Courier]:
    with Courier(certificates=certificates) as running:
        yield running


@pytest.fixture(scope="module")
def pymap(real_servers: None, certificates: Certificates) -> Iterator[Pymap]:
    with Pymap(certificates=certificates) as running:
        yield running


@pytest.fixture(scope="module")
def beside_pymap(pymap: Pymap) -> Iterator[imaplib.IMAP4]:
    """One session of another client for all tests: pymap takes half a second for a login."""
    with pymap.imap() as connection:
        yield connection


@pytest.fixture(scope="module")
def gmail(authority: Authority, certificates: Certificates) -> Iterator[GmailPop3]:
    with GmailPop3(tokens=authority.tokens, certificates=certificates) as running:
        yield running


def box_of(kind: str, request: pytest.FixtureRequest, user: str) -> Box:
    """An empty mailbox of a kind; its server runs from now on, if it has one."""
    if kind in MEMORY:
        return MemoryBox() if kind == "memory" else MaildropBox(hides=kind == "hiding-maildrop")
    protocol, _, family = kind.partition("-")
    server: Any = request.getfixturevalue(family)
    if family == "gmail":
        return GmailBox(server, user)
    if family == "pymap":
        return at_pymap(server, request.getfixturevalue("beside_pymap"), f"box{next(_folders)}")
    return (at_dovecot if family == "dovecot" else at_courier)(server, user, pop3=protocol == "pop3")


@pytest.fixture(params=[*MEMORY, *REAL])
def box(request: pytest.FixtureRequest, mailbox_user: str) -> Box:
    return box_of(request.param, request, mailbox_user)


@pytest.fixture(params=REAL)
def real_box(request: pytest.FixtureRequest, mailbox_user: str) -> Box:
    return box_of(request.param, request, mailbox_user)


def letter(number: int, size: int = 0) -> bytes:
    text = b"".join(b"%d.%d\r\n" % (number, line) for line in range(size // 8))
    return b"From: a@example.org\r\nMessage-ID: <%d@example.org>\r\nSubject: %d\r\n\r\n.dot\r\n%b" % (number, number, text)


LETTERS = [letter(number) for number in range(5)]


async def listing(reader: Reader, box: Box, since: str | None = None, first: First = FirstRead.ALL, limit: int = 2) -> Changes:
    """All that a listing brings, asked for until there is no more."""
    created: list[Listed] = []
    spared: list[Listed] = []
    for _ in range(20):
        changes = await reader.changes(box.folder, since, limit, first)
        assert not changes.reset
        created += changes.created
        spared += changes.spared
        since = changes.new_state
        if not changes.more:
            return Changes(
                tuple(created), since, complete=changes.complete, hides=changes.hides, total=changes.total, spared=tuple(spared)
            )
    raise AssertionError("it goes on listing")


async def fetched(reader: Reader, box: Box, listed: Sequence[Listed]) -> dict[str, bytes | None]:
    """The octets by identifier, read to the end of each; None for what is absent. Each is answered once."""
    found: dict[str, bytes | None] = {}
    async for item in reader.fetch(box.folder, listed):
        name = item.listed.identifier if isinstance(item, Fetched) else item.identifier
        assert name not in found, "answered twice"
        assert isinstance(item, Fetched | Absent), item
        found[name] = None
        if isinstance(item, Fetched):
            octets = item.octets if item.rest is None else b"".join([piece async for piece in item.rest])
            assert item.rest is None or item.length == len(octets)
            found[name] = octets
    assert set(found) == {each.identifier for each in listed}
    return found


async def by_text(reader: Reader, box: Box, listed: Sequence[Listed]) -> dict[bytes, Listed]:
    """Which of the listed is which; by its header, which hides nothing anywhere."""
    found = {}
    async for item in reader.fetch_headers(box.folder, listed):
        assert isinstance(item, Fetched)
        found[next(text for text in [*LETTERS, letter(9, 300_000)] if text.startswith(item.octets))] = item.listed
    return found


def names(listed: Sequence[Listed]) -> list[str]:
    return sorted(each.identifier for each in listed)


def owed(listed: Sequence[Listed], disposition: Disposition) -> list[Unsettled]:
    return [Unsettled(each, disposition) for each in listed]


# --- changes


async def test_a_listing_from_nothing_names_each_message_once(box: Box) -> None:
    box.fill(*LETTERS)
    async with box.reading() as reader:
        changes = await listing(reader, box)
        assert len(set(names(changes.created))) == len(changes.created) == 5
        assert sorted(each.size for each in changes.created) == sorted(map(len, LETTERS))
        assert changes.total == 5
        assert all(bool(each.internal_date) == box.imap for each in changes.created)
        assert changes.spared == ()


async def test_an_empty_mailbox_is_listed(box: Box) -> None:
    async with box.reading() as reader:
        changes = await listing(reader, box)
        assert (changes.created, changes.total) == ((), 0)
        box.fill(LETTERS[0])
        await reader.commit()
        assert len((await listing(reader, box, changes.new_state)).created) == 1


async def test_a_later_conversation_leaves_nothing_out_and_names_all_as_before(box: Box) -> None:
    box.fill(*LETTERS[:3])
    async with box.reading() as reader:
        before = await listing(reader, box)
        await reader.commit()
        again = await listing(reader, box, before.new_state)
        assert set(names(again.created)) <= set(names(before.created))
    box.fill(*LETTERS[3:])
    async with box.reading() as reader:
        later = await listing(reader, box, before.new_state)
        assert len(set(names(later.created)) - set(names(before.created))) == 2
        if later.complete:
            assert set(names(before.created)) <= set(names(later.created))
        whole = await listing(reader, box)
        assert set(names(whole.created)) == set(names(before.created) + names(later.created))


async def test_of_a_mailbox_never_read_what_was_there_is_spared(box: Box) -> None:
    box.fill(*LETTERS[:3])
    async with box.reading() as reader:
        first = await listing(reader, box, first=FirstRead.NEW)
        assert (first.created, len(first.spared)) == ((), 3)
        await reader.commit()
    box.fill(LETTERS[3])
    async with box.reading() as reader:
        later = await listing(reader, box, first.new_state)
        assert len(set(names(later.created)) - set(names(first.spared))) == 1


async def test_a_day_spares_what_the_server_dates_and_leaves_the_rest_to_the_headers(box: Box) -> None:
    box.fill(*LETTERS[:2])
    async with box.reading() as reader:
        changes = await listing(reader, box, first=datetime.date(9999, 1, 1))
        assert (len(changes.spared), len(changes.created)) == ((2, 0) if box.imap else (0, 2))


# --- preview, headers, census


async def test_a_preview_counts_what_would_be_taken(box: Box) -> None:
    box.fill(*LETTERS)
    async with box.reading() as reader:
        taken = await reader.preview(box.folder, FirstRead.ALL)
        assert (taken.messages, taken.octets) == (5, sum(map(len, LETTERS)))
        nothing = await reader.preview(box.folder, FirstRead.NEW)
        assert (nothing.messages, nothing.octets) == (0, 0)


async def test_headers_hold_the_message_ids_and_leave_out_what_cannot_be_had(box: Box) -> None:
    box.fill(*LETTERS)
    async with box.reading() as reader:
        created = (await listing(reader, box)).created
        strange = created[0]._replace(identifier=f"{created[0].identifier.partition('/')[0]}/4000000")
        found = await reader.headers(box.folder, [*created, strange])
    assert set(found) == set(names(created))
    ids = sorted(line for head in found.values() for line in head.splitlines() if line.startswith(b"Message-ID: "))
    assert ids == [b"Message-ID: <%d@example.org>" % number for number in range(5)]


async def test_a_census_names_each_message_once_and_changes_nothing(box: Box) -> None:
    box.fill(*LETTERS)
    async with box.reading() as reader:
        before = await listing(reader, box, first=FirstRead.NEW)
        counted = [each async for piece in reader.census(box.folder) for each in piece]
        await reader.commit()
    assert sorted(counted) == sorted(before.spared)
    assert box.texts() == LETTERS
    assert box.marked() == 0


# --- fetch, heads


async def test_octets_come_as_they_are_stored_and_what_is_not_there_is_absent(box: Box) -> None:
    texts = [*LETTERS, letter(9, 300_000)]
    box.fill(*texts)
    async with box.reading() as reader:
        created = (await listing(reader, box)).created
        strange = created[0]._replace(identifier=f"{created[0].identifier.partition('/')[0]}/4000000")
        found = await fetched(reader, box, [*created, strange])
    assert found.pop(strange.identifier) is None
    assert sorted(octets for octets in found.values() if octets is not None) == sorted(texts)
    assert {each.identifier: each.size for each in created} == {name: len(octets or b"") for name, octets in found.items()}


async def test_what_somebody_else_removed_is_absent_in_a_later_conversation(box: Box) -> None:
    box.fill(*LETTERS)
    async with box.reading() as reader:
        created = (await listing(reader, box)).created
    box.remove(LETTERS[2])
    async with box.reading() as reader:
        found = await fetched(reader, box, created)
    assert sorted(octets or b"" for octets in found.values()) == sorted([b"", *LETTERS[:2], *LETTERS[3:]])


async def test_heads_end_behind_their_empty_line(box: Box) -> None:
    texts = [LETTERS[0], letter(9, 300_000)]
    box.fill(*texts)
    async with box.reading() as reader:
        created = (await listing(reader, box)).created
        heads = [item async for item in reader.fetch_headers(box.folder, created)]
    expected = sorted(text.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" for text in texts)
    assert sorted(item.octets for item in heads if isinstance(item, Fetched)) == expected


async def test_what_is_hidden_after_commit_is_what_was_retrieved(box: Box) -> None:
    box.fill(*LETTERS)
    async with box.reading() as reader:
        changes = await listing(reader, box)
        mails = await by_text(reader, box, changes.created)
        await fetched(reader, box, [mails[LETTERS[1]]])
        assert box.texts() == LETTERS  # nothing before commit
        await reader.commit()
    assert box.texts() == (LETTERS if not changes.hides else [*LETTERS[:1], *LETTERS[2:]])


# --- settle, commit


async def test_what_was_deleted_is_gone_once_it_is_reported_and_not_before(box: Box) -> None:
    box.fill(*LETTERS)
    async with box.reading() as reader:
        created = (await listing(reader, box)).created
        mails = await by_text(reader, box, created)
        items = owed([mails[LETTERS[1]], mails[LETTERS[3]]], Disposition.DELETE)
        settlement = await reader.settle(box.folder, items, None)
        assert settlement.gone == ()
        assert len(box.texts()) == 5 - len(settlement.committed)
        committed = [*settlement.committed, *await reader.commit()]
        assert sorted(committed) == names([item.listed for item in items])
        assert box.texts() == [LETTERS[0], LETTERS[2], LETTERS[4]]
    async with box.reading() as reader:  # nobody heard of it: it is asked for again
        settlement = await reader.settle(box.folder, items, None)
        assert sorted(settlement.committed + settlement.gone) == names([item.listed for item in items])
        await reader.commit()
    assert box.texts() == [LETTERS[0], LETTERS[2], LETTERS[4]]


async def test_a_conversation_that_ends_without_commit_did_what_it_reported_alone(box: Box) -> None:
    box.fill(*LETTERS)
    async with box.reading() as reader:
        created = (await listing(reader, box)).created
        settlement = await reader.settle(box.folder, owed(created, Disposition.DELETE), None)
        assert len(settlement.committed) in (0, 5)
    assert len(box.texts()) == 5 - len(settlement.committed)


async def test_another_message_under_the_same_name_is_let_alone(box: Box) -> None:
    box.fill(*LETTERS)
    async with box.reading() as reader:
        created = (await listing(reader, box)).created
    async with box.reading() as reader:
        others = [each._replace(size=each.size + 1) for each in created]
        settlement = await reader.settle(box.folder, owed(others, Disposition.DELETE), None)
        assert (settlement.committed, sorted(settlement.gone)) == ((), names(created))
        assert list(await reader.commit()) == []
    assert box.texts() == LETTERS


async def test_a_mark_or_a_move_is_made_where_there_is_one_and_never_claimed_else(box: Box) -> None:
    box.fill(*LETTERS)
    target = f"Done{next(_folders)}"
    async with box.reading() as reader:
        mails = await by_text(reader, box, (await listing(reader, box)).created)
        seen = await reader.settle(box.folder, owed([mails[LETTERS[0]]], Disposition.SEEN), target)
        moved = await reader.settle(box.folder, owed([mails[LETTERS[1]]], Disposition.MOVE), target)
        final = await reader.commit()
    done = [*seen.committed, *moved.committed, *final]
    assert sorted(done) == (names([mails[LETTERS[0]], mails[LETTERS[1]]]) if box.imap else [])
    assert seen.gone == moved.gone == ()
    assert bool(seen.remarks and moved.remarks) == (not box.imap)
    assert box.texts() == ([LETTERS[0], *LETTERS[2:]] if box.imap else LETTERS)
    if box.imap:
        assert box.marked() == 1


async def test_what_was_moved_is_in_the_other_folder(box: Box) -> None:
    box.fill(*LETTERS)
    target = f"Done{next(_folders)}"
    async with box.reading() as reader:
        created = (await listing(reader, box)).created
        settlement = await reader.settle(box.folder, owed(created, Disposition.MOVE), target)
        remarks = " ".join(settlement.remarks)
        await reader.commit()
    there = box.elsewhere(f"INBOX.{target}" if f"INBOX.{target}" in remarks else target)
    assert there == (LETTERS if box.imap else [])
    assert sorted(there + box.texts()) == LETTERS


async def test_the_conversation_goes_on_after_commit_and_a_wait(box: Box) -> None:
    box.fill(*LETTERS[:2])
    async with box.reading() as reader:
        before = await listing(reader, box)
        await reader.commit()
        box.fill(LETTERS[2])
        await reader.wait(1.0)
        later = await listing(reader, box, before.new_state)
        assert len(set(names(later.created)) - set(names(before.created))) == 1


# --- nothing that can be seen


async def test_a_reader_that_may_change_nothing_leaves_no_trace(real_box: Box, request: pytest.FixtureRequest) -> None:
    real_box.fill(*LETTERS)
    async with real_box.reading(read_only=True) as reader:
        created = (await listing(reader, real_box)).created
        assert len(await fetched(reader, real_box, created)) == 5
        assert [item async for item in reader.fetch_headers(real_box.folder, created)] != []
        assert len([each async for piece in reader.census(real_box.folder) for each in piece]) == 5
        assert list(await reader.commit()) == []
    assert real_box.texts() == LETTERS
    # Courier's POP3 marks what it sends as seen at once, and knows no way to read it without.
    assert real_box.marked() == (5 if "pop3-courier" in request.node.name else 0)
