"""How a token is asked for: one small record for each kind of authorization grant (RFC 6749 section 1.3).

A way knows two things: by which texts its chain is recognised again in the store (their keyed hash is kept, never they), and
which request it makes. ``tokens`` does the rest: caching, one request at a time, what is kept, what a refusal means.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from postroom.errors import TokenUnavailable
from postroom.net.assertion import client_assertion, service_account_assertion
from postroom.secret import Secret
from postroom.settings import ServiceAccountKey
from postroom.wire import oauth

_LONGEST_OUTPUT = 65536  # octets of a command's answer


@dataclass(frozen=True, slots=True)
class Application:
    """A registered client (RFC 6749 section 2) with what proves it: a secret, a certificate, or nothing (public)."""

    client_id: str
    secret: Secret | None = None
    certificate: str | None = None  # PEM
    private_key: Secret | None = None  # PEM

    @property
    def texts(self) -> tuple[str, ...]:
        """What another proof of the application would differ in."""
        secret = self.secret.reveal() if self.secret is not None else ""
        return (secret, self.certificate) if self.certificate else (secret,)

    def proof(self, endpoint: str, now: float) -> oauth.Form:
        """The fields that prove the application at an endpoint. Raises ``ConfigError`` for a key that cannot be used."""
        if self.certificate is None or self.private_key is None:
            return oauth.client_form(self.client_id, self.secret, None)
        assertion = client_assertion(self.client_id, endpoint, self.certificate, self.private_key, now)
        return oauth.client_form(self.client_id, None, assertion)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """RFC 6749 section 6. Without a configured token only a consent in the vault has one."""

    configured: Secret | None


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """The application's own right (RFC 6749 section 4.4)."""


@dataclass(frozen=True, slots=True)
class OwnerPassword:
    """The resource owner's password (RFC 6749 section 4.3); legacy."""

    user: str
    password: Secret


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A Google service account that acts for a user of its domain."""

    key: ServiceAccountKey
    subject: str


@dataclass(frozen=True, slots=True)
class External:
    """A command or an address that answers with a token. ``environment`` tells a command for whom."""

    command: tuple[str, ...] | None
    url: str | None
    environment: Mapping[str, str] = field(default_factory=dict)

    async def run(self, timeout: float) -> bytes:
        """Run the command; what it prints. Raises ``TokenUnavailable``; no output is repeated but the first line of its errors."""
        assert self.command is not None
        try:
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **self.environment},
            )
        except OSError as error:
            raise TokenUnavailable(f"token-command {self.command[0]}: {error.strerror}", remedy=_COMMAND) from None
        try:
            async with asyncio.timeout(timeout):
                out, said = await process.communicate()
        except TimeoutError:
            raise TokenUnavailable(
                f"token-command {self.command[0]} printed nothing within {timeout:g} s", remedy=_COMMAND
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode or len(out) > _LONGEST_OUTPUT or not out.strip():
            words = said.decode("utf-8", "replace").strip().partition("\n")[0][:200]
            told = f"ended with status {process.returncode}" if process.returncode else "printed no token"
            raise TokenUnavailable(f"token-command {self.command[0]} {told}{': ' + words if words else ''}", remedy=_COMMAND)
        return out


_COMMAND = "Run the command by hand as the user that Postroom runs as; it must print a token and end with status 0."

Way = RefreshToken | ClientCredentials | OwnerPassword | ServiceAccount | External


def recognised_by(way: Way) -> tuple[str, tuple[str, ...]]:
    """The kind of a way's chain and the texts whose keyed hash tells it from others of its kind; no texts: there is but one."""
    match way:
        case RefreshToken(configured):
            return "", ("" if configured is None else configured.reveal(),)
        case ClientCredentials():
            return "client_credentials", ()
        case OwnerPassword(user, password):
            return "password", (user.lower(), password.reveal())
        case ServiceAccount(key, subject):
            return "service_account", (key.client_email, key.private_key_id, subject)
        case External(command, url, environment):
            return "external", (*(command or ()), url or "", *environment.values())


def form_of(way: Way, refresh_token: Secret, application: Application, endpoint: str, scope: str | None, now: float) -> oauth.Form:
    """What is posted to the token endpoint. Raises ``ConfigError`` for a key that cannot be used."""
    match way:
        case RefreshToken():
            form = oauth.refresh_form(refresh_token, scope)
        case ClientCredentials():
            form = oauth.client_credentials_form(scope)
        case OwnerPassword(user, password):
            form = oauth.password_form(user, password, scope)
        case ServiceAccount(key, subject):
            texts = (key.private_key, key.private_key_id, endpoint, subject, scope or "")
            return oauth.assertion_form(service_account_assertion(key.client_email, *texts, now))
        case External():
            raise AssertionError("an external token is not asked for at a token endpoint")
    return {**form, **application.proof(endpoint, now)}
