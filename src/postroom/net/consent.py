"""A person's consent: the authorization code grant with PKCE, and the device grant.

``begin`` makes the address to open and remembers what the answer must hold; ``Loopback`` waits for the browser on this machine
(RFC 8252 section 7.3), or a person pastes what the browser ended on; ``code_in`` judges it; ``exchange`` gets the tokens.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from postroom.clock import Clock
from postroom.errors import ConsentFailed, NetworkError, PostroomError, Throttled, TokenRefused, TokenUnavailable
from postroom.net import answers
from postroom.net.grants import Application
from postroom.net.http import Http
from postroom.net.refusals import Where, explain, heard_from_words
from postroom.secret import Secret
from postroom.settings import ProxySettings
from postroom.wire import oauth

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
"""The page shows the code to carry over. Google refuses it for published applications since 2023-01-31."""

_REQUEST = 30.0  # seconds for a request to the authority
_LONGEST_HEAD = 16384  # octets of what a browser asks
_SLOWER = 5.0  # seconds that slow_down adds for good (RFC 8628 section 3.5)
_WAITING = {"authorization_pending": 0.0, "slow_down": _SLOWER}


@dataclass(frozen=True, slots=True)
class Asked:
    """A consent that was asked for, and what its answer must hold."""

    address: str  # to be opened in a browser
    redirect_uri: str
    state: str
    verifier: Secret | None
    issuer: str | None  # the authority's own name, where it is known (RFC 9207)
    authority: str  # "google", "microsoft" or ""


@dataclass(frozen=True, slots=True)
class Place:
    """The authority as a consent needs it."""

    authorization_endpoint: str
    token_endpoint: str
    application: Application
    ca_file: Path | None = None
    issuer: str | None = None
    authority: str = ""
    parameters: Mapping[str, str] | None = None  # what the provider wants in the address
    via: ProxySettings | None = None  # the proxy, for hosts that it does not exclude


def begin(place: Place, redirect_uri: str, scope: str | None, login_hint: str, *, pkce: bool = True) -> Asked:
    """Make the address of the consent: with state (RFC 6749 section 10.12) and, unless told not to, S256 (RFC 7636)."""
    state = secrets.token_urlsafe(24)
    verifier = Secret(secrets.token_urlsafe(48)) if pkce else None
    parameters = {
        "client_id": place.application.client_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": scope or "",
        "state": state,
        "login_hint": login_hint,
        **(place.parameters or {}),
    }
    if verifier is not None:
        parameters.update(code_challenge=oauth.code_challenge(verifier), code_challenge_method="S256")
    written = {name: value for name, value in parameters.items() if value}
    address = oauth.authorization_address(place.authorization_endpoint, written)
    return Asked(address, redirect_uri, state, verifier, place.issuer, place.authority)


def code_in(asked: Asked, text: str) -> Secret:
    """The code in what the browser ended on, or what was pasted.

    Raises ``ConsentFailed`` for a refusal, for an answer to another request (its state differs) or of another authority (its
    issuer differs, RFC 9207 section 2.4), and for what is neither an address nor a code.
    """
    try:
        redirect = oauth.read_redirect(text)
    except ValueError as error:
        remedy = "Copy the whole address from the browser's address bar, or the code alone."
        raise ConsentFailed(str(error), remedy=remedy) from None
    if redirect.error:
        heard = replace(heard_from_words(Where.PAGE, asked.authority, redirect.description), error=redirect.error)
        rule = explain(heard)
        words = ": ".join(part for part in (redirect.error, redirect.description) if part)
        raise ConsentFailed(words[:600], remedy=f"{rule.means} {rule.remedy}" if rule else "", error=redirect.error)
    if not redirect.bare and not hmac.compare_digest(redirect.state.encode(), asked.state.encode()):
        remedy = "Begin again with the address that was printed last, and let no one else give you one."
        raise ConsentFailed("the answer belongs to another request: its state differs", remedy=remedy)
    if redirect.issuer and asked.issuer is not None and redirect.issuer != asked.issuer:
        remedy = "Check issuer in the authority- section; if it is right, somebody may be in between: begin again."
        raise ConsentFailed(f"the answer is from {redirect.issuer[:200]}, not from {asked.issuer}", remedy=remedy)
    if redirect.code is None:
        raise ConsentFailed("the address holds no code")
    return redirect.code


async def exchange(http: Http, place: Place, asked: Asked, code: Secret, now: float) -> oauth.TokenAnswer:
    """Change the code for tokens (RFC 6749 section 4.1.3).

    Raises ``ConsentFailed`` for a code that is not good any more, else what ``answers.token_of`` does.
    """
    form = {**oauth.code_form(code, asked.redirect_uri, asked.verifier), **place.application.proof(place.token_endpoint, now)}
    answer = await http.post_form(place.token_endpoint, form, ca_file=place.ca_file, timeout=_REQUEST, via=place.via)
    try:
        return answers.token_of(answer, form, place.authority)
    except TokenRefused as error:
        if error.error != "invalid_grant":
            raise
        raise ConsentFailed(error.detail, remedy=_OLD_CODE, error=error.error) from None


_OLD_CODE = (
    "The code is older than ten minutes, was used before, or belongs to another start of this command. Run postroom authorize "
    "CLIENT again and paste what the browser ends on at once."
)


# --- the browser on this machine


class Loopback:
    """Waits on 127.0.0.1 for the browser to come back (RFC 8252 section 7.3)."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        self._come: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.expects = ""  # the state; what comes without it is not for us

    @property
    def redirect_uri(self) -> str:
        """The address that the browser is to end on."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    async def answer(self) -> str:
        """The query that the browser came back with."""
        return await asyncio.shield(self._come)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of a browser."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(self._page(head.split(b" ", 2)[1].decode("ascii", "replace") if head.startswith(b"GET ") else ""))
            await writer.drain()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, IndexError):
            pass  # whoever asked so is no browser that comes back with a consent
        finally:
            writer.close()

    def _page(self, target: str) -> bytes:
        path, _, query = target.partition("?")
        if path != "/" or not query:
            return _page("404 Not Found", "Nothing is here", "This page is for the answer to a consent.")
        if f"state={self.expects}" not in query.split("&") or self._come.done():
            return _page("400 Bad Request", "Not expected", "This answer does not belong to the consent that Postroom waits for.")
        self._come.set_result(f"?{query}")
        if "error=" in query:
            return _page("200 OK", "No consent", "The authority did not give access. Postroom tells more in the terminal.")
        return _page("200 OK", "Thank you", "Postroom goes on in the terminal. You can close this page.")


@asynccontextmanager
async def loopback(port: int = 0) -> AsyncIterator[Loopback]:
    """Listen within the block. Raises ``ConsentFailed`` where the port is taken."""
    waiting: list[Loopback] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await waiting[0].serve(reader, writer)

    try:
        server = await asyncio.start_server(serve, "127.0.0.1", port, limit=_LONGEST_HEAD)
    except OSError as error:
        raise ConsentFailed(f"port {port} on 127.0.0.1: {error.strerror}", remedy="Take another --port, or --manual.") from None
    waiting.append(Loopback(server))
    async with server:
        yield waiting[0]


def _page(status: str, title: str, words: str) -> bytes:
    body = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Postroom</title><style>'
        "body{font:16px/1.5 system-ui,sans-serif;margin:15vh auto;max-width:30rem;padding:0 1rem;color-scheme:light dark}"
        f"</style></head><body><h1>{escape(title)}</h1><p>{escape(words)}</p></body></html>"
    ).encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {len(body)}\r\nCache-Control: no-store\r\n"
        "Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


# --- a device without a browser


async def begin_device(http: Http, endpoint: str, place: Place, scope: str | None) -> oauth.DeviceAuthorization:
    """Ask for a code to be entered elsewhere (RFC 8628 section 3.1). Raises what ``answers.token_of`` does."""
    form = {"client_id": place.application.client_id, **({"scope": scope} if scope else {})}
    answer = await http.post_form(endpoint, form, ca_file=place.ca_file, timeout=_REQUEST, via=place.via)
    found = oauth.read_device_authorization(answer.status, answer.body)
    if found is None:
        raise answers.refusal_of(answer, form, place.authority)
    return found


async def await_device(http: Http, place: Place, device: oauth.DeviceAuthorization, clock: Clock) -> oauth.TokenAnswer:
    """Ask until the person has consented (RFC 8628 section 3.4), through all trouble that passes. Raises ``ConsentFailed``."""
    interval, end = device.interval, clock.monotonic() + device.expires_in
    pause = interval
    trouble: PostroomError | None = None
    while clock.monotonic() < end:
        await clock.sleep(pause)
        try:
            return await _asked_once(http, place, device, clock.now())
        except TokenRefused as error:
            if error.error not in _WAITING:
                raise ConsentFailed(error.detail, remedy=error.remedy, error=error.error) from None
            interval += _WAITING[error.error]
            pause, trouble = interval, None
        except (Throttled, TokenUnavailable, NetworkError) as error:
            interval += _SLOWER  # where nothing answers it is asked less often too (RFC 8628 section 3.5)
            pause, trouble = max(interval, getattr(error, "retry_after", None) or 0.0), error
    if trouble is not None:
        raise ConsentFailed(f"no token came in time, at last because of this: {trouble}", remedy=trouble.remedy)
    raise ConsentFailed("the code was not entered in time", remedy="Begin again: a device code lasts some minutes only.")


async def _asked_once(http: Http, place: Place, device: oauth.DeviceAuthorization, now: float) -> oauth.TokenAnswer:
    """One look. Raises ``TokenRefused``, for the words that ask to wait too, and what ``answers.token_of`` does."""
    form = {**oauth.device_form(device.device_code), **place.application.proof(place.token_endpoint, now)}
    answer = await http.post_form(place.token_endpoint, form, ca_file=place.ca_file, timeout=_REQUEST, via=place.via)
    state = oauth.error_of(answer.body) if answer.status != 200 else ""
    if state in _WAITING:
        raise TokenRefused(state, error=state)
    return answers.token_of(answer, form, place.authority)
