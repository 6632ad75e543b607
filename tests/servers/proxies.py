"""Real proxies: microsocks (SOCKS 5) and tinyproxy (HTTP CONNECT).

Each finds names in a list of its own that nobody else on the machine has: who reaches such a name has had it found there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from servers.install import program
from servers.waiting import answers, free_ports, wait_for

USER, PASSWORD = "rig", "pr0xy pw"  # blanks belong to it


class Proxy:
    """A running proxy; a context manager. With ``login`` it wants ``USER`` and ``PASSWORD``."""

    kind = ""  # as the option type has it
    password = PASSWORD
    _line = re.compile("")  # of the log, for each way that was opened; host and port in it

    def __init__(self, hosts: Mapping[str, str], *, login: bool = False) -> None:
        self.login = login
        (self.port,) = free_ports(1)
        self._directory = Path(tempfile.mkdtemp(prefix="pr-proxy-"))
        (self._directory / "hosts").write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
        self._process: subprocess.Popen[bytes] | None = None

    def _command(self) -> list[str]:
        raise NotImplementedError

    @property
    def ways(self) -> list[str]:
        """Every way that was opened, as HOST or HOST:PORT, oldest first."""
        return self._line.findall(self.log_text())

    def log_text(self) -> str:
        """What it wrote of itself."""
        return (self._directory / "log").read_text(errors="replace")

    def options(self, **more: object) -> dict[str, object]:
        """The section ``proxy`` that leads here."""
        login = {"user": USER, "password": self.password} if self.login else {}
        return {"useProxy": "true", "type": self.kind, "host": "127.0.0.1", "port": self.port, **login, **more}

    def start(self) -> None:
        """Start it; it answers afterwards."""
        (library,) = Path("/usr/lib").glob("*/libnss_wrapper.so")
        environment = {"LD_PRELOAD": str(library), "NSS_WRAPPER_HOSTS": str(self._directory / "hosts"), "PATH": "/usr/bin:/bin"}
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, env=environment)
        wait_for(lambda: answers("127.0.0.1", self.port), self.kind)

    def stop(self) -> None:
        """End it; ``start`` begins anew on the same port."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def __enter__(self) -> Proxy:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self._directory, ignore_errors=True)


class Microsocks(Proxy):
    """SOCKS 5."""

    kind = "SOCKS"
    _line = re.compile(r"connected to (\S+)")

    def _command(self) -> list[str]:
        login = ["-u", USER, "-P", self.password] if self.login else []
        return [program("microsocks") or "microsocks", "-i", "127.0.0.1", "-p", str(self.port), *login]


class Tinyproxy(Proxy):
    """HTTP."""

    kind = "HTTP"
    password = PASSWORD.replace(" ", "-")  # its configuration has no blanks in a word
    _line = re.compile(r'Established connection to host "([^"]+)"')

    def _command(self) -> list[str]:
        configuration = self._directory / "tinyproxy.conf"
        lines = [f"Port {self.port}", "Listen 127.0.0.1", "Timeout 600", "LogLevel Connect", "MaxClients 200"]
        if self.login:
            lines.append(f"BasicAuth {USER} {self.password}")
        configuration.write_text("\n".join(lines) + "\n")
        return [program("tinyproxy") or "tinyproxy", "-d", "-c", str(configuration)]
