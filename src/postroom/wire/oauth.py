"""OAuth 2.0 messages (RFC 6749) without I/O: write a token request, read the answer."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from postroom.errors import PostroomError, RemoteProtocolError, Throttled, TokenRefused
from postroom.secret import Secret

DEFAULT_LIFETIME = 3600.0  # seconds, where the answer leaves expires_in out (RFC 6749 section 5.1 only recommends it)


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """A successful answer of the token endpoint (RFC 6749 section 5.1)."""

    access_token: Secret
    expires_in: float  # seconds
    refresh_token: Secret | None  # a new one, where the authority rotates
    scope: str


def refresh_request(refresh_token: Secret, client_id: str, client_secret: Secret | None, scope: str | None) -> dict[str, str]:
    """The form of RFC 6749 section 6, with the client's credentials in the body as Google and Microsoft document it."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal(), "client_id": client_id}
    if client_secret is not None:
        form["client_secret"] = client_secret.reveal()
    if scope:
        form["scope"] = scope
    return form


def read_answer(status: int, body: bytes, retry_after: float | None = None) -> TokenAnswer:
    """Read the token endpoint's answer.

    Raises ``TokenRefused`` with the authority's own words where a person must act, ``Throttled`` for 429, and
    ``RemoteProtocolError`` for passing trouble (5xx) and for answers that are none.
    """
    if status == 429:
        raise Throttled("the authority answers 429 Too Many Requests", retry_after=retry_after)
    fields = _fields(body)
    if status == 200 and fields is not None and isinstance(fields.get("access_token"), str):
        return _token(fields)
    if fields is not None and isinstance(fields.get("error"), str):
        raise _refusal(status, str(fields["error"]), str(fields.get("error_description", "")))
    raise RemoteProtocolError(
        f"the authority answered {status} without a token",
        remedy="Check tenant-authority, or token_endpoint of the authority- section; else the authority has trouble.",
    )


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
    try:
        expires_in = float(str(fields.get("expires_in", DEFAULT_LIFETIME)))
    except ValueError:
        expires_in = DEFAULT_LIFETIME
    if not math.isfinite(expires_in):  # Python's JSON knows NaN and Infinity
        expires_in = DEFAULT_LIFETIME
    refresh = fields.get("refresh_token")
    return TokenAnswer(
        Secret(str(fields["access_token"])),
        max(expires_in, 0.0),
        Secret(refresh) if isinstance(refresh, str) and refresh else None,
        str(fields.get("scope", "")),
    )


_REMEDIES = {
    "invalid_grant": "The refresh token is expired, revoked or of another application. Get a new one and set it as password. "
    "For a Google application in testing a refresh token lasts 7 days: publish the application or make it Internal.",
    "invalid_client": "Check client-id, and the password of the secret- section: they must be of one application, and the "
    "secret's value, not its ID.",
    "unauthorized_client": "The application may not use this grant: check client-id and the kind of application at the authority.",
    "invalid_scope": "Check scope: leave it out for the provider's default.",
    "invalid_request": "Check client-id, secret, scope and tenant-authority; the authority's words say which is missing.",
    "unsupported_grant_type": "The authority has no refresh_token grant for this application; check tenant-authority.",
}
_PASSING = frozenset({"temporarily_unavailable", "server_error", "slow_down"})


def _refusal(status: int, error: str, description: str) -> PostroomError:
    words = f"{error}: {_printable(description)}" if description else error
    if status >= 500 or error in _PASSING:
        return RemoteProtocolError(f"the authority has trouble: {words}", remedy="It is tried again by itself.")
    return TokenRefused(words, error=error, description=_printable(description), remedy=_REMEDIES.get(error, ""))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:600])
