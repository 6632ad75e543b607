"""The server side of ``deviant.py``: one small application with the paths of both providers.

It follows what their documentation says where that is not the standard, and knows every application and every secret;
whoever is to be refused is refused by order. Nothing here imports the product.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import secrets
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from servers.deviant_refusals import REFUSALS

TENANT = "00000000-0000-4000-8000-00000000da7a"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
ASSERTION = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SECRETS = frozenset(
    [
        "access_token",
        "assertion",
        "client_assertion",
        "client_secret",
        "code",
        "code_verifier",
        "device_code",
        "password",
        "refresh_token",
        "token",
    ]
)
Form = dict[str, str]


def digest(secret: str) -> str:
    """What the record has in the place of a secret."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:16]}"


@dataclass
class Scripted:
    """The answer to the next requests."""

    times: int
    status: int
    headers: dict[str, str]
    body: str
    grant_type: str | None  # only such requests count; None: all


@dataclass
class Access:
    """An access token; ``account`` is None for an application's own."""

    account: str | None
    ends: float
    opens: bool = True  # whether the mail server lets it in


@dataclass
class Consent:
    """What a code, a device code or a refresh token stands for."""

    account: str | None
    client_id: str
    scope: str
    microsoft: bool
    refreshable: bool = True
    state: str = "given"  # of a device code: pending, given, declined


@dataclass
class Recorded:
    """One request, with digests where secrets stood."""

    path: str
    form: Form
    status: int | None = None
    scripted: bool = False
    given: Form = field(default_factory=dict)  # digests of the tokens in the answer


class Refused(Exception):
    """One of ``REFUSALS``."""


class Provider:
    """All that it knows; forgotten with the process."""

    def __init__(self, domain: str) -> None:
        self.domain = domain
        self.scripted: deque[Scripted] = deque()
        self.recorded: list[Recorded] = []
        self.access: dict[str, Access] = {}
        self.consents: dict[str, Consent] = {}  # by code, device code, refresh token
        self.user_codes: dict[str, str] = {}
        self.consented: set[tuple[str, str]] = set()  # client and account, at Google
        self.reset()

    def reset(self) -> None:
        """As at the start; tokens stay."""
        self.scripted.clear()
        self.recorded.clear()
        self.late = 0
        self.lifetime = 3600
        self.signed_in: list[str] = []
        self.page: tuple[int, str, str] | None = None
        self.admin_error: tuple[str, str] | None = None

    # Tokens

    def give_access(self, account: str | None) -> str:
        """A new access token; among an application's own the first ones may not have spread yet."""
        token = secrets.token_urlsafe(32)
        opens = account is not None or self.late <= 0
        if account is None:
            self.late -= 1
        self.access[token] = Access(account, time.time() + self.lifetime, opens)
        return token

    def give_refresh(self, consent: Consent) -> str:
        """A new refresh token; the others of the same consent stay good."""
        token = secrets.token_urlsafe(32)
        self.consents[token] = consent
        return token

    def introspect(self, token: str) -> dict[str, object]:
        """RFC 7662 section 2.2, for the mail server: it wants both names, always."""
        found = self.access.get(token)
        if found is None or not found.opens or found.ends <= time.time():
            return {"active": False}
        app = "none@invalid" if found.account else f"app@{self.domain}"
        return {"active": True, "email": found.account or "none@invalid", "app": app}

    # The grants

    def grant(self, form: Form, *, microsoft: bool) -> dict[str, object]:
        """The answer with tokens, or ``Refused``."""
        if microsoft:
            _check_scope(form)
        kind = form.get("grant_type", "")
        if kind == "client_credentials":
            if not microsoft:
                raise Refused("google-no-delegation")
            return {"token_type": "Bearer", "expires_in": self.lifetime, "access_token": self.give_access(None)}
        if kind == ASSERTION:
            claims = _claims(form.get("assertion", ""))
            return {"token_type": "Bearer", "expires_in": self.lifetime, "access_token": self.give_access(claims["sub"])}
        if kind == "password":
            scope = form.get("scope", "")
            consent = Consent(form["username"], form["client_id"], scope, microsoft, "offline_access" in scope.split())
            return self.answer(consent, form, refresh=None)
        return self.redeem(kind, form, microsoft=microsoft)

    def redeem(self, kind: str, form: Form, *, microsoft: bool) -> dict[str, object]:
        """A code, a device code or a refresh token."""
        name = {"authorization_code": "code", "refresh_token": "refresh_token", DEVICE: "device_code"}.get(kind, "")
        consent = self.consents.get(form.get(name, ""))
        if consent is None or consent.client_id != form.get("client_id"):
            raise Refused("AADSTS70000" if microsoft else "google-bad-request")
        if kind == DEVICE and consent.state != "given":
            raise Refused({"pending": "authorization_pending", "declined": "authorization_declined"}[consent.state])
        if kind != "refresh_token":
            del self.consents[form[name]]
        return self.answer(consent, form, refresh=form["refresh_token"] if kind == "refresh_token" else None)

    def answer(self, consent: Consent, form: Form, *, refresh: str | None) -> dict[str, object]:
        """Microsoft gives a new refresh token each time, Google none where there is one already."""
        answer: dict[str, object] = {
            "token_type": "Bearer",
            "expires_in": self.lifetime,
            "scope": form.get("scope") or consent.scope,
            "access_token": self.give_access(consent.account),
        }
        if consent.refreshable and (consent.microsoft or refresh is None):
            answer["refresh_token"] = self.give_refresh(consent)
        if "openid" in consent.scope.split():
            answer["id_token"] = _id_token(consent)
        return answer


