-- The log. Its only index is the primary key. Values of more than some 2 kB are kept apart and uncompressed, so that a scan of
-- the metadata and a range of one do not pay for them.
CREATE TABLE IF NOT EXISTS {prefix}_log (
  position        bigint   NOT NULL PRIMARY KEY,
  id              bigint   NOT NULL,
  time            bigint   NOT NULL,
  kind            smallint NOT NULL,
  revision        bigint   NOT NULL,
  sub             bigint   NOT NULL,
  key             bytea    NOT NULL,
  create_revision bigint   NOT NULL,
  version         bigint   NOT NULL,
  lease           bigint   NOT NULL,
  value           bytea    NOT NULL
);

-- optional
ALTER TABLE {prefix}_log ALTER COLUMN value SET STORAGE EXTERNAL;

-- The end of the log and what else there is one of. The row is updated by every append: a page that is left almost
-- empty is cleaned of old versions in passing, and no index has to follow.
CREATE TABLE IF NOT EXISTS {prefix}_head (
  one        boolean NOT NULL PRIMARY KEY CHECK (one),
  position   bigint  NOT NULL,
  id         bigint  NOT NULL,
  floor      bigint  NOT NULL,
  cluster_id bigint  NOT NULL CHECK (cluster_id <> 0)
);

-- optional
ALTER TABLE {prefix}_head SET (fillfactor = 10);

INSERT INTO {prefix}_head (one, position, id, floor, cluster_id)
SELECT true, 0, 0, 0, (random() * 4611686018427387904)::bigint * 2 + 1
WHERE NOT EXISTS (SELECT FROM {prefix}_head);

-- The processes that serve the log. Names and URLs are bytes, so that the encoding of the database does not matter.
CREATE TABLE IF NOT EXISTS {prefix}_replica (
  id          bigint NOT NULL PRIMARY KEY,
  name        bytea  NOT NULL,
  client_urls bytea  NOT NULL,
  version     bytea  NOT NULL,
  since       bigint NOT NULL,
  seen        bigint NOT NULL
);
