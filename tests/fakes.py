"""Stand-ins for what lies beyond a seam: time, the log, mail servers, authorities.

``HandClock`` moves when it is told to. ``Recorder`` is an observer that is strict about fields. ``MemoryServer`` and
``MemoryReader`` are a mailbox without a network. ``MemoryKeeper`` and ``Authority`` are what tokens are kept in and come
from. ``ScriptedServer`` plays one side of an IMAP conversation over a real socket. The contract suites hold the fakes to
what the real ones do.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from postroom.clock import Clock
from postroom.drivers import First, Kit, Settlement
from postroom.drivers.provider import Place, Providers
from postroom.errors import ImapStatus, PostroomError
from postroom.events import Event, Metric
from postroom.model import (
    Absent,
    AccessToken,
    Changes,
    Consent,
    Disposition,
    Fetched,
    Grant,
    GrantKey,
    Listed,
    Preview,
    Refusal,
    TokenFields,
    Unfetched,
    Unsettled,
)
from postroom.net.http import Http, HttpAnswer
from postroom.net.stream import Dialer, Trace
from postroom.net.tokens import Tokens
from postroom.secret import Secret
from postroom.settings import FirstRead, MailboxType, PopClient, ProxySettings, Security

START = 1_700_000_000.0  # when every test begins


# --- time -------------------------------------------------------------------------------------------------------------


class HandClock:
    """Stands still until ``advance``. Who sleeps is woken by it, and told of by ``sleeper``."""

    def __init__(self, now: float = START) -> None:
        self._now = now
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []
        self._news = asyncio.Event()
        self.slept: list[float] = []  # every sleep that was asked for

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now - START

    def jitter(self, seconds: float, share: float = 0.1) -> float:
        return seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if seconds <= 0:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self._now + seconds, future)
        self._sleepers.append(entry)
        self._news.set()
        try:
            await future
        finally:
            if entry in self._sleepers:
                self._sleepers.remove(entry)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        for end, future in list(self._sleepers):
            if end <= self._now and not future.done():
                future.set_result(None)

    async def sleeper(self) -> float:
        """Wait until somebody sleeps; how long it is until the first of them wakes."""
        while not (waiting := [end for end, future in self._sleepers if not future.done()]):
            self._news.clear()
            await self._news.wait()
        return min(waiting) - self._now

    async def skip(self) -> float:
        """Wait until somebody sleeps, then let that time pass; tell how long it was."""
        seconds = await self.sleeper()
        self.advance(seconds)
        return seconds


class HastyClock(HandClock):
    """Time flies while somebody sleeps: each sleep ends at once, and the clock has moved by it."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += max(seconds, 0.0)
        await asyncio.sleep(0)


# --- what is told -----------------------------------------------------------------------------------------------------


class Recorder:
    """An observer that keeps what it is told, and insists on the declared fields and labels."""

    def __init__(self) -> None:
        self.events: list[tuple[Event, dict[str, object]]] = []
        self.counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self.gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def event(self, event: Event, **fields: object) -> None:
        assert set(fields) == set(event.fields), f"{event.name}: {sorted(fields)} where {sorted(event.fields)} are declared"
        self.events.append((event, fields))

    def count(self, metric: Metric, amount: float = 1, **labels: str) -> None:
        self._check(metric, "counter", labels)
        self.counts[metric.name, tuple(sorted(labels.items()))] += amount  # type: ignore[assignment]

    def gauge(self, metric: Metric, value: float, **labels: str) -> None:
        self._check(metric, "gauge", labels)
        self.gauges[metric.name, tuple(sorted(labels.items()))] = value

    def _check(self, metric: Metric, kind: str, labels: Mapping[str, str]) -> None:
        assert metric.kind == kind, f"{metric.name} is a {metric.kind}"
        assert set(labels) == set(metric.labels), f"{metric.name}: {sorted(labels)} where {sorted(metric.labels)} are declared"

    def names(self) -> list[str]:
        """The events in their order."""
        return [event.name for event, _ in self.events]

    def of(self, event: Event) -> list[dict[str, object]]:
        """The fields of each event of a kind."""
        return [fields for told, fields in self.events if told is event]

    def counted(self, metric: Metric, **labels: str) -> float:
        """What a counter came to."""
        return self.counts[metric.name, tuple(sorted(labels.items()))]


