"""A person who resolves doubts: looks at what the server has, and says so to ``postroom outbox``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crash.drain_verdict import Recorded, State
from postroom.model import WorkState
from postroom.outbound import RecipientState


def resolve(state: State, command: Callable[..., object]) -> int:
    """Resolve all doubts that can be now, of each recipient as it is at the server; return how many.

    What the server has not, is sent once more, or given up and then replayed, in turn.
    """
    had = state.had
    had_all: list[str] = []
    had_none: list[str] = []
    count = 0
    for known in state.recorded:
        doubtful = _doubtful(known)
        if not doubtful:
            continue
        count += len(doubtful)
        there = [bool(had[known.row.message_id, address]) for address in doubtful]
        if all(there):
            had_all.append(known.row.id)
        elif not any(there):
            had_none.append(known.row.id)
        else:
            for address, is_there in zip(doubtful, there, strict=True):
                command("outbox", "resolve", known.row.id, "--recipient", address, "--as", "sent" if is_there else "resend")
    _together(command, had_all, had_none)
    return count


def _together(command: Callable[..., object], had_all: Sequence[str], had_none: Sequence[str]) -> None:
    if had_all:
        command("outbox", "resolve", *had_all, "--as", "sent")
    if again := had_none[::2]:
        command("outbox", "resolve", *again, "--as", "resend")
    if failed := had_none[1::2]:
        command("outbox", "resolve", *failed, "--as", "failed")


def _doubtful(known: Recorded) -> list[str]:
    """The recipients in doubt of a submission that nobody works on."""
    if known.row.state not in (WorkState.WAITING, WorkState.READY):
        return []
    return [person.address for person in known.row.recipients if person.state is RecipientState.DOUBT]
