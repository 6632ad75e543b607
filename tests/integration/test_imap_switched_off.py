"""A mailbox is read, idled on and settled with each extension of the server's switched off in turn, and with all of them off."""

from __future__ import annotations

import pytest
from test_imap_extensions import Party, announcing, mail, party, servers

from postroom.model import Disposition, Fetched, Unsettled
from servers.dovecot import Dovecot
from servers.dovecot_config import imap_without

__all__ = ["announcing", "servers"]

# What shows that an extension is used, and what takes its place.
SIGNS = {
    "SASL-IR": ("", "***"),
    "CONDSTORE": ("(CONDSTORE)", "SELECT INBOX"),
    "IDLE": ("IDLE", ""),
    "MOVE": ("UID MOVE", "UID COPY"),
    "UIDPLUS": ("UID EXPUNGE", "EXPUNGE"),
    "ESEARCH": ("RETURN", ""),
    "ID": ("ID (", ""),
    "NAMESPACE": ("NAMESPACE", 'LIST "" ""'),
    "SPECIAL-USE": ("(SPECIAL-USE)", 'LIST "" "*"'),
}


async def cycle(who: Party) -> None:
    """List, fetch, settle in every way, wait, and hear of news."""
    async with who.reader() as reader:
        changes = await reader.changes("INBOX", None, 10)
        octets = [item.octets async for item in reader.fetch("INBOX", changes.created) if isinstance(item, Fetched)]
        assert sorted(octets) == [mail(number) for number in range(4)]
        ways = (Disposition.SEEN, Disposition.DELETE, Disposition.MOVE)
        items = [Unsettled(listed, way) for listed, way in zip(changes.created, ways, strict=False)]
        settlement = await reader.settle("INBOX", items, "Processed/2026")
        assert set(settlement.committed) == {item.listed.identifier for item in items}
        assert len((await reader.changes("Processed/2026", None, 10)).created) == 1
        assert (await reader.changes("\\Trash", None, 10)).total == 0
        state = (await reader.changes("INBOX", changes.new_state, 10)).new_state
        who.dovecot.deliver(who.user, mail(9))
        if "IDLE" in reader._session.capabilities:
            await reader.wait(10)
        found = (await reader.changes("INBOX", state, 10)).created
        assert len(found) == 1
        assert found[0].size == len(mail(9))
    assert sorted(who.dovecot.raw(who.user).values()) == sorted([mail(0), mail(3), mail(9)])


FOLDERS = "namespace inbox {\n separator = .\n mailbox Trash {\n auto = create\n special_use = \\Trash\n }\n}\n"


@pytest.mark.parametrize("off", [(), *((name,) for name in SIGNS), tuple(SIGNS)], ids="+".join)
async def test_a_cycle(announcing: Dovecot, mailbox_user: str, off: tuple[str, ...]) -> None:
    announcing.restart(imap=imap_without(*off), extra=FOLDERS)
    announcing.seed(mailbox_user, [mail(number) for number in range(4)])
    who = party(announcing, mailbox_user)
    await cycle(who)
    for name, (used, instead) in SIGNS.items():
        if name in off:
            assert not used or not any(used in line for line in who.sent if name != "ID" or line.startswith("ID"))
            assert any(line.startswith(instead) for line in who.sent)
        elif used and name not in ("ESEARCH", "NAMESPACE"):  # which are asked where others are off
            assert any(used in line for line in who.sent)
