//! An engine on a directory of its own, with what most tests need around it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, Utc};
use tempfile::TempDir;
use trivault_sources::{Conflict, Selection, SourceConfig};
use uuid::Uuid;

use crate::{
    DatabaseLocation, Engine, EngineOptions, RetryPolicy,
    db::{AuditEntry, Labels},
    domain::*,
    service::Inner,
};

/// Longest that a test waits for a job.
const LIMIT: Duration = Duration::from_secs(60);

/// A data directory, a store and sources in a temporary folder.
pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    folder: Folder,
}

/// Removed with the bench, unless the test owns it.
enum Folder {
    Own(TempDir),
    Given(PathBuf),
}

/// An administrator.
pub(crate) fn admin() -> Caller {
    let principal = Principal {
        user: UserId(Uuid::nil()),
        name: "test".into(),
        role: Role::Admin,
        scope: Scope::Everything,
        token: None,
    };
    Caller { principal, via: "test", request_id: "1".into() }
}

pub(crate) fn options(folder: &Path) -> EngineOptions {
    EngineOptions {
        workers: 2,
        poll: Duration::from_millis(50),
        retry: RetryPolicy { attempts: 3, first_wait: Duration::ZERO, longest_wait: Duration::ZERO },
        server: true,
        ..EngineOptions::new(folder.join("data"))
    }
}

/// Every database that tests run on.
pub(crate) fn databases() -> Vec<DatabaseLocation> {
    let mut databases = vec![DatabaseLocation::default()];
    if let Some(server) = trivault_testkit::postgres::PostgresServer::shared() {
        databases.push(DatabaseLocation::Postgres(SecretText::new(server.create_database())));
    }
    databases
}

