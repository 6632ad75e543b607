"""Which account sends for a From address."""

from __future__ import annotations

from collections.abc import Mapping

Routes = Mapping[str, tuple[str, ...]]
"""By section, what it sends for: addresses and domains, in lower case; nothing for the default account."""


def route(address: str, routes: Routes) -> str | None:
    """The section for a From address (RFC 5321 addr-spec, any case): its own, else its domain's, else the default account's.

    A domain stands for those within it as well; the longest that is written wins. None where there is no default account.
    """
    known = {name: section for section, names in routes.items() for name in names}
    address = address.lower()
    domain = address.rpartition("@")[2]
    labels = domain.split(".")
    for name in (address, *(".".join(labels[first:]) for first in range(len(labels)))):
        if name in known:
            return known[name]
    return next((section for section, names in routes.items() if not names), None)
