"""What every command of the command line says alike: exit statuses, failures with their remedy, JSON lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

import click

FAILED, UNUSABLE, ELSEWHERE, MISSING = 1, 2, 3, 4


class Failure(click.ClickException):
    """An error for people: what, and what to do."""

    def __init__(self, message: str, remedy: str = "", status: int = FAILED) -> None:
        super().__init__(message)
        self.remedy = remedy
        self.exit_code = status  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: Any = None) -> None:
        click.echo(f"{click.style('postroom:', fg='red')} {self.message}", err=True)
        if self.remedy:
            click.echo(f"  {self.remedy}", err=True)


def run_to_end(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run an operation; its errors end the command with their remedy."""
    from postroom.app.serve import run_loop
    from postroom.errors import ConfigError, LeaseHeld, PostroomError

    try:
        return run_loop(main())
    except ConfigError as error:  # faults of the file are told with their lines before; this is one of what was asked for
        raise Failure(error.detail, f"Valid is {error.valid}." if error.valid else "", UNUSABLE) from None
    except PostroomError as error:
        raise Failure(str(error), error.remedy, ELSEWHERE if isinstance(error, LeaseHeld) else FAILED) from None
    except KeyboardInterrupt:
        raise Failure("interrupted", status=130) from None


def print_json(value: object) -> None:
    """One object on a line."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def shown_span(seconds: float) -> str:
    """A length of time for people."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
