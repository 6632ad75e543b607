"""The server's side of XOAUTH2 and OAUTHBEARER, for pymap.

pysasl has XOAUTH2 without the error challenge and no OAUTHBEARER, and the refusal is what an application must be tested
with. An exchange has these steps:

1. The server asks with an empty challenge; the client answers with user and token.
2. The token is judged. A good one ends the exchange here.
3. A bad one is answered by a JSON challenge that says why (RFC 7628 section 3.2.2).
4. The client answers once more, with nothing that matters, and the login fails (RFC 7628 section 3.2.3).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pysasl.exception import InvalidResponse
from pysasl.mechanism import ServerChallenge, ServerMechanism


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the authority says of a user name and a token."""

    account: str  # whose mailbox opens; empty when refused
    error: str = ""  # RFC 6750 section 3.1: invalid_token or insufficient_scope


Judge = Callable[[str, str], Verdict]
"""Judges a user name (empty where the client named none) and a token, at once: pymap's SASL seam cannot wait."""


class BearerCredentials:
    """What a bearer exchange proved, in the form that pymap hands on to its login."""

    def __init__(self, verdict: Verdict) -> None:
        self.authcid = verdict.account
        self.authzid = verdict.account
        self.accepted = not verdict.error

    def verify(self, identity: object) -> bool:
        """Whether the token was good. The identity has nothing to add: a token has no password to compare."""
        return self.accepted


class Bearer(ServerMechanism):  # type: ignore[misc]
    """What both mechanisms share; a subclass reads the client's message and words the refusal."""

    def __init__(self, name: bytes, judge: Judge, scope: str, discovery: str) -> None:
        super().__init__(name)
        self.judge = judge
        self.scope = scope  # named in the challenge: what the token should have
        self.discovery = discovery  # address of the authority's metadata

    def server_attempt(self, responses: Sequence[Any]) -> tuple[BearerCredentials, None]:
        """One step of the exchange: raise the next challenge, or return what was proved."""
        if not responses:
            raise ServerChallenge(b"")
        verdict = self.judge(*self.read(responses[0].response))
        if verdict.error and len(responses) == 1:
            raise ServerChallenge(json.dumps(self.refusal(verdict.error)).encode())
        return BearerCredentials(verdict), None

    def read(self, message: bytes) -> tuple[str, str]:
        """User and token of the client's message."""
        raise NotImplementedError

    def refusal(self, error: str) -> dict[str, str]:
        """The JSON object of the error challenge."""
        raise NotImplementedError


class Xoauth2(Bearer):
    """XOAUTH2 (Google, "OAuth 2.0 Mechanism"), with the statuses of HTTP as Google sends them."""

    MESSAGE = re.compile(rb"user=([^\x01]*)\x01auth=bearer ([^\x01]*)\x01\x01", re.IGNORECASE)

    def read(self, message: bytes) -> tuple[str, str]:
        match = self.MESSAGE.fullmatch(message)
        if match is None:
            raise InvalidResponse
        return _text(match[1]), _text(match[2])

    def refusal(self, error: str) -> dict[str, str]:
        # RFC 6750 section 3.1 gives each error its HTTP status.
        status = "403" if error == "insufficient_scope" else "401"
        return {"status": status, "schemes": "bearer", "scope": self.scope}


class Oauthbearer(Bearer):
    """OAUTHBEARER (RFC 7628)."""

    # RFC 7628 section 3.1: client-resp = (gs2-header kvsep *kvpair kvsep) / kvsep
    MESSAGE = re.compile(rb"n,(?:a=([^,\x01]*))?,\x01((?:[A-Za-z]+=[^\x01]*\x01)*)\x01")

    def read(self, message: bytes) -> tuple[str, str]:
        match = self.MESSAGE.fullmatch(message)
        if match is None:
            raise InvalidResponse
        pairs = dict(pair.split(b"=", 1) for pair in match[2].split(b"\x01") if pair)
        scheme, _, token = pairs.get(b"auth", b"").partition(b" ")
        user = (match[1] or b"").replace(b"=2C", b",").replace(b"=3D", b"=")  # RFC 5801 section 4, saslname
        # An empty "auth" asks where to get a token (RFC 7628 section 3.2.2): the challenge answers that too.
        return _text(user), _text(token) if scheme.lower() == b"bearer" else ""

    def refusal(self, error: str) -> dict[str, str]:
        return {"status": error, "scope": self.scope, "openid-configuration": self.discovery}


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise InvalidResponse from None
