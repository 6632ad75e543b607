"""Watching a mailbox: what is read afresh, what is held still for, and what wakes it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from house import House, count, until

from fakes import START, client
from postroom import events
from postroom.engine.supervise import Supervisor
from postroom.engine.work import Worker
from postroom.errors import (
    ConnectError,
    ImapStatus,
    LoginRefused,
    Lost,
    PostroomError,
    SessionEnded,
    StoreError,
    StoreFull,
    Throttled,
    TokenRefused,
)
from postroom.model import Disposition, Health
from postroom.store import Store

# --- cycles -----------------------------------------------------------------------------------------------------------


async def test_cycles_follow_one_another_over_one_conversation(house: House) -> None:
    house.server().folder().add(b"one")
    house.start(house.watch())
    assert await house.clock.sleeper() == 60
    house.server().folder().add(b"two")
    assert await house.clock.skip() == 60
    assert await house.clock.sleeper() == 60
    assert await count(house) == 2
    assert len(house.readers) == 1
    assert house.told == 2
    assert await house.health() is Health.WORKING
    assert house.observer.names() == ["connected", "first_read", "read", "read"]


async def test_a_large_folder_is_read_without_a_pause(house: House) -> None:
    house.set(client(maximum_msg_number=2))
    for number in range(7):
        house.server().folder().add(b"%d" % number)
    house.start(house.watch())
    await house.clock.sleeper()
    assert await count(house) == 7
    assert house.clock.slept == [60]


async def test_every_folder_has_its_turn(house: House) -> None:
    house.set(client(folder_path=("INBOX", "Other")))
    for name in ("INBOX", "Other"):
        house.server().folder(name).add(b"same")
    house.start(house.watch())
    await house.clock.sleeper()
    assert await count(house) == 2
    assert [fields["folder"] for fields in house.observer.of(events.READ)] == ["INBOX", "Other"]


async def test_the_proof_has_its_time(house: House) -> None:
    house.start(house.watch())
    for number in range(3):
        await house.clock.sleeper()
        condition = (await house.store.conditions())["pop-client-a"]
        assert condition.proved_at == START + 60 * number
        assert house.observer.gauges["postroom_proved_timestamp_seconds", (("client", "pop-client-a"),)] == START + 60 * number
        house.clock.advance(60)
        await asyncio.sleep(0)


# --- settings ---------------------------------------------------------------------------------------------------------


async def test_new_settings_act_at_the_next_cycle_and_not_in_the_running_one(house: House) -> None:
    server = house.server()
    server.folder().add(b"one")

    async def hold() -> None:
        if server.asked["fetch"] == 1:  # in the middle of the first cycle
            server.hold = None
            house.set(client(after_capture=Disposition.DELETE))

    server.hold = hold
    house.start(house.watch())
    assert await house.clock.sleeper() == 60
    assert len(server.folder().messages) == 1  # captured as the cycle began: kept
    house.clock.advance(60)
    server.folder().add(b"two")
    await house.clock.sleeper()
    assert [octets for octets, _ in server.folder().messages.values()] == [b"one"]
    assert len(house.readers) == 2


async def test_a_poke_begins_the_next_cycle_at_once(house: House) -> None:
    watch = house.watch()
    house.start(watch)
    await house.clock.sleeper()
    house.set(client(cycle_time=7))
    watch.poke()
    await until(lambda: 7 in house.clock.slept)
    assert await house.clock.sleeper() == 7
    assert house.clock.now() == START


async def test_another_mailbox_under_the_same_name_is_another_source(house: House) -> None:
    house.server().folder().add(b"same")
    house.server("b@example.org").folder().add(b"same")
    watch = house.watch()
    house.start(watch)
    await house.clock.sleeper()
    house.set(client(mailbox="b@example.org", cycle_time=5))
    watch.poke()
    await until(lambda: 5 in house.clock.slept)
    assert await count(house) == 2


@pytest.mark.parametrize("when", ["waiting", "failing"])
async def test_a_client_that_is_removed_ends(house: House, when: str) -> None:
    if when == "failing":
        house.opening.append(Lost("x"))
    watch = house.watch()
    running = house.start(watch)
    await house.clock.sleeper()
    house.mailboxes.clear()
    watch.poke()
    async with asyncio.timeout(5):
        await running
    assert await house.health() is Health.DISABLED


async def test_a_client_that_is_not_there_ends_at_once(house: House) -> None:
    house.mailboxes.clear()
    async with asyncio.timeout(5):
        await house.watch().run()
    assert house.readers == []


# --- failures ---------------------------------------------------------------------------------------------------------


async def test_p24_failures_are_tried_again_less_and_less_often(house: House) -> None:
    house.opening += [ConnectError("no route") for _ in range(6)]
    house.start(house.watch())
    assert [await house.clock.skip() for _ in range(6)] == [5, 10, 20, 40, 80, 160]
    assert await house.clock.sleeper() == 60
    assert house.observer.names() == ["retrying"] * 6 + ["connected", "unchanged", "recovered"]
    assert [told["seconds"] for told in house.observer.of(events.RETRYING)] == [5, 10, 20, 40, 80, 160]
    assert await house.health() is Health.WORKING


async def test_a_failure_is_shown_with_its_reason_and_its_time(house: House) -> None:
    house.opening.append(Throttled("slow down", retry_after=300))
    house.start(house.watch())
    assert await house.clock.sleeper() == 300
    condition = (await house.store.conditions())["pop-client-a"]
    assert (condition.health, condition.retry_at, condition.proved_at) == (Health.RETRYING, START + 300, None)
    assert "slow down" in condition.fault
    assert condition.remedy


async def test_p12_a_login_alone_proves_nothing(house: House) -> None:
    """Back-off is forgotten after a whole cycle only: a server that lets in and throws out is not hammered."""
    server = house.server()
    server.breaks += [ImapStatus("NO", status="NO") for _ in range(4)]
    house.start(house.watch())
    assert [await house.clock.skip() for _ in range(4)] == [5, 10, 20, 40]
    assert await house.clock.sleeper() == 60
    server.breaks.append(Lost("again"))
    house.clock.advance(60)
    assert await house.clock.sleeper() == 5


async def test_the_end_of_a_token_is_no_failure(house: House) -> None:
    house.start(house.watch())
    for _ in range(3):
        await house.clock.sleeper()
        house.server().breaks.append(SessionEnded("its hour is over"))
        house.clock.advance(60)
        await until(lambda: not house.server().breaks)
    await house.clock.sleeper()
    assert house.observer.names().count("session_ended") == 3
    assert house.observer.of(events.RETRYING) == []
    assert set(house.clock.slept) == {60}


async def test_p24_a_token_that_ends_at_once_again_and_again_is_not_hammered(house: House) -> None:
    house.start(house.watch())
    await house.clock.sleeper()
    house.server().breaks += [SessionEnded("over") for _ in range(6)]
    house.clock.advance(60)
    assert [await house.clock.skip() for _ in range(4)] == [5, 10, 20, 40]


async def test_a_person_is_needed(house: House) -> None:
    house.opening.append(TokenRefused("invalid_grant: expired", error="invalid_grant"))
    watch = house.watch()
    house.start(watch)
    assert await house.clock.sleeper() == 3600
    assert await house.health() is Health.NEEDS_PERSON
    (told,) = house.observer.of(events.NEEDS_PERSON)
    assert "invalid_grant: expired" in str(told["error"])
    watch.poke()  # nothing changed: it goes on standing still
    await asyncio.sleep(0)
    assert await house.clock.sleeper() == 3600
    house.set(client(cycle_time=30))
    watch.poke()
    await until(lambda: 30 in house.clock.slept)
    assert await house.health() is Health.WORKING
    assert house.clock.now() == START


async def test_a_refused_login_is_believed_when_it_has_lasted(house: House) -> None:
    house.opening += [LoginRefused("no") for _ in range(5)]
    house.start(house.watch())
    assert [await house.clock.skip() for _ in range(5)] == [5, 10, 20, 3600, 3600]
    assert await house.clock.sleeper() == 60


async def test_a_full_disk_holds_still_and_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.set(client(after_capture=Disposition.DELETE))
    house.server().folder().add(b"one")

    async def full(*_: object) -> None:
        raise StoreFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(house.store, "capture", full)
        house.start(house.watch())
        assert [await house.clock.skip() for _ in range(3)] == [15, 15, 15]
        await house.clock.sleeper()
    assert len(house.server().folder().messages) == 1
    assert {told["client"] for told in house.observer.of(events.STORE_TROUBLE)} == {"pop-client-a"}
    house.clock.advance(15)
    assert await house.clock.sleeper() == 60
    assert await count(house) == 1
    assert house.server().folder().messages == {}


async def test_a_mailbox_that_another_process_reads_is_left_to_it(house: House, tmp_path: Path) -> None:
    other = Store(tmp_path, house.clock, f"file:{tmp_path / 'vault.key'}", {})
    source = await other.source("IMAP", "mail.example.org", "a@example.org")
    leases = await other.acquire(source, ["INBOX"])
    house.start(house.watch())
    assert await house.clock.sleeper() == 5
    assert await house.store.conditions() == {}  # its health is told by whoever reads it
    assert house.readers == []
    await other.release(leases)
    house.clock.advance(5)
    assert await house.clock.sleeper() == 60
    assert await house.health() is Health.WORKING
    other.close()


async def test_a_lease_that_was_lost_is_asked_for_again(house: House) -> None:
    house.start(house.watch())
    await house.clock.sleeper()
    source = await house.store.source("IMAP", "mail.example.org", "a@example.org")
    await house.store.acquire(source, ["INBOX"])
    house.clock.advance(60)
    assert await house.clock.skip() == 5
    assert await house.clock.sleeper() == 60
    assert house.observer.names() == ["connected", "unchanged", "elsewhere", "connected", "unchanged"]


async def test_leases_are_given_back(house: House, tmp_path: Path) -> None:
    running = house.start(house.watch())
    await house.clock.sleeper()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    other = Store(tmp_path, house.clock, f"file:{tmp_path / 'vault.key'}", {})
    source = await other.source("IMAP", "mail.example.org", "a@example.org")
    assert len(await other.acquire(source, ["INBOX"])) == 1
    other.close()


# --- once -------------------------------------------------------------------------------------------------------------


async def test_reading_whole_comes_to_an_end(house: House) -> None:
    house.set(client(maximum_msg_number=2))
    for number in range(5):
        house.server().folder().add(b"%d" % number)
    watch = house.watch()
    await watch.read_whole()
    assert (watch.total.captured, watch.total.octets) == (5, 5)
    assert house.clock.slept == []


async def test_reading_whole_goes_on_after_its_token_ended_while_it_gets_further(house: House) -> None:
    house.set(client(maximum_msg_number=1))
    for number in range(3):
        house.server().folder().add(b"%d" % number)
    calls = 0

    async def hold() -> None:
        nonlocal calls
        calls += 1
        if calls in (5, 10):
            raise SessionEnded("over")

    house.server().hold = hold
    watch = house.watch()
    await watch.read_whole()
    assert watch.total.captured == 3
    assert len(house.readers) == 3


async def test_reading_whole_ends_where_a_token_ends_at_once(house: House) -> None:
    house.server().folder().add(b"x")
    house.server().breaks += [SessionEnded("over"), SessionEnded("over")]
    with pytest.raises(SessionEnded):
        await house.watch().read_whole()


# --- all together -----------------------------------------------------------------------------------------------------


@pytest.fixture
def supervisor(house: House) -> Supervisor:
    worker = Worker(house.store, house.clock, house.observer)
    around = replace(house.around, captured=worker.tell)
    return Supervisor(house.current, around, worker)


async def test_clients_come_and_go_while_it_runs(house: House, supervisor: Supervisor) -> None:
    house.server().folder().add(b"one")
    house.server("b@example.org").folder().add(b"two")
    supervisor.start(["pop-client-a"])
    await until(lambda: "read" in house.observer.names())
    house.set(client("pop-client-b", mailbox="b@example.org"))
    supervisor.changed(["pop-client-b"])
    await until(lambda: len(house.observer.of(events.READ)) == 2)
    del house.mailboxes["pop-client-a"]
    supervisor.changed(["pop-client-a"])
    working = ("postroom_client_working", (("client", "pop-client-a"),))
    await until(lambda: house.observer.gauges[working] == 0)
    await supervisor.stop()
    assert await house.health() is Health.DISABLED
    assert await house.health("pop-client-b") is Health.WORKING


async def test_an_error_that_nobody_foresaw_ends_nobody_else(house: House, supervisor: Supervisor) -> None:
    async def hold() -> None:
        raise ZeroDivisionError("a secret could stand here")

    house.server("b@example.org").folder().add(b"two")
    house.server().hold = hold
    house.set(client("pop-client-b", mailbox="b@example.org"))
    supervisor.start(["pop-client-a", "pop-client-b"])
    await until(lambda: "unforeseen" in house.observer.names())
    await until(lambda: "read" in house.observer.names())
    (told,) = house.observer.of(events.UNFORESEEN)
    assert told["where"] == "pop-client-a"
    assert str(told["error"]).startswith("ZeroDivisionError")
    assert "test_watch.py" in str(told["trace"])
    house.server().hold = None
    house.server().folder().add(b"one")
    while len(house.observer.of(events.READ)) < 2:
        await house.clock.skip()
    await supervisor.stop()


async def test_leases_are_renewed_while_it_runs(house: House, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    renewed = 0
    real = house.store.renew

    async def renew() -> None:
        nonlocal renewed
        renewed += 1
        if renewed == 2:
            raise StoreError("busy")
        await real()

    monkeypatch.setattr(house.store, "renew", renew)
    supervisor.start([])
    while renewed < 4:
        await house.clock.skip()
    await supervisor.stop()
    assert house.observer.names() == ["store_trouble"]
    assert house.clock.slept.count(10) >= 3  # three times within a lease


async def test_one_pass_tells_how_each_fared(house: House, supervisor: Supervisor) -> None:
    house.server().folder().add(b"Subject: one\r\n\r\n")
    house.set(client("pop-client-b", mailbox="b@example.org"))
    house.set(client("pop-client-c", mailbox="c@example.org"))
    house.server("b@example.org").breaks.append(LoginRefused("no"))

    async def hold() -> None:
        raise ZeroDivisionError("x")

    house.server("c@example.org").hold = hold
    results = await supervisor.once(["pop-client-a", "pop-client-b", "pop-client-c"], 2)
    assert [result.section for result in results] == ["pop-client-a", "pop-client-b", "pop-client-c"]
    assert results[0].error is None
    assert results[0].watch.total.captured == 1
    assert isinstance(results[1].error, LoginRefused)
    assert isinstance(results[2].error, PostroomError)
    assert await house.health("pop-client-b") is Health.NEEDS_PERSON
    rows = [row async for row in house.store.messages(client=None, newest_first=False, limit=None)]
    assert [row.facts.subject for row in rows] == ["one"]
