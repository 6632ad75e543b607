"""What every store must do with what is sent: nothing lost, no move outside the tables, no mark for an outdated claim."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fakes import HandClock
from outgoing import SECTION, handed
from postroom.errors import KeyReused, NotFound, StateRefused
from postroom.model import WORK_MOVES, WorkKind, WorkState
from postroom.outbound import RECIPIENT_MOVES, DeliveryStatus, Mark, Outgoing, Passed, RecipientState, SubmissionRow
from postroom.store import Store
from postroom.store.outbox_rows import Asked

S, W = RecipientState, WorkState


class Desk:
    """A data directory and its living processes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = HandClock()
        self.store = self.open()

    def open(self) -> Store:
        return Store(self.directory, self.clock, f"file:{self.directory / 'vault.key'}", {})

    async def take(self) -> Outgoing:
        [outgoing] = await self.store.outbox.take(SECTION, 1)
        return outgoing

    async def one(self, public_id: str) -> SubmissionRow:
        return await self.store.outbox.one(public_id)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.store.close()


def passed(outgoing: Outgoing, state: S, work: W = W.DONE, words: str = "said") -> Passed:
    statuses = [DeliveryStatus(known.address, state, 250, "2.0.0", words) for known in outgoing.envelope.recipients]
    return Passed(outgoing.work, tuple(zip(outgoing.numbers, statuses, strict=True)), work)


async def test_what_is_handed_in_comes_out_as_it_was_also_after_a_restart(desk: Desk) -> None:
    row, new = await desk.store.outbox.hand_in(handed(b"octets", "a@example.org", "b@example.org"))
    desk.store.close()
    desk.store = desk.open()
    assert new
    outgoing = await desk.take()
    assert outgoing.public_id == row.id
    assert outgoing.envelope == handed(b"octets", "a@example.org", "b@example.org").composed.envelope
    [content] = desk.store.outbox.contents([outgoing.reference])
    assert b"".join(content.pieces()) == b"octets"
    assert content.size == 6


@pytest.mark.parametrize("key", [None, "k"], ids=["no key", "key"])
async def test_what_is_answered_is_what_is_kept(desk: Desk, key: str | None) -> None:
    now = desk.clock.now()
    message = handed(b"octets", "a@example.org", "b@example.org", owner="app", key=key, send_at=now + 60, answers="m")
    row, _ = await desk.store.outbox.hand_in(message)
    assert await desk.store.outbox.one(row.id) == row
    assert (row.send_at, row.not_before, row.created_at, row.answers) == (now + 60, now + 60, now, "m")


async def test_long_octets_are_read_in_pieces(desk: Desk) -> None:
    octets = random.Random(1).randbytes(3_000_000)
    message = handed(b"x")
    await desk.store.outbox.hand_in(replace(message, composed=replace(message.composed, octets=octets)))
    [content] = desk.store.outbox.contents([(await desk.take()).reference])
    pieces = list(content.pieces())
    assert (b"".join(pieces), content.size) == (octets, 3_000_000)
    assert len(pieces) > 1


async def test_a_key_names_one_request(desk: Desk) -> None:
    outbox = desk.store.outbox
    first, _ = await outbox.hand_in(handed(b"1", owner="app", key="k", asked=b"request"))
    again, new = await outbox.hand_in(handed(b"1", owner="app", key="k", asked=b"request"))
    assert (again, new) == (first, False)
    with pytest.raises(KeyReused):
        await outbox.hand_in(handed(b"2", owner="app", key="k", asked=b"another"))
    other, new = await outbox.hand_in(handed(b"2", owner="other", key="k", asked=b"another"))
    assert new
    assert other != first
    assert [await outbox.known("app", "k", b"request"), await outbox.known("app", "never", b"")] == [first, None]


async def test_many_hand_in_the_same_key_at_once_and_it_is_kept_once(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.store.outbox.hand_in(handed(b"1", key="k", asked=b"r")) for _ in range(50)))
    assert len({row for row, _ in answers}) == 1
    assert sum(new for _, new in answers) == 1
    assert len([row async for row in desk.store.outbox.pages(Asked())]) == 1


async def test_a_claim_is_one_process_alone(desk: Desk) -> None:
    for number in range(20):
        await desk.store.outbox.hand_in(handed(b"%d" % number))
    other = desk.open()
    halves = await asyncio.gather(*(store.outbox.take(SECTION, 3) for store in (desk.store, other) * 5))
    claimed = [outgoing.public_id for half in halves for outgoing in half]
    assert len(claimed) == len(set(claimed)) == 20
    other.close()


