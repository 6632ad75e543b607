"""Access tokens that are JWTs (RFC 7519), read to explain a refusal. Nothing here trusts one: no signature is checked.

A token is opaque to its client (RFC 6749 section 1.4). Where it happens to be readable, as Microsoft's for Exchange are, it
tells why a server says no: it is for somebody else, lacks a right, belongs to another account, or is over.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from postroom.secret import Secret

Claims = Mapping[str, object]


def claims_of(token: Secret) -> Claims | None:
    """What a token claims; None for one that cannot be read (RFC 7519 section 7.2, steps 1 to 6 and 10)."""
    parts = token.reveal().split(".")
    if len(parts) != 3:
        return None
    try:
        octets = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(octets)
    except (binascii.Error, ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token must say to open a mailbox. Empty fields are not asked for."""

    account: str
    audiences: Collection[str] = ()
    delegated: str = ""  # the scope in ``scp``
    application: str = ""  # the role in ``roles``


def complaints(claims: Claims, wanted: Wanted, now: float) -> list[str]:
    """Why these claims do not open the mailbox, each with what to do; empty where nothing speaks against it."""
    found = (_over(claims, now), _audience(claims, wanted), _right(claims, wanted), _account(claims, wanted))
    return [words for words in found if words]


def described(claims: Claims) -> str:
    """One line for people: for whom, with which rights, whose."""
    rights = " ".join([*_words(claims.get("scp")), *_words(claims.get("roles"))])
    whose = account_of(claims) or (f"application {_text(claims.get('appid'))}" if claims.get("appid") else "")
    parts = (("for", " ".join(_words(claims.get("aud")))), ("allows", rights), ("of", whose))
    return ", ".join(f"{name} {value}" for name, value in parts if value)


def account_of(claims: Claims) -> str:
    """The account that signed in, by the names that Google and Microsoft give it; empty where none is told."""
    for name in ("upn", "preferred_username", "email", "unique_name"):
        if "@" in _text(claims.get(name)):
            return _text(claims.get(name))
    return ""


def _over(claims: Claims, now: float) -> str:
    end = claims.get("exp")
    if isinstance(end, int | float) and end <= now:
        return "The token is over. If it was just made, this machine's clock is wrong."
    return ""


def _audience(claims: Claims, wanted: Wanted) -> str:
    named = [audience.rstrip("/") for audience in _words(claims.get("aud"))]
    if not wanted.audiences or not named or any(audience in wanted.audiences for audience in named):
        return ""
    return (
        f"The token is for {' '.join(named)}, not for this mail server: leave the option scope out, or name a scope of the "
        "mail server's resource."
    )


def _right(claims: Claims, wanted: Wanted) -> str:
    scopes, roles = _words(claims.get("scp")), _words(claims.get("roles"))
    if scopes and wanted.delegated and wanted.delegated not in scopes:
        return (
            f"The token lacks the scope {wanted.delegated} (it has {' '.join(scopes)}): add the permission to the application "
            "and consent anew."
        )
    of_an_application = not scopes and any(name in claims for name in ("scp", "roles", "appid"))
    if of_an_application and wanted.application and wanted.application not in roles:
        has = f"it has {' '.join(roles)}" if roles else "it has none"
        return (
            f"The token lacks the role {wanted.application} ({has}): add the application permission and let an administrator "
            "consent."
        )
    return ""


def _account(claims: Claims, wanted: Wanted) -> str:
    account = account_of(claims)
    if not account or not wanted.account or account.lower() == wanted.account.lower() or not _words(claims.get("scp")):
        return ""
    return (
        f"The token is {account}'s, the mailbox is {wanted.account}: the wrong account consented, or {account} has no right to "
        f"open the mailbox (a shared mailbox needs Full Access, and oauth-user = {account})."
    )


def _words(value: object) -> list[str]:
    if isinstance(value, str):
        return [_text(word) for word in value.split()]
    return [_text(word) for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _text(value: object) -> str:
    return "".join(c for c in value[:200] if c.isprintable()) if isinstance(value, str) else ""
