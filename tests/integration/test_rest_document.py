"""The document tried by schemathesis against a served API: whatever the document allows or forbids, the answers are as it says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from asking import PLAIN, Web, capture, serving
from postroom.app.rest.application import api

FILE = (
    PLAIN
    + """\
[pop-client-a]
type = IMAP
server = mail.example.test
mailbox = a@example.test
password = sesame-1

[smtp-client-a]
server = smtp.example.test
"""
)
JUDGED = {"create_client", "change_client", "list_messages", "create_submission"}
"""Operations in which what is named must be there, and fit together: no schema can say that."""

EXAMPLES = 25  # of each operation; all together well under a minute
schema = schemathesis.openapi.from_dict(api().openapi())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """An API with a message and two clients; it runs in a thread of its own."""
    ready, over = threading.Event(), asyncio.Event()
    running: list[tuple[Web, asyncio.AbstractEventLoop]] = []

    async def serve() -> None:
        async with serving(tmp_path_factory.mktemp("served"), FILE) as web:
            await capture(web.core, "pop-client-a", [b"Subject: x\r\n\r\nHello\r\n"])
            running.append((web, asyncio.get_running_loop()))
            ready.set()
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    [(web, loop)] = running
    yield web
    loop.call_soon_threadsafe(over.set)
    thread.join(20)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_the_document(case: schemathesis.Case, served: Web) -> None:
    served.clock.advance(60)  # each try without a key is the first of its minute
    judged = case.operation.definition.raw["operationId"] in JUDGED
    excluded = [positive_data_acceptance] if judged else []
    headers = {"Authorization": f"Bearer {served.bearer}"}
    case.call_and_validate(base_url=served.address, headers=headers, excluded_checks=excluded)
