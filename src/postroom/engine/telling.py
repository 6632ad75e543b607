"""What an attempt to send came to, as events and counters."""

from __future__ import annotations

from postroom import events
from postroom.engine.attempt import said
from postroom.events import Observer
from postroom.model import WorkState
from postroom.outbound import Outgoing, Passed, RecipientState


def tell(observer: Observer, client: str, outgoing: Outgoing, passed: Passed, now: float) -> None:
    """Tell of each state that recipients came to, once for all of them."""
    counted: dict[RecipientState, int] = {}
    for _, status in passed.statuses:
        counted[status.state] = counted.get(status.state, 0) + 1
    for state, count in counted.items():
        observer.count(events.SENT_TOTAL, count, client=client, state=state.value)
    id_, message_id, fault = outgoing.public_id, outgoing.message_id, passed.fault
    if sent := counted.get(RecipientState.SENT):
        reply = next(said(status) for _, status in passed.statuses if status.state is RecipientState.SENT)
        observer.event(events.SENT, client=client, id=id_, message_id=message_id, recipients=sent, reply=reply)
    if RecipientState.PENDING in counted:
        seconds = max(0.0, passed.not_before - now)
        observer.event(events.DEFERRED, client=client, id=id_, message_id=message_id, error=fault, seconds=seconds)
    if RecipientState.FAILED in counted:
        observer.event(events.UNDELIVERED, client=client, id=id_, message_id=message_id, error=fault)
    if RecipientState.DOUBT in counted:
        observer.event(events.IN_DOUBT, client=client, id=id_, message_id=message_id, error=fault)
    if passed.state is WorkState.WAITING:
        observer.event(events.HELD, client=client, id=id_, message_id=message_id, error=fault)
