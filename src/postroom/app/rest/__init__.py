"""The REST API: thin routes over ``operations``. Only the service loads it.

``application`` joins the parts, ``server`` runs them on the service's loop. ``guard`` stands before everything: keys, rates, one
event for each request. ``operation`` is what every route is: its role is checked before its body is read. ``problems`` says no
(RFC 9457). A file of routes (``messages`` is the simplest) has the forms of its answers, and calls an operation.
"""
