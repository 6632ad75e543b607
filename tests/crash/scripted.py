"""A small IMAP server that does what a test tells it, in a thread: for what no good server can be made to do.

It has one folder and as many conversations as come. Its mail is a list that the test holds; ``poor`` says how it answers for
a message whose octets it does not hand over.
"""

from __future__ import annotations

import socketserver
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

Poor = Literal[
    "no item",  # FETCH without BODY[]
    "NIL",
    "empty string",
    "empty literal",
    "no answer",  # OK, and no FETCH at all; asked for its UID alone, it is there
    "expunged",  # once it was listed it is not there any more
    "NO",
]
DATE = "01-Feb-2026 03:04:05 +0000"


@dataclass
class Mail:
    """A message at the server."""

    uid: int
    octets: bytes
    poor: Poor | None = None  # how its octets are withheld; None: they are not
    withheld: int = 0  # times that they were asked for in vain


@dataclass
class ScriptedServer:
    """The server. A context manager; ``port`` is known inside."""

    mail: list[Mail]
    validity: int = 7
    port: int = 0
    conversations: int = 0
    commands: list[str] = field(default_factory=list)  # as they came, without tags and logins
    _server: socketserver.ThreadingTCPServer | None = None

    def __enter__(self) -> ScriptedServer:
        script = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                script.conversations += 1
                _Conversation(script, self).run()

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), name="scripted", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    @property
    def next(self) -> int:
        """UIDNEXT."""
        return max((mail.uid for mail in self.mail), default=0) + 1

    def asked(self, *words: str) -> int:
        """How many commands held all these words."""
        return sum(all(word in command for word in words) for command in self.commands)


class _Conversation:
    def __init__(self, script: ScriptedServer, handler: socketserver.StreamRequestHandler) -> None:
        self._script = script
        self._read = handler.rfile
        self._write = handler.wfile

    def run(self) -> None:
        self._say("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR UIDPLUS] ready")
        while line := self._read.readline():
            tag, _, command = line.decode().rstrip().partition(" ")
            verb = command.split(" ", 2)[1 if command.upper().startswith("UID ") else 0].upper()
            if verb != "AUTHENTICATE":
                self._script.commands.append(command)
            if verb == "LOGOUT":
                self._say("* BYE until next time", f"{tag} OK")
                return
            answer = getattr(self, f"_{verb.lower()}", None)
            self._say(f"{tag} {answer(command) if answer else 'OK done'}")

    def _say(self, *lines: str) -> None:
        for line in lines:
            self._write.write(line.encode() + b"\r\n")

    def _authenticate(self, _command: str) -> str:
        return "OK [CAPABILITY IMAP4rev1 UIDPLUS] welcome"

    def _select(self, _command: str) -> str:
        script = self._script
        self._say(f"* {len(script.mail)} EXISTS", f"* OK [UIDVALIDITY {script.validity}]", f"* OK [UIDNEXT {script.next}]")
        return "OK [READ-WRITE] selected"

    def _store(self, _command: str) -> str:
        return "OK stored"

    def _expunge(self, command: str) -> str:
        gone = _uids(command.split(" ")[2], self._script.next)
        self._script.mail[:] = [mail for mail in self._script.mail if mail.uid not in gone]
        return "OK expunged"

    def _fetch(self, command: str) -> str:
        _, _, uids, items = command.split(" ", 3)
        wanted = _uids(uids, self._script.next)
        refused = False
        for number, mail in enumerate(list(self._script.mail), 1):
            if mail.uid not in wanted:
                continue
            if mail.poor == "expunged" and "RFC822.SIZE" not in items:
                mail.withheld += 1
            elif "BODY" not in items:
                self._say(f'* {number} FETCH (UID {mail.uid} RFC822.SIZE {len(mail.octets)} INTERNALDATE "{DATE}")')
            elif mail.poor is None:
                self._say(f"* {number} FETCH (UID {mail.uid} BODY[] {{{len(mail.octets)}}}")
                self._write.write(mail.octets + b")\r\n")
            else:
                mail.withheld += 1
                refused = refused or mail.poor == "NO"
                self._withhold(number, mail)
        return "NO [SERVERBUG] cannot read it" if refused else "OK fetched"

    def _withhold(self, number: int, mail: Mail) -> None:
        instead = {
            "no item": f"(UID {mail.uid})",
            "NIL": f"(UID {mail.uid} BODY[] NIL)",
            "empty string": f'(UID {mail.uid} BODY[] "")',
            "empty literal": f"(UID {mail.uid} BODY[] {{0}}\r\n)",
        }
        if mail.poor in instead:
            self._say(f"* {number} FETCH {instead[mail.poor]}")


def _uids(text: str, next_: int) -> set[int]:
    """The UIDs that a sequence set names (RFC 9051 section 9)."""
    found: set[int] = set()
    for part in text.split(","):
        low, _, high = (str(next_ - 1) if end == "*" else end for end in part.partition(":"))
        ends = sorted((int(low), int(high or low)))
        found.update(range(ends[0], ends[1] + 1))
    return found
