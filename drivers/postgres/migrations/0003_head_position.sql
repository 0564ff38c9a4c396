-- Each append leaves a dead version of the head row, and while a dump or an idle transaction holds an old snapshot none of them is removed. Every
-- version has another position, so that by this index the living one is found without walking the dead ones.
CREATE UNIQUE INDEX IF NOT EXISTS {prefix}_head_position ON {prefix}_head (position);

-- In an index on a column that is the same in all versions, each append would walk all of them.
-- optional
-- brief
ALTER TABLE {prefix}_head DROP CONSTRAINT IF EXISTS {prefix}_head_pkey;

-- optional
-- brief
ALTER TABLE {prefix}_head REPLICA IDENTITY USING INDEX {prefix}_head_position;

-- No version fits beside the one before it in the index, so room for more of them in a page only has it cleaned more often.
-- optional
ALTER TABLE {prefix}_head RESET (fillfactor);
