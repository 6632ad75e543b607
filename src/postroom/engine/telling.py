"""What an attempt to send came to, as events and counters."""

from __future__ import annotations

from collections import Counter

from postroom import events
from postroom.engine.attempt import said
from postroom.events import Observer
from postroom.model import WorkState
from postroom.outbound import Outgoing, Passed, RecipientState


def tell(observer: Observer, client: str, outgoing: Outgoing, passed: Passed, now: float) -> None:
    """Tell of each state that recipients came to, once for all of them."""
    counted = Counter(status.state for _, status in passed.statuses)
    for state, count in counted.items():
        observer.count(events.SENT_TOTAL, count, client=client, state=state.value)
    told = {"client": client, "id": outgoing.public_id, "message_id": outgoing.message_id}
    if sent := counted[RecipientState.SENT]:
        reply = next(said(status) for _, status in passed.statuses if status.state is RecipientState.SENT)
        observer.event(events.SENT, **told, recipients=sent, reply=reply)
    if counted[RecipientState.PENDING]:
        observer.event(events.DEFERRED, **told, error=passed.fault, seconds=max(0.0, passed.not_before - now))
    if counted[RecipientState.FAILED]:
        observer.event(events.UNDELIVERED, **told, error=passed.fault)
    if counted[RecipientState.DOUBT]:
        observer.event(events.IN_DOUBT, **told, error=passed.fault)
    if passed.state is WorkState.WAITING:
        observer.event(events.HELD, **told, error=passed.fault)
