"""Finding a mailbox's servers: a name server and web servers of our own stand for the world.

The web servers listen on loopback under certificates for the real names; the one seam is that their names lead there.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from postroom.drivers.provider import Providers
from postroom.errors import ConfigError
from postroom.net.discovery import Found, FoundServer, discover
from postroom.net.http import Http
from postroom.net.resolver import Resolver
from postroom.net.stream import Dialer
from postroom.settings import Security
from servers.certificates import Certificates
from servers.names import Fault, Zone, serving

ADDRESS = "Info+x@example.org"
AUTOCONFIG = "autoconfig.example.org/mail/config-v1.1.xml"
WELL_KNOWN = "example.org/.well-known/autoconfig/mail/config-v1.1.xml"
DATABASE = "autoconfig.thunderbird.net/v1.1/"
NOTHING: Zone = {("example.org", "A"): ("127.0.0.1",)}


def document(host: str, *, kind: str = "imap", user: str = "%EMAILADDRESS%", outgoing: str = "") -> bytes:
    return f"""<clientConfig version="1.1"><emailProvider id="example.org"><displayName>Example</displayName>
        <incomingServer type="{kind}"><hostname>{host}</hostname><port>993</port><socketType>SSL</socketType>
        <username>{user}</username><authentication>OAuth2</authentication></incomingServer>{outgoing}</emailProvider>
        <oAuth2><issuer>login.example.org</issuer></oAuth2></clientConfig>""".encode()


class Loopback(AbstractResolver):
    """Leads every name to one port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=2, proto=0, flags=0),
        ]

    async def close(self) -> None:
        pass


@dataclass
class Web:
    """Web servers for all names, by what stands between https:// and the question mark."""

    pages: Mapping[str, bytes | str | None]  # a document; a text is where a redirect leads; None is silence
    asked: list[str] = field(default_factory=list)  # host and path, with the query
    leaving: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            path = head.split(" ")[1]
            host = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("host: "))
            self.asked.append(f"{host}{path}")
            page = self.pages.get(f"{host}{path.partition('?')[0]}", b"")
            if page is None:
                await self.leaving.wait()
            elif isinstance(page, str):
                writer.write(f"HTTP/1.1 302 Found\r\nLocation: {page}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            else:
                status = "200 OK" if page else "404 Not Found"
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(page)}\r\nConnection: close\r\n\r\n".encode() + page)
            await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()


@dataclass
class World:
    """What is there for one test."""

    web: Web
    http: Http
    resolver: Resolver
    notes: list[str] = field(default_factory=list)

    async def found(self, address: str = ADDRESS, within: float = 15.0) -> Found:
        return await discover(address, Providers(), self.http, self.resolver, self.notes.append, within=within)


@pytest.fixture
def trusted(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What all web servers show; the system trusts it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    names = ("example.org", "*.example.org", "autoconfig.thunderbird.net", "hoster.example", "autoconfig.xn--mller-kva.example")
    context.load_cert_chain(*certificates.issue(*names))
    return context


@asynccontextmanager
async def world(
    tls: ssl.SSLContext, zone: Zone, pages: Mapping[str, bytes | str | None] = {}, timeout: float = 5.0
) -> AsyncIterator[World]:
    web = Web(pages)
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=tls)
    http = Http(Dialer(), Loopback(server.sockets[0].getsockname()[1]))
    try:
        async with serving(zone) as names:
            yield World(web, http, Resolver(["127.0.0.1"], port=names.port, timeout=timeout))
    finally:
        web.leaving.set()
        await http.close()
        server.close()


# --- providers that are known -----------------------------------------------------------------------------------------


async def test_a_provider_s_own_domain_asks_nobody(trusted: ssl.SSLContext) -> None:
    async with world(trusted, {}) as there:
        found = await there.found("a@GMail.com")
    assert (found.provider, found.title, found.personal) == ("google", "Google", True)
    assert found.address == "a@gmail.com"
    assert found.servers == (
        FoundServer("imap", "imap.gmail.com", 993, Security.SSL_TLS, "%EMAILADDRESS%", False, "gmail.com is a domain of Google."),
        FoundServer("smtp", "smtp.gmail.com", 587, Security.START_TLS, "%EMAILADDRESS%", False, "gmail.com is a domain of Google."),
    )
    assert (there.web.asked, there.notes) == ([], ["gmail.com is a domain of Google."])


