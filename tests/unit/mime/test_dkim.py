"""Signatures, checked by another implementation (dkimpy) and by the arithmetic itself."""

from __future__ import annotations

import base64
import hashlib
import re

import dkim
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.letters import GIVEN
from postroom.mime.compose import compose
from postroom.mime.dkim import sign
from postroom.mime.draft import parse_draft

RSA = rsa.generate_private_key(65537, 2048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
MESSAGE = b"From: a@example.org\r\nTo: b@example.org\r\nSubject:  Hello \r\n\tthere\r\n\r\nHello  there \r\n\t\r\n\r\n"


def pem(
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
    form: PrivateFormat = PrivateFormat.PKCS8,
    protection: KeySerializationEncryption | None = None,
) -> bytes:
    return key.private_bytes(Encoding.PEM, form, protection or NoEncryption())


def signed(octets: bytes = MESSAGE, key: bytes = b"") -> bytes:
    return sign(octets, "example.org", "s1", key or pem(RSA), 1_790_000_000)


def record(name: bytes, timeout: int = 5) -> bytes:
    assert name == b"s1._domainkey.example.org."
    public = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(public)


def verified(octets: bytes) -> bool:
    try:
        return dkim.verify(octets, dnsfunc=record)
    except dkim.DKIMException:
        return False


def tags(octets: bytes) -> dict[str, str]:
    field = octets.partition(b"\r\nFrom:")[0].partition(b":")[2].replace(b"\r\n", b"").decode()
    return {name.strip(): value for name, _, value in (tag.partition("=") for tag in field.split(";"))}


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["pkcs8", "pkcs1"])
def test_another_implementation_verifies_it(form: PrivateFormat) -> None:
    octets = signed(key=pem(RSA, form))
    assert octets.endswith(MESSAGE)
    assert verified(octets)
    assert max(map(len, octets.split(b"\r\n"))) <= 76
    found = tags(octets)
    assert (found["v"], found["a"], found["c"], found["d"], found["s"], found["t"]) == (
        *("1", "rsa-sha256", "relaxed/relaxed"),
        *("example.org", "s1", "1790000000"),
    )


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["unix", "windows"])
def test_a_key_file_may_end_its_lines_as_it_likes(line_end: bytes) -> None:
    assert verified(signed(key=pem(RSA).replace(b"\n", line_end)))


def test_what_relays_do_to_blanks_does_no_harm() -> None:
    octets = (
        signed()
        .replace(b"Subject:  Hello \r\n\tthere", b"subject:\tHello there")
        .replace(b"Hello  there \r\n", b"Hello\tthere\r\n")
    )
    assert verified(octets)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Hello  there", b"Hello again"),
        (b"\r\nTo: b@", b"\r\nTo: c@"),
        (b"\r\nFrom: a", b"\r\nFrom: x@example.org\r\nFrom: a"),
        (b"\r\nTo: b", b"\r\nSubject: other\r\nTo: b"),
        (b"\r\nTo: b", b"\r\nReply-To: thief@example.net\r\nTo: b"),
        (b"\r\nTo: b", b"\r\nContent-Type: text/html\r\nTo: b"),
        (b"t=1790000000", b"t=1790000001"),
    ],
    ids=["body", "to", "second-from", "second-subject", "reply-to", "content-type", "signature"],
)
def test_whatever_a_reader_sees_is_sealed(old: bytes, new: bytes) -> None:
    octets = signed()
    assert octets.count(old) == 1
    assert not verified(octets.replace(old, new))


