"""``python -m docs.pictures``: the guides' pictures of the terminal, from the real command against local test servers.

A person's answers are typed at a pseudo-terminal and a real browser consents; ports and folders, which differ each time, are
replaced by stable ones.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "integration"))

from consenting import AtTerminal  # noqa: E402 - its folder is none that Python knows
from running import Here, letter  # noqa: E402

from servers.authority import TEST, Authority  # noqa: E402
from servers.browser import Browser  # noqa: E402
from servers.certificates import Certificates  # noqa: E402
from servers.dovecot import Dovecot  # noqa: E402
from servers.postfix import Postfix  # noqa: E402

GMAIL, ORDERS = "support@gmail.com", "orders@example.test"
TENANT = "11111111-2222-3333-4444-555555555555"
WIDTH = 110


def main() -> None:
    """Make all pictures."""
    with (
        Certificates() as certificates,
        Authority(certificates=certificates) as authority,
        Dovecot(authority.tokens, certificates=certificates, sasl=True) as dovecot,
        Postfix(dovecot, certificates=certificates) as postfix,
        Browser() as browser,
        tempfile.TemporaryDirectory() as folder,
    ):
        here = configured(Path(folder), authority, dovecot, postfix)
        dovecot.deliver(GMAIL, letter(1))
        dovecot.deliver(ORDERS, letter(1))
        picture("init", init(here, browser), f"postroom init {GMAIL} --no-browser", here)
        picture("authorize", manual(here, browser), "postroom authorize support --manual", here)
        picture("check", check(here), "postroom check orders boss", here)


def configured(folder: Path, authority: Authority, dovecot: Dovecot, postfix: Postfix) -> Here:
    """A file in which the great authorities and all mail servers are this machine's."""
    here = Here(folder)
    tenant = f"{authority.url}/{{tenant}}/oauth2/v2.0"
    here.put("authority-google", {"token_endpoint": authority.token_url, "authorization_endpoint": authority.authorize_url})
    here.put("authority-microsoft", {"token_endpoint": f"{tenant}/token", "authorization_endpoint": f"{tenant}/authorize"})
    here.put("defaults-pop-client", {"server": "localhost", "port": dovecot.imaps_port, "tls-ca-file": dovecot.ca_file})
    here.put("defaults-smtp-client", {"server": "localhost", "port": postfix.submission_port, "tls-ca-file": dovecot.ca_file})
    return here


def init(here: Here, browser: Browser) -> bytes:
    """A first mailbox, every question answered."""
    with AtTerminal(here, "init", GMAIL, "--no-browser") as person:
        person.answer("Enter for 1): ", "1")
        person.answer("(Enter if you have none): ", "")
        person.answer("client ID: ", TEST.id)
        person.answer("readable by you alone): ", TEST.secret)
        person.answer("(i, p, t)", "i")
        person.answer("1, 2 or a day; Enter for 1): ", "1")
        person.answer("too? [Y/n] ", "y")
        person.answer(f"{here.file}? [Y/n] ", "y")
        browser.consent(person.address(), account=GMAIL)
        person.answer("see that it works? [Y/n] ", "y")
        person.done()
        return person.shown


def manual(here: Here, browser: Browser) -> bytes:
    """The consent of a machine without a browser."""
    with AtTerminal(here, "authorize", "support", "--manual") as person:
        end = browser.consent(person.address(), account=GMAIL)
        person.answer("The address or the code: ", end)
        person.done()
        return person.shown


def check(here: Here) -> bytes:
    """A mailbox at Microsoft's authority and one whose consent is missing."""
    here.file.write_text(
        f"{here.file.read_text()}\n[secret-company]\npassword = {TEST.secret}\n\n"
        + section("orders", ORDERS, "client_credentials", "secret = company\n")
        + section("boss", "boss@example.test", "refresh_token", "")
    )
    with AtTerminal(here, "check", "orders", "boss") as person:
        person.done()
        return person.shown


def section(name: str, mailbox: str, grant: str, more: str) -> str:
    """A mailbox at Microsoft's authority."""
    return (
        f"[pop-client-{name}]\ntype = IMAP\nmailbox = {mailbox}\nmail.imap.auth.mechanisms = XOAUTH2\n"
        f"client-id = {TEST.id}\ndirectory-id = {TENANT}\ngrant-type = {grant}\n{more}\n"
    )


def picture(name: str, shown: bytes, title: str, here: Here) -> None:
    """Write one picture."""
    text = shown.decode("utf-8", "replace").replace("\r\n", "\n").replace(f"{here.directory}/", "")
    for pattern, stable in (
        (r"127\.0\.0\.1:\d+", "127.0.0.1:8080"),
        (r"127\.0\.0\.1%3A\d+", "127.0.0.1%3A8026"),
        (rf"localhost:{here.sections['defaults-smtp-client']['port']}\b", "localhost:587"),
        (r"localhost:(?!587\b)\d+", "localhost:993"),
        (r"(state|code|code_challenge)=[\w-]+", r"\1=…"),
        (r"\d+ octets", "1243 octets"),
    ):
        text = re.sub(pattern, stable, text)
    console = Console(record=True, width=WIDTH, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115 - for the process
    console.print(Text.from_ansi(f"$ {title}\n{text.strip()}"))
    path = ROOT / "docs" / "img" / f"{name}.svg"
    svg = console.export_svg(title=title)
    path.write_text(re.sub(r"terminal-\d+", "terminal", svg), "utf-8")
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
