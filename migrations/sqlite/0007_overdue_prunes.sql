-- Since when a vault may hold unused bytes that no prune has dealt with.
ALTER TABLE prunings ADD COLUMN unused_since TEXT;
UPDATE prunings SET unused_since = forgotten_at WHERE pruned_at IS NULL OR forgotten_at >= pruned_at;
