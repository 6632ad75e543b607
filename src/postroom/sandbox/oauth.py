"""Authlib's authorization server, joined to aiohttp on one side and to the token store on the other.

Authlib decides what RFC 6749, 7636, 7009 and 7662 decide; here is only what it asks its user for. All of it is
synchronous and in memory, so each request is answered in one step of the loop and nothing needs a lock.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from authlib.oauth2 import AuthorizationServer, OAuth2Request
from authlib.oauth2.rfc6749 import OAuth2Payload, grants
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from multidict import MultiMapping

from postroom.sandbox.tokens import (
    AccessToken,
    Client,
    Code,
    RefreshToken,
    TokenStore,
    new_access_token,
    new_refresh_token,
)

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
"""Redirect address of an application that cannot listen: the page shows the code. Google has ended it for most."""

LOOPBACK = {"localhost", "127.0.0.1", "::1"}

CLIENT_AUTHENTICATION = ["client_secret_basic", "client_secret_post"]  # RFC 6749 section 2.3.1


class RegisteredClient:
    """The application's registration, in the form that Authlib asks about it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.client_id = client.client_id

    def check_client_secret(self, secret: str) -> bool:
        """Compare in constant time, whatever characters came."""
        return hmac.compare_digest(self.client.secret.encode(), secret.encode("utf-8", "surrogatepass"))

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """It has a secret and must show it everywhere."""
        return method in CLIENT_AUTHENTICATION

    def check_grant_type(self, grant_type: str) -> bool:
        """What it may ask for at the token endpoint."""
        return grant_type in {"authorization_code", "refresh_token"}

    def check_response_type(self, response_type: str) -> bool:
        """What it may ask for at the authorization endpoint."""
        return response_type == "code"

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Any port and path of this machine (RFC 8252 section 7.3), or out of band."""
        if redirect_uri == OUT_OF_BAND:
            return True
        try:
            parts = urlsplit(redirect_uri)
        except ValueError:
            return False
        return parts.scheme in {"http", "https"} and parts.hostname in LOOPBACK and not parts.fragment

    def get_default_redirect_uri(self) -> None:
        """None: where the code goes must be said."""

    def get_allowed_scope(self, scope: str | None) -> str:
        """The scope asked for, already known to be supported; what is given to one who asks for none."""
        return scope or self.client.scopes[0]


class Payload(OAuth2Payload):  # type: ignore[misc]
    """Parameters of a request; of a repeated one the first counts and Authlib refuses it."""

    def __init__(self, fields: MultiMapping[str]) -> None:
        self._data = {name: fields.getone(name) for name in fields}
        self._datalist = {name: fields.getall(name) for name in fields}

    @property
    def data(self) -> dict[str, str]:
        return self._data

    @property
    def datalist(self) -> dict[str, list[str]]:
        return self._datalist


class Request(OAuth2Request):  # type: ignore[misc]
    """An HTTP request as Authlib reads it: the query of a GET, the form of a POST."""

    def __init__(self, method: str, uri: str, headers: Mapping[str, str], fields: MultiMapping[str]) -> None:
        super().__init__(method, uri, headers=headers)
        self.payload = Payload(fields)

    @property
    def args(self) -> dict[str, str]:
        return self.payload.data if self.method == "GET" else {}

    @property
    def form(self) -> dict[str, str]:
        return self.payload.data if self.method == "POST" else {}


class Server(AuthorizationServer):  # type: ignore[misc]
    """The authorization server over a token store and its one client."""

    def __init__(self, store: TokenStore, client: Client, issuer: str) -> None:
        super().__init__(scopes_supported=list(client.scopes))
        self.store = store
        self.client = RegisteredClient(client)
        self.issuer = issuer
        self.register_token_generator("default", self._generate)
        self.register_grant(CodeGrant, [Pkce(required=False)])
        self.register_grant(RefreshGrant)
        self.register_endpoint(Revocation)
        self.register_endpoint(Introspection)

    def query_client(self, client_id: str) -> RegisteredClient | None:
        """The client of that id, if it is the one there is."""
        return self.client if client_id == self.client.client_id else None

    def _generate(self, *_: Any, scope: str, include_refresh_token: bool, **__: Any) -> dict[str, Any]:
        # RFC 6749 section 5.1
        token: dict[str, Any] = {
            "access_token": new_access_token(),
            "token_type": "Bearer",
            "expires_in": int(self.store.lifetime),
            "scope": scope,
        }
        if include_refresh_token:
            token["refresh_token"] = new_refresh_token()
        return token

    def save_token(self, token: dict[str, Any], request: Any) -> None:
        """Record what is about to be sent, under the consent that the request's credential belongs to."""
        grant = (request.authorization_code or request.refresh_token).grant
        self.store.add_access(token["access_token"], grant, token["scope"])
        if "refresh_token" in token:
            self.store.add_refresh(token["refresh_token"], grant)

    def create_oauth2_request(self, request: Request) -> Request:
        """The request itself: it was made in Authlib's form, since reading a form must wait and Authlib cannot."""
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> web.Response:
        """Authlib's answer as aiohttp's."""
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, body=text.encode(), headers=dict(headers))

    def send_signal(self, name: str, *_: Any, **__: Any) -> None:
        """Nobody listens."""


