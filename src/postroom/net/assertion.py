"""Signed assertions (RFC 7523): what proves a Microsoft application by its certificate, and a Google service account."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from postroom.errors import ConfigError
from postroom.secret import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_LIFETIME = 600.0  # seconds; Microsoft advises 5 to 10 minutes, Google allows an hour


def client_assertion(client_id: str, endpoint: str, certificate: str, private_key: Secret, now: float) -> Secret:
    """The JWT that proves a client by its certificate (RFC 7523 section 3), PS256 with x5t#S256 as Microsoft documents it.

    Raises ``ConfigError`` for a certificate or key that cannot be used, or that are not of one pair.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    key = _key(private_key, "private-key")
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
    except ValueError as error:
        raise ConfigError(f"certificate cannot be read: {error}", option="certificate") from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if found.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise ConfigError("private-key does not belong to certificate", option="private-key")
    header = {"alg": "PS256", "typ": "JWT", "x5t#S256": _b64(found.fingerprint(hashes.SHA256()))}  # RFC 7515 section 4.1.8
    claims = {"iss": client_id, "sub": client_id, "aud": endpoint, "jti": _b64(os.urandom(16)), **_times(now)}
    return _signed(header, claims, key)


def service_account_assertion(
    email: str, private_key: Secret, key_id: str, audience: str, subject: str, scope: str, now: float
) -> Secret:
    """The JWT by which a service account acts for a user of its domain; RS256, as Google documents it.

    https://developers.google.com/identity/protocols/oauth2/service-account. Raises ``ConfigError`` for a key that cannot be used.
    """
    header = {"alg": "RS256", "typ": "JWT", **({"kid": key_id} if key_id else {})}
    claims = {"iss": email, "sub": subject, "scope": scope, "aud": audience, **_times(now)}
    return _signed(header, claims, _key(private_key, "service-account"))


def _times(now: float) -> dict[str, int]:
    # Clocks differ: a token from the future is refused, so it begins a little earlier.
    return {"iat": int(now - 30), "nbf": int(now - 30), "exp": int(now + _LIFETIME)}


def _key(private_key: Secret, option: str) -> RSAPrivateKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(private_key.reveal().encode(), None)
    except (ValueError, TypeError):
        raise ConfigError(f"the key of {option} cannot be read", option=option) from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError(f"the key of {option} is no RSA key", option=option)
    return key


def _signed(header: Mapping[str, object], claims: Mapping[str, object], key: RSAPrivateKey) -> Secret:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    text = ".".join(_b64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256().digest_size)  # RFC 7518 section 3.5
    how = pss if header["alg"] == "PS256" else padding.PKCS1v15()
    return Secret(f"{text}.{_b64(key.sign(text.encode(), how, hashes.SHA256()))}")


def _b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
