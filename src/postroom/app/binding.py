"""Why nothing can be listened on at an address, in our words."""

from __future__ import annotations

import errno
import socket

from postroom.errors import ConnectError, NoListening, PortTaken


def unbound(option: str, host: str, port: int, error: OSError) -> ConnectError:
    """The error for an address that cannot be had; ``option`` is where it is written: ``web.listen``."""
    section = option.partition(".")[0]
    place = f"{option} {host}:{port}"
    if error.errno == errno.EADDRINUSE:
        words = "Another program has it, perhaps another Postroom with this file."
        remedy = f"{words} End it, or set another port as listen in [{section}]."
        return PortTaken(place, remedy=remedy)
    if error.errno == errno.EACCES:
        return NoListening(f"{place}: the port is not allowed", remedy=f"Set a port from 1024 on as listen in [{section}].")
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        remedy = f"Set listen in [{section}] to an address of this machine, or to 127.0.0.1:{port}."
        return NoListening(f"{place}: this machine has no such address", remedy=remedy)
    return NoListening(f"{place}: {error.strerror}", remedy=f"Set another address as listen in [{section}].")
