"""An authority of our own that deviates as Google and Microsoft document it, and answers as it is told.

``python -m servers.deviant PORT`` serves until its standard input ends. ``servers.authority`` is the one for what the
standards say; this one is for their answers word by word, throttling, and tokens that are not good everywhere at once.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from aiohttp import web

from servers.authority_orders import TEST
from servers.deviant_refusals import REFUSALS
from servers.deviant_server import TENANT, Endpoints, Provider, digest
from servers.dovecot_config import DOMAIN, Tokens
from servers.waiting import answers, free_ports, wait_for

__all__ = ["REFUSALS", "TENANT", "Deviant", "Request", "digest"]


@dataclass(frozen=True)
class Request:
    """One request of an application, or of a browser to a page of consent."""

    path: str
    form: dict[str, str]  # its fields; ``digest(…)`` stands for a secret
    status: int | None  # None: not answered yet
    scripted: bool  # whether the answer was ordered
    given: dict[str, str]  # the tokens in the answer, as digests


class Deviant:
    """A running authority on the loopback address. As a context manager it starts on entry and is ended on exit."""

    def __init__(self) -> None:
        [self._port] = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="pr-deviant-"))

    @property
    def url(self) -> str:
        """The beginning of all its addresses."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def token_url(self) -> str:
        """Google's token endpoint."""
        return f"{self.url}/token"

    @property
    def authorize_url(self) -> str:
        """Google's consent page; ``/o/oauth2/auth`` is the same."""
        return f"{self.url}/o/oauth2/v2/auth"

    def microsoft_token_url(self, tenant: str = "common") -> str:
        """Microsoft's token endpoint."""
        return f"{self.url}/{tenant}/oauth2/v2.0/token"

    def microsoft_authorize_url(self, tenant: str = "common") -> str:
        """Microsoft's consent page."""
        return f"{self.url}/{tenant}/oauth2/v2.0/authorize"

    def microsoft_device_url(self, tenant: str = "common") -> str:
        """Where Microsoft gives device codes."""
        return f"{self.url}/{tenant}/oauth2/v2.0/devicecode"

    def admin_consent_url(self, tenant: str = "organizations") -> str:
        """Where an administrator consents for all."""
        return f"{self.url}/{tenant}/v2.0/adminconsent"

    @property
    def tokens(self) -> Tokens:
        """What Dovecot must know to ask about access tokens."""
        return Tokens(f"{self.url}/introspect", f"{self.url}/.well-known/openid-configuration", applications=True)

    def start(self) -> None:
        """Start it; it answers afterwards."""
        parent = str(Path(__file__).parent.parent)
        path = os.pathsep.join(filter(None, [parent, os.environ.get("PYTHONPATH", "")]))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "servers.deviant", str(self._port)],
                stdin=subprocess.PIPE,  # it ends with this, so it does not outlive the tests
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": path},
            )
        wait_for(functools.partial(self._answers, self._process), f"the authority on port {self._port}", timeout=30)

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        if process.poll() is not None:
            raise AssertionError(f"the authority ended: {self.log_text()}")
        return answers("127.0.0.1", self._port)

    def close(self) -> None:
        """End it and forget everything."""
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait(timeout=10)
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Deviant:
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
        """What it wrote about itself."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    # The next answers of the token endpoint

    def answer(
        self,
        status: int,
        body: str | dict[str, object] = "",
        *,
        times: int = 1,
        headers: dict[str, str] | None = None,
        grant_type: str | None = None,
    ) -> None:
        """Answer the next ``times`` token requests (of one grant type, if one is given) like this."""
        text = body if isinstance(body, str) else json.dumps(body)
        self._control("answer", times=times, status=status, headers=headers or {}, body=text, grant_type=grant_type)

    def refuse(self, name: str, *, times: int = 1, grant_type: str | None = None) -> None:
        """Refuse the next ``times`` token requests with one of ``REFUSALS``."""
        refusal = REFUSALS[name]
        self.answer(refusal.status, refusal.body(), times=times, grant_type=grant_type)

    def throttle(self, times: int = 1, *, retry_after: int | str | None = None, status: int = 429) -> None:
        """Throttle the next token requests, by 429 or 503, with ``Retry-After`` only if one is given."""
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        self.answer(status, REFUSALS["AADSTS90055"].body(), times=times, headers=headers)

    # How it behaves, until reset()

    def spread_late(self, tokens: int) -> None:
        """The mail server refuses so many of an application's own tokens first: a grant that has not spread yet."""
        self._control("set", late=tokens)

    def set_lifetime(self, seconds: int) -> None:
        """The lifetime of the access tokens it gives from now on."""
        self._control("set", lifetime=seconds)

    def sign_in(self, *accounts: str) -> None:
        """The accounts that its consent pages offer."""
        self._control("set", signed_in=accounts)

    def refuse_page(self, status: int, error: str, words: str) -> None:
        """Show a refusal in the place of every consent page; the application hears nothing."""
        self._control("set", page=[status, error, words])

    def refuse_admin(self, error: str, words: str) -> None:
        """End each admin consent with this error in the redirection."""
        self._control("set", admin_error=[error, words])

    def approve_device(self, user_code: str, account: str) -> None:
        """A person enters the code and consents."""
        self._control("device", user_code=user_code, account=account)

    def deny_device(self, user_code: str) -> None:
        """A person enters the code and says no; Microsoft's word is ``authorization_declined``."""
        self._control("device", user_code=user_code, account=None)

    def refresh_token(self, account: str, *, client_id: str = TEST.id, scope: str = "", microsoft: bool = False) -> str:
        """A refresh token as after a consent; with ``microsoft`` each use gives another, and all stay good."""
        arguments = {"account": account, "client_id": client_id, "scope": scope, "microsoft": microsoft}
        return str(self._control("refresh_token", **arguments))

    def reset(self) -> None:
        """All orders and the record are as at the start; tokens stay."""
        self._control("reset")

    # What was asked of it

    def requests(self, path: str | None = None) -> list[Request]:
        """The requests since the last reset, oldest first; of all paths or those that end so."""
        found = [Request(**entry) for entry in self._control("requests")]
        return [request for request in found if path is None or request.path.endswith(path)]

    def _control(self, name: str, /, **arguments: object) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"/control/{name}", json.dumps(arguments), headers)
            answer = connection.getresponse()
            octets = answer.read()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise AssertionError(f"the authority: {octets.decode()}\n{self.log_text()}")
        return json.loads(octets)


async def serve(port: int) -> None:
    """Serve until standard input ends."""
    runner = web.AppRunner(Endpoints(Provider(DOMAIN)).application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
