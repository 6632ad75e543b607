"""What a careful script does with Python's own client: each message into a file of its own, each file synced.

HOST PORT USER PASSWORD FOLDER MESSAGES_A_COMMAND
"""

from __future__ import annotations

import imaplib
import os
import sys


def keep(path: str, octets: bytes) -> None:
    """Write a file durably, under its name only when it is whole."""
    file = os.open(f"{path}.partial", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, octets)
        os.fsync(file)
    finally:
        os.close(file)
    os.rename(f"{path}.partial", path)


def main() -> None:
    host, port, user, password, folder, together = sys.argv[1:]
    imaplib._MAXLINE = 10_000_000  # type: ignore[attr-defined]  # its list of all UIDs is one line
    with imaplib.IMAP4(host, int(port)) as connection:
        connection.login(user, password)
        connection.select("INBOX", readonly=True)
        uids = connection.uid("SEARCH", "ALL")[1][0].split()
        step = int(together)
        for start in range(0, len(uids), step):
            wanted = b",".join(uids[start : start + step]).decode()
            parts = connection.uid("FETCH", wanted, "(UID BODY.PEEK[])")[1]
            messages = [part for part in parts if isinstance(part, tuple)]
            for number, message in enumerate(messages, start):
                keep(os.path.join(folder, f"{number:06}.eml"), message[1])


if __name__ == "__main__":
    main()
