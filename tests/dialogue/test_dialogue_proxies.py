"""What is said to a proxy, octet for octet, and what each of its answers means."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from postroom.errors import Fate, PostroomError, ProxyError, ProxyRefused, TimedOut
from postroom.net.http import Http
from postroom.net.stream import Dialer
from postroom.secret import Secret
from postroom.settings import ProxySettings, ProxyType
from postroom.wire.imap.fragments import Fragments

GREETING = b"* OK at your service\r\n"
OPEN = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x50"
NAMED = b"\x05\x00\x00\x03\x01a\x00\x50"
SIXTEEN = b"\x05\x00\x00\x04" + bytes(18)
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"
PASSWORD = "pässwörd of the proxy"


@dataclass
class Scripted:
    """A proxy that answers one thing after the other, each as soon as something was said."""

    answers: Sequence[bytes]
    port: int = 0
    heard: list[bytes] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # the client let go

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in self.answers:
            self.heard.append(await reader.read(65536))
            for piece in answer.split(b"|"):  # a bar parts two segments
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
        if self.answers and not self.answers[-1]:
            writer.close()
        with contextlib.suppress(ConnectionResetError):  # what we said was not read to its end
            while await reader.read(65536):
                pass
        self.gone.set()
        writer.close()

    def settings(self, kind: ProxyType, user: str | None = None) -> ProxySettings:
        password = Secret(PASSWORD) if user else None
        return ProxySettings(use_proxy=True, type=kind, host="127.0.0.1", port=self.port, user=user, password=password)


@asynccontextmanager
async def proxy(*answers: bytes) -> AsyncIterator[Scripted]:
    scripted = Scripted(answers)
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    scripted.port = server.sockets[0].getsockname()[1]
    async with server:
        yield scripted


async def greeted(via: ProxySettings, host: str = "mail.example.com") -> list[bytes]:
    """Connect through a proxy and hear the server's greeting."""
    fragments = Fragments()
    stream = await Dialer().connect(host, 143, fragments, tls=False, ca_file=None, timeout=5, via=via)
    try:
        while (found := fragments.next()) is None:
            await stream.more(5)
        assert isinstance(found, list)
        return found
    finally:
        stream.abort()


async def refused(kind: ProxyType, *answers: bytes, user: str | None = None) -> ProxyError:
    async with proxy(*answers) as scripted:
        with pytest.raises(ProxyError) as caught:
            await greeted(scripted.settings(kind, user))
        await asyncio.wait_for(scripted.gone.wait(), 5)  # nothing stays open
        words = str(caught.value)
        assert f"{kind.value} proxy 127.0.0.1:{scripted.port}" in words
        assert "mail.example.com:143" in words
        for secret in (PASSWORD, base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()):
            assert secret not in repr(caught.value) + words + caught.value.remedy
        assert caught.value.remedy.endswith(".")
        return caught.value


# --- SOCKS


@pytest.mark.parametrize("opened", [OPEN, NAMED, SIXTEEN])
async def test_socks_without_a_login(opened: bytes) -> None:
    """The greeting that comes in the same segment as the proxy's last word is not lost."""
    async with proxy(b"\x05\x00", opened + GREETING) as scripted:
        assert await greeted(scripted.settings(ProxyType.SOCKS)) == [GREETING.rstrip()]
    assert scripted.heard == [b"\x05\x01\x00", b"\x05\x01\x00\x03\x10mail.example.com\x00\x8f"]


async def test_socks_with_a_login() -> None:
    async with proxy(b"\x05|\x02", b"\x01|\x00", b"\x05\x00\x00|\x01\x7f\x00\x00\x01|\x00\x50" + GREETING) as scripted:
        assert await greeted(scripted.settings(ProxyType.SOCKS, "jörg"))
    name, word = "jörg".encode(), PASSWORD.encode()
    assert scripted.heard[:2] == [b"\x05\x02\x00\x02", b"\x01" + bytes([len(name)]) + name + bytes([len(word)]) + word]


