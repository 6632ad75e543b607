"""Killed at any instant: what was answered 250 is in the queue, whole; what was not is there whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import smtplib
import subprocess
import sys
import threading
from pathlib import Path

from fakes import HandClock
from postroom.outbound import SubmissionRow
from postroom.store import opened
from postroom.store.outbox_rows import Asked

KILLS = int(os.environ.get("KILLS", "30"))
SEED = int(os.environ.get("SEED", "1"))
TALKERS = 3
LONGEST = 0.06  # seconds that a listener computes; a message takes about two milliseconds of it

_NUMBER = re.compile(r"<(\d+\.\d+\.\d+)@example\.org>")


def letter(name: str, size: int) -> bytes:
    """A message that is known by its name, and whose end is known too."""
    head = f"From: sales@example.org\r\nMessage-ID: <{name}@example.org>\r\nSubject: {size}\r\n\r\n"
    return head.encode() + (b"x" * 70 + b"\r\n") * size + f"end of {name}\r\n".encode()


class Program(threading.Thread):
    """Hands in one message after the other until the listener is gone."""

    def __init__(self, port: int, name: str, sizes: random.Random) -> None:
        super().__init__()
        self._port = port
        self._about = name
        self._sizes = sizes
        self.kept: set[str] = set()  # what was answered 250

    def run(self) -> None:
        with contextlib.suppress(OSError, smtplib.SMTPException), smtplib.SMTP("127.0.0.1", self._port, timeout=10) as program:
            for number in range(1_000_000):
                name = f"{self._about}.{number}"
                program.sendmail("sales@example.org", ["ann@example.net"], letter(name, self._sizes.choice((1, 60, 4000))))
                self.kept.add(name)


async def queue(directory: Path) -> dict[str, tuple[SubmissionRow, bytes]]:
    """All that is in the queue, by its name."""
    found: dict[str, tuple[SubmissionRow, bytes]] = {}
    with opened(directory / "data", HandClock(), f"file:{directory / 'data' / 'vault.key'}", {}) as store:
        async for row in store.outbox.pages(Asked()):
            name = _NUMBER.fullmatch(row.message_id)
            assert name is not None
            assert name[1] not in found, "kept twice"
            found[name[1]] = row, b"".join((await store.outbox.content(row.id)).pieces())
    return found


def test_what_was_answered_250_is_kept_whatever_the_instant_of_a_kill(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    program = Path(__file__).with_name("handing_in_child.py")
    kept: set[str] = set()
    with subprocess.Popen(
        [sys.executable, str(program), str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for kill in range(KILLS):
            child.stdin.write(f"{chance.uniform(0.001, LONGEST)}\n")
            port = int(child.stdout.readline())
            programs = [Program(port, f"{kill}.{at}", random.Random(chance.random())) for at in range(TALKERS)]
            for each in programs:
                each.start()
            for each in programs:
                each.join()
                kept |= each.kept
            assert int(child.stdout.readline()) == -signal.SIGPROF
        child.stdin.close()
    found = asyncio.run(queue(tmp_path))
    assert kept <= set(found)
    assert len(kept) > KILLS, "the listeners died before they had much to do"
    unanswered = set(found) - kept
    assert len(unanswered) <= KILLS * TALKERS  # at most the one that each program had under way
    for name, (row, octets) in found.items():
        assert octets.endswith(letter(name, int(row.subject)).partition(b"\r\n\r\n")[2]), name
        assert [person.address for person in row.recipients] == ["ann@example.net"]
    print(f"{KILLS} kills from seed {SEED}: {len(kept)} answered 250 and kept, {len(unanswered)} kept without an answer")
