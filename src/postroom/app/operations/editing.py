"""Edits of the configuration file from within: judged before, written at once, and nothing else in it touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from postroom.app.config import Live
from postroom.errors import ChangedMeanwhile, ConfigError, FaultyEdit
from postroom.settings import Fault, Severity


class Edit:
    """One edit of the file as it is now. ``text`` is what is there, and ``write`` puts another in its place."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._file = live.configuration.file.resolve()  # what a link names is written, and the link stays
        self.text = self._read()

    def write(self, text: str, section: str, options: Collection[str], also: Sequence[Fault] = ()) -> tuple[Fault, ...]:
        """Put a text in the file's place; what it is warned of in the section.

        Raises ``FaultyEdit`` with every fault that the edit of the section brings, its ``options`` above all, ``also`` first, and
        ``ChangedMeanwhile``; the file is as it was then. ``OSError`` comes back as ``ConfigError``.
        """
        found = self._live.tried(text).faults
        known = {_known(fault) for fault in self._live.tried(self.text).faults}
        named = {option.lower() for option in options}
        bad = (
            *also,
            *(
                fault
                for fault in found
                if fault.severity is Severity.FAULT
                and (_known(fault) not in known or (fault.section.lower() == section.lower() and fault.option.lower() in named))
            ),
        )
        if bad:
            raise FaultyEdit(bad)
        if self._read() != self.text:
            raise ChangedMeanwhile(f"{self._file} was edited while this request came")
        try:
            _replace(self._file, text.encode())
        except OSError as error:
            raise ConfigError(f"{self._file} cannot be written ({error.strerror})") from error
        return tuple(fault for fault in found if fault.section.lower() == section.lower())

    def _read(self) -> str:
        try:
            return self._file.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self._file} cannot be read, so it is not edited either ({error})") from None


def _known(fault: Fault) -> tuple[str, str, str, str]:
    """A fault, wherever its line moves."""
    return fault.section.lower(), fault.option.lower(), fault.value, fault.problem


def _replace(file: Path, octets: bytes) -> None:
    """The file is whole at every moment, and keeps its rights."""
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(handle, "wb") as partial:
            partial.write(octets)
            partial.flush()
            os.fsync(partial.fileno())
        shutil.copymode(file, name)
        with contextlib.suppress(PermissionError):  # only who is root gives files away
            os.chown(name, file.stat().st_uid, file.stat().st_gid)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
