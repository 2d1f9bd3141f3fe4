//! What goes into `db` and comes out of it beyond the domain's own types: the engine's private columns (fences, leases,
//! sealed secrets) and the content of one state change.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use trivault_sources::{CaptureManifest, Progress, SourceConfig, Warning};
use uuid::Uuid;

use crate::domain::*;

// ---------------------------------------------------------------------------------------------------------------------
// Installation

/// A process that works on jobs. `id` is stable for a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    pub id: Uuid,
    pub name: String,
    pub heartbeat_at: DateTime<Utc>,
}

/// A record that somebody changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub at: DateTime<Utc>,
    /// The user's name.
    pub principal: String,
    pub via: String,
    pub request_id: String,
    /// `backup.start`, `user.create` ...
    pub action: String,
    pub object: Option<ObjectRef>,
    /// `done`, or the sentence of the refusal.
    pub outcome: String,
}

impl AuditEntry {
    /// The record of a change that is written in the change's own transaction.
    pub fn of(caller: &Caller, at: DateTime<Utc>, action: &str, object: Option<ObjectRef>) -> Self {
        Self {
            at,
            principal: caller.principal.name.clone(),
            via: caller.via.to_owned(),
            request_id: caller.request_id.clone(),
            action: action.to_owned(),
            object,
            outcome: "done".to_owned(),
        }
    }
}

/// Names and wire fields that come into being with objects, in their transaction.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    pub names: Vec<(ObjectRef, Proposal)>,
    pub attributes: Vec<(ObjectRef, Attribute)>,
}

// ---------------------------------------------------------------------------------------------------------------------
// Sources and stores

/// One step of bringing the managed sources in line with the configuration.
#[derive(Clone, Debug)]
pub enum SourceChange {
    Create {
        source: Box<Source>,
        sealed_secret: Option<Vec<u8>>,
        labels: Labels,
    },
    Attach(SourceId),
    Detach(SourceId),
    /// Same identity, other options.
    Configure(SourceId, Box<SourceConfig>),
    /// Another password, sealed under the server key.
    Seal(SourceId, Vec<u8>),
}

/// A store with what only the engine may see.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreRow {
    pub store: Store,
    /// Sealed under the server key.
    pub sealed_credentials: Option<Vec<u8>>,
    /// As in the store's `trivault.json`; passcode vaults are found by it.
    pub salt: Vec<u8>,
}

/// A vault with what only the engine may see.
#[derive(Clone, PartialEq, Eq)]
pub struct VaultRow {
    pub vault: VaultRecord,
    /// Sealed under the server key; `None` for passcode vaults.
    pub sealed_password: Option<Vec<u8>>,
    /// Under which a passcode finds its vault; unique in its store. `None` for the server's, and when it is retired.
    pub locator: Option<Vec<u8>>,
    /// Since when the last backup under its passcode is gone, or going, and its folder with it.
    pub retired_at: Option<DateTime<Utc>>,
}

// ---------------------------------------------------------------------------------------------------------------------
// Access

/// What a log-in is checked against.
#[derive(Clone)]
pub struct Credentials {
    pub user: User,
    /// PHC string.
    pub password_hash: String,
    /// Rises with every change of the user.
    pub version: i64,
}

#[derive(Clone, Default)]
pub struct UserChange {
    pub password_hash: Option<String>,
    pub role: Option<Role>,
    pub disabled: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Bearer,
    Api,
}

#[derive(Clone)]
pub struct TokenRow {
    pub id: TokenId,
    pub kind: TokenKind,
    pub audience: String,
    pub name: String,
    pub user: UserId,
    /// The token with which this one was made.
    pub parent: Option<TokenId>,
    pub scope: Scope,
    pub claims: Vec<(String, String)>,
    /// SHA-256 of an API token's text.
    pub secret_hash: Option<Vec<u8>>,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A token with its user and every token it descends from, nearest first.
#[derive(Clone)]
pub struct TokenStanding {
    pub token: TokenRow,
    pub user: User,
    pub ancestors: Vec<TokenRow>,
}

// ---------------------------------------------------------------------------------------------------------------------
// Schedule

/// When a task of a repository's plan runs next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleEntry {
    pub task: String,
    pub next_run: DateTime<Utc>,
    pub last_run: Option<DateTime<Utc>>,
}

/// A task of an active, unpaused repository whose time has come.
#[derive(Clone, Debug, PartialEq)]
pub struct DueTask {
    pub repository: RepositoryId,
    pub plan: PlanId,
    pub task: PlanTask,
    /// The occurrence: the `next_run` that has come.
    pub due: DateTime<Utc>,
    /// Runs that are bounded in number are counted from here.
    pub plan_changed_at: DateTime<Utc>,
}

/// A task that stands in the schedule, with its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskHistory {
    pub repository: RepositoryId,
    pub entry: ScheduleEntry,
    pub last_run: Option<TaskRun>,
    pub last_success: Option<TaskRun>,
}

/// Binds what is enqueued to one run of a plan's task, so that two nodes never enqueue it twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    pub repository: RepositoryId,
    pub task: String,
    pub due: DateTime<Utc>,
    /// The task's next run after this one; `None` ends the series.
    pub next_run: Option<DateTime<Utc>>,
}

// ---------------------------------------------------------------------------------------------------------------------
// Jobs

/// What a job needs for itself while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JobScope {
    pub resource: Resource,
    pub id: Uuid,
    /// Alone; else shared with others that share it.
    pub exclusive: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Repository,
    Vault,
    Source,
    Part,
    /// The care of a vault, by its id: prune, verification and healing take turns, while captures and restores go on.
    Care,
}

