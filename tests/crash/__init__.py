"""Kill Postroom at any instant, cut its connections at any octet: each message is kept once, none is lost at the server.

``python -m crash --kills 500 --cuts 500`` makes one run after the other. ``plan`` says what each run does, from a seed and
the run's number alone; ``rig`` holds the servers, ``mailboxes`` what they serve; ``runs`` carries a plan out; ``verdict``
compares what is here with what was there; ``progress`` remembers what is done, so that an interrupted series goes on.
"""
