"""Sending for one account: what is claimed is handed over once, and what became of each recipient is kept."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fakes import START, HandClock, HastyClock, Recorder
from outgoing import SECTION, MemoryServer, Plan, account, handed
from postroom import events
from postroom.drivers import Account
from postroom.drivers.limits import DEFAULT, Limits
from postroom.engine.attempt import Sighting
from postroom.engine.submit import Sender, Sending
from postroom.errors import ConnectError, LoginRefused, Lost, Throttled, TokenRefused
from postroom.model import Health, WorkState
from postroom.outbound import DeliveryStatus, Mark, Outgoing, RecipientState, SubmissionRow
from postroom.settings import InDoubt
from postroom.store import Store
from postroom.store.outbox_rows import Asked

S = RecipientState


@dataclass
class Office:
    """A store with a queue, a server, and the sender between them."""

    directory: Path
    clock: HandClock = field(default_factory=HandClock)
    server: MemoryServer = field(default_factory=MemoryServer)
    observer: Recorder = field(default_factory=Recorder)
    account: Account | None = field(default_factory=account)
    found: bool | None = None  # what a look in Sent comes to
    limits: Limits = DEFAULT

    def __post_init__(self) -> None:
        self.store = self.open()
        self.sender = self.make()

    def open(self) -> Store:
        return Store(self.directory, self.clock, f"file:{self.directory / 'vault.key'}", {})

    def make(self, store: Store | None = None) -> Sender:
        async def look(_account: Account, _outgoing: Outgoing) -> Sighting:
            return Sighting(self.found, "as the test says")

        sending = Sending(
            store or self.store, self.clock, self.observer, self.server.conversation, look, lambda _account: self.limits
        )
        return Sender(SECTION, lambda: self.account, sending)

    async def hand_in(self, count: int, *recipients: str) -> list[str]:
        return [(await self.store.outbox.hand_in(handed(b"%04d" % number, *recipients)))[0].id for number in range(count)]

    async def drain(self) -> None:
        """Send what is due now, by a sender of its own."""
        await asyncio.wait_for(self.make().drain(), 20)

    async def rows(self) -> list[SubmissionRow]:
        return [row async for row in self.store.outbox.pages(Asked())]

    async def states(self) -> dict[str, int]:
        counted: dict[str, int] = {}
        for row in await self.rows():
            counted[row.state.value] = counted.get(row.state.value, 0) + 1
        return counted

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Sender]:
        """The sender at work; whatever fails in it fails the test."""
        task = asyncio.create_task(self.sender.run())
        try:
            yield self.sender
        finally:
            self.sender.end()
            await asyncio.wait_for(task, 20)


async def until(true: Callable[[], bool | Awaitable[bool]]) -> None:
    """Let others work until something holds; a test that waits in vain is ended from outside."""
    loop = asyncio.get_running_loop()
    patience = loop.time() + 30
    while loop.time() < patience:
        answer = true()
        if answer if isinstance(answer, bool) else await answer:
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    made = Office(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
async def hasty(tmp_path: Path) -> AsyncIterator[Office]:
    """An office where time flies while all wait."""
    made = Office(tmp_path, HastyClock())
    yield made
    made.store.close()


async def test_what_is_handed_in_is_sent_once(office: Office) -> None:
    await office.hand_in(50, "a@example.org", "b@example.org")
    await office.drain()
    assert office.server.received() == [b"%04d" % number for number in range(50)]
    assert await office.states() == {"done": 50}
    row = (await office.rows())[0]
    assert [(r.address, r.state, r.code, r.words) for r in row.recipients] == [
        ("a@example.org", S.SENT, 250, "taken"),
        ("b@example.org", S.SENT, 250, "taken"),
    ]
    assert office.observer.counted(events.SENT_TOTAL, client=SECTION, state="sent") == 100


async def test_no_more_conversations_are_open_than_the_pool_allows(office: Office) -> None:
    office.account = account(pool_size=3)
    await office.hand_in(40)
    await office.drain()
    assert (office.server.most, len(office.server.taken)) == (3, 40)


async def test_the_provider_allows_fewer_conversations(office: Office) -> None:
    office.account, office.limits = account(pool_size=8), Limits(connections=2)
    await office.hand_in(40)
    await office.drain()
    assert office.server.most == 2


async def test_each_recipient_has_its_own_fate_and_a_repeat_concerns_the_unfinished_alone(office: Office) -> None:
    refused = {
        "later@example.org": DeliveryStatus("later@example.org", S.PENDING, 450, "4.2.1", "busy"),
        "never@example.org": DeliveryStatus("never@example.org", S.FAILED, 550, "5.1.1", "unknown"),
    }
    office.server.plans[b"0000"] = [Plan(refused=refused)]
    [public_id] = await office.hand_in(1, "now@example.org", "later@example.org", "never@example.org")
    await office.drain()
    row = await office.store.outbox.one(public_id)
    assert [r.state for r in row.recipients] == [S.SENT, S.PENDING, S.FAILED]
    assert (row.state, row.not_before - office.clock.now()) == (WorkState.READY, pytest.approx(60, abs=1))
    assert row.fault == "450 4.2.1 busy"
    office.clock.advance(61)
    await office.drain()
    row = await office.store.outbox.one(public_id)
    assert [taken.recipients for taken in office.server.taken] == [("now@example.org",), ("later@example.org",)]
    assert (row.state, [r.state for r in row.recipients]) == (WorkState.DEAD, [S.SENT, S.SENT, S.FAILED])
    told = [(p.event, p.address, p.words) for p in await office.store.outbox.passages(public_id)]
    assert told == [("deferred", "later@example.org", "450 4.2.1 busy"), ("failed", "never@example.org", "550 5.1.1 unknown")]


@pytest.mark.parametrize(("options", "hours"), [({}, 120), ({"retry_span": 6 * 3600.0}, 6)], ids=["default", "shorter"])
async def test_a_refusal_for_now_is_tried_as_long_as_the_option_says(
    office: Office, options: dict[str, object], hours: float
) -> None:
    office.account = account(**options)
    office.server.plans[b"0000"] = [Plan(answer=(451, "4.3.0", "later"))] * 1000
    [public_id] = await office.hand_in(1)
    waits = []
    while (row := await office.store.outbox.one(public_id)).state is WorkState.READY:
        if row.not_before:
            waits.append(row.not_before - office.clock.now())
            office.clock.advance(waits[-1])
        await office.drain()
    assert row.state is WorkState.DEAD
    assert row.recipients[0].state is S.FAILED
    assert "refused for longer than retry-span" in row.recipients[0].words
    assert hours * 3600 <= office.clock.now() - START < (hours + 1.5) * 3600
    assert waits[:3] == pytest.approx([60, 120, 240], abs=2)
    assert max(waits) == pytest.approx(3600, abs=2)
    assert not office.server.taken


async def test_what_failed_is_replayed(office: Office) -> None:
    office.server.plans[b"0000"] = [Plan(answer=(550, "5.7.1", "no"))]
    [public_id] = await office.hand_in(1)
    await office.drain()
    assert (await office.store.outbox.one(public_id)).state is WorkState.DEAD
    await office.store.outbox.replay(public_id)
    await office.drain()
    row = await office.store.outbox.one(public_id)
    assert (row.state, row.recipients[0].state, office.server.received()) == (WorkState.DONE, S.SENT, [b"0000"])


# --- doubt ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [True, False], ids=["the server has it", "the server has it not"])
async def test_p27_a_lost_answer_is_a_doubt_that_waits_for_a_person(office: Office, taken: bool) -> None:
    office.server.plans[b"0000"] = [Plan(lost=True, taken=taken)]
    [public_id] = await office.hand_in(1)
    await office.drain()
    assert (await office.store.outbox.one(public_id)).recipients[0].state is S.DOUBT
    office.clock.advance(10)
    await office.drain()
    row = await office.store.outbox.one(public_id)
    assert (row.state, row.recipients[0].state) == (WorkState.WAITING, S.DOUBT)
    assert "outbox resolve" in row.fault
    assert len(office.server.taken) == taken
    to = S.SENT if taken else S.PENDING
    await office.store.outbox.resolve(public_id, to)
    await office.drain()
    row = await office.store.outbox.one(public_id)
    assert (row.state, row.recipients[0].state, office.server.received()) == (WorkState.DONE, S.SENT, [b"0000"])


async def test_p27_a_doubt_is_sent_again_where_the_option_says_so(office: Office) -> None:
    office.account = account(in_doubt=InDoubt.RESEND)
    office.server.plans[b"0000"] = [Plan(lost=True)]
    [public_id] = await office.hand_in(1)
    await office.drain()
    office.clock.advance(10)
    await office.drain()
    assert office.server.received() == [b"0000", b"0000"]
    assert [p.event for p in await office.store.outbox.passages(public_id)] == ["doubt", "resent"]


async def test_a_copy_in_sent_settles_a_doubt(office: Office) -> None:
    office.account, office.found = account(in_doubt=InDoubt.RESEND), True
    office.server.plans[b"0000"] = [Plan(lost=True)]
    [public_id] = await office.hand_in(1)
    await office.drain()
    office.clock.advance(10)
    await office.drain()
    row = await office.store.outbox.one(public_id)
    assert (row.state, row.recipients[0].state, office.server.received()) == (WorkState.DONE, S.SENT, [b"0000"])


async def test_a_copy_is_looked_for_as_long_as_servers_take_to_file_it(office: Office) -> None:
    office.account, office.found = account(in_doubt=InDoubt.RESEND), False
    office.server.plans[b"0000"] = [Plan(lost=True, taken=False)]
    [public_id] = await office.hand_in(1)
    await office.drain()
    began = office.clock.now()
    while (await office.store.outbox.one(public_id)).state is WorkState.READY:
        office.clock.advance(max(0, (await office.store.outbox.one(public_id)).not_before - office.clock.now()))
        await office.drain()
    assert office.server.received() == [b"0000"]
    assert 119 <= office.clock.now() - began < 130


async def test_p28_a_process_that_ends_in_the_middle_leaves_a_doubt_and_nothing_is_sent_twice(tmp_path: Path) -> None:
    office = Office(tmp_path)
    reached = asyncio.Event()

    async def for_ever() -> None:
        reached.set()
        await asyncio.Event().wait()

    office.server.gate = for_ever
    [public_id] = await office.hand_in(1)
    task = asyncio.create_task(office.make().drain())
    await reached.wait()
    office.store.close()  # as a kill: nothing is given back or written
    task.cancel()
    office.store, office.server.gate = office.open(), None
    await office.drain()
    row = await office.store.outbox.one(public_id)
    assert (row.recipients[0].state, office.server.taken) == (S.DOUBT, [])
    office.store.close()


async def test_p28_a_doubt_is_seen_and_resolved_while_the_account_is_paused(tmp_path: Path) -> None:
    office = Office(tmp_path)
    [public_id] = await office.hand_in(1)
    [outgoing] = await office.store.outbox.take(SECTION, 1)
    await office.store.outbox.record([Mark(outgoing.work, outgoing.numbers)], [])
    office.store.close()  # as a kill
    office.store = office.open()
    office.sender = office.make()
    office.sender.pause(on=True)  # so nothing is claimed
    async with office.running() as sender:
        await until(lambda: sender.standing.condition.health is Health.PAUSED)
        row = await office.store.outbox.one(public_id)
        assert row.recipients[0].state is S.DOUBT
        row = await office.store.outbox.resolve(public_id, S.SENT)
        assert row.recipients[0].state is S.SENT
    office.store.close()


# --- the account ------------------------------------------------------------------------------------------------------


async def test_p28_a_dead_token_parks_the_account_and_no_mail_fails(office: Office) -> None:
    await office.hand_in(500)
    refused = TokenRefused("the token was revoked", error="invalid_grant")
    async with office.running() as sender:
        await until(lambda: len(office.server.taken) >= 200)
        office.server.login = refused
        for number in range(500):
            office.server.plans[b"%04d" % number] = [Plan(raises=refused)]
        await until(lambda: sender.standing.condition.health is Health.NEEDS_PERSON)
        await until(lambda: sender.standing.parked_for > 0)
        counted = await office.states()
        assert set(counted) <= {"ready", "leased", "done"}
        office.server.login = None
        office.server.plans.clear()
        sender.poke()
        await until(lambda: len(office.server.taken) == 500)
    assert office.server.received() == [b"%04d" % number for number in range(500)]
    assert all(r.attempts <= 1 for r in await office.rows())
    assert await office.states() == {"done": 500}


async def test_a_refusal_that_all_conversations_meet_at_once_is_one(office: Office) -> None:
    office.account = account(pool_size=8)
    await office.hand_in(100)
    office.server.login = LoginRefused("454 4.7.0 Temporary authentication failure")
    async with office.running() as sender:
        await until(lambda: sender.standing.parked_for > 0)
        for _ in range(500):
            await asyncio.sleep(0)
        assert (sender.standing.failures, sender.standing.parked_for) == (1, 5)
        office.server.login = None
        office.clock.advance(6)
        await until(lambda: len(office.server.taken) == 100)


async def test_an_account_that_cannot_connect_harms_no_mail_and_is_tried_less_and_less(hasty: Office) -> None:
    hasty.server.login = ConnectError("smtp.example.org:587: Connection refused")
    await hasty.hand_in(3)
    async with hasty.running() as sender:
        await until(lambda: len(hasty.observer.of(events.PARKED)) >= 4)
        seconds = [float(str(fields["seconds"])) for fields in hasty.observer.of(events.PARKED)]
        assert seconds[:4] == [5, 10, 20, 40]
        assert hasty.server.most == 0
        hasty.server.login = None
        await until(lambda: len(hasty.server.taken) == 3)
        assert sender.standing.condition.health is Health.WORKING
    assert events.RECOVERED in [event for event, _ in hasty.observer.events]


async def test_one_conversation_too_many_is_a_limit_that_is_learned(office: Office) -> None:
    office.account = account(pool_size=6)
    await office.hand_in(60)
    allowed = 2
    conversation = office.server.conversation

    @contextlib.asynccontextmanager
    async def limited(of: Account) -> AsyncIterator[object]:
        if office.server.open >= allowed:
            raise Throttled("432 4.3.2 concurrent connections limit exceeded", limit=None)
        async with conversation(of) as submitter:
            yield submitter

    office.server.conversation = limited  # type: ignore[assignment,method-assign]
    office.sender = office.make()
    await asyncio.wait_for(office.sender.drain(), 20)
    assert (office.server.most, len(office.server.taken)) == (allowed, 60)
    assert office.observer.of(events.LIMIT_LEARNED)
    assert not office.observer.of(events.PARKED)


async def test_a_rate_or_quota_parks_the_account_for_as_long_as_the_server_asks(office: Office) -> None:
    office.account = account(pool_size=4)
    await office.hand_in(40)
    quota = Throttled("550 5.4.5 daily sending quota exceeded", retry_after=3600)
    for number in range(8, 40):
        office.server.plans[b"%04d" % number] = [Plan(raises=quota)]
    async with office.running() as sender:
        await until(lambda: sender.standing.parked_for > 0)
        assert sender.standing.parked_for >= 3600
        assert not office.observer.of(events.LIMIT_LEARNED)
        assert set(await office.states()) <= {"ready", "leased", "done"}
        office.server.plans.clear()
        office.clock.advance(3601)
        await until(lambda: len(office.server.taken) == 40)
    assert office.server.received() == [b"%04d" % number for number in range(40)]


async def test_a_message_that_breaks_every_conversation_holds_up_no_other(hasty: Office) -> None:
    hasty.server.plans[b"0000"] = [Plan(raises=Lost("cut"))] * 1000
    [poison, *_] = await hasty.hand_in(20)
    async with hasty.running():
        await until(lambda: len(hasty.server.taken) == 19)
        row = await hasty.store.outbox.one(poison)
        assert row.recipients[0].state is S.PENDING
    assert hasty.server.received() == [b"%04d" % number for number in range(1, 20)]


async def test_a_defect_of_ours_stops_neither_the_others_nor_the_sender(office: Office) -> None:
    office.server.plans[b"0000"] = [Plan(raises=ZeroDivisionError("ours"))]
    await office.hand_in(5)
    await office.drain()
    assert len(office.server.taken) == 4
    [told] = office.observer.of(events.UNFORESEEN)
    assert "ZeroDivisionError" in str(told["error"])


async def test_it_is_never_sent_faster_than_the_option_says(office: Office) -> None:
    office.account = account(messages_per_minute=30, pool_size=1)
    async with office.running() as sender:
        await until(lambda: sender.standing.condition.health is Health.WORKING)
        office.clock.advance(1000)  # a time without mail is no credit
        await office.hand_in(4)
        sender.tell()
        for count in (1, 2, 3):
            await until(lambda count=count: office.clock.slept.count(2.0) == count)  # type: ignore[misc]
            assert len(office.server.taken) == count
            office.clock.advance(2)
        await until(lambda: len(office.server.taken) == 4)


async def test_a_restart_comes_between_two_messages(office: Office) -> None:
    await office.hand_in(300)
    async with office.running() as sender:
        await until(lambda: len(office.server.taken) >= 50)
        office.account = account(user="other", pool_size=2)
        assert {of.client.user for of in office.server.accounts} == {""}
        sender.restart()
        await until(lambda: len(office.server.taken) == 300)
        assert office.server.accounts[-1].client.user == "other"
    assert office.server.received() == [b"%04d" % number for number in range(300)]
    assert await office.states() == {"done": 300}


async def test_enable_authentication_acts_on_the_next_message_and_open_conversations_retire(office: Office) -> None:
    office.account = account(enable_authentication=True, pool_size=1)
    await office.hand_in(1)
    async with office.running() as sender:
        await until(lambda: len(office.server.taken) == 1)
        assert office.account is not None
        office.account = replace(office.account, client=replace(office.account.client, enable_authentication=False))
        sender.poke()
        await office.store.outbox.hand_in(handed(b"next"))
        sender.tell()
        await until(lambda: len(office.server.taken) == 2)
    assert office.server.logins == [True, False]


async def test_an_idle_conversation_retires_as_soon_as_enable_authentication_changes(office: Office) -> None:
    office.account = account(enable_authentication=True)
    async with office.running() as sender:
        await until(lambda: sender.standing.condition.health is Health.WORKING)
        assert office.server.open == 1
        office.account = account(enable_authentication=False)
        sender.poke()
        await until(lambda: office.server.open == 0)


async def test_p28_a_restart_waits_for_the_message_under_way_as_long_as_it_takes(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postroom.engine.submit._GRACE", 0.0)  # what is under way at an end of everything has no time at all
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        reached.set()
        await go_on.wait()

    office.account, office.server.gate = account(pool_size=1), slowly
    await office.hand_in(2)
    async with office.running() as sender:
        await reached.wait()
        office.account = account(pool_size=1, user="other")
        sender.restart()
        for _ in range(200):
            await asyncio.sleep(0)
        assert (office.server.taken, len(office.server.accounts)) == ([], 1)
        go_on.set()
        await until(lambda: len(office.server.taken) == 2)
        assert [of.client.user for of in office.server.accounts] == ["", "other"]
    assert office.server.received() == [b"0000", b"0001"]
    assert await office.states() == {"done": 2}


async def test_a_restart_does_not_wait_for_the_next_message_that_the_rate_allows(office: Office) -> None:
    office.account = account(messages_per_minute=1)
    await office.hand_in(2)
    async with office.running() as sender:
        await until(lambda: len(office.server.taken) == 1)
        sender.restart()
        await until(lambda: bool(office.observer.of(events.SENDER_RESTARTED)))
    assert office.clock.now() == START
    assert len(office.server.taken) == 1


async def test_an_end_of_everything_is_not_held_up_by_a_restart_that_waits(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("postroom.engine.submit._GRACE", 0.0)
    reached = asyncio.Event()

    async def for_ever() -> None:
        reached.set()
        await asyncio.Event().wait()

    office.server.gate = for_ever
    await office.hand_in(1)
    async with office.running() as sender:
        await reached.wait()
        sender.restart()
        for _ in range(20):
            await asyncio.sleep(0)
    assert office.server.taken == []


async def test_a_paused_account_sends_nothing_until_it_is_resumed(office: Office) -> None:
    async with office.running() as sender:
        sender.pause(on=True)
        await until(lambda: sender.standing.condition.health is Health.PAUSED)
        await office.hand_in(3)
        sender.tell()
        for _ in range(200):
            await asyncio.sleep(0)
        assert not office.server.taken
        sender.pause(on=False)
        await until(lambda: len(office.server.taken) == 3)


async def test_a_conversation_idle_for_long_is_checked_and_for_longer_is_closed(office: Office) -> None:
    office.account = account(pool_size=1, check_idle_time=30, max_idle_time=300)
    async with office.running() as sender:
        for idle, checks, opened in [(0, 1, 1), (31, 2, 1), (10, 2, 1)]:
            office.clock.advance(idle)
            before = len(office.server.taken)
            await office.store.outbox.hand_in(handed(f"after {idle}".encode()))
            sender.tell()
            await until(lambda before=before: len(office.server.taken) == before + 1)  # type: ignore[misc]
            assert (office.server.checks, office.server.opened) == (checks, opened)
        office.clock.advance(301)
        sender.tell()
        await until(lambda: office.server.open == 0)


async def test_a_login_is_proved_before_there_is_mail(office: Office) -> None:
    async with office.running() as sender:
        await until(lambda: sender.standing.condition.health is Health.WORKING)
    assert (office.server.opened, office.server.taken) == (1, [])


async def test_a_submission_is_cancelled_until_the_server_may_have_it(office: Office) -> None:
    ids = await office.hand_in(3)
    row = await office.store.outbox.cancel(ids[1])
    assert (row.state, row.recipients[0].state) == (WorkState.CANCELLED, S.CANCELLED)
    await office.drain()
    assert office.server.received() == [b"0000", b"0002"]


async def test_what_is_to_be_sent_later_waits(office: Office) -> None:
    await office.store.outbox.hand_in(handed(b"later", send_at=START + 3600))
    await office.drain()
    assert not office.server.taken
    office.clock.advance(3601)
    await office.drain()
    assert office.server.received() == [b"later"]


async def test_mail_that_comes_while_a_proof_fails_leaves_once_the_account_may_be_tried_again(office: Office) -> None:
    office.account = account(pool_size=1)
    asked, answer = asyncio.Event(), asyncio.Event()
    conversation = office.server.conversation

    @contextlib.asynccontextmanager
    async def slow(of: Account) -> AsyncIterator[object]:
        asked.set()
        await answer.wait()
        if office.server.login is not None:
            raise office.server.login
        async with conversation(of) as submitter:
            yield submitter

    office.server.login = ConnectError("smtp.example.org:587: Connection refused")
    office.server.conversation = slow  # type: ignore[assignment,method-assign]
    office.sender = office.make()
    async with office.running() as sender:
        await asked.wait()
        await office.hand_in(1)
        sender.tell()

        async def claimed() -> bool:
            return (await office.rows())[0].state is WorkState.LEASED

        await until(claimed)
        answer.set()
        await until(lambda: sender.standing.parked_for > 0)
        office.server.login = None
        office.clock.advance(sender.standing.parked_for + 1)  # and no more: nobody waits for the next look of all
        await until(lambda: len(office.server.taken) == 1)
