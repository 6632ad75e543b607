"""What a maildrop cannot do is told before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from postroom.drivers.provider import Providers
from postroom.settings import Fault, Severity, parse_configuration

FILE = Path("/etc/postroom.ini")
POP3 = """[pop-client-a]
type = POP3
server = mail.example.org
mailbox = a@example.org
password = pw
"""
GMAIL = POP3.replace("server = mail.example.org\n", "").replace("a@example.org", "a@gmail.com")


def faults(text: str) -> list[Fault]:
    return list(parse_configuration(text, FILE, {}, Providers()).faults)


def test_a_maildrop_is_sound() -> None:
    assert faults(POP3) == []
    assert faults(GMAIL) == []


@pytest.mark.parametrize(
    ("line", "option", "severity"),
    [
        ("folder-path = INBOX, Archive", "folder-path", Severity.FAULT),
        ("after-capture = seen", "after-capture", Severity.FAULT),
        ("after-capture = move", "after-capture", Severity.FAULT),
        ("processed-folder-path = Done", "processed-folder-path", Severity.WARNING),
        ("failed-items-folder-path = Bad", "failed-items-folder-path", Severity.WARNING),
    ],
)
def test_what_pop3_cannot_do(line: str, option: str, severity: Severity) -> None:
    [fault] = faults(POP3 + line + "\n")
    assert (fault.option, fault.severity, fault.line) == (option, severity, 6)
    assert "POP3" in fault.problem


@pytest.mark.parametrize("choice", ["new", "2026-11-01"])
def test_p26_at_gmail_what_is_left_alone_would_hide_new_mail(choice: str) -> None:
    [fault] = faults(GMAIL + f"first-read = {choice}\n")
    assert (fault.option, fault.severity) == ("first-read", Severity.FAULT)
    assert "recent:a@gmail.com" in fault.remedy
    assert faults(GMAIL.replace("a@gmail.com", "recent:a@gmail.com") + f"first-read = {choice}\n") == []
    assert faults(GMAIL + "first-read = all\n") == []


def test_p26_with_oauth_the_authority_tells_that_it_is_gmail() -> None:
    oauth = """client-id = 1
secret = g
tenant-authority = google
mail.pop3.auth.mechanisms = XOAUTH2
first-read = new
[secret-g]
password = s
"""
    [fault] = faults(POP3 + oauth)
    assert fault.option == "first-read"
