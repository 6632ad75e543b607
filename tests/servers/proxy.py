"""A TCP proxy that is slow, counts, breaks connections at a chosen octet, lets through in drops, or says nothing at all.

Use it inside a running event loop with ``async with``, or from synchronous code with ``with``, where it runs in a
thread of its own::

    with FaultProxy("127.0.0.1", dovecot.imap_port) as proxy:
        proxy.cut_next(Cut("to_client", after=5000, how="rst"))
        ...  # the client connects to proxy.host, proxy.port

Count the octets of a whole conversation once without a cut, then cut at each.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import os
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, TypeVar

T = TypeVar("T")

Direction = Literal["to_server", "to_client"]
How = Literal[
    "fin",  # both sides see an orderly end
    "rst",  # both sides see a reset
    "stall",  # both sides see nothing any more
]

CHUNK = 65536
Queue = asyncio.Queue[tuple[float, bytes]]  # when to pass it on, and what; nothing means the sender's end

IN_FLIGHT = 16  # chunks held between the two sides when nothing is delayed: the slower side holds the faster back


@dataclass(frozen=True)
class Cut:
    """The end of a connection: ``after`` octets let through in one direction."""

    direction: Direction
    after: int
    how: How = "fin"


@dataclass(frozen=True)
class Trickle:
    """So many octets at a time, and a pause of so many seconds after each lot."""

    octets: int
    pause: float
    direction: Direction = "to_client"


@dataclass
class Counters:
    """What passed, over all connections or over one."""

    to_server: int = 0  # octets let through
    to_client: int = 0
    round_trips: int = 0  # times that the client spoke and the server then answered


@dataclass
class _Connection:
    """One client's connection and ours to the target."""

    client: asyncio.StreamWriter
    cut: Cut | None
    counters: Counters = field(default_factory=Counters)
    server: asyncio.StreamWriter | None = None
    client_spoke: bool = False  # and the server has not answered yet
    stalled: bool = False  # nothing passes any more, and nobody is told
    finished: set[Direction] = field(default_factory=set)  # directions in which the sender's end has been passed on
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def heard(self, direction: Direction) -> bool:
        """Note who spoke; true when that completes a round trip."""
        completes = direction == "to_client" and self.client_spoke
        self.client_spoke = direction == "to_server"
        return completes

    def allowed(self, direction: Direction, size: int) -> int:
        """How many of ``size`` octets may still pass."""
        if self.cut is None or self.cut.direction != direction:
            return size
        passed: int = getattr(self.counters, direction)
        return min(size, self.cut.after - passed)

    def is_due(self, direction: Direction) -> bool:
        """Whether this direction has come to its cut."""
        if self.cut is None or self.cut.direction != direction:
            return False
        passed: int = getattr(self.counters, direction)
        return passed >= self.cut.after

    def end(self, how: How) -> None:
        """End both sides in the way given."""
        if how == "stall":
            self.stalled = True
            return
        for writer in (self.client, self.server):
            if writer is not None:
                _reset(writer) if how == "rst" else writer.close()
        self.over.set()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset: lingering for no time makes the kernel send RST instead of FIN."""
    transport_socket = writer.get_extra_info("socket")  # None or without a descriptor once it is closed
    descriptor = -1 if transport_socket is None else transport_socket.fileno()
    if descriptor >= 0:
        # A second handle on the same socket, because not every event loop's own lets its options be set.
        with socket.socket(fileno=os.dup(descriptor)) as handle:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _read_some(reader: asyncio.StreamReader, connection: _Connection) -> bytes:
    """The next chunk; nothing at the sender's end, be it orderly or a reset, which is passed on."""
    try:
        return await reader.read(CHUNK)
    except ConnectionError:
        if not connection.stalled:
            connection.end("rst")
        return b""


async def _swallow(connection: _Connection, from_client: asyncio.StreamReader) -> None:
    """Say nothing until the client gives up."""
    try:
        while await _read_some(from_client, connection):
            pass
    finally:
        connection.end("fin")


