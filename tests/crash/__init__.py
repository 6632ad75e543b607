"""Kill Postroom at any instant, cut its connections at any octet: each message is kept once, none is lost at the server.

``python -m crash --kills 500 --cuts 500`` makes one run after the other. ``plan`` says what each run does, from a seed and
the run's number alone; ``rig`` holds the servers, ``mailboxes`` what they serve; ``runs`` carries a plan out; ``verdict``
compares what is here with what was there; ``progress`` remembers what is done, so that an interrupted series goes on.

``python -m crash.drain --kills 1000`` does the same to sending: ``drain_plan``, ``drain_rig``, ``drain_runs``, ``drain_verdict``;
``nursery`` makes processes without an interpreter's start, ``steps`` lets one die at a step of its store, ``persons`` resolves
doubts. ``python -m crash.answers`` kills the application of the README, ``crash.refresh`` who renews a token.
"""
