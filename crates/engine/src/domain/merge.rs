//! Merges: a range of a repository's backups folded into its newest.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{Alias, Attribute, BackupId, BackupKind, BackupState, MergeWindow, RepositoryId, SourceId};

/// Which backups are folded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeRange {
    /// Whole days, counted back from the day on which the merge begins.
    Days(MergeWindow),
    /// Both ends included.
    Between { from: MergeEnd, to: MergeEnd },
}

impl MergeRange {
    /// Everything that there is when the merge begins.
    pub const EVERYTHING: Self = Self::Between { from: MergeEnd::Oldest, to: MergeEnd::Newest };
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeEnd {
    Oldest,
    Newest,
    Backup(BackupId),
    /// As the caller wrote it: the merge will say that there is no such backup.
    Unknown(String),
}

/// A merge to be made.
#[derive(Clone, Debug)]
pub struct StartMerge {
    pub repository: RepositoryId,
    /// Name of the plan's task, for scheduled ones.
    pub task: Option<String>,
    pub range: MergeRange,
    /// In which days are meant.
    pub zone: Tz,
    /// From when days are counted back: for a plan's run when it was due, so that one that comes late folds what it would have folded in
    /// time. Otherwise when it begins.
    pub as_of: Option<DateTime<Utc>>,
    /// Kept with the job.
    pub job_attributes: Vec<Attribute>,
}

/// What a merge looks at of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeCandidate {
    pub id: BackupId,
    /// When it was made.
    pub at: DateTime<Utc>,
    pub state: BackupState,
    pub protected: bool,
    pub damaged: bool,
    pub sources: Vec<SourceId>,
}

/// What a merge will do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergePlan {
    /// The newest of the range, which stays: with fewer than two backups there is nothing to merge, and none.
    pub keep: Option<BackupId>,
    /// Newest first, so that what a stopped merge has folded has no gap.
    pub release: Vec<BackupId>,
    /// Backups of the range that stay beside, each with the reason.
    pub left: Vec<(BackupId, MergeLeft)>,
}

/// Why a backup within the range stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeLeft {
    /// It was not finished, or its snapshot has vanished: there is nothing in it to fold.
    NotUsable,
    /// It holds a source that none of the newer ones holds.
    OnlyCopy,
}

impl MergeLeft {
    /// For a person.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::NotUsable => "it is not a finished backup",
            Self::OnlyCopy => "it holds a source that no newer backup of the range holds",
        }
    }
}

/// A backup that was folded into a newer one, or that a job was about: it may be gone, its names stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerBackup {
    pub id: BackupId,
    /// All names that it had, in the order of their creation.
    pub names: Vec<Alias>,
}

impl FormerBackup {
    /// Its first name in a namespace.
    pub fn name(&self, namespace: &str) -> Option<&str> {
        self.names.iter().find(|alias| alias.namespace == namespace).map(|alias| alias.name.as_str())
    }
}

/// What was folded into a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// Oldest first.
    pub backups: Vec<FormerBackup>,
    /// Kind of the oldest of them.
    pub kind: BackupKind,
}
