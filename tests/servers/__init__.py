"""Real servers for the tests: Dovecot, an OAuth 2.0 authority, and a proxy that breaks connections.

Rule: nothing here knows Postroom. What a test learns from these servers it learns over the wire or from the files they
keep, so a fault of ours cannot hide behind a fake of ours. Read ``dovecot.py`` first, then ``authority.py`` with
``authority/server.mjs``, then ``proxy.py``; ``install.py`` fetches what they need.
"""
