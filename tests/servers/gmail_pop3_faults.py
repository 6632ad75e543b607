"""What the Gmail-like POP3 server is told to announce, and to do wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Manner:
    """How it announces itself and takes logins."""

    mechanisms: tuple[str, ...] = ("PLAIN", "XOAUTH2")
    pipelining: bool = False  # else what came with a command before it was answered is thrown away
    initial_response: bool = True  # Microsoft refuses ``AUTH XOAUTH2 blob`` and wants the blob on a line of its own
    resp_codes: bool = True
    uidl: bool = True  # announced; without it UIDL is an unknown command
    top: bool = True
    user: bool = True  # USER and PASS
    login_delay: int = 300  # seconds between two logins that it asks for; it insists on none


@dataclass(frozen=True)
class Faults:
    """What it does wrong, all of it until it is told otherwise."""

    uidl: Literal["", "refused", "duplicates", "empty"] = ""
    top: Literal["", "refused"] = ""
    retr_refused: tuple[str, ...] = ()  # UIDLs of the messages that it cannot hand over
    login: str = ""  # a response code for every login: SYS/TEMP, IN-USE, LOGIN-DELAY, AUTH
    quit_refused: bool = False  # QUIT answers -ERR, and nothing is popped
    cut_after: int = -1  # octets to the client, after which each connection ends
