"""Web requests as the OAuth client makes them. The library is loaded with the first request: it takes a quarter of a second."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from postroom.errors import ConnectError, Lost, RemoteProtocolError, TimedOut, TlsError
from postroom.net.stream import Dialer

if TYPE_CHECKING:
    import aiohttp

_LARGEST = 1024 * 1024  # octets of an answer


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status, body and the seconds that ``Retry-After`` names."""

    status: int
    body: bytes
    retry_after: float | None


class Http:
    """Makes requests; ``close`` at the end. Follows no redirect and keeps no cookie: a secret goes to the named place only."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._session: aiohttp.ClientSession | None = None

    async def post_form(self, url: str, form: Mapping[str, str], *, ca_file: Path | None, timeout: float) -> HttpAnswer:
        """POST a form.

        Raises ``ConnectError``, ``TlsError``, ``Lost``, ``TimedOut``, ``RemoteProtocolError``; no error holds the form.
        """
        return await self._request("POST", url, dict(form), ca_file, timeout)

    async def get(self, url: str, *, ca_file: Path | None, timeout: float) -> HttpAnswer:
        """GET. Raises what ``post_form`` does."""
        return await self._request("GET", url, None, ca_file, timeout)

    async def _request(
        self, method: str, url: str, form: dict[str, str] | None, ca_file: Path | None, timeout: float
    ) -> HttpAnswer:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        tls = self._dialer.context(ca_file) if url.startswith("https:") else False
        try:
            async with asyncio.timeout(timeout):
                headers = {"Accept": "application/json"}
                request = self._session.request(method, url, data=form, ssl=tls, allow_redirects=False, headers=headers)
                async with request as response:
                    body = await _limited(response)
                    return HttpAnswer(response.status, body, _retry_after(response.headers.get("Retry-After")))
        except aiohttp.ClientConnectorCertificateError as error:
            raise TlsError(f"{url}: {error.certificate_error}") from None
        except aiohttp.ClientConnectorError as error:
            raise ConnectError(f"{url}: {error.strerror or error.os_error}", remedy=_REMEDY) from None
        except TimeoutError:
            raise TimedOut(f"{url} within {timeout:g} s", remedy=_REMEDY) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(f"{url}: {type(error).__name__}", remedy=_REMEDY) from None

    async def close(self) -> None:
        """Let the connections go."""
        if self._session is not None:
            await self._session.close()
            self._session = None


_REMEDY = "Check the authority's address (tenant-authority, authority- section) and the way there. It is tried again by itself."


async def _limited(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    async for piece in response.content.iter_chunked(65536):
        body += piece
        if len(body) > _LARGEST:
            raise RemoteProtocolError(f"an answer of more than {_LARGEST} octets")
    return body


def _retry_after(value: str | None) -> float | None:
    """Retry-After in seconds (RFC 9110 section 10.2.3); a date counts as unknown."""
    return float(value) if value is not None and value.isascii() and value.isdigit() else None