class Pkce(CodeChallenge):  # type: ignore[misc]
    """RFC 7636 with S256 alone. Without a method ``plain`` is meant (section 4.3), and is refused like it."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]  # noqa: RUF012 - the name and form that Authlib reads

    def validate_code_challenge(self, grant: Any, redirect_uri: str) -> None:
        data = grant.request.payload.data
        if data.get("code_challenge"):
            data.setdefault("code_challenge_method", "plain")
        super().validate_code_challenge(grant, redirect_uri)


class CodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    """Authorization code (RFC 6749 section 4.1). Redeeming a code twice ends what it gave."""

    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_AUTHENTICATION

    def save_authorization_code(self, code: str, request: Any) -> None:
        store, data = self.server.store, request.payload.data
        grant = store.open_grant(request.user, request.client.client_id, request.scope)
        challenge = data.get("code_challenge")
        store.add_code(code, grant, request.payload.redirect_uri, challenge, data.get("code_challenge_method"))

    def query_authorization_code(self, code: str, client: RegisteredClient) -> Code | None:
        found: Code | None = self.server.store.code(code)
        return found if found is not None and found.grant.check_client(client.client) else None

    def delete_authorization_code(self, code: Code) -> None:
        code.spent = True

    def authenticate_user(self, code: Code) -> str:
        return code.grant.account


class RefreshGrant(grants.RefreshTokenGrant):  # type: ignore[misc]
    """Refresh (RFC 6749 section 6), rotating while the store says so."""

    TOKEN_ENDPOINT_AUTH_METHODS = CLIENT_AUTHENTICATION

    @property
    def INCLUDE_NEW_REFRESH_TOKEN(self) -> bool:  # noqa: N802 - the name that Authlib reads
        return bool(self.server.store.rotates)

    def authenticate_refresh_token(self, refresh_token: str) -> RefreshToken | None:
        found: RefreshToken | None = self.server.store.redeem(refresh_token)
        return found

    def authenticate_user(self, refresh_token: RefreshToken) -> str:
        return refresh_token.grant.account

    def revoke_old_credential(self, refresh_token: RefreshToken) -> None:
        refresh_token.spent = self.INCLUDE_NEW_REFRESH_TOKEN


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    """RFC 7009."""

    CLIENT_AUTH_METHODS = CLIENT_AUTHENTICATION

    def query_token(self, text: str, hint: str | None) -> AccessToken | RefreshToken | None:
        return _find(self.server.store, text)

    def revoke_token(self, token: AccessToken | RefreshToken, request: Any) -> None:
        self.server.store.revoke(token.text)


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    """RFC 7662, with the account's address also as ``email``, which Dovecot can be told to read."""

    CLIENT_AUTH_METHODS = CLIENT_AUTHENTICATION

    def query_token(self, text: str, hint: str | None) -> AccessToken | RefreshToken | None:
        return _find(self.server.store, text)

    def check_permission(self, token: Any, client: Any, request: Any) -> bool:
        return True

    def create_introspection_payload(self, token: AccessToken | RefreshToken | None) -> dict[str, Any]:
        """RFC 7662 section 2.2. ``query_token`` returns only what is active."""
        if token is None:
            return {"active": False}
        grant = token.grant
        claims: dict[str, Any] = {"active": True, "client_id": grant.client_id, "iss": self.server.issuer}
        claims |= dict.fromkeys(("sub", "username", "email"), grant.account)
        claims |= {"scope": grant.scope, "iat": int(token.issued_at)}
        if isinstance(token, AccessToken):
            claims |= {"token_type": "Bearer", "scope": token.scope, "exp": int(token.expires_at)}
        return claims


def _find(store: TokenStore, text: str) -> AccessToken | RefreshToken | None:
    # The hint is only an optimisation (RFC 7009 section 2.1), and two look-ups need none.
    return store.access(text) or store.refresh(text)
