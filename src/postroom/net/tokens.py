"""Access tokens: cached, asked for once however many want one, kept before they are used.

A token comes from a ``Grant``. However many logins ask at once, one request is made: within a process by a lock, over all
processes by a claim in the keeper's store; losers read what the winner got. A new refresh token is durable before the access
token that came with it is used, and the former one is kept until the new one has worked. A refusal names the version that was
refused, so that a hundred logins refused on one old token make one request.

The steps of ``Tokens.get``: find the chain (a consent in the vault before the configuration's own value); a token that is
good for a while ends it; a refusal that is remembered ends it; claim; look again; ask; keep the answer whole.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from weakref import WeakValueDictionary

from postroom.clock import Clock
from postroom.errors import ConsentMissing, Lost, PostroomError, TimedOut, TokenRefused
from postroom.model import AccessToken, Consent, Grant, GrantKey, Refusal, TokenFields
from postroom.net import answers
from postroom.net.grants import Application, External, RefreshToken, Way, form_of, recognised_by
from postroom.net.http import Http
from postroom.net.refusals import named
from postroom.secret import Secret
from postroom.settings import ProxySettings
from postroom.wire.jwt import claims_of

_CLAIM = 60.0  # seconds that one request may take; longer than any
_REQUEST = 30.0  # seconds for the token endpoint
_REFUSAL_LASTS = 3600.0  # seconds after which a refused grant is tried once more
_POLL = 0.1  # seconds between looks at what another process's request brought
_BARE_LASTS = 300.0  # seconds for which an external token is kept whose end nobody tells


@dataclass(frozen=True, slots=True)
class Consented:
    """Which consent in the vault may stand in for what is configured, and how its token is asked for."""

    client: str  # section
    login: str  # the account that is to consent
    configured: Secret | None  # the option password: a consent counts until it changes
    token_endpoint: str
    scope: str | None


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """All that asking for a token needs, from the configuration."""

    token_endpoint: str
    application: Application
    way: Way
    scope: str | None
    ca_file: Path | None
    margin: float  # seconds before its end that a token is renewed
    authority: str = ""  # "google" or "microsoft" where its words are known
    issuer: str | None = None  # the authority's own name for itself
    client: str = ""  # section, for what a person is told to do
    consented: Consented | None = None
    via: ProxySettings | None = None  # the proxy, for hosts that it does not exclude

    @property
    def title(self) -> str:
        """How errors name the authority."""
        return self.issuer or self.token_endpoint


class Keeper(Protocol):
    """Keeps grants durably; the store is one."""

    def keyed_hash(self, *texts: str) -> str: ...

    async def consent(self, client: str) -> Consent | None: ...

    async def save_consent(self, consent: Consent, asked_with: str, fields: TokenFields) -> None: ...

    async def open_grant(self, key: GrantKey, configured: Secret, asked_with: str) -> Grant: ...

    async def claim_grant(self, grant: int, seconds: float) -> bool: ...

    async def release_grant(self, grant: int, *, unanswered: bool = False) -> None: ...

    async def save_answer(self, key: GrantKey, grant: Grant, asked_with: str, fields: TokenFields) -> AccessToken: ...

    async def save_refusal(self, grant: int, refusal: Refusal) -> None: ...


@dataclass(frozen=True, slots=True)
class _Chain:
    """A request with the chain that answers it."""

    key: GrantKey
    begins_with: Secret
    asked_with: str
    request: TokenRequest


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

        Raises ``TokenRefused`` (from memory, when nothing changed since the authority refused), ``ConsentMissing``,
        ``Throttled``, ``TokenUnavailable``, ``ConfigError`` and the network's errors. A failure leaves the grant as it was.
        """
        chain = await self._chain(request)
        lock = self._locks.setdefault(chain.key, asyncio.Lock())
        async with lock:
            for _attempt in range(int(_CLAIM / _POLL) + 10):
                grant = await self._open(chain)
                if (token := self._usable(grant, request.margin, refused)) is not None:
                    return token
                self._check_refusal(grant, chain)
                if await self._keeper.claim_grant(grant.id, _CLAIM):
                    return await self._claimed(chain, refused)
                await self._clock.sleep(_POLL)
        raise TimedOut("another process has been refreshing the token for too long")

    # --- the chain

    async def _chain(self, request: TokenRequest) -> _Chain:
        consent = await self._consent(request.consented, request.application.client_id)
        if consent is not None and request.consented is not None:
            endpoint, scope = request.consented.token_endpoint, request.consented.scope
            request = replace(request, way=RefreshToken(None), token_endpoint=endpoint, scope=scope)
            return _Chain(consent.key, Secret(""), self._asked_with(request), request)
        if isinstance(request.way, RefreshToken) and request.way.configured is None:
            raise ConsentMissing(f"[{request.client}]", remedy=named(ConsentMissing("").remedy, request.client))
        kind, texts = recognised_by(request.way)
        configured = ":".join(part for part in (kind, self._keeper.keyed_hash(*texts) if texts else "") if part)
        key = GrantKey(request.token_endpoint, request.application.client_id, configured)
        begins_with = request.way.configured if isinstance(request.way, RefreshToken) else None
        return _Chain(key, begins_with or Secret(""), self._asked_with(request), request)

    async def _consent(self, consented: Consented | None, client_id: str) -> Consent | None:
        """The consent in the vault, while it is of this account and application, and ``password`` is as it was then or gone."""
        consent = await self._keeper.consent(consented.client) if consented is not None else None
        if consent is None or consented is None:
            return None
        same = (
            consent.login.lower() == consented.login.lower()
            and consent.key.client_id == client_id
            and consent.key.authority == consented.token_endpoint
            and (consented.configured is None or consent.configured == self._configured_hash(consented.configured))
        )
        return consent if same else None

    async def keep_consent(self, request: TokenRequest, account: str, fields: TokenFields) -> Consent:
        """Keep what a person consented to for a client; its next cycle uses it. ``request.consented`` says for which.

        Two clients connected with the same account and application share one chain.
        """
        consented = request.consented
        assert consented is not None
        client_id = request.application.client_id
        key = GrantKey(consented.token_endpoint, client_id, f"account:{(account or consented.login).lower()}")
        configured = self._configured_hash(consented.configured)
        now = self._clock.now()
        consent = Consent(consented.client, consented.login, account, key, configured, fields.scope, now)
        await self._keeper.save_consent(consent, self._asked_with(replace(request, scope=consented.scope)), fields)
        return consent

    async def consent_in_force(self, request: TokenRequest) -> Consent | None:
        """The consent in the vault that the request's token comes from; None where the configuration's own value acts."""
        return await self._consent(request.consented, request.application.client_id)

    async def key_of(self, request: TokenRequest) -> GrantKey:
        """The chain that the request's token comes from. Raises ``ConsentMissing``."""
        return (await self._chain(request)).key

    async def refreshes(self, request: TokenRequest) -> bool:
        """Whether the request's token comes from a refresh token."""
        return isinstance((await self._chain(request)).request.way, RefreshToken)

    def _configured_hash(self, configured: Secret | None) -> str:
        """What tells whether ``password`` changed since a consent; empty for nothing."""
        return "" if configured is None else self._keeper.keyed_hash(configured.reveal())

    def _asked_with(self, request: TokenRequest) -> str:
        return self._keeper.keyed_hash(*request.application.texts, request.scope or "")

    async def _open(self, chain: _Chain) -> Grant:
        return await self._keeper.open_grant(chain.key, chain.begins_with, chain.asked_with)

    # --- what is there

    def _usable(self, grant: Grant, margin: float, refused: int | None) -> AccessToken | None:
        token = grant.access
        if token is None or token.version == refused:
            return None
        # Renewed by the margin before its end, but never before three quarters of its life: a margin longer than the life
        # would mean a request for each login.
        renew_at = token.expires_at - min(margin, token.lifetime / 4)
        return token if self._clock.now() < renew_at else None

    def _check_refusal(self, grant: Grant, chain: _Chain) -> None:
        refusal = grant.refusal
        if refusal is None or not self.remembers_refusals or refusal.asked_with != chain.asked_with:
            return
        if self._clock.now() - refusal.at < _REFUSAL_LASTS:
            raise TokenRefused(refusal.words, error=refusal.error, remedy=named(refusal.remedy, chain.request.client))

    # --- asking

    async def _claimed(self, chain: _Chain, refused: int | None) -> AccessToken:
        # Between the look and the claim another process may have finished: look again, now that nobody else can.
        grant = await self._open(chain)
        unanswered = False
        try:
            if (token := self._usable(grant, chain.request.margin, refused)) is not None:
                return token
            self._check_refusal(grant, chain)
            fields = await self._asked(chain, grant)
            return await self._keeper.save_answer(chain.key, grant, chain.asked_with, fields)
        except (Lost, TimedOut):
            unanswered = True  # the authority may have spent the refresh token; a later refusal is explained by this
            raise
        finally:
            await self._keeper.release_grant(grant.id, unanswered=unanswered)

    async def _asked(self, chain: _Chain, grant: Grant) -> TokenFields:
        try:
            return await self._ask(chain.request, grant.refresh_token)
        except TokenRefused as error:
            former = grant.former if error.error == "invalid_grant" else None
            fields = await self._ask_with_former(chain.request, former) if former is not None else None
            if fields is not None:
                return fields
            raise await self._refused(chain, grant, error) from None

    async def _ask_with_former(self, request: TokenRequest, former: Secret) -> TokenFields | None:
        """Microsoft does not revoke the refresh token before: where the present one is refused, that one may still open."""
        try:
            fields = await self._ask(request, former)
        except TokenRefused:
            return None
        return fields if fields.refresh_token is not None else replace(fields, refresh_token=former)

    async def _ask(self, request: TokenRequest, refresh_token: Secret) -> TokenFields:
        self.requests += 1
        if isinstance(request.way, External):
            return await self._ask_outside(request.way, request)
        now = self._clock.now()
        form = form_of(request.way, refresh_token, request.application, request.token_endpoint, request.scope, now)
        try:
            answer = await self._http.post_form(
                request.token_endpoint, form, ca_file=request.ca_file, timeout=_REQUEST, via=request.via
            )
            token = answers.token_of(answer, form, request.authority)
        except PostroomError as error:
            error.detail = f"{request.title}: {error.detail}"
            if not isinstance(error, TokenRefused):  # which is kept for others of its chain, and named for each
                error.remedy = named(error.remedy, request.client)
            raise
        return TokenFields(token.access_token, token.expires_in, token.refresh_token, token.scope, token.refresh_expires_in)

    async def _ask_outside(self, way: External, request: TokenRequest) -> TokenFields:
        if way.command is not None:
            return self._outside(await way.run(_REQUEST), way.command[0])
        assert way.url is not None
        answer = await self._http.get(way.url, ca_file=request.ca_file, timeout=_REQUEST, via=request.via)
        return self._outside(answers.outside_body(answer, way.url), way.url)

    def _outside(self, body: bytes, place: str) -> TokenFields:
        token, lifetime = answers.outside_token(body, place)
        if lifetime is None:
            end = (claims_of(token) or {}).get("exp")
            lifetime = max(end - self._clock.now(), 0.0) if isinstance(end, int | float) else _BARE_LASTS
        return TokenFields(token, lifetime)

    async def _refused(self, chain: _Chain, grant: Grant, error: TokenRefused) -> TokenRefused:
        """The refusal with all that is known of it. A certain one is kept, so that nobody asks again before something changes."""
        remedy = error.remedy
        if error.error == "invalid_grant" and grant.interrupted_at is not None:
            remedy = f"{answers.INTERRUPTED} {remedy}"
        if error.certain:
            refusal = Refusal(error.error, error.detail, remedy, chain.asked_with, self._clock.now())
            await self._keeper.save_refusal(grant.id, refusal)
        return TokenRefused(
            error.detail,
            error=error.error,
            description=error.description,
            remedy=named(remedy, chain.request.client),
            certain=error.certain,
            reason=error.reason,
        )
