"""Questions to a name server of our own, which also fails on demand."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from postroom.errors import ConnectError
from postroom.net.resolver import Resolver, Service
from servers.names import Fault, Names, Zone, serving


@asynccontextmanager
async def asking(zone: Zone, timeout: float = 5.0) -> AsyncIterator[tuple[Resolver, Names]]:
    async with serving(zone) as names:
        yield Resolver(["127.0.0.1"], port=names.port, timeout=timeout), names


async def test_mx_hosts_come_by_preference() -> None:
    zone = {("example.org", "MX"): ("20 b.example.org.", "10 Mail.Example.ORG.", "20 a.example.org.")}
    async with asking(zone) as (resolver, names):
        assert await resolver.mx("example.org") == ("mail.example.org", "a.example.org", "b.example.org")
        assert names.asked == ["udp MX example.org"]


async def test_a_domain_that_takes_no_mail() -> None:
    async with asking({("example.org", "MX"): ("0 .",)}) as (resolver, _):
        assert await resolver.mx("example.org") == ()


async def test_services_come_by_priority_then_by_weight() -> None:
    records = ("1 0 993 light.example.org.", "0 5 993 less.example.org.", "0 90 1993 most.example.org.", "2 0 0 .")
    async with asking({("_imaps._tcp.example.org", "SRV"): records}) as (resolver, _):
        assert await resolver.srv("_imaps._tcp.example.org") == (
            Service("most.example.org", 1993),
            Service("less.example.org", 993),
            Service("light.example.org", 993),
            Service("", 0),
        )


async def test_addresses_of_both_kinds() -> None:
    zone = {("imap.example.org", "A"): ("192.0.2.1", "192.0.2.2"), ("imap.example.org", "AAAA"): ("2001:db8::1",)}
    async with asking(zone) as (resolver, _):
        found = await resolver.addresses("imap.example.org")
        assert found[0] == "2001:db8::1"
        assert sorted(found[1:]) == ["192.0.2.1", "192.0.2.2"]


async def test_what_does_not_exist_is_empty_and_no_search_list_is_tried() -> None:
    async with asking({("example.org", "A"): ("192.0.2.1",)}) as (resolver, names):
        assert await resolver.mx("nowhere.example") == ()
        assert await resolver.mx("example.org") == ()
        assert await resolver.srv("_imaps._tcp.example.org") == ()
        assert [question.split()[2] for question in names.asked] == ["nowhere.example", "example.org", "_imaps._tcp.example.org"]


async def test_a_long_answer_is_asked_for_over_tcp() -> None:
    zone = {("example.org", "MX"): tuple(f"{number} {'x' * 50}{number}.example.org." for number in range(20))}
    async with asking(zone) as (resolver, names):
        assert len(await resolver.mx("example.org")) == 20
        assert names.asked == ["udp MX example.org", "tcp MX example.org"]


async def test_a_name_server_that_fails() -> None:
    async with asking({("example.org", "MX"): Fault.SERVFAIL}) as (resolver, _):
        with pytest.raises(ConnectError, match=r"MX of example\.org: .*127\.0\.0\.1.*SERVFAIL") as caught:
            await resolver.mx("example.org")
        assert "resolv.conf" in caught.value.remedy


async def test_a_name_server_that_is_silent() -> None:
    async with asking({("_imaps._tcp.example.org", "SRV"): Fault.SILENCE}, timeout=0.1) as (resolver, _):
        with pytest.raises(ConnectError, match=r"SRV of _imaps\._tcp\.example\.org: no name server answered within 0.1 s"):
            await resolver.srv("_imaps._tcp.example.org")


async def test_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))  # a port that nobody else gets, and on which nobody answers
        with pytest.raises(ConnectError, match="no name server answered"):
            await Resolver(["127.0.0.1"], port=taken.getsockname()[1], timeout=0.1).mx("example.org")


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".org", ".".join(["x" * 60] * 5)], ids=len)
async def test_a_name_that_is_none(name: str) -> None:
    async with asking({}) as (resolver, names):
        with pytest.raises(ConnectError, match="MX of"):
            await resolver.mx(name)
        assert names.asked == []
