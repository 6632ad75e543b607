"""The command line. Commands parse and print; what they do is in ``operations``. Each loads only what it needs.

Exit status: 0 all is well; 1 something failed or needs a person; 2 the command or the configuration cannot be used;
3 another living process reads the mailbox; 4 an audit found messages missing, or a comparison with another
system a difference.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from postroom.app import (  # noqa: F401 - they add their commands to the group
    cli_commands,
    cli_init,
    cli_keys,
    cli_oauth,
    cli_outbox,
    cli_pull,
    cli_shadow,
)
from postroom.app.root import chosen, cli, client_names, live_of, option_names, show_faults
from postroom.app.terminal import FAILED, UNUSABLE, Failure, print_json, run_to_end

__all__ = ["cli"]


@cli.command()
@click.option("--once", is_flag=True, help="Read until nothing more is to be read, do all work, send what is due, then end.")
@click.option("--json", "as_json", is_flag=True, help="With --once: one JSON object for each client.")
@click.argument("clients", nargs=-1, shell_complete=client_names)
@click.pass_context
def run(context: click.Context, once: bool, as_json: bool, clients: tuple[str, ...]) -> None:
    """Read the mailboxes and send what waits: as a service, or once. CLIENTS: only these (with --once)."""
    live = live_of(context)
    if once:
        from postroom.app.operations.once import once as read_once

        context.exit(read_once(live, chosen(live, clients), as_json=as_json))
    if as_json:
        raise Failure("--json goes with --once only; the service writes its log", status=UNUSABLE)
    if clients:
        raise Failure("clients can be named with --once only; the service runs all of the file", status=UNUSABLE)
    from postroom.app.observing import Log
    from postroom.app.serve import run_service
    from postroom.clock import SystemClock

    run_to_end(lambda: run_service(live, Log(live, SystemClock())))


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each client.")
@click.argument("clients", nargs=-1, shell_complete=client_names)
@click.pass_context
def check(context: click.Context, as_json: bool, clients: tuple[str, ...]) -> None:
    """Take the way to each server for real, step by step; print what works, what does not, and the remedy."""
    from postroom.app.operations.check import as_lines
    from postroom.app.operations.check import check as check_clients

    live = live_of(context)
    down = False if as_json else show_faults(live)
    findings = run_to_end(lambda: check_clients(live, chosen(live, clients)))
    for finding in findings:
        if as_json:
            print_json(finding.as_dict())
            continue
        for line in as_lines(finding):
            click.echo(line)
    context.exit(FAILED if down or not all(finding.ok for finding in findings) else 0)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="All of them as one JSON list.")
@click.argument("name", required=False, shell_complete=option_names)
def options(as_json: bool, name: str | None) -> None:
    """Print the reference of every option, or of those named NAME; NAME may be a section (smtp-client, pull-desk)."""
    from postroom.app.operations import options as reference
    from postroom.errors import ConfigError

    try:
        entries = reference.options(name)
    except ConfigError as error:
        raise Failure(error.detail, status=UNUSABLE) from None
    if as_json:
        print_json(reference.as_json(entries))
    elif len(entries) > 5:
        click.echo_via_pager(reference.as_text(entries)) if sys.stdout.isatty() else click.echo(
            reference.as_text(entries), nl=False
        )
    else:
        click.echo(reference.as_text(entries), nl=False)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each client.")
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Print how each client fares: health with its evidence, messages, troubles, the remedy."""
    from postroom.app.operations.status import as_lines
    from postroom.app.operations.status import status as read_status

    live = live_of(context)
    statuses = run_to_end(lambda: read_status(live))
    if as_json:
        for item in statuses:
            print_json(item.as_dict())
    else:
        for line in as_lines(statuses, colour=sys.stdout.isatty()):
            click.echo(line)
    context.exit(FAILED if any(item.needs_person for item in statuses) else 0)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each folder, then one for each message it misses.")
