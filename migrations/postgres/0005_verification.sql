-- Prune and verification of one vault take turns: a job can need the care of a vault beside the vault itself.
ALTER TABLE job_scopes DROP CONSTRAINT job_scopes_resource_check;
ALTER TABLE job_scopes ADD CONSTRAINT job_scopes_resource_check
    CHECK (resource IN ('repository', 'vault', 'source', 'part', 'care'));

-- Damage that verification has found: of a part whose stored bytes are not what was captured. The row goes when a later check finds the
-- part whole. `seen_by` is the least level of verification that can see this damage: only such a one may clear it.
CREATE TABLE part_damage (
    part_id UUID NOT NULL PRIMARY KEY REFERENCES parts (id) ON DELETE CASCADE,
    seen_by TEXT NOT NULL CHECK (seen_by IN ('structure', 'data', 'restore')),
    found_at TIMESTAMPTZ NOT NULL,
    sentence TEXT NOT NULL,
    job_id UUID NOT NULL
);

-- When each level of verification last ran on a vault (structure, data) or a repository (restore), came to a verdict, and to a good one.
-- Without a row it never did.
CREATE TABLE verifications (
    object_id UUID NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('structure', 'data', 'restore')),
    attempted_at TIMESTAMPTZ NOT NULL,
    concluded_at TIMESTAMPTZ,
    succeeded_at TIMESTAMPTZ,
    PRIMARY KEY (object_id, level)
);

-- What a vault's next prune has to do: since when there may be unused bytes, and when packs that were marked come of age.
CREATE TABLE prunings (
    vault_id UUID NOT NULL PRIMARY KEY REFERENCES vaults (id) ON DELETE CASCADE,
    forgotten_at TIMESTAMPTZ,
    attempted_at TIMESTAMPTZ,
    pruned_at TIMESTAMPTZ,
    again_at TIMESTAMPTZ
);

-- Backups that a merge has folded into a newer one, with the names that they had.
CREATE TABLE merged_backups (
    into_id UUID NOT NULL REFERENCES backups (id) ON DELETE CASCADE,
    backup_id UUID NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('full', 'incremental')),
    point TIMESTAMPTZ NOT NULL,
    names TEXT NOT NULL,
    PRIMARY KEY (into_id, backup_id)
);

-- Backups that a merge or a prune was about, oldest first, with the names that they had: the history outlives them.
CREATE TABLE job_backups (
    job_id UUID NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    backup_id UUID NOT NULL,
    names TEXT NOT NULL,
    PRIMARY KEY (job_id, position)
);
