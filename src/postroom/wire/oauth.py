"""OAuth 2.0 messages (RFC 6749) without I/O: write a token request, read the answer."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from postroom.errors import RemoteProtocolError
from postroom.secret import Secret

DEFAULT_LIFETIME = 3600.0  # seconds, where the answer leaves expires_in out (RFC 6749 section 5.1 only recommends it)


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A successful answer of the token endpoint (RFC 6749 section 5.1)."""

    access_token: Secret
    expires_in: float  # seconds
    refresh_token: Secret | None  # a new one, where the authority rotates
    scope: str  # what was granted; empty: all that was asked for (section 5.1)
    refresh_expires_in: float | None = (
        None  # seconds, where the authority limits the refresh token (Google: testing, time-based access)
    )
    id_token: Secret | None = None  # who signed in (OpenID Connect Core section 3.1.3.3)


Form = dict[str, str]

JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
"""How an assertion proves the client (RFC 7523 section 2.2)."""


def refresh_form(refresh_token: Secret, scope: str | None) -> Form:
    """RFC 6749 section 6."""
    return _form(grant_type="refresh_token", refresh_token=refresh_token.reveal(), scope=scope)


def client_credentials_form(scope: str | None) -> Form:
    """RFC 6749 section 4.4.2."""
    return _form(grant_type="client_credentials", scope=scope)


def password_form(user: str, password: Secret, scope: str | None) -> Form:
    """RFC 6749 section 4.3.2."""
    return _form(grant_type="password", username=user, password=password.reveal(), scope=scope)


def assertion_form(assertion: Secret) -> Form:
    """An assertion as the grant itself (RFC 7523 section 2.1), as Google's service accounts have it."""
    return _form(grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=assertion.reveal())


def code_form(code: Secret, redirect_uri: str, verifier: Secret | None) -> Form:
    """RFC 6749 section 4.1.3 with RFC 7636 section 4.5."""
    verified = None if verifier is None else verifier.reveal()
    return _form(grant_type="authorization_code", code=code.reveal(), redirect_uri=redirect_uri, code_verifier=verified)


def device_form(device_code: Secret) -> Form:
    """RFC 8628 section 3.4."""
    return _form(grant_type="urn:ietf:params:oauth:grant-type:device_code", device_code=device_code.reveal())


def client_form(client_id: str, secret: Secret | None, assertion: Secret | None) -> Form:
    """The client's credentials in the body, as Google and Microsoft document it (RFC 6749 section 2.3.1, RFC 7523 section 2.2)."""
    if assertion is not None:
        return _form(client_id=client_id, client_assertion_type=JWT_BEARER, client_assertion=assertion.reveal())
    return _form(client_id=client_id or None, client_secret=None if secret is None else secret.reveal())


def _form(**fields: str | None) -> Form:
    return {name: value for name, value in fields.items() if value}


def read_answer(status: int, body: bytes) -> TokenAnswer | None:
    """Read a token endpoint's answer; None for one that gives no token, which is a refusal or none of its answers.

    Raises ``RemoteProtocolError`` for a token that cannot be used.
    """
    fields = _fields(body)
    if status != 200 or fields is None or not isinstance(fields.get("access_token"), str):
        return None
    return _token(fields)


@dataclass(frozen=True, slots=True)
class DeviceAuthorization:
    """What a person must do elsewhere (RFC 8628 section 3.2)."""

    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: float
    interval: float


def read_device_authorization(status: int, body: bytes) -> DeviceAuthorization | None:
    """Read a device authorization endpoint's answer; None for one that gives no code."""
    fields = _fields(body)
    if status != 200 or fields is None:
        return None
    uri = fields.get("verification_uri") or fields.get("verification_url")  # Google's older name
    code, user_code = fields.get("device_code"), fields.get("user_code")
    if not (isinstance(uri, str) and isinstance(code, str) and isinstance(user_code, str)):
        return None
    complete = fields.get("verification_uri_complete")
    lifetime, interval = _seconds(fields.get("expires_in")), _seconds(fields.get("interval"))
    return DeviceAuthorization(
        Secret(code),
        user_code,
        uri,
        complete if isinstance(complete, str) else "",
        900.0 if lifetime is None else lifetime,
        5.0 if interval is None else interval,  # RFC 8628 section 3.2
    )


def authorization_address(endpoint: str, parameters: Mapping[str, str]) -> str:
    """The address where a person consents (RFC 6749 section 4.1.1); what the endpoint's query holds already stays."""
    parts = urlsplit(endpoint)
    query = "&".join(part for part in (parts.query, urlencode(parameters, quote_via=quote)) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def code_challenge(verifier: Secret) -> str:
    """S256 (RFC 7636 section 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.reveal().encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Redirect:
    """What came back with the browser (RFC 6749 section 4.1.2, RFC 9207), or was pasted."""

    code: Secret | None = None
    state: str = ""
    issuer: str = ""
    error: str = ""
    description: str = ""
    bare: bool = False  # a code alone was pasted: there is no state to compare


def read_redirect(text: str) -> Redirect:
    """Read the whole address that a browser ended on, its query, or a code alone. ValueError for what is none of them."""
    text = "".join(text.split())  # a long address that was copied from a terminal comes in several lines
    if not text:
        raise ValueError("nothing was pasted")
    if "://" not in text and not text.removeprefix("?").startswith(("code=", "error=", "state=", "iss=")):
        return Redirect(Secret(unquote(text)), bare=True)
    fields = dict(parse_qsl(urlsplit(text).query if "://" in text else text.removeprefix("?")))
    if "code" not in fields and "error" not in fields:
        raise ValueError("the address holds neither a code nor an error; copy it after the last click, when no page opens")
    code = Secret(fields["code"]) if "code" in fields else None
    state, issuer, error, words = (fields.get(name, "") for name in ("state", "iss", "error", "error_description"))
    return Redirect(code, state, issuer, error, words)


def error_of(body: bytes) -> str:
    """The ``error`` of an answer that gives no token (RFC 6749 section 5.2, RFC 8628 section 3.5); empty where none is told."""
    return str((_fields(body) or {}).get("error", ""))


def _fields(body: bytes) -> dict[str, object] | None:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _token(fields: dict[str, object]) -> TokenAnswer:
    kind = str(fields.get("token_type", "Bearer"))
    if kind.lower() != "bearer":
        raise RemoteProtocolError(f"the authority gave a token of type {kind!r}; Bearer is needed (RFC 6750)")
    refresh, identity = fields.get("refresh_token"), fields.get("id_token")
    lifetime = _seconds(fields.get("expires_in"))
    return TokenAnswer(
        Secret(str(fields["access_token"])),
        DEFAULT_LIFETIME if lifetime is None else lifetime,
        Secret(refresh) if isinstance(refresh, str) and refresh else None,
        str(fields.get("scope", "")),
        _seconds(fields.get("refresh_token_expires_in")),
        Secret(identity) if isinstance(identity, str) and identity else None,
    )


def _seconds(value: object) -> float | None:
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None  # Python's JSON knows NaN and Infinity
