//! Restores (DESIGN section 2b).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use trivault_sources::{Conflict, PartRestorePlan, Selection};

use super::{Attribute, PartId, SecretText, SourceId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreInto {
    InPlace,
    Source(SourceId),
    /// A source that is created for it below `<data>/restored/`, attached under this name when the restore has succeeded.
    NewSource(String),
    NewPath(PathBuf),
}

#[derive(Clone, Debug)]
pub struct StartRestore {
    /// In the order in which they are restored; several parts of one source go one after the other.
    pub items: Vec<RestoreItem>,
    pub conflict: Conflict,
    pub selection: Selection,
    /// Make a backup of what is there first (in the part's repository), and fail if that fails.
    pub safety_backup: bool,
    pub passcode: Option<SecretText>,
    /// Kept with the job.
    pub job_attributes: Vec<Attribute>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreItem {
    pub part: PartId,
    pub into: RestoreInto,
}

/// What a restore would do, part by part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePreview {
    pub parts: Vec<(RestoreItem, PartRestorePlan)>,
}