class FaultProxy:
    """A proxy before one target.

    ``delay`` is the time of one way in seconds: each octet arrives that much after it was sent, in order and however
    many are under way, and a new connection costs a round trip first, as it does on a long line. With ``jitter`` each
    chunk falls apart at places drawn by lot, and each part is up to so many seconds later still: in order within one
    direction, as TCP has it, and in any order beside the other direction and other connections. ``seed`` repeats the lot.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        target_host: str,
        target_port: int,
        *,
        delay: float = 0.0,
        jitter: float = 0.0,
        seed: int = 0,
        cut: Cut | None = None,
        trickle: Trickle | None = None,
    ) -> None:
        self.port = 0  # known when it runs
        self.delay = delay  # may be changed while it runs
        self.jitter = jitter  # may be changed while it runs
        self.trickle = trickle  # may be changed while it runs
        self.half_open = False  # true: accept from now on, and then say nothing; the target is not even asked
        self.cut = cut  # of every connection that has none of its own
        self.connections = 0  # accepted until now
        self.total = Counters()
        self.each: list[Counters] = []  # by connection, in the order in which they were accepted
        self._lots = random.Random(seed)
        self._target = (target_host, target_port)
        self._next: collections.deque[Cut | None] = collections.deque()
        self._living: dict[asyncio.Task[None], _Connection] = {}
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def cut_next(self, *cuts: Cut | None) -> None:
        """How the next connections end, one after the other; ``None`` leaves one whole."""
        self._next.extend(cuts)

    @property
    def living(self) -> int:
        """Connections that are open now."""
        return len(self._living)

    def reset_counters(self) -> None:
        """Count from zero again."""
        self.connections = 0
        self.total = Counters()
        self.each = []

    def cut_all(self, how: How = "rst") -> int:
        """End all living connections now; how many they were."""
        if self._thread is not None:
            return self._in_thread(self._cut_all(how))
        return self._cut_now(how)

    async def _cut_all(self, how: How) -> int:
        return self._cut_now(how)

    def _cut_now(self, how: How) -> int:
        living = list(self._living.values())
        for connection in living:
            connection.end(how)
        return len(living)

    # One connection

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        connection = _Connection(writer, self._next.popleft() if self._next else self.cut)
        self.each.append(connection.counters)
        serve = _swallow if self.half_open else self._serve
        task = asyncio.get_running_loop().create_task(serve(connection, reader))
        self._living[task] = connection
        task.add_done_callback(self._living.pop)

    async def _serve(self, connection: _Connection, from_client: asyncio.StreamReader) -> None:
        pumps: list[asyncio.Task[None]] = []
        try:
            await asyncio.sleep(2 * self.delay)  # the client's SYN and its answer
            from_server, connection.server = await asyncio.open_connection(*self._target)
            pumps = [
                asyncio.create_task(self._pump(connection, "to_server", from_client, connection.server)),
                asyncio.create_task(self._pump(connection, "to_client", from_server, connection.client)),
            ]
            await connection.over.wait()
        except OSError:
            connection.end("rst")  # nobody listens there
        finally:
            connection.end("fin")
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump(
        self, connection: _Connection, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Read as fast as the sender sends, and write each chunk when its delay is over."""
        queue: Queue = asyncio.Queue(0 if self.delay or self.jitter else IN_FLIGHT)
        reading = asyncio.create_task(self._read(connection, direction, reader, queue))
        try:
            await self._write(connection, direction, queue, writer)
        except OSError:
            connection.end("rst")
        finally:
            reading.cancel()
        connection.finished.add(direction)
        if len(connection.finished) == 2:
            connection.over.set()

    async def _read(self, connection: _Connection, direction: Direction, reader: asyncio.StreamReader, queue: Queue) -> None:
        now = asyncio.get_running_loop().time
        due = 0.0  # of what was read last: nothing overtakes it
        while data := await _read_some(reader, connection):
            if connection.heard(direction):
                connection.counters.round_trips += 1
                self.total.round_trips += 1
            for part in self._parts(data):
                due = max(due, now() + self._lateness())
                await queue.put((due, part))
        if connection.stalled and direction == "to_server":
            connection.over.set()  # the client gave up waiting
        await queue.put((max(due, now() + self.delay), b""))

    def _lateness(self) -> float:
        return self.delay + self._lots.uniform(0, self.jitter) if self.jitter else self.delay

    def _parts(self, data: bytes) -> list[bytes]:
        """The chunk as it travels: whole, or in up to four parts by lot."""
        if not self.jitter:
            return [data]
        places = sorted(self._lots.randrange(len(data) + 1) for _ in range(3))
        parts = [data[start:end] for start, end in itertools.pairwise([0, *places, len(data)])]
        return [part for part in parts if part]

    async def _write(self, connection: _Connection, direction: Direction, queue: Queue, writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        while True:
            if connection.cut is not None and connection.is_due(direction):
                connection.end(connection.cut.how)
            if connection.stalled:
                await connection.over.wait()
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - now()))
            if writer.is_closing():
                return
            if data:
                await self._let_through(connection, direction, data, writer)
            elif not connection.stalled:
                writer.write_eof()
                return

    async def _let_through(self, connection: _Connection, direction: Direction, data: bytes, writer: asyncio.StreamWriter) -> None:
        if connection.stalled:
            return
        data = data[: connection.allowed(direction, len(data))]
        trickle = self.trickle if self.trickle and self.trickle.direction == direction else None
        size = trickle.octets if trickle else CHUNK
        for start in range(0, len(data), size):
            drop = data[start : start + size]
            for counters in (connection.counters, self.total):
                setattr(counters, direction, getattr(counters, direction) + len(drop))
            writer.write(drop)
            await writer.drain()
            if trickle:
                await asyncio.sleep(trickle.pause)

    # Running

    async def __aenter__(self) -> FaultProxy:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._server is not None:
            self._server.close()
        tasks = list(self._living)
        self._cut_now("rst")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports close one turn of the loop later

    def __enter__(self) -> FaultProxy:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._in_thread(self.__aenter__())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._in_thread(self.__aexit__(None, None, None))
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._thread = None

    def _in_thread(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            raise AssertionError("the proxy does not run")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=10)
