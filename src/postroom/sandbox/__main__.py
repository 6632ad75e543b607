"""``python -m postroom.sandbox``: the sandbox as a server of its own.

It starts everything, writes ``DIR/postroom.ini``, delivers the samples, says what listens where, and ends its report
with the line ``ready``. SIGTERM or Ctrl-C stops it.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import signal
import socket
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from postroom.clock import SystemClock
from postroom.sandbox import ACCOUNTS, Sandbox, Submitted
from postroom.sandbox.certificates import write_private
from postroom.sandbox.samples import later, samples

PORT = click.IntRange(0, 65535)
SPAN = click.FloatRange(0)
_ADDRESS = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")  # what a section can be named after


@dataclass(frozen=True, slots=True)
class Run:
    """What the command line asked for."""

    directory: Path
    accounts: Sequence[str]
    authority_port: int
    imap_port: int
    imaps_port: int
    smtp_port: int
    smtps_port: int
    token_lifetime: float
    rotate: bool
    consented: bool
    deliver_samples: bool
    drop_every: float  # 0: never


def _addresses(context: click.Context, parameter: click.Parameter, accounts: Sequence[str]) -> Sequence[str]:
    for account in accounts:
        if not _ADDRESS.fullmatch(account):
            raise click.BadParameter(f"{account!r} is no address such as sales@example.test.", context, parameter)
    return accounts


@click.command(context_settings={"max_content_width": 100, "show_default": True})
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default="postroom-sandbox",
    metavar="DIR",
    help="Where postroom.ini, ca.pem and the server's key and certificate are written.",
)
@click.option(
    "--account",
    "accounts",
    multiple=True,
    default=ACCOUNTS,
    metavar="ADDRESS",
    callback=_addresses,
    help="A mailbox; repeatable.",
)
@click.option("--authority-port", type=PORT, default=0, metavar="N", help="OAuth 2.0 over HTTP; 0 takes any free port.")
@click.option("--imap-port", type=PORT, default=0, metavar="N", help="IMAP in the clear with STARTTLS.")
@click.option("--imaps-port", type=PORT, default=0, metavar="N", help="IMAP with TLS from the beginning.")
@click.option("--smtp-port", type=PORT, default=0, metavar="N", help="SMTP in the clear with STARTTLS.")
@click.option("--smtps-port", type=PORT, default=0, metavar="N", help="SMTP with TLS from the beginning.")
@click.option(
    "--token-lifetime",
    type=SPAN,
    default=3600,
    metavar="SECONDS",
    help="How long an access token is good.",
)
@click.option("--rotate/--no-rotate", default=True, help="Whether a refresh replaces the refresh token.")
@click.option(
    "--consented/--unconsented",
    default=True,
    help="Write refresh tokens into postroom.ini, or leave the consent to postroom authorize.",
)
@click.option("--samples/--empty", "deliver_samples", default=True, help="Begin with sample mail or with empty mailboxes.")
@click.option(
    "--drop-every",
    type=SPAN,
    default=0,
    metavar="SECONDS",
    help="Deliver a new message so often; 0: never.",
)
def main(**options: object) -> None:
    """Run a mail provider to practise with, on this machine only.

    Three real servers: IMAP and SMTP (PLAIN, XOAUTH2, OAUTHBEARER), and an OAuth 2.0 authority (code with PKCE, refresh,
    introspection, revocation). Mail that is sent to an account is in its mailbox at once; what is for anybody else is
    written to DIR/outside and goes nowhere. An application under test sees what it sees at a provider: a consent page, tokens that
    expire, refusals with their reasons. The mailboxes live in memory and are gone when the sandbox stops.

    DIR/postroom.ini is ready for Postroom: cd DIR, then postroom check, then postroom run. Each start of the sandbox writes that
    file anew, so keep what you add to it elsewhere too. docs/guides/sandbox.md shows the way.

    Other programs take addresses, ports, client id and secret from the lines printed at the start; the last of them is
    "ready". Stop it with Ctrl-C or SIGTERM.
    """
    run = Run(**options)  # type: ignore[arg-type]
    _look_for_ports(run)
    try:
        asyncio.run(_serve(run))
    except OSError as error:
        raise click.ClickException(str(error)) from error


def _look_for_ports(run: Run) -> None:
    """Refuse a port that cannot be had, by the name of its option."""
    with ExitStack() as taken:
        for name in ("authority_port", "imap_port", "imaps_port", "smtp_port", "smtps_port"):
            port: int = getattr(run, name)
            try:
                if port:
                    taken.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError as error:
                words = f"port {port} of 127.0.0.1 cannot be had: {error.strerror}."
                raise click.BadParameter(words, param_hint=f"'--{name.replace('_', '-')}'") from error


async def _serve(run: Run) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError):  # Windows has no such handlers; Ctrl-C ends the loop there
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    sandbox = Sandbox(
        run.directory,
        accounts=run.accounts,
        authority_port=run.authority_port,
        imap_port=run.imap_port,
        imaps_port=run.imaps_port,
        smtp_port=run.smtp_port,
        smtps_port=run.smtps_port,
    )
    sandbox.authority.lifetime = run.token_lifetime
    sandbox.authority.rotates = run.rotate
    async with sandbox:
        configuration = run.directory / "postroom.ini"
        write_private(configuration, sandbox.configuration(run.directory / "data", consented=run.consented).encode())
        sandbox.smtp.told = _Outside(run.directory / "outside")
        if run.deliver_samples:
            await _deliver_samples(sandbox)
        _report(sandbox, configuration)
        await _drop(sandbox, run.drop_every, stop)


async def _deliver_samples(sandbox: Sandbox) -> None:
    now = datetime.fromtimestamp(SystemClock().now(), UTC)
    for account in sandbox.accounts:
        for sample in samples(now, account):
            await sandbox.deliver(account, sample.octets, sample.when)


def _report(sandbox: Sandbox, configuration: Path) -> None:
    lines = (
        f"imap           localhost:{sandbox.imap_port} (STARTTLS)",
        f"imaps          localhost:{sandbox.imaps_port}",
        f"smtp           localhost:{sandbox.smtp_port} (STARTTLS)",
        f"smtps          localhost:{sandbox.smtps_port}",
        f"authority      {sandbox.authority_url}",
        f"client-id      {sandbox.client_id}",
        f"client-secret  {sandbox.client_secret}",
        f"ca-file        {sandbox.ca_file.absolute()}",
        f"configuration  {configuration.absolute()}",
        *(f"account        {account} (password: {sandbox.password})" for account in sandbox.accounts),
        "ready",
    )
    for line in lines:
        click.echo(line)  # which flushes, so that a parent process reading a pipe need not wait


class _Outside:
    """Writes what left the sandbox into a folder, and tells of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        for former in folder.glob("*.eml"):  # of another run
            former.unlink()

    def __call__(self, sent: Submitted) -> None:
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{next(self._numbers):06}.eml"
        path.write_bytes(sent.octets)
        click.echo(f"outside        {sent.mail_from or '<>'} to {', '.join(sent.recipients)}: {path}")


async def _drop(sandbox: Sandbox, every: float, stop: asyncio.Event) -> None:
    """Until stopped, deliver a message every so many seconds, to each account in turn."""
    supplies = [(account, later(account)) for account in sandbox.accounts]
    number = 0
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), every or None)
        if not stop.is_set():
            account, supply = supplies[number % len(supplies)]
            sample = next(supply)
            uid = await sandbox.deliver(account, sample.octets, sample.when)
            click.echo(f"delivered      {account} uid {uid}")
            number += 1


if __name__ == "__main__":
    main(prog_name="python -m postroom.sandbox")
