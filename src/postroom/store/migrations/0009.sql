-- What waits for the restart of an smtp-client. STRICT like all others.

CREATE TABLE pending_restarts (
  holder  TEXT NOT NULL,             -- the process that runs it
  client  TEXT NOT NULL,             -- section
  options TEXT NOT NULL,             -- names, as a JSON list
  PRIMARY KEY (holder, client)
) STRICT, WITHOUT ROWID;