@click.option("--repair", is_flag=True, help="Queue what is missing, so that the next cycle fetches it.")
@click.argument("clients", nargs=-1, shell_complete=client_names)
@click.pass_context
def audit(context: click.Context, as_json: bool, repair: bool, clients: tuple[str, ...]) -> None:
    """Compare what the servers hold with what is accounted for here; nothing is changed there. Without CLIENTS all that are
    enabled. Exit status 4: messages are missing.

    Accounted for is a message that was captured, is known from another folder, is in trouble, was spared by first-read
    or left for its size. The service audits by itself (audit-interval) and fetches what is missing.
    """
    from postroom.app.operations.audit import audit as carry_out

    live = live_of(context)
    sections = chosen(live, clients, mailboxes=True)
    context.exit(run_to_end(lambda: carry_out(live, sections, named=bool(clients), repair=repair, as_json=as_json)))


@cli.group()
def messages() -> None:
    """List, show and export what was captured."""


@messages.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, in the order of capture.")
@click.option("--client", help="Only this client's.", shell_complete=client_names)
@click.option("--limit", type=click.IntRange(1), help="At most so many (people: the newest 50; --json: all).")
@click.pass_context
def messages_list(context: click.Context, as_json: bool, client: str | None, limit: int | None) -> None:
    """List messages."""
    from postroom.app.operations import messages as operation

    live = live_of(context)
    section = operation.section_of(live, client) if client else None
    run_to_end(lambda: operation.list_messages(live, section, as_json=as_json, limit=limit))


@messages.command("show")
@click.option("--json", "as_json", is_flag=True, help="The facts as one JSON object.")
@click.argument("message_id")
@click.pass_context
def messages_show(context: click.Context, as_json: bool, message_id: str) -> None:
    """Show one message: its facts and its header. MESSAGE_ID: its id, or the beginning of it."""
    from postroom.app.operations import messages as operation

    live = live_of(context)
    run_to_end(lambda: operation.show_message(live, message_id, as_json=as_json))


@messages.command("export")
@click.option("--all", "everything", is_flag=True, help="Every message.")
@click.option("--client", help="With --all: only this client's.", shell_complete=client_names)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File for one message, folder for several; else to the terminal.",
)
@click.argument("message_ids", nargs=-1)
@click.pass_context
def messages_export(
    context: click.Context, everything: bool, client: str | None, output: Path | None, message_ids: tuple[str, ...]
) -> None:
    """Write messages' octets exactly as their server held them (.eml); of a copy, with the header that names its recipient."""
    from postroom.app.operations import messages as operation

    if everything == bool(message_ids):
        raise Failure("name the messages to export, or --all", status=UNUSABLE)
    live = live_of(context)
    section = operation.section_of(live, client) if client else None
    run_to_end(lambda: operation.export(live, section, None if everything else message_ids, output))


@cli.group()
def vault() -> None:
    """The key that seals tokens in the store."""


@vault.command("rotate")
@click.option("--json", "as_json", is_flag=True, help="What was done as one JSON object.")
@click.pass_context
def vault_rotate(context: click.Context, as_json: bool) -> None:
    """Change the key and seal everything anew, while the service runs. A rotation that was stopped is run again."""
    from postroom.app.operations import vault as operation

    live = live_of(context)
    done = run_to_end(lambda: operation.rotate(live))
    print_json(operation.rotation_dict(done)) if as_json else click.echo("\n".join(operation.rotation_lines(done)))


@vault.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def vault_status(context: click.Context, as_json: bool) -> None:
    """Print where the key is and what it seals; exit status 1 when something does not open."""
    from postroom.app.operations import vault as operation

    live = live_of(context)
    found = run_to_end(lambda: operation.status(live))
    print_json(operation.status_dict(found)) if as_json else click.echo("\n".join(operation.status_lines(found)))
    context.exit(FAILED if any(found.unopened.values()) else 0)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the shell's completion script: eval "$(postroom completion bash)"."""
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "postroom", "_POSTROOM_COMPLETE").source())