async def test_an_outdated_claim_marks_nothing(desk: Desk) -> None:
    public_id = (await desk.store.outbox.hand_in(handed(b"1")))[0].id
    old = await desk.take()
    await desk.store.outbox.cancel(public_id)
    assert await desk.store.outbox.record([Mark(old.work, old.numbers)], []) == {old.work.id}
    assert (await desk.one(public_id)).recipients[0].state is S.CANCELLED


async def test_a_marked_submission_cannot_be_cancelled(desk: Desk) -> None:
    public_id = (await desk.store.outbox.hand_in(handed(b"1")))[0].id
    outgoing = await desk.take()
    assert not await desk.store.outbox.record([Mark(outgoing.work, outgoing.numbers)], [])
    with pytest.raises(StateRefused, match="just being handed"):
        await desk.store.outbox.cancel(public_id)
    assert (await desk.one(public_id)).recipients[0].state is S.SENDING


async def test_what_an_ended_process_left_is_a_persons_to_decide_also_where_no_account_takes_it_up(desk: Desk) -> None:
    """As where a section was taken out of the file after a kill: nobody claims its lane any more."""
    marked = (await desk.store.outbox.hand_in(handed(b"1", "a@example.org", "b@example.org")))[0].id
    claimed = (await desk.store.outbox.hand_in(handed(b"2")))[0].id
    replayed = (await desk.store.outbox.hand_in(handed(b"3")))[0].id
    first, _, _ = await desk.store.outbox.take(SECTION, 3)
    await desk.store.outbox.record([Mark(first.work, first.numbers)], [])
    person = desk.open()
    with pytest.raises(StateRefused, match="being worked on"):
        await person.outbox.resolve(marked, S.SENT)
    desk.store.close()
    desk.store = person
    with pytest.raises(StateRefused, match="the server may have accepted it"):
        await person.outbox.cancel(marked)
    row = await person.outbox.resolve(marked, S.SENT, "a@example.org")
    assert (row.state, [known.state for known in row.recipients]) == (W.READY, [S.SENT, S.DOUBT])
    history = [(passage.event, passage.address) for passage in await person.outbox.passages(marked)]
    assert history == [("doubt", "a@example.org"), ("doubt", "b@example.org"), ("resolved", "a@example.org")]
    assert (await person.outbox.cancel(claimed)).state is W.CANCELLED
    assert (await person.outbox.replay(replayed, "smtp-client-b")).client == "smtp-client-b"
    assert [one.public_id for one in await person.outbox.take("smtp-client-b", 5)] == [replayed]


async def test_a_late_definite_answer_settles_the_doubt_of_its_own_attempt(desk: Desk) -> None:
    public_id = (await desk.store.outbox.hand_in(handed(b"1")))[0].id
    slow = desk.store
    [outgoing] = await slow.outbox.take(SECTION, 1)
    await slow.outbox.record([Mark(outgoing.work, outgoing.numbers)], [])
    other = desk.open()
    # As when the first process hangs and is taken for dead.
    await other.reclaim(WorkKind.SUBMIT, SECTION)
    await slow.reclaim(WorkKind.SUBMIT, SECTION, own=True)
    [taken_over] = await other.outbox.take(SECTION, 1)
    assert [doubt.address for doubt in taken_over.doubts] == ["to@example.org"]
    await other.outbox.record([], [Passed(taken_over.work, (), W.WAITING)])
    await slow.outbox.record([], [passed(outgoing, S.SENT)])
    row = await desk.one(public_id)
    assert (row.state, row.recipients[0].state) == (W.READY, S.SENT)
    other.close()


async def test_p28_what_an_ended_process_was_sending_is_in_doubt_before_anybody_sends_again(desk: Desk) -> None:
    """A paused account claims nothing, for days; its doubts are seen, and resolved, all the same."""
    public_id = (await desk.store.outbox.hand_in(handed(b"1")))[0].id
    outgoing = await desk.take()
    await desk.store.outbox.record([Mark(outgoing.work, outgoing.numbers)], [])
    desk.store.close()
    desk.store = desk.open()
    await desk.store.reclaim(WorkKind.SUBMIT, SECTION, own=True)
    row = await desk.one(public_id)
    assert (row.state, row.recipients[0].state) == (W.READY, S.DOUBT)
    assert [passage.event for passage in await desk.store.outbox.passages(public_id)] == ["doubt"]
    row = await desk.store.outbox.resolve(public_id, S.SENT)
    assert row.recipients[0].state is S.SENT


