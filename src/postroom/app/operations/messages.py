"""``postroom messages``: list, show and export what was captured."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import click

from postroom.app.config import Live
from postroom.app.core import for_command
from postroom.app.operations.shown import moment, shortened
from postroom.app.terminal import UNUSABLE, Failure, print_json
from postroom.errors import ConfigError
from postroom.mime.recipients import header_line
from postroom.model import MessageRow, Reference
from postroom.store import Store

_FOR_PEOPLE = 50


def section_of(live: Live, name: str) -> str:
    """A client's section. One that is no longer configured is meant by its whole name."""
    try:
        return known_section(live, name)
    except ConfigError as error:
        raise Failure(error.detail, status=UNUSABLE) from None


def known_section(live: Live, name: str) -> str:
    """The same. Raises ``ConfigError``."""
    try:
        return live.find_client(name, live.configuration.sections)
    except ConfigError:
        if name.startswith("pop-client"):
            return name
        raise


def as_dict(row: MessageRow) -> dict[str, object]:
    """A message for programs."""
    copied = {} if row.copy is None else {"copy_of": row.id, "recipient": row.copy.recipient}
    return {
        "id": row.id if row.copy is None else row.copy.id,
        **copied,
        "client": row.client,
        "folder": row.folder,
        "identifier": row.identifier,
        "digest": row.digest,
        "size": row.size,
        "subject": row.facts.subject,
        "from": row.facts.sender,
        "message_id": row.facts.message_id,
        "date": row.facts.date,
        "received": moment(row.received),
        "fault": row.facts.fault,
        "handled": row.handled.value or None,
        "address": row.address,
        "copies": [{"id": copy.id, "recipient": copy.recipient} for copy in row.copies],
        "left_out": list(row.left_out),
    }


async def list_messages(live: Live, section: str | None, *, as_json: bool, limit: int | None) -> None:
    """Print messages: for programs all of them in the order of capture, for people the newest."""
    async with for_command(live) as core:
        if as_json:
            async for row in core.store.messages(client=section, newest_first=False, limit=limit):
                print_json(as_dict(row))
            return
        rows = [row async for row in core.store.messages(client=section, newest_first=True, limit=limit or _FOR_PEOPLE)]
    if not rows:
        click.echo(f"No message of {section} has been captured yet." if section else "No message has been captured yet.")
    width = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 160
    for row in rows:
        start = f"{row.id[:23]}  {moment(row.received)[:16].replace('T', ' ')}  {shortened(row.client, 20):20}  "
        sender, subject = shortened(row.facts.sender, 28), row.facts.subject or "(no subject)"
        click.echo(start + f"{sender:28}  " + shortened(subject, max(width - len(start) - 31, 20)))


async def show_message(live: Live, public_id: str, *, as_json: bool) -> None:
    """Print one message's facts and its header."""
    async with for_command(live) as core:
        row, reference = await _one(core.store, public_id)
        head = core.store.blobs.heads([reference], 64 * 1024)[0]
        head = _before(row, head) + head
    if as_json:
        print_json(as_dict(row))
        return
    for name, value in as_dict(row).items():
        if value not in ("", None) and name not in ("copies", "left_out"):
            click.echo(f"{name + ':':12} {value}")
    for copy in row.copies if row.copy is None else ():
        click.echo(f"{'copy:':12} {copy.id} for {copy.recipient}")
    for recipient in row.left_out:
        click.echo(f"{'left out:':12} {recipient} got no copy (inbound-msg-copy-limit)")
    header = head.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode("utf-8", "replace")
    click.echo()
    click.echo("".join(c if c.isprintable() or c in "\n\t" else "?" for c in header))


async def export(live: Live, section: str | None, ids: Sequence[str] | None, output: Path | None) -> None:
    """Write messages' octets: one to a file or the terminal, several into a folder."""
    async with for_command(live) as core:
        if ids is not None and len(ids) == 1 and (output is None or not output.is_dir()):
            _write(core.store, *await _one(core.store, ids[0]), output)
            return
        if output is None:
            raise Failure("several messages need a folder", "Name one with --output DIRECTORY.", UNUSABLE)
        output.mkdir(parents=True, exist_ok=True)
        chosen = ids if ids is not None else [public_id async for public_id in _all(core.store, section)]
        for public_id in chosen:
            row, reference = await _one(core.store, public_id)
            _write(core.store, row, reference, output / f"{row.id if row.copy is None else row.copy.id}.eml")
        click.echo(f"{len(chosen)} message{'' if len(chosen) == 1 else 's'} written to {output}", err=True)


async def _all(store: Store, section: str | None) -> AsyncIterator[str]:
    """Every message, and behind each its copies."""
    async for row in store.messages(client=section, newest_first=False, limit=None):
        yield row.id
        for copy in row.copies:
            yield copy.id


def _before(row: MessageRow, head: bytes) -> bytes:
    """What stands before the octets: a copy's header, which names its recipient."""
    return b"" if row.copy is None else header_line(row.copy_header, row.copy.recipient, head)


def octets(store: Store, row: MessageRow, reference: Reference) -> tuple[int, Iterator[bytes]]:
    """A message's octets as its server held them, and how many; of a copy, with the header that names its recipient."""
    before = b"" if row.copy is None else _before(row, store.blobs.heads([reference], 64 * 1024)[0])
    return len(before) + reference.length, itertools.chain([before] if before else [], store.blobs.pieces(reference))


def _write(store: Store, row: MessageRow, reference: Reference, output: Path | None) -> None:
    if output is None or str(output) == "-":
        sys.stdout.buffer.writelines(octets(store, row, reference)[1])
        sys.stdout.buffer.flush()
        return
    target = output.resolve()  # what a link names is written, and the link stays
    if target.exists() and not target.is_file():
        with target.open("wb") as device:
            device.writelines(octets(store, row, reference)[1])
        return
    file, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(file, "wb") as partial:
            partial.writelines(octets(store, row, reference)[1])
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


async def _one(store: Store, public_id: str) -> tuple[MessageRow, Reference]:
    found = await store.message(public_id)
    if found is None:
        words = f"no message, or more than one, has an id that begins with {public_id}"
        raise Failure(words, "postroom messages list prints the beginnings of ids, with --json whole ones.")
    return found
