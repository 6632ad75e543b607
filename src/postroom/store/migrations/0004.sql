-- Repairs after a reset, first reads, and messages that a first read leaves at the server.

-- A receipt with an empty digest stands for a message that first-read spared: known, never fetched. What is known of its
-- Message-ID is kept where the server has no date to know it by.
ALTER TABLE receipts ADD COLUMN message_id TEXT NOT NULL DEFAULT '';

ALTER TABLE reborn ADD COLUMN size INTEGER NOT NULL DEFAULT 0;  -- as the server said
UPDATE reborn SET size = (SELECT size FROM receipts WHERE id = receipt);
CREATE INDEX reborn_place ON reborn (source, folder, size, internal_date);

CREATE TABLE repairs (             -- the last one of each folder: its messages met again under other identities
  source   INTEGER NOT NULL REFERENCES sources,
  folder   TEXT NOT NULL,
  reason   TEXT NOT NULL,
  begun_at REAL NOT NULL,
  matched  INTEGER NOT NULL DEFAULT 0,
  compared INTEGER NOT NULL DEFAULT 0,  -- of the matched: fetched, and known by their octets
  fresh    INTEGER NOT NULL DEFAULT 0,  -- never had before
  vanished INTEGER NOT NULL DEFAULT 0,
  ended_at REAL,
  PRIMARY KEY (source, folder)
) STRICT, WITHOUT ROWID;
INSERT INTO repairs (source, folder, reason, begun_at) SELECT DISTINCT source, folder, '', 0 FROM reborn;

CREATE TABLE first_reads (         -- the first read of each folder: what was chosen, and how far it is
  source   INTEGER NOT NULL REFERENCES sources,
  folder   TEXT NOT NULL,
  choice   TEXT NOT NULL,          -- all, new or a day
  begun_at REAL NOT NULL,
  total    INTEGER NOT NULL,       -- messages in the folder
  remaining INTEGER NOT NULL,      -- of them still to be listed
  rate     REAL NOT NULL DEFAULT 0,  -- messages a second, lately
  ended_at REAL,
  PRIMARY KEY (source, folder)
) STRICT, WITHOUT ROWID;
INSERT INTO first_reads (source, folder, choice, begun_at, total, remaining, ended_at)
  SELECT source, folder, 'all', 0, 0, 0, 0 FROM folders WHERE state IS NOT NULL OR epoch > 1;
