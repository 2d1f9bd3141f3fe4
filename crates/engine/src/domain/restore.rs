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
    /// A source that is created for it, attached under this name when the restore has succeeded: a path below
    /// `<data>/restored/`, or a database of this name on the server of the source that the part came from.
    NewSource(String),
    NewPath(PathBuf),
    /// A database that must not exist yet, on the server of the source that the part came from. No source is made of it.
    NewDatabase(String),
}

/// What a part is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// Statements that the engine's own client takes.
    Sql,
    /// The engine's own archive, as its own programs read it.
    Custom,
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