def _check_scope(form: Form) -> None:
    """Microsoft wants a scope, of one resource (providers mix none)."""
    scopes = form.get("scope", "").split()
    if not scopes:
        if form.get("grant_type") in ("refresh_token", "client_credentials", "password"):
            raise Refused("AADSTS900144")
        return
    resources = {scope.split("/")[2] for scope in scopes if scope.startswith("https://")}
    if len(resources) > 1:
        raise Refused("AADSTS28000")
    if form.get("grant_type") == "client_credentials" and not all(scope.endswith("/.default") for scope in scopes):
        raise Refused("AADSTS1002012")


def _claims(jwt: str) -> dict[str, str]:
    """The claims of an assertion, whose signature is not our affair here."""
    try:
        payload = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return {"sub": str(claims["sub"])}
    except (IndexError, ValueError, KeyError, TypeError):
        raise Refused("google-signature") from None


def _id_token(consent: Consent) -> str:
    """An id_token without a signature worth the name: for those who only read it."""
    claims = {"aud": consent.client_id, "sub": consent.account, "email": consent.account, "preferred_username": consent.account}
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), ""])


class Endpoints:
    """The provider over HTTP."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    def application(self) -> web.Application:
        """All its paths."""
        app = web.Application()
        app.add_routes(
            [
                web.post("/control/{name}", self.control),
                web.post("/introspect", self.introspect),
                *(web.post(path, self.token) for path in ("/token", "/oauth2/v4/token", "/{tenant}/oauth2/v2.0/token")),
                *(web.post(path, self.device) for path in ("/devicecode", "/{tenant}/oauth2/v2.0/devicecode")),
                *(
                    web.route("*", path, self.authorize)
                    for path in ("/o/oauth2/auth", "/o/oauth2/v2/auth", "/{tenant}/oauth2/v2.0/authorize")
                ),
                web.route("*", "/{tenant}/v2.0/adminconsent", self.admin_consent),
            ]
        )
        return app

    async def _form(self, request: web.Request) -> Form:
        return {name: str(value) for name, value in (await request.post()).items()}

    def _record(self, request: web.Request, form: Form) -> Recorded:
        shown = {name: digest(value) if name in SECRETS else value for name, value in form.items()}
        entry = Recorded(request.path, shown)
        self.provider.recorded.append(entry)
        return entry

    # What applications ask

    async def token(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        entry = self._record(request, form)
        response = self._scripted(entry, form) or self._granted(entry, form, microsoft="tenant" in request.match_info)
        entry.status = response.status
        return response

    def _scripted(self, entry: Recorded, form: Form) -> web.Response | None:
        for order in self.provider.scripted:
            if order.grant_type in (None, form.get("grant_type")):
                order.times -= 1
                if order.times <= 0:
                    self.provider.scripted.remove(order)
                entry.scripted = True
                headers = {"Content-Type": "application/json", **order.headers}
                return web.Response(status=order.status, body=order.body.encode(), headers=headers)
        return None

    def _granted(self, entry: Recorded, form: Form, *, microsoft: bool) -> web.Response:
        try:
            answer = self.provider.grant(form, microsoft=microsoft)
        except Refused as refused:
            return _refusal(str(refused))
        entry.given = {name: digest(str(answer[name])) for name in ("access_token", "refresh_token") if name in answer}
        return web.json_response(answer)

    async def introspect(self, request: web.Request) -> web.Response:
        return web.json_response(self.provider.introspect((await self._form(request)).get("token", "")))

    async def device(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        self._record(request, form).status = 200
        microsoft = "tenant" in request.match_info
        scope = form.get("scope", "")
        device_code, user_code = secrets.token_urlsafe(32), secrets.token_hex(4).upper()
        consent = Consent(None, form.get("client_id", ""), scope, microsoft, "offline_access" in scope.split(), "pending")
        self.provider.consents[device_code] = consent
        self.provider.user_codes[user_code] = device_code
        page = f"http://{request.host}/device"
        answer = {"device_code": device_code, "user_code": user_code, "verification_uri": page, "expires_in": 900, "interval": 1}
        return web.json_response({**answer, "message": f"Open {page} and enter the code {user_code} to authenticate."})

    # What a person meets

    async def authorize(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        if request.method == "GET":
            self._record(request, query).status = 200
            return self._page(query.get("client_id", ""), query.get("login_hint"))
        form = await self._form(request)
        account = form.get("other") or form.get("account", "")
        if form.get("decision") != "allow" or not account:
            return _back(query, error="access_denied")
        microsoft = "tenant" in request.match_info
        code = secrets.token_urlsafe(24)
        consent = Consent(account, query.get("client_id", ""), query.get("scope", ""), microsoft)
        consent.refreshable = self._refreshable(consent, query)
        self.provider.consents[code] = consent
        return _back(query, code=code, **({} if microsoft else {"scope": consent.scope}))

    def _refreshable(self, consent: Consent, query: Form) -> bool:
        """Microsoft: offline_access was asked for. Google: offline access, and the first consent or a repeated question."""
        if consent.microsoft:
            return "offline_access" in consent.scope.split()
        pair = (consent.client_id, consent.account or "")
        first = pair not in self.provider.consented
        self.provider.consented.add(pair)
        return query.get("access_type") == "offline" and (first or "consent" in query.get("prompt", "").split())

    async def admin_consent(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        if request.method == "GET":
            self._record(request, query).status = 200
            return self._page(query.get("client_id", ""), f"admin@{self.provider.domain}")
        if self.provider.admin_error:
            error, words = self.provider.admin_error
            return _back(query, admin_consent="True", tenant=TENANT, error=error, error_description=words)
        if (await self._form(request)).get("decision") != "allow":
            return _back(query, error="permission_denied", error_description="The admin canceled the request")
        return _back(query, admin_consent="True", tenant=TENANT, scope=query.get("scope", ""))

    def _page(self, application: str, hint: str | None) -> web.Response:
        """The same ids as the pages of ``servers.authority``."""
        if self.provider.page:
            status, error, words = self.provider.page
            fault = f'<h1>Access blocked</h1><p id="words">{html.escape(words)}</p><p id="error">Error {status}: {error}</p>'
            return web.Response(status=status, text=fault, content_type="text/html")
        accounts = list(dict.fromkeys([*([hint] if hint else []), *self.provider.signed_in]))
        choices = "".join(
            f'<label><input type="radio" name="account" value="{html.escape(one)}"{" checked" * (one == hint)}> '
            f"{html.escape(one)}</label><br>"
            for one in accounts
        )
        page = f"""<!DOCTYPE html><html lang="en"><title>Consent</title><h1>{html.escape(application)} wants to use a mailbox</h1>
