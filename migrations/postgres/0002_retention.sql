-- What a repository keeps, where it was told; without a row it keeps everything that has no date of its own.
CREATE TABLE retention_rules (
    repository_id UUID NOT NULL PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
    rules TEXT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
