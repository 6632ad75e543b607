"""The file is edited while the service runs: what is noticed, and when it acts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import PATIENCE, Gate, Here, Service, basic, letter

from servers.dovecot import Dovecot
from servers.waiting import wait_for

A, B = "pop-client-a", "pop-client-b"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


@pytest.fixture
def pair(here: Here, dovecot: Dovecot, mailbox_user: str) -> Iterator[Service]:
    """A service that reads two mailboxes, A and B, and has looked at both."""
    here.put(A, basic(dovecot.imap_port, f"a.{mailbox_user}"))
    here.put(B, basic(dovecot.imap_port, f"b.{mailbox_user}"))
    with here.service() as service:
        service.looked(A)
        service.looked(B)
        yield service


# --- a value acts at the next cycle -----------------------------------------------------------------------------------


def test_an_edit_acts_at_the_next_cycle_and_not_in_the_running_one(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """The running cycle is held up in the middle of its messages, and goes to its end with what it began with."""
    dovecot.seed(mailbox_user, [letter(number, 30_000) for number in range(10)])
    with Gate(dovecot.imap_port) as proxy:
        here.put(A, basic(proxy.port, mailbox_user, after_capture="keep", maximum_msg_number=10))
        proxy.shut()
        with here.service() as service:
            assert proxy.held.wait(PATIENCE)
            here.put(A, {"after-capture": "seen", "enable-debug": "true"})
            assert service.wait("config_changed")["changed"] == A
            dovecot.deliver(mailbox_user, letter(10))
            assert proxy.connections == 1
            assert not service.events("read")
            proxy.open()
            assert service.wait("read", A)["captured"] == 10
            assert not service.events("settled")
            assert not service.events("protocol")
            assert proxy.connections == 1
            assert service.wait("read", A, count=2)["captured"] == 1
            assert service.wait("settled", A)["settled"] == 1
            assert service.events("protocol", A)
            assert proxy.connections == 2
    with dovecot.imap(mailbox_user) as connection:
        connection.select(readonly=True)
        assert connection.uid("SEARCH", "SEEN")[1] == [b"11"]


def test_an_edit_while_waiting_begins_the_next_cycle_at_once(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(A, basic(dovecot.imap_port, mailbox_user, cycle_time="1h"))
    with here.service() as service:
        service.wait("unchanged", A)
        here.put(A, {"cycle-time": "2h"})
        service.wait("unchanged", A, count=2)
        assert not service.complaints()
        assert wait_for(lambda: dovecot.sessions(mailbox_user) == 1, "the end of the first conversation")


def test_a_comment_changes_nothing(here: Here, pair: Service, dovecot: Dovecot) -> None:
    here.file.write_text("# a remark\n" + here.file.read_text())
    pair.cycles(A)
    assert not pair.events("config_changed")
    assert len(pair.events("connected")) == 2


def test_an_editor_that_writes_in_place(here: Here, pair: Service) -> None:
    here.file.write_text(here.file.read_text().replace("cycle-time = 1s", "cycle-time = 2s"))
    wait_for(lambda: len(pair.events("connected")) == 4, "both with the new value", timeout=PATIENCE)


def test_a_file_behind_a_link_that_is_turned(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """As Kubernetes puts a new version of mounted files in place: by a link to another folder."""
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    for version in ("one", "two"):
        (here.directory / version).mkdir()
        (here.directory / version / "postroom.ini").write_text(here.file.read_text())
    (here.directory / "two" / "postroom.ini").write_text(here.file.read_text().replace("1s", "2s"))
    here.file.unlink()
    (here.directory / "now").symlink_to("one")
    here.file.symlink_to("now/postroom.ini")
    with here.service() as service:
        service.looked(A)
        (here.directory / "next").symlink_to("two")
        (here.directory / "next").rename(here.directory / "now")
        assert service.wait("config_changed")["changed"] == A


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_section_with_a_fault_keeps_its_running_values(here: Here, pair: Service, dovecot: Dovecot, mailbox_user: str) -> None:
    before = pair.mark()
    here.change({A: {"cycle-time": "often", "mailbox": f"new.{mailbox_user}"}, B: {"mailbox": f"new.b.{mailbox_user}"}})
    fault = pair.wait("config_fault")
    line = here.line_of("cycle-time = often")
    assert fault["level"] == "error"
    assert fault["fault"].startswith(f"{here.file}:{line}: [{A}] cycle-time = 'often': is not a time span. Valid: a time span:")
    assert pair.wait("config_changed")["changed"] == B  # the other takes its value
    pair.wait("connected", B, since=before)
    pair.cycles(A)
    assert not pair.events("connected", A, since=before)
    dovecot.deliver(f"a.{mailbox_user}", letter(1))
    pair.wait("read", A)
    # a further edit does not tell the same again
    here.put(B, {"cycle-time": "2s"})
    pair.wait("config_changed", count=2)
    assert len(pair.events("config_fault")) == 1
    # mended
    dovecot.deliver(f"new.{mailbox_user}", letter(2))
    here.put(A, {"cycle-time": "1s"})
    pair.wait("connected", A, since=before)
    pair.wait("read", A, count=2)


def test_a_file_that_cannot_be_read_leaves_everything_as_it_runs(here: Here, pair: Service) -> None:
    text = here.file.read_text()
    here.write("name = value before any section\n" + text)
    assert "this stands before the first section" in pair.wait("config_fault")["fault"]
    here.file.unlink()
    assert "the file cannot be read (No such file or directory)" in pair.wait("config_fault", count=2)["fault"]
    pair.cycles(A)
    pair.cycles(B)
    assert not pair.events("config_changed")
    here.write(text.replace("1s", "2s"))
    wait_for(lambda: len(pair.events("connected")) == 4, "both with the new value", timeout=PATIENCE)


def test_what_acts_at_a_start_only_is_left(here: Here, pair: Service, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put("settings", {"data-directory": here.directory / "elsewhere"})
    here.put(A, {"cycle-time": "2s"})
    pair.wait("config_changed")
    dovecot.deliver(f"a.{mailbox_user}", letter(1))
    pair.wait("read", A)
    assert not (here.directory / "elsewhere").exists()


def test_a_new_client_with_a_fault_stays_down_alone(here: Here, pair: Service, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put("pop-client-c", basic(dovecot.imap_port, f"c.{mailbox_user}", password="env:NOT_THERE"))
    assert "names the variable NOT_THERE, which is not set" in pair.wait("config_fault")["fault"]
    here.put("pop-client-c", {"password": "pw"})
    pair.wait("connected", "pop-client-c")


# --- clients come and go ----------------------------------------------------------------------------------------------


def test_clients_are_added_and_removed(here: Here, pair: Service, dovecot: Dovecot, mailbox_user: str) -> None:
    here.change({A: None, "pop-client-c": basic(dovecot.imap_port, f"c.{mailbox_user}")})
    changed = pair.wait("config_changed")
    assert (changed["added"], changed["removed"], changed["changed"]) == ("pop-client-c", A, "")
    pair.wait("connected", "pop-client-c")
    wait_for(lambda: dovecot.sessions(f"a.{mailbox_user}") == 0, "the end of the removed one's conversation")
    before = pair.mark()
    pair.cycles("pop-client-c")
    pair.cycles(B)
    assert not pair.events("unchanged", A, since=before)
    # and back
    here.put(A, basic(dovecot.imap_port, f"a.{mailbox_user}"))
    pair.wait("connected", A, since=before)


def test_a_client_is_disabled_and_enabled(here: Here, pair: Service, dovecot: Dovecot, mailbox_user: str) -> None:
    dovecot.deliver(f"a.{mailbox_user}", letter(1))
    pair.wait("read", A)
    here.put(A, {"enable-client": "false"})
    pair.wait("config_changed")
    wait_for(lambda: dovecot.sessions(f"a.{mailbox_user}") == 0, "the end of its conversation")
    status = here.status(A)
    assert (status["health"], status["fault"]) == ("disabled", "enable-client = false")
    dovecot.deliver(f"a.{mailbox_user}", letter(2))
    before = pair.mark()
    here.put(A, {"enable-client": "true"})
    assert pair.wait("read", A, since=before)["captured"] == 1  # its state was not lost
    assert len(here.messages()) == 2


def test_removed_in_the_middle_of_a_cycle(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """The running cycle keeps what it began with, even the client."""
    dovecot.seed(mailbox_user, [letter(number, 30_000) for number in range(5)])
    with Gate(dovecot.imap_port) as proxy:
        here.put(A, basic(proxy.port, mailbox_user))
        proxy.shut()
        with here.service() as service:
            assert proxy.held.wait(PATIENCE)
            here.change({A: None})
            assert service.wait("config_changed")["removed"] == A
            proxy.open()
            assert service.wait("read", A)["captured"] == 5
            wait_for(lambda: proxy.living == 0, "the end of the conversation")


def test_disabled_while_it_waits_after_a_fault(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(A, basic(1, mailbox_user))
    with here.service() as service:
        service.wait("retrying", A)
        here.put(A, {"enable-client": "false"})
        service.wait("config_changed")
        wait_for(lambda: here.status(A)["health"] == "disabled", "its rest")
        here.put(A, {"enable-client": "true", "port": dovecot.imap_port})
        service.wait("connected", A)


# --- values from elsewhere --------------------------------------------------------------------------------------------


def test_a_password_file_is_watched_too(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """In a folder of its own; while it is wrong or missing, nothing else suffers."""
    secrets = here.directory / "secrets"
    secrets.mkdir()
    (secrets / "mailbox").write_text("not the password\n")
    here.put(A, basic(dovecot.imap_port, mailbox_user, password="file:secrets/mailbox"))
    with here.service() as service:
        service.wait("needs_person", A)
        (secrets / "mailbox").write_text("pw\n")
        assert service.wait("config_changed")["changed"] == A
        service.wait("recovered", A)
        (secrets / "mailbox").unlink()
        assert f"names {secrets / 'mailbox'}, which cannot be read" in service.wait("config_fault")["fault"]
        service.cycles(A)  # with the former value
        (secrets / "mailbox").write_text("pw")
        here.put(A, {"cycle-time": "2s"})
        service.wait("connected", A, count=2)


def test_a_password_file_in_a_folder_that_is_not_there_yet(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """The file itself must still be watched."""
    here.put(A, basic(dovecot.imap_port, mailbox_user, password="file:no-such-folder/mailbox"))
    with here.service() as service:
        service.wait("config_fault")
        here.put(A, {"password": "pw"})
        service.wait("connected", A)


def test_the_edits_right_after_the_start_count(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """Between the reading of the file and the first look at its folder nothing is lost."""
    here.put(A, basic(dovecot.imap_port, mailbox_user, enable_client="false"))
    with here.service() as service:
        here.put(A, {"enable-client": "true"})
        service.wait("connected", A)


def test_sighup_reads_the_file_again(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """Also where nothing tells that it changed: here size and time are as they were, and it is written in place."""
    here.put(A, basic(dovecot.imap_port, mailbox_user, enable_debug="false "))
    with here.service() as service:
        service.cycles(A, 3)
        stamp = here.file.stat()
        with here.file.open("r+") as file:
            text = file.read()
            file.seek(0)
            file.write(text.replace("enable-debug = false ", "enable-debug = true  "))
            file.flush()
            os.utime(file.fileno(), ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        service.cycles(A)
        assert not service.events("config_changed")
        service.reload()
        assert service.wait("config_changed")["changed"] == A
        service.wait("protocol", A)


# --- the log ----------------------------------------------------------------------------------------------------------


def test_the_logs_level_and_format_act_immediately(here: Here, pair: Service) -> None:
    here.put("log", {"level": "info"})
    here.put("pop-client-c", {"enable-client": "false", "type": "imap", "mailbox": "c@gmail.com", "password": "x"})
    pair.wait("config_changed")
    before, cycles = pair.mark(), count(pair, A)
    wait_for(lambda: count(pair, A) > cycles, "a cycle that nobody tells of")
    assert not pair.events("unchanged", since=before)
    here.put("log", {"level": "debug"})
    pair.wait("unchanged", since=before)
    here.put("log", {"format": "text"})
    wait_for(lambda: " debug   unchanged client=pop-client-a folder=INBOX" in pair.log.read_text(), "a line of text")
    here.put("log", {"format": "json"})
    before = pair.mark()
    pair.wait("unchanged", since=before)


def count(service: Service, client: str) -> float:
    """Cycles that found nothing new, by the metrics."""
    start = f'postroom_cycles_total{{client="{client}",outcome="unchanged"}} '
    return float(next(line for line in service.get("/metrics").splitlines() if line.startswith(start)).removeprefix(start))


# --- new mail ---------------------------------------------------------------------------------------------------------


def test_the_first_mail_of_an_empty_mailbox_after_a_start(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """What SELECT said of the next number is not true any more when mail arrives."""
    here.put(A, basic(dovecot.imap_port, mailbox_user, cycle_time="1h", enable_debug="true"))
    here.read()
    with here.service() as service:
        idling(service, 1)
        dovecot.deliver(mailbox_user, letter(1))
        assert service.wait("read", A)["captured"] == 1


def test_mail_in_the_first_of_several_folders(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """It is opened anew for IDLE after the others were looked at."""
    dovecot.deliver(mailbox_user, letter(0))
    dovecot.doveadm("mailbox", "create", "-u", mailbox_user, "Second")
    options = {"cycle_time": "1h", "enable_debug": "true", "folder_path": "INBOX, Second"}
    here.put(A, basic(dovecot.imap_port, mailbox_user, **options))
    with here.service() as service:
        for number in range(1, 4):
            idling(service, number)
            dovecot.deliver(mailbox_user, letter(number))
            assert service.wait("read", A, count=number + 1)["captured"] == 1


def idling(service: Service, times: int) -> None:
    """Wait until the server has said so often that it idles."""
    wait_for(
        lambda: sum(event["line"].startswith("+ idling") for event in service.events("protocol", A)) >= times,
        f"IDLE for the {times}. time",
    )
