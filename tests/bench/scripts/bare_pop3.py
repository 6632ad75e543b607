"""The least that a POP3 client can do: log in, ask for all at once, read what comes and throw it away.

HOST PORT USER PASSWORD fetch | look
"""

from __future__ import annotations

import select
import socket
import sys

BUFFER = 256 * 1024
END = b"\r\n.\r\n"


class Conversation:
    """A plain socket and one buffer for all that it receives."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._line()

    def command(self, line: str) -> bytes:
        """Send a command and return its status line."""
        self._socket.sendall(f"{line}\r\n".encode())
        return self._line()

    def retrieve(self, count: int) -> None:
        """All messages, every command in flight; the ends of messages are counted, and nothing else is looked at."""
        commands = memoryview(b"".join(b"RETR %d\r\n" % number for number in range(1, count + 1)))
        self._socket.setblocking(False)
        last = b""
        while count:
            readable, writable, _ = select.select([self._socket], [self._socket] if commands else [], [])
            if writable:
                commands = commands[self._socket.send(commands) :]
            if readable:
                size = self._read()
                count -= self._buffer.count(END, 0, size)
                head = bytes(self._view[: len(END) - 1])
                count -= (last + head).count(END)  # one that two reads share; neither part is long enough for a whole one
                last = (last + bytes(self._view[max(0, size - len(END) + 1) : size]))[1 - len(END) :]
        self._socket.setblocking(True)

    def _read(self) -> int:
        size = self._socket.recv_into(self._buffer)
        if not size:
            raise SystemExit("the server closed the connection")
        return size

    def _line(self) -> bytes:
        line = b""
        while not line.endswith(b"\r\n"):
            line += bytes(self._view[: self._read()])
        if not line.startswith(b"+OK"):
            raise SystemExit(line.decode(errors="replace"))
        return line


def main() -> None:
    host, port, user, password, work = sys.argv[1:]
    conversation = Conversation(host, int(port))
    conversation.command(f"USER {user}")
    conversation.command(f"PASS {password}")
    count = int(conversation.command("STAT").split()[1])
    if work == "fetch":
        conversation.retrieve(count)
    conversation.command("QUIT")


if __name__ == "__main__":
    main()
