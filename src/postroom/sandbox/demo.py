"""``python -m postroom.sandbox.demo``: the whole path in less than a minute, for somebody who sees Postroom first.

A sandbox runs in this process, the real service in another. What is shown as done was seen: at the authority, in the
service's log, and in the answers of its commands (``demo_record``). ``demo_play`` has the order of events,
``demo_view`` the screen.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import logging
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
from rich.text import Text

from postroom.sandbox.demo_play import Demo, Proof, Run
from postroom.sandbox.demo_record import Broken
from postroom.sandbox.demo_view import Lines, Screen, console_for, plain
from postroom.sandbox.demo_words import closing, short

PIPED_SECONDS = 8.0
MARKER = ".postroom-demo"  # stands in a directory that the demo may empty, and is locked while one runs there

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130
PORT = click.IntRange(0, 65535)


@click.command(context_settings={"max_content_width": 100, "show_default": True})
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    default="demo",
    metavar="DIR",
    help="Where everything is written; emptied at each start.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0),
    metavar="N",
    help=f"For how long new mail comes.  [default: on a terminal until Ctrl-C, else {PIPED_SECONDS:.0f}]",
)
@click.option("--imaps-port", type=PORT, default=0, metavar="N", help="The sandbox's IMAP server; 0 takes any free port.")
@click.option("--authority-port", type=PORT, default=0, metavar="N", help="The sandbox's OAuth 2.0 authority.")
def main(directory: Path, seconds: float | None, imaps_port: int, authority_port: int) -> None:
    """Show Postroom at work, with real connections on this machine and made-up mail.

    A mail provider to practise with is started, mail is put into its mailboxes, and Postroom reads them: a consent with
    PKCE, its tokens sealed in the vault, a login by XOAUTH2, every message kept exactly once, an answer that leaves
    through the queue and is captured in turn. New mail keeps coming and is there at once. At the end every message is
    compared with what was delivered; the exit status is 0 when all are kept.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    if seconds is None and not sys.stdout.isatty():
        seconds = PIPED_SECONDS
    try:
        with _emptied(directory):
            logging.basicConfig(filename=directory / "sandbox.log", level=logging.WARNING)
            sys.exit(_show(Run(directory, seconds, imaps_port, authority_port)))
    except Broken as broken:
        _complain(broken, FAILED)
    except OSError as error:
        _complain(_explained(error), UNUSABLE)
    except (KeyboardInterrupt, asyncio.CancelledError):
        _complain(Broken("interrupted"), INTERRUPTED)


def _show(run: Run) -> int:
    """One showing; the exit status."""
    lines = plain()
    console = console_for(lines=lines)
    screen = None if lines else Screen(console)
    with nullcontext() if screen is None else screen.shown():
        proof = asyncio.run(_play(run, screen or Lines(console)))
    mark, style = ("✓", "bold green") if proof.sound else ("✗", "bold red")
    first, *others = proof.words().splitlines()
    console.print(Text.assemble("\n", (mark, style), " ", (first, "bold"), *(f"\n  {line}" for line in others)), soft_wrap=True)
    console.print()
    console.print(closing(run.directory, proof.last_id), soft_wrap=True, end="")
    return 0 if proof.sound else FAILED


async def _play(run: Run, view: Screen | Lines) -> Proof:
    """The first signal ends the showing in good order, the second at once."""
    stop, task, loop = asyncio.Event(), asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None

    def told() -> None:
        task.cancel() if stop.is_set() else stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told)
    return await Demo(run, view, stop).play()


@contextmanager
def _emptied(directory: Path) -> Iterator[None]:
    """The directory, made or emptied, and ours alone within the block."""
    if directory.exists() and not directory.is_dir():
        raise Broken(f"{short(directory)} is a file", "Name a folder with --directory.")
    marker = directory / MARKER
    if directory.is_dir() and any(directory.iterdir()) and not marker.exists():
        raise Broken(f"{short(directory)} holds files that are not the demo's", "Name another folder with --directory.")
    directory.mkdir(parents=True, exist_ok=True)
    with marker.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Broken(f"another demo runs in {short(directory)}", "End it, or name another folder with --directory.") from None
        for path in directory.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != marker:
                path.unlink()
        yield


def _explained(error: OSError) -> Broken:
    """The operating system's refusal, with what to do about it."""
    if error.errno in (errno.EADDRINUSE, errno.EACCES) and error.filename is None:
        return Broken(
            f"the sandbox cannot listen: {error.strerror}",
            "Choose other numbers for --imaps-port and --authority-port; 0 takes any free port.",
        )
    if error.filename is not None:
        words = f"{error.filename}: {error.strerror}"
        return Broken(words, "Name a folder that can be written with --directory.")
    return Broken(str(error))


def _complain(broken: Broken, status: int) -> None:
    click.echo(f"{click.style('demo:', fg='red')} {broken}", err=True)
    if broken.remedy:
        click.echo(f"  {broken.remedy}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main(prog_name="python -m postroom.sandbox.demo")
