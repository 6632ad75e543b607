-- Completeness audits: the last finished one of each folder, and what it found missing.

CREATE TABLE audits (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  client    TEXT NOT NULL,
  source    INTEGER NOT NULL,
  folder    TEXT NOT NULL,
  epoch     INTEGER NOT NULL,         -- of the folder when it began
  holder    TEXT NOT NULL,            -- the process that carries it out
  last      INTEGER NOT NULL,         -- the last receipt when it began
  at        REAL,                     -- when it ended; NULL while it runs
  listed    INTEGER NOT NULL DEFAULT 0,
  captured  INTEGER NOT NULL DEFAULT 0,
  former    INTEGER NOT NULL DEFAULT 0,
  spared    INTEGER NOT NULL DEFAULT 0,
  troubles  INTEGER NOT NULL DEFAULT 0,
  big       INTEGER NOT NULL DEFAULT 0,
  coming    INTEGER NOT NULL DEFAULT 0,
  missing   INTEGER NOT NULL DEFAULT 0,
  here_only INTEGER NOT NULL DEFAULT 0,
  reset     TEXT NOT NULL DEFAULT ''  -- why it could not be compared
) STRICT;

CREATE TABLE audit_missing (
  audit         INTEGER NOT NULL,
  identifier    TEXT NOT NULL,
  size          INTEGER NOT NULL,
  internal_date TEXT NOT NULL,
  email_id      TEXT NOT NULL,
  replaced      INTEGER NOT NULL,     -- the receipt under this identifier is another message's
  looks         INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (audit, identifier)
) STRICT, WITHOUT ROWID;

-- Whom a message is for: what its mailbox's settings said when it was captured, and the copies that processing made.

ALTER TABLE messages ADD COLUMN address TEXT NOT NULL DEFAULT '';          -- that the mailbox serves
ALTER TABLE messages ADD COLUMN copy_header TEXT NOT NULL DEFAULT '';      -- empty: no copies
ALTER TABLE messages ADD COLUMN copy_limit INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN left_out TEXT NOT NULL DEFAULT '[]';       -- JSON: recipients beyond the limit

CREATE TABLE copies (              -- the message's octets with one header line before them
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  public_id TEXT NOT NULL UNIQUE,
  message   INTEGER NOT NULL REFERENCES messages,
  number    INTEGER NOT NULL,      -- the order among the message's copies
  recipient TEXT NOT NULL,
  folded    TEXT NOT NULL,         -- the recipient without regard to case: a second copy for one cannot be made
  UNIQUE (message, folded)
) STRICT;
