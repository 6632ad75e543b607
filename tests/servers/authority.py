"""An OAuth 2.0 authority: npm oidc-provider in a process of its own, with a side door for the tests.

What applications see is standard (RFC 6749, 7523, 7636, 7662, 7009, 8628, 9207), with the grants and paths of Google and
of Microsoft beside it. What tests order goes through ``/control/``: ``authority_orders.py`` has the orders.
"""

from __future__ import annotations

import functools
import http.client
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from servers.authority_orders import OTHER, PUBLIC, SERVER, TEST, Client, Endpoint, Fault, Orders, TokenRequest
from servers.certificates import LOOPBACK, Certificates
from servers.dovecot_config import Tokens
from servers.install import beside_python
from servers.waiting import answers, free_ports, wait_for

__all__ = ["OTHER", "PUBLIC", "SERVER", "TEST", "Authority", "Client", "Endpoint", "Fault", "TokenRequest"]

PROGRAM = Path(__file__).parent / "authority" / "server.mjs"


class Authority(Orders):
    """A running authority on the loopback address. As a context manager it starts on entry and is ended on exit.

    It speaks HTTP on ``url`` and, given ``certificates``, the same over TLS on ``https_url``.
    """

    def __init__(
        self,
        *,
        certificates: Certificates | None = None,
        certificate_names: tuple[str, ...] = LOOPBACK,
        clients: Sequence[Client] = (TEST, OTHER, PUBLIC),
    ) -> None:
        self._port, self._tls_port = free_ports(2)
        self._certificates = certificates
        self._names = certificate_names
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
        return f"https://{self._names[0]}:{self._tls_port}"

    @property
    def token_url(self) -> str:
        """Where applications get tokens; Google's paths have the same endpoint."""
        return f"{self.url}/token"

    def microsoft_token_url(self, tenant: str = "common") -> str:
        """The same token endpoint under Microsoft's path."""
        return f"{self.url}/{tenant}/oauth2/v2.0/token"

    @property
    def authorize_url(self) -> str:
        """Where a browser is sent to consent."""
        return f"{self.url}/authorize"

    @property
    def device_url(self) -> str:
        """Where device codes are given (RFC 8628 section 3.1)."""
        return f"{self.url}/device_authorization"

    def microsoft_device_url(self, tenant: str = "common") -> str:
        """The same under Microsoft's path."""
        return f"{self.url}/{tenant}/oauth2/v2.0/devicecode"

    @property
    def tokens(self) -> Tokens:
        """What Dovecot must know to ask about access tokens."""
        return Tokens(
            introspection_url=f"http://{SERVER.id}:{SERVER.secret}@127.0.0.1:{self._port}/introspect",
            discovery_url=f"{self.url}/.well-known/openid-configuration",
            applications=True,
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
            certificate, key = self._certificates.issue(*self._names)
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
