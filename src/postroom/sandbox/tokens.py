"""What the sandbox's authority has given out, kept in memory. No protocol here, and no I/O.

A ``Grant`` is one consent of one account (RFC 6749 section 1.3). Everything issued for it points at it, so that
ending the grant ends every token of the family at once (RFC 9700 section 4.14.2).

Methods named ``get_...`` and ``check_...`` bear Authlib's names, because its grants call them on these records.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from postroom.clock import Clock

CODE_LIFETIME = 600.0  # seconds; the most that RFC 6749 section 4.1.2 recommends


@dataclass(slots=True, eq=False)
class Grant:
    """One consent: this account lets this client act within this scope."""

    account: str
    client_id: str
    scope: str
    ended: bool = False

    def check_client(self, client: Client) -> bool:
        """Whether it was given to that client."""
        return self.client_id == client.client_id


@dataclass(frozen=True, slots=True)
class Client:
    """The application, known to the authority beforehand (RFC 6749 section 2)."""

    client_id: str
    secret: str
    scopes: tuple[str, ...]  # the first is given to a request that names none


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What opens a mailbox until it expires."""

    text: str
    grant: Grant
    scope: str  # the grant's, or less when a refresh asked for less
    issued_at: float
    expires_at: float

    def check_client(self, client: Client) -> bool:
        """Whether it was issued to that client."""
        return self.grant.check_client(client)


@dataclass(slots=True, eq=False)
class RefreshToken:
    """What buys access tokens. Spent once it was rotated away."""

    text: str
    grant: Grant
    issued_at: float
    spent: bool = False

    def check_client(self, client: Client) -> bool:
        """Whether it was issued to that client."""
        return self.grant.check_client(client)

    def get_scope(self) -> str:
        """The widest scope that a refresh may ask for (RFC 6749 section 6)."""
        return self.grant.scope


@dataclass(slots=True, eq=False)
class Code:
    """An authorization code and the request that it answers."""

    text: str
    grant: Grant
    redirect_uri: str
    expires_at: float
    code_challenge: str | None  # RFC 7636 section 4.2
    code_challenge_method: str | None
    spent: bool = False

    def get_redirect_uri(self) -> str:
        """Where the code was sent; the token request must name the same (RFC 6749 section 4.1.3)."""
        return self.redirect_uri

    def get_scope(self) -> str:
        """The scope that was consented to."""
        return self.grant.scope


@dataclass(frozen=True, slots=True)
class Issued:
    """Tokens handed out without a browser."""

    access_token: str
    refresh_token: str
    expires_in: float
    scope: str


class TokenStore:
    """All grants, codes and tokens of one authority.

    Whatever a query returns is good at that moment. ``lifetime`` and ``rotates`` may be changed while it is in use.
    """

    def __init__(self, clock: Clock, *, lifetime: float = 3600.0, rotates: bool = True) -> None:
        self.clock = clock
        self.lifetime = lifetime  # of access tokens, seconds
        self.rotates = rotates  # whether a refresh hands out a new refresh token and spends the old one
        self._grants: list[Grant] = []
        self._codes: dict[str, Code] = {}
        self._access: dict[str, AccessToken] = {}
        self._refresh: dict[str, RefreshToken] = {}

    def open_grant(self, account: str, client_id: str, scope: str) -> Grant:
        """Record a consent."""
        grant = Grant(account, client_id, scope)
        self._grants.append(grant)
        return grant

    def end_grants(self, account: str) -> int:
        """End every grant of the account, as its owner does at the provider's security page. Return how many ended."""
        live = [grant for grant in self._grants if grant.account == account and not grant.ended]
        for grant in live:
            grant.ended = True
        return len(live)

    def add_code(self, text: str, grant: Grant, redirect_uri: str, challenge: str | None, method: str | None) -> None:
        """Remember a code for ``CODE_LIFETIME`` seconds."""
        self._codes[text] = Code(text, grant, redirect_uri, self.clock.now() + CODE_LIFETIME, challenge, method)

    def code(self, text: str) -> Code | None:
        """Return the code if it may be redeemed. A second attempt ends its grant (RFC 6749 section 4.1.2)."""
        code = self._codes.get(text)
        if code is not None and code.spent:
            code.grant.ended = True
        if code is None or code.grant.ended or code.expires_at <= self.clock.now():
            return None
        return code

    def add_access(self, text: str, grant: Grant, scope: str, lifetime: float | None = None) -> AccessToken:
        """Remember an access token for its lifetime."""
        now = self.clock.now()
        token = AccessToken(text, grant, scope, now, now + (self.lifetime if lifetime is None else lifetime))
        self._access[text] = token
        return token

    def add_refresh(self, text: str, grant: Grant) -> RefreshToken:
        """Remember a refresh token; it has no end of its own."""
        token = RefreshToken(text, grant, self.clock.now())
        self._refresh[text] = token
        return token

    def redeem(self, text: str) -> RefreshToken | None:
        """Return the refresh token if it is good.

        A spent one that comes back was copied by somebody, and nobody can say by whom: its whole family ends (RFC 9700
        section 4.14.2).
        """
        token = self._refresh.get(text)
        if token is not None and token.spent:
            token.grant.ended = True
        return None if token is None or token.grant.ended else token

    def access(self, text: str) -> AccessToken | None:
        """Return the access token if it is good."""
        token = self._access.get(text)
        if token is None or token.grant.ended or token.expires_at <= self.clock.now():
            return None
        return token

    def refresh(self, text: str) -> RefreshToken | None:
        """Return the refresh token if it is good. Unlike ``redeem``, looking at a spent one has no consequence."""
        token = self._refresh.get(text)
        return None if token is None or token.spent or token.grant.ended else token

    def revoke(self, text: str) -> None:
        """End a refresh token with its whole grant, or one access token alone (RFC 7009 section 2.1)."""
        refresh = self._refresh.get(text)
        if refresh is not None:
            refresh.grant.ended = True
        self._access.pop(text, None)


def new_access_token() -> str:
    """A token of the length that real ones have, for a short one hides the faults of buffers and line limits."""
    return "sandbox." + secrets.token_urlsafe(200)


def new_refresh_token() -> str:
    """A token with slashes, as Google's have, so that a form which forgets to encode is found out."""
    return "1//sandbox-" + secrets.token_urlsafe(60)
