"""A person at a browser: Debian's Chromium, headless, through Playwright.

Playwright's synchronous interface must stay in one thread, and may not be called where an event loop runs; so it has a
thread of its own here, and tests of every kind can use it.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, ParamSpec, TypeVar

from playwright.sync_api import BrowserContext, Page, Playwright, Request, Response, sync_playwright

from servers.install import program
from servers.waiting import wait_for

P = ParamSpec("P")
T = TypeVar("T")

Decision = Literal["allow", "deny"]

FLAGS = (
    "--no-sandbox",  # root may not have one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 15_000  # milliseconds for a page or an element of it


class Browser:
    """A running browser. As a context manager it starts on entry and is ended on exit.

    Each visit has cookies of its own, as that of a person who was never there before. It knows the pages of
    ``servers.authority`` and ``servers.deviant``; their certificates are not judged.
    """

    def __init__(self) -> None:
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "browser")
        self._playwright: Playwright | None = None
        self._context: BrowserContext | None = None
        self._page: Page | None = None

    def start(self) -> None:
        """Start it."""
        self._do(self._start)

    def _start(self) -> None:
        self._playwright = sync_playwright().start()
        self._chromium = self._playwright.chromium.launch(executable_path=program("chromium"), headless=True, args=list(FLAGS))

    def close(self) -> None:
        """End it."""
        self._do(self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        if self._playwright:
            self._playwright.stop()  # and the browser with it
            self._playwright = None

    def __enter__(self) -> Browser:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _do(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._thread.submit(act, *args, **kwargs).result()

    # Consent

    def consent(self, url: str, *, account: str | None = None, decision: Decision = "allow", withhold: tuple[str, ...] = ()) -> str:
        """Go through the consent page at ``url``; the address at which the browser ends.

        The account is chosen from those offered, or written down; without one, what the page has chosen stays. Scopes
        in ``withhold`` are not ticked. The address is the application's, be anybody listening there or not; where the
        authority refuses with a page of its own it is that page's, and ``text()`` has the words.
        """
        return self._do(self._consent, url, account, decision, withhold)

    def _consent(self, url: str, account: str | None, decision: Decision, withhold: tuple[str, ...]) -> str:
        page = self._visit(url)
        if page.locator("#allow").count() == 0:
            return page.url
        self._choose(page, account)
        for scope in withhold:
            page.locator(f'input[name="scope"][value="{scope}"]').uncheck()
        return self._leave(page, f"#{decision}")

    def _choose(self, page: Page, account: str | None) -> None:
        if account is None:
            return
        offered = page.locator(f'input[name="account"][value="{account}"]')
        if offered.count():
            offered.check()
        else:
            page.locator("#account-other").fill(account)

    def _leave(self, page: Page, button: str) -> str:
        """Press a button and come to the next page; its address, even where nobody listens."""
        ends: list[str] = []
        arrived: list[str] = []

        def answered(response: Response) -> None:
            if response.request.is_navigation_request() and not 300 <= response.status < 400:
                ends.append(response.url)

        def failed(request: Request) -> None:
            if request.is_navigation_request():
                ends.append(request.url)

        def look() -> bool:
            page.wait_for_timeout(1)  # Playwright tells of events only while it is called
            return bool(ends and arrived)

        page.on("response", answered)
        page.on("requestfailed", failed)
        page.on("framenavigated", lambda frame: arrived.append(frame.url) if ends else None)
        page.locator(button).click(no_wait_after=True)
        wait_for(look, f"the page after {button}", timeout=PATIENCE / 1000)
        page.wait_for_load_state()
        return ends[-1]

    def shown_code(self, url: str, *, account: str | None = None) -> str:
        """Consent at an address whose redirection is out of band; the code that the page shows at the end."""
        return self._do(self._shown_code, url, account)

    def _shown_code(self, url: str, account: str | None) -> str:
        self._consent(url, account, "allow", ())
        assert self._page is not None
        return self._page.locator("#code").inner_text(timeout=PATIENCE)

    def approve_device(self, url: str, user_code: str, *, account: str, decision: Decision = "allow") -> str:
        """Enter a code at the page of RFC 8628 section 3.3, confirm it and consent; the words at the end."""
        return self._do(self._approve_device, url, user_code, account, decision)

    def _approve_device(self, url: str, user_code: str, account: str, decision: Decision) -> str:
        page = self._visit(url)
        page.locator("#user-code").fill(user_code)
        page.locator("#continue").click()
        page.locator("#confirm").click()
        page.locator(f"#{decision}").wait_for()
        self._choose(page, account)
        self._leave(page, f"#{decision}")
        return page.locator("main").inner_text()

    # What is to be seen

    def visit(self, url: str) -> str:
        """Go to a page; its text."""
        return self._do(lambda: self._visit(url).locator("body").inner_text())

    def _visit(self, url: str) -> Page:
        if self._context:
            self._context.close()
        self._context = self._chromium.new_context(ignore_https_errors=True, viewport={"width": 900, "height": 700})
        self._context.set_default_timeout(PATIENCE)
        self._page = self._context.new_page()
        self._page.goto(url)
        return self._page

    def text(self) -> str:
        """The text of the page that is open."""
        return self._do(lambda: self._page.locator("body").inner_text() if self._page else "")

    def screenshot(self, path: Path) -> None:
        """A picture (PNG) of the page that is open."""
        self._do(self._screenshot, path)

    def _screenshot(self, path: Path) -> None:
        assert self._page is not None, "no page is open"
        self._page.screenshot(path=path)
