"""How long a mailbox may be silent. Pure: health is the age of the last check that proved the path to it.

``status`` and the alarm ask ``silent_for``; the watchdog asks ``longest_sign``.
"""

from __future__ import annotations

from postroom.model import Condition, Health
from postroom.settings import PopClient

_ANSWERS = 8  # that a login and a cycle may wait for, one after the other, without a sign in between


def patience(client: PopClient) -> float:
    """Seconds within which the next check is proved while all is well: two cycles, and the time-outs of a third."""
    return 2 * client.cycle_time + client.connect_timeout + client.protocol_timeout


def silent_for(condition: Condition, client: PopClient, now: float) -> float | None:
    """The age of the last proof where it is more than is explained; None otherwise, and where a person knows already."""
    since = condition.proved_at if condition.proved_at is not None else condition.started_at
    if since is None or condition.health in (Health.NEEDS_PERSON, Health.DISABLED):
        return None
    explained = since
    if condition.health in (Health.PAUSED, Health.WORKING) and condition.retry_at is not None:  # a limit of the server's
        explained = max(since, condition.retry_at)
    return now - since if now - explained > patience(client) else None


def longest_sign(client: PopClient) -> float:
    """Seconds between two signs of life of a running conversation that its time-outs allow."""
    return patience(client) + _ANSWERS * (client.connect_timeout + client.protocol_timeout)
