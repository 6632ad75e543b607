-- How much of each source may still be read under its provider's limit of octets a day. It fills again as time passes.

CREATE TABLE allowances (
  source    INTEGER PRIMARY KEY REFERENCES sources,
  remaining REAL NOT NULL,         -- octets at that time; less than nothing when the last message was longer than that
  at        REAL NOT NULL
) STRICT;

ALTER TABLE conditions ADD COLUMN started_at REAL;  -- its client was watched for the first time
