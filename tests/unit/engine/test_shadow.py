"""Reading beside another system: what the store promises, whatever the settings of whoever reads, and wherever it stops."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from desk import Desk, fill
from postroom.errors import LeaseHeld, StoreError
from postroom.mime.fingerprint import fingerprint, known_as
from postroom.model import Disposition, Handled
from postroom.store import Store
from postroom.store.shadows import Begun, Comparison

DELETE = Disposition.DELETE


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.take()
    yield desk
    desk.store.close()


def mail(number: int, text: str = "") -> bytes:
    return f"Message-ID: <{number}@x.org>\r\nSubject: {number}\r\n\r\n{text or number}\r\n".encode()


async def begin(desk: Desk, *, give_back: bool = False) -> Begun:
    return await desk.store.shadows.begin(desk.lease.source, "pop-client-a", give_back=give_back)


async def compare(desk: Desk, there: Sequence[bytes]) -> Comparison:
    """With what the other system has, as it has delivered it."""
    shadows, source = desk.store.shadows, desk.lease.source
    after = 0
    while page := await shadows.unknown(source, after):
        found = {message: fingerprint(desk.store.blobs.pieces(reference)) for message, reference in page.items()}
        await shadows.know([(message, each._replace(message_id=known_as(each.message_id))) for message, each in found.items()])
        after = max(page)
    await shadows.forget(source)
    prints = [fingerprint([b"Return-Path: <x>\n" + octets]) for octets in there]
    await shadows.there(source, 1, [(f"new/{n}", each.digest, known_as(each.message_id)) for n, each in enumerate(prints)])
    return await shadows.compare(source)


async def by_id(desk: Desk, *ids: str) -> Comparison:
    source = desk.lease.source
    await compare(desk, [])
    await desk.store.shadows.there(source, 1, [(f"line {n}", None, each) for n, each in enumerate(ids)])
    return await desk.store.shadows.compare(source)


async def handled(desk: Desk) -> list[Handled]:
    return [row.handled async for row in desk.store.messages(client=None, newest_first=False, limit=None)]


async def take_over(desk: Desk) -> None:
    await desk.store.shadows.take_over(desk.lease.source, DELETE)


def held(desk: Desk) -> list[bytes]:
    return [octets for octets, _ in desk.server.folder().messages.values()]


# --- in shadow --------------------------------------------------------------------------------------------------------


async def test_nothing_is_settled_whatever_the_reader_s_settings_say(desk: Desk) -> None:
    """A service that has not heard of it yet still reads under the client's own settings."""
    await begin(desk)
    fill(desk.server, mail(1), mail(2))
    await desk.cycle(after_capture=DELETE)
    assert await handled(desk) == [Handled.SHADOW, Handled.SHADOW]
    assert desk.server.asked["settle"] == 0
    assert held(desk) == [mail(1), mail(2)]


async def test_it_outlasts_the_process_and_may_be_begun_again(desk: Desk) -> None:
    assert await begin(desk) is Begun.SHADOW
    await desk.restart()
    assert await begin(desk) is Begun.SHADOW
    fill(desk.server, mail(1))
    await desk.cycle(after_capture=DELETE)
    assert await handled(desk) == [Handled.SHADOW]
    [shadow] = await desk.store.shadows.all()
    assert (shadow.client, shadow.taken_at) == ("pop-client-a", None)


async def test_what_is_owed_to_the_server_is_settled_before(desk: Desk) -> None:
    """What we handled and have not deleted yet would be handled by the other system as well."""
    name, _ = fill(desk.server, mail(1), mail(2))
    desk.server.unsettled.add(name)
    await desk.cycle(after_capture=DELETE)
    assert await begin(desk, give_back=True) is Begun.OWED
    assert await desk.store.shadows.all() == []
    desk.server.unsettled.clear()
    await desk.cycle(after_capture=DELETE)
    assert await begin(desk, give_back=True) is Begun.SHADOW


async def test_a_mailbox_that_is_read_here_is_given_away_on_purpose_only(desk: Desk) -> None:
    fill(desk.server, mail(1))
    await desk.cycle()
    assert await begin(desk) is Begun.OURS
    assert await begin(desk, give_back=True) is Begun.SHADOW
    await compare(desk, [])
    await take_over(desk)
    assert await begin(desk) is Begun.OURS
    assert await desk.store.shadows.all() != []


async def test_a_mailbox_that_another_process_reads_is_not_taken_from_it(desk: Desk) -> None:
    other = Store(desk.directory, desk.clock, f"file:{desk.directory / 'vault.key'}", {})
    with pytest.raises(LeaseHeld):
        await other.shadows.begin(desk.lease.source, "pop-client-a")
    await begin(desk)
    with pytest.raises(LeaseHeld):
        await other.shadows.take_over(desk.lease.source, DELETE)
    other.close()


