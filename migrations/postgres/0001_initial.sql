-- Tables, columns and their order are the same for SQLite: migrations/sqlite has the same numbers and names.
-- JSON is kept as text: what clients sent keeps its order of keys, and no escape is refused.

CREATE TABLE installation (
    only_row BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    id UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE settings (
    key TEXT NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE nodes (
    id UUID NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    heartbeat_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE audit (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    principal TEXT NOT NULL,
    via TEXT NOT NULL,
    request_id TEXT NOT NULL,
    action TEXT NOT NULL,
    object_kind TEXT,
    object_id UUID,
    outcome TEXT NOT NULL
);

-- Names of objects on the wires, and wire fields that the engine has no rule for.
CREATE TABLE aliases (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    object_kind TEXT NOT NULL,
    object_id UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    UNIQUE (namespace, name)
);
CREATE INDEX aliases_by_object ON aliases (object_id, namespace, seq);

CREATE TABLE attributes (
    object_kind TEXT NOT NULL,
    object_id UUID NOT NULL,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (object_id, object_kind, namespace, key)
);

-- Who may act.
CREATE TABLE users (
    id UUID NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('reader', 'operator', 'admin')),
    password_hash TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    version BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE tokens (
    id UUID NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('bearer', 'api')),
    audience TEXT NOT NULL,
    name TEXT NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id),
    parent_id UUID REFERENCES tokens (id),
    scope TEXT NOT NULL,
    claims TEXT NOT NULL,
    secret_hash BYTEA UNIQUE,
    created_at TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ,
    expires_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ
);
CREATE INDEX tokens_by_user ON tokens (user_id);
CREATE INDEX tokens_by_parent ON tokens (parent_id);
CREATE INDEX tokens_by_expiry ON tokens (expires_at);

-- What is backed up, and where to.
CREATE TABLE sources (
    id UUID NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    config TEXT NOT NULL,
    sealed_secret BYTEA,
    status TEXT NOT NULL CHECK (status IN ('attached', 'detached')),
    managed BOOLEAN NOT NULL,
    generation BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX sources_attached_name ON sources (name) WHERE status = 'attached';

CREATE TABLE stores (
    id UUID NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    location TEXT NOT NULL UNIQUE,
    sealed_credentials BYTEA,
    salt BYTEA NOT NULL,
    is_default BOOLEAN NOT NULL,
    read_only BOOLEAN NOT NULL,
    managed BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX stores_default ON stores (is_default) WHERE is_default;

CREATE TABLE vaults (
    id UUID NOT NULL PRIMARY KEY,
    store_id UUID NOT NULL REFERENCES stores (id),
    kind TEXT NOT NULL CHECK (kind IN ('server', 'passcode')),
    path TEXT NOT NULL,
    sealed_password BYTEA,
    locator BYTEA,
    created_at TIMESTAMPTZ NOT NULL,
    UNIQUE (store_id, path),
    UNIQUE (store_id, locator)
);

CREATE TABLE plans (
    id UUID NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    builtin BOOLEAN NOT NULL,
    tasks TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    UNIQUE (owner, name)
);

CREATE TABLE repositories (
    id UUID NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('active', 'archived', 'imported')),
    paused BOOLEAN NOT NULL,
    store_id UUID NOT NULL REFERENCES stores (id),
    source_id UUID REFERENCES sources (id),
    plan_id UUID REFERENCES plans (id),
    -- The newest point of a backup: the next one lies after it.
    last_point TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    UNIQUE (owner, state, name)
);
CREATE INDEX repositories_by_plan ON repositories (plan_id);
CREATE INDEX repositories_by_store ON repositories (store_id);

CREATE TABLE schedule (
    repository_id UUID NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    task TEXT NOT NULL,
    position BIGINT NOT NULL,
    next_run TIMESTAMPTZ NOT NULL,
    last_run TIMESTAMPTZ,
    PRIMARY KEY (repository_id, task)
);
CREATE INDEX schedule_by_next_run ON schedule (next_run);

-- One run of a plan's task is enqueued once, whoever sees first that it is due.
CREATE TABLE occurrences (
    repository_id UUID NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    task TEXT NOT NULL,
    due_at TIMESTAMPTZ NOT NULL,
    job_id UUID NOT NULL,
    PRIMARY KEY (repository_id, task, due_at)
);

-- The catalogue.
CREATE TABLE backups (
    id UUID NOT NULL PRIMARY KEY,
    repository_id UUID NOT NULL REFERENCES repositories (id),
    store_id UUID NOT NULL REFERENCES stores (id),
    job_id UUID NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'lost')),
    kind TEXT NOT NULL CHECK (kind IN ('full', 'incremental')),
    triggered_by TEXT NOT NULL CHECK (triggered_by IN ('manual', 'scheduled')),
    description TEXT NOT NULL,
    keep_until TIMESTAMPTZ,
    protected BOOLEAN NOT NULL,
    point TIMESTAMPTZ,
    error TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ
);
CREATE INDEX backups_newest ON backups (created_at DESC, id DESC);
CREATE INDEX backups_of_repository ON backups (repository_id, created_at DESC, id DESC);
CREATE INDEX backups_of_store ON backups (store_id, created_at DESC, id DESC);