# --- a mailbox without a network --------------------------------------------------------------------------------------


@dataclass
class MemoryFolder:
    """One folder of a server. UIDs are never given twice, unless a test says so."""

    validity: int = 1
    next: int = 1
    messages: dict[int, tuple[bytes, str]] = field(default_factory=dict)  # by UID: octets and date
    seen: set[int] = field(default_factory=set)
    email_ids: dict[int, str] = field(default_factory=dict)

    def add(self, octets: bytes, *, email_id: str = "") -> int:
        """A message arrives; its UID."""
        uid, self.next = self.next, self.next + 1
        self.messages[uid] = (octets, f"day {uid}")
        if email_id:
            self.email_ids[uid] = email_id
        return uid

    def reborn(self, validity: int) -> None:
        """The server numbers its messages anew."""
        kept = list(self.messages.items())
        self.validity, self.next, self.messages, self.seen = validity, 1, {}, set()
        for _, (octets, date) in kept:
            uid = self.add(octets)
            self.messages[uid] = (octets, date)

    def name(self, uid: int) -> str:
        """The identifier of a message."""
        return f"{self.validity}/{uid}"

    def listed(self, uid: int) -> Listed:
        """A message as it is listed."""
        octets, date = self.messages[uid]
        return Listed(self.name(uid), len(octets), date, self.email_ids.get(uid, ""))


@dataclass
class MemoryServer:
    """Folders, and the faults that a test orders."""

    folders: dict[str, MemoryFolder] = field(default_factory=dict)
    refuses: dict[str, PostroomError] = field(default_factory=dict)  # identifier: what its fetch comes to
    hides: set[str] = field(default_factory=set)  # identifiers that are listed and not there
    unsettled: set[str] = field(default_factory=set)  # identifiers that settle leaves
    unlisted: set[str] = field(default_factory=set)  # identifiers that no listing names, though the server holds them
    breaks: list[PostroomError] = field(default_factory=list)  # the next calls fail with these
    long: int = 1 << 30  # octets from which a message comes in pieces
    hold: Callable[[], Awaitable[None]] | None = None  # is awaited at every call
    clock: Clock | None = None  # waiting sleeps on it; without one it is over at once
    conversations: int = 0
    fetched: list[str] = field(default_factory=list)
    looked: list[str] = field(default_factory=list)  # identifiers whose header was asked for
    asked: Counter[str] = field(default_factory=Counter)

    def folder(self, name: str = "INBOX") -> MemoryFolder:
        """A folder, made at first sight."""
        return self.folders.setdefault(name, MemoryFolder())


