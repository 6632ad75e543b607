-- Sending: what was handed in, one row for each recipient, and what happened on the way.

ALTER TABLE work ADD COLUMN lane TEXT NOT NULL DEFAULT '';  -- who does it, where not everybody may: a client's section
DROP INDEX work_open;
CREATE INDEX work_open ON work (state, kind, lane, not_before) WHERE state IN ('ready', 'leased');
CREATE INDEX work_aside ON work (state, kind, lane) WHERE state IN ('waiting', 'dead');

CREATE TABLE submissions (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  public_id   TEXT NOT NULL UNIQUE,
  owner       TEXT NOT NULL,         -- who handed it in
  key         TEXT,                  -- Idempotency-Key, of its owner
  asked       BLOB,                  -- SHA-256 of the request that came with the key
  work        INTEGER NOT NULL,
  mail_from   TEXT NOT NULL,
  body        TEXT NOT NULL,
  smtputf8    INTEGER NOT NULL,
  envid       TEXT NOT NULL,
  ret         TEXT NOT NULL,
  segment     INTEGER NOT NULL,
  "offset"    INTEGER NOT NULL,
  length      INTEGER NOT NULL,
  digest      BLOB NOT NULL,
  message_id  TEXT NOT NULL,
  subject     TEXT NOT NULL,
  answers     TEXT NOT NULL,         -- public id of the message that it is a reply to
  created_at  REAL NOT NULL,
  send_at     REAL NOT NULL
) STRICT;
CREATE UNIQUE INDEX submissions_key ON submissions (owner, key) WHERE key IS NOT NULL;
CREATE INDEX submissions_message_id ON submissions (message_id);

CREATE TABLE recipients (
  submission INTEGER NOT NULL REFERENCES submissions,
  number     INTEGER NOT NULL,
  address    TEXT NOT NULL,
  notify     TEXT NOT NULL,
  orcpt      TEXT NOT NULL,
  state      TEXT NOT NULL,
  code       INTEGER NOT NULL DEFAULT 0,
  enhanced   TEXT NOT NULL DEFAULT '',
  words      TEXT NOT NULL DEFAULT '',
  at         REAL NOT NULL DEFAULT 0,    -- when its state or the server's words last changed
  attempt    INTEGER NOT NULL DEFAULT 0, -- token of the claim under which it was last sent
  PRIMARY KEY (submission, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE passages (              -- what happened to a submission, apart from being sent at the first attempt
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  submission INTEGER NOT NULL REFERENCES submissions,
  at         REAL NOT NULL,
  event      TEXT NOT NULL,          -- deferred, failed, doubt, found, resolved, resent, replayed, cancelled
  address    TEXT NOT NULL,          -- empty: of all recipients
  words      TEXT NOT NULL
) STRICT;
CREATE INDEX passages_submission ON passages (submission);
