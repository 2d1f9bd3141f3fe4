-- Tables, columns and their order are the same for PostgreSQL: migrations/postgres has the same numbers and names.
-- Here identifiers and bytes are blobs, instants RFC 3339 text in UTC (which sorts by time), booleans 0 and 1.
-- JSON is kept as text: what clients sent keeps its order of keys, and no escape is refused.

CREATE TABLE installation (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    id BLOB NOT NULL,
    created_at TEXT NOT NULL
) STRICT;

CREATE TABLE settings (
    key TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE nodes (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    heartbeat_at TEXT NOT NULL
) STRICT;

CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    principal TEXT NOT NULL,
    via TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    object_kind TEXT,
    object_id BLOB,
    outcome TEXT NOT NULL
) STRICT;

-- Names of objects on the wires, and wire fields that the engine has no rule for.
CREATE TABLE aliases (
    seq INTEGER PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    object_kind TEXT NOT NULL,
    object_id BLOB NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (namespace, name)
) STRICT;
CREATE INDEX aliases_by_object ON aliases (object_id, namespace, seq);

CREATE TABLE attributes (
    object_kind TEXT NOT NULL,
    object_id BLOB NOT NULL,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (object_id, object_kind, namespace, key)
) STRICT;

-- Who may act.
CREATE TABLE users (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('reader', 'operator', 'admin')),
    password_hash TEXT NOT NULL,
    disabled INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    version INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;

CREATE TABLE tokens (
    id BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('bearer', 'api')),
    audience TEXT NOT NULL,
    name TEXT NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id),
    parent_id BLOB REFERENCES tokens (id),
    scope TEXT NOT NULL,
    claims TEXT NOT NULL,
    secret_hash BLOB UNIQUE,
    created_at TEXT NOT NULL,
    last_used_at TEXT,
    expires_at TEXT,
    revoked_at TEXT
) STRICT;
CREATE INDEX tokens_by_user ON tokens (user_id);
CREATE INDEX tokens_by_parent ON tokens (parent_id);
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

-- What is backed up, and where to.
CREATE TABLE sources (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    config TEXT NOT NULL,
    sealed_secret BLOB,
    status TEXT NOT NULL CHECK (status IN ('attached', 'detached')),
    managed INTEGER NOT NULL CHECK (managed IN (0, 1)),
    generation INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX sources_attached_name ON sources (name) WHERE status = 'attached';

CREATE TABLE stores (
    id BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    location TEXT NOT NULL UNIQUE,
    sealed_credentials BLOB,
    salt BLOB NOT NULL,
    is_default INTEGER NOT NULL CHECK (is_default IN (0, 1)),
    read_only INTEGER NOT NULL CHECK (read_only IN (0, 1)),
    managed INTEGER NOT NULL CHECK (managed IN (0, 1)),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX stores_default ON stores (is_default) WHERE is_default;

CREATE TABLE vaults (
    id BLOB NOT NULL PRIMARY KEY,
    store_id BLOB NOT NULL REFERENCES stores (id),
    kind TEXT NOT NULL CHECK (kind IN ('server', 'passcode')),
    path TEXT NOT NULL,
    sealed_password BLOB,
    locator BLOB,
    created_at TEXT NOT NULL,
    UNIQUE (store_id, path),
    UNIQUE (store_id, locator)
) STRICT;

CREATE TABLE plans (
    id BLOB NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    builtin INTEGER NOT NULL CHECK (builtin IN (0, 1)),
    tasks TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (owner, name)
) STRICT;

CREATE TABLE repositories (
    id BLOB NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'archived', 'imported')),
    paused INTEGER NOT NULL CHECK (paused IN (0, 1)),
    store_id BLOB NOT NULL REFERENCES stores (id),
    source_id BLOB REFERENCES sources (id),
    plan_id BLOB REFERENCES plans (id),
    -- The newest point of a backup: the next one lies after it.
    last_point TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (owner, state, name)
) STRICT;
CREATE INDEX repositories_by_plan ON repositories (plan_id);
CREATE INDEX repositories_by_store ON repositories (store_id);

CREATE TABLE schedule (
    repository_id BLOB NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    task TEXT NOT NULL,
    position INTEGER NOT NULL,
    next_run TEXT NOT NULL,
    last_run TEXT,
    PRIMARY KEY (repository_id, task)
) STRICT;
CREATE INDEX schedule_by_next_run ON schedule (next_run);

-- One run of a plan's task is enqueued once, whoever sees first that it is due.
CREATE TABLE occurrences (
    repository_id BLOB NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    task TEXT NOT NULL,
    due_at TEXT NOT NULL,
    job_id BLOB NOT NULL,
    PRIMARY KEY (repository_id, task, due_at)
) STRICT;

