-- Copies in Sent: when a recipient was marked, by which a copy is told from an older one, and one filing for each submission.

ALTER TABLE recipients ADD COLUMN marked REAL NOT NULL DEFAULT 0;  -- when the server might begin to accept, at the last attempt

CREATE UNIQUE INDEX work_filing ON work (subject) WHERE kind = 'file';
