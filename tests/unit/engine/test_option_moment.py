"""Every option of a mailbox takes effect at the next POP cycle: the running one goes to its end with what it began with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from house import House, until

from fakes import client
from postroom.model import Disposition
from postroom.secret import Secret
from postroom.settings import BigMessages, FirstRead, GrantType, MailboxType, PopClient, ProxySettings, Security
from postroom.settings.option import Effect, options_of

# what is written in the middle of a cycle, by field
WRITTEN: dict[str, Any] = {
    "type": MailboxType.POP3,
    "server": "other.example.org",
    "port": 1143,
    "mailbox": "b@example.org",
    "oauth_user": "c@example.org",
    "password": Secret("other"),
    "folder_path": ("Other",),
    "security": Security.NONE,
    "tls_ca_file": Path("/ca.pem"),
    "connect_timeout": 7.0,
    "protocol_timeout": 7.0,
    "enable_client": False,
    "enable_debug": True,
    "cycle_time": 7.0,
    "maximum_msg_number": 7,
    "after_capture": Disposition.DELETE,
    "processed_folder_path": "Done",
    "failed_items_folder_path": "Failed",
    "maximum_msg_size": 3,
    "big_messages": BigMessages.LEAVE,
    "first_read": FirstRead.NEW,
    "address": "d@example.org",
    "copy_message_to_recipients": True,
    "copy_message_with_header": "X-For",
    "inbound_msg_copy_limit": 7,
    "mechanisms": ("PLAIN",),
    "client_id": "id",
    "tenant_authority": "google",
    "directory_id": "directory",
    "scope": "mail",
    "secret": "google",
    "grant_type": GrantType.EXTERNAL,
    "token_command": ("token",),
    "token_url": "https://token.example.org/",
    "token_expiry_margin_time": 7.0,
    # by properties of mail.<type>.*
    "proxy": ProxySettings(use_proxy=True, host="proxy.example.org", port=1080),
    "compress": True,
    "disable_top": True,
    "disable_capa": True,
    "two_line_xoauth2": True,
}


def test_no_option_is_left_out() -> None:
    assert set(WRITTEN) == {field.name for field in dataclasses.fields(PopClient)} - {"section", "name"}
    assert {option.effect for option in options_of(PopClient).values()} == {Effect.NEXT_CYCLE}


@pytest.mark.parametrize("field", WRITTEN)
async def test_an_option_takes_effect_at_the_next_cycle(house: House, field: str) -> None:
    server, watch = house.server(), house.watch()
    before, after = client(), client(**{field: WRITTEN[field]})
    server.folder().add(b"long enough")

    async def hold() -> None:
        if server.asked["fetch"] == 1:  # in the middle of the first cycle
            server.hold = None
            house.set(after)
            watch.poke()  # as whoever watches the file does

    server.hold = hold
    house.start(watch)
    await until(lambda: len(house.opened) > 1)
    assert [mailbox.client for mailbox in house.opened[:2]] == [before, after]
    assert house.observer.names()[:3] == ["connected", "first_read", "read"]  # one message, whole and kept at the server
    assert list(server.folder().messages) == [1]
