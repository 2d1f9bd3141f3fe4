//! Looking at the whole vault: what lies there, what is needed, and what shall become of it.

use super::{
    PruneOptions, PrunePlan,
    decision::{Decision, Fate, MarkFate},
    usage::Usage,
};
use crate::{
    census::{Census, stored_packs},
    core::Core,
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    maintenance::MaintenanceEvents,
    snapshot::{self, Snapshot},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// See the module.
pub(super) struct Survey {
    pub core: Arc<Core>,
    pub stored: HashMap<Id, u64>,
    /// Snapshots taken into account.
    pub seen: HashSet<Id>,
    pub usage: Usage,
    pub decision: Decision,
}

impl Survey {
    /// Reads all indexes and all trees.
    pub fn take(core: &Arc<Core>, options: &PruneOptions, events: &dyn MaintenanceEvents) -> Result<Self> {
        // Writers go the other way: a pack that is listed here and in no index yet is only marked, a snapshot's blobs are listed before it.
        let stored = stored_packs(core)?;
        let snapshots = readable_snapshots(core)?;
        let census = Census::take(core, events)?;
        if let Some((id, error)) = census.damaged.first() {
            let sentence = format!("nothing was pruned, because index file {id} cannot be read: {error}");
            return Err(VaultError::new(VaultErrorKind::Damaged, sentence)
                .with_hint("run `restic rebuild-index` (`restic repair index` since 0.16), then verify the vault"));
        }
        let mut usage = Usage::new(census);
        core.cache.forget();
        for snapshot in &snapshots {
            usage.add(core, snapshot, events)?;
        }
        let seen = snapshots.iter().map(|snapshot| snapshot.id).collect();
        let decision = Decision::make(core, &usage, &stored, options)?;
        Ok(Self { core: Arc::clone(core), stored, seen, usage, decision })
    }

    /// Takes in snapshots that came since; they are given back too.
    pub fn add_new_snapshots(&mut self, events: &dyn MaintenanceEvents) -> Result<Vec<Snapshot>> {
        self.core.refresh()?;
        let mut snapshots = readable_snapshots(&self.core)?;
        snapshots.retain(|snapshot| self.seen.insert(snapshot.id));
        for snapshot in &snapshots {
            self.usage.add(&self.core, snapshot, events)?;
        }
        Ok(snapshots)
    }

    /// The figures of the decision.
    pub fn plan(&self) -> PrunePlan {
        let Decision { packs, marks, orphans, notes, .. } = &self.decision;
        let mut plan = PrunePlan { snapshots: self.seen.len() as u64, notes: notes.clone(), ..PrunePlan::default() };
        for ((fate, listed), used) in packs.iter().zip(&self.usage.census.packs).zip(&self.usage.bytes) {
            plan.used_bytes += used;
            plan.unused_bytes += listed.length.saturating_sub(*used);
            match fate {
                Fate::Keep => plan.keep.add(listed.length),
                Fate::Repack => {
                    plan.repack.add(listed.length);
                    plan.copied_bytes += used;
                }
                Fate::Mark => plan.mark.add(listed.length),
                Fate::Drop => plan.dropped_marks += 1,
            }
        }
        for (id, fate) in marks {
            let bytes = self.stored.get(id).copied().unwrap_or(0);
            match fate {
                MarkFate::Wait => {
                    plan.waiting.add(bytes);
                    let since = self.usage.census.marks.get(id).and_then(|mark| mark.time);
                    plan.waiting_since = plan.waiting_since.into_iter().chain(since).min();
                }
                MarkFate::Recover => plan.recover.add(bytes),
                MarkFate::Delete => plan.delete.add(bytes),
                MarkFate::Drop => plan.dropped_marks += 1,
            }
        }
        for (id, fate) in orphans {
            let bytes = self.stored.get(id).copied().unwrap_or(0);
            match fate {
                MarkFate::Recover => plan.recover.add(bytes),
                MarkFate::Wait | MarkFate::Delete | MarkFate::Drop => plan.mark.add(bytes),
            }
        }
        plan
    }
}

/// All snapshots; one that cannot be read might need anything.
fn readable_snapshots(core: &Core) -> Result<Vec<Snapshot>> {
    let list = snapshot::read_all(core)?;
    match list.damaged.into_iter().next() {
        None => Ok(list.snapshots),
        Some(damaged) => {
            let doing = format!("nothing was pruned, because it cannot be told what snapshot {} needs", damaged.id);
            Err(damaged.error.during(&doing).with_hint("delete the backup of this snapshot, or restore its file"))
        }
    }
}
