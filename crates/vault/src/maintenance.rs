//! What checks, prunes and repairs have in common.

use crate::{
    budget::{MemoryBudget, Permit},
    error::{Result, VaultError},
};
use std::sync::Arc;

/// What a caller wants to hear of a piece of maintenance while it runs.
pub trait MaintenanceEvents: Send + Sync {
    /// Whether it shall stop; asked at least once for every tree, pack and index file. It then ends as cancelled, and whatever it has
    /// written by then is whole.
    fn is_cancelled(&self) -> bool;
    /// So much of the work is done, in bytes of packs.
    fn progress(&self, done_bytes: u64, total_bytes: u64);
    /// Something that a person may want to read in the job's log.
    fn note(&self, sentence: &str) {
        let _ = sentence;
    }
    /// A named place was passed; for tests that stop there.
    fn point(&self, name: &str) {
        let _ = name;
    }
}

/// Fails when the caller has asked to stop.
pub(crate) fn check_cancelled(events: &dyn MaintenanceEvents) -> Result<()> {
    if events.is_cancelled() { Err(VaultError::cancelled()) } else { Ok(()) }
}

/// What one piece of maintenance holds at most: the newest part of two indexes, two open packs and the pieces of packs being read.
const WORKING_BYTES: u64 = 64 << 20;

/// Waits for the memory that a piece of maintenance works in. It never waits for more, so that it cannot stand in its own way; half of
/// the budget always stays for others.
pub(crate) fn working_memory(budget: &Arc<MemoryBudget>, events: &dyn MaintenanceEvents) -> Result<Permit> {
    budget.acquire(WORKING_BYTES.min(budget.total() / 2), &|| events.is_cancelled())
}
