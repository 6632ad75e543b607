"""Which message is which, when servers and operators do what they should not: nothing lost, nothing kept twice, nothing
destroyed that is not here.

The servers are real where a real one can be made to do it, else scripted; Postroom is ``postroom run --once`` as a process
of its own, or in this process where the test moves the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import resource
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from crash.program import PATIENCE, Postroom, kill
from crash.scripted import Mail, Poor, ScriptedServer
from postroom.app.config import Live, load
from postroom.app.observing import Quiet
from postroom.app.serve import assembled, run_once
from postroom.clock import SystemClock
from postroom.engine.supervise import Result
from servers.dovecot import Dovecot
from servers.dovecot_config import PASSWORD
from servers.proxy import Cut, FaultProxy
from servers.waiting import wait_for

LOGOUT = len(b"P1 LOGOUT\r\n")


def letter(number: int, size: int = 200) -> bytes:
    """A message; each number has its own octets and its own length."""
    head = f"From: a@example.test\r\nSubject: Letter {number}\r\nMessage-ID: <{number}@example.test>\r\n\r\n"
    return (head + f"{number} {'x' * (size + 10 * number)}\r\n").encode()


def letters(*numbers: int) -> Counter[str]:
    """The digests of these letters; a number twice is two."""
    return digests(letter(number) for number in numbers)


def digests(messages: Iterable[bytes]) -> Counter[str]:
    return Counter(hashlib.sha256(message).hexdigest() for message in messages)


class MovedClock(SystemClock):
    """The machine's clock, moved on by a test."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return super().now() + self.ahead


