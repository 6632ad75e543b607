"""A certificate authority of the sandbox's own, and the server's certificate from it."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Certificates:
    """Where the PEM files lie, and the context of a server that shows them."""

    ca_file: Path  # what a client must trust
    certificate_file: Path
    key_file: Path  # mode 0600
    server: ssl.SSLContext


def make(directory: Path) -> Certificates:
    """Make both anew in the directory. The key of the authority is kept nowhere, so that nobody can issue from it."""
    authority = trustme.CA(organization_name="Postroom sandbox")
    leaf = authority.issue_cert("localhost", "127.0.0.1", "::1", organization_name="Postroom sandbox")
    ca_file, certificate_file, key_file = (directory / name for name in ("ca.pem", "server.pem", "server-key.pem"))
    ca_file.write_bytes(authority.cert_pem.bytes())
    certificate_file.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    write_private(key_file, leaf.private_key_pem.bytes())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate_file, key_file)
    return Certificates(ca_file, certificate_file, key_file, context)


def write_private(path: Path, octets: bytes) -> None:
    """Write a file that only its owner reads, from its first octet on."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
