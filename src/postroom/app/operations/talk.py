"""What an operation says to a person and asks of one; the terminal is one, tests have others."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import sys
import threading
import webbrowser
from typing import Protocol

import click

from postroom.errors import ConsentFailed


class Talk(Protocol):
    """A conversation with a person."""

    @property
    def interactive(self) -> bool:
        """Whether somebody can be asked while something else is waited for."""

    def say(self, words: str) -> None:
        """Tell something."""

    def warn(self, words: str) -> None:
        """Tell something that should not be overlooked."""

    def address(self, address: str, *, open_browser: bool) -> None:
        """Show an address to open, and open it where asked to."""

    def device(self, uri: str, code: str, complete: str) -> None:
        """Show where to enter which code."""

    async def ask(self, prompt: str) -> str:
        """One line from the person. Raises ``ConsentFailed`` at the end of the input."""

    async def ask_secret(self, prompt: str) -> str:
        """One line that is not shown while it is typed."""


class Terminal:
    """Talks on standard error, so that standard output holds the result alone; reads standard input. One event loop uses it."""

    def __init__(self) -> None:
        self._reading: asyncio.Future[str] | None = None  # the line that is being read

    @property
    def interactive(self) -> bool:
        return sys.stdin.isatty()

    def say(self, words: str) -> None:
        click.echo(words, err=True)

    def warn(self, words: str) -> None:
        click.secho(words, fg="yellow", err=True)

    def address(self, address: str, *, open_browser: bool) -> None:
        opened = open_browser and _has_screen() and webbrowser.open(address)
        click.echo("The browser was opened at:" if opened else "Open this address in a browser:", err=True)
        click.echo(f"\n  {click.style(address, fg='cyan')}\n", err=True)

    def device(self, uri: str, code: str, complete: str) -> None:
        click.echo(f"Open {click.style(uri, fg='cyan')} on any device and enter the code {click.style(code, bold=True)}", err=True)
        if complete:
            click.echo(f"or open {click.style(complete, fg='cyan')}", err=True)
        click.echo("Waiting until you have allowed it there ...", err=True)

    async def ask_secret(self, prompt: str) -> str:
        return await asyncio.to_thread(getpass.getpass, prompt)

    async def ask(self, prompt: str) -> str:
        if prompt:
            click.echo(prompt, nl=False, err=True)
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_future()
            # Nothing joins the thread: whoever waits for a line that never comes must not keep the program from its end.
            threading.Thread(target=_read_line, args=(asyncio.get_running_loop(), self._reading), daemon=True).start()
        # A line that was waited for in vain, because the answer came in another way, is the answer to the next question.
        text = await asyncio.shield(self._reading)
        self._reading = None
        if not text:
            raise ConsentFailed("the input ended", remedy="Run the command in a terminal, or give it the answer on standard input.")
        return text.rstrip("\r\n")


def _has_screen() -> bool:
    """Whether a browser would have a window: one for the terminal would take the terminal away from us."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))


def _read_line(loop: asyncio.AbstractEventLoop, line: asyncio.Future[str]) -> None:
    text = sys.stdin.readline()
    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(line.set_result, text)
