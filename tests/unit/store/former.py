"""Stores as the first program left them: one schema, keys without ids."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from postroom.store import rotation
from postroom.store.keys import Key


def former_hash(key: Key, *texts: str) -> str:
    """A keyed hash as it was made when the key itself made them."""
    code = hmac.new(hashlib.sha256(b"hash" + key.octets).digest(), digestmod=hashlib.sha256)
    for each in texts:
        code.update(len(each.encode()).to_bytes(8, "big") + each.encode())
    return code.hexdigest()


def former_sealed(key: Key, secret: str, belongs_to: str) -> bytes:
    """A value of version 1."""
    nonce = os.urandom(12)
    return b"\x01" + nonce + AESGCM(key.octets).encrypt(nonce, secret.encode(), belongs_to.encode())


@contextlib.contextmanager
def first_schema(directory: Path, key: Key) -> Iterator[apsw.Connection]:
    """A new store of the first schema with its key file; what the block inserts is what it held."""
    scripts = Path(rotation.__file__).parent / "migrations"
    connection = apsw.Connection(str(directory / "postroom.db"))
    connection.execute((scripts / "0001.sql").read_text() + "; PRAGMA user_version = 1")
    connection.execute("INSERT INTO vault VALUES (1, ?)", (bytes.fromhex(former_hash(key, "proof")),))
    yield connection
    connection.close()
    (directory / "vault.key").write_bytes(base64.b64encode(key.octets) + b"\n")
