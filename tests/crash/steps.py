"""Die at a step of the store: just before one of the writes and syncs of the database's files, counted from the start."""

from __future__ import annotations

import os
import signal
from typing import Any

import apsw


class Steps(apsw.VFS):
    """The system's own files, with a count of what is written. At step ``die_at`` the process is killed; 0: never."""

    def __init__(self, die_at: int) -> None:
        self.base = apsw.vfs_names()[0]
        self.passed = 0
        self._die_at = die_at
        super().__init__("steps", self.base, makedefault=True)

    def step(self) -> None:
        """The next step is about to be made."""
        self.passed += 1
        if self.passed == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def xOpen(self, name: Any, flags: list[int]) -> _File:  # noqa: N802 - SQLite's name
        return _File(self, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, steps: Steps, name: Any, flags: list[int]) -> None:
        self._steps = steps
        super().__init__(steps.base, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._steps.step()
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._steps.step()
        super().xSync(flags)


def install(die_at: int) -> Steps:
    """Count from now on, in this process."""
    return Steps(die_at)
