"""Where programs hand mail in that speak only SMTP, with a password or with none; off by default.

What is answered 250 is durable, and leaves by the account of its sender. Reading order: ``keeping`` (started as the
configuration says), ``server`` (who may connect and log in), ``conversation`` (commands), ``intake`` (a message and its
account); ``wire.submission`` reads and writes the lines.
"""
