"""Nothing secret of what is sent is found anywhere: logs, answers, pages, files, arguments, what commands print.

A server repeats in every reply what it was told, in clear and in base64; logins succeed and fail at it, at the authority, at
the API and at the listener, with level debug and ``enable-debug``. The search is that of ``test_secrets``.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import smtplib
import socketserver
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import Here, Service, rig_sections
from test_rest_service import ask, new_key
from test_secrets import found, octets_below

from servers.authority import TEST, Authority
from servers.waiting import wait_for

PASSWORDS = {name: f"Pw-{name}+4711/of&the=account" for name in ("good", "good-login", "wrong", "wrong-login")}
REFRESH = "1//never+was/a refresh=token of the account"
LISTENER, GUESS = "kaese+und/brot=4711", "guess+at/the=listener"
NO_KEY = "pr_this+is/not=a key at all"
OVER_THE_API = "Pw-given+over/the=API"
BODY = "the salaries of all in the house"


class Repeater(socketserver.StreamRequestHandler):
    """One conversation. Who is named good is let in; a message with the word refused in it is refused."""

    server: Repeating
    told = ""  # what was told at the login

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self._reply("220 hello")
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "EHLO":
                    self.wfile.write(b"250-here\r\n250-AUTH PLAIN LOGIN XOAUTH2\r\n250 8BITMIME\r\n")
                elif verb == "AUTH":
                    self._login(line.split())
                elif verb == "DATA":
                    self._data()
                elif verb == "QUIT":
                    self._reply("221 bye")
                    return
                else:
                    self._reply("250 2.0.0 ok")

    def _reply(self, words: str) -> None:
        self.wfile.write(f"{words} {self.told}".strip().encode() + b"\r\n")

    def _login(self, words: list[str]) -> None:
        given = words[2:] or [self._asked("VXNlcm5hbWU6"), self._asked("UGFzc3dvcmQ6")]
        plain = [base64.b64decode(word).decode().replace("\0", " ").replace("\1", " ") for word in given]
        self.server.logins += plain
        self.told = f"you said {' '.join(given)} which is {' '.join(plain)}"
        good = any(name in plain[0] for name in ("good@", "good-login@", "token@"))
        if words[1] == "XOAUTH2" and not good:
            challenge = base64.b64encode(json.dumps({"status": "401", "said": self.told}).encode()).decode()
            self._asked(challenge)
        self._reply("235 2.7.0 welcome" if good else "535 5.7.8 no")

    def _asked(self, challenge: str) -> str:
        self.wfile.write(f"334 {challenge}\r\n".encode())
        return self.rfile.readline().decode().strip()

    def _data(self) -> None:
        self._reply("354 go")
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line)
        self._reply("550 5.7.1 no" if b"refused" in b"".join(lines) else "250 2.0.0 taken")


class Repeating(socketserver.ThreadingTCPServer):
    """The server; ``logins`` is what it was told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Repeater)
        self.logins: list[str] = []

    @property
    def port(self) -> int:
        return int(self.server_address[1])


@pytest.fixture
def repeating() -> Iterator[Repeating]:
    with Repeating() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def sections(here: Here, port: int, authority: Authority) -> list[str]:
    """Accounts whose logins succeed and fail; the secrets among what they have."""
    here.change(rig_sections(authority))
    subprocess.run(
        ["openssl", "genrsa", "-traditional", "-out", str(here.directory / "dkim.pem"), "2048"], check=True, capture_output=True
    )
    for name, password in PASSWORDS.items():
        mechanism = "LOGIN" if name.endswith("login") else "PLAIN"
        account = {"user": f"{name}@example.test", "password": password, "enable-authentication": "true"}
        here.put(f"smtp-client-{name}", {**place(port, name), **account, "mail.smtp.auth.mechanisms": mechanism})
    here.put("smtp-client-good", {"dkim-domain": "good.test", "dkim-selector": "s", "dkim-key": "file:dkim.pem"})
    tokens = {name: authority.refresh_token(f"{name}@example.test") for name in ("token", "nobody")}
    for name, token in {**tokens, "never": REFRESH}.items():
        oauth = {"user": f"{name}@example.test", "password": token, "mail.smtp.auth.mechanisms": "XOAUTH2"}
        own = {"tenant-authority": "rig", "client-id": TEST.id, "secret": "rig"}
        here.put(f"smtp-client-{name}", {**place(port, name), **oauth, **own})
    here.put("smtp-listener", {"listen": "127.0.0.1:0"})
    here.put("smtp-listener-account-erp", {"password": LISTENER})
    here.put("pull-app", {})
    pem = (here.directory / "dkim.pem").read_text().splitlines()
    return [*PASSWORDS.values(), *tokens.values(), REFRESH, TEST.secret, LISTENER, *(line for line in pem[1:-1] if len(line) > 40)]


def place(port: int, name: str) -> dict[str, object]:
    security = {"server": "localhost", "port": port, "smtp-connection-security": "none", "enable-debug": "true"}
    return {**security, "addresses": f"{name}.test"}


def draft(name: str, subject: str = "hello") -> dict[str, object]:
    return {"from": f"a@{name}.test", "to": ["b@example.net"], "subject": subject, "text": BODY}


def request(service: Service, path: str, *, authorization: str = "", body: bytes | None = None) -> bytes:
    """An answer with its head, whatever it is."""
    asked = urllib.request.Request(service.wait("started")["web"] + path, body)
    if authorization:
        asked.add_header("Authorization", authorization)
    if body is not None:
        asked.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return str(answer.headers).encode() + bytes(answer.read())
    except urllib.error.HTTPError as error:
        return str(error.headers).encode() + error.read()