async def test_socks_where_the_offered_login_is_not_asked_for() -> None:
    async with proxy(b"\x05\x00", OPEN + GREETING) as scripted:
        assert await greeted(scripted.settings(ProxyType.SOCKS, "u"))
    assert len(scripted.heard) == 2


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("192.0.2.7", b"\x01\xc0\x00\x02\x07"),
        ("2001:db8::1", b"\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
        ("bücher.example", b"\x03\x15xn--bcher-kva.example"),
    ],
)
async def test_socks_writes_addresses_and_names_as_what_they_are(host: str, written: bytes) -> None:
    async with proxy(b"\x05\x00", OPEN + GREETING) as scripted:
        await greeted(scripted.settings(ProxyType.SOCKS), host)
    assert scripted.heard[1] == b"\x05\x01\x00" + written + b"\x00\x8f"


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (1, "general failure"),
        (2, "its rules do not allow"),
        (3, "network"),
        (4, "cannot reach the server"),
        (5, "refused its"),
        (6, "time to live"),
        (7, "command"),
        (8, "sort of address"),
        (99, "reply 99"),
    ],
)
async def test_socks_opens_no_way(reply: int, words: str) -> None:
    error = await refused(ProxyType.SOCKS, b"\x05\x00", bytes([5, reply, 0, 1]) + bytes(6))
    assert words in str(error)
    assert error.fate is Fate.RETRY


@pytest.mark.parametrize(("user", "answers", "words"), [
    (None, [b"\x05\xff"], "wants a login"),
    ("u", [b"\x05\xff"], "accepts neither"),
    ("u", [b"\x05\x02", b"\x01\x01"], "does not accept user and password"),
])  # fmt: skip
async def test_socks_does_not_accept_who_asks(user: str | None, answers: list[bytes], words: str) -> None:
    error = await refused(ProxyType.SOCKS, *answers, user=user)
    assert isinstance(error, ProxyRefused)
    assert error.fate is Fate.REAUTHORIZE
    assert words in str(error)
    assert "user and password in the section proxy" in error.remedy


@pytest.mark.parametrize(
    "answers", [[b"HTTP/1.0 400 Bad"], [b"\x05\x01"], [b"\x05\x02"], [b"\x05\x00", b"\x05\x00\x00\x09"], [b""], [b"\x05\x00", b""]]
)
async def test_what_is_no_socks_proxy(answers: list[bytes]) -> None:
    assert not isinstance(await refused(ProxyType.SOCKS, *answers), ProxyRefused)


# --- HTTP


@pytest.mark.parametrize(
    "head",
    [
        TUNNEL,
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204\r\n\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 20|0 OK\r|\nA: b\r\n\r|\n",
    ],
)
async def test_connect_without_a_login(head: bytes) -> None:
    async with proxy(head + GREETING) as scripted:
        assert await greeted(scripted.settings(ProxyType.HTTP)) == [GREETING.rstrip()]
    assert scripted.heard == [b"CONNECT mail.example.com:143 HTTP/1.1\r\nHost: mail.example.com:143\r\n\r\n"]


async def test_connect_with_a_login() -> None:
    async with proxy(TUNNEL + GREETING) as scripted:
        await greeted(scripted.settings(ProxyType.HTTP, "u"), "2001:db8::1")
    pair = base64.b64encode(f"u:{PASSWORD}".encode())
    assert scripted.heard == [
        b"CONNECT [2001:db8::1]:143 HTTP/1.1\r\nHost: [2001:db8::1]:143\r\nProxy-Authorization: Basic " + pair + b"\r\n\r\n"
    ]


@pytest.mark.parametrize(("user", "words"), [(None, "wants a login"), ("u", "does not accept user and password")])
async def test_connect_does_not_accept_who_asks(user: str | None, words: str) -> None:
    answer = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\nproxy-authenticate: Negotiate\r\n\r\n"
    error = await refused(ProxyType.HTTP, answer, user=user)
    assert isinstance(error, ProxyRefused)
    assert words in str(error)
    assert "407 Proxy Authentication Required (it takes NTLM, Negotiate; Basic is what is given)" in str(error)


