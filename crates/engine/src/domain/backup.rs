//! Backups and their parts.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use trivault_sources::{CaptureManifest, Warning};

use super::{Alias, Attribute, BackupId, Job, JobId, PartId, RepositoryId, SecretText, SourceId, StoreId, VaultId};

/// State of a backup and of each part. Terminal ones never change, but for `Lost`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupState {
    Queued,
    Running,
    /// Restorable.
    Succeeded,
    Failed,
    Cancelled,
    /// Was there, and its snapshot has vanished from the store.
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupKind {
    Full,
    Incremental,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    Manual,
    Scheduled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    pub id: BackupId,
    pub repository: RepositoryId,
    pub store: StoreId,
    /// Its backup job.
    pub job: JobId,
    pub state: BackupState,
    /// Known when the first claim has looked for a predecessor; `Full` until then if asked for.
    pub kind: BackupKind,
    pub trigger: Trigger,
    pub description: String,
    /// `None`: for ever, as far as this backup itself is concerned.
    pub keep_until: Option<DateTime<Utc>>,
    /// Protected by a passcode that the server does not keep.
    pub protected: bool,
    /// Fixed at the first claim, strictly rising within the repository; the wire names of backups come from it.
    pub point: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    /// Sentence of the failure.
    pub error: Option<String>,
    pub parts: Vec<Part>,
}

impl Backup {
    /// Bytes of live data in all parts.
    pub fn size(&self) -> u64 {
        self.parts.iter().filter_map(|part| part.size).sum()
    }

    /// Bytes that this backup added to its vault.
    pub fn stored_size(&self) -> u64 {
        self.parts.iter().filter_map(|part| part.stored_size).sum()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub id: PartId,
    pub backup: BackupId,
    pub source: SourceId,
    /// The source's name and kind when the backup was made.
    pub source_name: String,
    pub source_kind: String,
    pub state: BackupState,
    pub vault: Option<VaultId>,
    /// Snapshot in that vault, lower-case hex.
    pub snapshot: Option<String>,
    /// Bytes of live data.
    pub size: Option<u64>,
    /// Bytes added to the vault.
    pub stored_size: Option<u64>,
    pub items: Option<u64>,
    /// Bytes of the download.
    pub download_size: Option<u64>,
    /// Kept in the catalogue so that inventories and downloads need no read of the store to be described. `None` for
    /// parts under a passcode beyond what the catalogue may know.
    pub manifest: Option<CaptureManifest>,
    pub warnings: Vec<Warning>,
    pub error: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl Part {
    /// A part of which nothing is known yet but what it is to be of: the source's id, name and kind.
    pub fn new(id: PartId, backup: BackupId, (source, name, kind): (SourceId, &str, &str), state: BackupState) -> Self {
        Self {
            id,
            backup,
            source,
            source_name: name.to_owned(),
            source_kind: kind.to_owned(),
            state,
            vault: None,
            snapshot: None,
            size: None,
            stored_size: None,
            items: None,
            download_size: None,
            manifest: None,
            warnings: Vec::new(),
            error: None,
            started_at: None,
            finished_at: None,
        }
    }
}

/// All given conditions must hold. Newest first.
#[derive(Clone, Debug, Default)]
pub struct BackupFilter {
    pub repository: Option<RepositoryId>,
    pub store: Option<StoreId>,
    pub source: Option<SourceId>,
    pub states: Vec<BackupState>,
    pub protected: Option<bool>,
    pub limit: Option<u32>,
    pub offset: u32,
}

/// A backup to be made now.
#[derive(Clone, Debug)]
pub struct StartBackup {
    pub repository: RepositoryId,
    pub trigger: Trigger,
    /// Name of the plan's task, for scheduled ones.
    pub task: Option<String>,
    pub full: bool,
    pub description: String,
    pub keep_until: Option<DateTime<Utc>>,
    /// At least eight characters; the backup then lies in a vault of its own that only the passcode opens.
    pub passcode: Option<SecretText>,
    /// Names for the backup, chosen by the caller; taken ones are refused with `AlreadyExists(Backup)`.
    pub aliases: Vec<Alias>,
    /// Kept with the backup.
    pub attributes: Vec<Attribute>,
    /// Kept with the job.
    pub job_attributes: Vec<Attribute>,
}

/// What the caller is told of; durable before it is returned.
#[derive(Clone, Debug)]
pub struct StartedBackup {
    pub backup: Backup,
    pub job: Job,
}
