"""The least that a client can do: log in, open the folder, ask once, read all that comes and throw it away.

HOST PORT USER PASSWORD fetch | look [USER ...]: further mailboxes, one after the other.
"""

from __future__ import annotations

import socket
import sys

BUFFER = 256 * 1024
LAST = 512  # octets that hold a tagged response whole


class Conversation:
    """A plain blocking socket and one buffer for all that it receives."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._tag = 0
        self._until(b"*")

    def command(self, line: str) -> None:
        """Send a command and read over everything up to its tagged OK."""
        self._tag += 1
        self._socket.sendall(f"b{self._tag} {line}\r\n".encode())
        self._until(b"b%d" % self._tag)

    def _until(self, tag: bytes) -> None:
        last = b""
        while True:
            count = self._socket.recv_into(self._buffer)
            if not count:
                raise SystemExit("the server closed the connection")
            last = (last + bytes(self._view[max(0, count - LAST) : count]))[-LAST:]
            if not last.endswith(b"\r\n"):
                continue
            line = last[:-2].rpartition(b"\r\n")[2]
            if line.startswith(tag + b" "):
                if not line.startswith(tag + b" OK"):
                    raise SystemExit(line.decode(errors="replace"))
                return


def main() -> None:
    host, port, first, password, work, *others = sys.argv[1:]
    for user in (first, *others):
        conversation = Conversation(host, int(port))
        conversation.command(f'LOGIN "{user}" "{password}"')
        conversation.command("SELECT INBOX")
        if work == "fetch":
            conversation.command("UID FETCH 1:* (UID BODY.PEEK[])")
        conversation.command("LOGOUT")


if __name__ == "__main__":
    main()
