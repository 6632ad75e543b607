"""What an attempt to send comes to. Pure: from each recipient's reply to what becomes of the submission."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from postroom.engine.retry import submission_again
from postroom.model import WorkState
from postroom.outbound import DeliveryStatus, Outgoing, Passed, RecipientState
from postroom.settings import InDoubt

LOOKS = (5.0, 30.0, 120.0)
"""Seconds after the loss at which the copy of a message in doubt is looked for: servers file it late."""

_PATIENCE = (300.0, 900.0, 3600.0)  # likewise, as long as no look is possible: what cut one server off cuts off the other

_S = RecipientState
_EVENTS = {_S.PENDING: "deferred", _S.FAILED: "failed", _S.DOUBT: "doubt"}


class Sighting(NamedTuple):
    """What a look for the copy of a message in doubt came to."""

    found: bool | None  # None: no look will ever tell
    words: str
    passing: bool = False  # there could be no look now


def after(outgoing: Outgoing, statuses: Sequence[DeliveryStatus], now: float, span: float) -> Passed:
    """What becomes of a submission once each of its pending recipients has a status.

    ``span``: seconds that refusals for now are tried again, from the first of them on.
    """
    first = outgoing.work.first_failed_at
    if not outgoing.doubts and all(status.state is _S.SENT for status in statuses):  # nearly always
        numbered = tuple(zip(outgoing.numbers, statuses, strict=True))
        return Passed(outgoing.work, numbered, ended(failed=outgoing.failed), 0.0, first)
    if first is None and any(status.state is _S.PENDING for status in statuses):
        first = now
    if first is not None and now - first >= span:
        statuses = [_given_up(status) if status.state is _S.PENDING else status for status in statuses]
    states = {status.state for status in statuses}
    words = next((said(status) for status in statuses if status.state is not _S.SENT), "")
    if _S.PENDING in states:
        state, not_before = WorkState.READY, now + submission_again(outgoing.work.attempts)
    elif _S.DOUBT in states or outgoing.doubts:
        state, not_before = WorkState.READY, now + LOOKS[0]
    else:
        state, not_before = ended(failed=outgoing.failed or _S.FAILED in states), 0.0
    return Passed(
        outgoing.work,
        tuple(zip(outgoing.numbers, statuses, strict=True)),
        state,
        not_before,
        first,
        words,
        tuple(_passages(statuses)),
    )


def deferred(outgoing: Outgoing, words: str, now: float, span: float) -> Passed:
    """What becomes of a submission that broke the conversation before anything could be accepted."""
    return after(
        outgoing, [DeliveryStatus(known.address, _S.PENDING, words=words) for known in outgoing.envelope.recipients], now, span
    )


def unknown(outgoing: Outgoing, words: str, now: float) -> Passed:
    """What becomes of a submission of whose attempt nothing is known: what is marked comes back in doubt, the rest again."""
    first = outgoing.work.first_failed_at if outgoing.work.first_failed_at is not None else now
    return Passed(outgoing.work, (), WorkState.READY, now + submission_again(outgoing.work.attempts), first, words)


def ended(*, failed: bool) -> WorkState:
    """Where a submission goes that nothing is left to do for."""
    return WorkState.DEAD if failed else WorkState.DONE


def looked(outgoing: Outgoing, sighting: Sighting, *, in_doubt: InDoubt, now: float) -> Passed:
    """What becomes of a submission in doubt after a look for its copy."""
    since = max(doubt.since for doubt in outgoing.doubts)
    why = sighting.words
    if sighting.found:
        return _all(outgoing, _S.SENT, "found", why, ended(failed=outgoing.failed))
    looks = LOOKS + _PATIENCE if sighting.passing else LOOKS
    later = [since + seconds for seconds in looks if since + seconds > now + 1]
    if sighting.found is not None and later:
        fault = f"in doubt, looking for a copy: {why}"
        return Passed(outgoing.work, (), WorkState.READY, later[0], outgoing.work.first_failed_at, fault)
    if in_doubt is InDoubt.RESEND:
        return _all(outgoing, _S.PENDING, "resent", f"in-doubt = resend; {why}", WorkState.READY)
    return Passed(
        outgoing.work,
        (),
        WorkState.WAITING,
        0.0,
        outgoing.work.first_failed_at,
        f"in doubt: {why}; postroom outbox resolve {outgoing.public_id} --as sent|resend|failed",
    )


def _all(outgoing: Outgoing, state: RecipientState, event: str, words: str, work: WorkState) -> Passed:
    statuses = tuple((doubt.number, DeliveryStatus(doubt.address, state, words=words)) for doubt in outgoing.doubts)
    return Passed(
        outgoing.work,
        statuses,
        work,
        0.0,
        outgoing.work.first_failed_at,
        "",
        _told([(event, d.address, words) for d in outgoing.doubts]),
    )


def said(status: DeliveryStatus) -> str:
    """A reply in one line."""
    return " ".join(part for part in (str(status.code or ""), status.enhanced, status.words) if part)


def _given_up(status: DeliveryStatus) -> DeliveryStatus:
    return status._replace(state=_S.FAILED, words=f"{status.words} (refused for longer than retry-span)".strip())


def _passages(statuses: Iterable[DeliveryStatus]) -> tuple[tuple[str, str, str], ...]:
    return _told([(_EVENTS[status.state], status.address, said(status)) for status in statuses if status.state in _EVENTS])


def _told(passages: Sequence[tuple[str, str, str]]) -> tuple[tuple[str, str, str], ...]:
    """What happened, once for all recipients of which the same is to be said."""
    alike: dict[tuple[str, str], list[str]] = {}
    for event, address, words in passages:
        alike.setdefault((event, words), []).append(address)
    return tuple(
        (event, addresses[0] if len(addresses) == 1 else f"{len(addresses)} recipients", words)
        for (event, words), addresses in alike.items()
    )
