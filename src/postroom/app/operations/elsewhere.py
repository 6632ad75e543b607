"""What another system has captured: read from its Maildir, its mbox, or a list of Message-IDs. Nothing there is changed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from postroom.errors import ConfigError
from postroom.mime.fingerprint import fingerprint, known_as

_PIECE = 256 * 1024


@dataclass(frozen=True)
class Elsewhere:
    """Where the other system keeps what it has; exactly one of them."""

    maildir: Path | None = None
    mbox: Path | None = None
    message_ids: Path | None = None

    @property
    def named(self) -> bool:
        """Whether there is something to compare with."""
        return any((self.maildir, self.mbox, self.message_ids))

    def messages(self) -> Iterator[tuple[str, bytes | None, str]]:
        """Each message: its name there, its fingerprint where its octets are had, its Message-ID. Raises ``ConfigError``."""
        try:
            if self.maildir is not None:
                yield from _maildir(self.maildir)
            elif self.mbox is not None:
                yield from _mbox(self.mbox)
            elif self.message_ids is not None:
                yield from _message_ids(self.message_ids)
        except OSError as error:
            raise ConfigError(f"{error.filename}: {error.strerror}") from error


def _maildir(directory: Path) -> Iterator[tuple[str, bytes | None, str]]:
    """``new`` and ``cur``; what is in ``tmp`` is not delivered (cr.yp.to/proto/maildir.html)."""
    folders = [folder for folder in (directory / "new", directory / "cur") if folder.is_dir()]
    if not folders:
        raise ConfigError(f"{directory} is no Maildir: it has neither new nor cur")
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    file = open(entry.path, "rb")  # noqa: SIM115 - closed below
                except FileNotFoundError:  # a reader of the Maildir has moved it to cur, where it is met
                    continue
                with file:
                    found = fingerprint(_pieces(file))
                yield f"{folder.name}/{entry.name}", found.digest, known_as(found.message_id)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _mbox(path: Path) -> Iterator[tuple[str, bytes | None, str]]:
    """RFC 4155: each message behind a line that begins with "From " and follows a blank line or nothing. Quoted such lines
    within a message lose one mark, as most programs write them."""
    with path.open("rb") as file:
        number = 0
        reader = _MboxReader(file)
        while reader.at_message():
            number += 1
            found = fingerprint(reader.lines())
            yield f"message {number}", found.digest, known_as(found.message_id)


class _MboxReader:
    """An mbox, one message at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._next = file.readline(_PIECE)
        while self._next in (b"\n", b"\r\n"):
            self._next = file.readline(_PIECE)
        if self._next and not self._next.startswith(b"From "):
            raise ConfigError(f"{file.name} is no mbox: it does not begin with a line From …")

    def at_message(self) -> bool:
        """True while there is one more."""
        return bool(self._next)

    def lines(self) -> Iterator[bytes]:
        """The message's lines, to its end."""
        blank = begin = False
        whole = True
        while line := self._file.readline(_PIECE):
            begin, whole = whole, line.endswith(b"\n")
            if begin and blank and line.startswith(b"From "):
                self._next = line
                return
            blank = begin and line in (b"\n", b"\r\n")
            quoted = begin and line.startswith(b">") and line.lstrip(b">").startswith(b"From ")
            yield line[1:] if quoted else line
        self._next = b""


def _message_ids(path: Path) -> Iterator[tuple[str, bytes | None, str]]:
    """One a line, with or without brackets; a message that is listed twice is there twice."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if text := known_as(line.decode("utf-8", "replace")):
                yield f"line {number}", None, text
