"""Postroom, the e-mail server for applications.

Reading order: ``ARCHITECTURE.md``, then ``model`` (the records), ``engine.watch`` (one POP cycle), ``drivers`` (the
seam to the mail world) and ``store`` (what is kept, and when it is durable).
"""

__version__ = "0.1.0.dev0"
