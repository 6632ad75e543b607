"""Real servers whose identities change, and mailboxes that were never read: nothing lost, nothing twice, nothing in vain."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest
from consenting import AtTerminal
from running import Here, Record, basic, letter

from servers.dovecot import Dovecot
from servers.proxy import Cut, FaultProxy

A = "pop-client-a"


@pytest.fixture
def here(tmp_path: Path, dovecot: Dovecot, mailbox_user: str) -> Here:
    here = Here(tmp_path)
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    return here


def renumber(dovecot: Dovecot, user: str, validity: int) -> None:
    """The same messages under another UIDVALIDITY, and numbers that begin anew (a new one behind them for each UID)."""
    dovecot.doveadm("mailbox", "update", "-u", user, "--uid-validity", str(validity), "INBOX")


def repair(here: Here, folder: str = "INBOX") -> Record:
    [found] = [each["repair"] for each in here.status(A)["folders"] if each["folder"] == folder]
    assert found["ended_at"] is not None
    return found  # type: ignore[no-any-return]


def numbers(here: Here) -> tuple[int, int, int, int]:
    found = repair(here)
    return found["matched"], found["compared"], found["new"], found["vanished"]


def first_read_step(here: Here) -> str:
    """What check says of a first read; empty where the folder was read."""
    return "".join(step["words"] for step in here.check()[A]["steps"] if step["step"] == "first-read")


def subjects(here: Here) -> list[str]:
    return sorted(message["subject"] for message in here.messages())


class TestRepair:
    def test_p21_an_unchanged_mailbox_is_not_downloaded_again(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        """1,000 messages, 12 to 13: what Gmail's All Mail did. The server counts what it sends."""
        dovecot.seed(mailbox_user, (letter(number, 4000) for number in range(1000)))
        renumber(dovecot, mailbox_user, 12)
        assert here.read()[A]["captured"] == 1000
        renumber(dovecot, mailbox_user, 13)
        report = here.read()[A]
        assert (report["captured"], report["matched"]) == (0, 1000)
        first, second = dovecot.ended(mailbox_user, at_least=2)[-2:]
        assert first.octets_out > 4_000_000
        assert second.octets_out < 300_000  # the list and the header lines
        assert numbers(here) == (1000, 0, 0, 0)
        assert "UIDVALIDITY was 12 and is 13" in repair(here)["reason"]
        assert here.read()[A] == {**report, "matched": 0}
        assert "1,000 matched (0 compared), 0 new, 0 vanished; UIDVALIDITY was 12 and is 13" in here.command("status").out

    def test_p21_uidvalidity_goes_down(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(number) for number in range(5)])
        renumber(dovecot, mailbox_user, 1000)
        here.read()
        renumber(dovecot, mailbox_user, 999)
        dovecot.deliver(mailbox_user, letter(5))
        assert here.read()[A]["captured"] == 1
        assert numbers(here) == (5, 0, 1, 0)

    def test_p21_a_mailbox_deleted_and_made_anew(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        """Some messages are back with their dates, one is another, one is gone."""
        here.put(A, {"folder-path": "Work"})
        dovecot.seed(mailbox_user, [letter(number) for number in range(5)], "Work")
        here.read()
        dovecot.doveadm("mailbox", "create", "-u", mailbox_user, "Spare")
        dovecot.doveadm("move", "-u", mailbox_user, "Spare", "mailbox", "Work", "1:4")
        dovecot.doveadm("mailbox", "delete", "-u", mailbox_user, "Work")
        dovecot.doveadm("mailbox", "create", "-u", mailbox_user, "Work")
        dovecot.doveadm("move", "-u", mailbox_user, "Work", "mailbox", "Spare", "all")
        dovecot.deliver(mailbox_user, letter(7), "Work")
        report = here.read()[A]
        assert (report["captured"], report["matched"]) == (1, 4)
        found = repair(here, "Work")
        assert (found["matched"], found["compared"], found["new"], found["vanished"]) == (4, 0, 1, 1)

    def test_p21_a_restored_backup(self, here: Here, dovecot: Dovecot, mailbox_user: str, tmp_path: Path) -> None:
        dovecot.seed(mailbox_user, [letter(number) for number in range(5)])
        dovecot.copy_maildir(mailbox_user, tmp_path / "backup")
        dovecot.deliver(mailbox_user, letter(5))
        here.read()
        dovecot.restore_maildir(mailbox_user, tmp_path / "backup")
        dovecot.deliver(mailbox_user, letter(6, 5000))  # under the number that the lost one had
        assert here.read()[A]["captured"] == 1
        assert numbers(here) == (5, 0, 1, 1)
        assert len(here.messages()) == 7

    def test_p21_it_is_resumed_after_a_cut_and_downloads_nothing_even_then(
        self, here: Here, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        dovecot.seed(mailbox_user, [letter(number, 4000) for number in range(60)])
        here.put(A, {"maximum-msg-number": 10})
        here.read()
        renumber(dovecot, mailbox_user, 77)
        with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
            here.put(A, {"port": proxy.port})
            for after in (2500, 2500):
                proxy.cut_next(Cut("to_client", after, "rst"))
                here.read(status=1)
            here.read()
            assert proxy.total.to_client < 60_000
        assert numbers(here) == (60, 0, 0, 0)
        assert len(here.messages()) == 60


class TestFirstRead:
    def test_p26_check_tells_what_it_would_take(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(number, 4000) for number in range(300)])
        told = first_read_step(here)
        octets = sum(len(octets) for octets in dovecot.raw(mailbox_user).values())
        assert f"INBOX was never read: first-read = all takes 300 messages, about {octets / 1e6:.1f} MB" in told
        here.put(A, {"first-read": "new"})
        assert "first-read = new takes 0 messages" in first_read_step(here)
        here.read()
        assert first_read_step(here) == ""
        assert here.messages() == []

    def test_p26_only_new_mail(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(number) for number in range(20)])
        here.put(A, {"first-read": "new"})
        here.read()
        dovecot.deliver(mailbox_user, letter(50))
        here.read()
        assert subjects(here) == ["Letter 50"]
        renumber(dovecot, mailbox_user, 12)
        dovecot.deliver(mailbox_user, letter(51))
        here.read()
        assert subjects(here) == ["Letter 50", "Letter 51"]
        assert numbers(here) == (21, 0, 1, 0)
        here.put(A, {"first-read": "all"})  # it acts on a folder that was never read
        assert here.read()[A]["captured"] == 0

    def test_p26_since_a_day(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        noon = datetime.datetime(2024, 1, 8, 12, tzinfo=datetime.UTC)
        for number in range(10):
            dovecot.deliver(mailbox_user, letter(number), when=noon + datetime.timedelta(days=number))
        here.put(A, {"first-read": "2024-01-15"})
        assert "first-read = 2024-01-15 takes 3 messages" in first_read_step(here)
        here.read()
        assert subjects(here) == ["Letter 7", "Letter 8", "Letter 9"]
        renumber(dovecot, mailbox_user, 12)
        assert here.read()[A]["captured"] == 0

    def test_p26_the_number_is_announced_by_the_service_and_the_choice_acts_at_the_next_cycle(
        self, here: Here, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        dovecot.seed(mailbox_user, [letter(number) for number in range(20)])
        dovecot.seed(mailbox_user, [letter(number) for number in range(30, 50)], "Work")
        with here.service() as service:
            told = service.wait("first_read", A)
            assert (told["first"], told["messages"], told["folder"]) == ("all", 20, "INBOX")
            here.put(A, {"first-read": "new", "folder-path": "Work, INBOX"})
            told = service.wait("first_read", A, count=2)
            assert (told["first"], told["messages"], told["folder"]) == ("new", 0, "Work")
            service.cycles(A)
        assert len(here.messages()) == 20

    @pytest.mark.parametrize("first", ["new", "2024-01-15"])
    def test_p26_over_pop3(self, here: Here, dovecot: Dovecot, mailbox_user: str, first: str) -> None:
        for number in range(4):
            text = letter(number).replace(b"Subject", b"Received: by x; 1%d Jan 2024 12:00:00 +0000\r\nSubject" % (3 + number))
            dovecot.deliver(mailbox_user, text)
        here.put(A, {"type": "POP3", "port": dovecot.pop3_port, "first-read": first})
        here.read()
        expected = [] if first == "new" else ["Letter 2", "Letter 3"]
        assert subjects(here) == expected
        dovecot.deliver(mailbox_user, letter(9))
        here.read()
        assert subjects(here) == [*expected, "Letter 9"]
        assert here.read()[A]["captured"] == 0

    def test_it_is_resumed_and_shown(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(number, 4000) for number in range(100)])
        here.put(A, {"maximum-msg-number": 10})
        with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
            here.put(A, {"port": proxy.port})
            proxy.cut_next(Cut("to_client", 230_000, "rst"))
            here.read(status=1)
            before = proxy.total.to_client
            [folder] = here.status(A)["folders"]
            assert (folder["first_read"]["total"], folder["first_read"]["left"]) == (100, 50)
            assert folder["first_read"]["seconds_left"] > 0
            assert re.search(r"INBOX: first read: 50 of 100, about \d+ s left", here.command("status").out)
            kept = len(here.messages())
            assert here.read()[A]["captured"] == 100 - kept
            assert proxy.total.to_client - before < 320_000  # what was left, and not all
        assert len(here.messages()) == 100
        assert here.status(A)["folders"][0]["first_read"] is None

    def test_the_terminal_shows_how_far_it_is(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(number) for number in range(1500)])
        here.put(A, {"maximum-msg-number": 100})
        with AtTerminal(here, "run", "--once") as person:
            done = person.done()
        assert done.status == 0
        assert re.search(r"[\d,]+ messages captured, [\d,]+ messages/s, [\d.,]+ MB/s, [\d,]+ left, about \d+ s", done.out)
        quiet = here.command("run", "--once")
        assert "left" not in quiet.out + quiet.err
