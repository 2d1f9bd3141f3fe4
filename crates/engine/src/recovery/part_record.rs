//! What each part carries of the catalogue, so that it comes back with the part even where no history was kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::unwritable;

use crate::{
    db::LabelSet,
    domain::{Backup, Job, Repository, Result, Source},
};

/// The catalogue around a part at the moment of its capture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartRecord {
    pub(crate) job: Job,
    pub(crate) backup: Backup,
    pub(crate) repository: Repository,
    /// Without its password.
    pub(crate) source: Source,
    pub(crate) labels: LabelSet,
}

impl PartRecord {
    pub(crate) fn to_value(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(unwritable)
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(unwritable)
    }
}
