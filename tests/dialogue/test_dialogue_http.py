"""Token endpoints and documents that answer as no real one does on demand."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from postroom.errors import ConnectError, Lost, PostroomError, RemoteProtocolError, TimedOut, TlsError
from postroom.net.http import Http, HttpAnswer
from postroom.net.stream import Dialer

FORM = {"refresh_token": "REFRESH-TOKEN", "client_secret": "SECRET", "scope": "a b&c=d"}


class Endpoint:
    """Answers every request with the same octets, and keeps what was asked."""

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer
        self.requests: list[bytes] = []
        self.port = 0
        self.scheme = "http"
        self.leaving = asyncio.Event()

    @property
    def url(self) -> str:
        return f"{self.scheme}://{'localhost' if self.scheme == 'https' else '127.0.0.1'}:{self.port}/token"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            self.requests.append(head + await reader.readexactly(length))
            if self._answer is None:
                await self.leaving.wait()
            else:
                writer.write(self._answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(answer: bytes | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Endpoint, Http]]:
    endpoint = Endpoint(answer)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0, ssl=tls)
    endpoint.port = server.sockets[0].getsockname()[1]
    endpoint.scheme = "http" if tls is None else "https"
    http = Http(Dialer())
    try:
        yield endpoint, http
    finally:
        endpoint.leaving.set()
        await http.close()
        server.close()


def answer(status: str, body: bytes = b"{}", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def asked(octets: bytes | None, *, timeout: float = 5.0) -> tuple[HttpAnswer, list[bytes]]:
    async with serving(octets) as (endpoint, http):
        return await http.post_form(endpoint.url, FORM, ca_file=None, timeout=timeout), endpoint.requests


async def failed(octets: bytes | None, *, timeout: float = 5.0) -> PostroomError:
    try:
        await asked(octets, timeout=timeout)
    except PostroomError as error:
        found = error
    else:
        pytest.fail("nothing was noticed")
    assert "TOKEN" not in repr(found) + str(found)
    assert found.remedy
    return found


async def test_a_form_is_posted() -> None:
    found, (request,) = await asked(answer("200 OK", b'{"a": 1}'))
    assert (found.status, found.body, found.retry_after) == (200, b'{"a": 1}', None)
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /token HTTP/1.1\r\n")
    assert b"content-type: application/x-www-form-urlencoded" in head.lower()
    assert body == b"refresh_token=REFRESH-TOKEN&client_secret=SECRET&scope=a+b%26c%3Dd"
    assert b"TOKEN" not in head


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("\u00c2\u00b2", None),
        ("soon", None),
    ],
)
async def test_retry_after_is_read(value: str, seconds: float | None) -> None:
    found, _ = await asked(answer("429 Too Many Requests", b"", f"Retry-After: {value}"))
    assert (found.status, found.retry_after) == (429, seconds)


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_secret_goes_to_the_named_place_only(status: str) -> None:
    async with serving(answer("200 OK")) as (elsewhere, _):
        found, requests = await asked(answer(status, b"", f"Location: {elsewhere.url}"))
        assert found.status == int(status[:3])
        assert len(requests) == 1
        assert elsewhere.requests == []


async def test_no_cookie_is_kept() -> None:
    async with serving(answer("200 OK", b"{}", "Set-Cookie: session=1; Path=/")) as (endpoint, http):
        for _ in range(2):
            await http.post_form(endpoint.url, FORM, ca_file=None, timeout=5)
        assert len(endpoint.requests) == 2
        assert b"session" not in endpoint.requests[1]


async def test_an_answer_without_end_is_refused() -> None:
    error = await failed(answer("200 OK", b"x" * 1_100_000))
    assert type(error) is RemoteProtocolError
    assert "more than 1048576 octets" in str(error)


async def test_silence() -> None:
    assert type(await failed(None, timeout=0.05)) is TimedOut


@pytest.mark.parametrize(
    "octets",
    [b"", b"* OK IMAP4 ready\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 two hundred\r\n\r\n"],
    ids=repr,
)
async def test_what_is_no_answer(octets: bytes) -> None:
    assert type(await failed(octets)) is Lost  # the request may have been carried out


async def test_nobody_listens() -> None:
    async with serving(b"") as (endpoint, _):
        url = endpoint.url
    http = Http(Dialer())
    try:
        with pytest.raises(ConnectError, match="Connect"):
            await http.post_form(url, FORM, ca_file=None, timeout=5)
    finally:
        await http.close()


@pytest.mark.parametrize("url", ["https://", "http://[", "nonsense", "ftp://a/b", "http://127.0.0.1:99999/x"])
async def test_an_address_that_is_none(url: str) -> None:
    http = Http(Dialer())
    try:
        with pytest.raises(PostroomError):
            await http.post_form(url, FORM, ca_file=None, timeout=5)
    finally:
        await http.close()


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    async with serving(answer("200 OK"), context) as (endpoint, http):
        for ca_file in (None, tmp_path / "other.pem"):
            with pytest.raises(TlsError):
                await http.post_form(endpoint.url, FORM, ca_file=ca_file, timeout=5)
        assert endpoint.requests == []
        assert (await http.post_form(endpoint.url, FORM, ca_file=tmp_path / "ca.pem", timeout=5)).status == 200
        with pytest.raises(TlsError, match="tls-ca-file"):
            await http.post_form(endpoint.url, FORM, ca_file=tmp_path / "missing.pem", timeout=5)


# --- documents --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def publishing(octets: bytes | None, tmp_path: Path) -> AsyncIterator[tuple[Endpoint, Http, Path]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    async with serving(octets, context) as (endpoint, http):
        yield endpoint, http, tmp_path / "ca.pem"


async def test_a_document_is_fetched(tmp_path: Path) -> None:
    async with publishing(answer("200 OK", b"<a/>"), tmp_path) as (endpoint, http, ca_file):
        found = await http.fetch(f"{endpoint.url}?a=b%2Bc", ca_file=ca_file, timeout=5)
        assert (found.status, found.body) == (200, b"<a/>")
        (request,) = endpoint.requests
        assert request.startswith(b"GET /token?a=b%2Bc HTTP/1.1\r\n")
        assert b"cookie" not in request.lower()


async def test_three_redirects_are_followed_and_no_more(tmp_path: Path) -> None:
    async with publishing(answer("307 Temporary Redirect", b"", "Location: ?again"), tmp_path) as (endpoint, http, ca_file):
        with pytest.raises(RemoteProtocolError, match="/token: more than 3 redirects"):
            await http.fetch(endpoint.url, ca_file=ca_file, timeout=5)
        assert len(endpoint.requests) == 4


async def test_a_redirect_may_be_changed(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    def refuse(base: str, there: str) -> str:
        told.append((base, there))
        raise RemoteProtocolError("not there")

    async with publishing(answer("302 Found", b"", "Location: /elsewhere?a=1"), tmp_path) as (endpoint, http, ca_file):
        with pytest.raises(RemoteProtocolError, match="not there"):
            await http.fetch(endpoint.url, ca_file=ca_file, timeout=5, redirected=refuse)
        assert told == [(endpoint.url, f"https://localhost:{endpoint.port}/elsewhere?a=1")]
        assert len(endpoint.requests) == 1


async def test_a_redirect_that_leads_nowhere_is_the_answer(tmp_path: Path) -> None:
    async with publishing(answer("302 Found"), tmp_path) as (endpoint, http, ca_file):
        assert (await http.fetch(endpoint.url, ca_file=ca_file, timeout=5)).status == 302


async def test_nothing_is_fetched_in_clear(tmp_path: Path) -> None:
    async with serving(answer("200 OK")) as (clear, plain):
        with pytest.raises(ConnectError, match="only https"):
            await plain.fetch(clear.url, ca_file=None, timeout=5)
        async with publishing(answer("301 Moved", b"", f"Location: {clear.url}"), tmp_path) as (endpoint, http, ca_file):
            with pytest.raises(ConnectError, match="only https"):
                await http.fetch(endpoint.url, ca_file=ca_file, timeout=5)
        assert clear.requests == []


async def test_a_document_without_end_and_one_that_never_comes(tmp_path: Path) -> None:
    async with publishing(answer("200 OK", b"x" * 2000), tmp_path) as (endpoint, http, ca_file):
        with pytest.raises(RemoteProtocolError, match="more than 1000 octets"):
            await http.fetch(endpoint.url, ca_file=ca_file, timeout=5, largest=1000)
    async with publishing(None, tmp_path) as (endpoint, http, ca_file):
        with pytest.raises(TimedOut) as caught:
            await http.fetch(f"{endpoint.url}?address=a@b.example", ca_file=ca_file, timeout=0.05)
        assert "a@b" not in repr(caught.value) + str(caught.value)
