"""The section ``web``: where the server answers for itself."""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from postroom.settings import values
from postroom.settings.option import Effect, option

_WHOLE = "The option."


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Where the server answers for itself: the REST API, health and metrics."""

    listen: tuple[str, int] = option(
        "listen",
        values.listen,
        default="127.0.0.1:8025",
        valid="HOST:PORT; port 0 takes a free one",
        effect=Effect.RESTART,
        ours=_WHOLE,
        sentence="Where the REST API, health and metrics are served.",
    )
    public_url: str | None = option(
        "public-url",
        values.base_url,
        default_words="The address of listen",
        valid="an https:// address without a query; http:// on this machine only",
        effect=Effect.RESTART,
        ours=_WHOLE,
        sentence="How the server is reached from outside, where a reverse proxy stands before it: the addresses that are handed "
        "out begin with it.",
    )
    tls_certificate: Path | None = option(
        "tls-certificate",
        values.certificates,
        valid="a file with the certificate and its chain in PEM form",
        effect=Effect.RESTART,
        ours=_WHOLE,
        sentence="The server's certificate: with it all is served over https://.",
    )
    tls_key: Path | None = option(
        "tls-key",
        values.private_key_file,
        valid="a file with the private key of the certificate in PEM form, without a passphrase",
        effect=Effect.RESTART,
        ours=_WHOLE,
        sentence="The certificate's private key.",
    )
    maximum_request_size: int = option(
        "maximum-request-size",
        values.size_of(1024),
        default="64m",
        valid=values.SIZE,
        effect=Effect.RESTART,
        ours=_WHOLE,
        sentence="The largest body of a request that brings mail; every other request may have 1m.",
    )

    @property
    def host(self) -> str:
        """The host's name or address."""
        return self.listen[0]

    @property
    def port(self) -> int:
        """The port; 0 takes a free one."""
        return self.listen[1]

    @property
    def tls(self) -> bool:
        """Whether the server speaks TLS itself."""
        return self.tls_certificate is not None and self.tls_key is not None

    def address(self, port: int | None = None) -> str:
        """How the server is reached: ``public-url``, else the address that is listened on. Without a slash at its end."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port if port is None else port}"


def complaints(web: WebSettings) -> Iterator[tuple[str, str, str]]:
    """What keeps the section down: field, problem and what is valid."""
    for missing, there in (("tls_key", "tls_certificate"), ("tls_certificate", "tls_key")):
        if getattr(web, missing) is None and getattr(web, there) is not None:
            name = there.replace("_", "-")
            yield missing, f"{name} is written and this is not: TLS wants both or neither", ""


def remarks(web: WebSettings) -> Iterator[tuple[str, str, str]]:
    """What is warned of: field, problem and remedy."""
    if not values.is_loopback(web.host) and not web.tls:
        problem = "whoever is on the network's way can read keys and mail: the address is not of this machine, and there is no TLS"
        yield "listen", problem, "Set tls-certificate and tls-key, or listen on 127.0.0.1 behind a reverse proxy that speaks TLS."
