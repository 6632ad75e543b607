"""POP3 at a server with Gmail's and Microsoft's ways, from the command line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Here, Record, basic, letter

from servers.authority import TEST, Authority
from servers.certificates import Certificates
from servers.gmail_pop3 import Faults, GmailPop3, Manner, Popped
from servers.waiting import wait_for

A = "pop-client-a"


@pytest.fixture(scope="module")
def running(authority: Authority, certificates: Certificates) -> Iterator[GmailPop3]:
    with GmailPop3(tokens=authority.tokens, certificates=certificates) as gmail:
        yield gmail


@pytest.fixture
def gmail(running: GmailPop3) -> Iterator[GmailPop3]:
    yield running
    running.behave(Manner())
    running.fail(Faults())
    running.go_ahead(0)


@pytest.fixture
def user(gmail: GmailPop3, mailbox_user: str) -> str:
    """An account of Google's; the address tells the provider, and so its ways."""
    name = mailbox_user.replace("example.test", "gmail.com")
    gmail.add_user(name)
    return name


@pytest.fixture
def here(tmp_path: Path, gmail: GmailPop3, user: str) -> Here:
    """A client of that account, with its password."""
    here = Here(tmp_path)
    here.put(A, basic(gmail.port, user, type="POP3"))
    return here


def deliver(gmail: GmailPop3, user: str, *numbers: int) -> list[bytes]:
    """Letters with these numbers, the first the oldest."""
    letters = [letter(number) for number in numbers]
    for age, octets in zip(range(len(letters), 0, -1), letters, strict=True):
        gmail.deliver(user, octets, age=float(age))
    return letters


def digests(here: Here) -> list[str]:
    return sorted(message["digest"] for message in here.messages())


def of(letters: list[bytes]) -> list[str]:
    return sorted(hashlib.sha256(octets).hexdigest() for octets in letters)


def popped(gmail: GmailPop3, user: str) -> list[bool]:
    return [mail.popped for mail in gmail.mails(user)]


def said(gmail: GmailPop3, login: str, word: str) -> int:
    return sum(entry.line.split(" ")[0] == word for entry in gmail.log(login))


def captured(report: Record) -> int:
    return int(report[A]["captured"])


# --- normal mode ------------------------------------------------------------------------------------------------------


def test_p25_until_the_list_is_empty(here: Here, gmail: GmailPop3, user: str) -> None:
    """250 are shown at once; what is behind them is had in the same run, and each is popped after it is kept."""
    letters = deliver(gmail, user, *range(600))
    finding = here.check()[A]
    assert "250 messages" in finding["words"]
    assert "hidden from every POP3 client" in finding["words"]
    assert not any(popped(gmail, user))  # check retrieves nothing
    assert captured(here.read()) == 600
    assert digests(here) == of(letters)
    assert all(popped(gmail, user))
    assert said(gmail, user, "RETR") == 600
    assert captured(here.read()) == 0


def test_p25_no_quit_where_a_message_could_not_be_had(here: Here, gmail: GmailPop3, user: str) -> None:
    letters = deliver(gmail, user, *range(5))
    bad = gmail.mails(user)[2].uidl
    gmail.fail(Faults(retr_refused=(bad,)))
    assert captured(here.read(status=None)) == 4
    lines = [(entry.session, entry.line) for entry in gmail.log(user)]
    first = lines[0][0]
    assert (first, "RETR 3") in lines
    assert (first, "QUIT") not in lines
    assert [trouble["identifier"] for trouble in here.status(A)["troubles"]] == [bad]
    assert popped(gmail, user) == [True, True, False, True, True]  # in a session in which nothing was refused
    gmail.fail(Faults())
    wait_for(lambda: captured(here.read()) == 1, "the time at which it is due", timeout=60)
    assert digests(here) == of(letters)
    assert all(popped(gmail, user))


