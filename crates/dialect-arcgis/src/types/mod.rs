//! What stands on the wire. Nothing of the engine here.

mod backup;
mod job;
mod recovery;
mod root;
mod token;

pub use backup::*;
pub use job::*;
pub use recovery::*;
pub use root::*;
pub use token::*;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use crate::errors::ErrorEnvelope;

/// `{"status": "success"}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Success {
    /// Always `success`.
    pub status: String,
}

impl Success {
    pub fn done() -> Self {
        Self { status: "success".to_owned() }
    }
}

/// Every call answers with HTTP status 200: with what was asked for, or with the error envelope.
macro_rules! answers {
    ($($name:ident = $success:ident),* $(,)?) => {$(
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
        #[serde(untagged)]
        #[allow(clippy::large_enum_variant, reason = "describes the wire; never held in numbers")]
        pub enum $name {
            Success($success),
            Error(ErrorEnvelope),
        }
    )*};
}

answers! {
    AdminRootAnswer = AdminRoot,
    DirectoryAnswer = Directory,
    TokenAnswer = Token,
    StoresAnswer = Stores,
    StoreAnswer = BackupStore,
    StatusAnswer = StatusResource,
    BackupsAnswer = Backups,
    BackupAnswer = Backup,
    SubmittedAnswer = Submitted,
    DeletedAnswer = Deleted,
    RestoreAnswer = RestoreStarted,
    JobsAnswer = Jobs,
    JobAnswer = Job,
}
