"""Many mailboxes beside each other: turns, allowances, throttling, silence and what hangs."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from house import House, count, until

from fakes import START, client
from postroom import events
from postroom.drivers.limits import Limits
from postroom.engine.silence import longest_sign, patience, silent_for
from postroom.engine.supervise import Supervisor
from postroom.engine.work import Worker
from postroom.errors import ConnectError, StoreError, Throttled
from postroom.model import Condition, Disposition, Health
from postroom.secret import Secret
from postroom.settings import PopClient

DAY = 86400.0
MEGA = 1_000_000


@pytest.fixture
async def supervisor(house: House) -> AsyncIterator[Supervisor]:
    worker = Worker(house.store, house.clock, house.observer)
    supervisor = Supervisor(house.current, replace(house.around, captured=worker.tell), worker)
    yield supervisor
    await supervisor.stop()


def limited(house: House, monkeypatch: pytest.MonkeyPatch, limits: Limits) -> None:
    """The provider of every mailbox allows this."""
    monkeypatch.setattr(house.kit.providers, "limits_of", lambda _client, _named: limits)


async def health(house: House, section: str = "pop-client-a") -> Condition:
    return (await house.store.conditions())[section]


# --- throttling -------------------------------------------------------------------------------------------------------


async def test_p15_throttling_never_ends_the_watch(house: House) -> None:
    house.opening += [Throttled("slow down") for _ in range(40)]
    house.server().folder().add(b"one")
    task = house.start(house.watch())
    pauses = [await house.clock.skip() for _ in range(40)]
    assert pauses[:9] == [5, 10, 20, 40, 80, 160, 320, 640, 900]
    assert set(pauses[9:]) == {900}
    await house.clock.sleeper()
    assert not task.done()
    assert await count(house) == 1


@pytest.mark.parametrize(("named", "paused"), [(1.0, 5.0), (300.0, 300.0), (4000.0, 4000.0)])
async def test_p15_the_longer_of_the_servers_time_and_our_own(house: House, named: float, paused: float) -> None:
    house.opening.append(Throttled("slow down", retry_after=named))
    house.start(house.watch())
    assert await house.clock.skip() == paused
    assert await house.clock.sleeper() == 60


async def test_p15_a_single_pass_waits_and_goes_on(house: House, supervisor: Supervisor) -> None:
    house.opening += [Throttled("slow down", retry_after=30), Throttled("slow down")]
    house.server().folder().add(b"one")
    passing = asyncio.create_task(supervisor.once(["pop-client-a"], 1))
    while not passing.done():
        await asyncio.sleep(0)
        house.clock.advance(1)
    (result,) = await passing
    assert result.error is None
    assert result.watch.total.captured == 1


async def test_p15_a_single_pass_comes_to_an_end_where_throttling_does_not(house: House, supervisor: Supervisor) -> None:
    house.opening += [Throttled("slow down") for _ in range(50)]
    passing = asyncio.create_task(supervisor.once(["pop-client-a"], 1))
    while not passing.done():
        await asyncio.sleep(0)
        house.clock.advance(1)
    (result,) = await passing
    assert isinstance(result.error, Throttled)
    assert 40 < len(house.opening) < 50


# --- octets a day -----------------------------------------------------------------------------------------------------


async def read_for(house: House, seconds: float) -> None:
    """Let time pass from sleep to sleep."""
    end = house.clock.now() + seconds
    while (left := await house.clock.sleeper()) + house.clock.now() < end:
        house.clock.advance(left)
        await asyncio.sleep(0)
    house.clock.advance(end - house.clock.now())


async def test_p15_no_day_exceeds_the_limit_and_the_first_read_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 MB to be read where 10 MB a day are allowed. Each hour's octets are counted from outside."""
    limited(house, monkeypatch, Limits(octets_a_day=10 * MEGA))
    monkeypatch.setattr("postroom.engine.meter._KEEP", 100_000)
    for number in range(400):
        house.server().folder().add(b"%d " % number + bytes(100_000))
    house.start(house.watch())
    hours: list[int] = []
    while await count(house) < 400:
        before = len(house.server().fetched)
        await read_for(house, 3600)
        hours.append((len(house.server().fetched) - before) * 100_000)
        assert len(hours) < 24 * 7
    days = [sum(hours[start : start + 24]) for start in range(len(hours))]
    assert max(days) <= 10 * MEGA
    assert max(days) >= 8 * MEGA  # and it is made use of
    assert len(hours) <= 24 * 6
    assert max(hours) <= 3 * MEGA  # spread over the day, so that new mail never waits for long


