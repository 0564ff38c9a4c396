-- See logstructured.Checksum. NULL in rows that a version without checksums wrote, which goes on working beside this one.
-- The change itself takes no time, but waits for reads that are under way, with everything else waiting behind it.
ALTER TABLE {prefix}_log ADD COLUMN checksum BIGINT NULL;
