"""The pages that a person sees at the sandbox's authority. They load nothing, run nothing and quote everything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0; padding: 2rem 1rem; background: #eef1f5; color: #1c2733 }
main { max-width: 30rem; margin: 0 auto; padding: 1.5rem 2rem; background: #fff; border-radius: .75rem;
  box-shadow: 0 1px 4px #0003 }
h1 { font-size: 1.4rem; margin: .5rem 0 1rem }
.note { background: #fff3c4; color: #573b00; padding: .5rem .75rem; border-radius: .4rem; font-size: .9rem }
fieldset { border: 1px solid #b8c2cc; border-radius: .4rem; margin: 1rem 0 }
label { display: block; padding: .25rem 0 }
code { overflow-wrap: anywhere }
button { font: inherit; padding: .5rem 1.5rem; border-radius: .4rem; border: 1px solid #2457a6; margin-right: .5rem;
  cursor: pointer; background: #fff; color: #2457a6 }
button.allow { background: #2457a6; color: #fff }
@media (prefers-color-scheme: dark) {
  body { background: #12181f; color: #e4e9ee }
  main { background: #1e2731 }
  .note { background: #4a3a10; color: #ffe9ae }
  button { background: transparent; color: #9cc2ff; border-color: #9cc2ff }
}
"""

_NOTE = (
    '<p class="note">This is the <strong>Postroom sandbox</strong> on your own machine. It is not Google, not Microsoft'
    " and no real account: nothing here reaches the internet, and no password is asked for.</p>"
)


def consent(client_id: str, scope: str, accounts: Sequence[str], hint: str, fields: Mapping[str, str]) -> str:
    """The page that asks. ``fields`` come back with the answer, ``account`` and ``decision`` beside them."""
    chosen = hint if hint in accounts else accounts[0]
    choices = "".join(
        f'<label><input type="radio" name="account" value="{escape(account)}"{" checked" if account == chosen else ""}>'
        f" {escape(account)}</label>"
        for account in accounts
    )
    hidden = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in fields.items()
        if name not in {"account", "decision"}
    )
    rights = "".join(f"<li><code>{escape(one)}</code></li>" for one in scope.split())
    return _page(
        "Allow access?",
        f"<p>The application <code>{escape(client_id)}</code> asks for:</p><ul>{rights}</ul>"
        f'<form method="post">{hidden}<fieldset><legend>Whose mailbox?</legend>{choices}</fieldset>'
        '<button class="allow" name="decision" value="allow">Allow</button>'
        '<button name="decision" value="deny">Deny</button></form>',
    )


def shown_code(code: str) -> str:
    """The page for an application that cannot listen: it shows the code to carry over."""
    return _page("Your code", f"<p>Copy this code into the application:</p><p><code>{escape(code)}</code></p>")


def failure(error: str, description: str) -> str:
    """The page for a request that may not be answered by a redirect (RFC 6749 section 4.1.2.1)."""
    return _page("This request cannot be answered", f"<p><code>{escape(error)}</code></p><p>{escape(description)}</p>")


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} – Postroom sandbox</title><style>{_STYLE}</style></head>"
        f"<body><main>{_NOTE}<h1>{title}</h1>{body}</main></body></html>"
    )
