"""What events tell of an attempt to send: each state in its own recipients' words."""

from __future__ import annotations

from fakes import Recorder
from postroom import events
from postroom.engine.attempt import after
from postroom.engine.telling import tell
from postroom.model import Reference, Work, WorkKind
from postroom.outbound import DeliveryStatus, Envelope, Outgoing, Recipient, RecipientState

S = RecipientState


def told(*statuses: DeliveryStatus) -> dict[str, dict[str, object]]:
    """The fields of each event, by its name."""
    work = Work(1, WorkKind.SUBMIT, 1, 1, None, 1)
    envelope = Envelope("shop@example.org", tuple(Recipient(status.address) for status in statuses))
    numbers = tuple(range(len(statuses)))
    outgoing = Outgoing(work, "id", envelope, numbers, (), failed=False, reference=Reference(1, 0, 1, b""), message_id="<1@x>")
    recorder = Recorder()
    tell(recorder, "smtp-client-a", outgoing, after(outgoing, statuses, 0.0, 3600.0), 0.0)
    return {event.name: fields for event, fields in recorder.events}


def test_each_state_is_told_in_its_own_words() -> None:
    found = told(
        DeliveryStatus("a@example.org", S.PENDING, 451, "4.7.1", "Come again"),
        DeliveryStatus("b@example.org", S.FAILED, 550, "5.1.1", "No such user"),
        DeliveryStatus("c@example.org", S.DOUBT, words="connection lost"),
        DeliveryStatus("d@example.org", S.SENT, 250, "2.0.0", "Queued"),
    )
    assert {name: (fields.get("error"), fields["recipients"]) for name, fields in found.items()} == {
        events.DEFERRED.name: ("451 4.7.1 Come again", "a@example.org"),
        events.UNDELIVERED.name: ("550 5.1.1 No such user", "b@example.org"),
        events.IN_DOUBT.name: ("connection lost", "c@example.org"),
        events.SENT.name: (None, 1),
    }


def test_no_more_than_five_recipients_are_named() -> None:
    found = told(*(DeliveryStatus(f"{number}@x", S.FAILED, 550, "", "No") for number in range(7)))
    assert found["undelivered"]["recipients"] == "0@x, 1@x, 2@x, 3@x, 4@x, and 2 more"
