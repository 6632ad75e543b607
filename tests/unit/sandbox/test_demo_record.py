"""What the demo reads off the service's log."""

from __future__ import annotations

import pytest

from postroom import events
from postroom.sandbox.demo_record import Record

CLIENT = "smtp-client-sales"


def heard(*lines: str) -> Record:
    """A record that heard lines of conversations as the log has them, "C" or "S" first."""
    record = Record()
    for line in lines:
        side, _, words = line.partition(" ")
        record.heard({"event": events.PROTOCOL.name, "level": "debug", "client": CLIENT, "side": side, "line": words})
    return record


def test_the_login_of_one_conversation() -> None:
    assert heard("S 220 x", "C EHLO y", "S 250 AUTH XOAUTH2", "C AUTH XOAUTH2 ***", "S 235 2.7.0 ok").senders == {CLIENT}


def test_two_conversations_of_one_account_talk_across_each_other() -> None:
    record = heard(
        "C EHLO y",
        "C AUTH XOAUTH2 ***",
        "S 250 AUTH XOAUTH2",  # of the second
        "S 235 2.7.0 ok",
        "C AUTH XOAUTH2 ***",
        "C MAIL FROM:<a@example.test>",
        "S 250 2.1.0 ok",
        "S 235 2.7.0 ok",
    )
    assert record.senders == {CLIENT}


@pytest.mark.parametrize(
    "lines",
    [
        ("C AUTH XOAUTH2 ***", "S 535 5.7.8 no"),
        ("C AUTH PLAIN ***", "S 235 2.7.0 ok"),
        ("C AUTH XOAUTH2 ***", "S 535 5.7.8 no", "C AUTH PLAIN ***", "S 235 2.7.0 ok"),
        ("C MAIL FROM:<a@example.test>", "S 250 2.1.0 ok"),
    ],
    ids=["refused", "password", "password after all", "none"],
)
def test_no_login_with_oauth(lines: tuple[str, ...]) -> None:
    assert heard(*lines).senders == set()
