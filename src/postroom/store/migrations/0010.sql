-- Who may use the API, and what persons tell the service to do.

CREATE TABLE api_keys (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  public_id  TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  role       TEXT NOT NULL,
  digest     BLOB NOT NULL UNIQUE,    -- SHA-256 of the key, which itself is nowhere
  clients    TEXT NOT NULL,           -- JSON: the sections that it sees; empty for all
  per_minute INTEGER NOT NULL,        -- requests; 0: no limit
  created_at REAL NOT NULL,
  used_at    REAL,                    -- coarse
  revoked_at REAL
) STRICT;
CREATE UNIQUE INDEX api_keys_name ON api_keys (name) WHERE revoked_at IS NULL;

CREATE TABLE commands (              -- to the service, which notices them
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  client   TEXT NOT NULL,            -- section
  verb     TEXT NOT NULL,            -- restart
  asked_by TEXT NOT NULL,
  asked_at REAL NOT NULL,
  done_at  REAL
) STRICT;
CREATE INDEX commands_open ON commands (id) WHERE done_at IS NULL;

CREATE TABLE pauses (                -- clients that stand still until they are resumed
  client   TEXT PRIMARY KEY,
  asked_by TEXT NOT NULL,
  asked_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE labels (
  client TEXT NOT NULL,
  name   TEXT NOT NULL,
  value  TEXT NOT NULL,
  PRIMARY KEY (client, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE invitations (           -- addresses for the owner of a mailbox to consent at
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  client     TEXT NOT NULL,
  digest     BLOB NOT NULL UNIQUE,   -- SHA-256 of the token in the address
  asked_by   TEXT NOT NULL,
  asked_at   REAL NOT NULL,
  expires_at REAL NOT NULL,
  used_at    REAL,
  revoked_at REAL
) STRICT;
