"""A ring in the operating system's key store, through the package ``keyring``, which is an extra: imported when it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from postroom.errors import VaultLocked
from postroom.store.keys import Place, Ring, new_key, ring_of

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend


class KeyStore(Place):
    """An entry of the key store: the ring is the password of a user at a service."""

    writable = True

    def __init__(self, name: str, service: str, user: str) -> None:
        super().__init__(name, f"the key store's entry {service}/{user}")
        self._service = service
        self._user = user

    @property
    def remedy(self) -> str:
        return (
            "Put the key back into the key store, as the password of that user at that service; see that the key store "
            "is unlocked for the user whom Postroom runs as."
        )

    def load(self, *, create: bool) -> Ring:
        with self._asked() as store:
            text = store.get_password(self._service, self._user)
        if text is not None:
            return ring_of(text, self.shown)
        if not create:
            raise VaultLocked(f"{self.shown} is missing, and the store holds sealed values", remedy=self.remedy)
        ring = Ring((new_key(),))
        self.write(ring)
        return ring

    def write(self, ring: Ring) -> None:
        with self._asked() as store:
            store.set_password(self._service, self._user, ring.text().reveal())
            kept = store.get_password(self._service, self._user)
        if kept is None or ring_of(kept, self.shown) != ring:  # some backends take everything and keep nothing
            raise VaultLocked(f"{self.shown} does not keep what is written to it", remedy=self.remedy)

    @contextmanager
    def _asked(self) -> Iterator[KeyringBackend]:
        """The key store; what it raises is a locked vault."""
        try:
            import keyring
            import keyring.errors
        except ImportError:
            remedy = "pip install 'postroom[keyring]'"
            raise VaultLocked("the package keyring is missing, through which the key store is asked", remedy=remedy) from None
        failures: list[type[Exception]] = [keyring.errors.KeyringError, OSError, RuntimeError]
        with suppress(ImportError):  # its backend for the Secret Service lets this one through
            from secretstorage.exceptions import SecretStorageException

            failures.append(SecretStorageException)
        try:
            yield keyring.get_keyring()
        except tuple(failures) as error:
            raise VaultLocked(f"{self.shown}: {error}", remedy=self.remedy) from error
