"""Credentials: who answers a server's challenge, with a password or with a token, and explains its refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from postroom.clock import Clock
from postroom.errors import LocalProtocolError, NoMechanism
from postroom.model import AccessToken
from postroom.net.refusals import Rule, Where, explain, heard_from_words
from postroom.net.tokens import TokenRequest
from postroom.secret import Secret
from postroom.wire import jwt, sasl


@dataclass(frozen=True, slots=True)
class Answer:
    """How a challenge is answered: the mechanism, its exchange, and which token it uses until when."""

    mechanism: str
    exchange: sasl.Exchange
    version: int = 0
    valid_until: float | None = None  # None: for as long as the conversation lasts


class Credentials(Protocol):
    """Answers a server's challenge (RFC 4422, RFC 6749)."""

    @property
    def user(self) -> str:
        """The login name at the server."""

    async def prepare(self, offered: Sequence[str]) -> str:
        """Get what an answer to these mechanisms will need; one line about it, or nothing. Raises what ``answer`` does."""

    async def answer(self, offered: Sequence[str], host: str, port: int) -> Answer:
        """Choose the strongest offered mechanism. Raises ``NoMechanism``, ``TokenRefused`` and the network's errors."""

    async def refused(self, version: int) -> bool:
        """The server said no to that version. True if once more may help: a newer token is here, or one refresh was made."""

    async def explain(self, words: str) -> Explained:
        """What the server's words of a refusal mean, and what to do."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A refused login in plain words."""

    remedy: str = ""
    rule: Rule | None = None


class PasswordCredentials:
    """A login with name and password."""

    def __init__(self, user: str, password: Secret, mechanisms: Sequence[str], provider: str, client: str) -> None:
        self.user = user
        self._password = password
        self._mechanisms = [name for name in sasl.PASSWORD_MECHANISMS if not mechanisms or name in mechanisms]
        self._provider = provider
        self._client = client

    async def prepare(self, offered: Sequence[str]) -> str:
        self._mechanism(offered)
        return ""

    async def answer(self, offered: Sequence[str], _host: str, _port: int) -> Answer:
        name = self._mechanism(offered)
        return Answer(name, sasl.PASSWORD_MECHANISMS[name](self.user, self._password))

    def _mechanism(self, offered: Sequence[str]) -> str:
        return _strongest(self._mechanisms, offered)

    async def refused(self, _version: int) -> bool:
        return False

    async def explain(self, words: str) -> Explained:
        return _explained(self._provider, words, self._client)


class TokenSource(Protocol):
    """Gives access tokens; ``Tokens`` is one."""

    async def get(self, request: TokenRequest, refused: int | None = None) -> AccessToken: ...


class TokenCredentials:
    """A login with an access token (XOAUTH2, OAUTHBEARER)."""

    def __init__(
        self,
        user: str,
        request: TokenRequest,
        tokens: TokenSource,
        mechanisms: Sequence[str],
        wanted: jwt.Wanted,
        clock: Clock,
    ) -> None:
        self.user = user
        self._request = request
        self._tokens = tokens
        self._mechanisms = [name for name in sasl.TOKEN_MECHANISMS if name in mechanisms]
        self._wanted = wanted
        self._clock = clock
        self._refused: int | None = None
        self._used: AccessToken | None = None

    async def prepare(self, offered: Sequence[str]) -> str:
        self._mechanism(offered)
        token = self._used = await self._tokens.get(self._request, self._refused)
        claims = jwt.claims_of(token.token)
        left = f"good for {max(token.expires_at - self._clock.now(), 0) / 60:.0f} min"
        told = [*([jwt.described(claims)] if claims else []), *self._token_faults()]
        return "; ".join([left, *(words for words in told if words)])

    async def answer(self, offered: Sequence[str], host: str, port: int) -> Answer:
        name = self._mechanism(offered)
        token = self._used = await self._tokens.get(self._request, self._refused)
        if name == "XOAUTH2":
            exchange = sasl.xoauth2(self.user, token.token)
        elif name == "OAUTHBEARER":
            exchange = sasl.oauthbearer(self.user, token.token, host, port)
        else:
            raise LocalProtocolError(f"no exchange for {name}")
        return Answer(name, exchange, token.version, token.expires_at)

    def _mechanism(self, offered: Sequence[str]) -> str:
        return _strongest(self._mechanisms, offered)

    async def refused(self, version: int) -> bool:
        self._refused = version
        token = await self._tokens.get(self._request, version)
        return token.version != version

    async def explain(self, words: str) -> Explained:
        """The table's words for the refusal, and what the token itself tells where it can be read."""
        known = _explained(self._request.authority, words, self._request.client)
        read = self._token_faults()
        return Explained(" ".join([*read, *([known.remedy] if known.remedy else [])]), known.rule)

    def _token_faults(self) -> list[str]:
        """Why the token in use does not open the mailbox, where it can be read; empty where nothing speaks against it."""
        claims = jwt.claims_of(self._used.token) if self._used is not None else None
        if claims is None:
            return []
        return jwt.complaints(claims, self._wanted, self._clock.now())


def _explained(authority: str, words: str, client: str) -> Explained:
    rule = explain(heard_from_words(Where.LOGIN, authority, words))
    return Explained(rule.advice(client), rule) if rule is not None else Explained()


def _strongest(wanted: Sequence[str], offered: Sequence[str]) -> str:
    """The first wanted mechanism that is offered. Raises ``NoMechanism``."""
    for name in wanted:
        if name in offered:
            return name
    raise NoMechanism(_offer(wanted, offered))


def _offer(wanted: Sequence[str], offered: Sequence[str]) -> str:
    return f"the configuration allows {', '.join(wanted) or 'none'}; the server offers {', '.join(offered) or 'none'}"