@pytest.mark.parametrize(
    ("mx", "provider", "personal", "host"),
    [
        ("smtp.google.com.", "google", False, "imap.gmail.com"),
        ("ASPMX3.GoogleMail.com.", "google", False, "imap.gmail.com"),
        ("example-org.mail.protection.outlook.com.", "microsoft", False, "outlook.office365.com"),
        ("example-org.a-v1.mx.microsoft.", "microsoft", False, "outlook.office365.com"),
        ("eur.olc.protection.outlook.com.", "microsoft", True, "outlook.office365.com"),
        ("in1-smtp.messagingengine.com.", "fastmail", False, "imap.fastmail.com"),
    ],
)
async def test_mx_records_tell_the_provider(trusted: ssl.SSLContext, mx: str, provider: str, personal: bool, host: str) -> None:
    zone: Zone = {("example.org", "MX"): (f"10 {mx}",)}
    async with world(trusted, zone, {AUTOCONFIG: document("imap.example.org")}) as there:
        found = await there.found()
    assert (found.provider, found.personal, found.servers[0].host) == (provider, personal, host)
    assert found.how == f"The mail of example.org goes to {found.title} (MX {mx.lower().removesuffix('.')})."
    assert found.failed == ()


async def test_a_name_that_only_looks_like_a_provider_s(trusted: ssl.SSLContext) -> None:
    async with world(trusted, {("example.org", "MX"): ("10 mx.notgoogle.com.", "20 google.com.example.org.")}) as there:
        found = await there.found()
    assert found.provider is None
    assert found.failed[0] == ("The MX records of example.org name no known provider: mx.notgoogle.com, google.com.example.org.")


@pytest.mark.parametrize("page", [AUTOCONFIG, WELL_KNOWN, f"{DATABASE}example.org"])
async def test_a_document_that_names_a_known_server_names_its_provider(trusted: ssl.SSLContext, page: str) -> None:
    async with world(trusted, NOTHING, {page: document("outlook.office365.com")}) as there:
        found = await there.found()
    assert (found.provider, found.title, found.personal) == ("microsoft", "Microsoft", False)
    taking = found.server("smtp")  # of which the document says nothing
    assert taking is not None
    assert (taking.host, taking.port, taking.security) == ("smtp.office365.com", 587, Security.START_TLS)


# --- documents --------------------------------------------------------------------------------------------------------


async def test_the_domain_s_own_document(trusted: ssl.SSLContext) -> None:
    smtp = """<outgoingServer type="smtp"><hostname>smtp.%EMAILDOMAIN%</hostname><port>587</port>
        <socketType>STARTTLS</socketType></outgoingServer>"""
    pages = {AUTOCONFIG: document("mail.example.org", user="%EMAILLOCALPART%", outgoing=smtp)}
    async with world(trusted, NOTHING, pages) as there:
        found = await there.found()
    how = f"example.org names its servers at https://{AUTOCONFIG}."
    assert found.servers == (
        FoundServer("imap", "mail.example.org", 993, Security.SSL_TLS, "%EMAILLOCALPART%", True, how),
        FoundServer("smtp", "smtp.example.org", 587, Security.START_TLS, "%EMAILADDRESS%", False, how),
    )
    assert found.servers[0].login(found.address) == "Info+x"
    assert (found.provider, found.title, found.issuer, found.how) == (None, "Example", "login.example.org", how)
    assert there.notes[-1] == how


async def test_who_is_told_the_address(trusted: ssl.SSLContext) -> None:
    zone: Zone = {("example.org", "MX"): ("10 mx.mail.hoster.example.",)}
    async with world(trusted, zone) as there:
        found = await there.found()
    assert sorted(there.web.asked) == [
        f"{AUTOCONFIG}?emailaddress=Info%2Bx@example.org",
        f"{DATABASE}example.org",
        f"{DATABASE}hoster.example",
        f"{DATABASE}mail.hoster.example",
        WELL_KNOWN,
    ]
    assert found.failed == (
        "The MX records of example.org name no known provider: mx.mail.hoster.example.",
        f"https://{AUTOCONFIG}: nothing is there (404).",
        f"https://{WELL_KNOWN}: nothing is there (404).",
        "example.org has no SRV record for reading mail.",
        f"https://{DATABASE}example.org: nothing is there (404).",
        f"https://{DATABASE}mail.hoster.example: nothing is there (404).",
        f"https://{DATABASE}hoster.example: nothing is there (404).",
    )
    assert (found.servers, found.how, found.useful) == ((), "", False)
    assert there.notes == ["Asking the DNS and example.org itself where its mail is.", *found.failed]


