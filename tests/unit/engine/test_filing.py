"""Copies of what was sent: each filed once, whatever ends in the middle, and never at the cost of the mail."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import until
from sentbox import Sentbox, mailbox, sender

from fakes import START, HandClock, HastyClock, Recorder, kit
from outgoing import SECTION, MemoryServer, Plan, handed
from postroom import events
from postroom.drivers import Account, Mailbox
from postroom.drivers.limits import DEFAULT
from postroom.engine.filing import Filer
from postroom.engine.sent import Evidence
from postroom.engine.submit import Sender, Sending
from postroom.errors import ConnectError, ImapStatus, Lost, StoreError
from postroom.model import WorkKind, WorkState
from postroom.outbound import Content, DeliveryStatus, RecipientState
from postroom.settings import InDoubt
from postroom.store import Store

S = RecipientState
ID = "<{}@example.org>"


class Registry:
    """A store, a server that mail goes to, a mailbox with Sent, and what works between them."""

    def __init__(self, directory: Path, clock: HandClock) -> None:
        self.directory = directory
        self.clock = clock
        self.observer = Recorder()
        self.server = MemoryServer()
        self.box = Sentbox()
        self.accounts: dict[str, Account] = {SECTION: sender()}
        self.mailbox: Mailbox | None = mailbox()
        self.kit = kit(self.clock)
        self.store = self.open()

    def open(self) -> Store:
        return Store(self.directory, self.clock, f"file:{self.directory / 'vault.key'}", {})

    def mailbox_for(self, _account: Account) -> Mailbox | None:
        return self.mailbox

    def filer(self) -> Filer:
        return Filer(self.store, self.kit, self.observer, self.accounts.get, self.mailbox_for, self.box)

    async def send(self, count: int = 1, *recipients: str) -> list[str]:
        ids = [(await self.store.outbox.hand_in(handed(b"%d" % n, *recipients)))[0].id for n in range(count)]
        await self.deliver()
        return ids

    async def deliver(self) -> None:
        """Send what is due."""
        around = Sending(
            self.store,
            self.clock,
            self.observer,
            self.server.conversation,
            Evidence(self.mailbox_for, self.kit, self.box).look,
            lambda _account: DEFAULT,
            self.filer().wants,
        )
        await asyncio.wait_for(Sender(SECTION, lambda: self.accounts[SECTION], around).drain(), 20)

    async def file(self, seconds: float = 10) -> None:
        """Let time pass, and file what is due."""
        self.clock.advance(seconds)
        await asyncio.wait_for(self.filer().drain(), 20)

    @property
    def copies(self) -> list[str]:
        return sorted(copy for copy, _ in self.box.copies)

    async def waiting(self) -> float | None:
        """In how many seconds the next copy is due."""
        due = await self.store.next_due(WorkKind.FILE, SECTION)
        return None if due is None else due - self.clock.now()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path, HandClock())
    yield registry
    registry.store.close()


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Registry]:
    registry = Registry(tmp_path, HastyClock())
    yield registry
    registry.store.close()


async def test_each_message_that_somebody_has_is_filed_once(registry: Registry) -> None:
    """Some seconds later: a server of which nobody knows it may file one itself."""
    await registry.send(3)
    await registry.file(9)
    assert registry.copies == []
    await registry.file(1)
    await registry.file()
    assert registry.copies == [ID.format(n) for n in range(3)]
    assert registry.box.opened == [("pop-client-a", None)]
    assert {date for _, date in registry.box.copies} == {START}
    assert len(registry.observer.of(events.FILED)) == 3
    assert await registry.waiting() is None


async def test_what_nobody_has_is_not_filed(registry: Registry) -> None:
    for answer in ((450, "4.0.0", "later"), (550, "5.0.0", "no")):
        registry.server.plans[b"0"] = [Plan(answer=answer)]
        await registry.send()
    await registry.file()
    assert (registry.copies, await registry.store.outbox.filings.lanes()) == ([], frozenset())


async def test_recipients_who_get_it_one_after_the_other_have_one_copy(registry: Registry) -> None:
    later = DeliveryStatus("b@example.org", S.PENDING, 450, "4.0.0", "later")
    registry.server.plans[b"0"] = [Plan(refused={"b@example.org": later})]
    await registry.send(1, "a@example.org", "b@example.org")
    await registry.file()
    assert registry.copies == [ID.format(0)]
    registry.clock.advance(60)
    await registry.deliver()
    assert len(registry.server.taken) == 2
    await registry.file()
    assert (registry.copies, registry.box.looked) == ([ID.format(0)], 1)


@pytest.mark.parametrize(
    ("account", "of"),
    [({"copy_in_sent": "no"}, mailbox()), ({"server": "smtp.gmail.com"}, mailbox()), ({}, None), ({}, mailbox(shadow=True))],
    ids=["no", "the server files", "no mailbox", "another system's mailbox"],
)
async def test_no_copy_is_wanted(registry: Registry, account: dict[str, object], of: Mailbox | None) -> None:
    registry.accounts[SECTION], registry.mailbox = sender(**account), of
    await registry.send()
    assert await registry.store.outbox.filings.lanes() == frozenset()


async def test_a_folder_that_nobody_can_reach_is_told_of(registry: Registry) -> None:
    registry.accounts[SECTION], registry.mailbox = sender(copy_in_sent="Gesendet"), None
    await registry.send()
    [remark] = registry.observer.of(events.REMARK)
    assert (remark["client"], remark["folder"]) == (SECTION, "Gesendet")


async def test_the_folder_is_the_options(registry: Registry) -> None:
    registry.accounts[SECTION] = sender(copy_in_sent="Gesendet")
    await registry.send()
    await registry.file()
    assert registry.box.opened == [("pop-client-a", "Gesendet")]


async def test_a_server_that_filed_one_itself_gets_no_second(registry: Registry) -> None:
    registry.box.copies.append((ID.format(0), START + 2))
    await registry.send()
    await registry.file()
    assert registry.copies == [ID.format(0)]


# --- what ends in the middle ------------------------------------------------------------------------------------------


async def test_p27_a_kill_between_filing_and_its_record_leaves_one_copy(registry: Registry) -> None:
    await registry.send()
    reached = asyncio.Event()

    async def for_ever(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    registry.store.outbox.filings.end = for_ever  # type: ignore[method-assign]
    registry.clock.advance(10)
    task = asyncio.create_task(registry.filer().drain())
    await reached.wait()
    registry.store.close()  # as a kill: nothing is given back or written
    task.cancel()
    assert registry.copies == [ID.format(0)]
    registry.store = registry.open()
    await registry.file()
    assert (registry.copies, registry.box.looked, await registry.waiting()) == ([ID.format(0)], 2, None)


async def test_p27_a_lost_answer_to_append_leaves_one_copy(registry: Registry) -> None:
    registry.box.after.append(Lost("gone"))
    await registry.send()
    await registry.file()
    assert await registry.waiting() == 60
    await registry.file(60)
    assert (registry.copies, await registry.waiting()) == ([ID.format(0)], None)


async def test_without_a_message_id_an_attempt_is_not_repeated(registry: Registry) -> None:
    """Nobody could tell whether it succeeded."""
    registry.box.after.append(Lost("gone"))
    whole = handed(b"0")
    nameless = type(whole)(whole.client, type(whole.composed)(whole.composed.envelope, b"0", "", ""))
    public_id = (await registry.store.outbox.hand_in(nameless))[0].id
    await registry.deliver()
    await registry.file()
    await registry.file(60)
    assert (registry.copies, await registry.waiting()) == ([ID.format(0)], None)
    assert registry.observer.of(events.NOT_FILED)[0]["id"] == public_id


# --- what fails -------------------------------------------------------------------------------------------------------


async def test_a_mailbox_that_cannot_be_had_is_tried_for_a_day_and_the_mail_is_not_concerned(registry: Registry) -> None:
    registry.box.opening = [ConnectError("no way") for _ in range(100)]
    [public_id] = await registry.send()
    await registry.file()
    waits = []
    while (seconds := await registry.waiting()) is not None:
        waits.append(seconds)
        await registry.file(seconds)
    assert waits[:8] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert 86_400 <= sum(waits) < 86_400 + 3600
    row = await registry.store.outbox.one(public_id)
    assert (row.state, row.recipients[0].state, len(registry.server.taken)) == (WorkState.DONE, S.SENT, 1)
    assert [(passage.event, passage.words) for passage in await registry.store.outbox.passages(public_id)] == [
        ("not filed", str(ConnectError("no way")))
    ]
    assert registry.observer.of(events.NOT_FILED) == [{"client": SECTION, "id": public_id, "error": str(ConnectError("no way"))}]


async def test_a_refusal_concerns_one_message_alone(registry: Registry) -> None:
    registry.box.before = [ImapStatus("NO [OVERQUOTA] full", status="NO", code="OVERQUOTA")]
    await registry.send(3)
    await registry.file()
    assert (registry.copies, len(registry.box.opened)) == ([ID.format(1), ID.format(2)], 1)
    await registry.file(60)
    assert len(registry.copies) == 3


async def test_what_is_too_big_is_not_tried_again(registry: Registry) -> None:
    """RFC 7889 section 4."""
    registry.box.before = [ImapStatus("NO [TOOBIG] too long", status="NO", code="TOOBIG")]
    await registry.send()
    await registry.file()
    assert (await registry.waiting(), registry.observer.names().count("not_filed")) == (None, 1)


@pytest.mark.parametrize("error", [Lost("gone"), RuntimeError("nobody foresaw it")], ids=["lost", "unforeseen"])
async def test_a_message_that_breaks_the_conversation_holds_up_no_other(registry: Registry, error: Exception) -> None:
    registry.box.before = [error]
    await registry.send(3)
    await registry.file()
    assert (registry.copies, len(registry.box.opened)) == ([ID.format(1), ID.format(2)], 2)
    assert await registry.waiting() == 60


async def test_octets_that_cannot_be_read_concern_one_message_alone(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    await registry.send(2)
    read = registry.store.outbox.contents
    damaged = iter([True])

    def contents(references: list[object]) -> list[Content]:
        if next(damaged, False):
            raise StoreError("the record is damaged")
        return read(references)  # type: ignore[arg-type]

    monkeypatch.setattr(registry.store.outbox, "contents", contents)
    await registry.file()
    assert registry.copies == [ID.format(1)]


async def test_the_option_turned_off_ends_what_waits(registry: Registry) -> None:
    await registry.send()
    registry.accounts[SECTION] = sender(copy_in_sent="no")
    await registry.file()
    assert (registry.copies, await registry.waiting()) == ([], None)


async def test_what_waits_for_a_section_that_is_gone_waits_until_it_is_back(registry: Registry) -> None:
    await registry.send()
    known = registry.accounts.pop(SECTION)
    await registry.file()
    registry.accounts[SECTION] = known
    await registry.file()
    assert registry.copies == [ID.format(0)]


# --- with doubts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_doubt", [InDoubt.HOLD, InDoubt.RESEND])
async def test_p27_a_doubt_is_settled_by_the_copy_of_a_server_that_files(registry: Registry, in_doubt: InDoubt) -> None:
    registry.accounts[SECTION] = sender(server="smtp.gmail.com", in_doubt=in_doubt)
    registry.server.plans[b"0"] = [Plan(lost=True)]
    registry.box.copies.append((ID.format(0), START))
    [public_id] = await registry.send()
    registry.clock.advance(5)
    await registry.deliver()
    row = await registry.store.outbox.one(public_id)
    assert (row.recipients[0].state, len(registry.server.taken)) == (S.SENT, 1)


async def test_p27_our_own_copy_is_no_proof_for_another_recipient(registry: Registry) -> None:
    """One has it and it is filed; of the other's attempt, a minute later, no answer comes."""
    later = DeliveryStatus("b@example.org", S.PENDING, 450, "4.0.0", "later")
    registry.server.plans[b"0"] = [Plan(refused={"b@example.org": later}), Plan(lost=True, taken=False)]
    [public_id] = await registry.send(1, "a@example.org", "b@example.org")
    await registry.file()
    registry.clock.advance(60)
    await registry.deliver()
    registry.clock.advance(5)
    await registry.deliver()
    row = await registry.store.outbox.one(public_id)
    assert (registry.copies, row.state) == ([ID.format(0)], WorkState.WAITING)
    assert {person.address: person.state for person in row.recipients} == {"a@example.org": S.SENT, "b@example.org": S.DOUBT}
    assert "for which recipients" in row.fault