def test_ed25519_by_hand() -> None:
    """RFC 8463 section 3, with the canonical form written out (RFC 6376 sections 3.4.2, 3.4.4 and 3.7)."""
    octets = signed(key=pem(ED25519))
    found = tags(octets)
    assert found["a"] == "ed25519-sha256"
    assert base64.b64decode(found["bh"]) == hashlib.sha256(b"Hello there\r\n").digest()
    field = octets.partition(b"\r\nFrom:")[0].replace(b"\r\n", b"")
    empty = re.sub(rb"\bb=.*", b"b=", re.sub(rb"[ \t]+", b" ", field)).replace(b"DKIM-Signature: ", b"dkim-signature:")
    names = [name.strip() for name in found["h"].split(":")]
    values = {"from": b"a@example.org", "to": b"b@example.org", "subject": b"Hello there"}
    there = [name for at, name in enumerate(names) if name in values and name not in names[:at]]
    hashed = b"".join(name.encode() + b":" + values[name] + b"\r\n" for name in there) + empty
    ED25519.public_key().verify(base64.b64decode(found["b"].replace(" ", "")), hashlib.sha256(hashed).digest())
    with pytest.raises(InvalidSignature):
        ED25519.public_key().verify(base64.b64decode(found["b"].replace(" ", "")), hashlib.sha256(hashed + b" ").digest())
    rsa_found = tags(signed())
    rsa_hashed = hashed.replace(b"ed25519-sha256", b"rsa-sha256")
    RSA.public_key().verify(base64.b64decode(rsa_found["b"].replace(" ", "")), rsa_hashed, padding.PKCS1v15(), SHA256())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([b" ", b"\t", b"\r\n", b"a", b".", b"  \r\n", b"\r\n\r\n", "ü".encode()]), max_size=30))
def test_any_body_verifies(pieces: list[bytes]) -> None:
    assert verified(signed(MESSAGE + b"".join(pieces) + b"\r\n"))
    assert verified(signed(b"From: a@b\r\n\r\n" + b"".join(pieces) + b"\r\n"))


def test_a_composed_message_verifies() -> None:
    draft = parse_draft(
        {"to": [f"Ünal {at} <a{at}@b>" for at in range(50)], "subject": "ü" * 200, "html": "<p>ü", "headers": {"List-Id": "<a.b>"}}
    )
    octets = signed(compose(draft, GIVEN).octets)
    assert verified(octets)
    assert "list-id" in tags(octets)["h"]


def test_a_message_without_from_is_not_signed() -> None:
    with pytest.raises(ValueError, match="without From"):
        signed(b"To: a@b\r\n\r\nx\r\n")


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "no PEM"),
        (b"secret", "no PEM"),
        (RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "cannot be read"),
        (pem(RSA, protection=BestAvailableEncryption(b"x")), "protected by a password"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "neither RSA nor Ed25519"),
        (pem(RSA), None),
        (pem(ED25519), None),
    ],
    ids=["empty", "junk", "public", "broken", "protected", "ec", "rsa", "ed25519"],
)
def test_keys(octets: bytes, words: str | None) -> None:
    fault = _fault(octets)
    assert fault == words if words is None else words in (fault or "")


def test_a_weak_key() -> None:
    weak = b"""-----BEGIN RSA PRIVATE KEY-----
MIIBOgIBAAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4WGeKLs1Pt8Qu
KUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQJAIJLixBy2qpFoS4DSmoEm
o3qGy0t6z09AIJtH+5OeRV1be+N4cDYJKffGzDa88vQENZiRm0GRq6a+HPGQMd2k
TQIhAKMSvzIBnni7ot/OSie2TmJLY4SwTQAevXysE2RbFDYdAiEBCUEaRQnMnbp7
9mxDXDf6AU0cN/RPBjb9qSHDcWZHGzUCIG2Es59z8ugGrDY+pxLQnwfotadxd+Uy
v/Ow5T0q5gIJAiEAyS4RaI9YG8EWx/2w0T67ZUVAw8eOMB6BIUg0Xcu+3okCIBOs
/5OiPgoTdSy7bcF9IGpSE8ZgGKzgYQVZeN97YE00
-----END RSA PRIVATE KEY-----
"""
    assert "512 bits" in (_fault(weak) or "")


def _fault(key: bytes) -> str | None:
    try:
        sign(b"From: a@b.test\r\n\r\n", "b.test", "s1", key, 0)
    except ValueError as error:
        return str(error)
    return None
