"""Messages above ``maximum-msg-size``, and those that the server does not hand over for a day (P22, P23)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from desk import Desk, fill
from fakes import refused
from postroom import events
from postroom.mime.withheld import withheld_octets
from postroom.model import Disposition, TroubleKind
from postroom.settings import BigMessages

SMALL = b"Subject: small\r\n\r\ntext\r\n"
BIG = b"Subject: big\r\nMessage-ID: <big@x.org>\r\n\r\n" + b"x" * 1000 + b"\r\n"
LIMIT: dict[str, Any] = {"maximum_msg_size": 500}
DAY = 24 * 3600.0


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.take()
    yield desk
    desk.store.close()


def held(desk: Desk, folder: str = "INBOX") -> list[bytes]:
    return [octets for octets, _ in desk.server.folder(folder).messages.values()]


async def stand_in(desk: Desk) -> bytes:
    [octets] = [text for text in await desk.texts() if withheld_octets(text) is not None]
    return octets


# --- headers ----------------------------------------------------------------------------------------------------------


async def test_p23_one_octet_decides(desk: Desk) -> None:
    fill(desk.server, BIG, BIG + b".")
    await desk.cycle(maximum_msg_size=len(BIG))
    assert BIG in await desk.texts()
    assert withheld_octets(await stand_in(desk)) == len(BIG) + 1


@pytest.mark.parametrize("after_capture", [Disposition.KEEP, Disposition.DELETE, Disposition.MOVE, Disposition.SEEN])
async def test_p23_by_its_header_and_never_destroyed_by_after_capture(desk: Desk, after_capture: Disposition) -> None:
    fill(desk.server, SMALL, BIG)
    tally = await desk.cycle(**LIMIT, after_capture=after_capture, processed_folder_path="Done")
    assert (tally.captured, tally.troubles) == (2, 0)
    assert (await stand_in(desk)).startswith(b"X-Postroom-Withheld: %d octets\r\nSubject: big\r\n" % len(BIG))
    assert BIG in held(desk)  # what was not taken whole stays whole
    assert (SMALL in held(desk)) is (after_capture in (Disposition.KEEP, Disposition.SEEN))
    [told] = desk.observer.of(events.BIG)
    assert told["done"] == "header captured, left at the server"
    assert (await desk.cycle(**LIMIT)).captured == 0


async def test_p23_met_again_after_a_reset_it_is_not_captured_twice(desk: Desk) -> None:
    fill(desk.server, SMALL, BIG)
    await desk.cycle(**LIMIT)
    desk.server.folder().reborn(2)
    await desk.settle_down(**LIMIT)
    assert len(await desk.texts()) == 2


# --- delete -----------------------------------------------------------------------------------------------------------


async def test_p23_deleted_once_its_header_is_safe(desk: Desk) -> None:
    fill(desk.server, SMALL, BIG)
    await desk.cycle(**LIMIT, big_messages=BigMessages.DELETE)
    assert held(desk) == [SMALL]
    assert withheld_octets(await stand_in(desk)) == len(BIG)
    [told] = desk.observer.of(events.BIG)
    assert told["done"] == "header captured, deleted at the server"


# --- leave ------------------------------------------------------------------------------------------------------------


async def test_p23_left_it_is_a_trouble_until_the_limit_is_raised(desk: Desk) -> None:
    fill(desk.server, SMALL, BIG)
    leave = {**LIMIT, "big_messages": BigMessages.LEAVE}
    tally = await desk.cycle(**leave, after_capture=Disposition.DELETE)
    assert (tally.captured, tally.troubles) == (1, 0)
    [trouble] = await desk.troubles()
    assert (trouble.kind, trouble.listed.identifier) == (TroubleKind.BIG, "1/2")
    assert "more than maximum-msg-size (500)" in trouble.detail
    asked = len(desk.server.fetched)
    await desk.cycle(**leave)
    assert len(desk.server.fetched) == asked  # it is not asked for in every cycle
    assert len(desk.observer.of(events.BIG)) == 1
    await desk.cycle(maximum_msg_size=5000, big_messages=BigMessages.LEAVE)
    assert await desk.troubles() == []
    assert await desk.texts() == [BIG, SMALL]


async def test_p23_left_and_taken_by_its_header_when_that_is_chosen(desk: Desk) -> None:
    fill(desk.server, BIG)
    await desk.cycle(**LIMIT, big_messages=BigMessages.LEAVE)
    await desk.cycle(**LIMIT)
    assert withheld_octets(await stand_in(desk)) == len(BIG)
    assert await desk.troubles() == []


async def test_p23_left_and_gone_from_the_server(desk: Desk) -> None:
    fill(desk.server, BIG)
    leave = {**LIMIT, "big_messages": BigMessages.LEAVE}
    await desk.cycle(**leave)
    desk.server.folder().messages.clear()
    for _ in range(2):
        desk.clock.advance(2 * DAY)
        await desk.cycle(**leave)
    assert await desk.troubles() == []


@pytest.mark.parametrize("choice", list(BigMessages))
async def test_p22_a_header_that_is_refused_is_in_nobodys_way(desk: Desk, choice: BigMessages) -> None:
    fill(desk.server, BIG, SMALL)
    desk.server.refuses["1/1"] = refused("NO cannot")
    tally = await desk.cycle(**LIMIT, big_messages=choice)
    assert (tally.captured, tally.troubles) == (1, 1)
    [trouble] = await desk.troubles()
    assert trouble.kind is TroubleKind.FAULT
    assert BIG in held(desk)


# --- failed items -----------------------------------------------------------------------------------------------------


async def refused_for(desk: Desk, seconds: float, **options: Any) -> None:
    """Cycles, each when the trouble is due, for so long."""
    end = desk.clock.now() + seconds
    while desk.clock.now() <= end:
        await desk.cycle(**options)
        [trouble] = await desk.troubles()
        desk.clock.advance(max(trouble.not_before - desk.clock.now(), 60.0))


async def test_p22_refused_for_a_day_it_is_moved_away_unread(desk: Desk) -> None:
    options: dict[str, Any] = {"failed_items_folder_path": "Failed"}
    fill(desk.server, b"poison", b"good")
    desk.server.refuses["1/1"] = refused("NO cannot")
    await refused_for(desk, DAY - 7 * 3600, **options)
    assert held(desk) == [b"poison", b"good"]
    await refused_for(desk, 14 * 3600, **options)
    assert (held(desk), held(desk, "Failed")) == ([b"good"], [b"poison"])
    [trouble] = await desk.troubles()
    assert trouble.kind is TroubleKind.MOVED
    assert trouble.detail.startswith("moved to Failed unread; ")
    [told] = desk.observer.of(events.FAILED_ITEM)
    assert told["target"] == "Failed"
    asked = desk.server.fetched.count("1/1")
    desk.clock.advance(DAY)
    await desk.cycle(**options)
    assert desk.server.fetched.count("1/1") == asked
    assert await desk.texts() == [b"good"]


async def test_p22_without_a_folder_it_stays_where_it_is(desk: Desk) -> None:
    fill(desk.server, b"poison")
    desk.server.refuses["1/1"] = refused()
    await refused_for(desk, 3 * DAY)
    assert held(desk) == [b"poison"]
    desk.server.refuses.clear()
    await desk.settle_down()
    assert await desk.texts() == [b"poison"]


async def test_p22_had_at_last_it_is_not_moved(desk: Desk) -> None:
    fill(desk.server, b"poison")
    desk.server.refuses["1/1"] = refused()
    await refused_for(desk, DAY - 7 * 3600, failed_items_folder_path="Failed")
    desk.server.refuses.clear()
    await desk.settle_down(failed_items_folder_path="Failed")
    assert (held(desk), await desk.texts()) == ([b"poison"], [b"poison"])
