"""What an attempt to send came to, as events and counters."""

from __future__ import annotations

from postroom import events
from postroom.engine.attempt import said
from postroom.events import Observer
from postroom.model import WorkState
from postroom.outbound import DeliveryStatus, Outgoing, Passed, RecipientState

_NAMED = 5  # addresses in one event


def tell(observer: Observer, client: str, outgoing: Outgoing, passed: Passed, now: float) -> None:
    """Tell of each state that recipients came to, once for all of them, in the words of the first of them."""
    by_state: dict[RecipientState, list[DeliveryStatus]] = {}
    for _, status in passed.statuses:
        by_state.setdefault(status.state, []).append(status)
    for state, found in by_state.items():
        observer.count(events.SENT_TOTAL, len(found), client=client, state=state.value)
    id_, message_id = outgoing.public_id, outgoing.message_id
    if sent := by_state.get(RecipientState.SENT):
        observer.event(events.SENT, client=client, id=id_, message_id=message_id, recipients=len(sent), reply=said(sent[0]))
    if deferred := by_state.get(RecipientState.PENDING):
        error, whom, seconds = said(deferred[0]) or passed.fault, _named(deferred), max(0.0, passed.not_before - now)
        observer.event(events.DEFERRED, client=client, id=id_, message_id=message_id, error=error, recipients=whom, seconds=seconds)
    for state, event in ((RecipientState.FAILED, events.UNDELIVERED), (RecipientState.DOUBT, events.IN_DOUBT)):
        if found := by_state.get(state, []):
            error, whom = said(found[0]) or passed.fault, _named(found)
            observer.event(event, client=client, id=id_, message_id=message_id, error=error, recipients=whom)
    if passed.state is WorkState.WAITING:
        observer.event(events.HELD, client=client, id=id_, message_id=message_id, error=passed.fault)


def _named(statuses: list[DeliveryStatus]) -> str:
    more = [f"and {len(statuses) - _NAMED} more"] if len(statuses) > _NAMED else []
    return ", ".join([*(status.address for status in statuses[:_NAMED]), *more])
