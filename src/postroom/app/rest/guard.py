"""What stands before the routes: who asks, how often, and one event for each request. Neither body nor key is ever told of."""

from __future__ import annotations

import asyncio
import math
import re
import secrets
import traceback
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from postroom import events
from postroom.app.core import Core
from postroom.app.observing import Log
from postroom.app.operations.keys import digest_of
from postroom.app.rest.problems import Problem, of_error, response
from postroom.clock import Clock
from postroom.errors import PostroomError
from postroom.store.apikeys import ApiKey

_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_FAILURES = 10  # refused keys of one address within a minute
_ADDRESSES = 10_000  # of which failures are remembered
_USED = 600.0  # seconds between two notes of a key's use
_SEND = 60.0  # seconds that a reader may keep a piece of an answer waiting
_NO_STORE = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


@dataclass
class Bucket:
    """So many at once, and so many a second on the average."""

    most: float
    per_second: float
    left: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.left = self.most

    def take(self, now: float) -> float:
        """Take one; seconds to wait where there is none."""
        self.left = min(self.most, self.left + (now - self.at) * self.per_second)
        self.at = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) / self.per_second


class Rates:
    """How often keys, and addresses without a good one, may ask. Kept in memory: a restart forgives."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, Bucket] = {}
        self._failures: OrderedDict[str, Bucket] = OrderedDict()

    def of_key(self, key: ApiKey) -> tuple[float, list[tuple[bytes, bytes]]]:
        """Count a request: seconds to wait, 0 for none, and the headers that tell how it stands."""
        if not key.per_minute:
            return 0.0, []
        bucket = self._keys.get(key.id)
        if bucket is None:
            bucket = self._keys[key.id] = Bucket(max(key.per_minute / 10, 1.0), key.per_minute / 60, self._clock.monotonic())
        seconds = bucket.take(self._clock.monotonic())
        window = round(bucket.most / bucket.per_second)
        # draft-ietf-httpapi-ratelimit-headers: the quota and its window, what is left of it and when it is whole again
        policy = f'"key";q={int(bucket.most)};w={window}'
        stands = f'"key";r={int(bucket.left)};t={round((bucket.most - bucket.left) / bucket.per_second)}'
        return seconds, [(b"ratelimit-policy", policy.encode()), (b"ratelimit", stands.encode())]

    def of_failure(self, address: str) -> float:
        """Count a refused key: seconds to wait, 0 for none."""
        now = self._clock.monotonic()
        bucket = self._failures.setdefault(address, Bucket(_FAILURES, _FAILURES / 60, now))
        self._failures.move_to_end(address)
        if len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)
        return bucket.take(now)


class Guard:
    """The whole application: the routes behind what every request goes through."""

    def __init__(self, api: ASGIApp, core: Core, log: Log) -> None:
        self._api = api
        self._core = core
        self._log = log
        self._rates = Rates(core.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        began, status, more = self._core.clock.monotonic(), 0, list(_NO_STORE)
        state = scope.setdefault("state", {})
        state["request_id"] = _request_id(scope["headers"])
        more.append((b"x-request-id", state["request_id"].encode()))

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                named = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in more if each[0] not in named)]
            async with asyncio.timeout(_SEND):
                await send(message)

        try:
            refusal = await self._admitted(scope, more)
            if refusal is None:
                await self._api(scope, receive, sending)
            else:
                await response(state["request_id"], refusal)(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - one request's defect must not end the service
            self._unforeseen(scope, error)
            if not status:
                await response(state["request_id"], Problem(500, ""))(scope, receive, sending)
        finally:
            self._told(scope, status, self._core.clock.monotonic() - began)

    async def _admitted(self, scope: Scope, more: list[tuple[bytes, bytes]]) -> Problem | None:
        """Know who asks, where the path wants a key; why not."""
        if scope["path"] != "/v1" and not scope["path"].startswith("/v1/"):
            return None
        try:
            key = await self._key(scope["headers"])
        except Problem as refusal:
            seconds = self._rates.of_failure(_address(scope))
            return _wait(seconds, "Too many requests with keys that are not good came from this address.") if seconds else refusal
        except PostroomError as error:
            return of_error(error)
        scope["state"]["key"] = key
        seconds, headers = self._rates.of_key(key)
        more += headers
        return _wait(seconds, f"The key {key.name} may ask {key.per_minute} times a minute.") if seconds else None

    async def _key(self, headers: Iterable[tuple[bytes, bytes]]) -> ApiKey:
        """The key of a request (RFC 6750 section 2.1). Raises ``Problem``."""
        given = next((value for name, value in headers if name == b"authorization"), None)
        if given is None:
            raise _refused("The request has no key.", "")
        scheme, _, text = given.decode("latin-1").partition(" ")
        digest = digest_of(text.strip()) if scheme.lower() == "bearer" else None
        if digest is None:
            raise _refused("What stands in Authorization is not a key of Postroom.")
        key = await self._core.store.api_keys.find(digest)
        if key is None:
            raise _refused("The key is not known here, or it was revoked.")
        if key.used_at is None or self._core.clock.now() - key.used_at > _USED:
            await self._core.store.api_keys.used(key)
        return key

    def _unforeseen(self, scope: Scope, error: Exception) -> None:
        # The places alone, as in supervise: a trace with values could show what passed through.
        places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
        where = f"api {_operation(scope)} {scope['state']['request_id']}"
        self._log.event(events.UNFORESEEN, where=where, error=type(error).__name__, trace=" < ".join(reversed(places)))

    def _told(self, scope: Scope, status: int, seconds: float) -> None:
        operation, address = _operation(scope), _address(scope)
        self._log.count(events.API_REQUESTS, operation=operation or "none", status=str(status))
        if operation in ("health", "ready", "metrics"):
            self._log.event(events.PROBED, operation=operation, status=status, address=address)
            return
        key = scope["state"].get("key")
        self._log.event(
            events.REQUEST,
            id=scope["state"]["request_id"],
            operation=operation,
            method=scope["method"],
            status=status,
            seconds=round(seconds, 4),
            key=key.name if key is not None else "",
            address=address,
        )


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's own, where it has a form that is safe to repeat."""
    given = next((value for name, value in headers if name == b"x-request-id"), b"")
    return given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _operation(scope: Scope) -> str:
    """The operation's name; empty for a path that leads nowhere."""
    route = scope.get("route")
    return str(getattr(route, "operation_id", None) or getattr(route, "name", ""))


def _refused(words: str, error: str = ', error="invalid_token"') -> Problem:
    remedy = "postroom keys create NAME --role ROLE makes a key; send it as Authorization: Bearer KEY."
    return Problem(401, f"{words} {remedy}", headers={"WWW-Authenticate": f'Bearer realm="postroom"{error}'})


def _wait(seconds: float, words: str) -> Problem:
    whole = max(math.ceil(seconds), 1)
    return Problem(429, words, headers={"Retry-After": str(whole)})
