"""The sandbox's OAuth 2.0 authority: a real one, small, on loopback.

=================================================  ===============================================
``/.well-known/oauth-authorization-server``        metadata (RFC 8414), also as ``openid-configuration``
``/authorize``                                     consent page; code with PKCE (RFC 6749 section 4.1, RFC 7636)
``/token``                                         codes and refresh tokens for tokens
``/introspect``, ``/revoke``                       RFC 7662, RFC 7009
=================================================  ===============================================

Tokens can also be issued without a browser, by ``Authority.issue``. The IMAP server asks ``Authority.judge``.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from authlib.oauth2 import OAuth2Error
from multidict import MultiDict, MultiMapping

from postroom.clock import Clock, SystemClock
from postroom.sandbox import consent
from postroom.sandbox.oauth import CLIENT_AUTHENTICATION, OUT_OF_BAND, Request, Server
from postroom.sandbox.sasl import Verdict
from postroom.sandbox.tokens import Client, Issued, TokenStore, new_access_token, new_refresh_token

MAIL_SCOPE = "https://mail.google.com/"
"""The scope that opens a mailbox, as at Google."""

SCOPES = (
    MAIL_SCOPE,
    "https://www.googleapis.com/auth/gmail.readonly",
    "https://www.googleapis.com/auth/gmail.send",
    "openid",
    "email",
    "profile",
    "offline_access",
)
"""What may be asked for. The others are there so that a consent without the mail scope can be tried."""


class Authority:
    """An OAuth 2.0 authority for the accounts given. Use it as ``async with``; ``url`` is known inside.

    ``lifetime`` (of access tokens, in seconds) and ``rotates`` (of refresh tokens) may be set at any time and hold
    for what is issued from then on. Time is the clock's, so that a test makes tokens expire without waiting.
    """

    def __init__(
        self,
        accounts: Sequence[str],
        *,
        port: int = 0,
        client_id: str = "sandbox-client",
        lifetime: float = 3600.0,
        rotates: bool = True,
        clock: Clock | None = None,
    ) -> None:
        if not accounts:
            raise ValueError("an authority without accounts has nobody to ask")
        self.accounts = tuple(account.lower() for account in accounts)
        self.port = port
        self.client = Client(client_id, secrets.token_urlsafe(24), SCOPES)
        self.store = TokenStore(clock or SystemClock(), lifetime=lifetime, rotates=rotates)
        self._server: Any = None  # made when the address is known
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The issuer (RFC 8414 section 2), which every endpoint's address begins with."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def lifetime(self) -> float:
        """Seconds for which a new access token is good."""
        return self.store.lifetime

    @lifetime.setter
    def lifetime(self, seconds: float) -> None:
        self.store.lifetime = seconds

    @property
    def rotates(self) -> bool:
        """Whether a refresh spends the refresh token and hands out another."""
        return self.store.rotates

    @rotates.setter
    def rotates(self, rotates: bool) -> None:
        self.store.rotates = rotates

    def metadata(self) -> dict[str, Any]:
        """The metadata document (RFC 8414 section 2)."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "introspection_endpoint": f"{self.url}/introspect",
            "revocation_endpoint": f"{self.url}/revoke",
            "scopes_supported": list(SCOPES),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
            "introspection_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
            "revocation_endpoint_auth_methods_supported": CLIENT_AUTHENTICATION,
            "code_challenge_methods_supported": ["S256"],
        }

    def issue(self, account: str, scope: str = MAIL_SCOPE, lifetime: float | None = None) -> Issued:
        """Issue tokens as if the account's owner had just consented. ``lifetime`` is the access token's."""
        if account.lower() not in self.accounts:
            raise ValueError(f"the sandbox has no account {account}")
        grant = self.store.open_grant(account.lower(), self.client.client_id, scope)
        access = self.store.add_access(new_access_token(), grant, scope, lifetime)
        refresh = self.store.add_refresh(new_refresh_token(), grant)
        return Issued(access.text, refresh.text, access.expires_at - access.issued_at, scope)

    def issue_refresh_token(self, account: str, scope: str = MAIL_SCOPE) -> str:
        """Issue a refresh token, the ``password`` of a Google mailbox."""
        return self.issue(account, scope).refresh_token

    def withdraw_consent(self, account: str) -> int:
        """End all that was issued for the account, as its owner does at the provider. Return how many grants ended."""
        return self.store.end_grants(account.lower())

    def judge(self, user: str, token: str) -> Verdict:
        """Say whether the token opens the user's mailbox; where no user is named, whose it opens."""
        found = self.store.access(token)
        if found is None or (user and user.lower() != found.grant.account):
            return Verdict("", "invalid_token")
        if MAIL_SCOPE not in found.scope.split():
            return Verdict("", "insufficient_scope")
        return Verdict(found.grant.account)

    async def __aenter__(self) -> Authority:
        application = web.Application()
        application.add_routes(
            [
                web.get("/.well-known/oauth-authorization-server", self._metadata),
                web.get("/.well-known/openid-configuration", self._metadata),  # RFC 8414 section 5
                web.get("/authorize", self._ask),
                web.post("/authorize", self._answer),
                web.post("/token", self._token),
                web.post("/introspect", self._introspect),
                web.post("/revoke", self._revoke),
            ]
        )
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self.port = runner.addresses[0][1]
        self._runner = runner
        self._server = Server(self.store, self.client, self.url)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _metadata(self, request: web.Request) -> web.Response:
        return web.json_response(self.metadata())

    async def _ask(self, request: web.Request) -> web.Response:
        oauth = _request(request, request.query)
        try:
            grant = self._server.get_consent_grant(oauth)
        except (OAuth2Error, ValueError) as error:
            return self._refuse(error)
        hint = oauth.args.get("login_hint", "").lower()
        return _html(consent.consent(self.client.client_id, grant.request.scope, self.accounts, hint, oauth.args))

    async def _answer(self, request: web.Request) -> web.Response:
        oauth = await _posted(request)
        try:
            grant = self._server.get_consent_grant(oauth)
        except (OAuth2Error, ValueError) as error:
            return self._refuse(error)
        account = oauth.form.get("account", "").lower()
        allowed = oauth.form.get("decision") == "allow" and account in self.accounts
        response: web.Response = self._server.create_authorization_response(oauth, account if allowed else None, grant)
        location = response.headers.get("Location", "")
        if location.startswith(OUT_OF_BAND):
            code = parse_qs(urlsplit(location).query).get("code")
            return _html(consent.shown_code(code[0]) if code else consent.failure("access_denied", "You said no."))
        return response

    def _refuse(self, error: Any) -> web.Response:
        if not isinstance(error, OAuth2Error):
            # Authlib raises it while wording a refusal that would quote characters which RFC 6749 section 5.2 forbids.
            return _html(consent.failure("invalid_request", "A parameter holds characters that are not allowed."), 400)
        if getattr(error, "redirect_uri", None) and error.redirect_uri != OUT_OF_BAND:
            redirect: web.Response = self._server.handle_error_response(None, error)
            return redirect
        return _html(consent.failure(str(error.error), error.get_error_description() or ""), 400)

    async def _token(self, request: web.Request) -> web.Response:
        response: web.Response = self._server.create_token_response(await _posted(request))
        return response

    async def _introspect(self, request: web.Request) -> web.Response:
        response: web.Response = self._server.create_endpoint_response("introspection", await _posted(request))
        return response

    async def _revoke(self, request: web.Request) -> web.Response:
        response: web.Response = self._server.create_endpoint_response("revocation", await _posted(request))
        return response


def _request(request: web.Request, fields: MultiMapping[str]) -> Request:
    # The address is ours, on loopback, whatever the Host header says; Authlib would refuse a foreign one without TLS.
    return Request(request.method, f"http://127.0.0.1{request.path}", request.headers, fields)


async def _posted(request: web.Request) -> Request:
    form = await request.post()
    return _request(request, MultiDict((name, value) for name, value in form.items() if isinstance(value, str)))


def _html(page: str, status: int = 200) -> web.Response:
    return web.Response(text=page, status=status, content_type="text/html", charset="utf-8", headers=consent.HEADERS)
