"""What a careful script does with Python's own client: each message into a file of its own, each file synced.

HOST PORT USER PASSWORD FOLDER
"""

from __future__ import annotations

import os
import poplib
import sys
from pathlib import Path

if __name__ == "__main__":
    # imap_fsync.py beside this file keeps messages the same way.
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from imap_fsync import keep  # type: ignore[import-not-found]  # found by its folder alone

    host, port, user, password, folder = sys.argv[1:]
    connection = poplib.POP3(host, int(port))
    connection.user(user)
    connection.pass_(password)
    for listed in connection.uidl()[1]:
        number = int(listed.split()[0])
        lines = connection.retr(number)[1]
        keep(os.path.join(folder, f"{number:06}.eml"), b"\r\n".join([*lines, b""]))
    connection.quit()
