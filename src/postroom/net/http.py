"""Web requests. The library is loaded with the first request: it takes a quarter of a second."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from postroom.errors import ConnectError, Lost, RemoteProtocolError, TimedOut, TlsError
from postroom.net.proxied import open_through
from postroom.net.stream import Dialer, placed, translated
from postroom.settings import ProxySettings

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.tracing import Trace

_LARGEST = 1024 * 1024  # octets of an answer
_REDIRECTS = 3
_REDIRECTING = frozenset({301, 302, 303, 307, 308})  # RFC 9110 section 15.4


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status, body and the seconds that ``Retry-After`` names."""

    status: int
    body: bytes
    retry_after: float | None
    location: str | None = None  # where a redirect leads, as written


class Http:
    """Makes requests; ``close`` at the end. Keeps no cookie.

    Only ``fetch`` follows redirects: a secret goes to the named place only. ``names`` finds hosts in the place of the system.
    ``via`` is the proxy of a request that names none; a host that the proxy excludes is reached without it.
    """

    def __init__(self, dialer: Dialer, names: AbstractResolver | None = None, via: ProxySettings | None = None) -> None:
        self._dialer = dialer
        self._names = names
        self._via = via
        self._sessions: dict[ProxySettings | None, aiohttp.ClientSession] = {}

    async def post_form(
        self, url: str, form: Mapping[str, str], *, ca_file: Path | None, timeout: float, via: ProxySettings | None = None
    ) -> HttpAnswer:
        """POST a form.

        Raises ``ConnectError``, ``TlsError``, ``ProxyError``, ``Lost``, ``TimedOut``, ``RemoteProtocolError``; no error holds the
        form.
        """
        return await self._request("POST", url, dict(form), ca_file, timeout, via)

    async def get(self, url: str, *, ca_file: Path | None, timeout: float, via: ProxySettings | None = None) -> HttpAnswer:
        """GET, following no redirect. Raises what ``post_form`` does."""
        return await self._request("GET", url, None, ca_file, timeout, via)

    async def fetch(
        self,
        url: str,
        *,
        ca_file: Path | None,
        timeout: float,
        largest: int = _LARGEST,
        redirected: Callable[[str, str], str] = lambda _, there: there,
    ) -> HttpAnswer:
        """GET a public document over https, following three redirects at most, and none to http.

        ``redirected`` is told where a redirect comes from and leads to, and says what is asked for instead; it may raise.
        Raises what ``post_form`` does. No error holds what follows a question mark.
        """
        try:
            async with asyncio.timeout(timeout):
                for _ in range(_REDIRECTS + 1):
                    if urlsplit(url).scheme != "https":
                        raise ConnectError(f"{_place(url)}: only https is asked")
                    answer = await self._request("GET", url, None, ca_file, timeout, accept="*/*", largest=largest)
                    if answer.status not in _REDIRECTING or answer.location is None:
                        return answer
                    url = redirected(url, _joined(url, answer.location))
        except TimeoutError:
            raise TimedOut(f"{_place(url)} within {timeout:g} s") from None
        raise RemoteProtocolError(f"{_place(url)}: more than {_REDIRECTS} redirects")

    async def _request(
        self,
        method: str,
        url: str,
        form: dict[str, str] | None,
        ca_file: Path | None,
        timeout: float,
        via: ProxySettings | None = None,
        *,
        accept: str = "application/json",
        largest: int = _LARGEST,
    ) -> HttpAnswer:
        import aiohttp

        via = via or self._via
        session = self._session(via.for_host(urlsplit(url).hostname or "") if via is not None else None)
        place = _place(url)
        tls = self._dialer.context(ca_file) if url.startswith("https:") else False
        try:
            async with asyncio.timeout(timeout):
                headers = {"Accept": accept}
                request = session.request(method, url, data=form, ssl=tls, allow_redirects=False, headers=headers)
                async with request as response:
                    body = await _limited(response, place, largest)
                    retry_after = _retry_after(response.headers.get("Retry-After"))
                    return HttpAnswer(response.status, body, retry_after, response.headers.get("Location"))
        except aiohttp.ClientConnectorCertificateError as error:
            raise TlsError(f"{place}: {error.certificate_error}") from None
        except aiohttp.ClientConnectorError as error:
            raise ConnectError(f"{place}: {error.strerror or error.os_error}", remedy=_REMEDY) from None
        except TimeoutError:
            raise TimedOut(f"{place} within {timeout:g} s", remedy=_REMEDY) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(f"{place}: {type(error).__name__}", remedy=_REMEDY) from None

    def _session(self, via: ProxySettings | None) -> aiohttp.ClientSession:
        """The connections through one proxy, or through none."""
        import aiohttp

        if via not in self._sessions:
            connector = aiohttp.TCPConnector(resolver=self._names) if via is None else _connector(via)
            self._sessions[via] = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        return self._sessions[via]

    async def close(self) -> None:
        """Let the connections go."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()


def _connector(via: ProxySettings) -> aiohttp.BaseConnector:
    """Makes the library's connections through a proxy. The class is made here because the library is loaded late."""
    import aiohttp

    class Connector(aiohttp.BaseConnector):
        async def _create_connection(
            self, req: ClientRequest, _traces: list[Trace], _timeout: aiohttp.ClientTimeout
        ) -> ResponseHandler:
            host, port = req.url.raw_host or "", req.url.port or 0
            try:
                sock = await open_through(via, host, port)
                tls = req.ssl if isinstance(req.ssl, ssl.SSLContext) else None
                name = host if tls is not None else None
                _, protocol = await self._loop.create_connection(self._factory, sock=sock, ssl=tls, server_hostname=name)
            except OSError as error:
                raise translated(error, placed(host, port, via)) from error
            return protocol

    return Connector()


_REMEDY = "Check the authority's address (tenant-authority, authority- section) and the way there. It is tried again by itself."


def _place(url: str) -> str:
    """An address for messages: what follows the question mark is nobody's business."""
    return url.partition("?")[0]


def _joined(base: str, location: str) -> str:
    """Where a redirect leads (RFC 9110 section 10.2.2)."""
    try:
        return urljoin(base, location)
    except ValueError:
        raise RemoteProtocolError(f"{_place(base)}: the redirect leads to no address of the web") from None


async def _limited(response: aiohttp.ClientResponse, place: str, largest: int) -> bytes:
    body = b""
    async for piece in response.content.iter_chunked(65536):
        body += piece
        if len(body) > largest:
            raise RemoteProtocolError(f"{place}: an answer of more than {largest} octets")
    return body


def _retry_after(value: str | None) -> float | None:
    """Retry-After in seconds (RFC 9110 section 10.2.3); a date counts as unknown."""
    return float(value) if value is not None and value.isascii() and value.isdigit() else None
