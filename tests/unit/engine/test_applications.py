"""Which messages an application gets: filters, beginnings, absences, copies, take-overs."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from desk import Desk, fill
from fakes import START
from postroom.engine.applications import Arrivals, choose
from postroom.engine.process import process
from postroom.engine.work import Worker
from postroom.model import Disposition, Reference, WorkKind
from postroom.settings import Begin, PullApplication
from postroom.store.applications import Chosen, Offered

NOWHERE = Reference(0, 0, 0, b"")
ON = {"copy_message_to_recipients": True}
DAY = 86400.0


def application(name: str = "pull-a", **options: Any) -> PullApplication:
    return PullApplication(section=name, name=name.removeprefix("pull-"), **options)


def offered(*, ours: bool = True, client: str = "pop-client-Sales", folder: str = "INBOX", address: str = "") -> Offered:
    return Offered(7, ours, client, folder, address, NOWHERE)


# --- filters ----------------------------------------------------------------------------------------------------------


def wants(application: PullApplication, message: Offered, *named: str) -> bool:
    return bool(list(choose(application, message, (), named)))


def test_without_a_filter_all_is_wanted_that_is_ours() -> None:
    assert wants(application(), offered())
    assert not wants(application(), offered(ours=False))


@pytest.mark.parametrize(
    ("clients", "wanted"),
    [(("sales",), True), (("pop-client-sales",), True), (("pop-client",), False), (("sal", "es"), False), (("x", "sales"), True)],
    ids=["short", "whole", "another", "parts", "several"],
)
def test_clients(clients: tuple[str, ...], wanted: bool) -> None:
    assert wants(application(clients=clients), offered()) == wanted


def test_the_client_without_a_name_is_meant_by_its_whole() -> None:
    assert wants(application(clients=("pop-client",)), offered(client="pop-client"))


def test_folders() -> None:
    assert wants(application(folders=("INBOX", "Support")), offered(folder="Support"))
    assert not wants(application(folders=("Support",)), offered(folder="support"))  # a folder's name has its case


@pytest.mark.parametrize(
    ("address", "named", "wanted"),
    [
        ("Desk@X.org", (), True),
        ("", ("other@x.org", "DESK@x.org"), True),
        ("", ("anyone@Y.org",), True),
        ("", ("anyone@sub.y.org", "desk@x.org.evil"), False),
        ("", (), False),
    ],
    ids=["the-mailbox-s", "named", "by-domain", "no-suffix", "none"],
)
def test_addresses(address: str, named: tuple[str, ...], wanted: bool) -> None:
    asks = application(addresses=("desk@x.org", "y.org"))
    assert wants(asks, offered(address=address), *named) == wanted


def test_of_a_message_with_copies_those_are_handed_over_that_are_for_its_addresses() -> None:
    copies = ["a@x.org", "b@y.org", "C@x.org"]
    chosen = list(choose(application(addresses=("x.org",)), offered(address="desk@x.org"), copies, ()))
    assert chosen == [Chosen("pull-a", 7, 0), Chosen("pull-a", 7, 2)]
    assert [each.copy for each in choose(application(), offered(), copies, ())] == [0, 1, 2]


def test_all_filters_count() -> None:
    asks = application(clients=("sales",), folders=("INBOX",), addresses=("x.org",))
    assert wants(asks, offered(), "a@x.org")
    assert not wants(asks, offered(folder="Sent"), "a@x.org")
    assert not wants(asks, offered(client="pop-client-b"), "a@x.org")


# --- what arrives -----------------------------------------------------------------------------------------------------


class Office(Desk):
    """A desk with applications."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.configured: Mapping[str, PullApplication] = {}
        self.count = 0

    def configure(self, *applications: PullApplication) -> None:
        self.configured = {each.section: each for each in applications}

    async def work(self) -> None:
        await Worker(self.store, self.clock, self.observer, lambda: self.configured).drain()

    async def arrive(self, count: int = 1, to: str = "", **options: Any) -> None:
        texts = [f"To: {to}\r\nSubject: {self.count + number + 1}\r\n\r\n".encode() for number in range(count)]
        self.count += count
        fill(self.server, *texts)
        await self.cycle(**options)

    async def handed(self, section: str = "pull-a") -> list[str]:
        """Lease and acknowledge all that waits; subjects, and recipients of copies."""
        leased, _ = await self.store.pull.lease(section, "c", 10_000, 60, 9)
        await self.store.pull.acknowledge(section, [each.token for each in leased])
        return [each.row.facts.subject + (f" for {each.row.copy.recipient}" if each.row.copy else "") for each in leased]


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    office = Office(tmp_path)
    await office.take()
    yield office
    office.store.close()


async def test_an_application_begins_with_now(office: Office) -> None:
    await office.arrive(2)
    await office.work()
    office.configure(application())
    await office.work()
    await office.arrive()
    await office.work()
    assert await office.handed() == ["3"]


