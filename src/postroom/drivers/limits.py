"""What a provider allows, as far as it is known: data of the files in ``providers/``, with the names of ``Limits``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """A provider's limits for one type of mailbox, or way to send. What nobody wrote down has a default that harms no server."""

    connections: int | None = None  # at once for one account, all its programs together
    octets_a_day: int | None = None  # that may be read of one account
    logins_at_once: int = 8  # under way at one server
    logins_a_second: float = 200.0  # at one server
    recipients: int | None = None  # of one message that is sent
    messages_a_minute: int | None = None  # that may be sent by one account
    conversation: float | None = None  # seconds after which the server ends a conversation that began with a token


DEFAULT = Limits()
