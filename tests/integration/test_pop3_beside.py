"""Audit and shadow over POP3: nothing that a session does reaches the server without QUIT."""

from __future__ import annotations

from pathlib import Path

import pytest
from running import Here, basic, letter

from servers.dovecot import Dovecot

A = "pop-client-a"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def test_an_audit_counts_the_maildrop(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(A, basic(dovecot.pop3_port, mailbox_user, type="POP3"))
    for number in range(4):
        dovecot.deliver(mailbox_user, letter(number))
    [before] = here.command("audit", "--json").objects
    assert (before["on_server"], before["coming"], before["missing"]) == (4, 4, 0)
    here.read()
    dovecot.deliver(mailbox_user, letter(4))
    dovecot.doveadm("expunge", "-u", mailbox_user, "mailbox", "INBOX", "uid", "2")
    [found] = here.command("audit", "--json").objects
    assert (found["on_server"], found["accounted"], found["coming"], found["here_only"]) == (4, 3, 1, 1)


def test_a_maildrop_is_read_in_shadow_and_taken_over(here: Here, dovecot: Dovecot, mailbox_user: str, tmp_path: Path) -> None:
    here.put(A, basic(dovecot.pop3_port, mailbox_user, type="POP3", after_capture="delete"))
    for number in range(3):
        dovecot.deliver(mailbox_user, letter(number))
    ids = tmp_path / "ids"
    ids.write_text("<0@example.test>\n<9@example.test>\n")
    told = here.command("shadow", "--json", "a", "--message-ids", str(ids), status=4).objects[0]
    assert (told["both"], told["only_there"], told["only_here"]) == (1, 1, 2)
    here.read()
    assert len(dovecot.raw(mailbox_user)) == 3
    assert here.status(A)["shadow"] is True
    here.command("shadow", "a", "--message-ids", str(ids), "--take-over")
    here.read()
    assert list(dovecot.raw(mailbox_user).values()) == [letter(0)]
    assert [row["handled"] for row in here.messages()].count("elsewhere") == 1
    assert here.status(A)["shadow"] is False