class MemoryReader:
    """A ``Reader`` of a ``MemoryServer``."""

    def __init__(self, server: MemoryServer, received: Callable[[int], None] | None = None) -> None:
        self._server = server
        self._received = received or (lambda _octets: None)
        self.waited: list[float] = []
        self._begun: set[str] = set()  # folders listed from nothing in this conversation
        server.conversations += 1

    async def changes(self, folder: str, since: str | None, limit: int, first: First = FirstRead.ALL) -> Changes:
        await self._call("changes")
        held = self._server.folder(folder)
        if since is None:
            self._begun.add(folder)
            chosen = first.value if isinstance(first, FirstRead) else first.isoformat()
            validity, newest, bound = held.validity, 0, held.next
        else:
            validity, newest, bound, chosen = (*json.loads(since), 0, "all")[:4]
        if validity != held.validity:
            return Changes((), "", reset=f"UIDVALIDITY was {validity} and is {held.validity}")
        if held.validity == 0 and folder not in self._begun:
            return Changes((), "", reset="the server keeps no UIDs", lasting=False)
        uids = sorted(uid for uid in held.messages if uid > newest)
        taken = uids[:limit]
        newest = taken[-1] if taken else newest
        named = [uid for uid in taken if held.name(uid) not in self._server.unlisted]
        listed = [held.listed(uid) for uid in named]
        spared = [
            uid < bound and (chosen == "new" or held.messages[uid][1] < chosen != "all")
            for uid in taken
            if held.name(uid) not in self._server.unlisted
        ]
        began = json.dumps([validity, 0, bound, chosen]) if since is None else ""
        return Changes(
            tuple(each for each, alone in zip(listed, spared, strict=True) if not alone),
            json.dumps([validity, newest, bound, chosen]),
            more=len(taken) < len(uids),
            total=len(held.messages),
            left=len(uids) - len(taken),
            began=began,
            spared=tuple(each for each, alone in zip(listed, spared, strict=True) if alone),
        )

    async def headers(self, folder: str, listed: Sequence[Listed]) -> Mapping[str, bytes]:
        await self._call("headers")
        held = self._server.folder(folder)
        here = {held.name(uid): octets for uid, (octets, _) in held.messages.items()}
        self._server.looked += [each.identifier for each in listed]
        return {each.identifier: here[each.identifier] for each in listed if each.identifier in here}

    async def preview(self, folder: str, first: First) -> Preview:
        await self._call("preview")
        held = self._server.folder(folder)
        chosen = "" if first is FirstRead.ALL else "~" if isinstance(first, FirstRead) else first.isoformat()
        sizes = [len(octets) for octets, date in held.messages.values() if date >= chosen]
        return Preview(len(sizes), sum(sizes))

    async def fetch(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        held = self._server.folder(folder)
        for message in listed:
            await self._call("fetch")
            name = message.identifier
            self._server.fetched.append(name)
            validity, _, number = name.partition("/")
            found = held.messages.get(int(number)) if validity == str(held.validity) else None
            if name in self._server.refuses:
                yield Unfetched(name, self._server.refuses[name])
                continue
            if found is None or name in self._server.hides:
                yield Absent(name)
                continue
            self._received(len(found[0]))
            if len(found[0]) >= self._server.long:
                yield Fetched(message, b"", len(found[0]), self._pieces(found[0]))
            else:
                yield Fetched(message, found[0])

    async def fetch_headers(self, folder: str, listed: Sequence[Listed]) -> AsyncIterator[Fetched | Absent | Unfetched]:
        async for item in self.fetch(folder, listed):
            if isinstance(item, Fetched):
                octets = b"".join([piece async for piece in item.rest]) if item.rest is not None else item.octets
                item = Fetched(item.listed, octets.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
            yield item

    async def _pieces(self, octets: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(octets), 7):
            await self._call("piece")
            yield octets[start : start + 7]

    async def settle(self, folder: str, items: Sequence[Unsettled], target: str | None) -> Settlement:
        await self._call("settle")
        held = self._server.folder(folder)
        committed, gone = [], []
        for item in items:
            name = item.listed.identifier
            validity, _, number = name.partition("/")
            uid = int(number)
            if name in self._server.unsettled:
                continue
            if validity != str(held.validity) or uid not in held.messages or held.listed(uid)[:3] != item.listed[:3]:
                gone.append(name)
                continue
            committed.append(name)
            if item.disposition is Disposition.SEEN:
                held.seen.add(uid)
            elif item.disposition is Disposition.DELETE:
                del held.messages[uid]
            elif item.disposition is Disposition.MOVE:
                assert target is not None
                self._server.folder(target).add(held.messages.pop(uid)[0])
        return Settlement(tuple(committed), tuple(gone))

    async def census(self, folder: str) -> AsyncIterator[Sequence[Listed]]:
        held = self._server.folder(folder)
        for uids in _pieces(sorted(held.messages, reverse=True), 3):
            await self._call("census")
            yield [held.listed(uid) for uid in uids if uid in held.messages]

    async def commit(self) -> Sequence[str]:
        await self._call("commit")
        return ()

    def stands(self) -> bool:
        return True

    async def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        await self._call("wait")
        if self._server.clock is not None:
            await self._server.clock.sleep(seconds)

    async def _call(self, name: str) -> None:
        self._server.asked[name] += 1
        if self._server.hold is not None:
            await self._server.hold()
        if self._server.breaks:
            raise self._server.breaks.pop(0)


def _pieces(uids: Sequence[int], size: int) -> list[Sequence[int]]:
    return [uids[start : start + size] for start in range(0, len(uids), size)]


def client(section: str = "pop-client-a", **options: Any) -> PopClient:
    """A section as it may stand in a file."""
    values = {
        "type": MailboxType.IMAP,
        "server": "mail.example.org",
        "mailbox": "a@example.org",
        "password": Secret("pw"),
        **options,
    }
    return PopClient(section=section, name=section.removeprefix("pop-client-"), **values)


# --- tokens -----------------------------------------------------------------------------------------------------------


@dataclass
class _Chain:
    grant: Grant
    tokens: dict[str, AccessToken] = field(default_factory=dict)  # by what was asked with
    claimed_by: str = ""
    claimed_until: float = 0.0


class MemoryKeeper:
    """Keeps grants as the store does, for one process among several that share ``chains``."""

    def __init__(self, clock: HandClock, name: str = "here", chains: dict[GrantKey, _Chain] | None = None) -> None:
        self._clock = clock
        self._name = name
        self.chains: dict[GrantKey, _Chain] = {} if chains is None else chains
        self.consented: dict[str, Consent] = {}

    def keyed_hash(self, *texts: str) -> str:
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()

    async def open_grant(self, key: GrantKey, configured: Secret, asked_with: str) -> Grant:
        if key not in self.chains:
            self.chains[key] = _Chain(Grant(len(self.chains) + 1, configured, 1, self._clock.now(), None, None))
        chain = self.chains[key]
        return replace(chain.grant, access=chain.tokens.get(asked_with))

    async def consent(self, client: str) -> Consent | None:
        return self.consented.get(client)

    async def save_consent(self, consent: Consent, asked_with: str, fields: TokenFields) -> None:
        assert fields.refresh_token is not None
        grant = await self.open_grant(consent.key, fields.refresh_token, asked_with)
        chain = self.chains[consent.key]
        chain.grant = replace(
            chain.grant,
            refresh_token=fields.refresh_token,
            version=grant.version + 1,
            made_at=consent.made_at,
            refusal=None,
            former=None,
            interrupted_at=None,
        )
        chain.claimed_by = ""
        self._keep_access(chain, asked_with, fields)
        self.consented[consent.client] = consent

    async def claim_grant(self, grant: int, seconds: float) -> bool:
        chain, now = self._of(grant), self._clock.now()
        if chain.claimed_by not in ("", self._name):
            if chain.claimed_until >= now:
                return False
            chain.grant = replace(chain.grant, interrupted_at=now)
        chain.claimed_by, chain.claimed_until = self._name, now + seconds
        return True

    async def release_grant(self, grant: int, *, unanswered: bool = False) -> None:
        chain = self._of(grant)
        if chain.claimed_by == self._name:
            chain.claimed_by = ""
            if unanswered:
                chain.grant = replace(chain.grant, interrupted_at=self._clock.now())

    async def save_answer(self, key: GrantKey, grant: Grant, asked_with: str, fields: TokenFields) -> AccessToken:
        chain = self.chains[key]
        now = self._clock.now()
        rotated = fields.refresh_token
        if rotated is not None and rotated != grant.refresh_token:
            former, version = chain.grant.refresh_token, chain.grant.version + 1
            chain.grant = replace(chain.grant, refresh_token=rotated, former=former, version=version, made_at=now)
        else:
            chain.grant = replace(chain.grant, former=None)
        chain.grant = replace(chain.grant, refusal=None, interrupted_at=None)
        chain.claimed_by = ""
        return self._keep_access(chain, asked_with, fields)

    def _keep_access(self, chain: _Chain, asked_with: str, fields: TokenFields) -> AccessToken:
        before = chain.tokens.get(asked_with)
        version = 1 if before is None else before.version + 1
        kept = AccessToken(fields.access_token, version, fields.lifetime, self._clock.now() + fields.lifetime)
        chain.tokens[asked_with] = kept
        return kept

    async def save_refusal(self, grant: int, refusal: Refusal) -> None:
        chain = self._of(grant)
        chain.grant = replace(chain.grant, refusal=refusal)
        chain.claimed_by = ""

    def _of(self, grant: int) -> _Chain:
        return next(chain for chain in self.chains.values() if chain.grant.id == grant)


class Authority(Http):
    """A token endpoint. ``answers`` are given in turn, then tokens that are counted; ``forms`` is what was asked."""

    def __init__(self) -> None:
        super().__init__(Dialer())
        self.answers: list[HttpAnswer | PostroomError] = []
        self.forms: list[dict[str, str]] = []
        self.urls: list[str] = []  # what was asked, in any way
        self.vias: list[ProxySettings | None] = []  # through which proxy
        self.lifetime: object = 3600
        self.rotates = False
        self.gate: asyncio.Event | None = None  # holds every answer back until it is set

    async def post_form(
        self, url: str, form: Mapping[str, str], *, ca_file: Path | None, timeout: float, via: ProxySettings | None = None
    ) -> HttpAnswer:
        self.vias.append(via)
        self.forms.append(dict(form))
        return await self._answer(url)

    async def get(self, url: str, *, ca_file: Path | None, timeout: float, via: ProxySettings | None = None) -> HttpAnswer:
        self.vias.append(via)
        return await self._answer(url)

    async def _answer(self, url: str) -> HttpAnswer:
        self.urls.append(url)
        number = len(self.urls)
        if self.gate is not None:
            await self.gate.wait()
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, PostroomError):
                raise answer
            return answer
        fields: dict[str, object] = {"access_token": f"token-{number}", "token_type": "Bearer", "expires_in": self.lifetime}
        if self.rotates:
            fields["refresh_token"] = f"refresh-{number}"
        return HttpAnswer(200, json.dumps(fields).encode(), None)


def refusal(error: str = "invalid_grant", description: str = "", status: int = 400) -> HttpAnswer:
    """An authority's no (RFC 6749 section 5.2)."""
    return HttpAnswer(status, json.dumps({"error": error, "error_description": description}).encode(), None)


@dataclass
class Bank:
    """Processes over one keeper's place, and the authority that they ask."""

    clock: HandClock
    authority: Authority
    keeper: MemoryKeeper
    tokens: Tokens

    def another(self, clock: HandClock | None = None) -> Tokens:
        """Another process."""
        keeper = MemoryKeeper(self.clock, "there", self.keeper.chains)
        keeper.consented = self.keeper.consented
        return Tokens(keeper, self.authority, clock or self.clock)

    @property
    def asked(self) -> int:
        """How many requests were made."""
        return len(self.authority.urls)

    @property
    def chain(self) -> list[str]:
        """The refresh tokens that were sent, in turn."""
        return [form["refresh_token"] for form in self.authority.forms]


def banked(clock: HandClock) -> Bank:
    """A bank with one process."""
    authority = Authority()
    keeper = MemoryKeeper(clock)
    return Bank(clock, authority, keeper, Tokens(keeper, authority, clock))


class Traces:
    """What clients with enable-debug said and heard."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, _section: str) -> Trace:
        return lambda side, octets: self.lines.append((side, octets.decode("utf-8", "replace")))


def kit(clock: Clock, tokens: Tokens | None = None) -> Kit:
    """What drivers work with, over real sockets."""
    http = Authority()
    return Kit(clock, Dialer(), http, tokens or Tokens(MemoryKeeper(HandClock()), http, clock), Providers(), Traces())


def place(port: int, *, security: Security = Security.NONE, ca_file: Path | None = None, timeout: float = 5.0) -> Place:
    """A mailbox on this machine."""
    return Place("127.0.0.1" if ca_file is None else "localhost", port, security, ca_file, timeout, timeout)


# --- a scripted IMAP server -------------------------------------------------------------------------------------------

_NAMED = re.compile(r"\{([a-z_]+)\}")
_LIMIT = 10.0  # seconds after which a script that hangs has failed


class ScriptError(AssertionError):
    """The other side left the script."""


@dataclass(frozen=True)
class _Line:
    number: int
    side: str  # C, S, or a word in brackets
    text: str


def _lines(script: str) -> list[_Line]:
    lines = []
    for number, written in enumerate(script.splitlines(), 1):
        line = written.strip()
        if not line or line.startswith("#"):
            continue
        if line in ("[CLOSE]", "[STALL]", "[TLS]", "[RESET]"):
            lines.append(_Line(number, line[1:-1], ""))
        elif line[:2] in ("C:", "S:", "s:"):
            lines.append(_Line(number, line[0], line[3:]))
        else:
            raise ValueError(f"line {number} of the script: {line}")
    return lines


class ScriptedServer:
    """Plays the ``S:`` lines of a script and insists on its ``C:`` lines. Each connection plays the next script.

    A word in braces in an ``S:`` line stands for a literal from ``literals``; an ``s:`` line is sent as it stands, without
    a line end. ``[CLOSE]`` ends the connection, ``[RESET]`` breaks it, ``[STALL]`` falls silent until the client goes,
    ``[TLS]`` goes on under TLS. Lines that come one after another are sent in one write. At the end of its script the
    server waits for the client to go. Leaving the block tells of whatever did not go by the script.
    """

    def __init__(self, *scripts: str, literals: Mapping[str, bytes] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = [_lines(script) for script in scripts]
        self._literals = literals or {}
        self._tls = tls
        self._next = 0
        self._trouble: Exception | None = None
        self._server: asyncio.Server | None = None
        self._playing: set[asyncio.Task[None]] = set()
        self.port = 0

    def play(self, script: str) -> None:
        """One script more, for one connection more."""
        self._scripts.append(_lines(script))

    async def __aenter__(self) -> ScriptedServer:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._server is not None
        self._server.close()
        if self._playing:
            _, late = await asyncio.wait(self._playing, timeout=_LIMIT if error is None else 0.1)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
            if late and error is None:
                self._trouble = self._trouble or ScriptError("the client did not go at the script's end")
        if self._trouble is not None:
            raise self._trouble from error
        if error is None and self._next < len(self._scripts):
            raise ScriptError(f"{self._next} connections were made, {len(self._scripts)} are written")

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._playing.add(task)
        try:
            if self._next >= len(self._scripts):
                raise ScriptError("one connection more than is written")
            script = self._scripts[self._next]
            self._next += 1
            async with asyncio.timeout(_LIMIT):
                await self._play(script, reader, writer)
        except (ScriptError, ValueError, KeyError, ssl.SSLError) as trouble:
            self._trouble = self._trouble or trouble
        except TimeoutError:
            self._trouble = self._trouble or ScriptError("the script came to no end")
        except OSError:
            pass  # the client went; whether it should have is seen by what it did
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _play(self, script: list[_Line], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line, following in zip(script, [*script[1:], None], strict=True):
            if line.side in "Ss":
                writer.write(self._octets(line))
                if following is None or following.side not in "Ss":
                    await writer.drain()
            elif line.side == "C":
                await self._expect(line, reader)
            elif line.side == "TLS":
                assert self._tls is not None
                await writer.start_tls(self._tls)
            elif line.side == "STALL":
                await self._gone(line, reader, writer)
                return
            elif line.side == "RESET":
                writer.transport.abort()
                return
            else:
                return
        await self._gone(script[-1], reader, writer)

    async def _expect(self, line: _Line, reader: asyncio.StreamReader) -> None:
        said = await reader.readline()
        text = said.decode("utf-8", "backslashreplace").removesuffix("\r\n")
        if not said:
            raise ScriptError(f"line {line.number}: the client went where it should say {line.text!r}")
        if text != line.text:
            raise ScriptError(f"line {line.number}: the client said {text!r} where it should say {line.text!r}")

    async def _gone(self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            said = await reader.readline()
        except OSError:
            return
        tag, _, rest = said.partition(b" ")
        if rest == b"LOGOUT\r\n":
            writer.write(b"* BYE gone\r\n" + tag + b" OK gone\r\n")
            await writer.drain()
        elif said:
            raise ScriptError(f"behind line {line.number}: the client said {said!r}")

    def _octets(self, line: _Line) -> bytes:
        def literal(found: re.Match[str]) -> str:
            octets = self._literals[found[1]]
            return f"{{{len(octets)}}}\r\n" + octets.decode("latin-1")

        text = line.text.encode().decode("latin-1")
        return _NAMED.sub(literal, text).encode("latin-1") + (b"\r\n" if line.side == "S" else b"")


def refused(words: str = "NO not now") -> ImapStatus:
    """A server's no to one message."""
    return ImapStatus(words, status="NO", code="", text=words)