-- The catalogue.
CREATE TABLE backups (
    id BLOB NOT NULL PRIMARY KEY,
    repository_id BLOB NOT NULL REFERENCES repositories (id),
    store_id BLOB NOT NULL REFERENCES stores (id),
    job_id BLOB NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'lost')),
    kind TEXT NOT NULL CHECK (kind IN ('full', 'incremental')),
    triggered_by TEXT NOT NULL CHECK (triggered_by IN ('manual', 'scheduled')),
    description TEXT NOT NULL,
    keep_until TEXT,
    protected INTEGER NOT NULL CHECK (protected IN (0, 1)),
    point TEXT,
    error TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT
) STRICT;
CREATE INDEX backups_newest ON backups (created_at DESC, id DESC);
CREATE INDEX backups_of_repository ON backups (repository_id, created_at DESC, id DESC);
CREATE INDEX backups_of_store ON backups (store_id, created_at DESC, id DESC);

CREATE TABLE parts (
    id BLOB NOT NULL PRIMARY KEY,
    backup_id BLOB NOT NULL REFERENCES backups (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    source_id BLOB NOT NULL REFERENCES sources (id),
    source_name TEXT NOT NULL,
    source_kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'lost')),
    vault_id BLOB REFERENCES vaults (id),
    snapshot TEXT,
    size INTEGER,
    stored_size INTEGER,
    items INTEGER,
    download_size INTEGER,
    manifest TEXT,
    warnings TEXT NOT NULL,
    error TEXT,
    started_at TEXT,
    finished_at TEXT,
    UNIQUE (backup_id, position)
) STRICT;
CREATE INDEX parts_of_source ON parts (source_id, backup_id);
CREATE INDEX parts_of_vault ON parts (vault_id, source_id) WHERE state = 'succeeded';

-- Work. Finished jobs stay as history: queues and claims have partial indexes of their own.
CREATE TABLE jobs (
    id BLOB NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'skipped')),
    repository_id BLOB,
    store_id BLOB,
    backup_id BLOB,
    task TEXT,
    principal TEXT NOT NULL,
    via TEXT NOT NULL,
    params TEXT NOT NULL,
    priority INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    retry_limit INTEGER NOT NULL,
    not_before TEXT,
    -- The only node that can run it: it has the passcode's key in memory.
    held_by BLOB,
    lease_owner BLOB,
    lease_until TEXT,
    cancel_requested INTEGER NOT NULL CHECK (cancel_requested IN (0, 1)),
    bytes_read INTEGER NOT NULL,
    bytes_total INTEGER,
    items INTEGER NOT NULL,
    items_total INTEGER,
    bytes_stored INTEGER NOT NULL,
    percent INTEGER NOT NULL,
    steps TEXT NOT NULL,
    warnings TEXT NOT NULL,
    failure TEXT,
    created_at TEXT NOT NULL,
    started_at TEXT,
    updated_at TEXT NOT NULL,
    finished_at TEXT,
    estimated_end TEXT,
    CHECK ((finished_at IS NULL) = (state IN ('queued', 'running')))
) STRICT;
CREATE INDEX jobs_queued ON jobs (priority DESC, created_at, id) WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_held ON jobs (held_by) WHERE held_by IS NOT NULL;
CREATE INDEX jobs_newest ON jobs (created_at DESC, id DESC);
CREATE INDEX jobs_of_repository ON jobs (repository_id, created_at DESC, id DESC);
CREATE INDEX jobs_of_store ON jobs (store_id, created_at DESC, id DESC);
-- Of live jobs alone, however long the history is.
CREATE INDEX jobs_live ON jobs (created_at DESC, id DESC) WHERE finished_at IS NULL;
CREATE INDEX jobs_live_of_repository ON jobs (repository_id, created_at DESC, id DESC) WHERE finished_at IS NULL;
CREATE INDEX jobs_live_of_store ON jobs (store_id, created_at DESC, id DESC) WHERE finished_at IS NULL;
CREATE INDEX jobs_of_backup ON jobs (backup_id, created_at DESC, id DESC);

-- What live jobs need; rows go when a job ends.
CREATE TABLE job_scopes (
    job_id BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    resource TEXT NOT NULL CHECK (resource IN ('repository', 'vault', 'source', 'part')),
    resource_id BLOB NOT NULL,
    exclusive INTEGER NOT NULL CHECK (exclusive IN (0, 1)),
    running INTEGER NOT NULL CHECK (running IN (0, 1)),
    PRIMARY KEY (job_id, resource, resource_id)
) STRICT;
CREATE INDEX job_scopes_of_resource ON job_scopes (resource_id, resource);
CREATE INDEX job_scopes_running ON job_scopes (resource_id, resource) WHERE running;

CREATE TABLE job_log (
    seq INTEGER PRIMARY KEY,
    job_id BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;
CREATE INDEX job_log_of_job ON job_log (job_id, seq);

-- restic's lock files, so that any node removes those of a run that is over.
CREATE TABLE locks (
    vault_id BLOB NOT NULL REFERENCES vaults (id),
    lock_id TEXT NOT NULL,
    job_id BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    node_id BLOB NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (vault_id, lock_id)
) STRICT;
CREATE INDEX locks_of_job ON locks (job_id);
