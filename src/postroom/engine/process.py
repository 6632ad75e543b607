"""Understand captured messages: header facts, for lists; and whom they are for. Parsing happens here and never while capturing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from postroom.mime.examine import HEAD, examine
from postroom.mime.recipients import HEADER, chosen, header_of, recipients
from postroom.model import Addressing, Facts, Reference, Work
from postroom.store import Store


async def process(store: Store, pieces: Sequence[Work]) -> list[tuple[Work, Facts]]:
    """Facts for claimed messages. Raises ``StoreError`` where octets cannot be read; a message's own faults are facts."""
    references = await store.references([piece.subject for piece in pieces])
    present = [piece for piece in pieces if piece.subject in references]
    facts = await asyncio.to_thread(_facts, store, [references[piece.subject] for piece in present])
    copied = await store.addressing([piece.subject for piece in present])
    for at, piece in enumerate(present):
        if (addressing := copied.get(piece.subject)) is not None:
            facts[at] = await asyncio.to_thread(_addressed, store, references[piece.subject], facts[at], addressing)
    found = dict(zip((piece.id for piece in present), facts, strict=True))
    return [(piece, found.get(piece.id, Facts(fault="the message was removed"))) for piece in pieces]


def _facts(store: Store, references: Sequence[Reference]) -> list[Facts]:
    return [examine(head) for head in store.blobs.heads(references, HEAD)]


def _addressed(store: Store, reference: Reference, facts: Facts, addressing: Addressing) -> Facts:
    """Who of a message's recipients gets a copy. One at a time, so that memory is bounded."""
    (head,) = store.blobs.heads([reference], HEADER)
    header, whole = header_of(head)
    copies, left_out = chosen(recipients(header), addressing.address, addressing.copy_limit)
    faults = [facts.fault] if facts.fault else []
    if not whole and reference.length > HEADER:
        faults.append(f"recipients behind the first {HEADER} octets of the header are not known")
    return replace(facts, copies=copies, left_out=left_out, fault="; ".join(faults))