<form method="post">{choices}<input name="other" id="account-other">
<button name="decision" value="allow" id="allow">Allow</button>
<button name="decision" value="deny" id="deny">Deny</button></form></html>"""
        return web.Response(text=page, content_type="text/html")

    # What tests order

    async def control(self, request: web.Request) -> web.Response:
        order = getattr(self, f"order_{request.match_info['name']}")
        return web.json_response(order(**await request.json()))

    def order_answer(self, **order: Any) -> None:
        self.provider.scripted.append(Scripted(**order))

    def order_set(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self.provider, name, value)

    def order_device(self, user_code: str, account: str | None) -> None:
        consent = self.provider.consents[self.provider.user_codes[user_code]]
        consent.account, consent.state = account, "given" if account else "declined"

    def order_refresh_token(self, account: str, client_id: str, scope: str, microsoft: bool) -> str:
        return self.provider.give_refresh(Consent(account, client_id, scope, microsoft))

    def order_requests(self) -> list[dict[str, object]]:
        return [asdict(entry) for entry in self.provider.recorded]

    def order_reset(self) -> None:
        self.provider.reset()


def _refusal(name: str) -> web.Response:
    refusal = REFUSALS.get(name)
    if refusal is None:  # a word of RFC 8628 section 3.5, or Microsoft's for a person who said no
        return web.json_response({"error": name}, status=400)
    return web.Response(status=refusal.status, body=refusal.body().encode(), content_type="application/json")


def _back(query: Form, **told: str) -> web.Response:
    state = {"state": query["state"]} if "state" in query else {}
    return web.Response(status=303, headers={"Location": f"{query['redirect_uri']}?{urlencode({**told, **state})}"})
