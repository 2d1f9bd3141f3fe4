//! A migrated database with an installation's usual objects.

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use serde_json::json;
use trivault_engine::{db::*, *};
use trivault_sources::SourceConfig;
use trivault_testkit::postgres::PostgresServer;
use uuid::Uuid;

/// A database to test with, and its folder where it has one.
pub struct Place {
    pub db: Database,
    pub options: DatabaseOptions,
    _folder: Option<tempfile::TempDir>,
}

impl Place {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = DatabaseOptions::Sqlite { path: folder.path().join("metadata.db") };
        Self::open(options, Some(folder)).await
    }

    pub async fn postgres() -> Option<Self> {
        let url = PostgresServer::shared()?.create_database();
        Some(Self::open(DatabaseOptions::Postgres { url: url.into() }, None).await)
    }

    async fn open(options: DatabaseOptions, folder: Option<tempfile::TempDir>) -> Self {
        let db = Database::connect(&options).await.unwrap();
        db.migrate().await.unwrap();
        Self { db, options, _folder: folder }
    }

    /// Another process's view of the same database.
    pub async fn second_node(&self) -> Database {
        Database::connect(&self.options).await.unwrap()
    }
}

/// The tests' clock: noon plus so many seconds.
pub fn at(seconds: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 12, 0, 0).unwrap() + TimeDelta::seconds(seconds)
}

pub fn audit(action: &str) -> AuditEntry {
    AuditEntry {
        at: at(0),
        principal: "Administrator".into(),
        via: "test".into(),
        request_id: "request-1".into(),
        action: action.into(),
        object: None,
        outcome: "done".into(),
    }
}

pub fn source(name: &str) -> Source {
    Source {
        id: SourceId(Uuid::now_v7()),
        name: name.into(),
        config: SourceConfig {
            kind: "directory".into(),
            location: format!("/data/{name}"),
            options: serde_json::Map::new(),
            never_capture: vec!["/var/lib/trivault".into()],
            secret: None,
        },
        status: SourceStatus::Attached,
        managed: false,
        created_at: at(0),
        updated_at: at(0),
    }
}

pub fn store(name: &str) -> StoreRow {
    StoreRow {
        store: Store {
            id: StoreId(Uuid::now_v7()),
            name: name.into(),
            location: StoreLocation::Local { path: format!("/stores/{name}") },
            is_default: true,
            read_only: false,
            managed: false,
            created_at: at(0),
            updated_at: at(0),
        },
        sealed_credentials: None,
        salt: vec![7; 32],
    }
}

pub fn vault(store: StoreId) -> VaultRow {
    VaultRow {
        vault: VaultRecord {
            id: VaultId(Uuid::now_v7()),
            store,
            kind: VaultKind::Server,
            path: "vault".into(),
            created_at: at(0),
        },
        sealed_password: Some(vec![1, 2, 3]),
        locator: None,
        retired_at: None,
    }
}

pub fn repository(name: &str, store: StoreId) -> Repository {
    Repository {
        id: RepositoryId(Uuid::now_v7()),
        owner: "couchbase".into(),
        name: name.into(),
        state: RepositoryState::Active { paused: false },
        store,
        sources: SourceSelection::All,
        plan: None,
        created_at: at(0),
        updated_at: at(0),
    }
}

/// Takes back all jobs whose lease is over at that time.
pub async fn take_back_expired(db: &Database, now: DateTime<Utc>) -> Vec<TakenBack> {
    let leases = db.leases().await.unwrap();
    let over: Vec<Lease> = leases.into_iter().filter(|lease| lease.until < now).collect();
    db.take_back(&over, now).await.unwrap()
}

/// A source, a default store with its vault, and a repository in it.
pub struct World {
    pub source: Source,
    pub store: Store,
    pub vault: VaultRecord,
    pub repository: Repository,
}

impl World {
    pub async fn create(db: &Database) -> Self {
        let source = source("travel-sample");
        db.insert_source(&source, None, &Labels::default(), &audit("source.create")).await.unwrap();
        let store = store("default");
        let vault = vault(store.store.id);
        db.insert_store(&store, Some(&vault), &Labels::default(), &audit("store.create")).await.unwrap();
        let repository = repository("restRepo", store.store.id);
        db.insert_repository(&repository, &[], &Labels::default(), &audit("repository.create")).await.unwrap();
        Self { source, store: store.store, vault: vault.vault, repository }
    }

    pub async fn another_repository(&self, db: &Database, name: &str) -> Repository {
        let repository = repository(name, self.store.id);
        db.insert_repository(&repository, &[], &Labels::default(), &audit("repository.create")).await.unwrap();
        repository
    }

