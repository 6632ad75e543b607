"""The domain name system beyond addresses: which hosts take a domain's mail, and where its services are.

The library is loaded with the first question: it takes a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from postroom.errors import ConnectError

if TYPE_CHECKING:
    import dns.asyncresolver
    import dns.rdatatype

_REMEDY = "Check the name servers of this machine (/etc/resolv.conf) and the way to them."


@dataclass(frozen=True, slots=True)
class Service:
    """Where a service is (RFC 2782). An empty host says that the domain does not offer it."""

    host: str
    port: int


class Resolver:
    """Asks name servers: those of the system, or the given addresses. Nothing is kept between two questions.

    A name that does not exist, or has no record of the kind, gives an empty answer. Raises ``ConnectError`` where no name
    server answers within ``timeout`` seconds, or none can.
    """

    def __init__(self, nameservers: Sequence[str] = (), *, port: int = 53, timeout: float = 5.0) -> None:
        self._nameservers = tuple(nameservers)
        self._port = port
        self._timeout = timeout
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def mx(self, domain: str) -> tuple[str, ...]:
        """The hosts that take a domain's mail, the preferred first; none for a domain that takes no mail (RFC 7505)."""
        records = sorted(await self._records(domain, "MX"), key=lambda record: (record.preference, str(record.exchange)))
        return tuple(host for record in records if (host := _host(record.exchange)))

    async def srv(self, name: str) -> tuple[Service, ...]:
        """Where a service is, by priority.

        Among equals the one with the greatest weight comes first, where RFC 2782 draws by lot: one of them is written into
        a configuration for good, and there is no load to spread.
        """
        records = await self._records(name, "SRV")
        ordered = sorted(records, key=lambda record: (record.priority, -record.weight, str(record.target)))
        return tuple(Service(_host(record.target), record.port) for record in ordered)

    async def addresses(self, host: str) -> tuple[str, ...]:
        """A host's addresses, those of IPv6 first."""
        return tuple([str(record.address) for kind in ("AAAA", "A") for record in await self._records(host, kind)])

    async def _records(self, name: str, kind: str) -> list[Any]:
        import dns.exception
        import dns.name
        import dns.resolver

        try:
            resolver = self._made()
            question = dns.name.from_text(name)  # absolute: no search list is tried
            answer = await resolver.resolve(question, kind, raise_on_no_answer=False, search=False, lifetime=self._timeout)
        except dns.resolver.NXDOMAIN:
            return []
        except dns.exception.Timeout:
            raise ConnectError(f"{kind} of {name}: no name server answered within {self._timeout:g} s", remedy=_REMEDY) from None
        except dns.resolver.NoNameservers as error:
            raise ConnectError(f"{kind} of {name}: {_answers(error)}", remedy=_REMEDY) from None
        except dns.exception.DNSException as error:
            raise ConnectError(f"{kind} of {name}: {error or type(error).__name__}", remedy=_REMEDY) from None
        return list(answer.rrset or ())

    def _made(self) -> dns.asyncresolver.Resolver:
        import dns.asyncresolver

        if self._resolver is None:
            made = dns.asyncresolver.Resolver(configure=not self._nameservers)
            if self._nameservers:
                made.nameservers = list(self._nameservers)
                made.port = self._port
            self._resolver = made
        return self._resolver


def _host(name: Any) -> str:
    """A name without its last dot; empty for the root (".")."""
    return str(name.to_text(omit_final_dot=True)).lower().removesuffix(".")


def _answers(error: Any) -> str:
    """What the name servers said, the last of each."""
    said = {str(answer[0]): str(answer[3]) for answer in error.kwargs.get("errors", ())}
    return "; ".join(f"{server}: {words}" for server, words in said.items()) or "no name server gave an answer"
