//! Identity of objects: one UUID (version 7) each, never shown on a wire; wires show aliases (`naming`).

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, out)
            }
        }
    )*};
}

ids! {
    /// Live data. A source that is re-created under the same name gets a new id.
    SourceId,
    StoreId,
    VaultId,
    RepositoryId,
    PlanId,
    BackupId,
    /// One source's share of a backup; what downloads and links bind to.
    PartId,
    JobId,
    UserId,
    TokenId,
}