class HastyClock(MovedClock):
    """A clock on which every wait is over at once; ``hours_later`` is set when it is three hours ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.hours_later = asyncio.Event()

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.ahead += seconds
        if self.ahead > 3 * 3600:
            self.hours_later.set()
        await super().sleep(0.001)


class Here(Postroom):
    """Postroom for one mailbox."""

    def __init__(self, directory: Path, port: int, user: str) -> None:
        super().__init__(directory)
        self.clock: MovedClock = MovedClock()
        self._options = {
            "type": "imap",
            "server": "localhost",
            "port": str(port),
            "pop-connection-security": "none",
            "mailbox": user,
            "password": PASSWORD,
            "processed-folder-path": "Processed",
        }
        self.configure()

    def configure(self, section: str = "pop-client-a", **options: object) -> None:
        """Write the file; options that are given stay for the next time."""
        self._options |= {name.replace("_", "-"): str(value) for name, value in options.items()}
        lines = ["[settings]", f"data-directory = {self.directory / 'data'}", "[web]", "listen = 127.0.0.1:0", f"[{section}]"]
        lines += [f"{name} = {value}" for name, value in self._options.items()]
        (self.directory / "postroom.ini").write_text("\n".join(lines) + "\n")

    def read(self) -> dict[str, object]:
        """``run --once``, which must come to a good end; its report."""
        ended = self.run_once()
        assert ended.status == 0, ended
        [report] = ended.reports
        return report

    def read_within(self) -> Result:
        """The same in this process, by the moved clock."""
        live = Live(load(self.directory / "postroom.ini", {}), {})
        log = Quiet(live, self.clock, io.StringIO())
        [result] = asyncio.run(run_once(live, log, list(live.configuration.sections), clock=self.clock))
        assert result.error is None
        return result

    def digests(self) -> Counter[str]:
        """What is kept."""
        return Counter(message.digest for message in self.kept())

    def troubles(self) -> list[tuple[str, str]]:
        """Identifier and kind of every message that is listed and not yet had."""
        [status] = map(json.loads, self.output("status", "--json").splitlines())
        return [(trouble["identifier"], trouble["kind"]) for trouble in status["troubles"]]


@pytest.fixture
def here(dovecot: Dovecot, mailbox_user: str, tmp_path: Path) -> Here:
    return Here(tmp_path, dovecot.imap_port, mailbox_user)


def stop_before_settling(here: Here, dovecot: Dovecot, user: str, after: str) -> None:
    """A run that captures all and is killed before it settles anything.

    A run that keeps all shows how much is said before the end; then, with the store as it was, another is held up at that
    octet, and killed.
    """
    data, aside = here.directory / "data", here.directory / "aside"
    before = dovecot.raw(user)
    with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
        if data.exists():
            shutil.copytree(data, aside)
        here.configure(port=proxy.port, after_capture="keep")
        here.read()
        count = len(here.kept())
        shutil.rmtree(data)
        if aside.exists():
            aside.rename(data)
        here.configure(after_capture=after)
        proxy.cut_next(Cut("to_server", proxy.total.to_server - LOGOUT // 2, "stall"))
        with here.running("run", "--once") as process:
            wait_for(lambda: len(here.kept()) == count, "the capture", timeout=PATIENCE)
            kill(process)
    assert dovecot.raw(user) == before
    here.configure(port=dovecot.imap_port)


class TestRestoredBackup:
    """The same UIDVALIDITY, and numbers handed out again."""

    @pytest.mark.parametrize(
        ("after", "new"),
        [
            *(("keep", new) for new in (0, 1, 3, 6)),
            *(("delete", new) for new in (0, 3, 4)),
            *(("move", new) for new in (1, 3, 6)),
            ("seen", 3),
        ],
    )
    def test_all_that_ever_was_is_here_once(
        self, here: Here, dovecot: Dovecot, mailbox_user: str, tmp_path: Path, after: str, new: int
    ) -> None:
        """With fewer than three new ones UIDNEXT runs back, with three it is the same, with more it has passed."""
        here.configure(after_capture=after)
        dovecot.seed(mailbox_user, [letter(number) for number in range(7)])
        dovecot.copy_maildir(mailbox_user, tmp_path / "backup")
        for number in range(7, 10):
            dovecot.deliver(mailbox_user, letter(number))
        here.read()
        dovecot.restore_maildir(mailbox_user, tmp_path / "backup")
        for number in range(10, 10 + new):
            dovecot.deliver(mailbox_user, letter(number))
        here.read()
        assert here.digests() == letters(*range(10 + new))
        assert_settled(dovecot, mailbox_user, after, letters(*range(7), *range(10, 10 + new)))
        assert here.read()["captured"] == 0

    @pytest.mark.parametrize("new", [1, 3, 4])
    def test_in_the_second_folder(self, here: Here, dovecot: Dovecot, mailbox_user: str, tmp_path: Path, new: int) -> None:
        """A folder that is looked at by STATUS, where the server can do that."""
        here.configure(folder_path="First, INBOX")
        dovecot.seed(mailbox_user, [letter(100)], "First")
        dovecot.seed(mailbox_user, [letter(number) for number in range(7)])
        dovecot.copy_maildir(mailbox_user, tmp_path / "backup")
        for number in range(7, 10):
            dovecot.deliver(mailbox_user, letter(number))
        here.read()
        dovecot.restore_maildir(mailbox_user, tmp_path / "backup")
        for number in range(10, 10 + new):
            dovecot.deliver(mailbox_user, letter(number))
        here.read()
        assert here.digests() == letters(100, *range(10 + new))

    @pytest.mark.parametrize(("after", "new"), [("delete", 0), ("delete", 3), ("delete", 4), ("move", 1), ("move", 3)])
    def test_killed_before_settling(
        self, here: Here, dovecot: Dovecot, mailbox_user: str, tmp_path: Path, after: str, new: int
    ) -> None:
        here.configure(after_capture=after)
        dovecot.seed(mailbox_user, [letter(number) for number in range(7)])
        dovecot.copy_maildir(mailbox_user, tmp_path / "backup")
        for number in range(7, 10):
            dovecot.deliver(mailbox_user, letter(number))
        stop_before_settling(here, dovecot, mailbox_user, after)
        dovecot.restore_maildir(mailbox_user, tmp_path / "backup")
        for number in range(10, 10 + new):
            dovecot.deliver(mailbox_user, letter(number))
        here.read()
        assert here.digests() == letters(*range(10 + new))
        assert_settled(dovecot, mailbox_user, after, letters(*range(7), *range(10, 10 + new)))

    def test_killed_before_settling_in_a_later_cycle(self, here: Here, dovecot: Dovecot, mailbox_user: str, tmp_path: Path) -> None:
        """What the state speaks of is still the same; what was captured behind it is not."""
        dovecot.seed(mailbox_user, [letter(number) for number in range(3)])
        here.read()
        dovecot.copy_maildir(mailbox_user, tmp_path / "backup")
        dovecot.deliver(mailbox_user, letter(3))
        stop_before_settling(here, dovecot, mailbox_user, "delete")
        dovecot.restore_maildir(mailbox_user, tmp_path / "backup")
        dovecot.deliver(mailbox_user, letter(4))
        here.read()
        assert here.digests() == letters(0, 1, 2, 3, 4)
        assert digests(dovecot.raw(mailbox_user).values()) == letters(0, 1, 2)  # these were to be kept


def assert_settled(dovecot: Dovecot, user: str, after: str, messages: Counter[str]) -> None:
    """What the disposition leaves of these messages at the server."""
    left = digests(dovecot.raw(user).values())
    assert left == (messages if after in ("keep", "seen") else Counter())
    if after == "move":
        moved = digests(dovecot.raw(user, "Processed").values()) if messages else Counter[str]()
        assert moved == messages
    if after == "seen":
        assert f"unseen={0}" in dovecot.doveadm("-f", "flow", "mailbox", "status", "-u", user, "unseen", "INBOX")


class TestChangedUidvalidity:
    def test_nothing_is_kept_twice_and_twins_stay_two(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(1), letter(2), letter(2), letter(3)])
        here.read()
        assert here.digests() == letters(1, 2, 2, 3)
        change_validity(dovecot, mailbox_user)
        report = here.read()
        assert (report["captured"], report["matched"]) == (0, 4)
        assert here.digests() == letters(1, 2, 2, 3)
        dovecot.deliver(mailbox_user, letter(4))
        here.read()
        assert here.digests() == letters(1, 2, 2, 3, 4)

    def test_new_mail_comes_with_the_new_number(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(1), letter(2), letter(2)])
        here.read()
        dovecot.deliver(mailbox_user, letter(2))  # a third twin
        dovecot.deliver(mailbox_user, letter(5))
        change_validity(dovecot, mailbox_user)
        report = here.read()
        assert (report["captured"], report["matched"]) == (2, 3)
        assert here.digests() == letters(1, 2, 2, 2, 5)

    def test_in_the_middle_of_a_first_read(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(number) for number in range(40)])
        here.configure(maximum_msg_number=10)
        with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
            here.configure(port=proxy.port)
            proxy.cut_next(Cut("to_client", 12_000, "rst"))
            assert here.run_once().status == 1
        assert 0 < len(here.kept()) < 40
        change_validity(dovecot, mailbox_user)
        here.configure(port=dovecot.imap_port)
        here.read()
        assert here.digests() == letters(*range(40))

    @pytest.mark.parametrize("after", ["delete", "move"])
    def test_killed_before_settling(self, here: Here, dovecot: Dovecot, mailbox_user: str, after: str) -> None:
        here.configure(after_capture=after)
        dovecot.seed(mailbox_user, [letter(1), letter(2), letter(2)])
        stop_before_settling(here, dovecot, mailbox_user, after)
        change_validity(dovecot, mailbox_user)
        dovecot.deliver(mailbox_user, letter(3))
        here.read()
        assert here.digests() == letters(1, 2, 2, 3)
        assert_settled(dovecot, mailbox_user, after, letters(1, 2, 2, 3))

    def test_a_new_message_with_the_octets_of_a_deleted_one(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.configure(after_capture="delete")
        dovecot.seed(mailbox_user, [letter(1), letter(2)])
        here.read()
        change_validity(dovecot, mailbox_user)
        dovecot.deliver(mailbox_user, letter(2))
        here.read()
        assert here.digests() == letters(1, 2, 2)


def change_validity(dovecot: Dovecot, user: str, value: int = 4242, folder: str = "INBOX") -> None:
    dovecot.doveadm("mailbox", "update", "-u", user, "--uid-validity", str(value), folder)


@pytest.fixture
def scripted(tmp_path: Path) -> Iterator[tuple[ScriptedServer, Here]]:
    with ScriptedServer([Mail(uid, letter(uid)) for uid in (1, 2, 3)]) as server:
        yield server, Here(tmp_path, server.port, "a@example.test")


class TestAnnouncedBeforeItsBody:
    @pytest.mark.parametrize(
        ("poor", "after"),
        [
            ("no item", "delete"),
            ("no item", "keep"),
            ("NIL", "delete"),
            ("empty string", "keep"),
            ("empty literal", "delete"),
            ("NO", "keep"),
            ("no answer", "delete"),
        ],
    )
    def test_it_is_waited_for_and_blocks_nobody(self, scripted: tuple[ScriptedServer, Here], poor: Poor, after: str) -> None:
        server, here = scripted
        here.configure(after_capture=after)
        late = server.mail[1]
        late.poor = poor
        here.read()
        assert here.digests() == letters(1, 3)
        assert here.troubles() == [("7/2", "fault")]
        assert late in server.mail
        server.mail.append(Mail(4, letter(4)))
        for _ in range(3):  # in vain, each time later
            before = late.withheld
            here.read_within()
            assert late.withheld == before, "it was asked for before its time"
            here.clock.ahead += 7 * 3600
            here.read_within()
            assert late.withheld > before
            assert here.troubles() == [("7/2", "fault")]
        assert here.digests() == letters(1, 3, 4)
        late.poor = None
        here.clock.ahead += 7 * 3600
        here.read_within()
        assert here.digests() == letters(1, 2, 3, 4)
        assert here.troubles() == []
        here.clock.ahead += 7 * 3600
        assert here.read_within().watch.total.captured == 0
        assert [mail.uid for mail in server.mail] == ([1, 2, 3, 4] if after == "keep" else [])


class TestExpungedBeforeItsFetch:
    def test_it_is_gone_when_a_later_conversation_says_so_too(self, scripted: tuple[ScriptedServer, Here]) -> None:
        server, here = scripted
        server.mail[1].poor = "expunged"
        here.read()
        assert here.digests() == letters(1, 3)
        assert here.troubles() == [("7/2", "absent")]
        del server.mail[1]
        asked = server.asked("BODY.PEEK", "2")
        here.read_within()
        assert here.troubles() == [("7/2", "absent")]
        assert server.asked("BODY.PEEK", "2") == asked, "once more in the same minute proves nothing"
        here.clock.ahead += 300
        here.read_within()
        assert server.asked("BODY.PEEK", "2") == asked + 1
        assert here.troubles() == []
        here.clock.ahead += 300
        here.read_within()
        assert server.asked("BODY.PEEK", "2") == asked + 1
        assert here.digests() == letters(1, 3)

    async def test_one_conversation_alone_proves_nothing(self, scripted: tuple[ScriptedServer, Here]) -> None:
        """A server may hold on to what it told a conversation at its beginning; only another one can bear it out."""
        server, here = scripted
        server.mail[1].poor = "expunged"
        clock = here.clock = HastyClock()
        live = Live(load(here.directory / "postroom.ini", {}), {})
        async with assembled(live, Quiet(live, clock, io.StringIO()), clock) as service:
            service.supervisor.start(list(live.configuration.clients))
            await asyncio.wait_for(clock.hours_later.wait(), PATIENCE)
            await service.supervisor.stop()
        assert server.conversations > 1 or here.troubles() == [("7/2", "absent")]

    def test_it_was_hidden_only_for_a_moment(self, scripted: tuple[ScriptedServer, Here]) -> None:
        server, here = scripted
        server.mail[1].poor = "expunged"
        here.read()
        server.mail[1].poor = None
        here.clock.ahead += 300
        here.read_within()
        assert here.digests() == letters(1, 2, 3)
        assert here.troubles() == []


class TestNames:
    def test_two_folders_with_equal_numbers(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(1), letter(2)])
        dovecot.seed(mailbox_user, [letter(3), letter(2)], "Archive")
        for folder in ("INBOX", "Archive"):
            change_validity(dovecot, mailbox_user, 77, folder)
        here.configure(folder_path="INBOX, Archive")
        here.read()
        kept = here.kept()
        assert sorted(message.identifier for message in kept) == ["77/1", "77/1", "77/2", "77/2"]
        assert here.digests() == letters(1, 2, 3, 2)
        assert here.read()["captured"] == 0

    def test_a_renamed_section(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(1), letter(2)])
        here.read()
        dovecot.deliver(mailbox_user, letter(3))
        here.configure(section="pop-client-renamed")
        assert here.read()["captured"] == 1
        assert here.digests() == letters(1, 2, 3)

    def test_a_section_pointed_at_another_mailbox(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        other = f"other-{mailbox_user}"
        dovecot.seed(mailbox_user, [letter(1), letter(2)])
        dovecot.seed(other, [letter(1), letter(4)])
        for user in (mailbox_user, other):
            change_validity(dovecot, user, 77)
        here.read()
        here.configure(mailbox=other)
        assert here.read()["captured"] == 2
        assert here.digests() == letters(1, 2, 1, 4)
        here.configure(mailbox=mailbox_user)
        assert here.read()["captured"] == 0


class TestTwoProcesses:
    def test_the_second_says_so_and_takes_over_when_the_first_is_killed(
        self, here: Here, dovecot: Dovecot, mailbox_user: str
    ) -> None:
        dovecot.seed(mailbox_user, [letter(number) for number in range(20)])
        with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
            here.configure(port=proxy.port)
            proxy.cut_next(Cut("to_client", 3000, "stall"))
            with here.running("run", "--once") as first:
                wait_for(lambda: proxy.total.to_client == 3000, "a conversation under way", timeout=PATIENCE)
                second = Postroom(second_directory(here))
                ended = second.run_once()
                assert ended.status == 3
                assert "Another process reads this mailbox" in ended.reported
                assert first.poll() is None
                kill(first)
            report = here.read()
        assert report["captured"] == 20
        assert here.digests() == letters(*range(20))

    def test_a_service_is_taken_over_from_by_a_waiting_service(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(1)])
        second = Postroom(second_directory(here))
        with here.running("run") as first:
            wait_for(lambda: '"read"' in here.log_text(), "the first service", timeout=PATIENCE)
            with second.running("run"):
                wait_for(lambda: '"elsewhere"' in second.log_text(), "the second service", timeout=PATIENCE)
                kill(first)
                dovecot.deliver(mailbox_user, letter(2))
                wait_for(lambda: '"read"' in second.log_text(), "the second service to take over", timeout=PATIENCE)
        assert here.digests() == letters(1, 2)


def second_directory(here: Here) -> Path:
    """A place for the output of another process with the same configuration and store."""
    directory = here.directory / "second"
    directory.mkdir()
    shutil.copy(here.directory / "postroom.ini", directory)
    return directory


class TestDiskFull:
    """What there is room for is kept; nothing is destroyed at the server that is not here; with room again it goes on."""

    SIZE = 40_000
    COUNT = 60

    def seeded(self, dovecot: Dovecot, user: str) -> Counter[str]:
        messages = [letter(number, self.SIZE) for number in range(self.COUNT)]
        dovecot.seed(user, messages)
        return digests(messages)

    def nothing_is_lost(self, here: Here, dovecot: Dovecot, user: str, all_: Counter[str]) -> None:
        left = digests(dovecot.raw(user).values())
        assert not all_ - left - here.digests()

    def test_a_service_holds_still_and_goes_on_by_itself(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        all_ = self.seeded(dovecot, mailbox_user)
        here.configure(after_capture="delete")
        with here.running("run", prepare=files_end_early) as service:
            wait_for(lambda: '"store_trouble"' in here.log_text(), "a full disk", timeout=PATIENCE)
            [trouble] = [json.loads(line) for line in here.log_text().splitlines() if "store_trouble" in line]
            assert trouble["error"].startswith("The disk is full")
            self.nothing_is_lost(here, dovecot, mailbox_user, all_)
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            wait_for(lambda: '"recovered"' in here.log_text(), "new work", timeout=PATIENCE)
            wait_for(lambda: not dovecot.raw(mailbox_user), "the mailbox to be settled", timeout=PATIENCE)
        assert here.digests() == all_

    def test_a_single_run(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        all_ = self.seeded(dovecot, mailbox_user)
        here.configure(after_capture="delete")
        with here.running("run", "--once", "--json", prepare=files_end_early) as process:
            ended = here.ended(process)
        assert ended.status == 1
        assert str(ended.reports[0]["error"]).startswith("The disk is full")
        self.nothing_is_lost(here, dovecot, mailbox_user, all_)
        here.read()
        assert here.digests() == all_
        assert not dovecot.raw(mailbox_user)

    @pytest.mark.parametrize("octets", [400_000, 1_000_000, 2_000_000])
    def test_a_disk_of_its_own(self, here: Here, dovecot: Dovecot, mailbox_user: str, octets: int) -> None:
        all_ = self.seeded(dovecot, mailbox_user)
        here.configure(after_capture="delete")
        data = here.directory / "data"
        data.mkdir()
        with small_disk(data, octets) as enlarge:
            ended = here.run_once()
            assert ended.status == 1
            words = ended.errors + str(ended.reported)
            assert "The disk is full" in words
            left = digests(dovecot.raw(mailbox_user).values())
            enlarge()
            assert not all_ - left - here.digests()
            here.read()
            assert here.digests() == all_
            assert not dovecot.raw(mailbox_user)


def files_end_early() -> None:
    """No file may grow beyond a megabyte, until the soft limit is raised."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))


@contextlib.contextmanager
def small_disk(directory: Path, octets: int) -> Iterator[Callable[[], None]]:
    """A file system in memory with so much room; the value makes it large."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems; the tests with limited files cover the rest")

    def mount(*options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", directory], check=True, capture_output=True)

    try:
        mount(f"size={octets}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine mounts nothing: {error.stderr.decode().strip()}")
    try:
        yield lambda: mount("remount", "size=100m")
    finally:
        subprocess.run(["umount", directory], check=True)
