"""Understand captured messages: header facts, for lists. Parsing happens here and never while capturing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from postroom.mime.examine import HEAD, examine
from postroom.model import Facts, Reference, Work
from postroom.store import Store


async def process(store: Store, pieces: Sequence[Work]) -> list[tuple[Work, Facts]]:
    """Facts for claimed messages. Raises ``StoreError`` where octets cannot be read; a message's own faults are facts."""
    references = await store.references([piece.subject for piece in pieces])
    present = [piece for piece in pieces if piece.subject in references]
    facts = await asyncio.to_thread(_facts, store, [references[piece.subject] for piece in present])
    found = dict(zip((piece.id for piece in present), facts, strict=True))
    return [(piece, found.get(piece.id, Facts(fault="the message was removed"))) for piece in pieces]


def _facts(store: Store, references: Sequence[Reference]) -> list[Facts]:
    return [examine(head) for head in store.blobs.heads(references, HEAD)]
