//! `manifest.json` of a part: what was captured, by which job, in words that outlive the metadata database.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use trivault_sources::CaptureManifest;

use crate::domain::{BackupId, Error, ErrorCode, PartId, RepositoryId, Result, SourceId};

/// What this binary writes. Readers accept older ones.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartManifest {
    pub(crate) format: u32,
    /// `trivault 0.1.0`
    pub(crate) program: String,
    pub(crate) backup: BackupId,
    pub(crate) part: PartId,
    pub(crate) attempt: u32,
    pub(crate) repository: RepositoryId,
    pub(crate) repository_name: String,
    pub(crate) source: SourceId,
    pub(crate) source_name: String,
    pub(crate) captured_at: DateTime<Utc>,
    pub(crate) capture: CaptureManifest,
    /// A `recovery::PartRecord`. Kept loosely: what a later version writes into it must not keep the part from being restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<serde_json::Value>,
}

impl PartManifest {
    pub(crate) const FORMAT: u32 = FORMAT;

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self)
            .map_err(|error| Error::internal("The manifest of a part could not be written.").because(error))
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| {
            Error::new(ErrorCode::Damaged, "The manifest of a backup cannot be read.").because(error)
        })?;
        if manifest.format > FORMAT {
            return Err(Error::new(ErrorCode::Unsupported, "The backup was made by a later version of Trivault.")
                .hint("Use that version or a later one to read it."));
        }
        Ok(manifest)
    }
}

/// The name under which snapshots and manifests say what wrote them.
pub(crate) fn program() -> String {
    format!("trivault {}", env!("CARGO_PKG_VERSION"))
}
