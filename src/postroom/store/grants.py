"""Grants: chains of refresh tokens and their access tokens, sealed; and the consents that name them. Functions within one
transaction.

A chain is found by the keyed hash of the *configured* refresh token, so that a value seen before resumes its chain, and a
restored old file does not replay a token long spent; or by the account that ``authorize`` connected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

from postroom.model import AccessToken, Consent, Grant, GrantKey, GrantLife, Refusal, TokenFields
from postroom.secret import Secret
from postroom.store.vault import Sealed, Vault

_NEW = """
INSERT INTO grants (authority, client_id, configured, current, made_at, consented_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
ON CONFLICT DO NOTHING"""
_GRANT = """
SELECT id, current, version, made_at, refused_error, refused_words, refused_remedy, refused_with, refused_at, former, interrupted_at
FROM grants WHERE authority = ? AND client_id = ? AND configured = ?"""
_ACCESS = 'SELECT token, version, lifetime, expires_at FROM access_tokens WHERE "grant" = ? AND asked_with = ?'
_CLAIMED = "SELECT claimed_by, claimed_until FROM grants WHERE id = ?"
_CLAIM = """
UPDATE grants SET claimed_by = ?2, claimed_until = ?3, interrupted_at = COALESCE(?4, interrupted_at) WHERE id = ?1"""
_RELEASE = """
UPDATE grants SET claimed_by = '', claimed_until = 0, interrupted_at = COALESCE(?3, interrupted_at)
WHERE id = ?1 AND claimed_by = ?2"""
_ROTATE = "UPDATE grants SET former = current, current = ?2, version = version + 1, made_at = ?3 WHERE id = ?1"
_WORKED = "UPDATE grants SET former = NULL WHERE id = ?"
_ACCEPTED = """
UPDATE grants SET refused_error = '', claimed_by = '', claimed_until = 0, interrupted_at = NULL, used_at = ?2,
                  ends_at = COALESCE(?3, ends_at)
WHERE id = ?1"""
_SAVE = """
INSERT INTO access_tokens ("grant", asked_with, version, token, lifetime, expires_at, scope) VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6)
ON CONFLICT DO UPDATE SET version = version + 1, token = ?3, lifetime = ?4, expires_at = ?5, scope = ?6
RETURNING version"""
_REFUSED = """
UPDATE grants SET refused_error = ?2, refused_words = ?3, refused_remedy = ?4, refused_with = ?5, refused_at = ?6,
                  claimed_by = '', claimed_until = 0
WHERE id = ?1"""
_CONSENTED = """
UPDATE grants SET former = NULL, current = ?2, version = version + 1, made_at = ?3, consented_at = ?3, used_at = ?3,
                  ends_at = ?4, refused_error = '', interrupted_at = NULL, claimed_by = '', claimed_until = 0
WHERE id = ?1"""
_CONSENT = "SELECT client, login, account, authority, client_id, chain, configured, scope, made_at FROM consents"
_FORGET = "DELETE FROM grants WHERE authority = ? AND client_id = ? AND configured = ?"
_FORGET_ACCESS = """
DELETE FROM access_tokens
WHERE "grant" IN (SELECT id FROM grants WHERE authority = ? AND client_id = ? AND configured = ?)"""
_LIVES = """
SELECT authority, client_id, configured, COALESCE(consented_at, made_at), made_at, used_at, ends_at,
       CASE refused_error WHEN '' THEN '' ELSE refused_words END
