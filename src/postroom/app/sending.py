"""The senders of a process, joined from its parts."""

from __future__ import annotations

from postroom.app.core import Core
from postroom.drivers import Account, Mailbox, open_submitter
from postroom.engine.filing import Filer
from postroom.engine.senders import Senders
from postroom.engine.sent import Evidence, same_account
from postroom.engine.submit import Sending


def senders_of(core: Core) -> Senders:
    """Who sends for the smtp-clients of the configuration that runs; nothing is started yet."""
    kit = core.kit

    def mailbox_for(account: Account) -> Mailbox | None:
        mailboxes = (core.mailbox(section) for section in core.live.configuration.clients)
        return same_account(account, (mailbox for mailbox in mailboxes if mailbox is not None), kit.providers)

    filer = Filer(core.store, kit, core.observer, core.account, mailbox_for)
    sending = Sending(
        core.store,
        core.clock,
        core.observer,
        lambda account: open_submitter(account, kit),
        Evidence(mailbox_for, kit).look,
        lambda account: kit.providers.limits_of(account.client, account.authorities),
        filer.wants,
    )
    return Senders(core.account, sending, filer)