async def test_p27_the_same_message_handed_in_for_another_recipient_is_no_proof(registry: Registry) -> None:
    """Programs that hand a message in once for each recipient: the copy is from the first one's turn."""
    registry.accounts[SECTION] = sender(server="smtp.gmail.com")
    await registry.send(1, "a@example.org")
    registry.box.copies.append((ID.format(0), registry.clock.now()))
    registry.server.plans[b"0"] = [Plan(lost=True, taken=False)]
    [public_id] = await registry.send(1, "b@example.org")
    registry.clock.advance(5)
    await registry.deliver()
    row = await registry.store.outbox.one(public_id)
    assert (row.state, row.recipients[0].state) == (WorkState.WAITING, S.DOUBT)


async def test_what_a_person_says_was_sent_is_filed(registry: Registry) -> None:
    registry.server.plans[b"0"] = [Plan(lost=True)]
    [public_id] = await registry.send()
    registry.mailbox, known = None, registry.mailbox
    registry.clock.advance(5)
    await registry.deliver()
    registry.mailbox = known
    await registry.store.outbox.resolve(public_id, S.SENT)
    await registry.deliver()
    await registry.file()
    assert registry.copies == [ID.format(0)]


# --- for ever ---------------------------------------------------------------------------------------------------------


async def test_it_runs_until_told_to_end_and_does_all_that_is_due_before(hasty: Registry) -> None:
    await hasty.send(2)
    filer = hasty.filer()
    running = asyncio.create_task(filer.run())
    await until(lambda: len(hasty.copies) == 2)
    filer.end()
    await asyncio.wait_for(running, 10)


async def test_it_goes_on_when_the_store_works_again(hasty: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    await hasty.send()
    lanes, broken = hasty.store.outbox.filings.lanes, iter([True])

    async def failing() -> frozenset[str]:
        if next(broken, False):
            raise StoreError("no")
        return await lanes()

    monkeypatch.setattr(hasty.store.outbox.filings, "lanes", failing)
    filer = hasty.filer()
    running = asyncio.create_task(filer.run())
    await until(lambda: bool(hasty.copies))
    filer.end()
    await asyncio.wait_for(running, 10)
    assert hasty.observer.names().count("store_trouble") == 1
