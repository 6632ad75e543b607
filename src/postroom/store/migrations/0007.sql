-- Reading beside another system, and taking over from it.

ALTER TABLE messages ADD COLUMN handled TEXT NOT NULL DEFAULT '';  -- shadow: undecided; elsewhere: by the other system

CREATE TABLE shadows (             -- mailboxes that are, or last were, read beside another system
  source    INTEGER PRIMARY KEY REFERENCES sources,
  client    TEXT NOT NULL,
  since     REAL NOT NULL,
  taken_at  REAL,                  -- NULL while another system has the mailbox
  last      INTEGER NOT NULL DEFAULT 0  -- the last receipt when it was taken over
) STRICT;

CREATE TABLE shadowed (            -- messages whose fate the last take-over decided
  message INTEGER PRIMARY KEY REFERENCES messages,
  source  INTEGER NOT NULL
) STRICT;
CREATE INDEX shadowed_source ON shadowed (source);

CREATE TABLE fingerprints (        -- of messages here, for comparing them with another system's
  message    INTEGER PRIMARY KEY REFERENCES messages,
  digest     BLOB NOT NULL,        -- without what systems write when they deliver
  message_id TEXT NOT NULL
) STRICT;

CREATE TABLE elsewhere (           -- what another system was last seen to have
  source     INTEGER NOT NULL,
  number     INTEGER NOT NULL,
  name       TEXT NOT NULL,        -- where it has it
  digest     BLOB,                 -- NULL where only its Message-ID is known
  message_id TEXT NOT NULL,
  message    INTEGER,              -- ours that it is
  PRIMARY KEY (source, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX elsewhere_message ON elsewhere (source, message);
