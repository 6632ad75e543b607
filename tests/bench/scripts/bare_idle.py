"""The least that many idle conversations over TLS can be: log in, open the folder, idle, throw away what comes.

HOST PORT CA-FILE PASSWORD AT-ONCE USER ...; a line on standard output when all idle; ends with its standard input.
"""

from __future__ import annotations

import asyncio
import ssl
import sys


async def idle(host: str, port: int, tls: ssl.SSLContext, user: str, password: str, gate: asyncio.Semaphore) -> object:
    async with gate:
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=8192)
        await reader.readline()
        for number, line in enumerate((f'LOGIN "{user}" "{password}"', "SELECT INBOX"), 1):
            writer.write(f"{number} {line}\r\n".encode())
            while not (await reader.readline()).startswith(b"%d " % number):
                pass
        writer.write(b"3 IDLE\r\n")
        await reader.readline()
    return asyncio.create_task(throw_away(reader)), writer


async def throw_away(reader: asyncio.StreamReader) -> None:
    while await reader.read(4096):
        pass


async def main() -> None:
    host, port, ca_file, password, at_once, *users = sys.argv[1:]
    tls = ssl.create_default_context(cafile=ca_file)
    gate = asyncio.Semaphore(int(at_once))
    idling = await asyncio.gather(*(idle(host, int(port), tls, user, password, gate) for user in users))
    print(len(idling), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
