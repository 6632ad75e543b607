"""The demo as a newcomer starts it: through a pipe, on a terminal, and where something is in its way."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest
from rich.cells import cell_len

from postroom.app.config import load
from postroom.sandbox.demo_play import Proof
from postroom.sandbox.demo_record import Broken, Delivery, Record
from postroom.sandbox.demo_words import GMAIL
from postroom.settings import Severity

DEMO = (sys.executable, "-m", "postroom.sandbox.demo")
PATIENCE = 60.0  # seconds for a whole demo
PLAIN = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "FORCE_COLOR", "POSTROOM_CONFIG")}


def postroom(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of Postroom with the demo's configuration."""
    command = (sys.executable, "-m", "postroom", "--config", "demo/postroom.ini", *arguments)
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=PATIENCE, check=False)


def demo(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A demo whose output goes into a pipe."""
    return subprocess.run(
        (*DEMO, *arguments), cwd=directory, capture_output=True, text=True, timeout=PATIENCE, check=False, env=PLAIN
    )


@dataclass(frozen=True)
class Shown:
    """A demo that is over."""

    directory: Path
    result: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def piped(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    directory = tmp_path_factory.mktemp("piped")
    return Shown(directory, demo(directory, "--seconds", "4"))


def test_piped_shows_every_step_with_its_evidence(piped: Shown) -> None:
    output = piped.result.stdout
    assert (piped.result.returncode, piped.result.stderr) == (0, ""), output
    evidence = [
        r"1 Sandbox   IMAP at localhost:(\d+), SMTP at \d+, OAuth 2.0 at (http://127.0.0.1:\d+)\n",
        r"2 Samples   18 messages",
        r"3 Consent   sales@example.test and support@example.test allowed access\n",
        r"postroom authorize: PKCE \(S256\), refresh tokens sealed in the vault\n",
        r"4 Token     code → access token and refresh token, for sales and support\n",
        r"POST http://127.0.0.1:\d+/token, good for 60 min; kept sealed\n",
        r"5 Service   postroom \S+ runs as process \d+ with demo/postroom.ini\n",
        r"6 Login     XOAUTH2 at localhost:\d+ accepted: sales .*ms, support .*ms\n",
        r"7 Capture   18 messages, \d+\.\d kB, in .*; each once, every SHA-256 equal\n",
        r"8 Answer    sales@example.test → queue → XOAUTH2 at localhost:\d+ → support@example.test\n",
        r"captured there .* later\n",
        r"9 New mail  announced by the server \(IDLE\), kept after .*\n",
        r"✓ (\d+) messages delivered, \1 kept: each exactly once, octet for octet\n",
    ]
    position = 0
    for step in evidence:
        found = re.compile(step).search(output, position)
        assert found, f"{step} is not in what follows:\n{output[position:]}"
        position = found.end()
    assert "\x1b" not in output
    assert "Traceback" not in output


def test_piped_lists_samples_and_new_mail(piped: Shown) -> None:
    output = piped.result.stdout
    for words in ("修理の予約について", "Зимние шины", "Mail Delivery System", "[cargo-bikes] Next meeting"):
        assert words in output
    # One at once and one every two seconds.
    assert len(re.findall(r"^  \d\d:\d\d:\d\d  .* B  kept after \d+ ms$", output, re.MULTILINE)) >= 2


def test_what_it_leaves_can_be_looked_at(piped: Shown) -> None:
    listed = postroom(piped.directory, "messages", "list", "--json")
    rows = [json.loads(line) for line in listed.stdout.splitlines()]
    count = re.search(r"✓ (\d+) messages delivered", piped.result.stdout)
    assert count is not None
    assert len(rows) == int(count[1])
    assert len({row["digest"] for row in rows}) == len(rows)
    assert len(list((piped.directory / "demo/export").glob("*.eml"))) == len(rows)
    shown = re.search(r"messages show (\S+)", piped.result.stdout)
    assert shown is not None
    assert rows[-1]["subject"] in postroom(piped.directory, "messages", "show", shown[1]).stdout
    assert postroom(piped.directory, "status").returncode == 0


def test_the_log_holds_the_conversation_and_no_secret(piped: Shown) -> None:
    configuration = configparser.ConfigParser(interpolation=None)
    configuration.read(piped.directory / "demo/postroom.ini")
    log = (piped.directory / "demo/postroom.log").read_text()
    assert "AUTHENTICATE XOAUTH2 ***" in log
    assert "AUTH XOAUTH2 ***" in log
    assert json.loads(log.splitlines()[-1])["event"] == "stopped"
    assert [name for name, section in configuration.items() if "password" in section] == ["secret-sandbox"]
    assert configuration["secret-sandbox"]["password"] not in log + piped.result.stdout
    assert "sandbox." not in log  # what the sandbox's access tokens begin with
    assert (piped.directory / "demo/sandbox.log").read_text() == ""


def test_no_file_holds_a_token_that_can_be_read(piped: Shown) -> None:
    files = [path for path in (piped.directory / "demo").rglob("*") if path.is_file()]
    assert any(path.name == "postroom.db" for path in files)
    # What the sandbox's refresh tokens and access tokens look like.
    token = re.compile(rb"1//sandbox-|\bsandbox\.[\w-]{40}")
    assert [path for path in files if token.search(path.read_bytes())] == []
    status = json.loads(postroom(piped.directory, "vault", "status", "--json").stdout)
    assert status["sealed"]["grants"] == status["sealed"]["access_tokens"] == 2, status  # one of each for each account


def test_the_gmail_sections_are_valid(tmp_path: Path, piped: Shown) -> None:
    file = tmp_path / "postroom.ini"
    file.write_text(GMAIL)
    configuration = load(file, {})
    assert [fault for fault in configuration.faults if fault.severity is Severity.FAULT] == []
    assert configuration.faults == ()
    assert list(configuration.clients) == ["pop-client-gmail"]
    for line in filter(None, GMAIL.splitlines()):
        assert f"  {line}\n" in piped.result.stdout


# --- on a terminal


class Terminal:
    """A demo on a terminal of 80 columns and 24 lines."""

    def __init__(self, directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            (*DEMO, *arguments),
            cwd=directory,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**PLAIN, "TERM": "xterm-256color", **(environment or {})},
            start_new_session=True,
        )
        os.close(slave)
        self.output = ""
        self.deadline = monotonic() + PATIENCE

    def read_until(self, words: str) -> None:
        """Read until the words were shown. Fails where the demo ends without, or takes too long."""
        while words not in self.output and (piece := self._read()):
            self.output += piece.decode("utf-8", "replace")
        assert words in self.output, self.output

    def read_all(self) -> int:
        """Read to the end; the exit status."""
        while piece := self._read():
            self.output += piece.decode("utf-8", "replace")
        return self.process.wait(PATIENCE)

    def _read(self) -> bytes:
        readable, _, _ = select.select([self.master], [], [], PATIENCE)
        if not readable or monotonic() > self.deadline:
            pytest.fail(f"nothing more within {PATIENCE:.0f} s:\n{self.output}")
        try:
            return os.read(self.master, 65536)
        except OSError:  # so Linux tells that the other side is closed
            return b""

    def close(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        os.close(self.master)


@contextlib.contextmanager
def on_terminal(directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> Iterator[Terminal]:
    terminal = Terminal(directory, *arguments, environment=environment)
    try:
        yield terminal
    finally:
        terminal.close()


def test_terminal_runs_until_interrupted(tmp_path: Path) -> None:
    with on_terminal(tmp_path) as terminal:
        terminal.read_until("Ctrl-C ends the demo")
        terminal.read_until("Rear light arrived")  # some seconds later
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.read_all() == 0, terminal.output
    assert "Traceback" not in terminal.output
    assert "\x1b[1;32m✓" in terminal.output
    assert re.search(r"messages delivered, \d+ kept: each exactly once, octet for octet", terminal.output)
    # The last state of the screen, each line within the terminal.
    last = terminal.output[terminal.output.rindex("Postroom demo") : terminal.output.rindex("messages delivered")]
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last).split("\r\n")
    assert max(map(cell_len, lines)) <= 80
    assert len(lines) <= 24


@pytest.mark.parametrize("when", ["enquiries", "postroom authorize", "accepted: "])
def test_interrupted_at_once_it_still_ends_in_good_order(tmp_path: Path, when: str) -> None:
    with on_terminal(tmp_path) as terminal:
        terminal.read_until(when)
        terminal.process.send_signal(signal.SIGINT)
        status = terminal.read_all()
    assert (status, "Traceback" in terminal.output) == (0, False), terminal.output
    assert "18 messages delivered, 18 kept" in terminal.output


def test_a_second_interrupt_ends_it_at_once(tmp_path: Path) -> None:
    with on_terminal(tmp_path) as terminal:
        terminal.read_until("Ctrl-C ends the demo")
        terminal.process.send_signal(signal.SIGINT)
        terminal.read_until("stops.")
        terminal.process.send_signal(signal.SIGINT)
        status = terminal.read_all()
    assert (status, "Traceback" in terminal.output) == (130, False), terminal.output
    assert postroom(tmp_path, "run", "--once").returncode != 3  # no service was left behind that holds the mailboxes


@pytest.mark.parametrize("variable", ["NO_COLOR", "CI"])
def test_terminal_without_colour_gets_plain_lines(tmp_path: Path, variable: str) -> None:
    with on_terminal(tmp_path, "--seconds", "0", environment={variable: "1"}) as terminal:
        assert terminal.read_all() == 0, terminal.output
    assert "\x1b" not in terminal.output
    assert "9 New mail" in terminal.output


# --- in its way


def test_port_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for option in ("--imaps-port", "--authority-port"):
            result = demo(tmp_path, option, port)
            assert result.returncode == 2
            assert "cannot listen" in result.stderr
            assert port in result.stderr
            assert option in result.stderr
            assert "Traceback" not in result.stderr


def test_directory_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    for directory, words in (("mine", "holds files"), ("mine/letter", "is a file"), ("/proc/demo", "/proc/demo")):
        result = demo(tmp_path, "--directory", directory)
        assert result.returncode in (1, 2)
        assert words in result.stderr
        assert "--directory" in result.stderr
        assert "Traceback" not in result.stderr
    assert (tmp_path / "mine" / "letter").read_text() == "dear"


def test_two_in_one_directory(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    with (tmp_path / "demo" / ".postroom-demo").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        result = demo(tmp_path, "--seconds", "0")
    assert result.returncode == 1
    assert "another demo runs in demo" in result.stderr


def test_missing_extras_are_named_without_a_trace(tmp_path: Path) -> None:
    # A package that is not installed, made by an entry that hides it.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['trustme'] = None\n")
    for module in ("postroom.sandbox", "postroom.sandbox.demo"):
        result = subprocess.run(
            (sys.executable, "-m", module),
            cwd=tmp_path,
            env={**PLAIN, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert result.returncode != 0
        assert "trustme" in result.stderr
        assert "pip install 'postroom[sandbox]'" in result.stderr
        assert "Traceback" not in result.stderr


def test_a_service_that_dies_is_told_of(tmp_path: Path) -> None:
    with on_terminal(tmp_path) as terminal:
        terminal.read_until("Ctrl-C ends the demo")
        log = tmp_path / "demo" / "postroom.log"
        assert log.exists()
        process = re.search(r"process (\d+)", terminal.output)
        assert process is not None
        os.kill(int(process[1]), signal.SIGKILL)
        assert terminal.read_all() == 1, terminal.output
    assert "the service ended with status -9" in terminal.output
    assert "Traceback" not in terminal.output


# --- the verdict and its evidence


def test_a_message_missing_double_or_changed_is_no_success() -> None:
    from collections import Counter

    delivered = Counter({("a", "1"): 1, ("a", "2"): 1})
    assert Proof(delivered, Counter(delivered), "").sound
    for kept in ({("a", "1"): 1}, {("a", "1"): 1, ("a", "2"): 2}, {("a", "1"): 1, ("a", "3"): 1}, {("a", "1"): 1, ("b", "2"): 1}):
        proof = Proof(delivered, Counter(kept), "")
        assert not proof.sound
        assert "each exactly once" not in proof.words()
    assert not Proof(Counter(), Counter(), "").sound
    words = Proof(delivered, Counter({("a", "1"): 2}), "").words()
    assert words == "2 messages delivered, 2 kept: 1 missing, 1 double or never delivered"


async def test_what_does_not_come_is_said_with_the_last_complaint() -> None:
    record = Record()
    record.deliveries.append(Delivery("pop-client-a", "1", monotonic(), is_new=True))
    record.heard({"event": "retrying", "level": "warning", "client": "pop-client-a", "error": "no route"})
    with pytest.raises(Broken, match="the mail: not within 0 s") as caught:
        await record.until(record.complete, "the mail", 0.01)
    assert "no route" in caught.value.remedy
    waiting = asyncio.create_task(record.until(record.complete, "the mail"))
    await asyncio.sleep(0)
    record.heard({"event": "needs_person", "level": "error", "client": "a", "error": "refused", "remedy": "Consent again."})
    with pytest.raises(Broken, match="a refused") as caught:
        await waiting
    assert caught.value.remedy == "Consent again."
