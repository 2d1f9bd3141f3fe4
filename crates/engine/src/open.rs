//! Opening an engine, starting its work, and stopping it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use uuid::Uuid;

use crate::{
    access::{Access, Keys},
    data_directory::DataDirectory,
    db::{Database, DatabaseOptions, NodeRow},
    domain::{Caller, Error, ErrorCode, Job, JobId, Noun, Result, Role, SecretText},
    options::{DatabaseLocation, EngineOptions, ServerKeyLocation},
    reconcilers,
    recovery::{KNOWN_AS, UNFINISHED},
    secrets,
    secrets::ServerKey,
    service::{Engine, Inner},
    storage::{Storage, StorageOptions},
    workers::{self, Work},
};

/// The setting that proves that the server key is this installation's.
const KEY_PROOF: &str = "server-key-proof";
const KEY_PROOF_TEXT: &[u8] = b"trivault";
/// The setting that says that the key was exported once.
pub(crate) const KEY_EXPORTED: &str = "server-key-exported-at";
/// File of the server key in the data directory.
const KEY_FILE: &str = "server.key";
/// Folder of the data directory for what can be lost.
const CACHE_FOLDER: &str = "cache";
/// Threads of each vault that compress and seal.
const MOST_VAULT_THREADS: usize = 8;
/// How often an in-process worker looks whether its job is over.
const JOB_STEP: Duration = Duration::from_millis(50);
/// What an in-process worker gives other jobs that it has begun, before they go back to the queue.
const COMMAND_GRACE: Duration = Duration::from_secs(10);
/// How often a command that runs jobs says that it lives, and looks after those of the dead, at least.
const REGISTER_EVERY: Duration = Duration::from_secs(5);

impl Engine {
    /// Opens the data directory and the metadata database. Nothing runs yet.
    ///
    /// # Errors
    /// `Forbidden` (another user's data directory), `InUse` (a server is there already, when this is one), `DatabaseUnavailable`,
    /// `Unsupported` (a later version's schema), `Damaged` (another server key).
    pub async fn open(options: EngineOptions) -> Result<Self> {
        let data = DataDirectory::open(&options.data_directory)?;
        let server_lock = if options.server { Some(data.lock_as_server()?) } else { None };
        let key = match &options.server_key {
            ServerKeyLocation::DataDirectory => secrets::load_or_create(&data.join(KEY_FILE), true)?,
            ServerKeyLocation::File(path) => secrets::load_or_create(path, false)?,
            ServerKeyLocation::Given(key) => key.clone(),
        };
        let database = match &options.database {
            DatabaseLocation::Sqlite(path) => DatabaseOptions::Sqlite { path: data.path().join(path) },
            DatabaseLocation::Postgres(url) => DatabaseOptions::Postgres { url: url.clone() },
        };
        let db = Database::connect(&database).await?.with_patience(options.database_patience);
        db.migrate().await?;
        let now = options.clock.now();
        let installation = db.installation(Uuid::now_v7(), now).await?;
        let known_as = known_as(&db).await?.unwrap_or(installation);
        prove_key(&db, &key, now).await?;
        if options.server {
            refuse_unfinished_recovery(&db).await?;
        }
        // A command that holds a passcode in its own memory must not be taken for the server beside it.
        let node = if options.server { data.node_id()? } else { Uuid::new_v4() };
        let storage = Storage::new(key.clone(), storage_options(&options, &data, installation, node))?;
        let access = Access::new(Keys { signing_key: key.signing_key()? })?;
        let inner = Inner {
            db,
            clock: Arc::clone(&options.clock),
            namers: options.namers.clone(),
            access,
            installation,
            known_as,
            node,
            zone: options.zone,
            key,
            data,
            storage,
            work: Work::default(),
            schedule_watch: reconcilers::ScheduleWatch::default(),
            lease_watch: reconcilers::Unmoved::default(),
            node_watch: reconcilers::Unmoved::default(),
            _server_lock: server_lock,
            options,
        };
        Ok(Self::from_inner(inner))
    }

    /// Starts this node's workers and reconcilers. Must be called inside a tokio runtime, once.
    ///
    /// # Errors
    /// `DatabaseUnavailable`.
    pub async fn start_workers(&self) -> Result<()> {
        let inner = self.inner();
        inner.register_node().await?;
        // What a former process of this node held in memory is gone with it.
        for job in inner.db.fail_held_by(inner.node, inner.clock.now()).await? {
            tracing::warn!(job.id = %job, "a job ended: its passcode was known to the process before this one only");
        }
        reconcilers::at_start(inner).await?;
        workers::start(inner);
        reconcilers::start(inner);
        Ok(())
    }

    /// Stops claiming, lets running jobs finish within `grace`, and hands the others back.
    pub async fn shutdown(&self, grace: Duration) {
        self.inner().work.stop(grace).await;
        self.inner().db.close().await;
    }