CREATE TABLE parts (
    id UUID NOT NULL PRIMARY KEY,
    backup_id UUID NOT NULL REFERENCES backups (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,
    source_id UUID NOT NULL REFERENCES sources (id),
    source_name TEXT NOT NULL,
    source_kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'lost')),
    vault_id UUID REFERENCES vaults (id),
    snapshot TEXT,
    size BIGINT,
    stored_size BIGINT,
    items BIGINT,
    download_size BIGINT,
    manifest TEXT,
    warnings TEXT NOT NULL,
    error TEXT,
    started_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ,
    UNIQUE (backup_id, position)
);
CREATE INDEX parts_of_source ON parts (source_id, backup_id);
CREATE INDEX parts_of_vault ON parts (vault_id, source_id) WHERE state = 'succeeded';

-- Work. Finished jobs stay as history: queues and claims have partial indexes of their own.
CREATE TABLE jobs (
    id UUID NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'skipped')),
    repository_id UUID,
    store_id UUID,
    backup_id UUID,
    task TEXT,
    principal TEXT NOT NULL,
    via TEXT NOT NULL,
    params TEXT NOT NULL,
    priority BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    retries BIGINT NOT NULL,
    retry_limit BIGINT NOT NULL,
    not_before TIMESTAMPTZ,
    -- The only node that can run it: it has the passcode's key in memory.
    held_by UUID,
    lease_owner UUID,
    lease_until TIMESTAMPTZ,
    cancel_requested BOOLEAN NOT NULL,
    bytes_read BIGINT NOT NULL,
    bytes_total BIGINT,
    items BIGINT NOT NULL,
    items_total BIGINT,
    bytes_stored BIGINT NOT NULL,
    percent BIGINT NOT NULL,
    steps TEXT NOT NULL,
    warnings TEXT NOT NULL,
    failure TEXT,
    created_at TIMESTAMPTZ NOT NULL,
    started_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    estimated_end TIMESTAMPTZ,
    CHECK ((finished_at IS NULL) = (state IN ('queued', 'running')))
);
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
    job_id UUID NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    resource TEXT NOT NULL CHECK (resource IN ('repository', 'vault', 'source', 'part')),
    resource_id UUID NOT NULL,
    exclusive BOOLEAN NOT NULL,
    running BOOLEAN NOT NULL,
    PRIMARY KEY (job_id, resource, resource_id)
);
CREATE INDEX job_scopes_of_resource ON job_scopes (resource_id, resource);
CREATE INDEX job_scopes_running ON job_scopes (resource_id, resource) WHERE running;

CREATE TABLE job_log (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id UUID NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    at TIMESTAMPTZ NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX job_log_of_job ON job_log (job_id, seq);

-- restic's lock files, so that any node removes those of a run that is over.
CREATE TABLE locks (
    vault_id UUID NOT NULL REFERENCES vaults (id),
    lock_id TEXT NOT NULL,
    job_id UUID NOT NULL,
    attempt BIGINT NOT NULL,
    node_id UUID NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (vault_id, lock_id)
);
CREATE INDEX locks_of_job ON locks (job_id);
