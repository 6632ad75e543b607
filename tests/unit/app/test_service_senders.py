"""The service and its smtp-clients: who is restarted, who waits for it, and how status shows that."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import HandClock, Recorder
from outgoing import handed
from postroom.app.config import Live, load
from postroom.app.core import Core
from postroom.app.metrics import readiness
from postroom.app.observing import Log
from postroom.app.operations.shown import fitted
from postroom.app.operations.status import ClientStatus, as_lines, status
from postroom.app.serve import Service, assembled
from postroom.clock import SystemClock
from postroom.errors import StoreError
from postroom.events import OUTBOX, OUTBOX_OLDEST, STRANDED
from postroom.model import Condition, Health, WorkState
from postroom.outbound import LaneCounts, Passed
from postroom.store.outbox_rows import Asked

A = "smtp-client-a"
SENDER = f"[{A}]\nserver = mail.example.org\nuser = a@example.org\npassword = pw\nenable-authentication = true\n"
WAITING = "[settings]\nrestart-changed-clients = false\n"


class Here:
    """A configuration file, and the service that runs from it."""

    def __init__(self, folder: Path, text: str) -> None:
        self.file = folder / "postroom.ini"
        self.file.write_text(text)
        self.live = Live(load(self.file, {}), {})
        self.stream = io.StringIO()

    @asynccontextmanager
    async def service(self) -> AsyncIterator[Service]:
        async with assembled(self.live, Log(self.live, SystemClock(), self.stream), SystemClock(), environment={}) as service:
            yield service

    def told(self, *names: str) -> list[tuple[str, Any]]:
        records = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [(record["event"], record.get("options")) for record in records if record["event"] in names]


def _port(core: Core) -> int | None:
    account = core.account(A)
    assert account is not None
    return account.client.port


async def _status(live: Live) -> ClientStatus:
    (found,) = (each for each in await status(live) if each.client == A)
    return found


async def test_a_changed_account_is_restarted(tmp_path: Path) -> None:
    here = Here(tmp_path, SENDER)
    async with here.service() as service:
        assert _port(service.core) is None
        here.file.write_text(SENDER + "port = 2525\n")
        service.reload()
        assert _port(service.core) == 2525
        assert here.told("client_changed", "restart_pending") == [("client_changed", "port")]


async def test_it_waits_where_it_is_to_wait_and_says_so_once(tmp_path: Path) -> None:
    here = Here(tmp_path, WAITING + SENDER)
    async with here.service() as service:
        here.file.write_text(WAITING + SENDER.replace("= pw", "= other") + "port = 2525\n")
        service.reload()
        service.reload()
        assert _port(service.core) is None
        assert here.told("client_changed", "restart_pending") == [("restart_pending", "port, password")]
        await service.core.keep_pending()
        shown = await _status(Live(load(here.file, {}), {}))  # as another process sees it
        assert shown.restart_pending == ("port", "password")
        assert shown.as_dict()["restart_pending"] == ["port", "password"]
        assert f"  restart pending: port, password; what is written acts after: postroom restart {A}" in "\n".join(
            as_lines([shown], colour=False)
        )
        assert service.restart(A)
        await service.core.keep_pending()
        assert _port(service.core) == 2525
        assert (await _status(here.live)).restart_pending == ()
    assert here.told("client_changed") == [("client_changed", "port, password")]


async def test_after_its_restart_the_same_option_is_told_of_again(tmp_path: Path) -> None:
    here = Here(tmp_path, WAITING + SENDER)
    async with here.service() as service:
        for port in (2525, 2526):
            here.file.write_text(f"{WAITING}{SENDER}port = {port}\n")
            service.reload()
            assert service.restart(A)
        pending, changed = ("restart_pending", "port"), ("client_changed", "port")
        assert here.told("client_changed", "restart_pending") == [pending, changed] * 2


async def test_the_login_alone_is_switched_off_at_once(tmp_path: Path) -> None:
    here = Here(tmp_path, WAITING + SENDER)
    async with here.service() as service:
        here.file.write_text(WAITING + SENDER.replace("= true", "= false"))
        service.reload()
        account = service.core.account(A)
        assert account is not None
        assert not account.client.authenticates
        assert here.told("client_changed", "restart_pending") == []


async def test_what_waits_is_gone_with_its_process(tmp_path: Path) -> None:
    here = Here(tmp_path, WAITING + SENDER)
    async with here.service() as service:
        here.file.write_text(WAITING + SENDER + "port = 2525\n")
        service.reload()
        await service.core.keep_pending()
    assert (await _status(Live(load(here.file, {}), {}))).restart_pending == ()


async def test_status_shows_an_account_with_its_queue_and_health(tmp_path: Path) -> None:
    here = Here(tmp_path, SENDER + "addresses = example.org\n")
    async with here.service() as service:
        for number in range(3):
            await service.core.store.outbox.hand_in(handed(b"%d" % number))
        await service.core.store.report(Condition(A, Health.RETRYING, 1.0, "no route", "Look at the network."))
        shown = await _status(here.live)
    assert (shown.health, shown.fault, shown.address) == (Health.RETRYING, "no route", "example.org")
    assert shown.queue is not None
    assert (shown.queue.ready, shown.queue.dead) == (3, 0)
    queue: Any = shown.as_dict()["queue"]
    assert (queue["ready"], queue["sending"], queue["in_doubt"], queue["failed"]) == (3, 0, 0, 0)
    first, second, third = as_lines([shown], colour=False)
    assert first.startswith(f"{A}  retrying")
    assert "3 to be sent, the oldest for" in first
    assert (second.strip(), third.strip()) == ("no route", "→ Look at the network.")


async def test_status_shows_faulty_accounts_and_those_that_are_gone(tmp_path: Path) -> None:
    here = Here(tmp_path, SENDER + "port = none\n")
    async with here.service() as service:
        await service.core.store.outbox.hand_in(handed(b"1"))
    shown = await _status(here.live)
    assert shown.needs_person
    assert "port = 'none'" in shown.fault
    gone = await _status(Here(tmp_path, "").live)
    assert gone.needs_person
    assert gone.fault == "no longer in the configuration, and nobody sends its mail"
    assert gone.remedy.endswith(f"postroom outbox list --client {A}; postroom outbox replay ID --via CLIENT")
    async with Here(tmp_path, "").service() as service:
        outbox = service.core.store.outbox
        [row] = await outbox.page(Asked(), 9)
        await outbox.cancel(row.id)
        await outbox.hand_in(handed(b"2"))
        [outgoing] = await outbox.take(A, 9)
        await outbox.record([], [Passed(outgoing.work, (), WorkState.DEAD)])
    gone = await _status(Here(tmp_path, "").live)
    assert (gone.health, gone.fault) == (Health.DISABLED, "no longer in the configuration")


async def test_status_tells_what_a_person_does_about_doubts_and_what_was_given_up(tmp_path: Path) -> None:
    here = Here(tmp_path, SENDER)
    async with here.service() as service:
        outbox = service.core.store.outbox
        for message in (b"1", b"2"):
            await outbox.hand_in(handed(message))
        doubtful, dead = await outbox.take(A, 2)
        await outbox.record([], [Passed(doubtful.work, (), WorkState.WAITING), Passed(dead.work, (), WorkState.DEAD)])
        shown = await _status(here.live)
    words = "\n".join(as_lines([shown], colour=False))
    assert f"in doubt: postroom outbox list --state in-doubt --client {A}; postroom outbox resolve ID" in words
    assert f"given up: postroom outbox list --state failed --client {A}; postroom outbox replay ID" in words


async def test_mail_that_waits_for_nobody_is_told_of(tmp_path: Path) -> None:
    """As where the service is down: what it reported last would be 'working' for ever."""
    here = Here(tmp_path, SENDER)
    now = SystemClock().now()

    async def health(proved_at: float, handed_in: float) -> Health:
        async with here.service() as service:
            outbox = service.core.store.outbox
            for row in await outbox.page(Asked(), 9):
                await outbox.cancel(row.id) if row.state is WorkState.READY else None
            outbox._clock = HandClock(handed_in)
            await outbox.hand_in(handed(b"%d" % handed_in))
            await service.core.store.report(Condition(A, Health.WORKING, proved_at))
            return (await _status(here.live)).health

    assert await health(now - 8000, now - 8000) is Health.STALE
    assert await health(now - 100, now - 8000) is Health.WORKING  # to be sent later
    assert await health(now - 8000, now - 100) is Health.WORKING  # run --once comes in its time


async def test_an_account_that_is_ill_is_named_by_ready(tmp_path: Path) -> None:
    here = Here(tmp_path, SENDER)
    async with here.service() as service:
        assert await readiness(service.core) == {"status": "ok", "clients": 1, "sick": []}
        await service.core.store.report(Condition(A, Health.NEEDS_PERSON, fault="the login was refused"))
        assert await readiness(service.core) == {"status": "sick", "clients": 1, "sick": [A]}
        await service.core.store.commands.pause(A, "somebody")
        await service.core.look_at_pauses()
        assert await readiness(service.core) == {"status": "ok", "clients": 0, "sick": []}


async def test_how_old_the_queue_is_and_what_a_store_in_trouble_does_not_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Here(tmp_path, SENDER)
    async with here.service() as service:
        clock, observer, outbox = HandClock(SystemClock().now() + 500), Recorder(), service.core.store.outbox
        await outbox.hand_in(handed(b"1"))
        around = replace(service.senders.around, clock=clock, observer=observer)
        counting = asyncio.create_task(replace(service.senders, around=around)._count())
        await clock.sleeper()

        def told() -> tuple[int, int]:
            gauges = observer.gauges
            age, ready = ("client", A), ("state", "ready")
            return round(gauges[OUTBOX_OLDEST.name, (age,)], -1), int(gauges[OUTBOX.name, (age, ready)])

        assert told() == (500, 1)
        with monkeypatch.context() as broken:
            broken.setattr(outbox, "counts", _fails)
            clock.advance(10)
            await clock.sleeper()
        assert told() == (500, 1)
        [row] = await outbox.page(Asked(), 9)
        await outbox.cancel(row.id)
        clock.advance(10)
        await clock.sleeper()
        assert told() == (0, 0)
        counting.cancel()


async def test_mail_of_a_section_that_is_gone_is_told_of_once(tmp_path: Path) -> None:
    here = Here(tmp_path, SENDER)
    async with here.service() as service:
        clock, observer, outbox = HandClock(), Recorder(), service.core.store.outbox
        await outbox.hand_in(handed(b"1"))
        around = replace(service.senders.around, clock=clock, observer=observer)
        counting = asyncio.create_task(replace(service.senders, around=around)._count())
        await clock.sleeper()
        assert observer.of(STRANDED) == []
        here.file.write_text("")
        service.reload()
        for _ in range(3):
            clock.advance(10)
            await clock.sleeper()
        [told] = observer.of(STRANDED)
        assert (told["client"], told["submissions"]) == (A, 1)
        assert "postroom outbox replay ID --via CLIENT" in str(told["remedy"])
        here.file.write_text(SENDER)
        service.reload()
        clock.advance(10)
        await clock.sleeper()
        here.file.write_text("")
        service.reload()
        clock.advance(10)
        await clock.sleeper()
        assert len(observer.of(STRANDED)) == 2
        counting.cancel()


async def _fails() -> dict[str, LaneCounts]:
    raise StoreError("input/output error")


async def test_an_account_has_the_consent_of_its_section(tmp_path: Path) -> None:
    here = Here(tmp_path, SENDER)
    async with here.service() as service:
        service.core.consented[A] = 7.0
        account = service.core.account(A)
        assert account is not None
        assert account.consented_at == 7.0
        assert service.core.login(A) == account
        assert service.core.account("smtp-client-none") is None


@pytest.mark.parametrize("text", ["", SENDER.replace("= true", "= false")], ids=["gone", "login"])
async def test_a_sender_is_told_what_acts_at_once_and_none_is_told_without_need(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    other = "[smtp-client-b]\nserver = b.example.org\naddresses = b.example\n"
    here = Here(tmp_path, SENDER + other)
    async with here.service() as service:
        told: list[str] = []
        monkeypatch.setattr(service.senders, "changed", lambda sections: told.extend(sections))
        here.file.write_text(text + other)
        service.reload()
    assert told == [A]


async def test_what_acts_at_the_next_start_is_told_once(tmp_path: Path) -> None:
    here = Here(tmp_path, SENDER)
    async with here.service() as service:
        here.file.write_text(SENDER + "[web]\nlisten = 127.0.0.1:9999\n")
        service.reload()
        service.reload()
        waiting = [
            record for record in map(json.loads, here.stream.getvalue().splitlines()) if record["event"] == "waiting_for_start"
        ]
        assert [record["section"] for record in waiting] == ["web"]


async def test_several_faults_of_a_client_have_a_line_each(tmp_path: Path) -> None:
    here = Here(tmp_path, SENDER + "port = none\nconnect-timeout = soon\n")
    async with here.service():
        shown = await _status(here.live)
    _, first, second, remedy = as_lines([shown], colour=False)
    assert "port = 'none'" in first
    assert "connect-timeout = 'soon'" in second
    assert remedy.strip() == "→ Correct the named lines."
    assert "\n" not in str(shown.as_dict()["fault"])


def test_long_lines_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    line = "    " + "→ " + "look at it " * 12
    assert list(fitted([line])) == [line]  # nobody looks at a terminal
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    first, *others = fitted([line.rstrip()])
    assert others
    assert all(len(each) <= 60 for each in (first, *others))
    assert all(each.startswith(("      look", "      at", "      it")) for each in others)