FROM grants"""


def open_grant(db: apsw.Connection, vault: Vault, key: GrantKey, configured: Secret, asked_with: str, now: float) -> Grant:
    """The chain that begins with this configured token, with its access token for what else is asked with; begun at first sight."""
    vault.follow(db)
    names = (key.authority, key.client_id, key.configured)
    row: Any = db.execute(_GRANT, names).fetchone()
    if row is None:
        db.execute(_NEW, (*names, vault.seal(configured, _refresh(key)), now))
        row = db.execute(_GRANT, names).fetchone()
    number, current, version, made_at, error, words, remedy, refused_with, at, former, interrupted_at = row
    refusal = Refusal(error, words, remedy, refused_with, at) if error else None
    before = None if former is None else vault.open(former, _refresh(key))
    access = _access(db, vault, number, asked_with)
    return Grant(number, vault.open(current, _refresh(key)), version, made_at, access, refusal, before, interrupted_at)


def _access(db: apsw.Connection, vault: Vault, grant: int, asked_with: str) -> AccessToken | None:
    row: Any = db.execute(_ACCESS, (grant, asked_with)).fetchone()
    if row is None:
        return None
    sealed, version, lifetime, expires_at = row
    return AccessToken(vault.open(sealed, _access_of(grant, asked_with)), version, lifetime, expires_at)


def claim_grant(db: apsw.Connection, grant: int, holder: str, now: float, until: float, living: Callable[[str], bool]) -> bool:
    """Take the right to refresh; False while another living process has it.

    Whoever was killed with it is not waited for; that it may have asked is remembered, because a refusal may come of it.
    """
    row: Any = db.execute(_CLAIMED, (grant,)).fetchone()
    if row is None:
        return False
    claimed_by, claimed_until = row
    if claimed_by not in ("", holder) and claimed_until >= now and living(claimed_by):
        return False
    db.execute(_CLAIM, (grant, holder, until, now if claimed_by not in ("", holder) else None))
    return True


def release_grant(db: apsw.Connection, grant: int, holder: str, unanswered_at: float | None) -> None:
    """Give the right to refresh back without an answer; with a time, one was asked for and never came."""
    db.execute(_RELEASE, (grant, holder, unanswered_at))


def save_answer(
    db: apsw.Connection, vault: Vault, key: GrantKey, grant: Grant, asked_with: str, fields: TokenFields, now: float
) -> AccessToken:
    """Keep a token answer whole: the access token with its lifetime and scope, and the new refresh token where there is one.

    The refresh token before is kept until the new one has worked.
    """
    vault.follow(db)
    rotated = fields.refresh_token
    if rotated is not None and rotated != grant.refresh_token:
        db.execute(_ROTATE, (grant.id, vault.seal(rotated, _refresh(key)), now))
    else:
        db.execute(_WORKED, (grant.id,))
    token = _save_access(db, vault, grant.id, asked_with, fields, now)
    db.execute(_ACCEPTED, (grant.id, now, _end(fields, now)))
    return token


def _save_access(db: apsw.Connection, vault: Vault, grant: int, asked_with: str, fields: TokenFields, now: float) -> AccessToken:
    sealed = vault.seal(fields.access_token, _access_of(grant, asked_with))
    end = now + fields.lifetime
    version = db.execute(_SAVE, (grant, asked_with, sealed, fields.lifetime, end, fields.scope)).get
    return AccessToken(fields.access_token, int(version), fields.lifetime, end)


def _end(fields: TokenFields, now: float) -> float | None:
    return None if fields.refresh_lifetime is None else now + fields.refresh_lifetime


def save_consent(db: apsw.Connection, vault: Vault, consent: Consent, asked_with: str, fields: TokenFields) -> None:
    """Keep what a person consented to: the grant with its tokens, and that this client uses it."""
    key, now = consent.key, consent.made_at
    assert fields.refresh_token is not None
    grant = open_grant(db, vault, key, fields.refresh_token, asked_with, now)
    db.execute(_CONSENTED, (grant.id, vault.seal(fields.refresh_token, _refresh(key)), now, _end(fields, now)))
    _save_access(db, vault, grant.id, asked_with, fields, now)
    names = (key.authority, key.client_id, key.configured)
    row = (consent.client, consent.login, consent.account, *names, consent.configured, consent.scope, now)
    db.execute("INSERT OR REPLACE INTO consents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def consents(db: apsw.Connection, client: str | None = None) -> list[Consent]:
    """The consents of all clients, or of one."""
    rows: Any = db.execute(_CONSENT) if client is None else db.execute(f"{_CONSENT} WHERE client = ?", (client,))
    return [
        Consent(section, login, account, GrantKey(authority, client_id, chain), configured, scope, made_at)
        for section, login, account, authority, client_id, chain, configured, scope, made_at in rows
    ]


def forget_consent(db: apsw.Connection, client: str) -> bool:
    """Take a client's consent away, with the grant's tokens when no other client uses them; False where there is none."""
    found = consents(db, client)
    if not found:
        return False
    db.execute("DELETE FROM consents WHERE client = ?", (client,))
    key = found[0].key
    if all(other.key != key for other in consents(db)):
        names = (key.authority, key.client_id, key.configured)
        db.execute(_FORGET_ACCESS, names)
        db.execute(_FORGET, names)
    return True


def lives(db: apsw.Connection) -> list[GrantLife]:
    """The dates of all grants."""
    rows: Any = db.execute(_LIVES)
    return [GrantLife(GrantKey(authority, client_id, chain), *dates) for authority, client_id, chain, *dates in rows]


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