    /// Process id of the server that lives in this data directory, if one does.
    ///
    /// # Errors
    /// `Internal` when the directory cannot be read.
    pub fn live_server(&self) -> Result<Option<u32>> {
        self.inner().data.live_server()
    }

    /// Runs jobs in this process until this one is over: for commands without a live server.
    ///
    /// # Errors
    /// `NotFound(Job)`, `DatabaseUnavailable`.
    pub async fn run_until_done(&self, job: JobId) -> Result<Job> {
        let inner = self.inner();
        inner.register_node().await?;
        reconcilers::take_back_abandoned(inner).await?;
        workers::start(inner);
        let ended = self.follow(job).await;
        inner.work.stop(COMMAND_GRACE).await;
        ended
    }

    async fn follow(&self, job: JobId) -> Result<Job> {
        let inner = self.inner();
        let mut registered = Instant::now();
        loop {
            match inner.db.job(job).await? {
                None => return Err(Error::not_found(Noun::Job, "There is no such job.")),
                Some(found) if found.state.is_terminal() => return Ok(found),
                Some(_) => tokio::time::sleep(JOB_STEP).await,
            }
            // A server beside would take this process for dead, and end what only it can run.
            if registered.elapsed() >= (inner.options.lease / 4).min(REGISTER_EVERY) {
                registered = Instant::now();
                inner.register_node().await?;
                reconcilers::take_back_abandoned(inner).await?;
            }
        }
    }

    /// The server key as text for the safe. It opens every store of this installation.
    ///
    /// # Errors
    /// `Forbidden` below an administrator.
    pub async fn export_key(&self, caller: &Caller) -> Result<SecretText> {
        caller.require(Role::Admin)?;
        caller.require_everything()?;
        let inner = self.inner();
        let now = inner.clock.now();
        inner.db.put_setting(KEY_EXPORTED, now.to_rfc3339().as_bytes(), now).await?;
        inner.audit(caller, "key.export", None).await?;
        Ok(inner.key.to_text())
    }

    /// Whether the server key was exported once; a server warns until then.
    ///
    /// # Errors
    /// `DatabaseUnavailable`.
    pub async fn key_was_exported(&self) -> Result<bool> {
        Ok(self.inner().db.setting(KEY_EXPORTED).await?.is_some())
    }
}

impl Inner {
    /// Says that this node lives.
    pub(crate) async fn register_node(&self) -> Result<()> {
        let row = NodeRow { id: self.node, name: self.options.node_name.clone(), heartbeat_at: self.clock.now() };
        self.db.upsert_node(&row).await
    }
}

fn storage_options(options: &EngineOptions, data: &DataDirectory, installation: Uuid, node: Uuid) -> StorageOptions {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_VAULT_THREADS);
    StorageOptions {
        memory_budget: options.memory_budget,
        zstd_level: options.zstd_level,
        cache_directory: data.join(CACHE_FOLDER),
        lock_host: format!("trivault-{installation}"),
        // The id and not the name alone: by it a node tells the locks that its own dead processes left from those of others.
        lock_user: format!("{}-{node}", options.node_name),
        threads,
        patience: options.s3_patience.clone(),
    }
}

/// What clients knew the installation as that this one was rebuilt from.
async fn known_as(db: &Database) -> Result<Option<Uuid>> {
    Ok(db.setting(KNOWN_AS).await?.and_then(|bytes| Uuid::from_slice(&bytes).ok()))
}

/// A server on half a catalogue would take the other half for gone.
async fn refuse_unfinished_recovery(db: &Database) -> Result<()> {
    let location = db.setting(UNFINISHED).await?.unwrap_or_default();
    if location.is_empty() {
        return Ok(());
    }
    let location = String::from_utf8_lossy(&location).into_owned();
    Err(Error::new(
        ErrorCode::NotReady(Noun::Store),
        format!("The recovery of the store at {location} has not come to its end."),
    )
    .hint("Run `trivault recover` again, as before: it goes on where it was interrupted."))
}

/// Refuses a server key that is not the one this installation was made with, before anything is sealed with it.
async fn prove_key(db: &Database, key: &ServerKey, now: chrono::DateTime<chrono::Utc>) -> Result<()> {
    // Sealing gathers entropy for longer than the rest of a command takes: it is done once, not at every start.
    let proof = match db.setting(KEY_PROOF).await? {
        Some(proof) => proof,
        None => db.setting_or_insert(KEY_PROOF, &key.seal(KEY_PROOF, KEY_PROOF_TEXT)?, now).await?,
    };
    key.open(KEY_PROOF, &proof).map(drop).map_err(|error| {
        Error::new(ErrorCode::Damaged, "The server key does not belong to this metadata database.")
            .hint("Put the right server.key into the data directory, or name it with --key-file.")
            .because(error)
    })
}
