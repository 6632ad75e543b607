"""``/v1/clients``: seen, made, changed, taken away; and no other line of the file is touched."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from asking import PLAIN, Told, Web, serving
from postroom.app.rest.operation import SMALL

FILE = (
    PLAIN
    + """\
; what all share
[defaults-pop-client]
cycle-time = 00:05:00

# Anna's
[pop-client-a]
type = IMAP
server = mail.example.test
mailbox = a@example.test
password = sesame-1

[smtp-client-out]
server = smtp.example.test
user = a@example.test
password = sesame-2
"""
)
A = "/v1/clients/pop-client-a"
NEW = {"type": "IMAP", "server": "b.example.test", "mailbox": "b@example.test", "password": "sesame-3"}


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    async with serving(tmp_path, FILE) as running:
        yield running


def text(web: Web) -> str:
    return web.core.live.configuration.file.read_text()


async def create(web: Web, section: str = "pop-client-b", **more: Any) -> Told:
    return await web.ask("POST", "/v1/clients", json={"id": section, "options": NEW, **more})


def pointers(told: Told) -> set[str]:
    assert told.status == 422, told
    return {error["pointer"] for error in told.json["errors"]}


async def test_all_of_both_kinds(web: Web) -> None:
    told = (await web.ask("GET", "/v1/clients")).json
    assert [(item["id"], item["kind"]) for item in told["items"]] == [
        ("pop-client-a", "pop-client"),
        ("smtp-client-out", "smtp-client"),
    ]
    assert told["items"][0]["state"]["health"] == "starting"


async def test_one_with_its_options_and_their_effects(web: Web) -> None:
    told = await web.ask("GET", "/v1/clients/a")
    options = {option["name"]: option for option in told.json["options"]}
    assert options["server"] == {
        "name": "server",
        "value": "mail.example.test",
        "secret": False,
        "effect": "At the next POP cycle",
        "line": 12,
        "shared": False,
    }
    assert (options["password"]["value"], options["password"]["secret"]) == ("***", True)
    assert (options["cycle-time"]["value"], options["cycle-time"]["shared"]) == ("00:05:00", True)
    assert "sesame" not in told.octets.decode()
    sender = (await web.ask("GET", "/v1/clients/out")).json
    assert {option["name"]: option["effect"] for option in sender["options"]}["server"] == "At start/restart"
    assert (await web.ask("GET", "/v1/clients/nobody")).status == 404


async def test_one_is_made(web: Web) -> None:
    before = text(web)
    told = await create(web, labels={"team": "blue"})
    assert (told.status, told.headers["Location"]) == (201, "/v1/clients/pop-client-b")
    lines = "".join(f"{name} = {value}\n" for name, value in NEW.items())
    assert text(web) == f"{before}\n[pop-client-b]\n{lines}"
    client = web.core.live.client("pop-client-b")
    assert client is not None
    assert client.password is not None
    assert client.password.reveal() == "sesame-3"
    found = await web.ask("GET", told.headers["Location"])
    assert found.json["state"]["labels"] == {"team": "blue"}
    assert found.headers["ETag"] == told.headers["ETag"]
    assert "sesame" not in (told.octets + found.octets).decode() + web.lines.getvalue()
    (event,) = [event for event in web.log if event["event"] == "client_edited"]
    assert (event["client"], event["by"]) == ("pop-client-b", "chief")


async def test_one_that_is_there_is_not_made_again(web: Web) -> None:
    assert (await create(web, "POP-client-A".lower())).status == 409
    assert text(web) == FILE


async def test_all_faults_before_the_file_is_touched(web: Web) -> None:
    options = {"type": "FAX", "port": "x", "server": "a b", "mailbox": "b", "password": "file:/etc/passwd"}
    told = await web.ask("POST", "/v1/clients", json={"id": "pop-client-b", "options": {**options, "password": "sesame"}})
    assert {"#/options/type", "#/options/port", "#/options/server"} <= pointers(told)
    assert "sesame" not in told.octets.decode()
    assert text(web) == FILE
    assert not [name for name in os.listdir(web.core.live.configuration.file.parent) if name.startswith(".postroom")]


REACHING = {
    "a-file": {"password": "file:/etc/passwd"},
    "a-variable": {"password": " ENV:HOME".strip()},
    "a-command": {"token-command": "reboot"},
    "an-authority": {"tls-ca-file": "/etc/ssl/x.pem"},
    "in-capitals": {"Token-Command": "reboot"},
}


@pytest.mark.parametrize("options", REACHING.values(), ids=REACHING)
async def test_what_reaches_beyond_mail_is_refused(web: Web, options: dict[str, str]) -> None:
    (name,) = options
    assert pointers(await web.ask("PATCH", A, json={"options": options})) == {f"#/options/{name}"}
    assert text(web) == FILE


async def test_one_is_changed(web: Web) -> None:
    told = await web.ask("PATCH", A, json={"options": {"server": "new.example.test", "port": "1993", "mailbox": None}})
    assert told.status == 422  # without its mailbox it could not run
    told = await web.ask("PATCH", A, json={"options": {"server": "new.example.test", "port": "1993"}, "labels": {"x": "1"}})
    assert told.status == 200
    expected = FILE.replace("server = mail.example.test", "server = new.example.test")
    assert text(web) == expected.replace("sesame-1\n", "sesame-1\nport = 1993\n")
    assert (await web.ask("PATCH", A, json={"options": {"PORT": None}, "labels": {"x": None}})).status == 200
    assert text(web) == expected
    assert (await web.ask("GET", A)).json["state"]["labels"] == {}


@pytest.mark.parametrize("made", [True, False], ids=["made", "changed"])
async def test_an_unknown_option_is_a_fault_with_the_nearest_name(web: Web, made: bool) -> None:
    options = {"sever": "x", "port": "y"}
    if made:
        told = await web.ask("POST", "/v1/clients", json={"id": "pop-client-b", "options": {**NEW, **options}})
    else:
        told = await web.ask("PATCH", A, json={"options": options})
    assert pointers(told) == {"#/options/sever", "#/options/port"}
    (unknown,) = [error for error in told.json["errors"] if error["pointer"] == "#/options/sever"]
    assert unknown["remedy"] == "The nearest known name is server."
    assert text(web) == FILE


async def test_a_change_that_warns(web: Web) -> None:
    told = await web.ask("PATCH", A, json={"options": {"mail.imap.nothing": "x"}})
    assert "accepted, without effect" in told.json["warnings"][0]
    found = (await web.ask("GET", A)).json
    assert found["faults"][0]["severity"] == "warning"


async def test_updates_are_not_lost(web: Web) -> None:
    tag = (await web.ask("GET", A)).headers["ETag"]
    first = await web.ask("PATCH", A, json={"options": {"port": "1"}}, headers={"If-Match": tag})
    assert first.status == 200
    second = await web.ask("PATCH", A, json={"options": {"port": "2"}}, headers={"If-Match": tag})
    assert (second.status, second.json["type"]) == (412, "/problems/precondition-failed")
    assert (await web.ask("DELETE", A, headers={"If-Match": tag})).status == 412
    assert (await web.ask("PATCH", A, json={"labels": {"x": "1"}}, headers={"If-Match": first.headers["ETag"]})).status == 200
    assert (await web.ask("PATCH", A, json={"options": {"port": "3"}}, headers={"If-Match": first.headers["ETag"]})).status == 412
    assert (await web.ask("PATCH", A, json={"options": {"port": "3"}}, headers={"If-Match": "*"})).status == 200


async def test_an_edit_by_hand_counts(web: Web) -> None:
    tag = (await web.ask("GET", A)).headers["ETag"]
    web.core.live.configuration.file.write_text(FILE.replace("a@example.test", "c@example.test"))
    assert (await web.ask("PATCH", A, json={"options": {"port": "2"}}, headers={"If-Match": tag})).status == 412
    assert (await web.ask("PATCH", A, json={"options": {"port": "2"}})).status == 200
    assert "mailbox = c@example.test" in text(web)


async def test_one_is_taken_away(web: Web) -> None:
    await web.ask("PATCH", A, json={"labels": {"x": "1"}})
    await web.ask("POST", f"{A}/pause")
    told = await web.ask("DELETE", A)
    assert (told.status, told.octets) == (204, b"")
    assert text(web) == FILE[: FILE.index("[pop-client-a]")] + FILE[FILE.index("\n[smtp-client-out]") :]
    assert (await web.ask("GET", A)).status == 404
    assert await web.core.store.labels.all() == {}
    assert not await web.core.store.commands.pauses()


async def test_a_link_and_the_files_rights_stay(web: Web, tmp_path: Path) -> None:
    file = web.core.live.configuration.file
    file.rename(tmp_path / "real.ini")
    file.symlink_to("real.ini")
    (tmp_path / "real.ini").chmod(0o640)
    assert (await create(web)).status == 201
    assert file.is_symlink()
    assert "[pop-client-b]" in (tmp_path / "real.ini").read_text()
    assert (tmp_path / "real.ini").stat().st_mode & 0o777 == 0o640


async def test_a_fault_elsewhere_holds_up_nothing(web: Web) -> None:
    file = web.core.live.configuration.file
    file.write_text(FILE.replace("server = smtp.example.test", "server = smtp.example.test\nport = never"))
    assert (await create(web)).status == 201


HOSTILE = {
    "another-section": {"server": "x\n[settings]\ndata-directory = /"},
    "a-line": {"server\nport": "1"},
    "no-text": {"port": 1},
    "a-list": ["server"],
}


@pytest.mark.parametrize("options", HOSTILE.values(), ids=HOSTILE)
async def test_what_cannot_be_a_line(web: Web, options: object) -> None:
    assert (await web.ask("PATCH", A, json={"options": options})).status == 422
    assert text(web) == FILE


@pytest.mark.parametrize("section", ["settings", "pop-client-a]\n[x", "web", "pop-clientx"])
async def test_another_section_cannot_be_made(web: Web, section: str) -> None:
    assert pointers(await create(web, section)) == {"#/id"}


async def test_the_body(web: Web) -> None:
    told = await web.ask("POST", "/v1/clients", data=b'{\n "a": x}', headers={"Content-Type": "application/json"})
    assert (told.status, told.json["detail"]) == (400, "The body is not JSON: see line 2, column 7.")
    told = await web.ask("POST", "/v1/clients", data=b"x=1")
    assert told.status == 415
    assert "Content-Type: application/json" in told.json["detail"]
    told = await web.ask("PUT", "/v1/clients", json={})
    assert (told.status, told.json["detail"]) == (405, "At this address can be done: GET, POST.")
    assert (
        await web.ask("POST", "/v1/clients", data=b"x" * (SMALL + 1), headers={"Content-Type": "application/json"})
    ).status == 413
    told = await web.ask("POST", "/v1/clients", json={"options": {}, "sesame": 1})
    assert {(error["pointer"], error["detail"]) for error in told.json["errors"]} == {
        ("#/id", "id is missing"),
        ("#/sesame", "sesame is not known here"),
    }


async def test_a_body_that_grows_beyond_its_limit(web: Web) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    told = await web.ask("POST", "/v1/clients", data=pieces(), headers={"Content-Type": "application/json"})
    assert told.status == 413
    assert (await web.ask("GET", A)).status == 200


async def test_told_to_the_service(web: Web) -> None:
    assert (await web.ask("POST", f"{A}/restart")).status == 202
    (command,) = await web.core.store.commands.open()
    assert (command.client, command.asked_by) == ("pop-client-a", "chief")
    assert (await web.ask("POST", f"{A}/pause")).status == 204
    state = (await web.ask("GET", A)).json["state"]
    assert (state["health"], state["fault"]) == ("paused", "paused by chief, 0 s ago")
    assert state["remedy"] == "postroom resume pop-client-a"
    assert (await web.ask("POST", f"{A}/resume")).status == 204
    assert (await web.ask("GET", A)).json["state"]["health"] != "paused"
    assert (await web.ask("POST", "/v1/clients/nobody/pause")).status == 404
