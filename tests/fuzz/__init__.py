"""Noise for the codecs: whatever comes in, only documented refusals come out. ``python -m fuzz --seconds N [--seed S]``."""
