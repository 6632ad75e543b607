"""``postroom audit`` and the audits of the service, with a real server; and with one that leaves messages out of its answers."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from running import Here, basic, letter

from servers.dovecot import Dovecot
from servers.proxy import Direction, FaultProxy, _Connection

A = "pop-client-a"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


class Forgetful(FaultProxy):
    """Leaves messages out of every listing of UIDs by range, until it remembers. Asked for by themselves they are there."""

    def __init__(self, port: int, *uids: int) -> None:
        super().__init__("127.0.0.1", port)
        self.uids = uids
        self.left_out = 0

    def __enter__(self) -> Forgetful:
        super().__enter__()
        return self

    async def _let_through(self, connection: _Connection, direction: Direction, data: bytes, writer: asyncio.StreamWriter) -> None:
        if direction == "to_client":
            for uid in self.uids:
                data, count = re.subn(rb"\* \d+ FETCH \(UID %d RFC822.SIZE [^\r\n]*\r\n" % uid, b"", data)
                self.left_out += count
        await super()._let_through(connection, direction, data, writer)


class TestCommand:
    def test_all_is_accounted_for(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        dovecot.seed(mailbox_user, [letter(number) for number in range(5)])
        [before] = here.command("audit", "--json").objects
        assert (before["on_server"], before["coming"], before["missing"]) == (5, 5, 0)
        here.read()
        flags = sorted(dovecot.doveadm("fetch", "-u", mailbox_user, "flags", "all").split())
        [found] = here.command("audit", "--json").objects
        assert found["ok"]
        assert (found["on_server"], found["accounted"], found["captured"], found["missing"]) == (5, 5, 5, 0)
        assert sorted(dovecot.doveadm("fetch", "-u", mailbox_user, "flags", "all").split()) == flags
        words = here.command("audit", "a").out
        assert f"{A}, INBOX: 5 on the server, 5 accounted for, 0 missing" in words
        assert here.status(A)["audit"]["on_server"] == 5
        assert "s ago: 5 on the server, 5 accounted for, 0 missing" in here.command("status").out

    def test_what_is_gone_there_is_a_number(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        dovecot.seed(mailbox_user, [letter(number) for number in range(3)])
        here.read()
        dovecot.doveadm("expunge", "-u", mailbox_user, "mailbox", "INBOX", "uid", "2")
        [found] = here.command("audit", "--json").objects
        assert (found["on_server"], found["here_only"], found["missing"]) == (2, 1, 0)

    def test_p19_what_a_server_left_out_is_found_and_repaired(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        dovecot.seed(mailbox_user, [letter(number) for number in range(6)])
        with Forgetful(dovecot.imap_port, 3, 5) as proxy:
            here.put(A, basic(proxy.port, mailbox_user))
            here.read()
            here.read()
            assert len(here.messages()) == 4
            proxy.uids = ()  # it recovers; what it left out is behind the state, and no cycle asks for it again
            here.read()
            assert len(here.messages()) == 4
            told = here.command("audit", "--json", status=4).objects
            assert (told[0]["on_server"], told[0]["accounted"], told[0]["missing"]) == (6, 4, 2)
            assert [found["identifier"].split("/")[1] for found in told[1:]] == ["3", "5"]
            assert all(found["size"] and found["date"] and found["reason"] == "not here" for found in told[1:])
            assert here.read()[A]["captured"] == 0  # an audit alone changes nothing
            words = here.command("audit", "--repair", status=4).out
            assert "2 queued: the next cycle fetches them" in words
            assert words.count("missing: ") == 2
            assert here.read()[A]["captured"] == 2
            [after] = here.command("audit", "--json").objects
            assert (after["on_server"], after["accounted"]) == (6, 6)
        assert proxy.left_out >= 2
        exported = {here.command("messages", "export", row["id"]).out for row in here.messages()}
        assert len(exported) == 6

    def test_a_mailbox_that_cannot_be_asked_is_a_failure(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.put(A, {**basic(dovecot.imap_port, mailbox_user), "password": "wrong"})
        [told] = here.command("audit", "--json", status=1).objects
        assert not told["ok"]
        assert told["remedy"]


class TestService:
    def test_it_audits_beside_a_command(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        """The command takes the mailbox from nobody, and the service repairs by itself what a listing left out."""
        dovecot.seed(mailbox_user, [letter(number) for number in range(4)])
        with Forgetful(dovecot.imap_port, 2) as proxy:
            here.put(A, basic(proxy.port, mailbox_user))
            here.read()
            proxy.uids = ()
            here.put("settings", {"audit-interval": "2s"})
            with here.service() as service:
                told = service.wait("missing", A)
                assert (told["missing"], told["queued"]) == (1, 1)
                service.wait("read", A)
                here.command("audit", A)
                service.wait("audited", A, count=3)
                assert 'postroom_audit_missing_messages{client="pop-client-a",folder="INBOX"} 0.0' in service.get("/metrics")
        assert len(here.messages()) == 4

    def test_the_interval_acts_at_the_start(self, here: Here, dovecot: Dovecot, mailbox_user: str) -> None:
        here.put("settings", {"audit-interval": "0s"})
        here.put(A, basic(dovecot.imap_port, mailbox_user))
        with here.service() as service:
            service.cycles(A, 2)
            here.put("settings", {"audit-interval": "1s"})
            service.cycles(A, 3)
            assert service.events("audited") == []
        with here.service() as service:
            service.wait("audited", A)