async def test_or_with_all(office: Office) -> None:
    await office.arrive(1200)
    await office.work()
    await office.arrive()  # captured, and not processed when the application begins
    office.configure(application(begin=Begin.ALL))
    await office.work()
    assert await office.handed() == [str(number) for number in range(1, 1202)]
    await office.work()
    assert await office.handed() == []


async def test_or_with_a_day(office: Office) -> None:
    await office.arrive()
    await office.work()
    office.clock.advance(DAY)
    await office.arrive()
    await office.work()
    second = datetime.datetime.fromtimestamp(START + DAY, datetime.UTC).date()
    office.configure(application(begin=second))
    await office.work()
    assert await office.handed() == ["2"]


async def test_its_beginning_counts_once(office: Office) -> None:
    await office.arrive()
    await office.work()
    office.configure(application(begin=Begin.ALL))
    await office.work()
    await office.restart()
    office.configure(application(begin=datetime.date(2000, 1, 1)))
    await office.work()
    assert await office.handed() == ["1"]
    assert await office.handed() == []


async def test_a_fill_goes_on_after_a_stop_anywhere(office: Office) -> None:
    await office.arrive(1200)
    await office.work()
    asked = application(begin=Begin.ALL)
    await office.store.applications.begin({"pull-a": asked.since()})
    found = await office.store.applications.page("pull-a")
    assert found is not None
    chosen = [Chosen("pull-a", each.message) for each in found[1]]
    assert await office.store.applications.fill(*found, chosen) == 500
    assert await office.store.applications.fill(*found, chosen) == 0  # another process had the same page
    await office.restart()
    office.configure(asked)
    await office.work()
    assert len(await office.handed()) == 1200


async def test_a_page_is_handed_over_once_whoever_comes_with_it(office: Office) -> None:
    office.configure(application())
    await office.work()
    await office.arrive(600)
    await office.work()
    await office.handed()
    await office.store.applications.replay("pull-a", 0)
    found = await office.store.applications.page("pull-a")
    assert found is not None
    chosen = [Chosen("pull-a", each.message) for each in found[1]]
    assert await office.store.applications.fill(*found, chosen) == 500
    assert len(await office.handed()) == 500
    assert await office.store.applications.fill(*found, chosen) == 0


async def test_what_was_handed_over_before_its_fill_came_to_it_is_not_handed_over_twice(office: Office) -> None:
    await office.store.applications.begin({"pull-a": None})
    await office.arrive()
    [piece] = await office.store.claim(WorkKind.PROCESS, 1)
    done = await process(office.store, [piece])
    await office.store.finish_process(done)  # by a process that does not know of it
    await office.store.applications.begin({"pull-a": None})
    found = await office.store.applications.page("pull-a")
    assert found is not None
    await office.store.applications.begin({"pull-a": None})
    chosen = [Chosen("pull-a", piece.subject)]
    await office.store.applications.fill(*found, chosen)
    assert await office.handed() == ["1"]
    await office.arrive()
    [piece] = await office.store.claim(WorkKind.PROCESS, 1)
    done = await process(office.store, [piece])
    await office.store.finish_process(done, [Chosen("pull-a", piece.subject, None, piece)])  # and yet it was not asked
    assert await office.handed() == ["2"]
    office.configure(application())
    await office.work()
    assert await office.handed() == []


async def test_what_came_while_it_was_not_in_the_configuration_is_handed_over_when_it_is_back(office: Office) -> None:
    office.configure(application())
    await office.work()
    await office.arrive()
    await office.work()
    office.configure(application("pull-b"))
    await office.arrive(2)
    await office.work()
    office.configure(application(), application("pull-b"))
    await office.work()
    await office.arrive()
    await office.work()
    assert await office.handed() == ["1", "2", "3", "4"]
    assert await office.handed("pull-b") == ["2", "3", "4"]


async def test_what_a_process_handled_that_did_not_know_of_it_is_not_lost(office: Office) -> None:
    office.configure(application())
    await office.work()
    await office.arrive()
    await Worker(office.store, office.clock, office.observer).drain()  # its file is of before
    await office.work()
    assert await office.handed() == ["1"]


async def test_a_filter_acts_at_once(office: Office) -> None:
    office.configure(application())
    await office.work()
    office.configure(application(addresses=("y.org",)))
    await office.arrive(to="a@x.org")
    await office.arrive(to="b@y.org")
    await office.work()
    assert await office.handed() == ["2"]


async def test_copies_are_handed_over_each_for_itself(office: Office) -> None:
    office.configure(application(), application("pull-b", addresses=("b@x.org",)))
    await office.arrive(to="a@x.org, b@x.org", **ON)
    await office.arrive(to="undisclosed-recipients:;", **ON)
    await office.work()
    assert await office.handed() == ["1 for a@x.org", "1 for b@x.org", "2"]
    assert await office.handed("pull-b") == ["1 for b@x.org"]


async def test_copies_of_before_too(office: Office) -> None:
    await office.arrive(to="a@x.org, b@x.org", **ON)
    await office.work()
    office.configure(application(addresses=("b@x.org",), begin=Begin.ALL))
    await office.work()
    assert await office.handed() == ["1 for b@x.org"]


