"""Reading by lease with the real service, a real mailbox and real consumers, some of which are killed."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import random
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from running import PATIENCE, Here, Service, basic, letter

from servers.dovecot import Dovecot
from servers.waiting import wait_for

A = "pop-client-a"
PULL = "pull-app"
SEED = 20261126


@pytest.fixture
def here(tmp_path: Path) -> Here:
    here = Here(tmp_path)
    with socket.socket() as free:  # where a killed service comes back
        free.bind(("127.0.0.1", 0))
        here.put("web", {"listen": f"127.0.0.1:{free.getsockname()[1]}"})
    here.put(PULL, {})
    return here


@dataclass
class Consumer:
    """An application that speaks HTTP."""

    address: str
    key: str

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        octets = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, octets, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def lease(self, wait: float = PATIENCE, application: str = "app", **more: object) -> list[dict[str, Any]]:
        status, octets = self.ask("POST", f"/v1/pull/{application}/lease", {"wait": wait, **more})
        assert status == 200, octets
        found: list[dict[str, Any]] = json.loads(octets)["items"]
        return found

    def end(self, verb: str, *tokens: str, application: str = "app", **more: object) -> int:
        return self.ask("POST", f"/v1/pull/{application}/{verb}", {"tokens": tokens, **more})[0]


def consumer(here: Here, service: Service) -> Consumer:
    made = here.command(
        "keys", "create", f"reader{service.log.name}", "--role", "application", "--application", "app", "--json"
    ).object
    return Consumer(str(service.wait("started")["web"]), made["key"])


def test_a_message_goes_from_the_mailbox_to_the_application(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    octets = b"From: Ann <ann@x.org>\r\nSubject: Help\r\n\r\n8-bit \xe4 and no end"
    with here.service() as service:
        reader = consumer(here, service)
        found: list[dict[str, Any]] = []
        polling = threading.Thread(target=lambda: found.extend(reader.lease(60)))
        polling.start()  # before there is anything
        service.looked(A)
        dovecot.seed(mailbox_user, [octets])
        polling.join(PATIENCE)
        [item] = found
        assert (item["from"], item["message"]["client"], item["text"]) == (
            {"name": "Ann", "address": "ann@x.org"},
            A,
            "8-bit ä and no end",
        )
        assert reader.ask("GET", item["raw"]) == (200, octets)
        assert reader.lease(0) == []
        assert reader.end("acknowledge", item["token"]) == 200
        assert reader.end("refuse", item["token"]) == 409
        assert here.command("pull", "list", "--json").object["waiting"] == 0


def test_options_act_immediately(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    """clients, folders, addresses, lease-time, maximum-attempts and begin, each in a service that runs on."""
    here.put(A, basic(dovecot.imap_port, mailbox_user, address="desk@x.org"))
    with here.service() as service:
        reader = consumer(here, service)
        sent = 0

        def edited(section: str, **options: object) -> None:
            before = service.mark()
            here.put(section, {name.replace("_", "-"): value for name, value in options.items()})
            service.wait("applications_changed", since=before)

        def gets() -> bool:
            """Whether the application gets what comes now. A second one, which gets all, tells when it is processed."""
            nonlocal sent
            sent += 1
            dovecot.seed(mailbox_user, [letter(sent)])
            [seen] = reader_of_all.lease(application="all")
            reader_of_all.end("acknowledge", seen["token"], application="all")
            items = reader.lease(0)
            for item in items:
                reader.end("acknowledge", item["token"])
            return bool(items)

        edited("pull-all")
        made = here.command("keys", "create", "all", "--role", "application", "--json").object
        reader_of_all = Consumer(reader.address, made["key"])
        assert gets()
        for option, other, own in (
            ("clients", "elsewhere", "a"),
            ("folders", "Support", "INBOX"),
            ("addresses", "y.org", "x.org, y.org"),
        ):
            edited(PULL, **{option: other})
            assert not gets(), option
            edited(PULL, **{option: own})
            assert gets(), option
        edited(PULL, lease_time="2h", maximum_attempts=1)
        dovecot.seed(mailbox_user, [letter(99)])
        [item] = reader.lease()
        until = datetime.datetime.fromisoformat(item["leased_until"]) - datetime.datetime.now(datetime.UTC)
        assert 7000 < until.total_seconds() <= 7200
        assert reader.end("refuse", item["token"], reason="once is enough") == 200
        [dead] = here.command("pull", "dead", "app", "--json").objects
        assert (dead["subject"], dead["reason"]) == ("Letter 99", "once is enough")
        edited("pull-new", begin="all")
        [first, *_] = reader_of_all.lease(application="new")
        assert first["message"]["subject"] == "Letter 1"
        edited("pull-late", begin="now")
        assert reader_of_all.lease(0, application="late") == []


def test_the_command_line_reads_as_an_application_does(here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    dovecot.seed(mailbox_user, [letter(number) for number in (1, 2, 3)])
    here.read()  # without a service
    assert "3 waiting" in here.command("pull", "list").out
    [one, two] = here.command("pull", "app", "--json", "--limit", "2").objects
    assert [one["message"]["subject"], two["message"]["subject"]] == ["Letter 1", "Letter 2"]
    here.command("pull", "ack", "app", one["token"])
    assert "write a section" not in here.command("pull", "strange", status=2).err
    stale = here.command("pull", "refuse", "app", one["token"], two["token"], "--reason", "why not", "--dead", status=1)
    assert "nothing was changed" in stale.err
    assert "dead" in stale.out
    assert "dead_letters" not in stale.err
    printed = here.command("pull", "app", "--ack").out
    assert "Subject: Letter 3" in printed
    assert here.command("pull", "app", status=1).err == "nothing waits for pull-app\n"
    assert "1 attempt  Letter 2: why not" in here.command("pull", "dead", "app").out
    assert "1 message" in here.command("pull", "replay", "app", "--dead").err
    [again] = here.command("pull", "app", "--json", "--seconds", "60").objects
    here.command("pull", "extend", "app", again["token"], "--seconds", "120")
    assert here.command("pull", "refuse", "app", again["token"]).out == f"{again['token']}  refused\n"
    here.command("pull", "replay", "app", "--since", "2000-01-01")
    assert [item["message"]["subject"] for item in here.command("pull", "app", "--json").objects] == ["Letter 1", "Letter 3"]
    here.command("pull", "forget", "app", status=2)
    here.change({PULL: None})
    assert here.command("pull", "list", "--json").object["state"] == "absent"
    assert "3 messages dropped" in here.command("pull", "forget", "app").err
    assert "write a section [pull-desk] into" in here.command("pull", "desk", status=2).err


# --- kills ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """What a consumer wrote down."""

    at: float
    word: str
    message: str
    until: float


class Crowd:
    """Consumers that run, and their logs."""

    def __init__(self, reader: Consumer, folder: Path) -> None:
        self._reader = reader
        self._folder = folder
        self._number = 0
        self.running: list[tuple[subprocess.Popen[bytes], Path]] = []

    def hire(self) -> None:
        """One more."""
        self._number += 1
        log = self._folder / f"consumer{self._number}.log"
        log.touch()
        program = str(Path(__file__).with_name("pull_consumer.py"))
        process = subprocess.Popen([sys.executable, program, self._reader.address, self._reader.key, str(log)])
        self.running.append((process, log))

    def kill(self, lines: int) -> None:
        """Kill the one that runs longest as soon as it has written so many lines."""
        process, log = self.running.pop(0)
        wait_for(lambda: log.read_bytes().count(b"\n") >= lines or process.poll() is not None, f"{lines} lines", timeout=PATIENCE)
        assert process.poll() is None
        process.kill()
        process.wait()

    def lines(self) -> list[Line]:
        """All that was written down, whole lines only, in the order of time."""
        found = []
        for log in self._folder.glob("consumer*.log"):
            for text in log.read_text().split("\n")[:-1]:
                at, word, message, until = text.split()
                found.append(Line(float(at), word, message, datetime.datetime.fromisoformat(until).timestamp()))
        return sorted(found, key=lambda line: line.at)


@contextlib.contextmanager
def crowd(reader: Consumer, folder: Path) -> Iterator[Crowd]:
    crowd = Crowd(reader, folder)
    try:
        yield crowd
    finally:
        for process, _ in crowd.running:
            process.kill()
            process.wait()


def test_consumers_and_the_service_are_killed_and_each_message_is_handed_out_until_it_is_acknowledged(
    here: Here, dovecot: Dovecot, mailbox_user: str
) -> None:
    lot = random.Random(SEED)
    here.put(A, basic(dovecot.imap_port, mailbox_user))
    here.put(PULL, {"maximum-attempts": 1000})
    dovecot.seed(mailbox_user, [letter(number) for number in range(60)])
    with here.service() as service:
        reader = consumer(here, service)
        service.wait("read", A)
        with crowd(reader, here.directory) as consumers:
            consumers.hire()
            consumers.hire()
            for number in range(8):
                consumers.kill(lot.randint(1, 7))
                consumers.hire()
                if number == 3:
                    service.kill()
                    here_again = here.service()
                    service = here_again.__enter__()
            wait_for(lambda: _left(here) == 0, "an empty backlog", timeout=3 * PATIENCE)
            lines = consumers.lines()
        here_again.__exit__(None, None, None)
    ids = {row["id"] for row in here.messages()}
    assert {line.message for line in lines if line.word == "leased"} == ids
    for message in ids:
        _check([line for line in lines if line.message == message])


def _left(here: Here) -> int:
    found = here.command("pull", "list", "--json").object
    return int(found["waiting"] + found["leased"] + found["deferred"])


def _check(lines: list[Line]) -> None:
    """Of one message: a lease begins when the one before is over, and none behind an acknowledgement."""
    for before, line in itertools.pairwise(lines):
        assert before.word == "leased", lines
        assert line.word == "acknowledged" or line.at >= before.until, lines
