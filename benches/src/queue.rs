//! Pieces of the queue's bench: databases with a history and a queue in them, and jobs that do nothing.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::json;
use trivault_engine::{
    Caller, Job, JobId, JobKind, JobState, Principal, Progress, RepositoryId, Role, Scope, StoreId, UserId,
    db::{AuditEntry, Database, DatabaseOptions, Enqueue, JobScope, Labels, NewJob, Resource},
};
use trivault_testkit::postgres::{PostgresServer, Variant};
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Repositories over which jobs are spread.
pub const REPOSITORIES: u128 = 1_000;

/// A metadata database that is measured.
pub struct Place {
    pub name: &'static str,
    pub db: Database,
    /// For another process on it.
    pub url: Option<String>,
    kind: Kind,
}

enum Kind {
    Sqlite(std::path::PathBuf),
    Postgres { database: String },
}

/// A server whose commits are on disk when they are answered, as a default PostgreSQL's are.
pub fn durable_server() -> Option<PostgresServer> {
    let settings = ["fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=128MB"];
    PostgresServer::own(&Variant { settings: settings.map(str::to_owned).to_vec(), ..Variant::default() })
}

impl Place {
    /// # Errors
    /// What the database says.
    pub async fn sqlite(folder: &Path) -> Outcome<Self> {
        let path = folder.join(format!("{}.db", Uuid::now_v7()));
        let db = Database::connect(&DatabaseOptions::Sqlite { path: path.clone() }).await?;
        db.migrate().await?;
        Ok(Self { name: "SQLite", db, url: None, kind: Kind::Sqlite(path) })
    }

    /// # Errors
    /// What the database says.
    pub async fn postgres(server: &PostgresServer) -> Outcome<Self> {
        let url = server.create_database();
        let db = Database::connect(&DatabaseOptions::Postgres { url: url.clone().into() }).await?;
        db.migrate().await?;
        let database = url.split("///").nth(1).and_then(|rest| rest.split('?').next()).unwrap_or_default().to_owned();
        Ok(Self { name: "PostgreSQL", db, url: Some(url), kind: Kind::Postgres { database } })
    }