/// What another node does when it takes all that runs for abandoned at that time. Answers how many jobs it took.
pub(crate) async fn take_back_all(inner: &Inner, now: DateTime<Utc>) -> usize {
    let leases = inner.db.leases().await.unwrap();
    inner.db.take_back(&leases, now).await.unwrap().len()
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// Workers run, unless there are none.
    pub(crate) async fn with(change: impl FnOnce(&mut EngineOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        Self::make(Folder::Own(folder), &path, change).await
    }

    /// In a folder that outlives the bench.
    pub(crate) async fn at(folder: &Path, change: impl FnOnce(&mut EngineOptions)) -> Self {
        Self::make(Folder::Given(folder.to_owned()), folder, change).await
    }

    /// The next process in a folder in which there was a bench.
    pub(crate) async fn again(folder: &Path, change: impl FnOnce(&mut EngineOptions)) -> Self {
        let mut options = options(folder);
        // The bench before may not have let go of the folder yet.
        options.server = false;
        change(&mut options);
        let engine = Engine::open(options).await.unwrap();
        let store = engine.default_store(&admin()).await.unwrap();
        engine.start_workers().await.unwrap();
        Self { engine, store, folder: Folder::Given(folder.to_owned()) }
    }

    async fn make(folder: Folder, path: &Path, change: impl FnOnce(&mut EngineOptions)) -> Self {
        let mut options = options(path);
        change(&mut options);
        let engine = Engine::open(options).await.unwrap();
        let path = path.join("store").to_str().unwrap().to_owned();
        let new = NewStore {
            name: "main".into(),
            location: StoreLocation::Local { path },
            credentials: None,
            is_default: true,
            managed: false,
        };
        let store = engine.create_store(&admin(), new).await.unwrap();
        engine.start_workers().await.unwrap();
        Self { engine, store, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        match &self.folder {
            Folder::Own(folder) => folder.path(),
            Folder::Given(folder) => folder,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// A directory with a few files, as a source.
    pub(crate) async fn directory(&self, name: &str) -> Source {
        let path = self.path(name);
        fill(&path);
        self.source(name, "directory", &path).await
    }

    pub(crate) async fn source(&self, name: &str, kind: &str, path: &Path) -> Source {
        let now = self.engine.now();
        let source = Source {
            id: SourceId(Uuid::now_v7()),
            name: name.into(),
            config: SourceConfig {
                kind: kind.into(),
                location: path.to_str().unwrap().into(),
                options: serde_json::Map::new(),
                never_capture: vec![],
                secret: None,
            },
            status: SourceStatus::Attached,
            managed: false,
            created_at: now,
            updated_at: now,
        };
        let audit = AuditEntry::of(&admin(), now, "source.create", None);
        self.engine.inner().db.insert_source(&source, None, &Labels::default(), &audit).await.unwrap();
        source
    }

    pub(crate) async fn repository(&self, name: &str, sources: SourceSelection) -> Repository {
        let now = self.engine.now();
        let repository = Repository {
            id: RepositoryId(Uuid::now_v7()),
            owner: "test".into(),
            name: name.into(),
            state: RepositoryState::Active { paused: false },
            store: self.store.id,
            sources,
            plan: None,
            created_at: now,
            updated_at: now,
        };
        let audit = AuditEntry::of(&admin(), now, "repository.create", None);
        self.engine.inner().db.insert_repository(&repository, &[], &Labels::default(), &audit).await.unwrap();
        repository
    }

    pub(crate) fn request(&self, repository: &Repository) -> StartBackup {
        StartBackup {
            repository: repository.id,
            trigger: Trigger::Manual,
            task: None,
            full: false,
            description: String::new(),
            keep_until: None,
            passcode: None,
            aliases: vec![],
            attributes: vec![],
            job_attributes: vec![],
        }
    }

    /// Makes a backup and waits for its end.
    pub(crate) async fn back_up(&self, repository: &Repository) -> Backup {
        self.back_up_as(self.request(repository)).await
    }

    pub(crate) async fn back_up_as(&self, request: StartBackup) -> Backup {
        let started = self.engine.start_backup(&admin(), request).await.unwrap();
        self.ended(started.job.id).await;
        self.backup(started.backup.id).await.unwrap()
    }

    pub(crate) async fn backup(&self, id: BackupId) -> Option<Backup> {
        self.engine.inner().db.backup(id).await.unwrap()
    }

    pub(crate) async fn job(&self, id: JobId) -> Job {
        self.engine.inner().db.job(id).await.unwrap().unwrap()
    }

    /// Waits until the job is over.
    pub(crate) async fn ended(&self, id: JobId) -> Job {
        self.until(id, |job| job.state.is_terminal()).await
    }

    pub(crate) async fn until(&self, id: JobId, wanted: impl Fn(&Job) -> bool) -> Job {
        let begun = std::time::Instant::now();
        loop {
            let job = self.job(id).await;
            if wanted(&job) {
                return job;
            }
            assert!(begun.elapsed() < LIMIT, "the job did not get there: {job:?}\n{}", self.log(id).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn log(&self, id: JobId) -> String {
        let lines = self.engine.inner().db.job_log(id, 1000).await.unwrap();
        lines.into_iter().map(|line| line.text + "\n").collect()
    }

    pub(crate) fn restore_request(&self, backup: &Backup, into: RestoreInto) -> StartRestore {
        StartRestore {
            items: backup.parts.iter().map(|part| RestoreItem { part: part.id, into: into.clone() }).collect(),
            conflict: Conflict::Replace,
            selection: Selection::default(),
            safety_backup: false,
            passcode: None,
            job_attributes: vec![],
        }
    }

    pub(crate) async fn restore(&self, request: StartRestore) -> Job {
        let job = self.engine.start_restore(&admin(), request).await.unwrap();
        self.ended(job.id).await
    }
}

/// Files of several kinds.
pub(crate) fn fill(path: &Path) {
    std::fs::create_dir_all(path.join("below/deeper")).unwrap();
    std::fs::write(path.join("empty"), b"").unwrap();
    std::fs::write(path.join("hello.txt"), b"hello").unwrap();
    std::fs::write(path.join("below/noise"), trivault_testkit::trees::noise(7, 300_000)).unwrap();
    std::fs::write(path.join("below/deeper/gr\u{fc}n"), vec![b'g'; 100_000]).unwrap();
    std::os::unix::fs::symlink("hello.txt", path.join("link")).unwrap();
    std::fs::hard_link(path.join("hello.txt"), path.join("twin")).unwrap();
}

pub(crate) fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    trivault_testkit::trees::contents(path).unwrap()
}