async def test_p15_the_pause_is_told_with_its_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(house, monkeypatch, Limits(octets_a_day=MEGA))
    monkeypatch.setattr("postroom.engine.meter._KEEP", 10_000)
    for number in range(100):
        house.server().folder().add(b"%d " % number + bytes(10_000))
    house.start(house.watch())
    seconds = await house.clock.sleeper()
    condition = await health(house)
    assert condition.health is Health.PAUSED
    assert condition.retry_at == pytest.approx(house.clock.now() + seconds)
    assert "1 MB may be read a day" in condition.fault
    assert "goes on by itself" in condition.remedy
    (told,) = house.observer.of(events.PAUSED)
    assert told["seconds"] == pytest.approx(seconds)
    assert house.observer.of(events.RETRYING) == []
    assert house.observer.gauges["postroom_allowance_octets", (("client", "pop-client-a"),)] == 0
    assert silent_for(condition, client(), condition.retry_at) is None  # explained


async def test_p15_reading_the_same_again_and_again_stays_within_the_limit(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be kept, so each attempt reads all anew, in processes that end each time (chatwoot#6082)."""
    limited(house, monkeypatch, Limits(octets_a_day=10 * MEGA))
    monkeypatch.setattr("postroom.engine.meter._KEEP", 100_000)

    async def capture(*_: object) -> None:
        raise StoreError("broken")

    monkeypatch.setattr(house.store, "capture", capture)
    for number in range(12):
        house.server().folder().add(b"%d " % number + bytes(100_000))
    fetched = house.server().fetched
    end = house.clock.now() + DAY
    while house.clock.now() < end:
        task = house.start(house.watch())  # a new one knows nothing but what is in the store
        seconds = await house.clock.sleeper()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        house.clock.advance(seconds)
    assert house.observer.of(events.PAUSED)
    assert 24 < len(fetched) <= 10 * MEGA / 100_000


async def test_two_sections_of_one_account_share_what_may_be_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    source = await house.store.source("IMAP", "mail.example.org", "a@example.org")
    assert await house.store.spend(source, 0, 1000, 10) == 1000
    assert await house.store.spend(source, 1500, 1000, 10) == -500
    house.clock.advance(20)
    assert await house.store.spend(source, 0, 1000, 10) == -300
    house.clock.advance(10_000)
    assert await house.store.spend(source, 1, 1000, 10) == 999
    house.clock.advance(-5000)  # a clock that was put back takes nothing and gives nothing
    assert await house.store.spend(source, 0, 1000, 10) == 999


async def test_what_is_known_of_google_is_honoured(house: House) -> None:
    google = client(server="imap.gmail.com", mailbox="a@gmail.com")
    limits = house.kit.providers.limits_of(google, ())
    assert (limits.octets_a_day, limits.connections, limits.conversation) == (2_500 * MEGA, 15, 3600)
    assert house.kit.providers.limits_of(client(), ()) == Limits()


# --- turns ------------------------------------------------------------------------------------------------------------


async def test_p16_mailboxes_take_turns_where_seats_are_scarce(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One conversation for three folders of one account, each a section of its own."""
    limited(house, monkeypatch, Limits(connections=1))
    for name in ("a", "b", "c"):
        house.set(client(f"pop-client-{name}", folder_path=(f"Folder{name}",)))
        house.server().folder(f"Folder{name}").add(name.encode())
        house.start(house.watch(f"pop-client-{name}"))
    await until(lambda: len(house.observer.of(events.READ)) == 3)
    for name in ("a", "b", "c"):
        house.server().folder(f"Folder{name}").add(b"more of " + name.encode())
    async with asyncio.timeout(10):
        while len(house.observer.of(events.READ)) < 6:
            await house.clock.skip()
    assert house.observer.of(events.RETRYING) == []
    read = [str(told["client"])[-1] for told in house.observer.of(events.READ)]
    assert [sorted(read[:3]), sorted(read[3:])] == [["a", "b", "c"]] * 2
    assert house.most == 1


async def test_p16_a_refusal_is_no_end_and_teaches(house: House) -> None:
    """A second section of an account is refused; from then on both are read in turn, and nobody is refused again."""
    for name in ("a", "b"):
        house.set(client(f"pop-client-{name}", folder_path=(f"Folder{name}",)))
        house.server().folder(f"Folder{name}").add(name.encode())
    house.start(house.watch("pop-client-a"))
    await until(lambda: len(house.observer.of(events.READ)) == 1)
    house.opening.append(Throttled("NO Too many simultaneous connections. (Failure)"))
    house.start(house.watch("pop-client-b"))
    await until(lambda: bool(house.observer.of(events.LIMIT_LEARNED)))
    async with asyncio.timeout(10):
        while len(house.observer.of(events.READ)) < 2:
            await house.clock.skip()
    (told,) = house.observer.of(events.LIMIT_LEARNED)
    assert (told["of"], told["connections"]) == ("a@example.org", 1)
    assert len(house.observer.of(events.RETRYING)) == 1


# --- conversations with a token ---------------------------------------------------------------------------------------


async def test_conversations_end_before_their_token_and_at_different_times(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(house, monkeypatch, Limits(conversation=3600))
    drawn = itertools.cycle([0.9, 1.1])

    def jitter(seconds: float, share: float = 0.1) -> float:
        return seconds * next(drawn) if seconds > 3000 else seconds

    monkeypatch.setattr(house.clock, "jitter", jitter)
    ends = {}
    for name in ("a", "b"):
        house.set(oauth(f"pop-client-{name}", mailbox=f"{name}@example.org"))
        house.start(house.watch(f"pop-client-{name}"))
        await until(lambda: len(house.opened) > len(ends))
        ends[name] = 0.0
    house.opened.clear()
    async with asyncio.timeout(20):
        while len(house.opened) < 2:
            known = len(house.opened)
            await house.clock.skip()
            await asyncio.sleep(0)
            for mailbox in house.opened[known:]:
                ends[mailbox.client.name] = house.clock.monotonic()
    assert 3600 * 0.86 * 0.9 <= ends["a"] <= ends["b"] - 400
    assert ends["b"] >= 3600 * 0.86 * 1.1
    assert all(mailbox.client.token_expiry_margin_time >= 900 for mailbox in house.opened)  # so each begins with a fresh token
    assert house.observer.of(events.SESSION_ENDED) == []


def oauth(section: str, **options: object) -> PopClient:
    return client(section, mechanisms=("XOAUTH2",), client_id="id", password=Secret("r"), tenant_authority="google", **options)


# --- size and slowness ------------------------------------------------------------------------------------------------


async def test_a_large_mailbox_does_not_starve_a_small_one(house: House) -> None:
    """Steps are counted, not time: when the small one is read, the large one has had no more than some batches."""
    for number in range(10_000):
        house.server().folder().add(b"%d" % number)
    for number in range(3):
        house.server("b@example.org").folder().add(b"%d" % number)
    house.set(client("pop-client-b", mailbox="b@example.org"))
    house.start(house.watch())
    await until(lambda: len(house.server().fetched) > 0)
    house.start(house.watch("pop-client-b"))
    await until(lambda: len(house.server("b@example.org").fetched) == 3)
    await until(lambda: bool([told for told in house.observer.of(events.READ) if told["client"] == "pop-client-b"]))
    assert len(house.server().fetched) <= 5000
    await until(lambda: len(house.server().fetched) == 10_000)


async def test_large_mailboxes_make_way_in_a_single_pass(house: House, supervisor: Supervisor) -> None:
    """Two at once, three that are too large for one cycle, named first: the small ones do not wait for their end."""
    sections = []
    for name in ("x", "y", "z", "a", "b"):
        house.set(client(f"pop-client-{name}", mailbox=f"{name}@example.org", maximum_msg_number=2))
        sections.append(f"pop-client-{name}")
        for number in range(20 if name in "xyz" else 1):
            house.server(f"{name}@example.org").folder().add(f"{name}{number}".encode())
    results = await supervisor.once(sections, 2)
    assert [result.watch.total.captured for result in results] == [20, 20, 20, 1, 1]
    read = [str(told["client"])[-1] for told in house.observer.of(events.READ)]
    ends = min(len(read) - 1 - read[::-1].index(name) for name in "xyz")  # the first end of a large one
    assert max(read.index("a"), read.index("b")) < ends


# --- silence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "age", "silent"),
    [
        (Condition("c", Health.WORKING, proved_at=0), 210, False),
        (Condition("c", Health.WORKING, proved_at=0), 211, True),  # whatever a flag says
        (Condition("c", Health.RETRYING, proved_at=0, retry_at=900), 211, True),
        (Condition("c", Health.RETRYING, started_at=0), 211, True),  # never proved
        (Condition("c", Health.STARTING), 10_000, False),  # never begun
        (Condition("c", Health.RETRYING, proved_at=0, started_at=200), 211, True),  # a start proves nothing
        (Condition("c", Health.PAUSED, proved_at=0, retry_at=9000), 9000, False),
        (Condition("c", Health.PAUSED, proved_at=0, retry_at=9000), 9211, True),
        (Condition("c", Health.NEEDS_PERSON, proved_at=0), 10_000, False),  # is told of in its own way
        (Condition("c", Health.DISABLED, proved_at=0), 10_000, False),
    ],
)
def test_p12_health_is_the_age_of_the_last_proof(condition: Condition, age: float, silent: bool) -> None:
    assert patience(client()) == 2 * 60 + 30 + 60
    assert silent_for(condition, client(), age) == (None if not silent else age - max(condition.proved_at or 0, 0))


async def test_p12_starts_again_and_again_hide_no_silence(house: House) -> None:
    """A service that ends and is begun anew all the time, with a mailbox that was never proved."""
    for _ in range(3):
        house.opening.append(ConnectError("no route"))
        task = house.start(house.watch())
        await house.clock.sleeper()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        house.clock.advance(100)
    assert silent_for(await health(house), client(), house.clock.now()) == 300


async def test_p12_the_alarm_is_given_once_when_silence_begins_and_once_when_it_ends(house: House, supervisor: Supervisor) -> None:
    supervisor.start(["pop-client-a"])
    await until(lambda: "unchanged" in house.observer.names())
    house.opening += [ConnectError("no route") for _ in range(10)]
    house.server().breaks.append(ConnectError("gone"))
    async with asyncio.timeout(20):
        while house.opening:
            await house.clock.skip()
            await asyncio.sleep(0)
    (told,) = house.observer.of(events.SILENT)
    assert patience(client()) < float(str(told["seconds"])) < patience(client()) + 60
    assert "no route" in str(told["error"])
    gauge = ("postroom_client_silent", (("client", "pop-client-a"),))
    assert house.observer.gauges[gauge] == 1
    async with asyncio.timeout(20):
        while not house.observer.of(events.HEARD):
            await house.clock.skip()
            await asyncio.sleep(0)
    assert house.observer.gauges[gauge] == 0
    await supervisor.stop()
    assert [name for name in house.observer.names() if name in ("silent", "heard")] == ["silent", "heard"]


async def test_a_mailbox_that_another_process_reads_gives_no_alarm(house: House, supervisor: Supervisor) -> None:
    house.opening.append(ConnectError("x"))
    supervisor.start(["pop-client-a"])
    for _ in range(3):
        await house.clock.skip()
    watch = supervisor.watches["pop-client-a"]
    watch.condition = Condition("pop-client-a", Health.STARTING)
    house.clock.advance(10_000)
    supervisor.look()
    await supervisor.stop()
    assert house.observer.of(events.SILENT) == []


# --- what hangs -------------------------------------------------------------------------------------------------------


async def hang() -> None:
    """Ignore every deadline."""
    await asyncio.Event().wait()


@pytest.mark.parametrize("call", ["changes", "fetch", "settle", "wait"])
async def test_p11_a_watch_that_hangs_is_begun_anew(house: House, supervisor: Supervisor, call: str) -> None:
    server = house.server()
    server.folder().add(b"one")
    hung = []

    async def hold() -> None:
        asked = server.asked
        if not hung and asked[call]:
            hung.append(house.clock.monotonic())
            await hang()

    house.set(client(after_capture=Disposition.SEEN))
    server.hold = hold
    supervisor.start(["pop-client-a"])
    await until(lambda: bool(hung))
    server.folder().add(b"two")
    async with asyncio.timeout(20):
        while not house.observer.of(events.RESTARTED):
            await house.clock.skip()
            await asyncio.sleep(0)
    (told,) = house.observer.of(events.RESTARTED)
    allowed = longest_sign(client())
    assert allowed < float(str(told["seconds"])) <= allowed + 10 + 60
    await until(lambda: server.asked["wait"] >= (2 if call == "wait" else 1))  # a cycle is done
    assert await count(house) == 2


async def test_p11_what_is_explained_is_left_alone(house: House, supervisor: Supervisor) -> None:
    """A long cycle-time, back-off and a wait for others are no silence of a watch."""
    house.set(client(cycle_time=7200))
    house.set(client("pop-client-b", mailbox="b@example.org"))
    house.opening.append(Throttled("slow down", retry_after=20_000))
    supervisor.start(["pop-client-b"])
    await until(lambda: bool(house.observer.of(events.RETRYING)))
    supervisor.changed(["pop-client-a"])
    await until(lambda: "unchanged" in house.observer.names())
    for _ in range(700):
        house.clock.advance(10)
        await asyncio.sleep(0)
        supervisor.look()
    await supervisor.stop()
    assert house.observer.of(events.RESTARTED) == []


async def test_p11_a_trickle_is_no_sign_of_life(house: House, supervisor: Supervisor) -> None:
    """A server that sends an octet now and then keeps within every time-out and comes to no end."""
    server = house.server()
    server.folder().add(bytes(30_000))
    server.long = 10

    async def hold() -> None:
        if server.asked["piece"] and not house.observer.of(events.RESTARTED):
            await house.clock.sleep(59)

    server.hold = hold
    supervisor.start(["pop-client-a"])
    async with asyncio.timeout(20):
        while not house.observer.of(events.RESTARTED):
            await house.clock.skip()
            await asyncio.sleep(0)
    await until(lambda: bool(house.observer.of(events.READ)))
    assert len(house.observer.of(events.RESTARTED)) == 1


async def test_a_hung_server_delays_nobody_else(house: House, supervisor: Supervisor) -> None:
    for number in range(20):
        name = f"pop-client-hung{number}"
        house.set(client(name, mailbox=f"hung{number}@example.org", server="hung.example.org"))
        house.server(f"hung{number}@example.org").hold = hang
    house.server().folder().add(b"one")
    supervisor.start([*(f"pop-client-hung{number}" for number in range(20)), "pop-client-a"])
    await until(lambda: "read" in house.observer.names())
    assert house.clock.now() == START
    await supervisor.stop()
