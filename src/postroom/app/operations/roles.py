"""Who may do what over the API: one table, role by operation. ``docs/api.md`` and ``postroom keys roles`` print it."""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Role(enum.Enum):
    """What a key is for."""

    ADMIN = "admin"
    OPERATOR = "operator"
    APPLICATION = "application"
    READER = "reader"


MEANINGS: Mapping[Role, str] = {
    Role.ADMIN: "may do everything, and alone changes clients and hands out addresses to connect them",
    Role.OPERATOR: "reads everything, restarts, pauses and resumes clients, and looks after what is sent",
    Role.APPLICATION: "reads the messages of the clients that its key names, or of all, by pull those of its "
    "applications; sends, and sees what it sent itself",
    Role.READER: "reads everything and changes nothing",
}

_ALL = frozenset(Role)
_READ = frozenset({Role.ADMIN, Role.OPERATOR, Role.READER})
_OPERATE = frozenset({Role.ADMIN, Role.OPERATOR})
_ADMIN = frozenset({Role.ADMIN})
_PULL = frozenset({Role.ADMIN, Role.APPLICATION})

ALLOWED: Mapping[str, frozenset[Role]] = {
    "list_messages": _ALL,
    "get_message": _ALL,
    "get_raw_message": _ALL,
    "create_submission": frozenset({Role.ADMIN, Role.APPLICATION}),
    "list_submissions": _ALL,
    "get_submission": _ALL,
    "get_raw_submission": _ALL,
    "cancel_submission": frozenset({Role.ADMIN, Role.OPERATOR, Role.APPLICATION}),
    "replay_submission": frozenset({Role.ADMIN, Role.OPERATOR, Role.APPLICATION}),
    "resolve_submission": frozenset({Role.ADMIN, Role.OPERATOR, Role.APPLICATION}),
    "list_clients": _READ,
    "get_client": _READ,
    "create_client": _ADMIN,
    "change_client": _ADMIN,
    "delete_client": _ADMIN,
    "restart_client": _OPERATE,
    "pause_client": _OPERATE,
    "resume_client": _OPERATE,
    "connect_client": _ADMIN,
    "revoke_connect": _ADMIN,
    "list_applications": _ALL,
    "lease_messages": _PULL,
    "acknowledge_messages": _PULL,
    "refuse_messages": _PULL,
    "extend_leases": _PULL,
    "list_dead_letters": _ALL,
    "replay_messages": _OPERATE,
}
"""By the name of the operation, which is its ``operationId``. What is not here nobody may."""
