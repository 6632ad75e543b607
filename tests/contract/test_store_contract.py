"""What every store must do, whatever it keeps its rows in: capture once, fence, settle, retry, list."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import itertools
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from fakes import START, HandClock
from postroom.errors import LeaseHeld, LeaseLost, PostroomError, StoreError
from postroom.model import (
    Captured,
    Condition,
    Disposition,
    Facts,
    Health,
    Lease,
    Listed,
    MessageRow,
    Outcome,
    Position,
    Reference,
    Repair,
    TroubleKind,
    Work,
    WorkKind,
    WorkState,
)
from postroom.store import Store


def sqlite(directory: Path, clock: HandClock) -> Store:
    return Store(directory, clock, f"file:{directory / 'vault.key'}", {})


IMPLEMENTATIONS = {"sqlite": sqlite}
KEEP, SEEN, DELETE, MOVE = Disposition.KEEP, Disposition.SEEN, Disposition.DELETE, Disposition.MOVE


class Shelf:
    """One data directory, the processes that use it, and a folder that the first of them reads."""

    def __init__(self, make: Callable[[Path, HandClock], Store], directory: Path) -> None:
        self._make = make
        self.directory = directory
        self.clock = HandClock()
        self.stores: list[Store] = []
        self.store = self.open()
        self.lease = Lease(0, "", 0)

    def open(self) -> Store:
        """Another process."""
        store = self._make(self.directory, self.clock)
        self.stores.append(store)
        return store

    def close(self, store: Store) -> None:
        """A process ends, however it ends: nothing is given back."""
        self.stores.remove(store)
        store.close()

    async def restart(self) -> None:
        """The first process dies and another takes over."""
        self.close(self.store)
        self.store = self.open()
        await self.take()

    async def take(self, folder: str = "INBOX", store: Store | None = None) -> Lease:
        """Read a folder."""
        store = store or self.store
        source = await store.source("IMAP", "mail.example.org", "a@example.org")
        (lease,) = await store.acquire(source, [folder])
        if store is self.store and folder == "INBOX":
            self.lease = lease
        return lease

    async def keep(self, *messages: Captured, lease: Lease | None = None, store: Store | None = None) -> Outcome:
        return await (store or self.store).capture(lease or self.lease, "pop-client-a", messages)

    async def rows(self, **which: object) -> list[MessageRow]:
        chosen = {"client": None, "newest_first": False, "limit": None, **which}
        return [row async for row in self.store.messages(**chosen)]  # type: ignore[arg-type]

    async def texts(self) -> list[bytes]:
        """The octets of every message, in the order of capture, each checked against its digest."""
        texts = []
        for row in await self.rows():
            found = await self.store.message(row.id)
            assert found is not None
            octets = self.store.blobs.read(found[1])
            assert hashlib.sha256(octets).hexdigest() == row.digest
            texts.append(octets)
        return texts


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
async def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = Shelf(IMPLEMENTATIONS[request.param], tmp_path / "data")
    await shelf.take()
    yield shelf
    for store in list(shelf.stores):
        shelf.close(store)


def text(number: int) -> bytes:
    return f"Subject: {number}\r\n\r\nHello {number}\r\n".encode()


def listed(number: int, *, validity: int = 1, octets: bytes | None = None, email_id: str = "", day: int | None = None) -> Listed:
    size = len(text(number) if octets is None else octets)
    return Listed(f"{validity}/{number}", size, f"day {number if day is None else day}", email_id)


def mail(
    store: Store,
    number: int,
    disposition: Disposition = KEEP,
    *,
    octets: bytes | None = None,
    validity: int = 1,
    email_id: str = "",
    day: int | None = None,
) -> Captured:
    """A message that came, with its octets appended."""
    octets = text(number) if octets is None else octets
    as_listed = listed(number, validity=validity, octets=octets, email_id=email_id, day=day)
    return Captured(as_listed, store.blobs.append(octets), disposition)


# --- sources and leases -----------------------------------------------------------------------------------------------


async def test_a_source_is_type_server_and_login(shelf: Shelf) -> None:
    source = shelf.store.source
    first = await source("IMAP", "mail.example.org", "a")
    assert await source("IMAP", "mail.example.org", "a") == first
    assert await source("IMAP", "MAIL.example.ORG", "a") == first
    others = [
        await source("IMAP", "mail.example.org", "A"),
        await source("IMAP", "b", "a"),
        await source("POP3", "mail.example.org", "a"),
    ]
    assert len({first, *others}) == 4
    await shelf.restart()
    assert await shelf.store.source("IMAP", "mail.example.org", "a") == first


async def test_a_folder_of_another_process_is_not_leased(shelf: Shelf) -> None:
    other = shelf.open()
    with pytest.raises(LeaseHeld, match="INBOX") as held:
        await shelf.take(store=other)
    assert shelf.store.holder in str(held.value)
    assert isinstance(await shelf.take("Other", other), Lease)


async def test_all_folders_are_leased_or_none(shelf: Shelf) -> None:
    other = shelf.open()
    with pytest.raises(LeaseHeld):
        await other.acquire(shelf.lease.source, ["Archive", "INBOX"])
    (archive,) = await shelf.store.acquire(shelf.lease.source, ["Archive"])
    await shelf.store.position(archive)


async def test_a_lease_given_back_is_free(shelf: Shelf) -> None:
    await shelf.store.release([shelf.lease])
    other = shelf.open()
    lease = await shelf.take(store=other)
    assert lease.fence > shelf.lease.fence
    await shelf.store.release([shelf.lease])  # long lost: the other keeps its own
    assert await other.position(lease) == Position(1, None)


async def test_a_dead_process_holds_nothing(shelf: Shelf) -> None:
    """At once, without waiting for any time to pass."""
    other = shelf.open()
    shelf.close(shelf.store)
    shelf.store = other
    former = shelf.lease
    lease = await shelf.take()
    assert lease.fence > former.fence


async def test_the_living_keep_a_lease_for_as_long_as_they_live(shelf: Shelf) -> None:
    other = shelf.open()
    shelf.clock.advance(3600)
    await shelf.store.renew()
    with pytest.raises(LeaseHeld):
        await shelf.take(store=other)


async def test_leasing_anew_in_one_process_ends_the_former_lease(shelf: Shelf) -> None:
    """Two sections may name one mailbox, or a section may begin anew: the older lease writes nothing any more."""
    former = shelf.lease
    await shelf.take()
    with pytest.raises(LeaseLost):
        await shelf.keep(mail(shelf.store, 1), lease=former)
    assert (await shelf.keep(mail(shelf.store, 1))).messages == 1


FENCED: dict[str, Callable[[Store, Lease], Awaitable[object]]] = {
    "position": lambda s, lease: s.position(lease),
    "advance": lambda s, lease: s.advance(lease, "late", read_whole=True),
    "begin": lambda s, lease: s.begin(lease, "late", "all", 1),
    "progress": lambda s, lease: s.progress(lease, 1, 1.0, ended=False),
    "rebirth": lambda s, lease: s.rebirth(lease, "late"),
    "nameless": lambda s, lease: s.nameless(lease, [listed(1)]),
    "meet": lambda s, lease: s.meet(lease, [listed(1)], {}),
    "spare": lambda s, lease: s.spare(lease, [listed(9)], {}),
    "unknown": lambda s, lease: s.unknown(lease, [listed(1)]),
    "capture": lambda s, lease: s.capture(lease, "late", [mail(s, 9)]),
    "unsettled": lambda s, lease: s.unsettled(lease, 10),
    "settled": lambda s, lease: s.settled(lease, ["1/1"]),
    "gone": lambda s, lease: s.gone(lease, ["1/1"]),
    "trouble": lambda s, lease: s.trouble(lease, listed(9), TroubleKind.FAULT, "late", 0),
    "troubles": lambda s, lease: s.troubles(lease),
    "confirmed_absent": lambda s, lease: s.confirmed_absent(lease, ["1/2"]),
}


def test_every_verb_with_a_lease_is_fenced_below() -> None:
    verbs = inspect.getmembers(Store, inspect.isfunction)
    assert {name for name, verb in verbs if "lease" in inspect.signature(verb).parameters} == set(FENCED)


@pytest.mark.parametrize("verb", sorted(FENCED))
async def test_an_old_fence_writes_nothing(shelf: Shelf, verb: str) -> None:
    await shelf.keep(mail(shelf.store, 1, SEEN))
    await shelf.store.trouble(shelf.lease, listed(2), TroubleKind.FAULT, "no", 0)
    await shelf.store.advance(shelf.lease, "state")
    other = shelf.open()
    former, late = shelf.lease, shelf.store
    await late.release([former])
    lease = await shelf.take(store=other)
    with pytest.raises(LeaseLost):
        await FENCED[verb](late, former)
    assert await other.position(lease) == Position(1, "state")
    assert [item.listed for item in await other.unsettled(lease, 10)] == [listed(1)]
    assert [(t.listed, t.attempts) for t in await other.troubles(lease)] == [(listed(2), 1)]
    assert len(await shelf.rows()) == 1


# --- capture ----------------------------------------------------------------------------------------------------------


async def test_a_batch_is_kept(shelf: Shelf) -> None:
    assert await shelf.keep(*(mail(shelf.store, n) for n in (1, 2, 3))) == Outcome(3, 0, 0)
    rows = await shelf.rows()
    assert [(r.identifier, r.client, r.folder, r.size, r.received) for r in rows] == [
        (f"1/{n}", "pop-client-a", "INBOX", len(text(n)), START) for n in (1, 2, 3)
    ]
    assert await shelf.texts() == [text(1), text(2), text(3)]
    assert len({row.id for row in rows}) == 3
    assert len(await shelf.store.claim(WorkKind.PROCESS, 10)) == 3


async def test_an_empty_batch_is_nothing(shelf: Shelf) -> None:
    assert await shelf.keep() == Outcome(0, 0, 0)


async def test_p17_the_same_batch_again_is_nothing(shelf: Shelf) -> None:
    batch = [mail(shelf.store, n) for n in (1, 2)]
    await shelf.keep(*batch)
    before = await shelf.rows()
    assert await shelf.keep(*batch) == Outcome(0, 0, 2)
    await shelf.restart()
    assert await shelf.keep(*(mail(shelf.store, n) for n in (1, 2))) == Outcome(0, 0, 2)
    assert await shelf.rows() == before
    assert await shelf.texts() == [text(1), text(2)]
    assert len(await shelf.store.claim(WorkKind.PROCESS, 10)) == 2


async def test_overlapping_batches_are_kept_once(shelf: Shelf) -> None:
    await shelf.keep(*(mail(shelf.store, n) for n in (1, 2, 3)))
    assert await shelf.keep(*(mail(shelf.store, n) for n in (2, 3, 4, 5))) == Outcome(2, 0, 2)
    assert await shelf.texts() == [text(n) for n in (1, 2, 3, 4, 5)]
    assert len(await shelf.store.claim(WorkKind.PROCESS, 10)) == 5


async def test_batches_at_once_are_kept_once(shelf: Shelf) -> None:
    chance = random.Random(1)
    batches = [[mail(shelf.store, n) for n in chance.sample(range(1, 60), 20)] for _ in range(20)]
    outcomes = await asyncio.gather(*(shelf.keep(*batch) for batch in batches))
    kept = {captured.listed.identifier for batch in batches for captured in batch}
    assert sum(outcome.messages for outcome in outcomes) == len(kept)
    assert sorted(row.identifier for row in await shelf.rows()) == sorted(kept)
    assert len(await shelf.store.claim(WorkKind.PROCESS, 100)) == len(kept)


async def test_one_identifier_in_two_folders_is_two_messages(shelf: Shelf) -> None:
    other = await shelf.take("Other")
    await shelf.keep(mail(shelf.store, 1))
    assert (await shelf.keep(mail(shelf.store, 1, octets=b"another"), lease=other)).messages == 1
    assert await shelf.texts() == [text(1), b"another"]


async def test_a_renamed_section_knows_what_it_had(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1))
    outcome = await shelf.store.capture(shelf.lease, "pop-client-new-name", [mail(shelf.store, 1), mail(shelf.store, 2)])
    assert outcome == Outcome(1, 0, 1)
    assert [row.client for row in await shelf.rows()] == ["pop-client-a", "pop-client-new-name"]


async def test_what_is_known_is_told(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1))
    await shelf.store.trouble(shelf.lease, listed(2), TroubleKind.FAULT, "no", 0)
    assert await shelf.store.unknown(shelf.lease, [listed(1), listed(2), listed(3)]) == ([listed(3)], [])
    assert await shelf.store.unknown(shelf.lease, []) == ([], [])
    other = await shelf.take("Other")
    assert await shelf.store.unknown(other, [listed(1)]) == ([listed(1)], [])


async def test_another_message_under_a_known_identifier_is_told(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1), mail(shelf.store, 2))
    another_size, another_date = listed(1)._replace(size=1), listed(2)._replace(internal_date="later")
    wanted = [another_size, another_date, listed(3)]
    assert await shelf.store.unknown(shelf.lease, wanted) == ([listed(3)], [another_size, another_date])


async def test_names_of_any_characters_are_kept(shelf: Shelf) -> None:
    lease = await shelf.take("Entwürfe/„ä“ \"' \\ [x]")
    odd = Listed("1/\"'\\ü\u2028", 3, "1-Jan-2024 \"'", "M\"'ü")
    captured = Captured(odd, shelf.store.blobs.append(b"abc"), DELETE)
    assert (await shelf.keep(captured, lease=lease)).messages == 1
    assert [item.listed for item in await shelf.store.unsettled(lease, 1)] == [odd]
    await shelf.store.settled(lease, [odd.identifier])
    assert await shelf.store.unsettled(lease, 1) == []


async def test_octets_of_any_kind_and_length_are_kept(shelf: Shelf) -> None:
    bodies = [b"", b"\0", bytes(range(256)) * 5, b"\r\n.\r\n", b"x" * 3_000_000]
    await shelf.keep(*(mail(shelf.store, n, octets=body) for n, body in enumerate(bodies, 1)))
    await shelf.restart()
    assert await shelf.texts() == bodies


# --- troubles ---------------------------------------------------------------------------------------------------------


async def test_a_trouble_is_kept_until_the_message_is_had(shelf: Shelf) -> None:
    await shelf.store.trouble(shelf.lease, listed(1), TroubleKind.FAULT, "NO", START + 5)
    shelf.clock.advance(10)
    await shelf.store.trouble(shelf.lease, listed(1), TroubleKind.ABSENT, "not there", START + 50)
    (trouble,) = await shelf.store.troubles(shelf.lease)
    assert trouble.listed == listed(1)
    assert (trouble.kind, trouble.detail, trouble.attempts) == (TroubleKind.ABSENT, "not there", 2)
    assert (trouble.first_seen, trouble.not_before) == (START, START + 50)
    ((login, folder, same),) = await shelf.store.troubles_of()
    assert (login, folder, same) == ("a@example.org", "INBOX", trouble)
    assert (await shelf.keep(mail(shelf.store, 1), mail(shelf.store, 2))).messages == 2
    assert await shelf.store.troubles(shelf.lease) == []


async def test_a_message_confirmed_absent_is_forgotten(shelf: Shelf) -> None:
    for number in (1, 2):
        await shelf.store.trouble(shelf.lease, listed(number), TroubleKind.ABSENT, "not there", 0)
    await shelf.store.confirmed_absent(shelf.lease, ["1/1", "1/99"])
    assert [t.listed for t in await shelf.store.troubles(shelf.lease)] == [listed(2)]
    assert await shelf.store.unknown(shelf.lease, [listed(1), listed(2)]) == ([listed(1)], [])


async def test_troubles_belong_to_their_folder(shelf: Shelf) -> None:
    other = await shelf.take("Other")
    await shelf.store.trouble(shelf.lease, listed(1), TroubleKind.FAULT, "no", 0)
    assert await shelf.store.troubles(other) == []
    await shelf.store.confirmed_absent(other, ["1/1"])
    assert len(await shelf.store.troubles(shelf.lease)) == 1


# --- settling ---------------------------------------------------------------------------------------------------------


async def test_what_is_to_be_settled_is_told_until_it_is(shelf: Shelf) -> None:
    kinds = {1: SEEN, 2: KEEP, 3: DELETE, 4: MOVE, 5: DELETE}
    await shelf.keep(*(mail(shelf.store, n, kind) for n, kind in kinds.items()))

    async def open_() -> list[tuple[str, Disposition]]:
        return [(item.listed.identifier, item.disposition) for item in await shelf.store.unsettled(shelf.lease, 100)]

    assert await open_() == [("1/1", SEEN), ("1/3", DELETE), ("1/4", MOVE), ("1/5", DELETE)]
    assert len(await shelf.store.unsettled(shelf.lease, 2)) == 2
    await shelf.store.settled(shelf.lease, ["1/1", "1/4", "1/99"])
    await shelf.store.settled(shelf.lease, ["1/1"])
    await shelf.store.gone(shelf.lease, ["1/3"])
    assert await open_() == [("1/5", DELETE)]
    await shelf.restart()
    assert await open_() == [("1/5", DELETE)]
    assert len(await shelf.rows()) == 5  # what is settled or gone at the server stays here


async def test_a_disposition_is_decided_once(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1, KEEP))
    await shelf.keep(mail(shelf.store, 1, DELETE))
    assert await shelf.store.unsettled(shelf.lease, 10) == []


async def test_other_folders_and_former_epochs_are_not_settled(shelf: Shelf) -> None:
    other = await shelf.take("Other")
    await shelf.keep(mail(shelf.store, 1, DELETE))
    assert await shelf.store.unsettled(other, 10) == []
    await shelf.store.rebirth(shelf.lease, "anew")
    assert await shelf.store.unsettled(shelf.lease, 10) == []


# --- states and rebirths ----------------------------------------------------------------------------------------------


async def test_a_state_moves(shelf: Shelf) -> None:
    assert await shelf.store.position(shelf.lease) == Position(1, None)
    assert await shelf.store.advance(shelf.lease, "one", read_whole=True) is None
    await shelf.store.advance(shelf.lease, "two")
    await shelf.restart()
    assert await shelf.store.position(shelf.lease) == Position(1, "two")


async def reborn(shelf: Shelf, *messages: Captured) -> None:
    """Capture messages in an epoch that then ends."""
    await shelf.keep(*messages)
    await shelf.store.advance(shelf.lease, "before", read_whole=True)
    await shelf.store.rebirth(shelf.lease, "anew")


async def test_after_a_rebirth_messages_are_met_again_by_their_octets(shelf: Shelf) -> None:
    await reborn(shelf, *(mail(shelf.store, n) for n in (1, 2, 3)))
    assert await shelf.store.position(shelf.lease) == Position(2, None, repairing=True)
    assert await shelf.store.unknown(shelf.lease, [listed(1)]) == ([listed(1)], [])
    again = [mail(shelf.store, n + 10, octets=text(n), validity=2, day=n) for n in (1, 2)]
    assert await shelf.keep(*again, mail(shelf.store, 14, validity=2)) == Outcome(1, 2, 0)
    assert await shelf.keep(*again) == Outcome(0, 0, 2)
    assert await shelf.texts() == [text(1), text(2), text(3), text(14)]
    assert await shelf.store.advance(shelf.lease, "after") is None
    repair = await shelf.store.advance(shelf.lease, "after", read_whole=True)
    # the third was not met again
    assert repair == Repair("anew", START, matched=2, compared=2, fresh=1, vanished=1, ended_at=START)
    assert await shelf.store.advance(shelf.lease, "after", read_whole=True) is None
    assert [row.repair for row in await shelf.store.folders()] == [repair]


async def test_identical_twins_are_two(shelf: Shelf) -> None:
    twin = b"the same"
    await reborn(shelf, mail(shelf.store, 1, octets=twin), mail(shelf.store, 2, octets=twin))
    again = [mail(shelf.store, n, octets=twin, validity=2) for n in (1, 2, 3)]
    assert await shelf.keep(*again) == Outcome(1, 2, 0)
    assert await shelf.texts() == [twin, twin, twin]


async def test_twins_in_two_batches_are_two(shelf: Shelf) -> None:
    twin = b"the same"
    await reborn(shelf, mail(shelf.store, 1, octets=twin), mail(shelf.store, 2, octets=twin))
    outcomes = [await shelf.keep(mail(shelf.store, n, octets=twin, validity=2)) for n in (1, 2, 3)]
    assert [outcome.matched for outcome in outcomes] == [1, 1, 0]


async def test_a_message_known_as_gone_is_not_met_again(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1, DELETE))
    await shelf.store.gone(shelf.lease, ["1/1"])
    await shelf.store.rebirth(shelf.lease, "anew")
    assert await shelf.keep(mail(shelf.store, 1, validity=2)) == Outcome(1, 0, 0)


async def test_what_we_removed_is_met_only_with_its_own_date(shelf: Shelf) -> None:
    """The same octets with a later date are new mail: the old one is no longer at the server."""
    await shelf.keep(mail(shelf.store, 1, DELETE))
    await shelf.store.settled(shelf.lease, ["1/1"])
    await shelf.store.rebirth(shelf.lease, "anew")
    assert await shelf.keep(mail(shelf.store, 5, octets=text(1), validity=2, day=7)) == Outcome(1, 0, 0)
    assert await shelf.keep(mail(shelf.store, 6, octets=text(1), validity=2, day=1)) == Outcome(0, 1, 0)


async def test_a_rebirth_before_all_was_met_again_loses_nothing(shelf: Shelf) -> None:
    await reborn(shelf, *(mail(shelf.store, n) for n in (1, 2, 3)))
    await shelf.keep(mail(shelf.store, 1, validity=2))
    assert await shelf.store.rebirth(shelf.lease, "anew") == 3
    assert await shelf.keep(*(mail(shelf.store, n, validity=3) for n in (1, 2, 3))) == Outcome(0, 3, 0)
    assert len(await shelf.rows()) == 3


async def test_a_rebirth_ends_the_troubles_of_its_epoch(shelf: Shelf) -> None:
    await shelf.store.trouble(shelf.lease, listed(1), TroubleKind.FAULT, "no", 0)
    await shelf.store.rebirth(shelf.lease, "anew")
    assert await shelf.store.troubles(shelf.lease) == []


async def test_other_folders_are_not_reborn(shelf: Shelf) -> None:
    other = await shelf.take("Other")
    await shelf.keep(mail(shelf.store, 1), lease=other)
    await shelf.store.rebirth(shelf.lease, "anew")
    assert await shelf.store.position(other) == Position(1, None)
    assert await shelf.keep(mail(shelf.store, 1), lease=other) == Outcome(0, 0, 1)
    assert await shelf.keep(mail(shelf.store, 1)) == Outcome(1, 0, 0)


async def test_a_matched_message_is_settled_under_its_new_identity_as_was_decided_when_it_was_captured(shelf: Shelf) -> None:
    await reborn(shelf, mail(shelf.store, 1, SEEN), mail(shelf.store, 2))
    again = (mail(shelf.store, 8, octets=text(1), validity=2, day=1), mail(shelf.store, 9, SEEN, octets=text(2), validity=2, day=2))
    await shelf.keep(*again)
    assert [item.listed.identifier for item in await shelf.store.unsettled(shelf.lease, 9)] == ["2/8"]


async def test_p20_the_same_mail_in_a_second_folder_is_one_message(shelf: Shelf) -> None:
    other = await shelf.take("All Mail")
    await shelf.keep(mail(shelf.store, 1, email_id="M1"), mail(shelf.store, 2))
    assert await shelf.keep(mail(shelf.store, 7, octets=text(1), email_id="M1"), lease=other) == Outcome(0, 1, 0)
    assert await shelf.keep(mail(shelf.store, 8, octets=text(2)), lease=other) == Outcome(1, 0, 0)  # equal, and no identity
    assert await shelf.keep(mail(shelf.store, 9, octets=b"other", email_id="M1"), lease=other) == Outcome(1, 0, 0)
    assert await shelf.store.unknown(other, [listed(7, octets=text(1))]) == ([], [])
    assert len(await shelf.store.claim(WorkKind.PROCESS, 10)) == 4


async def test_p20_an_identity_of_another_source_is_another_mail(shelf: Shelf) -> None:
    source = await shelf.store.source("IMAP", "mail.example.org", "b@example.org")
    (lease,) = await shelf.store.acquire(source, ["INBOX"])
    await shelf.keep(mail(shelf.store, 1, email_id="M1"))
    assert await shelf.keep(mail(shelf.store, 1, email_id="M1"), lease=lease) == Outcome(1, 0, 0)


# --- work -------------------------------------------------------------------------------------------------------------


async def test_work_is_claimed_once_in_its_order(shelf: Shelf) -> None:
    await shelf.keep(*(mail(shelf.store, n) for n in (1, 2, 3)))
    other = shelf.open()
    first = await shelf.store.claim(WorkKind.PROCESS, 2)
    rest = await other.claim(WorkKind.PROCESS, 10)
    assert [piece.attempts for piece in first + rest] == [1, 1, 1]
    references = await shelf.store.references([piece.subject for piece in first + rest])
    assert [shelf.store.blobs.read(references[p.subject]) for p in first + rest] == [text(1), text(2), text(3)]
    assert await other.claim(WorkKind.PROCESS, 10) == []


async def test_facts_come_with_the_end_of_the_work(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1), mail(shelf.store, 2))
    pieces = await shelf.store.claim(WorkKind.PROCESS, 10)
    facts = [Facts("Subject \"ü'", "a@b", "today", "<1@x>", ""), Facts(fault="unreadable")]
    await shelf.store.finish_process(list(zip(pieces, facts, strict=True)))
    assert [row.facts for row in await shelf.rows()] == facts
    counts = (await shelf.store.counts())["pop-client-a"]
    assert (counts.messages, counts.octets, counts.open_work, counts.last_received) == (2, len(text(1)) * 2, 0, START)
    assert await shelf.store.next_due(WorkKind.PROCESS) is None


async def test_deferred_work_is_due_later(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1))
    (piece,) = await shelf.store.claim(WorkKind.PROCESS, 1)
    await shelf.store.defer(piece, WorkState.READY, START + 60, START, "boom")
    assert await shelf.store.next_due(WorkKind.PROCESS) == START + 60
    assert await shelf.store.claim(WorkKind.PROCESS, 1) == []
    shelf.clock.advance(60)
    (again,) = await shelf.store.claim(WorkKind.PROCESS, 1)
    assert (again.id, again.attempts, again.first_failed_at) == (piece.id, 2, START)
    assert again.token > piece.token


async def test_an_outdated_claim_finishes_nothing(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1))
    (piece,) = await shelf.store.claim(WorkKind.PROCESS, 1)
    late = shelf.store
    other = shelf.open()
    shelf.close(late)
    shelf.store = other
    assert await other.reclaim(WorkKind.PROCESS) == 1
    (again,) = await other.claim(WorkKind.PROCESS, 1)
    await other.finish_process([(piece, Facts(subject="late"))])
    with pytest.raises(StoreError):
        await other.defer(piece, WorkState.DEAD, 0, 0, "late")
    assert (await shelf.rows())[0].facts == Facts()
    await other.finish_process([(again, Facts(subject="right"))])
    assert (await shelf.rows())[0].facts == Facts(subject="right")


async def test_work_given_back_is_not_moved_by_its_former_holder(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1))
    (piece,) = await shelf.store.claim(WorkKind.PROCESS, 1)
    await shelf.store.defer(piece, WorkState.READY, 0, START, "first")
    with pytest.raises(StoreError):
        await shelf.store.defer(piece, WorkState.DEAD, 0, START, "second")
    assert len(await shelf.store.claim(WorkKind.PROCESS, 1)) == 1


async def test_finished_work_is_not_begun_again(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1))
    (piece,) = await shelf.store.claim(WorkKind.PROCESS, 1)
    await shelf.store.finish_process([(piece, Facts(subject="done"))])
    with pytest.raises(StoreError):
        await shelf.store.defer(piece, WorkState.READY, 0, START, "too late")
    assert await shelf.store.claim(WorkKind.PROCESS, 1) == []


async def test_the_work_of_the_living_is_not_reclaimed(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1))
    await shelf.store.claim(WorkKind.PROCESS, 1)
    other = shelf.open()
    assert await other.reclaim(WorkKind.PROCESS, own=True) == 0
    assert await shelf.store.reclaim(WorkKind.PROCESS) == 0
    assert await shelf.store.reclaim(WorkKind.PROCESS, own=True) == 1
    assert len(await other.claim(WorkKind.PROCESS, 1)) == 1


async def test_facts_of_one_piece_do_not_touch_another(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1), mail(shelf.store, 2))
    first, second = await shelf.store.claim(WorkKind.PROCESS, 2)
    await shelf.store.defer(second, WorkState.READY, 0, START, "later")
    done: list[tuple[Work, Facts]] = [(first, Facts(subject="one")), (second, Facts(subject="two"))]
    await shelf.store.finish_process(done)
    assert [row.facts.subject for row in await shelf.rows()] == ["one", ""]
    assert len(await shelf.store.claim(WorkKind.PROCESS, 2)) == 1


# --- lists and conditions ---------------------------------------------------------------------------------------------


async def test_messages_are_listed_in_pages(shelf: Shelf) -> None:
    count = 2100
    await shelf.keep(*(mail(shelf.store, n) for n in range(1, count + 1)))
    await shelf.store.capture(shelf.lease, "pop-client-b", [mail(shelf.store, count + 1)])
    names = [f"1/{n}" for n in range(1, count + 2)]
    assert [row.identifier for row in await shelf.rows()] == names
    assert [row.identifier for row in await shelf.rows(newest_first=True)] == names[::-1]
    for limit in (0, 1, 999, 1000, 1001, 2000, 5000):
        assert [row.identifier for row in await shelf.rows(limit=limit)] == names[:limit]
    assert [row.identifier for row in await shelf.rows(client="pop-client-b")] == [names[-1]]
    assert await shelf.rows(client="pop-client-none") == []


async def test_messages_that_come_while_they_are_listed_follow(shelf: Shelf) -> None:
    await shelf.keep(*(mail(shelf.store, n) for n in range(1, 1001)))
    seen = []
    async for row in shelf.store.messages(client=None, newest_first=False, limit=None):
        seen.append(row.identifier)
        if len(seen) == 1:
            await shelf.keep(mail(shelf.store, 1001))
    assert len(seen) == len(set(seen)) == 1001


async def test_a_message_is_found_by_the_beginning_of_its_id(shelf: Shelf) -> None:
    await shelf.keep(mail(shelf.store, 1))
    shelf.clock.advance(1000)
    await shelf.keep(mail(shelf.store, 2))
    for row in await shelf.rows():
        for part in (row.id, row.id.upper(), row.id[:13]):
            found = await shelf.store.message(part)
            assert found is not None
            assert found[0] == row
    assert await shelf.store.message((await shelf.rows())[0].id[:3]) is None  # both begin so
    assert await shelf.store.message("ffff") is None
    assert await shelf.store.message("") is None


async def test_public_ids_grow_with_time(shelf: Shelf) -> None:
    for number in range(1, 4):
        await shelf.keep(*(mail(shelf.store, 10 * number + n) for n in range(5)))
        shelf.clock.advance(1)
    ids = [row.id for row in await shelf.rows()]
    assert ids == sorted(ids)
    assert all(len(i) == 36 and i[14] == "7" and i[19] in "89ab" for i in ids)


async def test_a_condition_keeps_its_last_proof(shelf: Shelf) -> None:
    await shelf.store.report(Condition("a", Health.WORKING, proved_at=START))
    await shelf.store.report(Condition("a", Health.RETRYING, None, "lost", "wait", START + 5))
    await shelf.store.report(Condition("b", Health.DISABLED))
    await shelf.restart()
    assert await shelf.store.conditions() == {
        "a": Condition("a", Health.RETRYING, START, "lost", "wait", START + 5),
        "b": Condition("b", Health.DISABLED),
    }


# --- together or not at all -------------------------------------------------------------------------------------------


async def test_one_failing_job_spoils_only_its_own(shelf: Shelf) -> None:
    other = await shelf.take("Other")
    stale = Lease(shelf.lease.source, "INBOX", shelf.lease.fence - 1)
    outcomes = await asyncio.gather(
        shelf.keep(mail(shelf.store, 1)),
        shelf.keep(mail(shelf.store, 2), lease=stale),
        shelf.keep(mail(shelf.store, 3), lease=other),
        shelf.store.advance(stale, "late"),
        shelf.store.advance(other, "right"),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [Outcome, LeaseLost, Outcome, LeaseLost, type(None)]
    assert await shelf.texts() == [text(1), text(3)]
    assert (await shelf.store.position(other)).state == "right"


async def test_a_job_whose_caller_went_is_done_all_the_same(shelf: Shelf) -> None:
    keeping = asyncio.create_task(shelf.keep(mail(shelf.store, 1)))
    await asyncio.sleep(0)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert await shelf.keep(mail(shelf.store, 1)) == Outcome(0, 0, 1)


async def test_a_reference_to_nothing_keeps_nothing_else(shelf: Shelf) -> None:
    """A fault in the middle of a batch: neither receipts nor messages nor work of it remain."""
    good = mail(shelf.store, 1)
    bad = Captured(Listed("1/2", 1, None, ""), good.reference, KEEP)  # type: ignore[arg-type]
    with pytest.raises(PostroomError):
        await shelf.keep(good, bad)
    assert await shelf.rows() == []
    assert await shelf.store.unknown(shelf.lease, [listed(1)]) == ([listed(1)], [])
    assert await shelf.store.claim(WorkKind.PROCESS, 9) == []
    assert (await shelf.keep(good)).messages == 1


CHILD = """
import asyncio, random, sys
from pathlib import Path
from postroom.clock import SystemClock
from postroom.model import Captured, Disposition, Listed
from postroom.store import Store

