-- How many rows were deleted. With it a missing row is noticed, even where rows may be missing: a flipped bit can make SQLite see
-- fewer rows on a page than there are. A trigger counts, so that it is right whichever version of Stele deletes.
ALTER TABLE stele_store ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0;
UPDATE stele_store SET deleted = coalesce((SELECT max(position) FROM stele_log), 0) - (SELECT count(*) FROM stele_log);
CREATE TRIGGER stele_log_deleted AFTER DELETE ON stele_log BEGIN
  UPDATE stele_store SET deleted = deleted + 1;
END;
