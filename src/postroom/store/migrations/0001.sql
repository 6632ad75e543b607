-- The first schema. Times are seconds since 1970-01-01 UTC. AUTOINCREMENT: a row number is never given to another row.

CREATE TABLE sources (             -- where identities live
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  type   TEXT NOT NULL,
  server TEXT NOT NULL,
  login  TEXT NOT NULL,
  UNIQUE (type, server, login)
) STRICT;

CREATE TABLE folders (             -- how far each folder has been read, and who reads it now
  source  INTEGER NOT NULL REFERENCES sources,
  folder  TEXT NOT NULL,
  epoch   INTEGER NOT NULL DEFAULT 1,
  state   TEXT,
  fence   INTEGER NOT NULL DEFAULT 0,
  holder  TEXT NOT NULL DEFAULT '',
  expires REAL NOT NULL DEFAULT 0,
  PRIMARY KEY (source, folder)
) STRICT, WITHOUT ROWID;

CREATE TABLE receipts (            -- each message ever captured; outlives the message
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  source        INTEGER NOT NULL REFERENCES sources,
  folder        TEXT NOT NULL,
  epoch         INTEGER NOT NULL,
  identifier    TEXT NOT NULL,
  digest        BLOB NOT NULL,
  size          INTEGER NOT NULL,  -- as the server said
  internal_date TEXT NOT NULL,
  email_id      TEXT NOT NULL DEFAULT '',
  disposition   TEXT NOT NULL,     -- decided when captured
  captured_at   REAL NOT NULL,
  settled_at    REAL,              -- the server committed the disposition
  gone_at       REAL,              -- the server was found to hold another message, or none, under the identifier
  message       INTEGER,           -- the message, where it is not the one with this row's own number
  UNIQUE (source, folder, epoch, identifier)
) STRICT;

CREATE INDEX receipts_unsettled ON receipts (source, folder)
  WHERE settled_at IS NULL AND gone_at IS NULL AND disposition <> 'keep';
CREATE INDEX receipts_email_id ON receipts (source, email_id) WHERE email_id <> '';

CREATE TABLE reborn (              -- receipts of former epochs not yet met again under the identities of the present one
  receipt       INTEGER PRIMARY KEY REFERENCES receipts,
  source        INTEGER NOT NULL,
  folder        TEXT NOT NULL,
  digest        BLOB NOT NULL,
  internal_date TEXT NOT NULL,
  removed       INTEGER NOT NULL   -- deleted or moved there by us: only a restored server has it again
) STRICT;
CREATE INDEX reborn_digest ON reborn (source, folder, digest);

CREATE TABLE troubles (            -- listed and not yet had
  source        INTEGER NOT NULL REFERENCES sources,
  folder        TEXT NOT NULL,
  epoch         INTEGER NOT NULL,
  identifier    TEXT NOT NULL,
  size          INTEGER NOT NULL,
  internal_date TEXT NOT NULL,
  email_id      TEXT NOT NULL DEFAULT '',
  kind          TEXT NOT NULL,
  detail        TEXT NOT NULL,
  attempts      INTEGER NOT NULL,
  first_seen    REAL NOT NULL,
  not_before    REAL NOT NULL,
  PRIMARY KEY (source, folder, epoch, identifier)
) STRICT, WITHOUT ROWID;

CREATE TABLE segments (            -- files of raw octets; what lies behind committed was never promised to anyone
  id        INTEGER PRIMARY KEY,
  committed INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE messages (            -- the number is that of the receipt that brought it
  id         INTEGER PRIMARY KEY REFERENCES receipts,
  public_id  TEXT NOT NULL UNIQUE,
  client     TEXT NOT NULL,
  segment    INTEGER NOT NULL,
  "offset"   INTEGER NOT NULL,
  length     INTEGER NOT NULL,
  digest     BLOB NOT NULL,
  received   REAL NOT NULL,
  subject    TEXT NOT NULL DEFAULT '',
  sender     TEXT NOT NULL DEFAULT '',
  date       TEXT NOT NULL DEFAULT '',
  message_id TEXT NOT NULL DEFAULT '',
  fault      TEXT NOT NULL DEFAULT ''
) STRICT;

CREATE TABLE work (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  kind            TEXT NOT NULL,
  subject         INTEGER NOT NULL,
  state           TEXT NOT NULL DEFAULT 'ready',
  attempts        INTEGER NOT NULL DEFAULT 0,
  first_failed_at REAL,
  not_before      REAL NOT NULL DEFAULT 0,
  holder          TEXT NOT NULL DEFAULT '',
  token           INTEGER NOT NULL DEFAULT 0,   -- of the claim; grows
  fault           TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX work_open ON work (state, kind, not_before) WHERE state IN ('ready', 'leased');

CREATE TABLE conditions (          -- the health of each client, with its evidence
  client    TEXT PRIMARY KEY,
  health    TEXT NOT NULL,
  proved_at REAL,
  fault     TEXT NOT NULL DEFAULT '',
  remedy    TEXT NOT NULL DEFAULT '',
  retry_at  REAL
) STRICT;

CREATE TABLE vault (               -- tells whether a key is the one that sealed
  id    INTEGER PRIMARY KEY CHECK (id = 1),
  proof BLOB NOT NULL
) STRICT;

CREATE TABLE grants (              -- chains of refresh tokens, sealed
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  authority      TEXT NOT NULL,
  client_id      TEXT NOT NULL,
  configured     TEXT NOT NULL,    -- keyed hash of the token in the configuration
  current        BLOB NOT NULL,
  former         BLOB,
  version        INTEGER NOT NULL DEFAULT 1,
  made_at        REAL NOT NULL,
  claimed_by     TEXT NOT NULL DEFAULT '',
  claimed_until  REAL NOT NULL DEFAULT 0,
  refused_error  TEXT NOT NULL DEFAULT '',
  refused_words  TEXT NOT NULL DEFAULT '',
  refused_remedy TEXT NOT NULL DEFAULT '',
  refused_with   TEXT NOT NULL DEFAULT '',  -- keyed hash of what else the refused request said
  refused_at     REAL NOT NULL DEFAULT 0,
  UNIQUE (authority, client_id, configured)
) STRICT;

CREATE TABLE access_tokens (
  "grant"    INTEGER NOT NULL REFERENCES grants,
  asked_with TEXT NOT NULL,        -- keyed hash of client secret and scope: with others another token is asked for
  version    INTEGER NOT NULL,
  token      BLOB NOT NULL,
  lifetime   REAL NOT NULL,
  expires_at REAL NOT NULL,
  PRIMARY KEY ("grant", asked_with)
) STRICT, WITHOUT ROWID;
