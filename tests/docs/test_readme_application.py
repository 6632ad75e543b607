"""The application that the documentation shows is the very file that is run, and killed, as a test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from crash.answers import APPLICATION
from docs.pages import ROOT

PAGES = ["docs/guides/application.md", "README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_page_shows_the_file(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert APPLICATION.read_text("utf-8") in blocks
    assert "examples/answer.py" in text


def test_it_has_twenty_lines_of_code() -> None:
    lines = [line for line in APPLICATION.read_text("utf-8").splitlines() if line.strip()]
    assert lines[0].startswith('"""')
    assert len(lines) - 1 <= 20


class _Refusing(HTTPServer):
    """Answers each request with the next of its statuses."""

    statuses: Iterator[int]


class _Refusal(BaseHTTPRequestHandler):
    server: _Refusing

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status = next(self.server.statuses)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(f"refused with {status}".encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("status", [401, 403, 404], ids=["key", "right", "application"])
def test_it_goes_on_when_the_service_is_away_and_ends_when_it_is_refused(status: int) -> None:
    with _Refusing(("127.0.0.1", 0), _Refusal) as service:
        service.statuses = iter([503, status])
        Thread(target=service.serve_forever, daemon=True).start()
        try:
            environment = {**os.environ, "POSTROOM": f"http://127.0.0.1:{service.server_port}", "POSTROOM_KEY": "wrong"}
            ended = subprocess.run([sys.executable, APPLICATION], env=environment, capture_output=True, text=True, timeout=30)
        finally:
            service.shutdown()
    assert (ended.returncode, ended.stderr) == (1, f"refused with {status}\n")
    assert not list(service.statuses)
