-- Prune and verification of one vault take turns: a job can need the care of a vault beside the vault itself. The list of resources
-- is a rule of the table that SQLite cannot alter; it changes nothing that is stored, so the rule alone is written anew (the way that
-- SQLite's page on ALTER TABLE describes for such rules), and every column and index that the table has stays.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(sql, '''source'', ''part'')', '''source'', ''part'', ''care'')')
WHERE type = 'table' AND name = 'job_scopes';
PRAGMA writable_schema = RESET;

-- Damage that verification has found: of a part whose stored bytes are not what was captured. The row goes when a later check finds the
-- part whole. `seen_by` is the least level of verification that can see this damage: only such a one may clear it.
CREATE TABLE part_damage (
    part_id BLOB NOT NULL PRIMARY KEY REFERENCES parts (id) ON DELETE CASCADE,
    seen_by TEXT NOT NULL CHECK (seen_by IN ('structure', 'data', 'restore')),
    found_at TEXT NOT NULL,
    sentence TEXT NOT NULL,
    job_id BLOB NOT NULL
) STRICT;

-- When each level of verification last ran on a vault (structure, data) or a repository (restore), came to a verdict, and to a good one.
-- Without a row it never did.
CREATE TABLE verifications (
    object_id BLOB NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('structure', 'data', 'restore')),
    attempted_at TEXT NOT NULL,
    concluded_at TEXT,
    succeeded_at TEXT,
    PRIMARY KEY (object_id, level)
) STRICT;

-- What a vault's next prune has to do: since when there may be unused bytes, and when packs that were marked come of age.
CREATE TABLE prunings (
    vault_id BLOB NOT NULL PRIMARY KEY REFERENCES vaults (id) ON DELETE CASCADE,
    forgotten_at TEXT,
    attempted_at TEXT,
    pruned_at TEXT,
    again_at TEXT
) STRICT;

-- Backups that a merge has folded into a newer one, with the names that they had.
CREATE TABLE merged_backups (
    into_id BLOB NOT NULL REFERENCES backups (id) ON DELETE CASCADE,
    backup_id BLOB NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('full', 'incremental')),
    point TEXT NOT NULL,
    names TEXT NOT NULL,
    PRIMARY KEY (into_id, backup_id)
) STRICT;

-- Backups that a merge or a prune was about, oldest first, with the names that they had: the history outlives them.
CREATE TABLE job_backups (
    job_id BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    backup_id BLOB NOT NULL,
    names TEXT NOT NULL,
    PRIMARY KEY (job_id, position)
) STRICT;
