"""Secrets at rest: AES-256-GCM under the current key of a ring.

A sealed value is a version octet (2), the id of its key (8 octets), a nonce (12 octets) and the ciphertext with its tag. What
the value belongs to is bound as associated data, so that one row's value cannot be put into another's place. Values of
version 1 carry no id.

The table ``vault`` has one row: the id of the key that is current, a proof that tells whether a key is that one, the hash key,
sealed, and the ids of former keys, which never become current again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import apsw

from postroom.errors import VaultLocked
from postroom.secret import Secret
from postroom.store.keys import Key, Place, Ring

_HEAD = {1: 1, 2: 9}  # octets ahead of the nonce, by version
_NONCE = 12
_HASH_KEY = "vault:hash-key"  # to what it belongs
_ROW = "SELECT key_id, proof, hash_key, retired FROM vault"
_NEW = "INSERT INTO vault (id, key_id, proof, hash_key) VALUES (1, ?, ?, ?)"
_UPGRADE = "UPDATE vault SET key_id = ?, hash_key = ?"
_CHANGE = "UPDATE vault SET key_id = ?1, proof = ?2, retired = trim(retired || ' ' || key_id)"


@dataclass(frozen=True)
class Sealed:
    """A column of sealed values. ``row`` names the columns that find a row and say to what its value belongs."""

    table: str
    column: str
    row: tuple[str, ...]
    belongs_to: Callable[..., str]


SEALED = (Sealed("vault", "hash_key", ("id",), lambda _id: _HASH_KEY),)


def seal(key: Key, secret: Secret, belongs_to: str) -> bytes:
    """Encrypt a secret that belongs to something named."""
    head = b"\x02" + bytes.fromhex(key.id)
    nonce = os.urandom(_NONCE)
    return head + nonce + key.cipher.encrypt(nonce, secret.reveal().encode(), head + belongs_to.encode())


def unseal(ring: Ring, sealed: bytes, belongs_to: str) -> Secret:
    """Decrypt. Raises ``VaultLocked`` when no key of the ring opens it, or it was sealed for something else."""
    version = sealed[0] if sealed else 0
    if version not in _HEAD:
        raise VaultLocked("a sealed value of an unknown version")
    head, rest = sealed[: _HEAD[version]], sealed[_HEAD[version] :]
    if version == 1:
        found = [_decrypted(key, rest, belongs_to.encode()) for key in ring.keys]
    else:
        found = [_decrypted(key, rest, head + belongs_to.encode()) for key in ring.keys if key.id == head[1:].hex()]
    for text in found:
        if text is not None:
            return Secret(text)
    raise VaultLocked("the key does not open what is sealed")


def _decrypted(key: Key, rest: bytes, associated: bytes) -> str | None:
    from cryptography.exceptions import InvalidTag

    try:
        return key.cipher.decrypt(rest[:_NONCE], rest[_NONCE:], associated).decode()
    except (InvalidTag, ValueError):  # ValueError: cut off before its end
        return None


@dataclass(frozen=True)
class Held:
    """A ring with the store's word on it. Made by ``held``."""

    ring: Ring
    current: Key
    hash_key: bytes  # sealed
    retired: tuple[str, ...]  # ids of former keys


class Vault:
    """Seals and opens with the keys of a place. Made by ``open_vault``.

    A job calls ``follow`` within its transaction before it opens or seals.
    """

    def __init__(self, place: Place, held: Held) -> None:
        self.place = place
        self._held = held
        self._hash_key: bytes | None = None

    def seal(self, secret: Secret, belongs_to: str) -> bytes:
        """Encrypt with the current key."""
        return seal(self._held.current, secret, belongs_to)

    def open(self, sealed: bytes, belongs_to: str) -> Secret:
        """Decrypt with whichever key of the ring it was sealed with. Raises ``VaultLocked``."""
        return unseal(self._held.ring, sealed, belongs_to)

    def follow(self, db: apsw.Connection) -> None:
        """Hold the key that is the store's current one at this transaction: another process may have rotated it.

        Raises ``VaultLocked`` where the place has no such key; then nothing may be written.
        """
        if db.execute("SELECT key_id FROM vault").get != self._held.current.id:
            self._held = held(db, self.place)

    def keyed_hash(self, *texts: str) -> str:
        """A hash that nobody without the key can compute: to recognise a secret without keeping it. The same for ever."""
        if self._hash_key is None:
            now = self._held  # another thread may follow meanwhile
            self._hash_key = base64.b64decode(unseal(now.ring, now.hash_key, _HASH_KEY).reveal())
        return _keyed_hash(self._hash_key, *texts)


def open_vault(db: apsw.Connection, place: Place) -> Vault:
    """The store's vault, made at first sight, within one transaction. Raises ``VaultLocked``."""
    row: Any = db.execute(_ROW).fetchone()
    if row is None:
        key = place.load(create=True).keys[0]  # nothing is sealed yet: any of them is right
        db.execute(_NEW, (key.id, _proof(key), _sealed_hash_key(key, os.urandom(32))))
    elif row[0] is None:  # a store from before there were ids
        key = _proved(place, row[1])
        db.execute(_UPGRADE, (key.id, _sealed_hash_key(key, _first_hash_key(key))))
    return Vault(place, held(db, place))


def held(db: apsw.Connection, place: Place) -> Held:
    """The ring of a place, joined with what the store says of it. Raises ``VaultLocked`` where the current key is not there."""
    row: Any = db.execute(_ROW).fetchone()
    key_id, proof, hash_key, retired = row
    ring = place.load(create=False)
    key = ring.get(key_id)
    if key is None or not hmac.compare_digest(_proof(key), proof):
        raise _locked(place, f": the store is sealed with {key_id}, {place.shown} holds {', '.join(ring.ids)}")
    return Held(ring, key, hash_key, tuple(retired.split()))


def change_key(db: apsw.Connection, key: Key) -> None:
    """Make another key current; the former one is retired. All that is sealed must be sealed anew in the same transaction."""
    db.execute(_CHANGE, (key.id, _proof(key)))


def _proved(place: Place, proof: bytes) -> Key:
    """The key of a place that a proof is of."""
    for key in place.load(create=False).keys:
        if hmac.compare_digest(_proof(key), proof):
            return key
    raise _locked(place)


def _locked(place: Place, words: str = "") -> VaultLocked:
    return VaultLocked(f"the key is not the one that this store was made with{words}", remedy=place.remedy)


def _sealed_hash_key(key: Key, hash_key: bytes) -> bytes:
    return seal(key, Secret(base64.b64encode(hash_key).decode()), _HASH_KEY)


def _first_hash_key(key: Key) -> bytes:
    """The hash key of a store from before there were ids: it was derived from the key, and must stay what it was."""
    return hashlib.sha256(b"hash" + key.octets).digest()


def _proof(key: Key) -> bytes:
    return bytes.fromhex(_keyed_hash(_first_hash_key(key), "proof"))


def _keyed_hash(hash_key: bytes, *texts: str) -> str:
    code = hmac.new(hash_key, digestmod=hashlib.sha256)
    for text in texts:
        octets = text.encode()
        code.update(len(octets).to_bytes(8, "big") + octets)
    return code.hexdigest()