def strange_requests(service: Service, key: str) -> Iterator[bytes]:
    """Answers to what is refused, whoever asks."""
    for given in (f"Bearer {NO_KEY}", f"Basic {NO_KEY}", f"Bearer {key[:-1]}!", f"Digest {key}", key):
        yield request(service, "/v1/messages", authorization=given)
    yield request(service, f"/v1/messages?access_token={key}")
    yield request(service, f"/connect/{key}")
    yield request(service, f"/oauth/callback?state={key}&code={key}")
    bearer = f"Bearer {key}"
    new = {
        "server": "localhost",
        "user": "x@x.test",
        "password": OVER_THE_API,
        "enable-authentication": "true",
        "addresses": "api.test",
    }
    wrong: list[Any] = [
        {"id": "smtp-client-api", "options": {**new, "port": "none"}},
        {"id": "smtp-client-api", "options": {**new, "pasword": OVER_THE_API, "token-command": OVER_THE_API}},
        {"id": "smtp-client-api", "options": {**new, "dkim-key": OVER_THE_API, "dkim-domain": "x"}},
        {"id": "smtp-client-api", "options": {**new, "password": f"{OVER_THE_API}\n"}},
        {"id": "smtp-client-api", "options": {**new, "password": [OVER_THE_API]}},
        {"id": "smtp-client-api", "password": OVER_THE_API, "options": OVER_THE_API},
        {"id": "smtp-client-api", "options": new},
        {"id": "smtp-client-api", "options": new},  # which is there now
    ]
    for document in wrong:
        yield request(service, "/v1/clients", authorization=bearer, body=json.dumps(document).encode())
    for text in (
        f'{{"subject": "{BODY}", "text": "{OVER_THE_API}"',
        json.dumps({**draft("good"), "text": [BODY], "pw": OVER_THE_API}),
    ):
        yield request(service, "/v1/submissions", authorization=bearer, body=text.encode())


def pages(service: Service, key: str) -> Iterator[bytes]:
    """What is shown."""
    for path in (
        "/metrics",
        "/ready",
        "/v1/clients",
        "/v1/clients/smtp-client-api",
        "/v1/submissions",
        "/v1/pull",
        "/openapi.json",
    ):
        yield request(service, path, authorization=f"Bearer {key}")
    for item in ask(service, key, "GET", "/v1/submissions")[1]["items"]:
        yield request(service, f"/v1/submissions/{item['id']}", authorization=f"Bearer {key}")
    for section in ("good", "wrong", "token", "never"):
        yield request(service, f"/v1/clients/smtp-client-{section}", authorization=f"Bearer {key}")


def printed(here: Here) -> Iterator[bytes]:
    """What the commands print."""
    lines = ("status", "check", "outbox list", "options password", "keys list", "forecast", "run --once")
    for words in (*lines, *(f"{line} --json" for line in lines)):
        done = here.command(*words.split(), status=None)
        assert done.status in (0, 1), done
        yield done.out.encode() + done.err.encode()
    for item in here.command("outbox", "list", "--json").objects:
        done = here.command("outbox", "show", item["id"])
        yield done.out.encode() + done.err.encode()


def listen(service: Service) -> None:
    """A program logs in with a wrong password and with the right one."""
    port = int(service.wait("listening")["address"].rpartition(":")[2])
    for password in (GUESS, LISTENER):
        for method in ("PLAIN", "LOGIN"):
            with smtplib.SMTP("127.0.0.1", port, timeout=10) as program, contextlib.suppress(smtplib.SMTPAuthenticationError):
                program.ehlo()
                program.user, program.password = "erp", password
                program.auth(method, getattr(program, f"auth_{method.lower()}"))
                program.sendmail(
                    "a@good.test", ["b@example.net"], f"From: a@good.test\r\nSubject: by SMTP\r\n\r\n{BODY}\r\n".encode()
                )


def test_no_secret_of_what_is_sent_is_found_anywhere(tmp_path: Path, authority: Authority, repeating: Repeating) -> None:
    here = Here(tmp_path)
    secrets = sections(here, repeating.port, authority)
    key = new_key(here)
    said = b""
    with here.service() as service:
        for name in (*PASSWORDS, "token", "nobody", "never"):
            assert ask(service, key, "POST", "/v1/submissions", draft(name))[0] == 202
        assert ask(service, key, "POST", "/v1/submissions", draft("good", "refused"))[0] == 202
        listen(service)
        for name in ("good", "good-login", "token"):
            service.wait("sent", f"smtp-client-{name}")
        service.wait("undelivered", "smtp-client-good")
        service.wait("sent", "smtp-client-good", count=3)
        for name in ("wrong", "wrong-login", "nobody", "never"):
            service.wait("needs_person", f"smtp-client-{name}")
        said += b"".join(strange_requests(service, key)) + b"".join(pages(service, key))
        command = Path(f"/proc/{service.process.pid}/cmdline").read_bytes()
        assert wait_for(lambda: list(here.data.glob("*-wal")), "the write-ahead log")
        running = dict(octets_below(here.data))
    said += service.log.read_bytes() + service.out.read_bytes() + command + b"".join(printed(here))

    tokens = set(re.findall("auth=Bearer ([^ ]+)", " ".join(repeating.logins)))
    assert len(tokens) >= 2
    everything = {*secrets, *tokens, GUESS, NO_KEY, OVER_THE_API, key}
    # The search is able to find them: the server was told.
    assert found(everything, "\n".join(repeating.logins).encode()) == {*PASSWORDS.values(), *tokens}
    assert service.events("protocol", "smtp-client-good")
    assert b"you said" in said

    assert found(everything, said) == set()
    assert BODY.encode() not in said
    for path, octets in [*running.items(), *octets_below(here.data)]:
        assert found(everything, octets) == set(), path
        assert BODY.encode() not in octets or path.suffix == ".segment", path