@pytest.mark.parametrize(
    ("status", "remedy"), [("403 Filtered", "own rules"), ("502 Bad Gateway", "finds that name"), ("504", "finds that name")]
)
async def test_connect_opens_no_way(status: str, remedy: str) -> None:
    error = await refused(ProxyType.HTTP, f"HTTP/1.1 {status}\r\n\r\n<html>".encode())
    assert status in str(error)
    assert remedy in error.remedy


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n\r\n", b"\x05\xff", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 4000])
async def test_what_is_no_http_proxy(answer: bytes) -> None:
    answers = [answer, b""] if answer == b"\x05\xff" else [answer]
    if answer == b"\x05\xff":
        async with proxy(answer) as scripted:
            with pytest.raises(TimedOut, match="through the HTTP proxy"):
                await Dialer().reach("mail.example.com", 143, 0.05, scripted.settings(ProxyType.HTTP))
            await asyncio.wait_for(scripted.gone.wait(), 5)
        return
    await refused(ProxyType.HTTP, *answers)


# --- both


@pytest.mark.parametrize("kind", list(ProxyType))
async def test_a_proxy_that_never_answers(kind: ProxyType) -> None:
    async with proxy(b"|") as scripted:
        with pytest.raises(TimedOut, match=rf"mail.example.com:143 \(through the {kind.value} proxy 127.0.0.1:"):
            await Dialer().connect(
                "mail.example.com", 143, Fragments(), tls=False, ca_file=None, timeout=0.05, via=scripted.settings(kind)
            )
        await asyncio.wait_for(scripted.gone.wait(), 5)


async def test_a_proxy_whose_name_nobody_knows() -> None:
    via = ProxySettings(use_proxy=True, host="proxy.invalid")
    with pytest.raises(ProxyError, match=r"SOCKS proxy proxy.invalid:1080") as caught:
        await Dialer().reach("mail.example.com", 143, 5, via)
    assert "host, port and type" in caught.value.remedy


async def test_a_request_of_the_web_goes_through_it() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    async with proxy(b"\x05\x00", OPEN, answer, answer) as scripted:
        http = Http(Dialer(), via=scripted.settings(ProxyType.SOCKS))
        try:
            for _ in range(2):  # over one connection
                found = await http.post_form("http://tokens.example.com/token", {"a": "b"}, ca_file=None, timeout=5)
                assert (found.status, found.body) == (200, b"{}")
        finally:
            await http.close()
    assert scripted.heard[1] == b"\x05\x01\x00\x03\x12tokens.example.com\x00\x50"
    assert [octets.split(b"\r\n")[0] for octets in scripted.heard[2:]] == [b"POST /token HTTP/1.1"] * 2


async def test_a_request_of_the_web_that_it_refuses() -> None:
    async with proxy(b"HTTP/1.1 407 No\r\n\r\n") as scripted:
        http = Http(Dialer())
        try:
            with pytest.raises(ProxyRefused, match=r"on the way to tokens.example.com:443, wants a login"):
                await http.get("https://tokens.example.com/", ca_file=None, timeout=5, via=scripted.settings(ProxyType.HTTP))
        finally:
            await http.close()


async def test_this_machine_is_reached_without_it() -> None:
    async with proxy(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as server:
        via = ProxySettings(use_proxy=True, host="proxy.invalid")
        http = Http(Dialer())
        try:
            found = await http.get(f"http://127.0.0.1:{server.port}/", ca_file=None, timeout=5, via=via)
            assert found.status == 200
            with pytest.raises(PostroomError, match=r"proxy\.invalid"):
                await http.get("http://192.0.2.1/", ca_file=None, timeout=5, via=via)
        finally:
            await http.close()