/// A job to be enqueued. `job.state` is `Queued`, or `Skipped` with its `failure` and `finished_at` for a run that is not
/// to take place.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub job: Job,
    /// What the kind needs; opaque to `db`. Never a secret in clear.
    pub params: Value,
    pub scopes: Vec<JobScope>,
    /// Higher first.
    pub priority: i64,
    pub not_before: Option<DateTime<Utc>>,
    /// How often it may be tried again after a failure or a lost lease.
    pub retry_limit: u32,
    /// The only node that can run it: it holds the opened key in memory.
    pub held_by: Option<Uuid>,
    /// Refuse (`InUse`) while a live job of this kind needs the same resource alone.
    pub alone_in: Option<(JobKind, JobScope)>,
}

/// Everything that comes into being with one request.
#[derive(Clone, Debug)]
pub struct Enqueue {
    pub job: NewJob,
    /// The backup that the job makes, with its parts.
    pub backup: Option<Backup>,
    pub labels: Labels,
    pub occurrence: Option<Occurrence>,
    pub audit: AuditEntry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    New,
    /// This occurrence stands already, as this job.
    Already(JobId),
}

/// Upper limits that a claim respects; `None`: unlimited.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClaimLimits {
    /// Running jobs on this node.
    pub per_node: Option<u32>,
    /// Running jobs in one store.
    pub per_store: Option<u32>,
    /// Running jobs on one source.
    pub per_source: Option<u32>,
}

/// The right to write as one attempt of a job: every write carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    pub job: JobId,
    pub attempt: u32,
}

/// For how long a run has its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    pub run: Run,
    /// The node that has it.
    pub owner: Uuid,
    pub until: DateTime<Utc>,
}

#[derive(Clone, Debug)]
pub struct ClaimedJob {
    pub run: Run,
    pub job: Job,
    pub params: Value,
    pub scopes: Vec<JobScope>,
    /// Tries that have failed or were lost so far.
    pub retries: u32,
    pub retry_limit: u32,
    pub lease_until: DateTime<Utc>,
}

/// Answer to a write of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fenced<T> {
    Held(T),
    /// The lease went to another attempt, or the job is over: stop quietly.
    Lost,
}

impl<T> Fenced<T> {
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    /// # Errors
    /// `Cancelled` when the lease is lost.
    pub fn held(self) -> Result<T> {
        match self {
            Self::Held(value) => Ok(value),
            Self::Lost => Err(Error::new(ErrorCode::Cancelled, "The job was taken over by another attempt.")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    pub cancel_requested: bool,
}

#[derive(Clone, Debug)]
pub struct ProgressUpdate {
    pub progress: Progress,
    /// Bytes.
    pub bytes_stored: u64,
    /// 0..=99; 100 comes with success.
    pub percent: u8,
    pub estimated_end: Option<DateTime<Utc>>,
}

/// A part whose snapshot is durable in its vault.
#[derive(Clone, Debug)]
pub struct PartDone {
    pub part: PartId,
    pub vault: VaultId,
    /// Lower-case hex.
    pub snapshot: String,
    pub size: u64,
    pub stored_size: u64,
    pub items: u64,
    pub download_size: Option<u64>,
    pub manifest: Option<CaptureManifest>,
    pub warnings: Vec<Warning>,
}

/// How a run ends. For a backup job, the backup takes the same state, and parts that are not over take it too.
#[derive(Clone, Debug)]
pub struct Finish {
    /// `Succeeded`, `Failed` or `Cancelled`.
    pub state: JobState,
    pub failure: Option<Failure>,
    /// The job's backup leaves the catalogue, with its parts and all their names: the end of a forget.
    pub delete_backup: bool,
}

/// A run given back to the queue.
#[derive(Clone, Copy, Debug)]
pub struct HandBack {
    pub not_before: Option<DateTime<Utc>>,
    /// Counts towards the job's retry limit (a failure); a graceful stop does not.
    pub counts: bool,
}

/// A job whose lease had run out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenBack {
    pub job: JobId,
    pub kind: JobKind,
    /// The attempt that was lost.
    pub attempt: u32,
    /// `Queued`, `Failed`, or `Cancelled` where that had been asked for.
    pub state: JobState,
}

/// A lock file of restic's that a run holds in a vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRow {
    pub vault: VaultId,
    /// Lower-case hex.
    pub lock: String,
    pub run: Run,
    pub node: Uuid,
    pub created_at: DateTime<Utc>,
}

// ---------------------------------------------------------------------------------------------------------------------
// Recovery

/// Names and attributes of objects, in the order in which they were given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LabelSet {
    #[serde(default)]
    pub names: Vec<(ObjectRef, Alias)>,
    #[serde(default)]
    pub attributes: Vec<(ObjectRef, Attribute)>,
}

/// A job that is over, as a store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    pub job: Job,
    /// The backup that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// Of the job, the backup and its parts.
    #[serde(default)]
    pub labels: LabelSet,
    #[serde(default)]
    pub log: Vec<LogLine>,
    /// Backups that the job was about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<FormerBackup>,
    /// Backups that were folded into the one that the job made.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<FoldedBackup>,
}

/// A backup that a merge has folded into a newer one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldedBackup {
    pub former: FormerBackup,
    pub kind: BackupKind,
    pub point: DateTime<Utc>,
}

/// Rows that a recovery has added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecoveredRows {
    pub backups: u64,
    pub parts: u64,
    pub jobs: u64,
}
