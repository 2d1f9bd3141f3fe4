//! Freeing the bytes that no snapshot needs, while backups and restores of the same installation run.
//!
//! # Two phases
//!
//! Nothing is removed by the prune that finds it unneeded. That one **marks**: it writes index files that no longer list a pack but name it
//! in rustic's field `packs_to_delete` with the time, then removes the index files that listed it. A later prune **deletes** packs that
//! have been marked for [`PruneOptions::keep_marked`] at least, were marked before [`PruneOptions::oldest_writer`] began, and are still
//! unneeded. Packs of which only a part is unneeded are **repacked**: what is needed is copied into new packs first.
//!
//! The order of one prune, in which every step is durable before the next:
//!
//! 1. The exclusive lock file is taken. It keeps out the stock restic and other installations, and other prunes. Captures and readers of
//!    the own installation (lock files with the same host name) neither wait for it nor make it wait.
//! 2. Packs, then snapshots, then the index are listed; the trees of all snapshots say what is needed.
//! 3. Needed blobs of packs that are to go are copied into new packs; new index files list these.
//! 4. Snapshots that came meanwhile are taken into account.
//! 5. New index files are written: without the packs to go, with their marks, without the marks of packs to be deleted now.
//! 6. The index files that these replace are removed.
//! 7. Snapshots are listed once more; what one needs that came after step 4 is listed again.
//! 8. The index is read once more; packs that somebody lists again are spared, the others of those to be deleted now are deleted.
//!
//! # Why a capture beside it is safe
//!
//! A capture never takes a blob for stored because it lies in a marked pack. It may have found one in a pack that is being marked. Right
//! before its snapshot is written it looks whether all it needs is listed, and lists marked packs again that it needs; right after, it
//! looks whether index files have vanished, and if so does the same again ([`crate::verify`]). If its snapshot was written before the
//! listing of step 7, that step sees it. If it was written later, the removals of step 6 were over, and the capture sees that index files
//! have vanished. So at least one of both sees the other.
//!
//! With deleting it is the same turned round: marks are dropped (6) before the index is read for the last time (8), and who lists a pack
//! again looks afterwards whether it is still marked ([`crate::relist`]). Besides, a writer that could need a marked pack began before the
//! mark, and then `oldest_writer` forbids its deletion.
//!
//! # Crashes
//!
//! A crash leaves packs in no index, packs listed twice, marks, and a lock file; the next prune tidies up all of it. One case is open to
//! the eye: a crash between steps 6 and 7 while a capture finished whose blobs step 4 did not see. Its packs are marked then and in no
//! list. Our readers read marked packs, so nothing is lost to them; the next prune lists the packs again; until then the stock restic
//! reports them missing.
//!
//! # What is never done
//!
//! A prune ends with an error and removes nothing when a snapshot, a tree or an index file cannot be read, because what it needs cannot
//! be told then; nor when a pack that is needed is damaged as far as it meets it, because another copy of what it held may lie in a pack
//! that is to go. [`Vault::set_aside`] helps there. When blobs of files are in no index any more a prune goes on, but keeps every unlisted
//! pack that may hold them, and lists it again when it is whole.
//!
//! Memory: see [`crate::census`]; one bit more for each blob, 12 bytes for each pack, two open packs (20 MiB together).

mod decision;
mod execution;
mod index_writer;
mod plan;
mod repacker;
mod set_aside;
mod survey;
mod usage;

pub use plan::{PackCount, PrunePlan, PruneReport};
pub use set_aside::SetAside;

use crate::{
    error::Result,
    lock::LockMode,
    maintenance::{MaintenanceEvents, working_memory},
    vault::Vault,
};
use chrono::{DateTime, Utc};
use execution::Execution;
use std::time::Duration;
use survey::Survey;

/// Clocks of several nodes may differ by so much.
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

/// What a prune may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PruneOptions {
    /// The time of new marks, and what old ones are compared with.
    pub now: DateTime<Utc>,
    /// A marked pack stays at least so long; a day is usual. Must be longer than a restore takes.
    pub keep_marked: Duration,
    /// When the oldest job began that still writes to this vault, on any node. Packs marked since (less five minutes, for clocks differ)
    /// are not deleted. `None` when none writes.
    pub oldest_writer: Option<DateTime<Utc>>,
    /// The unneeded share of a pack, 0 to 1, up to which it is left as it is.
    pub tolerated_unused: f64,
    /// Most bytes that are copied into new packs; the packs with the greatest unneeded share come first. `None`: no limit.
    pub max_repack_bytes: Option<u64>,
    /// How long to wait for others' locks.
    pub lock_wait: Duration,
}

impl PruneOptions {
    /// The usual: marks stay a day, a twentieth of a pack may be unneeded, copying has no limit, locks are waited for ten minutes.
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            now,
            keep_marked: Duration::from_secs(24 * 3600),
            oldest_writer: None,
            tolerated_unused: 0.05,
            max_repack_bytes: None,
            lock_wait: Duration::from_secs(600),
        }
    }
}

/// The named places of a prune, in their order, as [`MaintenanceEvents::point`] hears them.
pub const PRUNE_POINTS: [&str; 6] =
    ["prune planned", "prune repacked", "prune index written", "prune index removed", "prune settled", "prune deleted"];

impl Vault {
    /// What a prune would do now. Reads only; takes no lock.
    pub fn plan_prune(&self, options: &PruneOptions, events: &dyn MaintenanceEvents) -> Result<PrunePlan> {
        let _memory = working_memory(self.budget(), events)?;
        let survey = Survey::take(self.core(), options, events)?;
        Ok(survey.plan())
    }

    /// Frees bytes that no snapshot needs; see the module's words on how. Takes the exclusive lock itself; the caller may hold a shared
    /// one of this installation.
    ///
    /// # Errors
    /// `Locked` when others work on the vault for longer than `lock_wait`; `Damaged` when it cannot be told what is needed. What was done
    /// before an error is whole, and the next prune goes on from there.
    pub fn prune(&self, options: &PruneOptions, events: &dyn MaintenanceEvents) -> Result<PruneReport> {
        let lock = self.lock_unless(LockMode::Exclusive, options.lock_wait, &|| events.is_cancelled())?;
        let report = {
            let _memory = working_memory(self.budget(), events)?;
            self.backend().sweep()?;
            let survey = Survey::take(self.core(), options, events)?;
            Execution::new(survey, &lock, options, events).run()?
        };
        lock.release()?;
        Ok(report)
    }
}
