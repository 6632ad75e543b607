"""What was at the server, what is there now, what is here: the comparison. Pure; an empty list of complaints is all well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crash.plan import Aim

_SHOWN = 5  # complaints of one kind that are printed one by one


@dataclass(frozen=True)
class Kept:
    """A message as Postroom lists it."""

    identifier: str
    digest: str
    size: int


@dataclass(frozen=True)
class Seeded:
    """The mailbox at the beginning, as the server served it, by the server's identities as Postroom writes them."""

    digests: Mapping[str, str]  # two messages with equal octets have one digest and two identities
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class Left:
    """The mailbox now, by the same identities."""

    listed: frozenset[str]
    seen: frozenset[str] = frozenset()


def after_a_stop(seeded: Seeded, left: Left, kept: Iterable[Kept]) -> list[str]:
    """Postroom was stopped somewhere: what is missing in the mailbox must be here, and nothing may be here twice."""
    here = list(kept)
    by_identifier = {message.identifier: message.digest for message in here}
    complaints = _doubled(seeded, here)
    missing = [name for name in seeded.digests if name not in left.listed]
    lost = [name for name in missing if by_identifier.get(name) != seeded.digests[name]]
    return complaints + _named(lost, "is neither in the mailbox nor here:")


def finished(aim: Aim, seeded: Seeded, left: Left, kept: Collection[Kept]) -> bool:
    """Whether, by the look of it, all was here and settled when Postroom was stopped."""
    settled = not left.listed if not aim.stays else not aim.seen or left.seen == left.listed
    return settled and len(kept) == len(seeded.digests)


def at_the_end(seeded: Seeded, kept: Iterable[Kept]) -> list[str]:
    """Postroom came to its end: everything is here, once, under its own identity and with its own size."""
    here = list(kept)
    complaints = _doubled(seeded, here)
    absent = Counter(seeded.digests.values()) - Counter(message.digest for message in here)
    complaints += _named(sorted(absent.elements()), "is not here: SHA-256")
    expected = {name: (digest, seeded.sizes[name]) for name, digest in seeded.digests.items()}
    wrong = [each.identifier for each in here if expected.get(each.identifier) != (each.digest, each.size)]
    return complaints + _named(wrong, "is kept under an identity or with a size that is not its own:")


def at_the_server(aim: Aim, seeded: Seeded, left: Left, moved: Iterable[str]) -> list[str]:
    """What must have been left; ``moved`` are the digests of what is somewhere else there."""
    complaints = []
    if aim.stays:
        complaints += _named([name for name in seeded.digests if name not in left.listed], "was to stay in the mailbox:")
    else:
        complaints += _named(sorted(left.listed), "is still in the mailbox:")
    if aim.seen is not None:
        wrong = left.listed - left.seen if aim.seen else left.seen
        complaints += _named(sorted(wrong), f"was{' not' if aim.seen else ''} marked as seen:")
    found = Counter(moved)
    expected = Counter(seeded.digests.values()) if aim.moved else Counter[str]()
    complaints += _named(sorted((found - expected).elements()), "is in the other folder once too often: SHA-256")
    return complaints + _named(sorted((expected - found).elements()), "is not in the other folder: SHA-256")


def audited(found: Mapping[str, Any], left: Left) -> list[str]:
    """The audit must count what is there, and account for all of it by its receipt."""
    expected = {
        "ok": True,
        "on_server": len(left.listed),
        "captured": len(left.listed),
        "in_trouble": 0,
        "coming": 0,
        "missing": 0,
        "reset": None,
    }
    wrong = [name for name, value in expected.items() if found.get(name) != value]
    return [f"the audit says {name} = {found.get(name)}, not {expected[name]}" for name in wrong]


def octets(seeded: Seeded, exported: Iterable[str]) -> list[str]:
    """The exported files' digests must be those of what the server served."""
    found, expected = Counter(exported), Counter(seeded.digests.values())
    return _named(sorted(((found - expected) + (expected - found)).elements()), "was not exported as served: SHA-256")


def _doubled(seeded: Seeded, here: Iterable[Kept]) -> list[str]:
    more = Counter(message.digest for message in here) - Counter(seeded.digests.values())
    return _named(sorted(more.elements()), "is here more often than it was there: SHA-256")


def _named(which: Collection[object], what: str) -> list[str]:
    lines = [f"{what} {each}" for each, _ in zip(which, range(_SHOWN), strict=False)]
    return [*lines, f"{what} … and {len(which) - _SHOWN} more"] if len(which) > _SHOWN else lines
