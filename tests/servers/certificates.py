"""Certificates of a certification authority that exists for the tests only."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType

import trustme

LOOPBACK = ("localhost", "127.0.0.1")


class Certificates:
    """A certification authority and the files of what it issues, in a directory that goes away with it."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="pr-ca-"))
        self._authority = trustme.CA()
        self._issued = 0
        self.ca_file = self._directory / "ca.pem"  # what a client must trust
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def issue(self, *names: str) -> tuple[Path, Path]:
        """The files of a new certificate (with its chain) for ``names`` and of its private key."""
        self._issued += 1
        chain = self._directory / f"{self._issued}.pem"
        key = self._directory / f"{self._issued}.key"
        issued = self._authority.issue_cert(*names)
        chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return chain, key

    def close(self) -> None:
        """Remove all files."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Certificates:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
