"""The browser that comes back to this machine, over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from postroom.errors import ConsentFailed
from postroom.net.consent import Loopback, loopback

STATE = "expected-state"


async def asked(listening: Loopback, octets: bytes) -> bytes:
    """What somebody gets who sends this, up to the end of the connection."""
    port = int(listening.redirect_uri.rpartition(":")[2].strip("/"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(octets)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def browse(listening: Loopback, target: str) -> str:
    """A browser's request; the status line and the page."""
    head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n"
    octets = await asked(listening, head.encode())
    top, _, body = octets.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in top.split(b"\r\n")[1:])
    assert int(fields[b"content-length"]) == len(body)
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"referrer-policy"] == b"no-referrer"
    assert b"default-src 'none'" in fields[b"content-security-policy"]
    return octets.decode()


@pytest.fixture
async def listening() -> AsyncIterator[Loopback]:
    async with loopback() as waiting:
        waiting.expects = STATE
        yield waiting


def waits(listening: Loopback) -> bool:
    return not listening._come.done()


async def test_a_browser_comes_back(listening: Loopback) -> None:
    assert listening.redirect_uri.startswith("http://127.0.0.1:")
    coming = asyncio.ensure_future(listening.answer())
    page = await browse(listening, f"/?code=4%2Fc&state={STATE}&iss=https%3A%2F%2Fa")
    assert page.startswith("HTTP/1.1 200 OK\r\n")
    assert "Thank you" in page
    assert "4%2Fc" not in page
    assert "4/c" not in page
    assert await asyncio.wait_for(coming, 10) == f"?code=4%2Fc&state={STATE}&iss=https%3A%2F%2Fa"


async def test_a_browser_comes_back_without_consent(listening: Loopback) -> None:
    page = await browse(listening, f"/?error=access_denied&state={STATE}")
    assert page.startswith("HTTP/1.1 200 OK\r\n")
    assert "No consent" in page
    assert await listening.answer() == f"?error=access_denied&state={STATE}"


@pytest.mark.parametrize(
    "query",
    [
        "code=x&state=other",
        "code=x&state=",
        "code=x",
        f"code=x&state={STATE}x",
        f"code=x&xstate={STATE}",
        f"code=x&state={STATE[:-1]}",
        "code=<script>alert(1)</script>&state=<script>",
    ],
)
async def test_what_belongs_to_another_consent_is_refused_and_the_wait_goes_on(listening: Loopback, query: str) -> None:
    page = await browse(listening, f"/?{query}")
    assert page.startswith("HTTP/1.1 400 Bad Request\r\n")
    assert "<script" not in page
    assert waits(listening)
    await browse(listening, f"/?code=right&state={STATE}")
    assert await listening.answer() == f"?code=right&state={STATE}"


@pytest.mark.parametrize("target", ["/favicon.ico", "/", "/?", f"/other?code=x&state={STATE}", "/%2e%2e/etc/passwd", "*", ""])
async def test_nothing_else_is_here(listening: Loopback, target: str) -> None:
    assert (await browse(listening, target)).startswith("HTTP/1.1 404 Not Found\r\n")
    assert waits(listening)


async def test_the_first_answer_counts(listening: Loopback) -> None:
    await browse(listening, f"/?code=first&state={STATE}")
    assert (await browse(listening, f"/?code=second&state={STATE}")).startswith("HTTP/1.1 400 ")
    assert await listening.answer() == f"?code=first&state={STATE}"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET \r\n\r\n",
        b"GET /?code=x&state=expected-state",
        f"POST /?code=x&state={STATE} HTTP/1.1\r\nContent-Length: 0\r\n\r\n".encode(),
        f"get /?code=x&state={STATE} HTTP/1.1\r\n\r\n".encode(),
        b"GET /?code=\xff\xfe HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500 + b"\r\n\r\n",
        b"GET /?" + b"x" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    ],
    ids=lambda octets: repr(octets[:24]),
)
async def test_whatever_comes_in_does_not_end_the_wait(listening: Loopback, octets: bytes) -> None:
    assert b" 200 " not in await asked(listening, octets)
    assert waits(listening)
    await browse(listening, f"/?code=right&state={STATE}")
    assert await listening.answer() == f"?code=right&state={STATE}"


async def test_whoever_says_nothing_keeps_no_one_from_leaving() -> None:
    """Browsers open connections ahead of need."""
    async with asyncio.timeout(10), loopback() as listening:
        port = int(listening.redirect_uri.rpartition(":")[2].strip("/"))
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        listening.expects = STATE
        await browse(listening, f"/?code=right&state={STATE}")
    writer.close()


async def test_a_wait_that_is_given_up_can_begin_again(listening: Loopback) -> None:
    coming = asyncio.ensure_future(listening.answer())
    await asyncio.sleep(0)
    coming.cancel()
    await browse(listening, f"/?code=right&state={STATE}")
    assert await listening.answer() == f"?code=right&state={STATE}"


async def test_a_port_that_is_taken_says_so(listening: Loopback) -> None:
    port = int(listening.redirect_uri.rpartition(":")[2].strip("/"))
    with pytest.raises(ConsentFailed, match=f"port {port} on 127.0.0.1") as caught:
        async with loopback(port):
            pass
    assert "--manual" in caught.value.remedy


async def test_a_port_can_be_chosen_and_is_free_afterwards(listening: Loopback) -> None:
    async with loopback() as other:
        uri = other.redirect_uri
    async with loopback(int(uri.rpartition(":")[2].strip("/"))) as again:
        assert again.redirect_uri == uri


async def test_nobody_beyond_this_machine_is_listened_to(listening: Loopback) -> None:
    (socket,) = listening._server.sockets
    assert socket.getsockname()[0] == "127.0.0.1"
