"""Private keys that values name, checked where that needs more than a look at their text."""

from __future__ import annotations

from pathlib import Path

from postroom.secret import Secret
from postroom.settings import values
from postroom.settings.option import Surroundings

_LEAST_BITS = 1024  # verifiers must not accept fewer (RFC 8301 section 3.2)


def key_file(value: str, surroundings: Surroundings) -> Path:
    """A PEM file with a private key that needs no passphrase."""
    values.private_key(value, surroundings)
    return values.path(value.removeprefix("file:").strip(), surroundings)


def signing_key(value: str, surroundings: Surroundings) -> Secret:
    """The text of a PEM file with a key that DKIM signs with: RSA (RFC 6376), or Ed25519 (RFC 8463)."""
    text = values.private_key(value, surroundings)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text.reveal().encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("names a file whose private key cannot be read") from None
    if isinstance(key, Ed25519PrivateKey):
        return text
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("names a file whose key is neither RSA nor Ed25519")
    if key.key_size < _LEAST_BITS:
        raise ValueError(f"names a file whose RSA key has {key.key_size} bits; {_LEAST_BITS} is the least, 2048 is right")
    return text
