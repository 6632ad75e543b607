-- Consents given by authorize, and what a forecast and the explanation of a refusal need to know of a grant.

CREATE TABLE consents (            -- which grant a client was connected with; its tokens are the grant's
  client     TEXT PRIMARY KEY,     -- section
  login      TEXT NOT NULL,        -- the account that was to be connected
  account    TEXT NOT NULL,        -- the one that signed in, where the authority told
  authority  TEXT NOT NULL,
  client_id  TEXT NOT NULL,
  chain      TEXT NOT NULL,        -- with the two before: the grant's key
  configured TEXT NOT NULL,        -- keyed hash of what stood in password then: another value there wins
  scope      TEXT NOT NULL,        -- granted
  made_at    REAL NOT NULL
) STRICT;

ALTER TABLE grants ADD COLUMN consented_at   REAL;  -- its first refresh token came here
ALTER TABLE grants ADD COLUMN used_at        REAL;  -- the authority last gave a token
ALTER TABLE grants ADD COLUMN ends_at        REAL;  -- the refresh token's end, where the authority named one
ALTER TABLE grants ADD COLUMN interrupted_at REAL;  -- a request was begun, and its answer never came here
UPDATE grants SET consented_at = made_at;

ALTER TABLE access_tokens ADD COLUMN scope TEXT NOT NULL DEFAULT '';  -- granted

CREATE TABLE told (                -- which endings were announced, so that each is announced once for each distance
  ending TEXT PRIMARY KEY,
  days   INTEGER NOT NULL
) STRICT;
