"""``/v1/clients/{id}/connect``, and the two pages that the owner of a mailbox sees: ``/connect/…`` and ``/oauth/callback``."""

from __future__ import annotations

import re
from html import escape
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import Field

from postroom.app.operations import connecting as operation
from postroom.app.operations.clients import find
from postroom.app.operations.shown import moment
from postroom.app.rest.clients import ClientId
from postroom.app.rest.operation import Answer, CoreHere, KeyHere, routes
from postroom.errors import ConfigError, ConsentFailed, PostroomError, StoreError
from postroom.net.refusals import named

router = routes("Clients")
pages = APIRouter(include_in_schema=False)

_COOKIE = "postroom-connect"
_NONCE = re.compile(r"[A-Za-z0-9_-]{32}")
_SECURITY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'"


class Invitation(Answer):
    """An address to hand to the mailbox's owner."""

    address: str = Field(description="It is shown once; whoever opens it can connect the client.")
    expires: str = Field(description="When it ends (RFC 3339); one consent ends it too.")


@router.post("/clients/{id}/connect", status_code=201)
async def connect_client(request: Request, core: CoreHere, key: KeyHere, client_id: ClientId) -> Invitation:
    """Make an address to hand to the mailbox's owner: it leads to the authority's page, and the consent is kept."""
    operation.base_of(core.live.configuration.web, urlsplit(request.app.state.address).port)
    address, ends = await operation.connect_client(core, find(core.live, client_id), request.app.state.address, key.name)
    return Invitation(address=address, expires=moment(ends))


@router.delete("/clients/{id}/connect", status_code=204, response_class=Response)
async def revoke_connect(core: CoreHere, client_id: ClientId) -> None:
    """Take back the addresses that were handed out for a client and not used."""
    await operation.revoke_connect(core, find(core.live, client_id))


@pages.get("/connect/{token}")
async def connect_owner(request: Request, token: str) -> Response:
    """Lead the owner to the authority's page."""
    known = request.cookies.get(_COOKIE, "")
    try:
        begun = await request.app.state.connecting.begin(token, known if _NONCE.fullmatch(known) else "")
    except PostroomError as error:
        return _failed(error)
    base = urlsplit(request.app.state.address)
    answer = RedirectResponse(begun.address, 303)
    answer.set_cookie(
        _COOKIE,
        begun.nonce,
        max_age=600,
        path=f"{base.path}{operation.CALLBACK.rpartition('/')[0]}",
        secure=base.scheme == "https",
        httponly=True,
        samesite="lax",  # the authority's page leads back by a link
    )
    return answer


@pages.get("/oauth/callback")
async def consent_callback(request: Request) -> Response:
    """The owner comes back from the authority."""
    try:
        done = await request.app.state.connecting.come_back(request.url.query, request.cookies.get(_COOKIE, ""))
    except PostroomError as error:
        return _failed(error)
    whose = f"{done.account} is connected" if done.account else "The mailbox is connected"
    if done.finding.ok:
        return _page(200, "Thank you", f"{whose}. You can close this page.")
    return _page(200, "Almost there", f"{whose}, but it does not open yet: {done.finding.words}. {done.finding.remedy}")


def _failed(error: PostroomError) -> HTMLResponse:
    if isinstance(error, StoreError):
        return _page(503, "Not now", "Postroom cannot keep your consent at the moment. Try again in a minute.")
    words = error.detail if isinstance(error, ConfigError | ConsentFailed) else str(error)
    return _page(400, "Not connected", f"{words[:1].upper()}{words[1:]}. {named(error.remedy, 'CLIENT')}")


def _page(status: int, title: str, words: str) -> HTMLResponse:
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Postroom</title><style>'
        "body{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:30rem;padding:0 1rem;color-scheme:light dark}"
        f"</style></head><body><h1>{escape(title)}</h1><p>{escape(words)}</p></body></html>"
    )
    return HTMLResponse(text, status, headers={"Content-Security-Policy": _SECURITY})
