"""Octets and meaning: the codecs of the protocols. Pure: no I/O, no clock, no randomness.

Reading order: ``sasl``, ``oauth``, then ``imap.types``, ``imap.fragments``, ``imap.grammar``, ``imap.commands``.
"""
