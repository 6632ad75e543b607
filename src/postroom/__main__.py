"""The command ``postroom``. The version answers without loading anything else."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line; ends the process with its exit status."""
    _open_standard_streams()
    if sys.argv[1:] in (["--version"], ["-V"]):
        from postroom import __version__

        sys.stdout.write(f"postroom {__version__}\n")
        return
    from postroom.app.cli import cli

    try:
        cli.main(prog_name="postroom")
    except OSError as error:  # a full disk, a folder that is missing: the place and the system's words are all there is to say
        place = f"{error.filename}: " if error.filename else ""
        _last_words(f"postroom: {place}{error.strerror or error}\n")


def _open_standard_streams() -> None:
    """A closed one would be given to the first file or connection that is opened."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives


def _last_words(words: str) -> None:
    try:
        sys.stderr.write(words)
        sys.stderr.flush()
    finally:
        os._exit(1)  # not by way of the buffers that could not be written


if __name__ == "__main__":
    main()
