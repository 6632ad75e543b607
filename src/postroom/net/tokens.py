"""Credentials: who answers a server's challenge, with a password or with a token.

A token comes from a ``Grant``. However many logins ask at once, one refresh is made: within a process by a lock, over all
processes by a claim in the keeper's store; losers read what the winner got. A new refresh token is durable before the access
token that came with it is used. A refusal names the version that was refused, so that a hundred logins refused on one old
token make one refresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from postroom.clock import Clock
from postroom.errors import LocalProtocolError, NoMechanism, PostroomError, TimedOut, TokenRefused
from postroom.model import AccessToken, Grant, GrantKey, Refusal
from postroom.net.http import Http
from postroom.secret import Secret
from postroom.wire import oauth, sasl

_CLAIM = 60.0  # seconds that one refresh may take; longer than any request
_REQUEST = 30.0  # seconds for the token endpoint
_REFUSAL_LASTS = 3600.0  # seconds after which a refused grant is tried once more
_POLL = 0.1  # seconds between looks at what another process's refresh brought


@dataclass(frozen=True, slots=True)
class Answer:
    """How a challenge is answered: the mechanism, its exchange, and which token it uses until when."""

    mechanism: str
    exchange: sasl.Exchange
    version: int = 0
    valid_until: float | None = None  # None: for as long as the conversation lasts


class Credentials(Protocol):
    """Answers a server's challenge (RFC 4422, RFC 6749)."""

    async def answer(self, offered: Sequence[str], host: str, port: int) -> Answer:
        """Choose the strongest offered mechanism. Raises ``NoMechanism``, ``TokenRefused`` and the network's errors."""

    async def refused(self, version: int) -> bool:
        """The server said no to that version. True if once more may help: a newer token is here, or one refresh was made."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """All that a refresh needs, from the configuration."""

    token_endpoint: str
    client_id: str
    client_secret: Secret | None
    refresh_token: Secret  # as configured
    scope: str | None
    ca_file: Path | None
    margin: float  # seconds before its end that a token is renewed
    issuer: str | None = None  # the authority's own name for itself
    consent: str | None = None  # where a person consents

    @property
    def authority(self) -> str:
        """How errors name the authority."""
        return self.issuer or self.token_endpoint


class Keeper(Protocol):
    """Keeps grants durably; the store is one."""

    def keyed_hash(self, *texts: str) -> str: ...

    async def open_grant(self, key: GrantKey, configured: Secret, asked_with: str) -> Grant: ...

    async def claim_grant(self, grant: int, seconds: float) -> bool: ...

    async def release_grant(self, grant: int) -> None: ...

    async def save_answer(
        self, key: GrantKey, grant: Grant, asked_with: str, token: Secret, lifetime: float, rotated: Secret | None
    ) -> AccessToken: ...

    async def save_refusal(self, grant: int, refusal: Refusal) -> None: ...


class Tokens:
    """Gives access tokens. One for a process."""

    def __init__(self, keeper: Keeper, http: Http, clock: Clock) -> None:
        self._keeper = keeper
        self._http = http
        self._clock = clock
        self._locks: WeakValueDictionary[GrantKey, asyncio.Lock] = WeakValueDictionary()  # whatever else is asked with
        self.requests = 0  # token requests made
        self.remembers_refusals = True  # False for a person who asks whether it works now

    async def get(self, request: TokenRequest, refused: int | None = None) -> AccessToken:
        """A token that is good for a while, and is not the refused version.

        Raises ``TokenRefused`` (from memory, when nothing changed since the authority refused), ``Throttled`` and the
        network's errors. A failure leaves the grant as it was.
        """
        key = GrantKey(request.token_endpoint, request.client_id, self._keeper.keyed_hash(request.refresh_token.reveal()))
        asked_with = self._asked_with(request)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            for _attempt in range(int(_CLAIM / _POLL) + 10):
                grant = await self._keeper.open_grant(key, request.refresh_token, asked_with)
                if (token := self._usable(grant, request.margin, refused)) is not None:
                    return token
                self._check_refusal(grant, request)
                if await self._keeper.claim_grant(grant.id, _CLAIM):
                    return await self._claimed(key, request, refused)
                await self._clock.sleep(_POLL)
        raise TimedOut("another process has been refreshing the token for too long")

    async def _claimed(self, key: GrantKey, request: TokenRequest, refused: int | None) -> AccessToken:
        # Between the look and the claim another process may have finished: look again, now that nobody else can.
        asked_with = self._asked_with(request)
        grant = await self._keeper.open_grant(key, request.refresh_token, asked_with)
        try:
            if (token := self._usable(grant, request.margin, refused)) is not None:
                return token
            self._check_refusal(grant, request)
            return await self._refresh(key, grant, request)
        finally:
            await self._keeper.release_grant(grant.id)

    def _usable(self, grant: Grant, margin: float, refused: int | None) -> AccessToken | None:
        token = grant.access
        if token is None or token.version == refused:
            return None
        # Renewed by the margin before its end, but never before three quarters of its life: a margin longer than the life
        # would mean a request for each login.
        renew_at = token.expires_at - min(margin, token.lifetime / 4)
        return token if self._clock.now() < renew_at else None

    def _asked_with(self, request: TokenRequest) -> str:
        secret = request.client_secret.reveal() if request.client_secret is not None else ""
        return self._keeper.keyed_hash(secret, request.scope or "")

    def _check_refusal(self, grant: Grant, request: TokenRequest) -> None:
        refusal = grant.refusal
        if refusal is None or not self.remembers_refusals or refusal.asked_with != self._asked_with(request):
            return
        if self._clock.now() - refusal.at < _REFUSAL_LASTS:
            raise TokenRefused(refusal.words, error=refusal.error, remedy=refusal.remedy)

    async def _refresh(self, key: GrantKey, grant: Grant, request: TokenRequest) -> AccessToken:
        form = oauth.refresh_request(grant.refresh_token, request.client_id, request.client_secret, request.scope)
        self.requests += 1
        answer = await self._http.post_form(request.token_endpoint, form, ca_file=request.ca_file, timeout=_REQUEST)
        try:
            token = oauth.read_answer(answer.status, _masked(answer.body, form), answer.retry_after)
        except TokenRefused as error:
            words = f"{request.authority}: {error.detail}"
            remedy = error.remedy
            if error.error == "invalid_grant" and request.consent:
                remedy += f" Consent begins at {request.consent}"
            refusal = Refusal(error.error, words, remedy, self._asked_with(request), self._clock.now())
            await self._keeper.save_refusal(grant.id, refusal)
            raise TokenRefused(words, error=error.error, description=error.description, remedy=remedy) from None
        except PostroomError as error:
            error.detail = f"{request.authority}: {error.detail}"
            raise
        return await self._keeper.save_answer(
            key, grant, self._asked_with(request), token.access_token, token.expires_in, token.refresh_token
        )


def _masked(body: bytes, form: dict[str, str]) -> bytes:
    """The answer without what was sent in secret: an authority may repeat it in its words."""
    if b'"error"' not in body:
        return body
    for name in ("refresh_token", "client_secret"):
        if secret := form.get(name, "").encode():
            body = body.replace(secret, b"***")
    return body


class PasswordCredentials:
    """A login with name and password."""

    def __init__(self, user: str, password: Secret, mechanisms: Sequence[str]) -> None:
        self._user = user
        self._password = password
        self._mechanisms = [name for name in sasl.PASSWORD_MECHANISMS if not mechanisms or name in mechanisms]

    async def answer(self, offered: Sequence[str], _host: str, _port: int) -> Answer:
        for name in self._mechanisms:
            if name in offered:
                return Answer(name, sasl.PASSWORD_MECHANISMS[name](self._user, self._password))
        raise NoMechanism(_offer(self._mechanisms, offered))

    async def refused(self, _version: int) -> bool:
        return False


class TokenCredentials:
    """A login with an access token (XOAUTH2, OAUTHBEARER)."""

    def __init__(self, user: str, request: TokenRequest, tokens: Tokens, mechanisms: Sequence[str]) -> None:
        self._user = user
        self._request = request
        self._tokens = tokens
        self._mechanisms = [name for name in sasl.TOKEN_MECHANISMS if name in mechanisms]
        self._refused: int | None = None

    async def answer(self, offered: Sequence[str], host: str, port: int) -> Answer:
        name = next((name for name in self._mechanisms if name in offered), None)
        if name is None:
            raise NoMechanism(_offer(self._mechanisms, offered))
        token = await self._tokens.get(self._request, self._refused)
        if name == "XOAUTH2":
            exchange = sasl.xoauth2(self._user, token.token)
        elif name == "OAUTHBEARER":
            exchange = sasl.oauthbearer(self._user, token.token, host, port)
        else:
            raise LocalProtocolError(f"no exchange for {name}")
        return Answer(name, exchange, token.version, token.expires_at)

    async def refused(self, version: int) -> bool:
        self._refused = version
        token = await self._tokens.get(self._request, version)
        return token.version != version


def _offer(wanted: Sequence[str], offered: Sequence[str]) -> str:
    return f"the configuration allows {', '.join(wanted) or 'none'}; the server offers {', '.join(offered) or 'none'}"
