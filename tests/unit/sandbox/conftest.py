"""A running sandbox for each test, whose clock the test moves."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import imaplib
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest

from postroom.clock import SystemClock
from postroom.sandbox import Sandbox

T = TypeVar("T")


class MovedClock(SystemClock):
    """The machine's clock and an offset."""

    offset = 0.0

    def now(self) -> float:
        return super().now() + self.offset


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def sandbox(tmp_path: Path, clock: MovedClock) -> AsyncIterator[Sandbox]:
    async with Sandbox(tmp_path / "sandbox", clock=clock) as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class Application:
    """An application's side of OAuth 2.0, as plain HTTP."""

    REDIRECT = "http://127.0.0.1:7/callback"

    def __init__(self, sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
        self.sandbox = sandbox
        self.http = http
        basic = aiohttp.encode_basic_auth(sandbox.client_id, sandbox.client_secret)
        self.headers = {"Authorization": basic}
        self.verifier = secrets.token_urlsafe(48)

    async def post(self, endpoint: str, **fields: str) -> tuple[int, dict[str, Any]]:
        url = f"{self.sandbox.authority_url}/{endpoint}"
        async with self.http.post(url, data=fields, headers=self.headers) as response:
            return response.status, await response.json()

    async def refresh(self, refresh_token: str, **more: str) -> tuple[int, dict[str, Any]]:
        return await self.post("token", grant_type="refresh_token", refresh_token=refresh_token, **more)

    async def redeem(self, code: str, **more: str) -> tuple[int, dict[str, Any]]:
        fields = {"redirect_uri": self.REDIRECT, "code_verifier": self.verifier} | more
        return await self.post("token", grant_type="authorization_code", code=code, **fields)

    def authorization(self, **more: str) -> dict[str, str]:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return {
            "response_type": "code",
            "client_id": self.sandbox.client_id,
            "redirect_uri": self.REDIRECT,
            "scope": "https://mail.google.com/",
            "state": "a state & more",
            "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
            "code_challenge_method": "S256",
        } | more

    async def answer(self, fields: dict[str, str]) -> tuple[int, str, str]:
        """Post the consent form; return status, Location and page."""
        url = f"{self.sandbox.authority_url}/authorize"
        async with self.http.post(url, data=fields, allow_redirects=False) as response:
            return response.status, response.headers.get("Location", ""), await response.text()


@pytest.fixture
def application(sandbox: Sandbox, http: aiohttp.ClientSession) -> Application:
    return Application(sandbox, http)


class Mail:
    """The standard library's IMAP client against the sandbox, in a thread."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.challenges: list[bytes] = []

    async def run(self, work: Callable[[imaplib.IMAP4], T]) -> T:
        return await asyncio.to_thread(self._run, work)

    def _run(self, work: Callable[[imaplib.IMAP4], T]) -> T:
        context = ssl.create_default_context(cafile=str(self.sandbox.ca_file))
        with imaplib.IMAP4_SSL("localhost", self.sandbox.imaps_port, ssl_context=context, timeout=10) as client:
            return work(client)

    def xoauth2(self, client: imaplib.IMAP4, user: str, token: str) -> None:
        self._authenticate(client, "XOAUTH2", f"user={user}\x01auth=Bearer {token}\x01\x01", "")

    def oauthbearer(self, client: imaplib.IMAP4, user: str, token: str) -> None:
        gs2 = f"n,a={user}," if user else "n,,"
        message = f"{gs2}\x01host=localhost\x01port=993\x01auth=Bearer {token}\x01\x01"
        self._authenticate(client, "OAUTHBEARER", message, "\x01")

    def _authenticate(self, client: imaplib.IMAP4, mechanism: str, *answers: str) -> None:
        self.challenges = []

        def answer(challenge: bytes) -> bytes:
            self.challenges.append(challenge)
            return answers[len(self.challenges) - 1].encode()

        client.authenticate(mechanism, answer)


@pytest.fixture
def mail(sandbox: Sandbox) -> Mail:
    return Mail(sandbox)