async def test_what_an_attempt_left_open_is_in_doubt_for_persons(desk: Desk) -> None:
    public_id = (await desk.store.outbox.hand_in(handed(b"1")))[0].id
    outgoing = await desk.take()
    await desk.store.outbox.record([Mark(outgoing.work, outgoing.numbers)], [])
    await desk.store.outbox.record([], [Passed(outgoing.work, (), W.READY, desk.clock.now() + 60)])  # nothing is known of it
    row = await desk.store.outbox.resolve(public_id, S.FAILED)
    assert row.recipients[0].state is S.FAILED


async def test_counts_lanes_and_lists(desk: Desk) -> None:
    outbox = desk.store.outbox
    ids = [(await outbox.hand_in(handed(b"%d" % number)))[0].id for number in range(5)]
    done, dead, waiting, _, _ = await outbox.take(SECTION, 5)
    await outbox.record([Mark(waiting.work, waiting.numbers)], [])
    await outbox.record(
        [],
        [passed(dead, S.FAILED, W.DEAD), passed(waiting, S.DOUBT, W.WAITING)],
    )
    await outbox.record([Mark(done.work, done.numbers)], [])
    await outbox.record([], [passed(done, S.SENT)])
    by_lane = await outbox.counts()
    assert by_lane.keys() == {SECTION}
    counts = by_lane[SECTION]
    assert (counts.ready, counts.leased, counts.waiting, counts.dead) == (0, 2, 1, 1)
    assert [row.id async for row in outbox.pages(Asked())] == ids[::-1]
    assert [row.id async for row in outbox.pages(Asked(states=(W.DEAD,)))] == [ids[1]]
    assert [row.id async for row in outbox.pages(Asked(states=(W.WAITING,)))] == [ids[2]]
    assert [row.id for row in await outbox.page(Asked(before=ids[2]), 10)] == ids[1::-1]
    assert (await outbox.one(ids[0])).state is W.DONE
    with pytest.raises(NotFound):
        await outbox.one("nothing")


# --- the tables ---------------------------------------------------------------------------------------------------------


PAIRS = [(before, after) for before, after in itertools.product(S, S) if before is not S.BOUNCED]  # which reports alone make


@pytest.mark.parametrize(("before", "after"), PAIRS, ids=[f"{before.value}-{after.value}" for before, after in PAIRS])
async def test_a_recipient_goes_only_where_the_table_says(desk: Desk, before: S, after: S) -> None:
    """Every pair, by whatever verb may try it; what cannot be tried by any verb is not in the table either."""
    outbox = desk.store.outbox
    public_id = (await outbox.hand_in(handed(b"1")))[0].id
    outgoing = await _bring(desk, public_id, before)
    tried = await _try(desk, public_id, outgoing, after)
    found = (await desk.one(public_id)).recipients[0].state
    if after is before:
        assert found is before
    elif after in RECIPIENT_MOVES[before]:
        assert tried == (after is not S.BOUNCED), "a move of the table is somebody's to make; bounces are made by reports"
        assert found is (after if tried else before)
    else:
        assert found is before


async def _bring(desk: Desk, public_id: str, state: S) -> Outgoing | None:
    """Bring the recipient to a state by the verbs alone."""
    outbox = desk.store.outbox
    if state is S.PENDING:
        return await desk.take()
    if state is S.CANCELLED:
        await outbox.cancel(public_id)
        return None
    outgoing = await desk.take()
    if state is S.FAILED:
        await outbox.record([], [passed(outgoing, S.FAILED, W.DEAD)])
        return outgoing
    await outbox.record([Mark(outgoing.work, outgoing.numbers)], [])
    if state is S.SENT:
        await outbox.record([], [passed(outgoing, S.SENT)])
    if state is S.DOUBT:
        await outbox.record([], [passed(outgoing, S.DOUBT, W.WAITING)])
    return outgoing


async def _try(desk: Desk, public_id: str, outgoing: Outgoing | None, state: S) -> bool:
    """Try to bring it to another one by every verb that aims there; True when one of them did."""
    outbox = desk.store.outbox
    before = (await desk.one(public_id)).recipients[0].state
    if outgoing is not None and state is S.SENDING:
        await outbox.record([Mark(outgoing.work, outgoing.numbers)], [])
    if outgoing is not None and state in (S.SENT, S.FAILED, S.DOUBT, S.PENDING):
        await outbox.record(
            [], [passed(outgoing, state, {S.SENT: W.DONE, S.FAILED: W.DEAD, S.DOUBT: W.WAITING}.get(state, W.READY))]
        )
    verbs: dict[S, list[Callable[[], Awaitable[SubmissionRow]]]] = {
        S.CANCELLED: [lambda: outbox.cancel(public_id)],
        S.PENDING: [lambda: outbox.replay(public_id), lambda: outbox.resolve(public_id, S.PENDING)],
        S.SENT: [lambda: outbox.resolve(public_id, S.SENT)],
        S.FAILED: [lambda: outbox.resolve(public_id, S.FAILED)],
    }
    for verb in verbs.get(state, []):
        with contextlib.suppress(StateRefused):
            await verb()
    return (await desk.one(public_id)).recipients[0].state is not before


