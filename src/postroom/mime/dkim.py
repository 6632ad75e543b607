"""Signing with DomainKeys Identified Mail (RFC 6376), by RSA or Ed25519 (RFC 8463), relaxed/relaxed.

Fields that a reader sees are signed once more than they stand there, so that nobody can add another (RFC 6376 section 8.15).
docs/decisions/0019-dkim.md says why the signing is done here and dkimpy only checks it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

from postroom.mime import fields

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_SEALED = (
    *(b"from", b"sender", b"reply-to", b"subject", b"date", b"message-id", b"to", b"cc", b"in-reply-to", b"references"),
    *(b"mime-version", b"content-type", b"content-transfer-encoding"),
)
"""Signed once more than they stand there."""

_SIGNED = re.compile(
    rb"(?:list-[a-z-]+|resent-(?:from|sender|date|to|cc|message-id)|content-id|content-disposition|auto-submitted)\Z"
)
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)\r\n")
_BLANKS = re.compile(rb"[ \t]+")
_AT_END = re.compile(rb"[ \t]+(?=\r\n)")
_LEAST_BITS = 1024  # RFC 8301 section 3.2


def sign(octets: bytes, domain: str, selector: str, key_pem: bytes, timestamp: int) -> bytes:
    """The message with a DKIM-Signature before it. Its lines end in CRLF, ``domain`` is in A-labels.

    Raises ``ValueError`` for a key that cannot sign, and for a message without From.
    """
    key = _key(key_pem)
    header, _, body = octets.partition(b"\r\n\r\n")
    found = [(name.lower(), value) for name, value in _FIELD.findall(header + b"\r\n")]
    names = _names([name for name, _ in found])
    if not any(name == b"from" for name, _ in found):
        raise ValueError("a message without From cannot be signed (RFC 6376 section 5.4)")
    tags = [
        ("v", "1"),
        ("a", _algorithm(key)),
        ("c", "relaxed/relaxed"),
        ("d", domain),
        ("s", selector),
        ("t", str(timestamp)),
        ("bh", base64.b64encode(hashlib.sha256(_relaxed_body(body)).digest()).decode("ascii")),
    ]
    words = [f"{name}={value};" for name, value in tags] + _list_of(names) + ["b="]
    unsigned = fields.tokens("DKIM-Signature", words)
    signature = base64.b64encode(_signature(key, _hashed(found, names, unsigned))).decode("ascii")
    pieces = [signature[at : at + 70] for at in range(0, len(signature), 70)]  # blanks within b= do not count (section 3.5)
    return unsigned.removesuffix(b"\r\n") + "\r\n ".join(["", *pieces]).encode("ascii") + b"\r\n" + octets


def _key(pem: bytes) -> RSAPrivateKey | Ed25519PrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if b"-----BEGIN" not in pem:
        raise ValueError("no PEM file; valid: a private key of RSA or Ed25519, beginning with -----BEGIN PRIVATE KEY-----")
    if b"PRIVATE KEY-----" not in pem:
        raise ValueError("no private key is in it (a public key or a certificate cannot sign)")
    try:
        # The primes of an RSA key are proved when the configuration is read, not for each message: it takes 30 ms.
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise ValueError("its private key is protected by a password; valid: one without, readable by Postroom alone") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("its private key cannot be read; valid: PKCS #8 or PKCS #1 in PEM") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("its private key is neither RSA nor Ed25519")  # RFC 8301, RFC 8463
    if key.key_size < _LEAST_BITS:
        raise ValueError(f"its RSA key has {key.key_size} bits; valid: at least {_LEAST_BITS}, better 2048")
    return key


def _algorithm(key: RSAPrivateKey | Ed25519PrivateKey) -> str:
    return "rsa-sha256" if hasattr(key, "key_size") else "ed25519-sha256"


def _signature(key: RSAPrivateKey | Ed25519PrivateKey, octets: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.hashes import SHA256

    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(octets, padding.PKCS1v15(), SHA256())
    return key.sign(hashlib.sha256(octets).digest())  # RFC 8463 section 3: of the hash


def _names(there: list[bytes]) -> list[bytes]:
    """The names for h=: each as often as it stands there, the sealed ones once more."""
    sealed = [name for name in _SEALED for _ in range(there.count(name) + 1)]
    return [*sealed, *(name for name in there if _SIGNED.match(name))]


def _list_of(names: list[bytes]) -> list[str]:
    first, *rest = [name.decode("ascii") for name in names]
    words = [f"h={first}", *rest]
    return [*(f"{word}:" for word in words[:-1]), f"{words[-1]};"]


def _hashed(found: list[tuple[bytes, bytes]], names: list[bytes], unsigned: bytes) -> bytes:
    """What is signed (RFC 6376 section 3.7): of fields that stand there several times the last first (section 5.4.2)."""
    left: dict[bytes, list[bytes]] = {}
    for name, value in found:
        left.setdefault(name, []).append(value)
    lines = [_relaxed(name, left[name].pop()) for name in names if left.get(name)]
    name, _, value = unsigned.partition(b":")
    return b"".join(line + b"\r\n" for line in lines) + _relaxed(name.lower(), value)  # the last without its line end


def _relaxed(name: bytes, value: bytes) -> bytes:
    """RFC 6376 section 3.4.2."""
    return name + b":" + _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" \t")


def _relaxed_body(body: bytes) -> bytes:
    """RFC 6376 section 3.4.4."""
    if b" \r\n" in body or b"\t\r\n" in body:
        body = _AT_END.sub(b"", body)
    if b"  " in body or b"\t" in body:
        body = _BLANKS.sub(b" ", body)
    body = body.rstrip(b"\r\n")
    return body + b"\r\n" if body else b""
