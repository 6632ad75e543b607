"""The command ``postroom``. The version answers without loading anything else."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; ends the process with its exit status."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from postroom import __version__

        sys.stdout.write(f"postroom {__version__}\n")
        return
    from postroom.app.cli import cli

    cli.main(prog_name="postroom")


if __name__ == "__main__":
    main()
