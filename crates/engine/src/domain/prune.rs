//! Prunes: freeing the bytes that no backup needs any more.

use super::{Attribute, RepositoryId, VaultId};

/// A prune to be made.
#[derive(Clone, Debug)]
pub struct StartPrune {
    pub of: PruneOf,
    /// Name of the plan's task, for scheduled ones.
    pub task: Option<String>,
    /// Kept with the job.
    pub job_attributes: Vec<Attribute>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneOf {
    Vault(VaultId),
    /// Its retention is applied first; then the vault that its backups lie in is pruned.
    Repository(RepositoryId),
}
