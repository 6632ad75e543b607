"""The section ``smtp-listener``, and those of its accounts: where programs hand mail in that speak SMTP only."""

# ruff: noqa: RUF009 - ``option()`` makes a field, as dataclasses.field() does

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from postroom.secret import Secret
from postroom.settings import keys, values
from postroom.settings.option import Effect, option
from postroom.settings.words import Security

_WHOLE = "The option."
_RESTART = Effect.RESTART


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerAccount:
    """A program that may hand mail in."""

    name: str  # the part after "smtp-listener-account-": the login name

    password: Secret = option(
        "password",
        values.secret,
        required=True,
        valid=f"a password, as {values.SECRET_FORMS}",
        effect=_RESTART,
        ours=_WHOLE,
        secret=True,
        sentence="The password with which the program logs in (PLAIN, LOGIN); its login name is the section's own.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """Where programs hand mail in by SMTP (RFC 6409)."""

    accounts: tuple[ListenerAccount, ...] = ()  # the sections smtp-listener-account-<name> that are sound

    listen: tuple[str, int] | None = option(
        "listen",
        values.listen,
        valid="HOST:PORT; port 0 takes a free one",
        effect=_RESTART,
        ours=_WHOLE,
        sentence="Where mail is handed in. Without it nothing listens.",
    )
    security: Security = option(
        "security",
        values.one_of(Security),
        default="none",
        valid="none, start-tls, ssl-tls",
        effect=_RESTART,
        ours=_WHOLE,
        sentence="How connections are protected. `none` is for this machine only (127.0.0.1, ::1, localhost); with `start-tls` "
        "nobody logs in or hands in before TLS is on.",
    )
    tls_certificate: Path | None = option(
        "tls-certificate",
        values.certificates,
        valid="a file with the certificate, and those that vouch for it, in PEM form",
        effect=_RESTART,
        ours=_WHOLE,
        sentence="The certificate that is shown. It must be written with `start-tls` and `ssl-tls`.",
    )
    tls_key: Path | None = option(
        "tls-key",
        keys.key_file,
        valid="a file with the private key of the certificate in PEM form, without a passphrase",
        effect=_RESTART,
        ours=_WHOLE,
        sentence="The certificate's private key. It must be written with `start-tls` and `ssl-tls`.",
    )
    maximum_msg_size: int = option(
        "maximum-msg-size",
        values.size_of(1),
        default="50m",
        valid=f"{values.SIZE}, at least 1",
        effect=_RESTART,
        ours=_WHOLE,
        sentence="The largest message that is taken (RFC 1870).",
    )
    allow_without_login: bool = option(
        "allow-without-login",
        values.boolean,
        default="false",
        valid=values.BOOLEAN,
        effect=_RESTART,
        ours=_WHOLE,
        sentence="Whether whoever is on this machine may hand mail in without a login. It is for a loopback address only.",
    )

    @property
    def host(self) -> str:
        """The host's name or address; empty where nothing listens."""
        return self.listen[0] if self.listen else ""

    @property
    def port(self) -> int:
        """The port; 0 takes a free one."""
        return self.listen[1] if self.listen else 0


def complaints(listener: ListenerSettings, lacking: frozenset[str], accounts: bool) -> Iterator[tuple[str, str, str]]:
    """What the options have wrong together: field, problem and what is valid. ``lacking`` are not written.

    ``accounts`` tells whether the file has a section for one, sound or not.
    """
    if listener.listen is None:
        return
    if listener.security is not Security.NONE:
        for name, what in (("tls_certificate", "a certificate"), ("tls_key", "a private key")):
            if name in lacking:
                yield name, f"security = {listener.security.value} needs {what}, and none is written", f"a file with {what}"
    loopback = values.is_loopback(listener.host)
    if listener.security is Security.NONE and not loopback:
        yield "security", "passwords and mail would cross the network in clear", "start-tls, ssl-tls; none for 127.0.0.1 only"
    if listener.allow_without_login and not loopback:
        yield "allow_without_login", "anybody who reaches this address could send", "false; true for 127.0.0.1 only"
    if not accounts and not listener.allow_without_login:
        where = "a section smtp-listener-account-<name> with a password"
        yield "listen", "nobody could hand mail in: there is no account", f"{where}; or allow-without-login = true on 127.0.0.1"
