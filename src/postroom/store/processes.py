"""Which processes live. Each holds a lock on a file of its own, so that on one machine a dead one is known at once."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path


class Processes:
    """This process's entry among those that use a data directory.

    ``holder`` names it in leases. The lock ends with the process, however it ends.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.holder = f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
        self._file = os.open(self._path(self.holder), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def living(self, holder: str) -> bool:
        """True when that process lives. The file of a dead one is removed."""
        if holder == self.holder:
            return True
        try:
            file = os.open(self._path(holder), os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            self._path(holder).unlink(missing_ok=True)
            return False
        finally:
            os.close(file)

    def alone(self) -> bool:
        """Whether no other process that uses the directory lives."""
        return not any(_locked(path) for path in self._directory.glob("*.process") if path != self._path(self.holder))

    def close(self) -> None:
        """Leave."""
        self._path(self.holder).unlink(missing_ok=True)
        os.close(self._file)

    def _path(self, holder: str) -> Path:
        return self._directory / f"{holder}.process"


def _locked(path: Path) -> bool:
    """Whether a process holds its lock. No file is removed: this may be that of a process which is about to lock it."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)