async def main(directory, folder, seed, count):
    store = Store(Path(directory), SystemClock(), f"file:{directory}/vault.key", {})
    source = await store.source("IMAP", "mail.example.org", "a@example.org")
    (lease,) = await store.acquire(source, [folder])
    chance = random.Random(seed)
    while True:
        batch = []
        for number in chance.sample(range(1, count + 1), 25):
            octets = f"{folder} {number} ".encode() * number
            batch.append(Captured(Listed(f"1/{number}", len(octets), "day"), store.blobs.append(octets), Disposition.KEEP))
        await store.capture(lease, folder, batch)
        print(*(captured.listed.identifier for captured in batch), flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
"""


async def test_processes_that_are_killed_while_they_write_leave_whole_messages(shelf: Shelf) -> None:
    """Two at once, killed at some instant: all that they were told is kept is here, each once, with its octets and work."""
    promised: dict[str, set[str]] = {}
    for number in range(4):
        children = {
            folder: subprocess.Popen(
                [sys.executable, "-c", CHILD, str(shelf.directory), folder, str(number), "120"], stdout=subprocess.PIPE, text=True
            )
            for folder in ("Left", "Right")
        }
        for folder, child in children.items():
            assert child.stdout is not None
            for _ in range(number + 1):
                promised.setdefault(folder, set()).update(child.stdout.readline().split())
        for folder, child in children.items():
            child.kill()
            lines, _ = child.communicate()
            promised[folder].update(
                word for line in lines.splitlines(keepends=True) if line.endswith("\n") for word in line.split()
            )
    rows = await shelf.rows()
    for folder, told in promised.items():
        names = [row.identifier for row in rows if row.folder == folder]
        assert len(names) == len(set(names))
        assert told <= set(names)
    texts = await shelf.texts()
    for row, octets in zip(rows, texts, strict=True):
        number = int(row.identifier.partition("/")[2])
        assert octets == f"{row.folder} {number} ".encode() * number
    assert len(await shelf.store.claim(WorkKind.PROCESS, 1000)) == len(rows)
    assert await shelf.store.acquire(shelf.lease.source, ["Left", "Right"])


async def test_references_of_two_processes_do_not_overlap(shelf: Shelf) -> None:
    other = shelf.open()
    lease = await shelf.take("Other", other)
    for number in range(1, 20):
        await shelf.keep(mail(shelf.store, number))
        await shelf.keep(mail(other, number, octets=b"other %d" % number), lease=lease, store=other)
    taken: list[tuple[int, int, int]] = []
    for row in await shelf.rows():
        found = await shelf.store.message(row.id)
        assert found is not None
        reference: Reference = found[1]
        assert reference.length == row.size
        taken.append((reference.segment, reference.offset, reference.length))
    taken.sort()
    for (segment, offset, length), (next_segment, next_offset, _) in itertools.pairwise(taken):
        assert segment != next_segment or offset + length <= next_offset
    assert len(await shelf.texts()) == 38
