"""What was at the server, what is there now, what is here: the comparison. Pure; an empty list of complaints is all well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

_SHOWN = 5  # complaints of one kind that are printed one by one


@dataclass(frozen=True)
class Kept:
    """A message as Postroom lists it."""

    identifier: str
    digest: str
    size: int


@dataclass(frozen=True)
class Seeded:
    """The mailbox at the beginning, as the server served it."""

    validity: int
    digests: Mapping[int, str]  # by UID; two messages with equal octets have one digest and two UIDs
    sizes: Mapping[int, int]

    def identifier(self, uid: int) -> str:
        """The server's identity of a message, as Postroom writes it."""
        return f"{self.validity}/{uid}"


def after_a_stop(seeded: Seeded, inbox: Collection[int], kept: Iterable[Kept]) -> list[str]:
    """Postroom was stopped somewhere: what is missing in the mailbox must be here, and nothing may be here twice."""
    here = list(kept)
    by_identifier = {message.identifier: message.digest for message in here}
    complaints = _doubled(seeded, here)
    missing = [uid for uid in seeded.digests if uid not in inbox]
    lost = [uid for uid in missing if by_identifier.get(seeded.identifier(uid)) != seeded.digests[uid]]
    return complaints + _named(lost, "is neither in the mailbox nor here: UID")


def at_the_end(seeded: Seeded, kept: Iterable[Kept]) -> list[str]:
    """Postroom came to its end: everything is here, once, under its own identity and with its own size."""
    here = list(kept)
    complaints = _doubled(seeded, here)
    absent = Counter(seeded.digests.values()) - Counter(message.digest for message in here)
    complaints += _named(sorted(absent.elements()), "is not here: SHA-256")
    expected = {seeded.identifier(uid): (digest, seeded.sizes[uid]) for uid, digest in seeded.digests.items()}
    wrong = [each.identifier for each in here if expected.get(each.identifier) != (each.digest, each.size)]
    return complaints + _named(wrong, "is kept under an identity or with a size that is not its own:")


def at_the_server(
    disposition: str, seeded: Seeded, inbox: Collection[int], seen: Collection[int], moved: Iterable[str]
) -> list[str]:
    """What the disposition must have left: ``inbox`` and ``seen`` are UIDs, ``moved`` the digests in the other folder."""
    complaints = []
    if disposition == "keep":
        complaints += _named([uid for uid in seeded.digests if uid not in inbox], "was to stay in the mailbox: UID")
        complaints += _named(sorted(seen), "was marked as seen: UID")
    else:
        complaints += _named(sorted(inbox), f"is still in the mailbox after {disposition}: UID")
    found = Counter(moved)
    expected = Counter(seeded.digests.values()) if disposition == "move" else Counter[str]()
    complaints += _named(sorted((found - expected).elements()), "is in the other folder once too often: SHA-256")
    return complaints + _named(sorted((expected - found).elements()), "is not in the other folder: SHA-256")


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
