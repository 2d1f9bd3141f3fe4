-- Since when somebody removes the snapshot of a part. Set before the snapshot goes; a removal that did not come to its end is looked
-- into, and until then nothing counts on the part.
ALTER TABLE parts ADD COLUMN removal_begun_at TEXT;
CREATE INDEX parts_being_removed ON parts (backup_id) WHERE removal_begun_at IS NOT NULL;
-- Since when a backup is lost: it is shown for a while from then on.
ALTER TABLE backups ADD COLUMN lost_at TEXT;
