"""One Dovecot that holds thousands of idle conversations, and a server that hangs.

Dovecot's ``imap-hibernate`` keeps the sockets of all that idle, so that no process waits behind each; its permissions let
the mail's owner hand them over. Each idle mailbox costs that user an inotify instance; without one Dovecot looks now and then.
"""

from __future__ import annotations

import contextlib
import pwd
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from servers.dovecot_config import Identities

_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")  # for each user, 128 by default
_SPARE = 64
HIBERNATING = "imap_hibernate_timeout = 1s"  # in ``protocol imap``


def hibernation() -> str:
    """What Dovecot needs beside ``HIBERNATING``, for this user."""
    identities = Identities.of_this_process()
    return f"""
service imap-hibernate {{
  unix_listener imap-hibernate {{
    user = {pwd.getpwuid(identities.mail_uid).pw_name}
    mode = 0666
  }}
}}
service imap {{
  unix_listener imap-master {{
    user = {identities.internal_user}
    mode = 0666
  }}
}}"""


@contextlib.contextmanager
def room_for_idling(count: int) -> Iterator[bool]:
    """Let the mail's owner hold so many inotify instances, one for each idle mailbox, within the block; False where we may not."""
    before = int(_INSTANCES.read_text())
    if before < count + _SPARE:
        try:
            _INSTANCES.write_text(str(count + _SPARE))
        except OSError:
            yield False
            return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            _INSTANCES.write_text(str(before))


@contextlib.contextmanager
def hung_server() -> Iterator[int]:
    """The port of a server that takes every connection and never says a word."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    taken: list[socket.socket] = []

    def take() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken.append(listening.accept()[0])

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()
        for connection in taken:
            connection.close()
