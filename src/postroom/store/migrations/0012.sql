-- Applications: to whom messages are handed.

ALTER TABLE work ADD COLUMN copy INTEGER NOT NULL DEFAULT 0;  -- of a delivery: which copy of its message; 0: the message itself
-- A message waits for an application once at most. This is the order in which it is handed out, too.
CREATE UNIQUE INDEX deliveries_open ON work (lane, subject, copy) WHERE kind = 'deliver' AND state IN ('ready', 'leased');
CREATE INDEX deliveries ON work (subject, lane) WHERE kind = 'deliver';

CREATE TABLE applications (        -- those that were ever in the configuration
  section  TEXT PRIMARY KEY,       -- in lower case; the lane of its deliveries
  begun_at REAL NOT NULL,
  missed   INTEGER                 -- messages behind this number were processed while the configuration did not have it
) STRICT, WITHOUT ROWID;

CREATE TABLE fills (               -- messages processed before that are still to be handed to an application
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  application TEXT NOT NULL,
  after       INTEGER NOT NULL,    -- done up to this message
  last        INTEGER NOT NULL,
  since       REAL NOT NULL,       -- captured then or later
  again       INTEGER NOT NULL     -- 1: those too that were handed to it before
) STRICT;

ALTER TABLE api_keys ADD COLUMN applications TEXT NOT NULL DEFAULT '[]';  -- JSON: sections that it reads by pull; empty for all