async def test_the_database_knows_the_hoster(trusted: ssl.SSLContext) -> None:
    zone: Zone = {("example.org", "MX"): ("10 mx.hoster.example.",)}
    async with world(trusted, zone, {f"{DATABASE}hoster.example": document("imap.hoster.example")}) as there:
        found = await there.found()
    assert (found.servers[0].host, found.how) == ("imap.hoster.example", "Thunderbird's database knows hoster.example.")


async def test_a_redirect_elsewhere_is_followed_without_the_address(trusted: ssl.SSLContext) -> None:
    pages: dict[str, bytes | str | None] = {
        AUTOCONFIG: "https://www.example.org/a?emailaddress=info%2Bx%40example.org",
        "www.example.org/a": "https://hoster.example/c.xml?emailaddress=Info%252Bx%2540example.org",
        "hoster.example/c.xml": document("imap.hoster.example"),
    }
    async with world(trusted, NOTHING, pages) as there:
        found = await there.found()
    assert found.servers[0].host == "imap.hoster.example"
    assert "www.example.org/a?emailaddress=info%2Bx@example.org" in there.web.asked
    assert [asked for asked in there.web.asked if asked.startswith("hoster")] == ["hoster.example/c.xml"]


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("https://hoster.example/Info+x@example.org/", "hoster.example: the address would go to a host of another domain."),
        ("http://autoconfig.example.org/plain", "http://autoconfig.example.org/plain: only https is asked."),
        (f"https://{AUTOCONFIG}", f"https://{AUTOCONFIG}: more than 3 redirects."),
        ("https://[", f"https://{AUTOCONFIG}: the redirect leads to no address of the web."),
        (b"<html></html>", f"https://{AUTOCONFIG}: its outermost element is 'html' and not 'clientConfig'."),
        (b"<clientConfig/>", f"https://{AUTOCONFIG}: no server that is known."),
        (document("imap.example.org", kind="exchange"), f"https://{AUTOCONFIG}: no server that is known."),
        (b"x" * (256 * 1024 + 1), f"https://{AUTOCONFIG}: an answer of more than 262144 octets."),
    ],
)
async def test_a_document_that_is_not_taken(trusted: ssl.SSLContext, page: bytes | str, words: str) -> None:
    async with world(trusted, NOTHING, {AUTOCONFIG: page}) as there:
        found = await there.found()
    assert not found.useful
    assert found.failed[1] == words
    assert not any(asked.startswith("hoster.example") for asked in there.web.asked)


