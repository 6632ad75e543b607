"""What a provider allows, as far as it is known: data of the files in ``providers/``, with the names of ``Limits``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of one provider for one type of mailbox. What nobody wrote down has a default that harms no server."""

    connections: int | None = None  # at once for one account, all its programs together
    messages_a_minute: float | None = None  # that may be sent by one account
    octets_a_day: int | None = None  # that may be read of one account
    logins_at_once: int = 8  # under way at one server
    logins_a_second: float = 200.0  # at one server
    conversation: float | None = None  # seconds after which the server ends a conversation that began with a token


DEFAULT = Limits()