    /// A backup of the source: has its repository alone and shares the source.
    pub fn backup(&self, repository: &Repository, created_at: DateTime<Utc>) -> Enqueue {
        let mut job = plain_job(JobKind::Backup, created_at);
        let id = BackupId(Uuid::now_v7());
        job.job.repository = Some(repository.id);
        job.job.store = Some(repository.store);
        job.job.backup = Some(id);
        job.retry_limit = 2;
        job.scopes = vec![alone(Resource::Repository, repository.id.0), shared(Resource::Source, self.source.id.0)];
        let backup = Backup {
            id,
            repository: repository.id,
            store: repository.store,
            job: job.job.id,
            state: BackupState::Queued,
            kind: BackupKind::Incremental,
            trigger: Trigger::Manual,
            description: "nightly — naïve ☂".into(),
            keep_until: None,
            protected: false,
            point: None,
            created_at,
            started_at: None,
            finished_at: None,
            error: None,
            parts: vec![Part::new(
                PartId(Uuid::now_v7()),
                id,
                (self.source.id, &self.source.name, &self.source.config.kind),
                BackupState::Queued,
            )],
        };
        Enqueue { job, backup: Some(backup), labels: Labels::default(), occurrence: None, audit: audit("backup.start") }
    }

    /// A restore in place: has its source alone.
    pub fn restore(&self, created_at: DateTime<Utc>) -> Enqueue {
        let mut job = plain_job(JobKind::Restore, created_at);
        job.job.store = Some(self.store.id);
        job.scopes = vec![alone(Resource::Source, self.source.id.0)];
        enqueue(job)
    }

    pub fn done(&self, part: PartId) -> PartDone {
        PartDone {
            part,
            vault: self.vault.id,
            snapshot: "ab".repeat(32),
            size: 1_000,
            stored_size: 100,
            items: 7,
            download_size: Some(1_234),
            manifest: Some(trivault_sources::CaptureManifest {
                format: 1,
                kind: "directory".into(),
                ..Default::default()
            }),
            warnings: Vec::new(),
        }
    }
}

/// Enqueues, runs and finishes a backup at these instants.
pub async fn make_backup(db: &Database, world: &World, repository: &Repository, second: i64) -> Backup {
    make_named_backup(db, world, repository, second, &no_names).await
}

/// The same, under these names.
pub async fn make_named_backup(
    db: &Database,
    world: &World,
    repository: &Repository,
    second: i64,
    names: NamesAt<'_>,
) -> Backup {
    let request = world.backup(repository, at(second));
    let part = request.backup.as_ref().unwrap().parts[0].id;
    db.enqueue(&request).await.unwrap();
    let run = claim(db, NODE, second).await.unwrap().run;
    db.begin_backup(run, BackupKind::Incremental, at(second), names).await.unwrap().held().unwrap();
    db.begin_part(run, part, at(second)).await.unwrap().held().unwrap();
    db.part_succeeded(run, &world.done(part), at(second + 1)).await.unwrap().held().unwrap();
    db.finish(run, &succeeded(), at(second + 1)).await.unwrap().held().unwrap();
    db.backup_of_part(part).await.unwrap().unwrap()
}

/// A job that runs from then on.
pub async fn running(db: &Database, kind: JobKind, second: i64) -> Run {
    let request = enqueue(plain_job(kind, at(second)));
    db.enqueue(&request).await.unwrap();
    let run = claim(db, NODE, second).await.unwrap().run;
    assert_eq!(run.job, request.job.job.id);
    run
}

/// The same run as an attempt that has lost its lease.
pub fn lost(run: Run) -> Run {
    Run { attempt: run.attempt + 1, ..run }
}

pub fn alone(resource: Resource, id: Uuid) -> JobScope {
    JobScope { resource, id, exclusive: true }
}

pub fn shared(resource: Resource, id: Uuid) -> JobScope {
    JobScope { resource, id, exclusive: false }
}

pub fn enqueue(job: NewJob) -> Enqueue {
    Enqueue { job, backup: None, labels: Labels::default(), occurrence: None, audit: audit("job.start") }
}

pub fn plain_job(kind: JobKind, created_at: DateTime<Utc>) -> NewJob {
    let job = Job {
        id: JobId(Uuid::now_v7()),
        kind,
        state: JobState::Queued,
        repository: None,
        store: None,
        backup: None,
        task: None,
        principal: "Administrator".into(),
        via: "test".into(),
        attempt: 0,
        cancel_requested: false,
        progress: trivault_sources::Progress::default(),
        bytes_stored: 0,
        percent: 0,
        steps: Vec::new(),
        warnings: Vec::new(),
        failure: None,
        created_at,
        started_at: None,
        updated_at: created_at,
        finished_at: None,
        estimated_end: None,
    };
    NewJob {
        job,
        params: json!({"full": false}),
        scopes: Vec::new(),
        priority: 0,
        not_before: None,
        retry_limit: 0,
        held_by: None,
        alone_in: None,
    }
}

pub const NODE: Uuid = Uuid::from_u128(1);
pub const OTHER_NODE: Uuid = Uuid::from_u128(2);
/// Seconds of the tests' leases.
pub const LEASE: i64 = 60;

/// Claims without limits at `now`.
pub async fn claim(db: &Database, node: Uuid, now: i64) -> Option<ClaimedJob> {
    db.claim(node, at(now), at(now + LEASE), &ClaimLimits::default()).await.unwrap()
}

pub fn succeeded() -> Finish {
    Finish { state: JobState::Succeeded, failure: None, delete_backup: false }
}

pub fn failed() -> Finish {
    let failure = Failure { code: "store_full".into(), sentence: "The store is full.".into(), hint: None };
    Finish { state: JobState::Failed, failure: Some(failure), delete_backup: false }
}

pub fn no_names(_: DateTime<Utc>) -> Vec<Proposal> {
    Vec::new()
}