    /// Fills in a history of finished jobs, and queued ones with what backups need, spread over the repositories.
    ///
    /// # Errors
    /// What the database says.
    pub fn fill(&self, server: Option<&PostgresServer>, finished: u64, queued: u64) -> Outcome<()> {
        let columns = "id, kind, state, repository_id, store_id, principal, via, params, priority, attempt, retries, retry_limit,
             cancel_requested, bytes_read, items, bytes_stored, percent, steps, warnings, created_at, updated_at, finished_at, rank_at";
        let row = |state: &str, id: &str, at: &str, end: &str, repository: &str, store: &str| {
            format!(
                "{id}, 'backup', '{state}', {repository}, {store}, 'scheduler', 'scheduler', '{{\"full\":false}}', 0, 1, 0, 2, \
                 FALSE, 0, 0, 0, 100, '[]', '[]', {at}, {at}, {end}, {at}"
            )
        };
        let scopes = |id: &str, repository: &str, store: &str, part: &str, at: &str| {
            [
                ("repository", repository, "TRUE"),
                ("vault", store, "FALSE"),
                ("source", repository, "FALSE"),
                ("part", part, "TRUE"),
            ]
            .map(|(resource, what, alone)| format!("SELECT {id}, '{resource}', {what}, {alone}, FALSE, {at} FROM n"))
            .join(" UNION ALL ")
        };
        match &self.kind {
            Kind::Sqlite(path) => {
                let series = |count| {
                    format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})")
                };
                // Ids are made of the number, so that a job's scopes find it.
                let id = |first: &str| format!("CAST(printf('{first}%015d', i) AS BLOB)");
                let repository = format!("CAST(printf('r%015d', i % {REPOSITORIES}) AS BLOB)");
                let store = "CAST('s00000000000000' || (i % 3) AS BLOB)";
                let at = "strftime('%Y-%m-%dT%H:%M:%S+00:00', 1767225600 + i, 'unixepoch')";
                let connection = rusqlite::Connection::open(path)?;
                connection.execute_batch(&format!(
                    "PRAGMA synchronous = OFF; BEGIN;
                     {} INSERT INTO jobs ({columns}) SELECT {} FROM n;
                     {} INSERT INTO jobs ({columns}) SELECT {} FROM n;
                     {} INSERT INTO job_scopes (job_id, resource, resource_id, exclusive, running, rank_at) {};
                     COMMIT; ANALYZE;",
                    series(finished),
                    row("succeeded", &id("f"), at, at, &repository, store),
                    series(queued),
                    row("queued", &id("q"), at, "NULL", &repository, store),
                    series(queued),
                    scopes(&id("q"), &repository, store, &id("p"), at),
                ))?;
            }
            Kind::Postgres { database } => {
                let server = server.ok_or("PostgreSQL was left out")?;
                let series = |count| format!("WITH n AS (SELECT i FROM generate_series(1, {count}) AS i)");
                let id = |first: &str| format!("md5('{first}' || i)::uuid");
                let repository = format!("md5('r' || i % {REPOSITORIES})::uuid");
                let store = "md5('s' || i % 3)::uuid";
                let at = "to_timestamp(1767225600 + i)";
                for statement in [
                    format!(
                        "{} INSERT INTO jobs ({columns}) SELECT {} FROM n",
                        series(finished),
                        row("succeeded", &id("f"), at, at, &repository, store)
                    ),
                    format!(
                        "{} INSERT INTO jobs ({columns}) SELECT {} FROM n",
                        series(queued),
                        row("queued", &id("q"), at, "NULL", &repository, store)
                    ),
                    format!(
                        "{} INSERT INTO job_scopes (job_id, resource, resource_id, exclusive, running, rank_at) {}",
                        series(queued),
                        scopes(&id("q"), &repository, store, &id("p"), at)
                    ),
                    "VACUUM ANALYZE".to_owned(),
                ] {
                    server.query(database, &statement);
                }
            }
        }
        Ok(())
    }

    /// One of the repositories that [`Place::fill`] spreads jobs over.
    ///
    /// # Errors
    /// When there is none.
    pub async fn a_repository(&self) -> Outcome<RepositoryId> {
        let filter = trivault_engine::JobFilter { limit: Some(1), ..Default::default() };
        let job = self.db.jobs(&filter).await?.pop().ok_or("no job")?;
        job.repository.ok_or_else(|| "a job without a repository".into())
    }
}

/// A job that does nothing; with the needs of a backup of its own repository in one of three stores, or without any.
pub fn job(now: DateTime<Utc>, with_needs: bool) -> Enqueue {
    let id = Uuid::now_v7();
    let job = Job {
        id: JobId(id),
        kind: JobKind::Verify,
        state: JobState::Queued,
        repository: None,
        store: with_needs.then(|| StoreId(Uuid::from_u128(id.as_u128() % 3))),
        backup: None,
        task: None,
        principal: "bench".to_owned(),
        via: "bench".to_owned(),
        attempt: 0,
        cancel_requested: false,
        progress: Progress::default(),
        bytes_stored: 0,
        percent: 0,
        steps: Vec::new(),
        warnings: Vec::new(),
        failure: None,
        created_at: now,
        started_at: None,
        updated_at: now,
        finished_at: None,
        estimated_end: None,
    };
    let scope = |resource, id, exclusive| JobScope { resource, id, exclusive };
    let scopes = vec![
        scope(Resource::Repository, Uuid::now_v7(), true),
        scope(Resource::Vault, Uuid::from_u128(id.as_u128() % 3), false),
        scope(Resource::Source, Uuid::now_v7(), false),
        scope(Resource::Part, Uuid::now_v7(), true),
    ];
    let principal = Principal {
        user: UserId(Uuid::nil()),
        name: "bench".to_owned(),
        role: Role::Admin,
        scope: Scope::Everything,
        token: None,
    };
    let caller = Caller { principal, via: "bench", request_id: String::new() };
    Enqueue {
        job: NewJob {
            job,
            params: json!({"full": false}),
            scopes: if with_needs { scopes } else { Vec::new() },
            priority: 0,
            not_before: None,
            retry_limit: 2,
            held_by: None,
            alone_in: None,
        },
        backup: None,
        labels: Labels::default(),
        occurrence: None,
        audit: AuditEntry::of(&caller, now, "bench", None),
    }
}
