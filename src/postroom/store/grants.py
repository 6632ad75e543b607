"""Grants: chains of refresh tokens and their access tokens, sealed. Functions within one transaction.

A chain is found by the keyed hash of the *configured* refresh token, so that a value seen before resumes its chain, and a
restored old file does not replay a token long spent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

from postroom.model import AccessToken, Grant, GrantKey, Refusal
from postroom.secret import Secret
from postroom.store.vault import Sealed, Vault

_NEW = """
INSERT INTO grants (authority, client_id, configured, current, made_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
_GRANT = """
SELECT id, current, version, made_at, refused_error, refused_words, refused_remedy, refused_with, refused_at
FROM grants WHERE authority = ? AND client_id = ? AND configured = ?"""
_ACCESS = 'SELECT token, version, lifetime, expires_at FROM access_tokens WHERE "grant" = ? AND asked_with = ?'
_CLAIMED = "SELECT claimed_by, claimed_until FROM grants WHERE id = ?"
_CLAIM = "UPDATE grants SET claimed_by = ?2, claimed_until = ?3 WHERE id = ?1"
_RELEASE = "UPDATE grants SET claimed_by = '', claimed_until = 0 WHERE id = ? AND claimed_by = ?"
_ROTATE = "UPDATE grants SET former = current, current = ?2, version = version + 1, made_at = ?3 WHERE id = ?1"
_ACCEPTED = "UPDATE grants SET refused_error = '', claimed_by = '', claimed_until = 0 WHERE id = ?"
_SAVE = """
INSERT INTO access_tokens ("grant", asked_with, version, token, lifetime, expires_at) VALUES (?1, ?2, 1, ?3, ?4, ?5)
ON CONFLICT DO UPDATE SET version = version + 1, token = ?3, lifetime = ?4, expires_at = ?5
RETURNING version"""
_REFUSED = """
UPDATE grants SET refused_error = ?2, refused_words = ?3, refused_remedy = ?4, refused_with = ?5, refused_at = ?6,
                  claimed_by = '', claimed_until = 0
WHERE id = ?1"""


def open_grant(db: apsw.Connection, vault: Vault, key: GrantKey, configured: Secret, asked_with: str, now: float) -> Grant:
    """The chain that begins with this configured token, with its access token for what else is asked with; begun at first sight."""
    vault.follow(db)
    names = (key.authority, key.client_id, key.configured)
    row: Any = db.execute(_GRANT, names).fetchone()
    if row is None:
        db.execute(_NEW, (*names, vault.seal(configured, _refresh(key)), now))
        row = db.execute(_GRANT, names).fetchone()
    number, current, version, made_at, error, words, remedy, refused_with, at = row
    refusal = Refusal(error, words, remedy, refused_with, at) if error else None
    return Grant(number, vault.open(current, _refresh(key)), version, made_at, _access(db, vault, number, asked_with), refusal)


def _access(db: apsw.Connection, vault: Vault, grant: int, asked_with: str) -> AccessToken | None:
    row: Any = db.execute(_ACCESS, (grant, asked_with)).fetchone()
    if row is None:
        return None
    sealed, version, lifetime, expires_at = row
    return AccessToken(vault.open(sealed, _access_of(grant, asked_with)), version, lifetime, expires_at)


def claim_grant(db: apsw.Connection, grant: int, holder: str, now: float, until: float, living: Callable[[str], bool]) -> bool:
    """Take the right to refresh; False while another living process has it. Whoever was killed with it is not waited for."""
    row: Any = db.execute(_CLAIMED, (grant,)).fetchone()
    if row is None:
        return False
    claimed_by, claimed_until = row
    if claimed_by not in ("", holder) and claimed_until >= now and living(claimed_by):
        return False
    db.execute(_CLAIM, (grant, holder, until))
    return True


def release_grant(db: apsw.Connection, grant: int, holder: str) -> None:
    """Give the right to refresh back without an answer."""
    db.execute(_RELEASE, (grant, holder))


def save_answer(
    db: apsw.Connection,
    vault: Vault,
    key: GrantKey,
    grant: Grant,
    asked_with: str,
    access: tuple[Secret, float],
    rotated: Secret | None,
    now: float,
) -> AccessToken:
    """Keep a token answer whole: the access token with its lifetime, and the new refresh token where there is one."""
    vault.follow(db)
    if rotated is not None and rotated != grant.refresh_token:
        db.execute(_ROTATE, (grant.id, vault.seal(rotated, _refresh(key)), now))
    token, lifetime = access
    sealed = vault.seal(token, _access_of(grant.id, asked_with))
    version = db.execute(_SAVE, (grant.id, asked_with, sealed, lifetime, now + lifetime)).get
    db.execute(_ACCEPTED, (grant.id,))
    return AccessToken(token, int(version), lifetime, now + lifetime)


def save_refusal(db: apsw.Connection, grant: int, refusal: Refusal) -> None:
    """Keep the authority's no."""
    db.execute(_REFUSED, (grant, refusal.error, refusal.words, refusal.remedy, refusal.asked_with, refusal.at))


def _refresh(key: GrantKey) -> str:
    return f"refresh:{key.authority}:{key.client_id}:{key.configured}"


def _access_of(grant: int, asked_with: str) -> str:
    return f"access:{grant}:{asked_with}"


_NAMES = ("authority", "client_id", "configured")
SEALED = (
    Sealed("grants", "current", _NAMES, lambda *names: _refresh(GrantKey(*names))),
    Sealed("grants", "former", _NAMES, lambda *names: _refresh(GrantKey(*names))),
    Sealed("access_tokens", "token", ("grant", "asked_with"), _access_of),
)