# --- comparing --------------------------------------------------------------------------------------------------------


async def test_both_sides_are_compared_as_multisets(desk: Desk) -> None:
    await begin(desk)
    fill(desk.server, mail(1), mail(2), mail(2), mail(3))
    await desk.cycle()
    found = await compare(desk, [mail(2), mail(1), mail(4), mail(1)])
    assert found == Comparison(both=2, only_there=2, only_here=2)
    there = [name async for name, _ in desk.store.shadows.only_there(desk.lease.source)]
    here = [message_id async for _, message_id in desk.store.shadows.only_here(desk.lease.source)]
    assert (there, here) == (["new/2", "new/3"], ["2@x.org", "3@x.org"])
    assert await compare(desk, [mail(2), mail(1), mail(4), mail(1)]) == found


async def test_an_unknown_change_on_delivery_is_met_by_the_message_id(desk: Desk) -> None:
    """Exact matches come first: of two with one Message-ID the right one is met."""
    await begin(desk)
    fill(desk.server, mail(1, "footer"), mail(1, "plain"), mail(2))
    await desk.cycle()
    found = await compare(desk, [b"X-Spam: no\r\n" + mail(2), mail(1, "plain")])
    assert found == Comparison(both=2, only_there=0, only_here=1)
    await desk.store.release([desk.lease])
    await take_over(desk)
    assert await handled(desk) == [Handled.OURS, Handled.ELSEWHERE, Handled.ELSEWHERE]


async def test_a_list_of_message_ids_is_enough(desk: Desk) -> None:
    await begin(desk)
    fill(desk.server, mail(1), mail(1), mail(2), b"Subject: none\r\n\r\n")
    await desk.cycle()
    assert await by_id(desk, "1@x.org", "9@x.org") == Comparison(both=1, only_there=1, only_here=3)


async def test_what_both_have_handled_is_told(desk: Desk) -> None:
    fill(desk.server, mail(1))
    await desk.cycle()
    await begin(desk, give_back=True)
    fill(desk.server, mail(2))
    await desk.cycle()
    assert await compare(desk, [mail(1), mail(2)]) == Comparison(both=1, twice=1)


# --- taking over ------------------------------------------------------------------------------------------------------


async def test_what_the_other_system_has_is_not_handled_again_and_all_else_is_ours(desk: Desk) -> None:
    await begin(desk)
    fill(desk.server, mail(1), mail(2))
    await desk.cycle(after_capture=DELETE)
    await compare(desk, [mail(1)])
    await take_over(desk)
    assert await handled(desk) == [Handled.ELSEWHERE, Handled.OURS]
    fill(desk.server, mail(3))
    await desk.cycle(after_capture=DELETE)
    assert await handled(desk) == [Handled.ELSEWHERE, Handled.OURS, Handled.OURS]
    assert held(desk) == [mail(1)]  # what is the other system's business stays; ours goes, as the client's settings say
    with pytest.raises(StoreError):
        await take_over(desk)


async def test_what_was_taken_by_its_header_alone_is_not_deleted(desk: Desk) -> None:
    await begin(desk)
    fill(desk.server, mail(1), mail(2, "x" * 5000))
    await desk.cycle(after_capture=DELETE, maximum_msg_size=1000)
    await take_over(desk)
    await desk.cycle(after_capture=DELETE, maximum_msg_size=1000)
    assert [octets for octets, _ in desk.server.folder().messages.values()] == [mail(2, "x" * 5000)]


async def test_it_is_one_transaction(desk: Desk) -> None:
    await begin(desk)
    fill(desk.server, mail(1), mail(2))
    await desk.cycle()
    await compare(desk, [mail(1)])
    await desk.restart()  # the process ends between the comparison and the take-over
    assert await handled(desk) == [Handled.SHADOW, Handled.SHADOW]
    await take_over(desk)
    await desk.restart()
    assert await handled(desk) == [Handled.ELSEWHERE, Handled.OURS]


async def test_it_can_be_undone_until_something_was_captured(desk: Desk) -> None:
    await begin(desk)
    fill(desk.server, mail(1), mail(2))
    await desk.cycle()
    await compare(desk, [mail(1)])
    await take_over(desk)
    assert await desk.store.shadows.undo(desk.lease.source) == 0
    assert await handled(desk) == [Handled.SHADOW, Handled.SHADOW]
    await desk.cycle(after_capture=DELETE)
    assert held(desk) == [mail(1), mail(2)]
    await compare(desk, [mail(1)])
    await take_over(desk)
    fill(desk.server, mail(3))
    await desk.cycle()
    assert await desk.store.shadows.undo(desk.lease.source) == 2  # one captured, one settled
    assert await handled(desk) == [Handled.ELSEWHERE, Handled.OURS, Handled.OURS]
    with pytest.raises(StoreError):
        await desk.store.shadows.undo(desk.lease.source + 1)
