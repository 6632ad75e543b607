"""What the faulty SMTP server says and hears on one connection, and how a fault happens to an answer."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable

from servers.smtp_faults_hub import Hub
from servers.smtp_faults_orders import Fault

LINE = 16384  # octets of a command; tokens are long

Effect = Callable[[], Awaitable[None]]


class Hangup(Exception):
    """The connection ends here."""


class Conversation:
    """One client's connection."""

    def __init__(self, hub: Hub, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hub = hub
        self.writer = writer
        self.pending = b""  # read and not yet used
        self.number = hub.next_session()
        self.called = ""  # as the client calls itself
        self._reader = reader

    @property
    def user(self) -> str:
        """Who is logged in; empty before."""
        return self.hub.logins.get(self.number, "")

    def note(self, line: str) -> None:
        """Put something on the record of what clients said."""
        self.hub.log.append({"session": self.number, "user": self.user, "line": line})

    def announces(self, keyword: str) -> bool:
        """Whether EHLO's answer has it."""
        return any(word.split()[0] == keyword for word in self.hub.manner.keywords)

    # Octets

    async def more(self) -> None:
        """Read some octets; ``Hangup`` at the client's end."""
        chunk = await self._reader.read(65536)
        if not chunk:
            raise Hangup
        self.pending += chunk

    async def line(self) -> str:
        """The next line without its end."""
        while b"\n" not in self.pending:
            if len(self.pending) > LINE:
                raise Hangup
            await self.more()
        line, _, self.pending = self.pending.partition(b"\n")
        if self.pending and not self.announces("PIPELINING") and not line.upper().startswith(b"BDAT"):
            self.note("(pipelined: thrown away)")
            self.pending = b""
        return line.rstrip(b"\r").decode("utf-8", "surrogateescape")

    async def say(self, reply: str) -> None:
        """Say a reply; after 421 the connection ends."""
        await self._send(reply.replace("\n", "\r\n").encode() + b"\r\n")
        if reply.startswith("421"):
            raise Hangup

    async def _send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def _hang(self) -> None:
        """Say nothing until the client ends the connection."""
        self.note("(hangs)")
        while True:
            await self.more()
            self.pending = b""

    # Answers, and what becomes of them

    async def conclude(self, at: str, reply: str, effect: Effect | None = None, recipient: str = "") -> None:
        """Carry a command out and answer it, unless a fault is due."""
        fault = self.due(at, recipient)
        refuses = fault is not None and (fault.reply or fault.do not in {"answer", "silence", "discard", "hold"})
        if effect and (fault is None or fault.taken or not refuses):
            await effect()
        if fault is None:
            await self.say(reply)
        else:
            await self.commit(fault, fault.reply or reply)

    def due(self, at: str, recipient: str = "") -> Fault | None:
        """The fault that happens now, if one does."""
        return self.hub.due(at, self.number, self.called, recipient)

    async def commit(self, fault: Fault, reply: str) -> None:
        """Let a fault happen to this reply."""
        self.note(f"({fault.do} at {fault.at})")
        await asyncio.sleep(fault.seconds)
        if fault.do == "hold":
            await self.hub.go_on.wait()
        if fault.do.startswith("half"):
            await self._send(reply.encode()[: len(reply) // 2])
        if fault.do in {"hang", "half-hang"}:
            await self._hang()
        if fault.do == "reset":
            self._reset()
        if fault.do in {"cut", "reset", "half"}:
            raise Hangup
        if fault.do == "discard":
            self.pending = b""
        if fault.do != "silence":
            await self.say(reply)

    def _reset(self) -> None:
        """End with RST: lingering for no time makes the kernel send it."""
        with socket.socket(fileno=os.dup(self.writer.get_extra_info("socket").fileno())) as handle:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
