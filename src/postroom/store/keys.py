"""Keys, and the places that keep them: a file, a variable, a credential of systemd, the operating system's key store.

A place holds a *ring*: one key or several, base64 of 32 octets each, with white space between them. Which of them is current
is never said by their order; the store says it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from postroom.errors import VaultLocked
from postroom.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_KEY = 32
_ID = 8
_GROUP_READS = 0o640  # the widest rights that a key file keeps


@dataclass(frozen=True)
class Key:
    """32 octets of key."""

    octets: bytes = field(repr=False)

    @cached_property
    def id(self) -> str:
        """What tells keys apart and gives nothing away: the first octets of a hash, hexadecimal."""
        return hashlib.sha256(b"id" + self.octets).hexdigest()[: 2 * _ID]

    @cached_property
    def cipher(self) -> AESGCM:
        """AES-256-GCM (NIST SP 800-38D) under this key."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # takes 30 ms; only OAuth needs it

        return AESGCM(self.octets)


def new_key() -> Key:
    """A key that nobody knows."""
    return Key(os.urandom(_KEY))


@dataclass(frozen=True)
class Ring:
    """The keys of a place, each once."""

    keys: tuple[Key, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """The keys' ids in the order of the place."""
        return tuple(key.id for key in self.keys)

    def get(self, key_id: str | None) -> Key | None:
        """The key with this id."""
        return next((key for key in self.keys if key.id == key_id), None)

    def joined(self, key: Key) -> Ring:
        """This ring and a further key."""
        return Ring((*self.keys, key))

    def without(self, ids: Collection[str]) -> Ring:
        """This ring less the keys with these ids."""
        return Ring(tuple(key for key in self.keys if key.id not in ids))

    def text(self) -> Secret:
        """The ring as a place holds it: a key a line."""
        return Secret("".join(f"{base64.b64encode(key.octets).decode()}\n" for key in self.keys))


def ring_of(text: str, place: str) -> Ring:
    """The ring that a place's text is. Raises ``VaultLocked``, and shows nothing of the text."""
    octets = [_decoded(word) for word in text.split()]
    if not octets or any(len(each) != _KEY for each in octets):
        raise VaultLocked(f"{place} does not hold a key: base64 of {_KEY} octets, or several with white space between them")
    return Ring(tuple(Key(each) for each in dict.fromkeys(octets)))


def _decoded(word: str) -> bytes:
    try:
        return base64.b64decode(word, validate=True)
    except ValueError:
        return b""


class Place:
    """Where a ring is kept."""

    writable = False  # whether a rotation can change what it holds

    def __init__(self, name: str, shown: str) -> None:
        self.name = name  # as ``settings.vault-key`` says it
        self.shown = shown  # for people

    def load(self, *, create: bool) -> Ring:
        """The ring. Only with ``create``, which says that nothing was sealed yet, is a key made where none is.

        Raises ``VaultLocked``.
        """
        raise NotImplementedError

    def write(self, ring: Ring) -> None:
        """Put this ring in the place of the former one, whole or not at all, durably. Raises ``VaultLocked``."""
        raise VaultLocked(f"{self.shown} cannot be written from here")

    @property
    def remedy(self) -> str:
        """What to do when the key that the store asks for is not here; empty where that is the error's own remedy."""
        return f"Give every process that uses the store its key in {self.shown}, and start it again."


def place_of(name: str, environment: Mapping[str, str]) -> Place:
    """The place that ``settings.vault-key`` names: ``file:``, ``env:``, ``credential:`` or ``keyring:``."""
    kind, _, rest = name.partition(":")
    if kind == "env":
        return _Variable(name, rest, environment)
    if kind == "credential":
        return _Credential(name, rest, environment)
    if kind == "keyring":
        from postroom.store.keystore import KeyStore

        service, _, user = rest.rpartition("/")
        return KeyStore(name, service, user)
    return KeyFile(name, Path(rest))


class _Variable(Place):
    def __init__(self, name: str, variable: str, environment: Mapping[str, str]) -> None:
        super().__init__(name, f"the variable {variable}")
        self._variable = variable
        self._environment = environment

    def load(self, *, create: bool) -> Ring:
        text = self._environment.get(self._variable)
        if text is None:
            raise VaultLocked(f"the environment has no variable {self._variable}", remedy=self.remedy)
        return ring_of(text, self.shown)


class _Credential(Place):
    """A file that systemd shows to the service alone (systemd.exec(5), ``LoadCredential=``)."""

    def __init__(self, name: str, credential: str, environment: Mapping[str, str]) -> None:
        super().__init__(name, f"the credential {credential}")
        self._credential = credential
        self._environment = environment

    def load(self, *, create: bool) -> Ring:
        directory = self._environment.get("CREDENTIALS_DIRECTORY")
        if not directory:
            remedy = (
                "Name the key in the unit, with LoadCredential=. For a command beside the running service set "
                "CREDENTIALS_DIRECTORY=/run/credentials/UNIT, as the service's user."
            )
            raise VaultLocked(f"{self.shown} is not here: CREDENTIALS_DIRECTORY is not set", remedy=remedy)
        try:
            return ring_of((Path(directory) / self._credential).read_text("ascii"), self.shown)
        except (OSError, UnicodeDecodeError) as error:
            raise VaultLocked(f"{self.shown}: {error}", remedy=self.remedy) from error


class KeyFile(Place):
    """A file. Made with mode 0600; a rotation keeps its owner, and whether its group may read it."""

    writable = True

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name, str(path))
        self._path = path

    @property
    def remedy(self) -> str:
        return ""

    def load(self, *, create: bool) -> Ring:
        try:
            return self._read()
        except FileNotFoundError:
            if not create:
                raise VaultLocked(f"{self._path} is missing, and the store holds sealed values") from None
        except (OSError, UnicodeDecodeError) as error:
            raise VaultLocked(f"{self._path}: {error}") from error
        try:
            return self._made()
        except OSError as error:
            raise VaultLocked(f"{self._path}: {error}") from error

    def write(self, ring: Ring) -> None:
        path = self._path.resolve()  # what a link names is written, and the link stays
        temporary = path.with_name(f".{path.name}.new")
        try:
            former = path.stat()
            temporary.unlink(missing_ok=True)  # of a rotation that was killed
            _write_file(temporary, ring, like=former)
            os.replace(temporary, path)
            _sync_folder(path.parent)
        except OSError as error:
            remedy = "Run it as the user that may write this folder and owns the key file."
            raise VaultLocked(f"{path} cannot be written: {error}", remedy=remedy) from error

    def _read(self) -> Ring:
        return ring_of(self._path.read_text("ascii"), str(self._path))

    def _made(self) -> Ring:
        ring = Ring((new_key(),))
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        _write_file(temporary, ring)
        try:
            os.link(temporary, self._path)  # of two processes that begin together one wins
        except FileExistsError:
            return self._read()
        finally:
            os.unlink(temporary)
        _sync_folder(self._path.parent)
        return ring


def _write_file(path: Path, ring: Ring, like: os.stat_result | None = None) -> None:
    """A new file with a ring, durable. Its owner and rights are those of another file, never wider than ``rw-r-----``."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        if like is not None:
            if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):  # the service must be able to read it still
                os.fchown(file, like.st_uid, like.st_gid)
            os.fchmod(file, stat.S_IMODE(like.st_mode) & _GROUP_READS)
        os.write(file, ring.text().reveal().encode())
        os.fsync(file)
    finally:
        os.close(file)


def _sync_folder(folder: Path) -> None:
    """Make a name in a folder durable."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
