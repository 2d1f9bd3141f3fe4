//! restic's lock files that runs hold in vaults.

use super::prelude::*;

impl Database {
    /// Before the lock file is written, so that any node can remove it.
    pub async fn record_lock(&self, lock: &LockRow) -> Result<Fenced<()>> {
        let _ = (lock,);
        unfinished()
    }

    /// After the lock file is removed.
    pub async fn release_lock(&self, vault: VaultId, lock: &str) -> Result<()> {
        let _ = (vault, lock);
        unfinished()
    }

    /// Locks of runs that are over.
    pub async fn stale_locks(&self) -> Result<Vec<LockRow>> {
        unfinished()
    }
}