@pytest.mark.parametrize("at", [1, 40, 250, 270])
def test_p25_killed_in_the_middle(here: Here, gmail: GmailPop3, user: str, at: int) -> None:
    letters = deliver(gmail, user, *range(300))
    process = here.start("run", "--once")
    wait_for(lambda: said(gmail, user, "RETR") >= at, f"{at} messages", timeout=30)
    process.kill()
    process.communicate()
    kept = set(digests(here))
    hidden = {digest for digest, mail in zip(map(digest_of, letters), gmail.mails(user), strict=True) if mail.popped}
    assert hidden <= kept  # nothing is hidden that is not here
    here.read()
    assert digests(here) == of(letters)
    assert all(popped(gmail, user))


def digest_of(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def test_what_was_captured_is_deleted(here: Here, gmail: GmailPop3, user: str) -> None:
    gmail.add_user(user, setting=Popped.DELETE)
    letters = deliver(gmail, user, *range(5))
    here.put(A, {"after-capture": "delete"})
    assert captured(here.read()) == 5
    assert digests(here) == of(letters)
    assert [mail.place.value for mail in gmail.mails(user)] == ["trash"] * 5
    assert captured(here.read()) == 0


def test_a_refused_quit_hides_nothing_and_captures_nothing_twice(here: Here, gmail: GmailPop3, user: str) -> None:
    letters = deliver(gmail, user, 1, 2)
    gmail.fail(Faults(quit_refused=True))
    here.read(status=None)
    assert popped(gmail, user) == [False, False]
    gmail.fail(Faults())
    assert captured(here.read()) == 0
    assert popped(gmail, user) == [True, True]
    assert digests(here) == of(letters)


# --- recent: ----------------------------------------------------------------------------------------------------------


def test_p25_recent_shows_the_same_mail_and_it_is_captured_once(here: Here, gmail: GmailPop3, user: str) -> None:
    letters = deliver(gmail, user, 1, 2, 3)
    here.put(A, {"mailbox": f"recent:{user}"})
    assert captured(here.read()) == 3
    assert captured(here.read()) == 0
    assert not any(popped(gmail, user))
    letters += deliver(gmail, user, 4)
    assert captured(here.read()) == 1
    assert digests(here) == of(letters)
    status = here.status(A)
    assert (status["messages"], status["address"]) == (4, user)
    assert [folder["folder"] for folder in status["folders"]] == ["INBOX"]


@pytest.mark.parametrize("recent_first", [True, False])
def test_p25_changing_the_mode_captures_nothing_twice(here: Here, gmail: GmailPop3, user: str, *, recent_first: bool) -> None:
    letters = deliver(gmail, user, 1, 2, 3)
    here.put(A, {"mailbox": f"recent:{user}" if recent_first else user})
    assert captured(here.read()) == 3
    letters += deliver(gmail, user, 4)
    here.put(A, {"mailbox": user if recent_first else f"Recent:{user}"})
    assert captured(here.read()) == 1
    here.put(A, {"mailbox": f"recent:{user}" if recent_first else user})
    letters += deliver(gmail, user, 5)
    assert captured(here.read()) == 1
    assert captured(here.read()) == 0
    assert digests(here) == of(letters)
    assert len({message["identifier"] for message in here.messages()}) == 5


def test_p25_recent_without_unique_ids_is_refused(here: Here, gmail: GmailPop3, user: str) -> None:
    deliver(gmail, user, 1)
    gmail.fail(Faults(uidl="refused"))
    here.put(A, {"mailbox": f"recent:{user}"})
    assert "only unique-ids tell it apart" in str(here.read(status=None)[A])
    assert here.messages() == []


def test_two_sections_for_one_account_are_named(here: Here, gmail: GmailPop3, user: str) -> None:
    here.put("pop-client-b", basic(gmail.port, f"recent:{user}", type="POP3"))
    findings = here.check()
    assert [findings[name]["ok"] for name in (A, "pop-client-b")] == [True, False]
    assert A in findings["pop-client-b"]["words"]


# --- unique-ids and headers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", ["", "refused"])
@pytest.mark.parametrize("fault", ["refused", "duplicates", "empty"])
def test_p25_broken_unique_ids(here: Here, gmail: GmailPop3, user: str, fault: Any, top: Any) -> None:
    """What is shown again, because QUIT was refused, is known by its header, or by all its octets."""
    gmail.fail(Faults(uidl=fault, top=top, quit_refused=True))
    letters = deliver(gmail, user, 1, 2, 3)
    assert captured(here.read()) == 3
    letters += deliver(gmail, user, 4)
    assert captured(here.read()) == 1
    gmail.fail(Faults(top=top))
    letters += deliver(gmail, user, 5)
    assert captured(here.read()) == 1
    assert digests(here) == of(letters)
    assert all(popped(gmail, user))


# --- logins -----------------------------------------------------------------------------------------------------------


def with_tokens(here: Here, authority: Authority, user: str, provider: str) -> None:
    """The same client with OAuth at a provider whose authority is the tests'."""
    here.change(
        {
            f"authority-{provider}": {"token_endpoint": authority.token_url},
            "secret-rig": {"password": TEST.secret},
            A: {
                "mailbox": user,
                "password": authority.refresh_token(user),
                "mail.pop3.auth.mechanisms": "XOAUTH2",
                "tenant-authority": "google" if provider == "google" else "https://login.microsoftonline.com",
                "client-id": TEST.id,
                "secret": "rig",
                "grant-type": "refresh_token",
                "scope": "https://mail.google.com/",
            },
        }
    )


@pytest.mark.parametrize("mode", ["", "recent:"])
def test_p25_a_token_in_one_line_at_google(here: Here, gmail: GmailPop3, authority: Authority, user: str, mode: str) -> None:
    deliver(gmail, user, 1)
    with_tokens(here, authority, user, "google")
    here.put(A, {"mailbox": f"{mode}{user}"})
    assert captured(here.read()) == 1
    assert popped(gmail, user) == [not mode]
    lines = [entry.line for entry in gmail.log() if entry.line.startswith("AUTH")]
    assert lines[-1] == "AUTH XOAUTH2 ***"
    steps = {step["step"]: step["words"] for step in here.check()[A]["steps"]}
    assert list(steps) == ["dns", "tcp", "tls", "capabilities", "token", "login", "maildrop"]
    assert steps["login"].startswith(f"as {mode}{user};")


def test_p25_a_token_in_two_lines_at_microsoft(here: Here, gmail: GmailPop3, authority: Authority, mailbox_user: str) -> None:
    user = mailbox_user.replace("example.test", "outlook.com")
    gmail.add_user(user)
    gmail.behave(Manner(initial_response=False, mechanisms=("XOAUTH2",), user=False))
    deliver(gmail, user, 1)
    with_tokens(here, authority, user, "microsoft")
    assert captured(here.read()) == 1
    lines = [entry.line for entry in gmail.log() if entry.line.startswith("AUTH")]
    assert lines[-1] == "AUTH XOAUTH2"


@pytest.mark.parametrize("code", ["SYS/TEMP", "IN-USE", "LOGIN-DELAY"])
def test_a_login_that_is_turned_away_is_tried_again(here: Here, gmail: GmailPop3, user: str, code: str) -> None:
    deliver(gmail, user, 1)
    gmail.fail(Faults(login=code))
    with here.service() as service:
        error = service.wait("retrying", A)
        assert f"[{code}]" in error["error"]
        assert not service.events("needs_person")
        gmail.fail(Faults())
        here.put(A, {"cycle-time": "2s"})  # a change ends the pause
        assert service.wait("read", A)["captured"] == 1


def test_a_wrong_password_needs_a_person(here: Here, gmail: GmailPop3, user: str) -> None:
    here.put(A, {"password": "wrong"})
    finding = here.check()[A]
    assert (finding["ok"], finding["steps"][-1]["step"]) == (False, "login")
    assert "[AUTH]" in finding["words"]
