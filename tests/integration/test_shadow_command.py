"""``postroom shadow``: beside getmail6 at a real server, with the service, and stopped anywhere."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from running import Here, basic, letter

from servers.dovecot import Dovecot
from servers.fetcher import Mailbox
from servers.getmail import Getmail

A = "pop-client-a"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def numbers(report: dict[str, object]) -> tuple[object, object, object]:
    return report["both"], report["only_there"], report["only_here"]


def owners(here: Here) -> dict[str, str | None]:
    return {row["subject"]: row["handled"] for row in here.messages()}


def test_a_cut_over_beside_getmail(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """Compared, taken over, undone, taken over: nothing is changed at the server before the client's settings hold."""
    here.put(A, basic(dovecot.imap_port, mailbox_user, after_capture="delete"))
    dovecot.seed(mailbox_user, [letter(number) for number in range(4)])
    with Getmail(Mailbox("imap", dovecot.host, dovecot.imap_port, mailbox_user)) as getmail:
        assert getmail.run().status == 0
        dovecot.seed(mailbox_user, [letter(4)])
        maildir = ("--maildir", str(getmail.maildir))
        told = here.command("shadow", "--json", "a", *maildir, status=4).objects
        assert numbers(told[0]) == (4, 0, 1)
        assert (told[1]["only"], told[1]["message_id"]) == ("here", "4@example.test")
        assert "a: 4 both, 0 only there, 1 only here" in here.command("shadow", "a", *maildir, status=4).out
        assert getmail.run().status == 0
        assert numbers(here.command("shadow", "--json", "a", *maildir).object) == (5, 0, 0)
        assert len(dovecot.raw(mailbox_user)) == 5
        assert set(owners(here).values()) == {"shadow"}

        dovecot.seed(mailbox_user, [letter(5)])
        here.command("shadow", "a", *maildir, "--take-over")
        assert owners(here) == {**{f"Letter {n}": "elsewhere" for n in range(5)}, "Letter 5": None}
        here.command("shadow", "a", "--undo")
        assert set(owners(here).values()) == {"shadow"}
        here.command("shadow", "a", *maildir, "--take-over")
        dovecot.seed(mailbox_user, [letter(6)])
        here.read()
        assert owners(here) == {**{f"Letter {n}": "elsewhere" for n in range(5)}, "Letter 5": None, "Letter 6": None}
        assert sorted(dovecot.raw(mailbox_user).values()) == [letter(number) for number in range(5)]
        here.command("shadow", "a", *maildir, "--take-over")  # done already
        here.command("shadow", "a", *maildir, status=1)  # read here now
        assert (
            here.command("shadow", "a", "--undo", status=1).err.count(
                "captured, settled or handed to an application since the take-over"
            )
            == 1
        )


def test_flags_stay_as_they_are(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """Not even that a message is recent changes: EXAMINE and PEEK."""
    here.put(A, basic(dovecot.imap_port, mailbox_user, after_capture="seen"))
    dovecot.seed(mailbox_user, [letter(number) for number in range(3)])
    here.command("shadow", "a")
    with dovecot.imap(mailbox_user) as connection:
        _, answer = connection.select("INBOX")
        assert connection.response("RECENT")[1] == [b"3"]
        _, flags = connection.fetch("1:3", "(FLAGS)")
        assert all(b"\\Seen" not in line for line in flags if isinstance(line, bytes))
    assert answer == [b"3"]


def test_the_service_reads_in_shadow_and_hands_over_at_once(
    here: Here, dovecot: Dovecot, mailbox_user: str, tmp_path: Path
) -> None:
    none = tmp_path / "none"
    none.write_bytes(b"")
    here.put(A, basic(dovecot.imap_port, mailbox_user, after_capture="delete"))
    here.command("shadow", "a")
    with here.service() as service:
        dovecot.seed(mailbox_user, [letter(1)])
        service.wait("read", A)
        told = here.command("shadow", "--json", "a", "--message-ids", str(none), status=4)
        assert numbers(told.objects[0]) == (0, 0, 1)
        assert "read by process" in told.err
        here.command("shadow", "a", "--message-ids", str(none), "--take-over", status=3)
        here.put(A, {"enable-client": "false"})
        service.wait("config_changed", count=1)
    here.command("shadow", "a", "--message-ids", str(none), "--take-over")
    here.put(A, {"enable-client": "true"})
    here.read()
    assert dovecot.raw(mailbox_user) == {}
    assert owners(here) == {"Letter 1": None}


def test_what_cannot_be_asked_for(here: Here, dovecot: Dovecot, mailbox_user: str, tmp_path: Path) -> None:
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    here.command("shadow", "a", "--take-over", status=2)
    here.command("shadow", "a", "--undo", status=1)
    here.command("shadow", "a", "--undo", "--maildir", str(tmp_path), status=2)
    here.command("shadow", "a", "--maildir", str(tmp_path), status=2)  # it is none
    here.command("shadow", "a", "--mbox", str(here.file), "--message-ids", str(here.file), status=2)
    here.put(A, {"password": "wrong"})
    here.command("shadow", "a", status=1)


def test_p26_killed_anywhere_it_is_run_again(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """Each attempt is killed a little later, until one comes to its end; then all is as if none had been."""
    here.put(A, basic(dovecot.imap_port, mailbox_user, after_capture="delete"))
    dovecot.seed(mailbox_user, [letter(number) for number in range(60)])
    with Getmail(Mailbox("imap", dovecot.host, dovecot.imap_port, mailbox_user)) as getmail:
        assert getmail.run().status == 0
        dovecot.seed(mailbox_user, [letter(number) for number in range(60, 80)])
        kills = 0
        for attempt in range(40):
            process = here.start("shadow", "a", "--maildir", str(getmail.maildir), "--take-over")
            try:
                process.wait(0.2 * 1.2**attempt)  # however slow the machine is, one comes to its end
                break
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
        process.communicate()
        assert process.returncode == 0  # also where the take-over was made before the last kill
        assert kills > 3
        found = owners(here)
        assert found == {f"Letter {n}": "elsewhere" if n < 60 else None for n in range(80)}
        here.read()
        assert sorted(dovecot.raw(mailbox_user).values()) == sorted(letter(number) for number in range(60))
