"""Signed assertions: what they say, and that whoever has the certificate or the public key can check them."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from postroom.errors import ConfigError
from postroom.net.assertion import client_assertion, service_account_assertion
from postroom.secret import Secret

NOW = 1_700_000_000.75
ENDPOINT = "https://login.microsoftonline.com/tenant/oauth2/v2.0/token"
KEY = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> Secret:
    how = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    octets = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)
    return Secret(octets.decode())


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = KEY) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "postroom")])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


CERTIFICATE = certificate()


def decoded(part: str) -> bytes:
    assert "=" not in part  # RFC 7515 section 2
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def parts(assertion: Secret) -> tuple[dict[str, object], dict[str, object], bytes, bytes]:
    """Header, claims, what was signed, the signature."""
    header, claims, signature = assertion.reveal().split(".")
    return json.loads(decoded(header)), json.loads(decoded(claims)), f"{header}.{claims}".encode(), decoded(signature)


def test_a_certificate_proves_a_client() -> None:
    header, claims, signed, signature = parts(client_assertion("client", ENDPOINT, CERTIFICATE, pem(KEY), NOW))
    der = x509.load_pem_x509_certificate(CERTIFICATE.encode()).public_bytes(serialization.Encoding.DER)
    assert decoded(str(header.pop("x5t#S256"))) == hashlib.sha256(der).digest()
    assert header == {"alg": "PS256", "typ": "JWT"}
    assert len(str(claims.pop("jti"))) >= 16
    assert claims == {
        "iss": "client",
        "sub": "client",
        "aud": ENDPOINT,
        "iat": 1_699_999_970,
        "nbf": 1_699_999_970,
        "exp": 1_700_000_600,
    }
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    KEY.public_key().verify(signature, signed, pss, hashes.SHA256())


def test_each_assertion_is_another() -> None:
    """An authority may refuse one that it saw before (RFC 7523 section 3)."""
    assertions = [client_assertion("client", ENDPOINT, CERTIFICATE, pem(KEY), NOW) for _ in range(5)]
    assert len({str(parts(each)[1]["jti"]) for each in assertions}) == 5


def test_a_service_account_acts_for_a_user() -> None:
    assertion = service_account_assertion(
        "robot@project.example", pem(KEY), "key-1", "https://oauth2.googleapis.com/token", "a@example.org", "mail", NOW
    )
    header, claims, signed, signature = parts(assertion)
    assert header == {"alg": "RS256", "typ": "JWT", "kid": "key-1"}
    assert claims == {
        "iss": "robot@project.example",
        "sub": "a@example.org",
        "scope": "mail",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": 1_699_999_970,
        "nbf": 1_699_999_970,
        "exp": 1_700_000_600,
    }
    KEY.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())


def test_a_key_without_a_number_is_not_named() -> None:
    header, *_ = parts(service_account_assertion("robot@p", pem(KEY), "", "aud", "a@b", "s", NOW))
    assert header == {"alg": "RS256", "typ": "JWT"}


TRADITIONAL = Secret(
    KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()
)


def test_a_key_in_the_older_form_is_read_too() -> None:
    assert client_assertion("client", ENDPOINT, CERTIFICATE, TRADITIONAL, NOW)


UNREADABLE = [
    (Secret(""), "cannot be read"),
    (Secret("no key"), "cannot be read"),
    (Secret("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "cannot be read"),
    (pem(KEY, b"passphrase"), "cannot be read"),
    (pem(CURVE), "is no RSA key"),
]


@pytest.mark.parametrize(("key", "problem"), UNREADABLE, ids=["empty", "none", "torn", "passphrase", "curve"])
def test_a_key_that_cannot_be_used_says_so(key: Secret, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"the key of private-key {problem}") as caught:
        client_assertion("client", ENDPOINT, CERTIFICATE, key, NOW)
    assert caught.value.option == "private-key"
    with pytest.raises(ConfigError, match=f"the key of service-account {problem}") as other:
        service_account_assertion("robot@p", key, "", "aud", "a@b", "s", NOW)
    assert other.value.option == "service-account"
    assert all(line not in str(caught.value) for line in key.reveal().splitlines()[1:-1])


@pytest.mark.parametrize(
    "text", ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", CERTIFICATE[:200]]
)
def test_a_certificate_that_cannot_be_read_says_so(text: str) -> None:
    with pytest.raises(ConfigError, match="certificate cannot be read") as caught:
        client_assertion("client", ENDPOINT, text, pem(KEY), NOW)
    assert caught.value.option == "certificate"


@pytest.mark.parametrize("other", [certificate(OTHER), certificate(CURVE)], ids=["rsa", "curve"])
def test_a_certificate_of_another_key_says_so(other: str) -> None:
    with pytest.raises(ConfigError, match="private-key does not belong to certificate") as caught:
        client_assertion("client", ENDPOINT, other, pem(KEY), NOW)
    assert caught.value.option == "private-key"
