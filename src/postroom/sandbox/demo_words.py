"""What the demo says at its end: how to look around, and how to go on with a real mailbox."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from rich.text import Text

GMAIL = """\
[pop-client-gmail]
type = IMAP
mailbox = YOU@gmail.com
mail.imap.auth.mechanisms = XOAUTH2
tenant-authority = google
client-id = CLIENT-ID.apps.googleusercontent.com
secret = gmail

[secret-gmail]
password = CLIENT-SECRET
"""
"""The sections that read a mailbox at Google, once its owner has consented."""

_LOOK = """\
Look around; the service need not run for it:
  {command} messages list
  {command} messages show {message_id}
  {command} outbox list
  {command} status
  {log}   the service's log, with the conversations
  {export}   every message, octet for octet
"""

_NEXT = """\
Your own Gmail mailbox next. Write this into postroom.ini:
{sections}
CLIENT-ID and CLIENT-SECRET: make a client of the type "Desktop app" at
  https://console.cloud.google.com/auth/clients
Then consent as the mailbox's owner; it says whether the login works and, where not, what to do:
  {postroom} authorize gmail
"""


def command() -> str:
    """How the user calls ``postroom`` in their shell: by its name where that finds this installation."""
    ours = Path(sys.executable).parent / "postroom"
    found = shutil.which("postroom")
    if found is not None and Path(found).absolute() == ours.absolute():
        return "postroom"
    return short(ours) if ours.exists() else f"{short(Path(sys.executable))} -m postroom"


def short(path: Path) -> str:
    """The path from here where it lies below, else from the root."""
    absolute = path.absolute()
    here = Path.cwd()
    return str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)


def closing(directory: Path, message_id: str) -> Text:
    """The whole text."""
    log, export = (short(directory / name) for name in ("postroom.log", "export/"))
    width = max(len(log), len(export))
    text = _LOOK.format(
        command=f"{command()} --config {short(directory / 'postroom.ini')}",
        message_id=message_id,
        log=f"{log:{width}}",
        export=f"{export:{width}}",
    )
    sections = "".join(f"  {line}\n" if line else "\n" for line in GMAIL.splitlines())
    text += "\n" + _NEXT.format(sections=sections.rstrip("\n"), postroom=command())
    shown = Text(text)
    shown.highlight_regex(r"(?m)^(Look around|Your own Gmail mailbox next)", "bold")
    shown.highlight_regex(r"(?m)^  .*postroom.*(list|show .*|status|authorize gmail)$", "cyan")
    shown.highlight_regex(r"YOU|\b(CLIENT-ID|CLIENT-SECRET)\b", "yellow")
    shown.highlight_regex(r"https://\S+", "cyan")
    return shown
