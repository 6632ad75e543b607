"""SASL mechanisms (RFC 4422), as generators without I/O.

An exchange is a generator. Each ``yield`` hands a response to the server and receives its next challenge; the first one is
the initial response (RFC 4422 section 4), or None where the mechanism lets the server speak first. Octets only: base64 is
the profile's matter (RFC 9051 section 6.2.2, RFC 1734, RFC 4954).

An OAuth exchange that is refused returns the server's error as ``OAuthError``, after the empty answer that lets the server
finish with its tagged NO.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from postroom.secret import Secret

Exchange = Generator[bytes | None, bytes, "OAuthError | None"]


@dataclass(frozen=True, slots=True)
class OAuthError:
    """What a server says when it refuses a token (RFC 7628 section 3.2.2; Google's and Microsoft's XOAUTH2 alike)."""

    status: str  # "invalid_token", "401", …
    scope: str = ""  # the scope that it wants
    schemes: str = ""
    text: str = ""  # the challenge itself when it is not the JSON that it should be
    challenge: str = field(default="", compare=False)  # the server's own words, for who knows more of them

    def __str__(self) -> str:
        parts = [
            f"status {self.status}" if self.status else "",
            f"wanted scope {self.scope}" if self.scope else "",
            self.text,
        ]
        return ", ".join(part for part in parts if part) or "no reason given"


def plain(user: str, password: Secret) -> Exchange:
    """PLAIN (RFC 4616): ``message = [authzid] UTF8NUL authcid UTF8NUL passwd``."""
    yield b"\0%b\0%b" % (user.encode(), password.reveal().encode())
    return None


def login(user: str, password: Secret) -> Exchange:
    """LOGIN (draft-murchison-sasl-login-00): the server asks for the name, then for the password."""
    yield None
    yield user.encode()
    yield password.reveal().encode()
    return None


def xoauth2(user: str, token: Secret) -> Exchange:
    """XOAUTH2 (Google, "OAuth 2.0 Mechanism"; the same at Microsoft): refusal is a challenge, answered by an empty line."""
    challenge = yield b"user=%b\x01auth=Bearer %b\x01\x01" % (user.encode(), token.reveal().encode())
    error = oauth_error(challenge)
    yield b""
    return error


def oauthbearer(user: str, token: Secret, host: str, port: int) -> Exchange:
    """OAUTHBEARER (RFC 7628 section 3.1): refusal is a challenge, answered by %x01 (section 3.2.3)."""
    authzid = user.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 section 4, gs2-authzid
    message = f"n,a={authzid},\x01host={host}\x01port={port}\x01auth=Bearer {token.reveal()}\x01\x01"
    challenge = yield message.encode()
    error = oauth_error(challenge)
    yield b"\x01"
    return error


def conclusion(exchange: Exchange) -> OAuthError | None:
    """What an exchange learned: the server's error, where it said one before its last answer."""
    try:
        exchange.send(b"")
    except StopIteration as stop:
        return stop.value if isinstance(stop.value, OAuthError) else None
    exchange.close()
    return None


def decoded(text: bytes) -> bytes:
    """A challenge out of its base64; as it stands where it is none: Microsoft has sent its error in clear."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text


def oauth_error(challenge: bytes) -> OAuthError:
    """Read an error challenge. Whatever it holds, something sayable comes back."""
    text = challenge.decode("utf-8", "replace")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return OAuthError("", text=_short(text))
    if not isinstance(answer, dict):
        return OAuthError("", text=_short(text))
    status, scope, schemes = (_short(str(answer.get(key, ""))) for key in ("status", "scope", "schemes"))
    return OAuthError(status, scope, schemes, challenge=_short(text))


def _short(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:200])


PASSWORD_MECHANISMS: dict[str, Callable[[str, Secret], Exchange]] = {"PLAIN": plain, "LOGIN": login}
"""Mechanisms that take a password, the stronger choice first (equal in strength here: fewer round trips)."""

TOKEN_MECHANISMS = ("OAUTHBEARER", "XOAUTH2")
"""Mechanisms that take an access token, the standard one first."""