async def test_web_servers_that_nobody_vouches_for(trusted: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with world(trusted, NOTHING, {AUTOCONFIG: document("imap.example.org")}) as there:
        found = await there.found()
    assert (found.useful, there.web.asked) == (False, [])
    assert "certificate" in found.failed[1]


# --- SRV --------------------------------------------------------------------------------------------------------------


async def test_srv_records(trusted: ssl.SSLContext) -> None:
    zone: Zone = {
        ("_imap._tcp.example.org", "SRV"): ("0 1 143 imap.example.org.",),
        ("_imaps._tcp.example.org", "SRV"): ("10 1 993 second.example.org.", "0 1 1993 imap.hoster.example."),
        ("_pop3s._tcp.example.org", "SRV"): ("0 0 0 .",),
        ("_submissions._tcp.example.org", "SRV"): ("0 1 465 smtp.example.org.",),
        ("_submission._tcp.example.org", "SRV"): ("0 1 587 smtp.example.org.",),
    }
    async with world(trusted, zone) as there:
        found = await there.found()
    assert [(server.type, server.host, server.port, server.security) for server in found.servers] == [
        ("imap", "imap.hoster.example", 1993, Security.SSL_TLS),
        ("imap", "second.example.org", 993, Security.SSL_TLS),
        ("imap", "imap.example.org", 143, Security.START_TLS),
        ("smtp", "smtp.example.org", 465, Security.SSL_TLS),
        ("smtp", "smtp.example.org", 587, Security.START_TLS),
    ]
    assert found.how == (
        "The SRV record _imaps._tcp.example.org names imap.hoster.example. It is a host of another domain: see that it is your "
        "provider's."
    )
    assert found.server("smtp") == found.servers[3]
    assert "example.org says that it does not offer _pop3s._tcp.example.org." in found.failed


async def test_services_that_are_not_offered(trusted: ssl.SSLContext) -> None:
    zone: Zone = {(f"_{name}._tcp.example.org", "SRV"): ("0 0 0 .",) for name in ("imap", "imaps", "pop3", "pop3s")}
    async with world(trusted, zone) as there:
        found = await there.found()
    assert (found.servers, found.useful) == ((), False)


async def test_sending_alone_is_not_enough(trusted: ssl.SSLContext) -> None:
    zone: Zone = {("_submission._tcp.example.org", "SRV"): ("0 1 587 smtp.example.org.",)}
    async with world(trusted, zone, {f"{DATABASE}example.org": document("imap.example.org")}) as there:
        found = await there.found()
    assert found.how == "Thunderbird's database knows example.org."


async def test_the_domain_s_document_comes_before_its_records_and_those_before_the_database(trusted: ssl.SSLContext) -> None:
    zone: Zone = {("_imaps._tcp.example.org", "SRV"): ("0 1 993 srv.example.org.",)}
    pages = {WELL_KNOWN: document("own.example.org"), f"{DATABASE}example.org": document("database.example.org")}
    async with world(trusted, zone, pages) as there:
        assert (await there.found()).servers[0].host == "own.example.org"
        there.web.pages = {f"{DATABASE}example.org": document("database.example.org")}
        assert (await there.found()).servers[0].host == "srv.example.org"


# --- trouble ----------------------------------------------------------------------------------------------------------


async def test_a_name_service_that_fails_leaves_the_documents(trusted: ssl.SSLContext) -> None:
    zone: Zone = {("example.org", "MX"): Fault.SERVFAIL, ("_imaps._tcp.example.org", "SRV"): Fault.SERVFAIL}
    async with world(trusted, zone, {f"{DATABASE}example.org": document("imap.example.org")}) as there:
        found = await there.found()
    assert found.servers[0].host == "imap.example.org"
    assert "MX of example.org" in found.failed[0]
    assert "SRV of _imaps._tcp.example.org" in found.failed[3]


async def test_nothing_answers(trusted: ssl.SSLContext) -> None:
    names = ("imaps", "imap", "pop3s", "pop3", "submissions", "submission")
    services = {(f"_{name}._tcp.example.org", "SRV"): Fault.SILENCE for name in names}
    pages = {AUTOCONFIG: None, WELL_KNOWN: None, f"{DATABASE}example.org": None}
    async with world(trusted, {("example.org", "MX"): Fault.SILENCE, **services}, pages, timeout=0.2) as there:
        found = await there.found(within=0.4)
    assert found.failed == (
        "MX of example.org: no name server answered within 0.2 s.",
        f"https://{AUTOCONFIG} within 0.2 s.",
        f"https://{WELL_KNOWN} within 0.2 s.",
        "SRV of _imaps._tcp.example.org: no name server answered within 0.2 s.",
        f"https://{DATABASE}example.org within 0.2 s.",
    )


async def test_each_source_has_a_limit_of_its_own(trusted: ssl.SSLContext) -> None:
    async with world(trusted, {("example.org", "MX"): Fault.SILENCE}, {AUTOCONFIG: None}, timeout=30) as there:
        found = await there.found(within=0.2)
    assert found.failed[:2] == (
        "MX records of example.org: no answer within 0.2 s.",
        f"https://{AUTOCONFIG} within 0.1 s.",
    )


async def test_a_domain_beyond_ascii(trusted: ssl.SSLContext) -> None:
    pages = {"autoconfig.xn--mller-kva.example/mail/config-v1.1.xml": document("imap.example.org")}
    async with world(trusted, {}, pages) as there:
        found = await there.found(" info@Müller.example ")
    assert (found.address, found.servers[0].host) == ("info@xn--mller-kva.example", "imap.example.org")


@pytest.mark.parametrize(
    "address",
    ["", "a", "@b.example", "a@", "a@b", "a@b..example", "a b@c.example", "a@b@c.example", "a\n@b.example", "a@-.example"],
)
async def test_what_is_no_address(trusted: ssl.SSLContext, address: str) -> None:
    async with world(trusted, {}) as there:
        with pytest.raises(ConfigError, match="is not an e-mail address"):
            await there.found(address)