class Queue(RuleBasedStateMachine):
    """Any verbs in any order, processes that end in between: no state changes but as the tables say, and nothing is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    @initialize()
    def begin(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.desk = Desk(Path(self.folder.name))
        self.ids: list[str] = []
        self.claimed: list[Outgoing] = []
        self.marked: set[tuple[int, int]] = set()
        self.sent: dict[str, int] = {}  # what a server would have taken over, by submission
        self.former: dict[str, SubmissionRow] = {}

    def run(self, verb: object) -> object:
        return self.loop.run_until_complete(verb)  # type: ignore[arg-type]

    @rule(people=st.integers(1, 3))
    def hand_in(self, people: int) -> None:
        message = handed(b"%d" % len(self.ids), *(f"r{number}@example.org" for number in range(people)))
        self.ids.append(self.run(self.desk.store.outbox.hand_in(message))[0].id)  # type: ignore[index]

    @rule()
    def take(self) -> None:
        self.claimed += self.run(self.desk.store.outbox.take(SECTION, 2))  # type: ignore[operator]

    @rule(data=st.data())
    def mark(self, data: st.DataObject) -> None:
        if self.claimed:
            outgoing = data.draw(st.sampled_from(self.claimed))
            if outgoing.numbers:
                refused = self.run(self.desk.store.outbox.record([Mark(outgoing.work, outgoing.numbers)], []))
                if not refused:
                    self.marked.add((outgoing.work.id, outgoing.work.token))

    @rule(data=st.data(), state=st.sampled_from([S.SENT, S.PENDING, S.FAILED, S.DOUBT]))
    def answer(self, data: st.DataObject, state: S) -> None:
        if not self.claimed:
            return
        outgoing = data.draw(st.sampled_from(self.claimed))
        marked = (outgoing.work.id, outgoing.work.token) in self.marked
        if marked or state in (S.PENDING, S.FAILED):
            work = {S.SENT: W.DONE, S.FAILED: W.DEAD, S.DOUBT: W.WAITING}.get(state, W.READY)
            self.run(self.desk.store.outbox.record([], [passed(outgoing, state, work)]))
            self.claimed.remove(outgoing)

    @rule(data=st.data(), verb=st.sampled_from(["cancel", "replay", "sent", "resend", "failed"]))
    def person(self, data: st.DataObject, verb: str) -> None:
        if not self.ids:
            return
        public_id, outbox = data.draw(st.sampled_from(self.ids)), self.desk.store.outbox
        to = {"sent": S.SENT, "resend": S.PENDING, "failed": S.FAILED}
        try:
            if verb in to:
                self.run(outbox.resolve(public_id, to[verb]))
            else:
                self.run(outbox.cancel(public_id) if verb == "cancel" else outbox.replay(public_id))
        except StateRefused:
            return

    @rule()
    def end_of_the_process(self) -> None:
        self.desk.store.close()
        self.desk.store = self.desk.open()
        self.run(self.desk.store.reclaim(WorkKind.SUBMIT, SECTION))
        self.claimed.clear()

    @invariant()
    def nothing_is_lost_and_every_move_is_in_the_tables(self) -> None:
        if not hasattr(self, "ids"):
            return
        rows = {public_id: self.run(self.desk.one(public_id)) for public_id in self.ids}
        for public_id, row in rows.items():
            former = self.former.get(public_id)
            assert isinstance(row, SubmissionRow)
            if former is not None:
                assert reached(former.state, row.state, WORK_MOVES, 2), (former.state, row.state)
                for old, new in zip(former.recipients, row.recipients, strict=True):
                    assert reached(old.state, new.state, RECIPIENT_MOVES, 1), (old.state, new.state)
        self.former = rows  # type: ignore[assignment]

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            self.desk.store.close()
            self.folder.cleanup()
        self.loop.close()


def reached(before: object, after: object, moves: object, most: int) -> bool:
    """Whether the table leads from one state to another in so many moves. (A claim that is taken away is READY in between.)"""
    near = {before}
    for _ in range(most):
        near |= {there for here in near for there in moves[here]}  # type: ignore[index]
    return after in near


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
