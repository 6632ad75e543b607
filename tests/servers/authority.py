"""An OAuth 2.0 authority: npm oidc-provider in a process of its own, with a side door for the tests.

What applications see is standard (RFC 6749, 7636, 7662, 7009). What tests order goes through ``/control/``, which the
methods below call; all of them return when the order is in force.
"""

from __future__ import annotations

import functools
import http.client
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from servers.certificates import LOOPBACK, Certificates
from servers.dovecot_config import Tokens
from servers.install import beside_python
from servers.waiting import answers, free_ports, wait_for

PROGRAM = Path(__file__).parent / "authority" / "server.mjs"

Endpoint = Literal["token", "introspection"]
Fault = Literal[
    "throttled",  # 429 with Retry-After
    "unavailable",  # 503 with a page, with Retry-After if one is given
    "broken",  # 200 with half a JSON object
    "answer",  # ``status`` and ``body`` as given
    "drop",  # the connection is cut and the request not processed
    "lost",  # the request is processed and the connection cut instead of an answer
    "delay",  # the true answer, ``seconds`` later
]


@dataclass(frozen=True)
class Client:
    """A registered application."""

    id: str
    secret: str


TEST = Client("postroom-test", "client-secret-of-the-test")
OTHER = Client("postroom-other", "client-secret-of-the-other")
SERVER = Client("server", "secret")  # Dovecot, asking about tokens


@dataclass(frozen=True)
class TokenRequest:
    """One request to the token endpoint, as it came in."""

    path: str  # as asked for, before it was found to be an alias
    grant_type: str | None
    client_id: str | None
    authentication: str  # basic, post or none: where the client's secret stood
    refresh_token: str | None
    account: str | None  # whose refresh token it is or was
    scope: str | None
    status: int | None  # None: no answer was sent, or not yet
    fault: Fault | None


class Authority:
    """A running authority on the loopback address. As a context manager it starts on entry and is ended on exit.

    It speaks HTTP on ``url`` and, given ``certificates``, the same over TLS on ``https_url``.
    """

    def __init__(self, *, certificates: Certificates | None = None, clients: Sequence[Client] = (TEST, OTHER)) -> None:
        self._port, self._tls_port = free_ports(2)
        self._certificates = certificates
        self._clients = clients
        self._directory = Path(tempfile.mkdtemp(prefix="pr-oauth-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The beginning of all its addresses, without TLS."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def https_url(self) -> str:
        """The beginning of all its addresses over TLS; there must be ``certificates``."""
        return f"https://localhost:{self._tls_port}"

    @property
    def token_url(self) -> str:
        """Where applications get tokens; Google's paths have the same endpoint."""
        return f"{self.url}/token"

    def microsoft_token_url(self, tenant: str = "common") -> str:
        """The same token endpoint under Microsoft's path."""
        return f"{self.url}/{tenant}/oauth2/v2.0/token"

    @property
    def tokens(self) -> Tokens:
        """What Dovecot must know to ask about access tokens."""
        return Tokens(
            introspection_url=f"http://{SERVER.id}:{SERVER.secret}@127.0.0.1:{self._port}/introspect",
            discovery_url=f"{self.url}/.well-known/openid-configuration",
        )

    def start(self) -> None:
        """Start it; it answers afterwards."""
        ports = [self._port, self._tls_port] if self._certificates else [self._port]
        with self._log.open("wb") as log:
            # It ends at the end of its standard input: also when the tests are killed, it does not stay behind.
            self._process = subprocess.Popen(
                [beside_python("node") or "node", PROGRAM, json.dumps(self._options())],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )
        for port in ports:
            wait_for(functools.partial(self._answers, port), f"the authority on port {port}", timeout=30)

    def _options(self) -> dict[str, object]:
        options: dict[str, object] = {
            "port": self._port,
            "clients": [asdict(client) for client in self._clients],
            "server": asdict(SERVER),
            "tls": None,
        }
        if self._certificates:
            certificate, key = self._certificates.issue(*LOOPBACK)
            options["tls"] = {"port": self._tls_port, "certificate": str(certificate), "key": str(key)}
        return options

    def _answers(self, port: int) -> bool:
        if self._process is None or self._process.poll() is not None:
            raise AssertionError(f"the authority ended: {self.log_text()}")
        return answers("127.0.0.1", port)

    def close(self) -> None:
        """End it and forget everything."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait(timeout=10)
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Authority:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def log_text(self) -> str:
        """What it wrote about itself; errors of its own among it."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    # Tokens

    def refresh_token(self, account: str, *, client: Client = TEST, rotate: bool = False, ttl: int | None = None) -> str:
        """A refresh token for all scopes, as after a consent; with ``ttl`` 0 it is over already.

        With ``rotate`` each use gives a new one, and a second use of an old one ends the whole consent.
        """
        return str(self._control("refresh_token", account=account, client_id=client.id, rotate=rotate, ttl=ttl))

    def access_token(self, account: str, ttl: int | None = None, *, client: Client = TEST) -> str:
        """An access token that no request asked for; with ``ttl`` 0 it is over already."""
        return str(self._control("access_token", account=account, client_id=client.id, ttl=ttl))

    def revoke_access(self, token: str | None = None, *, account: str | None = None) -> int:
        """End one access token or all of an account; how many there were."""
        return int(self._control("revoke_access", token=token, account=account))

    def revoke_refresh(self, token: str | None = None, *, account: str | None = None) -> int:
        """End one refresh token or all of an account, and no access token; how many there were."""
        return int(self._control("revoke_refresh", token=token, account=account))

    # How it behaves, until reset()

    def set_access_ttl(self, seconds: int) -> None:
        """The lifetime of the access tokens it gives from now on."""
        self._control("set", accessTtl=seconds)

    def set_token_length(self, characters: int) -> None:
        """The length of the access tokens it gives from now on; Microsoft's have some 2,000 characters."""
        self._control("set", tokenLength=characters)

    def rotate(self, on: bool, *, reuse_detection: bool = True) -> None:
        """Whether each use of a refresh token gives a new one.

        With reuse detection a second use of the old one ends the whole consent (RFC 9700 section 4.14.2), without it
        the old one stays good, as Microsoft's do.
        """
        self._control("rotation", on=on, reuse_detection=reuse_detection)

    def fault(
        self,
        kind: Fault,
        times: int = 1,
        *,
        endpoint: Endpoint = "token",
        retry_after: int | str | None = None,
        seconds: float = 0,
        status: int = 400,
        body: str = "",
    ) -> None:
        """What happens to the next ``times`` requests, after what was ordered before."""
        self._control(
            "fault",
            kind=kind,
            times=times,
            endpoint=endpoint,
            retry_after=retry_after,
            seconds=seconds,
            status=status,
            body=body,
        )

    def reset(self) -> None:
        """Faults, lifetimes, rotation and the record of requests are as at the start; tokens stay."""
        self._control("reset")

    # What was asked of it

    def requests(self, account: str | None = None) -> list[TokenRequest]:
        """The requests to the token endpoint since the last reset, oldest first; of all accounts or of one."""
        return [TokenRequest(**entry) for entry in self._control("requests", account=account)]

    def count(self, account: str | None = None) -> int:
        """How many requests to the token endpoint there were."""
        return len(self.requests(account))

    def _control(self, name: str, /, **arguments: object) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("POST", f"/control/{name}", json.dumps(arguments))
            answer = connection.getresponse()
            result = json.loads(answer.read())
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise AssertionError(f"the authority: {result}\n{self.log_text()}")
        return result
