"""One showing of the demo: the steps in their order, new mail while it runs, the proof at the end."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parseaddr
from pathlib import Path
from typing import Any, TypeVar

from postroom.clock import SystemClock
from postroom.sandbox import Sandbox
from postroom.sandbox.certificates import write_private
from postroom.sandbox.configuration import section_names
from postroom.sandbox.demo_consent import consent, in_clear
from postroom.sandbox.demo_record import Broken, Delivery, Record, Witness
from postroom.sandbox.demo_service import Service, ask
from postroom.sandbox.demo_view import ANSWER, CAPTURE, CONSENT, LOGIN, NEW_MAIL, SAMPLES, SANDBOX, SERVICE, TOKEN, Row, View
from postroom.sandbox.demo_words import command, short
from postroom.sandbox.samples import Sample, colleague, later, samples

T = TypeVar("T")
EVERY = 2.0  # seconds from one new message to the next

_DEMO_SECTIONS = """
[log]
format = json
level = info

# Health and metrics, on a port that is free.
[web]
listen = 127.0.0.1:0
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What the command line asked for."""

    directory: Path
    seconds: float | None  # for so long new mail comes; None: until it is stopped
    imaps_port: int
    authority_port: int

    @property
    def configuration(self) -> Path:
        """The file that the service reads."""
        return self.directory / "postroom.ini"

    @property
    def data(self) -> Path:
        """Where the service keeps everything, the vault too."""
        return self.directory / "data"


@dataclass(frozen=True, slots=True)
class Proof:
    """What was delivered and what is kept, counted by client and SHA-256 of the octets."""

    delivered: Counter[tuple[str, str]]
    kept: Counter[tuple[str, str]]
    last_id: str

    @property
    def sound(self) -> bool:
        """Whether every message is kept, once, octet for octet."""
        return self.delivered == self.kept and bool(self.delivered)

    def words(self) -> str:
        """The verdict."""
        delivered, kept = self.delivered.total(), self.kept.total()
        first = f"{delivered} messages delivered, {kept} kept"
        if self.sound:
            return (
                f"{first}: each exactly once, octet for octet\n(each exported again, its SHA-256 compared with what was delivered)"
            )
        missing, strange = (self.delivered - self.kept).total(), (self.kept - self.delivered).total()
        return f"{first}: {missing} missing, {strange} double or never delivered"


class Demo:
    """One showing."""

    def __init__(self, run: Run, view: View, stop: asyncio.Event) -> None:
        self.run = run
        self.view = view
        self.stop = stop
        self.record = Record()
        self.sandbox = Sandbox(run.directory, imaps_port=run.imaps_port, authority_port=run.authority_port)
        names = section_names(self.sandbox.accounts)
        self.names = dict(zip(self.sandbox.accounts, names, strict=True))  # as they are shown
        self._under_way: asyncio.Task[Any] | None = None  # what is not left half done
        self._answers: list[str] = []  # submissions handed in

    async def play(self) -> Proof:
        """From the first step to the proof."""
        record = self.record
        self.sandbox.authority.store = Witness(self.sandbox.authority.store, record)
        async with self.sandbox:
            self._write_configuration()
            port, address = self.sandbox.imaps_port, self.sandbox.authority_url
            self.view.done(SANDBOX, f"IMAP at localhost:{port}, SMTP at {self.sandbox.smtp_port}, OAuth 2.0 at {address}")
            self.sandbox.smtp.arriving = self._arriving
            await self._deliver_samples()
            await self._get_consents()
            self.view.doing(SERVICE, "starts")
            async with Service(self.run.configuration, self.run.directory / "postroom.log", record.heard) as service:
                await self._until_stopped(service)
                self.view.footer("The service finishes what is under way and stops.")
                if self._under_way is not None:
                    await asyncio.gather(self._under_way, return_exceptions=True)
                with suppress(Broken):  # what did not come is counted by the proof
                    await record.until(lambda: self._all_sent() and record.complete(), "the last messages", 10.0)
                await service.stop()
            self.view.footer("Every message is exported and compared.")
            return await self._prove()

    # --- before the service

    def _write_configuration(self) -> None:
        text = self.sandbox.configuration(self.run.data, consented=False)
        debug = r"\g<0>" + "\n# For the log of this demo: the conversation, line by line. Secrets are masked.\nenable-debug = true"
        text = re.sub(r"(?m)^\[(pop|smtp)-client-.*\]$", debug, text) + _DEMO_SECTIONS
        write_private(self.run.configuration, text.encode())

    async def _deliver_samples(self) -> None:
        """One sample of each kind, the first of them to the last account, which is often captured last and so seen first."""
        now = datetime.fromtimestamp(SystemClock().now(), UTC)
        accounts = self.sandbox.accounts
        for number, account in enumerate(reversed(accounts)):
            made = samples(now, account)
            for sample in made[number * len(made) // len(accounts) : (number + 1) * len(made) // len(accounts)]:
                await self._deliver(account, sample, is_new=False)
        self.view.done(SAMPLES, f"{len(self.record.deliveries)} messages: enquiries, attachments, other scripts, a bounce")

    async def _get_consents(self) -> None:
        """Each account's person allows to read and to send, one after the other; what came of it is in the vault afterwards."""
        record, view, url = self.record, self.view, self.sandbox.authority_url
        for account, name in self.names.items():
            view.doing(CONSENT, f"{account}: postroom authorize {name}")
            await consent(self.run.configuration, name, account, url, record)
            if readable := in_clear(self.run.directory, record):
                raise Broken(f"a refresh token stands readable in {short(readable[0])}", "Do not use this version: report it.")
        people, seen = " and ".join(self.names), record.consents.values()
        method = " and ".join(sorted({one.challenge for one in seen}))
        view.done(CONSENT, f"{people} allowed access\npostroom authorize: PKCE ({method}), refresh tokens sealed in the vault")
        lifetime = min(one.lifetime for one in seen) / 60
        view.done(
            TOKEN,
            f"code → access token and refresh token, for {' and '.join(self.names.values())}\n"
            f"POST {url}/token, good for {lifetime:.0f} min; kept sealed",
        )

    async def _deliver(self, account: str, sample: Sample, *, is_new: bool) -> Delivery:
        delivery = Delivery.of(f"pop-client-{self.names[account]}", sample.octets, is_new=is_new)
        self.record.deliveries.append(delivery)
        await self._whole(self.sandbox.deliver(account, sample.octets, sample.when))
        return delivery

    def _arriving(self, account: str, octets: bytes) -> None:
        """Mail that was sent through the sandbox's server is a delivery as all others."""
        self.record.deliveries.append(Delivery.of(f"pop-client-{self.names[account]}", octets, is_new=True))

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what is not left half done when the showing ends."""
        self._under_way = task = asyncio.create_task(work)
        return await asyncio.shield(task)

    def _delivered(self) -> Counter[tuple[str, str]]:
        return Counter((delivery.client, delivery.digest) for delivery in self.record.deliveries)

    # --- while it runs

    async def _until_stopped(self, service: Service) -> None:
        """Show the steps and new mail until it is enough. Raises ``Broken`` when the service does not do its part."""
        showing = asyncio.create_task(self._show(service))
        ended = asyncio.create_task(service.ended())
        stopped = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait([showing, ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (showing, ended, stopped):
                task.cancel()
            results = await asyncio.gather(showing, ended, stopped, return_exceptions=True)
        if isinstance(results[1], int):
            raise service.failure(results[1])
        if isinstance(results[0], Exception):
            raise results[0]

    async def _show(self, service: Service) -> None:
        await self._show_steps(service)
        await self._show_answer()
        await self._show_new_mail()

    async def _show_steps(self, service: Service) -> None:
        record, view = self.record, self.view
        sections = {f"pop-client-{name}": name for name in self.names.values()}
        await record.until(lambda: bool(record.started), "the service's start")
        config, version = short(self.run.configuration), record.started["version"]
        view.done(SERVICE, f"postroom {version} runs as process {service.pid} with {config}")
        view.doing(LOGIN, "XOAUTH2")
        await record.until(lambda: sections.keys() <= record.logins.keys(), "the login")
        took = ", ".join(f"{name} {_span(record.logins[section])}" for section, name in sections.items())
        view.done(LOGIN, f"XOAUTH2 at localhost:{self.sandbox.imaps_port} accepted: {took}")
        view.doing(CAPTURE, "messages are read")
        await record.until(record.complete, "the capture of the samples")
        rows = await self._list()
        if Counter((row["client"], row["digest"]) for row in rows) != self._delivered():
            raise Broken("what was captured is not what was delivered", f"Compare: {command()} messages list --json")
        assert record.captured_at is not None
        assert record.logged_in_at is not None
        took = _span((record.captured_at - record.logged_in_at).total_seconds())
        view.done(CAPTURE, f"{len(rows)} messages, {_size(record.octets)}, in {took}; each once, every SHA-256 equal")
        view.messages(self._rows(rows))

    async def _show_answer(self) -> None:
        """One account asks the other; an application answers, and the answer is captured where the question came from."""
        record, view = self.record, self.view
        asked, asking = self.sandbox.accounts[:2]
        question = colleague(asking, asked)
        delivery = await self._deliver(asked, question, is_new=True)
        await record.until(lambda: delivery.seconds is not None, "the capture of the question")
        rows = await self._list()
        found = next(row for row in rows if row["digest"] == delivery.digest)
        view.doing(ANSWER, f"{asked} answers {asking}")
        begun, arrivals = asyncio.get_running_loop().time(), len(record.deliveries)
        public_id = await self._whole(self._answer(found["id"]))
        await record.until(lambda: public_id in record.sent, "the answer's way through the queue")
        await record.until(lambda: len(record.deliveries) > arrivals and record.complete(), "the capture of the answer")
        sender = record.sent[public_id]["client"]
        if sender not in record.senders:
            raise Broken(f"{sender} sent without XOAUTH2", f"Compare the log: {short(self.run.directory / 'postroom.log')}")
        took = _span(asyncio.get_running_loop().time() - begun)
        view.done(
            ANSWER, f"{asked} → queue → XOAUTH2 at localhost:{self.sandbox.smtp_port} → {asking}\ncaptured there {took} later"
        )
        view.messages(self._rows(await self._list()))

    async def _answer(self, message: str) -> str:
        """What an application does; the submission's id."""
        text = "Until seven on Saturday. Kind regards"
        answer = ("send", "--reply-to-message", message, "--quote", "--text", text, "--json")
        [submission] = await ask(self.run.configuration, *answer)
        self._answers.append(submission["id"])
        return str(submission["id"])

    def _all_sent(self) -> bool:
        return all(public_id in self.record.sent for public_id in self._answers)

    async def _show_new_mail(self) -> None:
        record, view, loop = self.record, self.view, asyncio.get_running_loop()
        end = None if self.run.seconds is None else loop.time() + self.run.seconds
        view.footer(f"New mail every {EVERY:.0f} s.   Ctrl-C ends the demo.")
        seconds: list[float] = []
        for account, sample in self._new_mail():
            due = loop.time() + EVERY
            delivery = await self._deliver(account, sample, is_new=True)
            await record.until(lambda delivery=delivery: delivery.seconds is not None, "the capture of new mail")  # type: ignore[misc]
            assert delivery.seconds is not None
            seconds.append(delivery.seconds)
            middle = _span(sorted(seconds)[len(seconds) // 2])
            median = f" (median of {len(seconds)})" if len(seconds) > 1 else ""
            how = "announced by the server (IDLE)" if record.announced else "found by the next cycle"
            view.done(NEW_MAIL, f"{how}, kept after {middle}{median}")
            view.messages(self._rows(await self._list()))
            if end is not None and due > end:
                await asyncio.sleep(end - loop.time())
                return
            await asyncio.sleep(due - loop.time())

    def _new_mail(self) -> Iterator[tuple[str, Sample]]:
        """New messages, for each account in turn, and not the same for all."""
        supplies = [
            (account, itertools.islice(later(account), number * 3, None)) for number, account in enumerate(self.sandbox.accounts)
        ]
        for account, supply in itertools.cycle(supplies):
            yield account, next(supply)

    async def _list(self) -> list[dict[str, Any]]:
        """All messages as the command line lists them. What was captured this moment may not be understood yet: ask again."""
        for _ in range(3):
            rows = await ask(self.run.configuration, "messages", "list", "--json")
            if all(row["from"] for row in rows):
                break
        return rows

    def _rows(self, listed: list[dict[str, Any]]) -> list[Row]:
        seconds = {delivery.digest: delivery.seconds for delivery in self.record.deliveries if delivery.is_new}
        return [_row(message, seconds.get(message["digest"])) for message in listed]

    # --- afterwards

    async def _prove(self) -> Proof:
        """Export everything and compare it with what was delivered."""
        folder = self.run.directory / "export"
        await ask(self.run.configuration, "messages", "export", "--all", "--output", str(folder))
        rows = await self._list()
        kept = Counter((row["client"], hashlib.sha256((folder / f"{row['id']}.eml").read_bytes()).hexdigest()) for row in rows)
        return Proof(self._delivered(), kept, _beginning([row["id"] for row in rows]))


def _row(listed: dict[str, Any], seconds: float | None) -> Row:
    sender = _clean(parseaddr(listed["from"])[0] or listed["from"])
    subject = _clean(listed["subject"]) or "(no subject)"
    return Row(
        f"{datetime.fromisoformat(listed['received']).astimezone():%H:%M:%S}",
        listed["client"].removeprefix("pop-client-"),
        sender,
        subject,
        _size(listed["size"]),
        _span(seconds),
    )


def _beginning(ids: list[str]) -> str:
    """As much of the last id as tells it from the others."""
    if not ids:
        return "ID"
    lengths = range(8, len(ids[-1]))
    return next((ids[-1][:n] for n in lengths if sum(i.startswith(ids[-1][:n]) for i in ids) == 1), ids[-1])


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 0.001:
        return "less than 1 ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _size(octets: int) -> str:
    return f"{octets} B" if octets < 1000 else f"{octets / 1000:.1f} kB"


def _clean(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
