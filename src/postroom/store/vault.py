"""Secrets at rest: AES-256-GCM under a key from a file or the environment.

A sealed value is a version octet, a nonce (12 octets) and the ciphertext with its tag. What the value belongs to is bound
as associated data, so that one row's value cannot be put into another's place.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from postroom.errors import VaultLocked
from postroom.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = b"\x01"
_NONCE = 12
_KEY = 32


class Vault:
    """Seals and opens. Made from 32 octets of key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aead: AESGCM | None = None

    def seal(self, secret: Secret, belongs_to: str) -> bytes:
        """Encrypt a secret that belongs to something named."""
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._cipher().encrypt(nonce, secret.reveal().encode(), belongs_to.encode())

    def open(self, sealed: bytes, belongs_to: str) -> Secret:
        """Decrypt. Raises ``VaultLocked`` when the key is another one, or the value was sealed for something else."""
        from cryptography.exceptions import InvalidTag

        if sealed[:1] != _VERSION:
            raise VaultLocked("a sealed value of an unknown version")
        try:
            nonce, ciphertext = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
            return Secret(self._cipher().decrypt(nonce, ciphertext, belongs_to.encode()).decode())
        except (InvalidTag, ValueError):  # ValueError: cut off before its end
            raise VaultLocked("the key does not open what is sealed") from None

    def keyed_hash(self, *texts: str) -> str:
        """A hash that nobody without the key can compute: to recognise a secret without keeping it."""
        code = hmac.new(hashlib.sha256(b"hash" + self._key).digest(), digestmod=hashlib.sha256)
        for text in texts:
            octets = text.encode()
            code.update(len(octets).to_bytes(8, "big") + octets)
        return code.hexdigest()

    def _cipher(self) -> AESGCM:
        if self._aead is None:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # takes 30 ms; only OAuth needs it

            self._aead = AESGCM(self._key)
        return self._aead


def load_key(place: str, environment: Mapping[str, str], *, create: bool) -> bytes:
    """The key that ``settings.vault-key`` names: ``env:NAME`` or ``file:PATH``, base64 of 32 octets.

    A missing file is made, with mode 0600, only when ``create`` says that nothing was sealed yet. Raises ``VaultLocked``.
    """
    kind, _, name = place.partition(":")
    if kind == "env":
        if name not in environment:
            raise VaultLocked(f"the environment has no variable {name}")
        return _key(environment[name], f"the variable {name}")
    path = Path(name)
    try:
        return _key(path.read_text("ascii"), str(path))
    except FileNotFoundError:
        if not create:
            raise VaultLocked(f"{path} is missing, and the store holds sealed values") from None
    except (OSError, UnicodeDecodeError) as error:
        raise VaultLocked(f"{path}: {error}") from error
    try:
        return _made(path)
    except OSError as error:
        raise VaultLocked(f"{path}: {error}") from error


def _made(path: Path) -> bytes:
    key = os.urandom(_KEY)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, base64.b64encode(key) + b"\n")
        os.fsync(file)
    finally:
        os.close(file)
    try:
        os.link(temporary, path)  # of two processes that begin together one wins
    except FileExistsError:
        return _key(path.read_text("ascii"), str(path))
    finally:
        os.unlink(temporary)
    return key


def _key(text: str, place: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != _KEY:
        raise VaultLocked(f"{place} does not hold a key: base64 of {_KEY} octets")
    return key
