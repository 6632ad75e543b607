"""Copies for recipients as an operator meets them: listed, shown, exported; and when a changed option acts."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import Here, basic

from servers.dovecot import Dovecot

A = "pop-client-a"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def mail(number: int, to: str, cc: str = "") -> bytes:
    return f"From: x@y.z\r\nTo: {to}\r\nCc: {cc}\r\nSubject: {number}\r\n\r\n.\r\n8-bit \xe4 and no end".encode("latin-1")


def test_copies_are_listed_shown_and_exported(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    options = {"copy_message_to_recipients": "true", "inbound_msg_copy_limit": 2, "address": "desk@x.org"}
    here.put(A, basic(dovecot.imap_port, mailbox_user, **options))
    octets = mail(1, "Ann <a@x.org>, b@x.org", "Desk@x.org, A@x.org")
    dovecot.seed(mailbox_user, [octets])
    here.read()
    [row] = here.messages()
    assert [copy["recipient"] for copy in row["copies"]] == ["Desk@x.org", "a@x.org"]
    assert (row["left_out"], row["address"]) == (["b@x.org"], "desk@x.org")
    assert here.status(A)["address"] == "desk@x.org"
    own, ann = row["copies"]

    shown = here.command("messages", "show", ann["id"]).out
    assert "recipient:   a@x.org" in shown
    assert f"copy_of:     {row['id']}" in shown
    assert "\nX-Genesys-To: a@x.org\nFrom: x@y.z\n" in shown
    found = here.command("messages", "show", "--json", own["id"]).object
    assert (found["id"], found["copy_of"], found["recipient"]) == (own["id"], row["id"], "Desk@x.org")
    original = here.command("messages", "show", row["id"]).out
    assert "left out:    b@x.org got no copy (inbound-msg-copy-limit)" in original
    assert "X-Genesys-To" not in original

    out = here.directory / "out"
    here.command("messages", "export", "--all", "--output", str(out))
    assert {file.name: file.read_bytes() for file in out.iterdir()} == {
        f"{row['id']}.eml": octets,
        f"{own['id']}.eml": b"X-Genesys-To: Desk@x.org\r\n" + octets,
        f"{ann['id']}.eml": b"X-Genesys-To: a@x.org\r\n" + octets,
    }


def test_a_change_acts_on_what_the_next_cycle_captures(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """Each of the options, and the address, at the next POP cycle of a service that runs on."""
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    changes: list[dict[str, object]] = [
        {},
        {"copy-message-to-recipients": "true"},
        {"inbound-msg-copy-limit": "1"},
        {"copy-message-with-header": "X-Copy"},
        {"address": "desk@x.org"},
        {"copy-message-to-recipients": "false"},
    ]
    with here.service() as service:
        for number, change in enumerate(changes):
            if change:
                here.put(A, change)
                service.wait("config_changed", count=number)
                service.cycles(A, 2)
            dovecot.seed(mailbox_user, [mail(number, "a@x.org, desk@x.org")])
            service.wait("read", A, count=number + 1)
    here.read()
    rows = {row["subject"]: row for row in here.messages()}
    names = [[copy["recipient"] for copy in rows[str(number)]["copies"]] for number in range(len(changes))]
    assert names == [[], ["a@x.org", "desk@x.org"], ["a@x.org"], ["a@x.org"], ["desk@x.org"], []]
    shown = [here.command("messages", "show", rows[str(number)]["copies"][0]["id"]).out for number in (2, 3)]
    assert ["\nX-Genesys-To: a@x.org\n" in text for text in shown] == [True, False]
    assert ["\nX-Copy: a@x.org\n" in text for text in shown] == [False, True]
    assert [rows[str(number)]["address"] for number in (3, 4)] == [mailbox_user, "desk@x.org"]
