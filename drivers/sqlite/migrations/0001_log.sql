-- The log. The value stands last, so that a scan of the metadata stops before it and never follows the chain of pages
-- that a long value fills. Files from before there were checksums get that column behind the value when they are opened.
CREATE TABLE stele_log (
  position        INTEGER PRIMARY KEY,
  id              INTEGER NOT NULL,
  time            INTEGER NOT NULL,
  kind            INTEGER NOT NULL,
  revision        INTEGER NOT NULL,
  sub             INTEGER NOT NULL,
  key             BLOB    NOT NULL,
  create_revision INTEGER NOT NULL,
  version         INTEGER NOT NULL,
  lease           INTEGER NOT NULL,
  checksum        INTEGER, -- see logstructured.Checksum; NULL in rows that a version without checksums wrote
  value           BLOB    NOT NULL
);

-- The one row that is not an entry. The head itself is the last row of the log: it is on the page that an append
-- writes anyway, where a copy of it here would cost each append a second page.
CREATE TABLE stele_store (
  one        INTEGER PRIMARY KEY CHECK (one = 1),
  floor      INTEGER NOT NULL,
  cluster_id INTEGER NOT NULL CHECK (cluster_id <> 0),
  settled    INTEGER NOT NULL -- counts up to have something to write when the outcome of a commit must be settled
);
INSERT INTO stele_store (one, floor, cluster_id, settled) VALUES (1, 0, random() | 1, 0);

-- One row: the number of the newest migration that was applied, and the number of migrations that a version must know to use the file.
-- Files from before the second column get it when they are opened.
CREATE TABLE stele_schema (
  version    INTEGER NOT NULL,
  compatible INTEGER NOT NULL DEFAULT 1
);
INSERT INTO stele_schema (version) VALUES (1);
