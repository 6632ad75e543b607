"""What was queued, what the server has, what is recorded: the comparison. Pure; an empty list of complaints is all well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from postroom.model import WorkState
from postroom.outbound import Passage, RecipientState, SubmissionRow

_SHOWN = 5  # complaints of one kind that are printed one by one
_S = RecipientState


@dataclass(frozen=True)
class Copy:
    """A message that the server took over."""

    message_id: str
    recipients: tuple[str, ...]
    digest: str  # SHA-256 of its octets


@dataclass(frozen=True)
class Recorded:
    """A submission as it is recorded, with its history."""

    row: SubmissionRow
    history: tuple[Passage, ...]

    def times(self, event: str, address: str) -> int:
        """How often something happened for a recipient. What happened to several at once is told once, with their number."""
        return sum(
            passage.event == event and (passage.address == address or passage.address.endswith(" recipients"))
            for passage in self.history
        )


@dataclass(frozen=True)
class State:
    """What there is at some moment. Of each message the server's copies, by recipient."""

    queued: Mapping[str, str]  # digest of each message's octets, by its Message-ID
    copies: Sequence[Copy]
    recorded: Sequence[Recorded]

    @property
    def had(self) -> Counter[tuple[str, str]]:
        """How often the server has each message for each recipient."""
        return Counter((copy.message_id, address) for copy in self.copies for address in copy.recipients)


def always(state: State, *, resends: bool) -> list[str]:
    """What holds at every moment at which no process runs: nothing lost, nothing twice but where a doubt was recorded."""
    had = state.had
    strange = [copy.message_id for copy in state.copies if state.queued.get(copy.message_id) != copy.digest]
    complaints = _named(strange, "was taken over with octets that were never queued:")
    complaints += _named(sorted(set(state.queued) - {known.row.message_id for known in state.recorded}), "is recorded no more:")
    lost, unrecorded, doubled = [], [], []
    for known in state.recorded:
        for person in known.row.recipients:
            name, count = f"{known.row.message_id} to {person.address}", had[known.row.message_id, person.address]
            if person.state is _S.SENT and not count:
                lost.append(name)
            doubts = known.times("doubt", person.address)
            if person.state is _S.PENDING and count > doubts:
                unrecorded.append(name)
            if count > 1 + (min(doubts, known.times("resent", person.address)) if resends else 0):
                doubled.append(f"{name}: {count} times")
    complaints += _named(lost, "is sent, as it is recorded, and the server never had it:")
    complaints += _named(unrecorded, "waits to be sent, the server has it, and no doubt is recorded:")
    return complaints + _named(doubled, "was taken over more than once without a doubt that was resent:")


def drained(state: State, *, resends: bool) -> list[str]:
    """Nothing is left to do but for a person: each is delivered, or in recorded doubt, which only ``hold`` leaves."""
    open_, wrong, mute = [], [], []
    for known in state.recorded:
        allowed = (_S.SENT,) if resends else (_S.SENT, _S.DOUBT)
        wrong += [
            f"{known.row.message_id} to {person.address}: {person.state.value} {person.words}"
            for person in known.row.recipients
            if person.state not in allowed
        ]
        doubtful = [person.address for person in known.row.recipients if person.state is _S.DOUBT]
        if known.row.state is not (WorkState.WAITING if doubtful else WorkState.DONE):
            open_.append(f"{known.row.message_id}: {known.row.state.value} {known.row.fault}")
        mute += [f"{known.row.message_id} to {address}" for address in doubtful if not known.times("doubt", address)]
    complaints = _named(open_, "is neither at its end nor waits for a person:")
    complaints += _named(wrong, "is neither sent nor in doubt:")
    return complaints + _named(mute, "is in doubt, and its history does not say so:")


def at_the_end(state: State, *, resends: bool) -> list[str]:
    """Every doubt was resolved: each is delivered, and with ``hold`` once."""
    had = state.had
    complaints = drained(state, resends=True)
    absent, often = [], []
    for known in state.recorded:
        for person in known.row.recipients:
            count = had[known.row.message_id, person.address]
            name = f"{known.row.message_id} to {person.address}"
            absent += [name] if not count else []
            often += [name] if count > 1 and not resends else []
    complaints += _named(absent, "was never delivered:")
    return complaints + _named(often, "was delivered more than once:")


def delivered(state: State) -> int:
    """How many of the deliveries that were asked for took place."""
    return len(state.had)


def twice(state: State) -> int:
    """How many deliveries there were beyond the first of each."""
    return sum(count - 1 for count in state.had.values())


def found(state: State) -> int:
    """How many doubts a copy in Sent has settled."""
    return sum(passage.event == "found" for known in state.recorded for passage in known.history)


def doubts(state: State) -> int:
    """How many doubts were recorded, of one recipient each but for those that are told of several at once."""
    return sum(passage.event == "doubt" for known in state.recorded for passage in known.history)


def _named(which: Collection[object], what: str) -> list[str]:
    lines = [f"{what} {each}" for each, _ in zip(which, range(_SHOWN), strict=False)]
    return [*lines, f"{what} … and {len(which) - _SHOWN} more"] if len(which) > _SHOWN else lines
