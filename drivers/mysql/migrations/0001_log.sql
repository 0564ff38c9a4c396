-- The log. Its key is dense, so rows are appended at the right edge of the clustered index, and it needs no other index.
CREATE TABLE IF NOT EXISTS {prefix}_log (
  position        BIGINT           NOT NULL PRIMARY KEY,
  id              BIGINT           NOT NULL,
  time            BIGINT           NOT NULL,
  kind            TINYINT UNSIGNED NOT NULL,
  revision        BIGINT           NOT NULL,
  sub             BIGINT           NOT NULL,
  `key`           LONGBLOB         NOT NULL,
  create_revision BIGINT           NOT NULL,
  version         BIGINT           NOT NULL,
  lease           BIGINT           NOT NULL,
  value           LONGBLOB         NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = binary ROW_FORMAT = DYNAMIC;

-- The sentinel: an append whose guard fails runs into it. It is no entry, and is never deleted.
INSERT IGNORE INTO {prefix}_log (position, id, time, kind, revision, sub, `key`, create_revision, version, lease, value)
VALUES (0, 0, 0, 0, 0, 0, '', 0, 0, 0, '');

-- The one row beside the log.
CREATE TABLE IF NOT EXISTS {prefix}_store (
  one        TINYINT NOT NULL PRIMARY KEY,
  floor      BIGINT  NOT NULL,
  cluster_id BIGINT  NOT NULL,
  settled    BIGINT  NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = binary;

-- The identity of the store is random and not 0. (RANDOM_BYTES is not in MariaDB 10.6, MD5 not in MySQL from 9.6 on.)
INSERT IGNORE INTO {prefix}_store (one, floor, cluster_id, settled)
VALUES (1, 0, CAST(CONV(LEFT(SHA2(CONCAT(UUID(), RAND()), 256), 15), 16, 10) AS SIGNED) | 1, 0);

CREATE TABLE IF NOT EXISTS {prefix}_replica (
  id      BIGINT   NOT NULL PRIMARY KEY,
  name    BLOB     NOT NULL,
  urls    BLOB     NOT NULL,
  version BLOB     NOT NULL,
  since   BIGINT   NOT NULL,
  seen    BIGINT   NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = binary;

-- The newest migration that was applied, and the oldest that a program must know to work with the tables.
CREATE TABLE IF NOT EXISTS {prefix}_schema (
  one        TINYINT NOT NULL PRIMARY KEY,
  version    BIGINT  NOT NULL,
  compatible BIGINT  NOT NULL
) ENGINE = InnoDB DEFAULT CHARSET = binary;

INSERT IGNORE INTO {prefix}_schema (one, version, compatible) VALUES (1, 1, 1);
