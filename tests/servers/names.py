"""A name server of our own on loopback, over UDP and TCP, that also answers as no one likes it to."""

from __future__ import annotations

import asyncio
import enum
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset


class Fault(enum.Enum):
    """What is done in the place of an answer."""

    SERVFAIL = "servfail"
    SILENCE = "silence"


_LARGEST = 512  # octets of an answer over UDP (RFC 1035 section 4.2.1)

Zone = Mapping[tuple[str, str], tuple[str, ...] | Fault]
"""Records, or a fault, by name (without the last dot) and type. Of a name with any record every other type is empty."""


class Names(asyncio.DatagramProtocol):
    """Answers out of one zone; ``asked`` is every question, as ``udp TYPE name`` or ``tcp TYPE name``."""

    def __init__(self, zone: Zone) -> None:
        self._zone = {(name.lower(), kind): records for (name, kind), records in zone.items()}
        self._transport: asyncio.DatagramTransport | None = None
        self.asked: list[str] = []
        self.port = 0

    def answer(self, octets: bytes, over: str) -> bytes | None:
        """The answer to one message; None for silence."""
        query = dns.message.from_wire(octets)
        (question,) = query.question
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append(f"{over} {kind} {name}")
        response = dns.message.make_response(query, recursion_available=True)
        records = self._zone.get((name, kind))
        if records is Fault.SILENCE:
            return None
        if records is Fault.SERVFAIL:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif records is None and not any(known == name for known, _ in self._zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif isinstance(records, tuple):
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
        if over == "udp" and len(response.to_wire()) > _LARGEST:
            response.answer.clear()
            response.flags |= dns.flags.TC  # to be asked over TCP
        return response.to_wire()

    # --- UDP

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.answer(data, "udp")
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)

    # --- TCP

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One conversation; a message follows its length (RFC 1035 section 4.2.2)."""
        try:
            while True:
                (length,) = struct.unpack(">H", await reader.readexactly(2))
                answer = self.answer(await reader.readexactly(length), "tcp")
                if answer is not None:
                    writer.write(struct.pack(">H", len(answer)) + answer)
                    await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(zone: Zone) -> AsyncIterator[Names]:
    """A name server on one free port, for UDP and TCP alike."""
    names = Names(zone)
    server = await asyncio.start_server(names.converse, "127.0.0.1", 0)
    names.port = server.sockets[0].getsockname()[1]
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: names, ("127.0.0.1", names.port))
    try:
        yield names
    finally:
        transport.close()
        server.close()
