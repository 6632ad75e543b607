"""Postroom as an operator runs it: a folder with a ``postroom.ini``, and the command ``postroom`` as a process of its own.

What a service did is read from its log (JSON, level debug), never guessed from the time that passed.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from servers.authority import TEST, Authority
from servers.dovecot_config import PASSWORD
from servers.proxy import Direction, FaultProxy, _Connection
from servers.waiting import wait_for

PATIENCE = 20.0  # seconds; longer than any wait that a test foresees
Record = dict[str, Any]
Options = Mapping[str, object]


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[Record]:
        """The lines of ``--json``."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def object(self) -> Record:
        """The one line of ``--json``."""
        [found] = self.objects
        return found


class Here:
    """A folder with a ``postroom.ini``, and the command for it. Each change of a section writes the file anew."""

    def __init__(self, directory: Path, *, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.file = directory / "postroom.ini"
        self.data = directory / "data"
        self.environment = dict(environment or {})
        self.sections: dict[str, dict[str, str]] = {}
        self._services = 0
        self.put("settings", {"data-directory": self.data})
        self.put("web", {"listen": "127.0.0.1:0"})
        self.put("log", {"level": "debug"})

    # The file

    def put(self, section: str, options: Options) -> None:
        """Give a section these options beside those that it has; None takes one away."""
        self.change({section: options})

    def change(self, sections: Mapping[str, Options | None]) -> None:
        """Change several sections in one edit; None takes a section away."""
        for section, options in sections.items():
            if options is None:
                del self.sections[section]
                continue
            entries = self.sections.setdefault(section, {})
            entries.update({name: str(value) for name, value in options.items()})
            for name in [name for name, value in options.items() if value is None]:
                del entries[name]
        lines = []
        for section, written in self.sections.items():
            lines += [f"[{section}]", *(f"{name} = {value}" for name, value in written.items())]
        self.write("\n".join(lines) + "\n")

    def write(self, text: str) -> None:
        """Put a whole text in the place of the file at once, as editors do."""
        new = self.directory / ".postroom.ini.new"
        new.write_text(text)
        new.replace(self.file)

    def line_of(self, text: str) -> int:
        """The number of the line that holds a text."""
        [number] = [number for number, line in enumerate(self.file.read_text().splitlines(), 1) if text in line]
        return number

    # The command

    def command(self, *arguments: str, status: int | None = 0, file: Path | None = None) -> Done:
        """Run a command to its end, which must have this status; None allows any."""
        done = subprocess.run(
            self._line(arguments, file), capture_output=True, text=True, cwd=self.directory, env=self._env, timeout=60, check=False
        )
        ended = Done(done.returncode, done.stdout, done.stderr)
        assert status is None or ended.status == status, ended
        return ended

    def start(
        self,
        *arguments: str,
        file: Path | None = None,
        stdin: int | None = None,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Begin a command; its output is read by the caller. With a terminal for its input it is a session of its own."""
        return subprocess.Popen(
            self._line(arguments, file),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            cwd=self.directory,
            env=self._env,
            start_new_session=stdin is not None,
        )

    def read(self, *, status: int | None = 0) -> dict[str, Record]:
        """``run --once``; the reports by client."""
        return {report["client"]: report for report in self.command("run", "--once", "--json", status=status).objects}

    def check(self, *clients: str) -> dict[str, Record]:
        """``check``; the findings by client."""
        return {finding["client"]: finding for finding in self.command("check", "--json", *clients, status=None).objects}

    def status(self, client: str) -> Record:
        """What ``status`` says of a client."""
        [found] = [item for item in self.command("status", "--json", status=None).objects if item["client"] == client]
        return found

    def messages(self) -> list[Record]:
        """``messages list``."""
        return self.command("messages", "list", "--json").objects

    @contextlib.contextmanager
    def service(self) -> Iterator[Service]:
        """``postroom run`` while the block runs; it has started, and ends in order afterwards."""
        self._services += 1
        service = Service(self._line(("run",), None), self.directory, self._env, self._services)
        try:
            service.wait("started")
            yield service
            if not service.killed:
                service.stop()
        finally:
            service.kill()

    @property
    def _env(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "FORCE_COLOR")}
        return {**plain, **self.environment}

    def _line(self, arguments: tuple[str, ...], file: Path | None) -> list[str]:
        return [sys.executable, "-m", "postroom", "--config", str(file or self.file), *arguments]


class Service:
    """A running service. ``records`` is its log until now."""

    def __init__(self, line: list[str], directory: Path, environment: Mapping[str, str], number: int) -> None:
        self.log = directory / f"service{number}.log"
        self.out = directory / f"service{number}.out"
        with self.log.open("wb") as err, self.out.open("wb") as out:
            self.process = subprocess.Popen(line, stdout=out, stderr=err, cwd=directory, env=environment)
        self.killed = False  # by the test
        self._records: list[Record] = []
        self._read = 0

    @property
    def records(self) -> list[Record]:
        """All events until now, oldest first."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            whole, end, _ = file.read().rpartition(b"\n")
        self._read += len(whole + end)
        self._records += [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]
        return self._records

    def mark(self) -> int:
        """A place in the log: ``since`` of what is to come."""
        return len(self.records)

    def events(self, event: str, client: str | None = None, *, since: int = 0) -> list[Record]:
        """The events of a name, of one client where it is named."""
        found = (record for record in self.records[since:] if record["event"] == event)
        return [record for record in found if client is None or record.get("client") == client]

    def wait(self, event: str, client: str | None = None, *, since: int = 0, count: int = 1, timeout: float = PATIENCE) -> Record:
        """The ``count``-th of these events, as soon as it is there."""

        def look() -> Record | None:
            found = self.events(event, client, since=since)
            if len(found) < count and self.process.poll() is not None:
                raise AssertionError(f"the service ended with {self.process.returncode}: {self.log.read_text()[-3000:]}")
            return found[count - 1] if len(found) >= count else None

        try:
            return wait_for(look, f"{count} {event} of {client or 'any client'}", timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; the log ends: {self.log.read_text()[-3000:]}") from None

    def cycles(self, client: str, count: int = 1) -> None:
        """Return when so many further cycles came to their end."""
        before = self.mark()
        wait_for(lambda: self._ended_cycles(client, before) >= count, f"{count} cycles of {client}", timeout=PATIENCE)

    def looked(self, client: str) -> None:
        """Return when the first cycle has come to its end."""
        wait_for(lambda: self._ended_cycles(client, 0), f"a cycle of {client}", timeout=PATIENCE)

    def _ended_cycles(self, client: str, since: int) -> int:
        return len(self.events("unchanged", client, since=since)) + len(self.events("read", client, since=since))

    def complaints(self) -> list[Record]:
        """All warnings and errors."""
        return [record for record in self.records if record["level"] in ("warning", "error")]

    def get(self, path: str) -> str:
        """A page of the service's own web server."""
        with urllib.request.urlopen(self.wait("started")["web"] + path, timeout=10) as answer:
            return str(answer.read().decode())

    def reload(self) -> None:
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """SIGTERM, and an orderly end."""
        self.process.terminate()
        status = self.process.wait(PATIENCE)
        assert status == 0, (status, self.log.read_text()[-3000:])
        assert self.records[-1]["event"] == "stopped"

    def kill(self) -> None:
        """SIGKILL, where it still runs."""
        if self.process.poll() is None:
            self.killed = True
            self.process.kill()
            self.process.wait()


# --- sections ---------------------------------------------------------------------------------------------------------


def basic(port: int, user: str, **more: object) -> dict[str, object]:
    """A client that logs in to this machine with its password, in clear, and looks every second."""
    return {
        "type": "IMAP",
        "server": "localhost",
        "port": port,
        "pop-connection-security": "none",
        "mailbox": user,
        "password": PASSWORD,
        "cycle-time": "1s",
        **{name.replace("_", "-"): value for name, value in more.items()},
    }


def oauth(port: int, user: str, refresh_token: str, *, mechanism: object = "XOAUTH2", **more: object) -> dict[str, object]:
    """The same with OAuth, from the authority and the secret that ``rig_sections`` names."""
    options = {"mail.imap.auth.mechanisms": mechanism, "tenant-authority": "rig", "client-id": TEST.id, "secret": "rig"}
    return {**basic(port, user, password=refresh_token), **options, **{k.replace("_", "-"): v for k, v in more.items()}}


def rig_sections(authority: Authority) -> dict[str, Options]:
    """The authority of the tests and its application's secret."""
    return {"authority-rig": {"token_endpoint": authority.token_url}, "secret-rig": {"password": TEST.secret}}


def letter(number: int, size: int = 200) -> bytes:
    """A message."""
    head = f"From: a@example.test\r\nSubject: Letter {number}\r\nMessage-ID: <{number}@example.test>\r\n\r\n"
    return (head + ("x" * 70 + "\r\n") * (size // 72) + f"{number}\r\n").encode()


# --- between Postroom and a server ------------------------------------------------------------------------------------


class Gate(FaultProxy):
    """A proxy that records what the client says, and can hold back messages that the server sends.

    While it is shut, an answer to FETCH with a message's octets waits; ``held`` is set when one does.
    """

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self.said = bytearray()  # by all clients
        self.held = threading.Event()
        self._shut = False

    def __enter__(self) -> Gate:
        super().__enter__()
        return self

    def shut(self) -> None:
        """From now on messages are held back."""
        self.held.clear()
        self._shut = True

    def open(self) -> None:
        """Let everything through again."""
        self._shut = False

    async def _let_through(self, connection: _Connection, direction: Direction, data: bytes, writer: asyncio.StreamWriter) -> None:
        if direction == "to_server":
            self.said += data
        while self._shut and direction == "to_client" and (b"BODY[" in data or self.held.is_set()):
            self.held.set()
            await asyncio.sleep(0.005)
        await super()._let_through(connection, direction, data, writer)

    def tokens(self) -> list[str]:
        """The access tokens of all logins, oldest first."""
        found = []
        for line in bytes(self.said).splitlines():
            words = line.split()
            if b"AUTHENTICATE" in words and len(words) == 4:
                _, bearer, rest = base64.b64decode(words[3]).partition(b"auth=Bearer ")
                found += [rest.partition(b"\1")[0].decode()] if bearer else []
        return found


@dataclass
class Conversation:
    """One connection to a scripted server."""

    connection: socket.socket
    number: int  # 1 for the first
    _rest: bytes = b""

    def say(self, *lines: str) -> None:
        """Send lines, all in one segment."""
        self.connection.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def hear(self) -> str:
        """The next line; empty at the client's end."""
        while b"\n" not in self._rest:
            if not (more := self.connection.recv(65536)):
                return ""
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("utf-8", "backslashreplace").rstrip("\r")

    def commands(self) -> Iterator[tuple[str, str]]:
        """Tag and command, until the client's end."""
        while line := self.hear():
            tag, _, command = line.partition(" ")
            yield tag, command


@dataclass
class Scripted:
    """An IMAP server that says what a test tells it to: for what no good server can be made to do.

    ``script`` carries out one conversation. All that clients send is in ``said``; a context manager.
    """

    script: Callable[[Conversation], None]
    conversations: int = 0
    said: bytearray = field(default_factory=bytearray)
    port: int = 0
    _listener: socket.socket | None = None

    def __enter__(self) -> Scripted:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), name="scripted", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.conversations += 1
                threading.Thread(target=self._serve, args=(connection, self.conversations), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with connection, contextlib.suppress(OSError):
            conversation = Conversation(_Recording(connection, self.said), number)  # type: ignore[arg-type]
            self.script(conversation)
            connection.shutdown(socket.SHUT_WR)
            while conversation.hear():  # what is still said after the script's end
                pass


class _Recording:
    """A socket that keeps what it receives."""

    def __init__(self, connection: socket.socket, said: bytearray) -> None:
        self._connection = connection
        self._said = said

    def recv(self, size: int) -> bytes:
        data = self._connection.recv(size)
        self._said += data
        return data

    def sendall(self, data: bytes) -> None:
        self._connection.sendall(data)


def until(moment: float) -> None:
    """Return at a moment of the monotonic clock: for the end of what lives for a while at a server."""
    wait_for(lambda: time.monotonic() >= moment, "a moment", timeout=PATIENCE)
