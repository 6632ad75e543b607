"""The bare client for many mailboxes, one after the other: HOST PORT PASSWORD USER ..."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # bare.py beside this file is the conversation; a process of its own for each would measure Python's start.
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from bare import Conversation  # type: ignore[import-not-found]  # found by its folder alone

    host, port, password, *users = sys.argv[1:]
    for user in users:
        conversation = Conversation(host, int(port))
        conversation.command(f'LOGIN "{user}" "{password}"')
        conversation.command("SELECT INBOX")
        conversation.command("UID FETCH 1:* (UID BODY.PEEK[])")
        conversation.command("LOGOUT")
