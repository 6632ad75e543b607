"""A process that asks for a token and stands still at a named step, so that it can be killed just there.

``python -m crash.refresh_child INI STEP``: it prints ``at STEP`` and waits; without such a step it prints ``done``. The parts are
the program's own; only the seams ``Keeper`` and ``Http`` are watched.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from postroom.app.config import Live, load
from postroom.app.core import opened
from postroom.app.observing import Quiet
from postroom.clock import SystemClock
from postroom.drivers import token_request
from postroom.net.http import Http, HttpAnswer
from postroom.net.stream import Dialer
from postroom.net.tokens import Tokens
from postroom.settings import ProxySettings

STEPS = tuple(
    f"{when} {what}"
    for what in ("open_grant", "claim_grant", "post_form", "save_answer", "release_grant")
    for when in ("before", "after")
)
SPENT = ("after post_form", "before save_answer")
"""Steps at which the authority has answered and nothing of it is kept."""


class Steps:
    """Stands still for ever at one step."""

    def __init__(self, step: str) -> None:
        self._step = step

    async def pass_(self, step: str) -> None:
        """Go on, unless it is the step."""
        if step == self._step:
            print(f"at {step}", flush=True)
            await asyncio.Event().wait()


class Watched:
    """A keeper, with a step before and after each verb."""

    def __init__(self, keeper: Any, steps: Steps) -> None:
        self._keeper = keeper
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._keeper, name)
        if not asyncio.iscoroutinefunction(verb):
            return verb

        async def watched(*arguments: Any, **named: Any) -> Any:
            await self._steps.pass_(f"before {name}")
            result = await verb(*arguments, **named)
            await self._steps.pass_(f"after {name}")
            return result

        return watched


class WatchedHttp(Http):
    """Requests, with a step before and after each."""

    def __init__(self, steps: Steps) -> None:
        super().__init__(Dialer())
        self._steps = steps

    async def post_form(
        self, url: str, form: Mapping[str, str], *, ca_file: Path | None, timeout: float, via: ProxySettings | None = None
    ) -> HttpAnswer:
        await self._steps.pass_("before post_form")
        answer = await super().post_form(url, form, ca_file=ca_file, timeout=timeout, via=via)
        await self._steps.pass_("after post_form")
        return answer


async def main(file: Path, step: str) -> None:
    """Ask for the token of the file's only client."""
    live = Live(load(file, {}), {})
    log = Quiet(live, SystemClock())
    async with opened(live, SystemClock(), log, log.trace, {}) as core:
        [section] = live.configuration.clients
        mailbox = core.mailbox(section)
        assert mailbox is not None
        steps = Steps(step)
        http = WatchedHttp(steps)
        tokens = Tokens(Watched(core.store, steps), http, core.clock)
        await tokens.get(token_request(mailbox, core.kit.providers))
        await http.close()
        print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
