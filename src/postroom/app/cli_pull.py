"""``postroom pull`` on the command line."""

from __future__ import annotations

import datetime
import sys
from typing import TYPE_CHECKING, Any

import click

from postroom.app.root import application_names, cli, live_of
from postroom.app.terminal import FAILED, UNUSABLE, Failure, print_json, run_to_end

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroom.app.core import Core
    from postroom.settings import PullApplication
    from postroom.store.pull import Verdict


class _Pull(click.Group):
    """``postroom pull APP`` is ``postroom pull lease APP``."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            args = ["lease", *args]
        return super().resolve_command(ctx, args)


@cli.group(cls=_Pull)
def pull() -> None:
    """Read messages as an application does: lease, then acknowledge. postroom pull APP leases."""


def _work(context: click.Context, name: str, do: Callable[[Core, PullApplication], Awaitable[Any]]) -> Any:
    """Do something for an application."""
    from postroom.app.core import at_work
    from postroom.app.operations.pull import find_application

    live = live_of(context)

    async def main(core: Core) -> Any:
        return await do(core, find_application(live, name))

    return run_to_end(lambda: at_work(live, main))


_APPLICATION = click.argument("application", shell_complete=application_names)
_TOKENS = click.argument("tokens", nargs=-1, required=True)


@pull.command("lease")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each message.")
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="At most so many.")
@click.option("--wait", type=click.FloatRange(0), default=0.0, help="Wait so many seconds for one.")
@click.option("--seconds", type=click.FloatRange(1), help="Length of the lease; without it the application's lease-time.")
@click.option("--ack", is_flag=True, help="Acknowledge what was printed.")
@_APPLICATION
@click.pass_context
def pull_lease(
    context: click.Context, application: str, *, as_json: bool, limit: int, wait: float, seconds: float | None, ack: bool
) -> None:
    """Lease messages and print them, each with the token that acknowledges it. Exit status 1: there was none."""
    from postroom.app.operations import pull as operation

    async def do(core: Core, found: PullApplication) -> int:
        wish = operation.Wish("command line", limit, wait, seconds)
        leased = await operation.lease(core, found, wish)
        for item in await operation.items(core.store, leased):
            print_json(item) if as_json else _print(item)
        if not leased:
            click.echo(f"nothing waits for {found.section}", err=True)
        sys.stdout.flush()  # what nobody could read is not acknowledged
        if ack and leased:
            await operation.acknowledge(core, found, [each.token for each in leased])
        return len(leased)

    context.exit(0 if _work(context, application, do) else FAILED)


def _print(item: dict[str, Any]) -> None:
    message, attempts = item["message"], item["attempts"]
    again = f", attempt {attempts}: {item['refusal'] or 'it was not acknowledged'}" if attempts > 1 else ""
    click.echo(f"token {item['token']}, leased until {item['leased_until']}{again}")
    for name, value in (("From", message["from"]), ("Subject", message["subject"]), ("Id", message["id"])):
        click.echo(f"{name}: {value}")
    text = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in item["text"])
    click.echo(f"\n{text}\n")


def _tell(context: click.Context, tokens: Sequence[str], verdicts: Sequence[Verdict], taken: str = "done") -> None:
    """One line for each token, ``taken`` where what was asked is done; exit status 1 where a lease was over."""
    from postroom.store.pull import Verdict

    for token, verdict in zip(tokens, verdicts, strict=True):
        stale = "the lease is over or another's by now; nothing was changed"
        words = {Verdict.TAKEN: taken, Verdict.DEAD: "dead", Verdict.STALE: stale}
        click.echo(f"{token}  {words[verdict]}", err=verdict is Verdict.STALE)
    context.exit(FAILED if Verdict.STALE in verdicts else 0)


@pull.command("ack")
@_APPLICATION
@_TOKENS
@click.pass_context
def pull_ack(context: click.Context, application: str, tokens: tuple[str, ...]) -> None:
    """Acknowledge messages by the TOKENS of their leases: they are never handed out again."""
    from postroom.app.operations import pull as operation

    _tell(context, tokens, _work(context, application, lambda core, found: operation.acknowledge(core, found, tokens)))


@pull.command("refuse")
@click.option("--reason", default="refused on the command line", show_default=True, help="Kept with the message.")
@click.option("--retry-after", type=click.FloatRange(0), help="Seconds until they are handed out again; else ever longer.")
@click.option("--dead", is_flag=True, help="Lay them aside for good.")
@_APPLICATION
@_TOKENS
@click.pass_context
def pull_refuse(
    context: click.Context, application: str, tokens: tuple[str, ...], *, reason: str, retry_after: float | None, dead: bool
) -> None:
    """Give messages back: they are handed out again later."""
    from postroom.app.operations import pull as operation

    def do(core: Core, found: PullApplication) -> Awaitable[list[Verdict]]:
        return operation.refuse(core, found, tokens, reason, retry_after=retry_after, dead=dead, told=True)

    _tell(context, tokens, _work(context, application, do), "refused")


@pull.command("extend")
@click.option("--seconds", type=click.FloatRange(1), required=True, help="How long the leases run from now on.")
@_APPLICATION
@_TOKENS
@click.pass_context
def pull_extend(context: click.Context, application: str, tokens: tuple[str, ...], *, seconds: float) -> None:
    """Keep messages for longer."""
    from postroom.app.operations import pull as operation

    _tell(context, tokens, _work(context, application, lambda core, found: operation.extend(core, found, tokens, seconds)))


@pull.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each application.")
@click.pass_context
def pull_list(context: click.Context, *, as_json: bool) -> None:
    """Print what waits for each application: how many, how old, how many were laid aside."""
    from postroom.app.core import at_work
    from postroom.app.operations import pull as operation

    live = live_of(context)
    found = run_to_end(lambda: at_work(live, operation.waiting))
    if as_json:
        for each in found:
            print_json(operation.waiting_dict(each))
    else:
        click.echo("\n".join(operation.waiting_lines(found)))


@pull.command("dead")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each message.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@_APPLICATION
@click.pass_context
def pull_dead(context: click.Context, application: str, *, as_json: bool, limit: int) -> None:
    """Print what was laid aside, and why."""
    from postroom.app.operations.pull import letter_dict

    for letter in _work(context, application, lambda core, found: core.store.pull.dead(found.section, limit)):
        if as_json:
            print_json(letter_dict(letter))
        else:
            attempts = f"{letter.attempts} attempt{'' if letter.attempts == 1 else 's'}"
            click.echo(f"{letter.id}  {attempts}  {letter.subject or '(no subject)'}: {letter.reason}")


@pull.command("replay")
@click.option("--dead", is_flag=True, help="What was laid aside.")
@click.option("--since", help="What was captured from that time on, acknowledged or not: YYYY-MM-DD, or with Thh:mm:ss; UTC.")
@_APPLICATION
@click.pass_context
def pull_replay(context: click.Context, application: str, *, dead: bool, since: str | None) -> None:
    """Hand messages out again."""
    from postroom.app.operations import pull as operation

    if dead == (since is not None):
        raise Failure("name one of --dead and --since", status=UNUSABLE)
    if since is None:
        count = _work(context, application, operation.revive)
        click.echo(f"{count} message{'' if count == 1 else 's'} handed out anew", err=True)
        return
    try:
        at = datetime.datetime.fromisoformat(since)
    except ValueError:
        raise Failure(f"{since} is no time", "Valid is YYYY-MM-DD, or YYYY-MM-DDThh:mm:ss.", UNUSABLE) from None
    seconds = (at if at.tzinfo else at.replace(tzinfo=datetime.UTC)).timestamp()
    _work(context, application, lambda core, found: operation.replay(core, found, seconds))


@pull.command("forget")
@click.argument("application")
@click.pass_context
def pull_forget(context: click.Context, application: str) -> None:
    """Drop what waits for an APPLICATION that is not in the configuration any more. Put back, it begins anew."""
    from postroom.app.core import at_work
    from postroom.app.operations import pull as operation

    live = live_of(context)
    count = run_to_end(lambda: at_work(live, lambda core: operation.forget(core, application)))
    click.echo(f"{count} message{'' if count == 1 else 's'} dropped", err=True)