async def test_processing_twice_hands_over_once(office: Office) -> None:
    await office.store.applications.begin({"pull-a": None})
    await office.arrive()
    [piece] = await office.store.claim(WorkKind.PROCESS, 1)
    done = await process(office.store, [piece])
    chosen = [Chosen("pull-a", piece.subject, None, piece)]
    await office.store.finish_process(done, chosen, {"pull-a"})
    await office.store.finish_process(done, chosen, {"pull-a"})  # the answer was lost, and it is said again
    assert await office.handed() == ["1"]
    await office.store.finish_process(done, chosen, {"pull-a"})
    assert await office.handed() == []


async def test_a_replay_hands_over_again_what_was_done_and_what_is_dead(office: Office) -> None:
    office.configure(application())
    await office.work()
    await office.arrive()
    office.clock.advance(DAY)
    await office.arrive(3)
    await office.work()
    leased, _ = await office.store.pull.lease("pull-a", "c", 3, 60, 9)
    await office.store.pull.acknowledge("pull-a", [each.token for each in leased[:2]])
    await office.store.pull.refuse("pull-a", [leased[2].token], "no", most=9, dead=True)
    await office.store.applications.replay("pull-a", START + DAY)
    await office.restart()  # the wish is kept
    await office.work()
    assert await office.handed() == ["2", "3", "4"]
    await office.work()
    assert await office.handed() == []
    assert (await office.store.pull.backlogs()) == {}


async def test_forgotten_it_begins_anew(office: Office) -> None:
    office.configure(application())
    await office.work()
    await office.arrive(3)
    await office.work()
    [first, _], _ = await office.store.pull.lease("pull-a", "c", 2, 60, 9)
    await office.store.pull.refuse("pull-a", [first.token], "no", most=9, dead=True)
    office.configure()
    await office.arrive()
    await office.work()
    assert await office.store.applications.forget("pull-a") == 3
    assert await office.store.pull.backlogs() == {}
    office.configure(application())
    await office.work()
    await office.arrive()
    await office.work()
    assert await office.handed() == ["5"]


# --- beside another system --------------------------------------------------------------------------------------------


async def shadowed(office: Office) -> int:
    source = office.lease.source
    await office.store.shadows.begin(source, "pop-client-a")
    office.configure(application(begin=Begin.ALL))
    await office.arrive(2)
    await office.work()
    return source


async def test_what_another_system_has_is_handed_to_nobody(office: Office) -> None:
    await shadowed(office)
    await office.store.applications.replay("pull-a", 0)
    await office.work()
    assert await office.handed() == []


async def test_whose_a_message_is_counts_when_it_is_handed_over(office: Office) -> None:
    """Not when it was chosen: another system may have the mailbox since."""
    await office.store.applications.begin({"pull-a": None})
    await office.store.shadows.begin(office.lease.source, "pop-client-a")
    await office.arrive()
    [piece] = await office.store.claim(WorkKind.PROCESS, 1)
    done = await process(office.store, [piece])
    await office.store.finish_process(done, [Chosen("pull-a", piece.subject, None, piece)], {"pull-a"})
    assert await office.handed() == []


async def test_with_the_take_over_what_is_ours_is_handed_on(office: Office) -> None:
    source = await shadowed(office)
    await office.store.shadows.there(source, 1, [("theirs", None, "<none@x>")])
    await office.store.shadows.compare(source)
    await office.store.shadows.take_over(source, Disposition.KEEP)
    await office.work()
    assert await office.handed() == ["1", "2"]


async def test_a_take_over_is_undone_as_long_as_nobody_was_handed_anything(office: Office) -> None:
    source = await shadowed(office)
    await office.store.shadows.take_over(source, Disposition.KEEP)
    await office.work()
    assert await office.store.shadows.undo(source) == 0
    assert await office.handed() == []
    await office.store.shadows.take_over(source, Disposition.KEEP)
    await office.work()
    assert await office.handed() == ["1", "2"]
    assert await office.store.shadows.undo(source) == 2


# --- who waits --------------------------------------------------------------------------------------------------------


async def test_who_listens_is_told_and_others_are_not(office: Office) -> None:
    office.configure(application(), application("pull-b", clients=("nobody",)))
    arrivals = Arrivals()
    await office.work()
    await office.arrive()
    with arrivals.listening("pull-a") as mine, arrivals.listening("pull-b") as other:
        await Worker(office.store, office.clock, office.observer, lambda: office.configured, arrivals).drain()
        assert (mine.is_set(), other.is_set()) == (True, False)


async def test_octets_that_the_disk_lost_hold_up_no_fill(office: Office) -> None:
    await office.arrive(2, to="a@x.org")
    await office.work()
    for segment in office.directory.glob("segments/*"):
        segment.unlink()
    office.configure(application("pull-b", addresses=("a@x.org",), begin=Begin.ALL), application(begin=Begin.ALL))
    await office.work()
    assert await office.handed() == ["1", "2"]
    assert await office.handed("pull-b") == []
