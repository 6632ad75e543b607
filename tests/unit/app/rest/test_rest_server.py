"""The server beneath: what is slow, long or not HTTP, and TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path

import pytest
import trustme

from asking import PLAIN, Web, serving
from postroom.app.rest import server
from postroom.errors import ConnectError
from postroom.settings import Severity


async def talk(web: Web, octets: bytes) -> bytes:
    """Say something over a connection of its own; all that comes back until its end."""
    host, port = web.address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(octets)
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


async def test_what_is_not_http(web: Web) -> None:
    head, _, body = (await talk(web, b"EHLO me\r\n\r\n")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["type"] == "/problems/bad-request"


async def test_a_head_that_never_ends_is_long(web: Web) -> None:
    answer = await talk(web, b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 70_000)
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_a_head_that_comes_too_slowly(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_HEAD", 0.1)
    assert await talk(web, b"GET /health HTTP/1.1\r\nHost") == b""
    assert await talk(web, b"") == b""
    first = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    assert (await talk(web, first + b"GET /hea")).count(b"HTTP/1.1 200") == 1  # of a later request just so


async def test_too_many_connections(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_CONNECTIONS", 0)
    assert (await talk(web, b"")).startswith(b"HTTP/1.1 503 ")


async def test_a_port_that_is_taken(web: Web, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(ConnectError, match=r"The port is taken: web\.listen 127\.0\.0\.1:\d+$"):
        async with serving(tmp_path / "other", f"[web]\nlisten = {web.address.removeprefix('http://')}\n"):
            pass


# --- TLS


@pytest.fixture
def pem(tmp_path: Path) -> trustme.CA:
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    made.private_key_pem.write_to_path(tmp_path / "key.pem")
    for number, each in enumerate(made.cert_chain_pems):
        each.write_to_path(tmp_path / "cert.pem", append=number > 0)
    trustme.CA().issue_cert("localhost").private_key_pem.write_to_path(tmp_path / "other.pem")
    return authority


TLS = "[web]\nlisten = localhost:0\ntls-certificate = cert.pem\ntls-key = {}\n"


async def test_tls_certificate_and_tls_key(tmp_path: Path, pem: trustme.CA) -> None:
    context = ssl.create_default_context()
    pem.configure_trust(context)
    async with serving(tmp_path, TLS.format("key.pem")) as web:
        assert web.address.startswith("https://localhost:")
        told = await web.ask("GET", "/health", key="", ssl=context)
        assert told.json == {"status": "ok"}


async def test_a_key_of_another_certificate(tmp_path: Path, pem: trustme.CA) -> None:
    with pytest.raises(ConnectError, match=r"web\.tls-certificate"):
        async with serving(tmp_path, TLS.format("other.pem")):
            pass


async def test_public_url_begins_what_is_handed_out(tmp_path: Path) -> None:
    async with serving(tmp_path, PLAIN.replace("[log]", "public-url = https://mail.example.test/postroom/\n[log]")) as web:
        configured = web.core.live.configuration.web
        assert configured.address(1) == "https://mail.example.test/postroom"


async def test_the_network_without_tls_is_warned_of(tmp_path: Path) -> None:
    async with serving(tmp_path, "[web]\nlisten = 0.0.0.0:0\n") as web:
        (warning,) = web.core.live.configuration.faults
        assert (warning.severity, warning.option) == (Severity.WARNING, "listen")
        assert "there is no TLS" in str(warning)


@pytest.mark.parametrize("path", ["/health/", "/openapi.json/", "/v1/messages/", "/connect/x/"])
async def test_nobody_is_led_to_the_host_that_a_request_names(web: Web, path: str) -> None:
    told = await web.ask("GET", path, headers={"Host": "evil.example"})
    assert (told.status, told.headers.get("Location")) == (404, None)
