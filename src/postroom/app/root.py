"""The group of all commands, and what they share: the configuration, its faults, the clients that were named."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroom import __version__
from postroom.app.terminal import UNUSABLE, Failure

if TYPE_CHECKING:
    from postroom.app.config import Live


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="postroom %(version)s")
@click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="POSTROOM_CONFIG",
    help="The configuration; postroom.ini here, else /etc/postroom/postroom.ini.",
)
@click.pass_context
def cli(context: click.Context, file: Path | None) -> None:
    """The e-mail server for applications.

    Reads mailboxes with passwords or OAuth 2.0 and keeps each message exactly once.
    """
    context.obj = file


def live_of(context: click.Context) -> Live:
    """The configuration; ends the command when it cannot be used as a whole."""
    from postroom.app.config import Live, default_file, load
    from postroom.errors import ConfigError

    try:
        file = context.obj or default_file()
    except ConfigError as error:
        raise Failure(error.detail, status=UNUSABLE) from None
    configuration = load(file, os.environ)
    if configuration.whole:
        for fault in configuration.faults:
            click.echo(str(fault), err=True)
        raise Failure(f"{file} cannot be used", status=UNUSABLE)
    return Live(configuration, os.environ)


def client_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The clients of the configuration, for the shell's completion: by their short names, or whole where that is begun."""
    from postroom.app.config import default_file, load
    from postroom.errors import ConfigError

    root = context.find_root()
    try:
        configuration = load(root.params.get("file") or default_file(), os.environ)
    except ConfigError:
        return []
    sections = (*configuration.sections, *configuration.sender_sections)
    short = [section.removeprefix("pop-client-").removeprefix("smtp-client-") for section in sections]
    names = [*(name for name in short if short.count(name) == 1), *sections]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def application_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The applications of the configuration that read by pull, for the shell's completion."""
    from postroom.app.config import default_file, load
    from postroom.errors import ConfigError

    try:
        applications = load(context.find_root().params.get("file") or default_file(), os.environ).applications
    except ConfigError:
        return []
    return [application.name for application in applications.values() if application.name.startswith(incomplete)]


def key_names(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of the API's keys that act, for the shell's completion."""
    from postroom.app.config import Live, default_file, load
    from postroom.app.core import at_work
    from postroom.app.serve import run_loop
    from postroom.errors import PostroomError

    try:
        live = Live(load(context.find_root().params.get("file") or default_file(), os.environ), os.environ)
        found = run_loop(at_work(live, lambda core: core.store.api_keys.all()))
    except PostroomError:
        return []
    return [key.name for key in found if key.revoked_at is None and key.name.startswith(incomplete)]


def sender_names(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The smtp-clients of the configuration, for the shell's completion."""
    names = client_names(context, parameter, "")
    whole = {name for name in names if name.startswith("smtp-client")}
    short = {name.removeprefix("smtp-client-") for name in whole}
    return [name for name in names if (name in whole or name in short) and name.startswith(incomplete)]


def option_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of options, for the shell's completion; a property of any type by the type that is begun."""
    from postroom.settings.reference import named_like

    return list(named_like(incomplete))


def show_faults(live: Live) -> bool:
    """Print what is wrong in the file; True when a section is down for it."""
    from postroom.settings import Severity

    faults = live.configuration.faults
    for fault in faults:
        colour = "red" if fault.severity is Severity.FAULT else "yellow"
        click.secho(str(fault), fg=colour, err=True)
    return any(fault.severity is Severity.FAULT for fault in faults)


def chosen_one(live: Live, name: str, *, mailboxes: bool = False) -> str:
    """The one section that the name means, with ``mailboxes`` of a pop-client."""
    from postroom.errors import ConfigError

    try:
        return live.find_client(name, live.configuration.sections if mailboxes else None)
    except ConfigError as error:
        raise Failure(error.detail, status=UNUSABLE) from None


def chosen(live: Live, names: Iterable[str], *, mailboxes: bool = False) -> list[str]:
    """The sections that the names mean, with ``mailboxes`` of pop-clients only; all of them where none is given.

    A short name means what reads the mailbox and what sends for it.
    """
    from postroom.errors import ConfigError

    configuration = live.configuration
    among = configuration.sections if mailboxes else (*configuration.sections, *configuration.sender_sections)
    try:
        sections = [section for name in names for section in live.find_clients(name, among)] or list(among)
    except ConfigError as error:
        raise Failure(error.detail, status=UNUSABLE) from None
    if not sections:
        file = configuration.file
        what = "mailbox" if mailboxes else "client"
        raise Failure(f"{file} configures no {what}", "Write a pop-client section; the README shows one.", UNUSABLE)
    return sections
