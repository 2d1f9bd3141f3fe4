-- Up to when a task's runs were taken out of the occurrences, because they are long past: what was due by then does not run again,
-- whatever a clock shows that has gone back. The job is that of the newest of them.
CREATE TABLE occurrences_removed (
    repository_id UUID NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    task TEXT NOT NULL,
    until_at TIMESTAMPTZ NOT NULL,
    job_id UUID NOT NULL,
    PRIMARY KEY (repository_id, task)
);
