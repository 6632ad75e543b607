"""A mailbox whose server fell silent (P11): its health tells, from the age of the last proved check."""

from __future__ import annotations

import pytest
from house import House, until

from fakes import START
from postroom.errors import Lost, PostroomError, TimedOut
from postroom.model import Health


@pytest.mark.parametrize("death", [TimedOut("mail.example.org:993 within 60 s"), Lost("the server closed the connection")])
async def test_p11_waiting_that_died_shows_in_the_health_and_a_new_conversation_follows(house: House, death: PostroomError) -> None:
    """``DONE`` had no answer: nothing of that wait counts as a check, though the connection looked well all the time."""
    server = house.server()
    house.start(house.watch())
    assert await house.clock.sleeper() == 60
    condition = (await house.store.conditions())["pop-client-a"]
    assert (condition.health, condition.proved_at) == (Health.WORKING, START)
    server.breaks.append(death)
    house.clock.advance(60)
    assert await house.clock.sleeper() == 5
    condition = (await house.store.conditions())["pop-client-a"]
    assert (condition.health, condition.proved_at) == (Health.RETRYING, START)
    assert str(death) in condition.fault
    server.folder().add(b"came meanwhile")
    house.clock.advance(5)
    await until(lambda: server.conversations == 2)
    assert await house.clock.sleeper() == 60
    condition = (await house.store.conditions())["pop-client-a"]
    assert (condition.health, condition.proved_at) == (Health.WORKING, START + 65)
    assert sum(counts.messages for counts in (await house.store.counts()).values()) == 1


async def test_p12_a_mailbox_that_works_again_is_shown_so_at_once(house: House) -> None:
    """What is shown is the last thing that was seen to happen, whichever way: no word of a failure outlives it."""
    server = house.server()
    house.start(house.watch())
    await house.clock.sleeper()
    for _ in range(3):
        server.breaks.append(Lost("cut"))
        house.clock.advance(60)
        assert await house.clock.sleeper() == 5
        assert await house.health() is Health.RETRYING
        house.clock.advance(5)
        assert await house.clock.sleeper() == 60
        condition = (await house.store.conditions())["pop-client-a"]
        assert (condition.health, condition.fault, condition.remedy) == (Health.WORKING, "", "")
        assert (condition.proved_at, condition.retry_at) == (house.clock.now(), None)
