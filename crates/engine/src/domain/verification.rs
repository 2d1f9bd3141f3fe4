//! Verification: whether what is stored is what was captured.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{BackupId, PartId, RepositoryId, SecretText, StoreId, VaultId};

/// How deep a check looks, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyLevel {
    /// Everything that is needed is there: indexes, packs with their sizes, trees, every stream's pieces.
    Structure,
    /// Packs are read whole, and every piece is opened.
    Data,
    /// Backups are read the way a restore reads them, and compared with what was recorded when they were made.
    Restore,
}

impl VerifyLevel {
    pub const ALL: [Self; 3] = [Self::Structure, Self::Data, Self::Restore];
}

/// How much of a vault's data is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadShare {
    None,
    /// The share number `part` of `of`; all numbers below `of` together are everything.
    Share {
        part: u32,
        of: u32,
    },
    All,
}

/// Most shares into which the data of a vault is divided.
pub const MOST_SHARES: u32 = 256;

/// What is checked.
#[derive(Clone, Debug)]
pub enum StartVerify {
    /// The vault's structure, and as much of its data.
    Vault { vault: VaultId, read: ReadShare },
    /// The vault in which the server keeps the backups of the repository: its structure, and as much of its data. It waits for other
    /// checks of that vault.
    VaultOf { repository: RepositoryId, read: ReadShare },
    /// The newest good backup of each of the repository's sources, read back whole.
    Repository(RepositoryId),
    /// This backup, read back whole; under its passcode where it has one.
    Backup { backup: BackupId, passcode: Option<SecretText> },
}

/// That a part's stored bytes are not what was captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartDamage {
    pub part: PartId,
    /// The least level that sees this damage.
    pub seen_by: VerifyLevel,
    pub found_at: DateTime<Utc>,
    /// For a person: which file is damaged, and where.
    pub sentence: String,
}

/// What a check is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verified {
    Vault(VaultId),
    Repository(RepositoryId),
}

/// When one level of verification last ran on a vault or a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyStatus {
    pub of: Verified,
    pub store: StoreId,
    /// Of the vault's folder or the repository, for a person.
    pub name: String,
    pub level: VerifyLevel,
    /// Last begun.
    pub attempted_at: Option<DateTime<Utc>>,
    /// Last brought to an end, whatever was found.
    pub concluded_at: Option<DateTime<Utc>>,
    /// Last found everything whole. `None`: never verified.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// Later than its rhythm allows.
    pub overdue: bool,
    pub overdue_since: Option<DateTime<Utc>>,
    /// Parts that are marked damaged now.
    pub damaged: u64,
}

/// What the server does for its vaults in a rhythm of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Care {
    Verify(VerifyLevel),
    Prune,
}

impl std::fmt::Display for Care {
    /// As a sentence names it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Verify(VerifyLevel::Structure) => "structure check",
            Self::Verify(VerifyLevel::Data) => "data check",
            Self::Verify(VerifyLevel::Restore) => "restore test",
            Self::Prune => "prune",
        })
    }
}

/// A check or a prune that should have come to its end by now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OverdueCare {
    pub care: Care,
    pub of: Verified,
    pub store: StoreId,
    /// Of the vault's folder or the repository, for a person.
    pub name: String,
    /// When it last came to its end.
    pub last: Option<DateTime<Utc>>,
    /// Its rhythm had passed twice by then.
    pub overdue_since: DateTime<Utc>,
}
