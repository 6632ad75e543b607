"""The consents of the demo: the real ``postroom authorize``, and the demo in the place of the person at the browser.

The browser's part is real HTTP: the page is opened, its form is posted as it stands, and the redirect is followed to the
listener of the command.
"""

from __future__ import annotations

import asyncio
from html.parser import HTMLParser
from pathlib import Path

import aiohttp

from postroom.sandbox.demo_record import PATIENCE, Broken, Record
from postroom.sandbox.demo_service import ask

_PAGE = aiohttp.ClientTimeout(total=10.0)


class Person:
    """Somebody with a mailbox and a browser, who allows what the page asks for."""

    def __init__(self, account: str, authority_url: str) -> None:
        self.account = account
        self._page = f"{authority_url}/authorize?"  # what the address of the consent begins with

    async def hears(self, line: str) -> None:
        """Read a line of the command, and open the address where it is one. Raises ``Broken`` for a page that fails."""
        address = line.strip()
        if not address.startswith(self._page):
            return
        try:
            async with aiohttp.ClientSession(timeout=_PAGE) as browser:
                await self._consent(browser, address)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Broken(f"{self.account} could not consent: {error or 'no answer'}", f"Open it in a browser: {address}") from None

    async def _consent(self, browser: aiohttp.ClientSession, address: str) -> None:
        async with browser.get(address, raise_for_status=True) as response:
            fields = hidden_fields(await response.text())
        form = {**fields, "account": self.account, "decision": "allow"}
        # As a browser does, this follows the redirect with a GET, to the listener on 127.0.0.1 (RFC 8252 section 7.3).
        async with browser.post(address, data=form, raise_for_status=True) as response:
            await response.read()


async def consent(configuration: Path, name: str, account: str, authority_url: str, record: Record) -> None:
    """Connect the clients of a name by their person's consent.

    Raises ``Broken`` when the command fails, and when no code with PKCE was changed for tokens at the authority.
    """
    person = Person(account, authority_url)
    record.consents.pop(account, None)
    try:
        async with asyncio.timeout(PATIENCE):
            await ask(configuration, "authorize", name, "--no-browser", "--json", hears=person.hears)
    except TimeoutError:
        words = f"the consent of {account}: postroom authorize {name} did not end within {PATIENCE:.0f} s"
        raise Broken(
            words, "A proxy or firewall may keep programs from 127.0.0.1: let them through, then start the demo anew."
        ) from None
    seen = record.consents.get(account)
    if seen is None:
        raise Broken(
            f"postroom authorize {name} got no tokens from the sandbox's authority", f"Compare authority-google in {configuration}."
        )
    if not seen.challenge:
        raise Broken(f"postroom authorize {name} went without PKCE", "Set no option that turns it off, then start the demo anew.")


def in_clear(directory: Path, record: Record) -> list[Path]:
    """The files below the directory in which a refresh token stands that can be read."""
    texts = [seen.refresh_token.reveal().encode() for seen in record.consents.values()]
    return [path for path in sorted(directory.rglob("*")) if path.is_file() and any(text in path.read_bytes() for text in texts)]


def hidden_fields(page: str) -> dict[str, str]:
    """What the page's form sends back by itself."""
    form = _Form()
    form.feed(page)
    form.close()
    return form.hidden


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hidden: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "input" and found.get("type") == "hidden":
            self.hidden[found.get("name") or ""] = found.get("value") or ""
