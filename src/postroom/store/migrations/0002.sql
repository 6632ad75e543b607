-- Keys have ids. The program that opens the store fills in what is NULL, for only it has the key.

ALTER TABLE vault ADD COLUMN key_id TEXT;                        -- of the current key
ALTER TABLE vault ADD COLUMN hash_key BLOB;                      -- sealed; survives every rotation
ALTER TABLE vault ADD COLUMN retired TEXT NOT NULL DEFAULT '';   -- ids of former keys, with blanks between them
