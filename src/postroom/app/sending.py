"""The senders of a process, joined from its parts."""

from __future__ import annotations

from postroom.app.core import Core
from postroom.drivers import Account, open_submitter
from postroom.engine.senders import Senders
from postroom.engine.submit import Sending


def senders_of(core: Core) -> Senders:
    """Who sends for the smtp-clients of the configuration that runs; nothing is started yet."""
    kit = core.kit

    async def look(_account: Account, _message_id: str) -> bool | None:
        return None

    sending = Sending(
        core.store,
        core.clock,
        core.observer,
        lambda account: open_submitter(account, kit),
        look,
        lambda account: kit.providers.limits_of(account.client, account.authorities),
    )
    return Senders(core.account, sending)
