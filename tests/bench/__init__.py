"""Measure Postroom beside its peers on the same work in one run: ``python -m bench``, or ``make bench``.

What is reported are ratios, each the median of the ratios within a round. No figure fails anything.
"""
