//! Healing: taking packs out of the index that cannot be read any more, so that the next backup stores their blobs anew.

use super::{index_writer::IndexWriter, repacker::Repacker};
use crate::{
    backend::FileKind,
    capture::VerifyOptions,
    census::{Census, stored_packs},
    check::pack_reading::read_pack,
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    index_wire::IndexFile,
    lock::LockMode,
    maintenance::{MaintenanceEvents, check_cancelled, working_memory},
    pack::BlobKind,
    snapshot,
    vault::Vault,
    verify,
};
use serde::Serialize;
use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

/// How long to wait for others' locks.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// What was set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// Packs that no index lists any more. Their files stay until a prune finds that nothing is missing that they may hold.
    pub packs: Vec<Id>,
    /// Packs that were named and turned out to be whole, or that no index lists; nothing was done to them.
    pub left_alone: Vec<Id>,
    /// Blobs copied from damaged packs into new ones.
    pub blobs_saved: u64,
    /// Their bytes as stored.
    pub bytes_saved: u64,
    /// Blobs that no pack gives out any more. The next backup whose source still has them stores them again.
    pub blobs_lost: u64,
}

impl Vault {
    /// Takes these packs out of the index as far as they are damaged indeed: all are read first. Blobs that can still be read are copied
    /// into new packs, the others are no longer listed, so that the next backup that has them stores them again and makes older
    /// snapshots whole with that. No pack is deleted. Takes the exclusive lock.
    ///
    /// # Errors
    /// `Locked` when others work on the vault for more than a minute; `Damaged` when an index file cannot be read.
    pub fn set_aside(&self, damaged: &[Id], events: &dyn MaintenanceEvents) -> Result<SetAside> {
        let core = self.core();
        let lock = self.lock_unless(LockMode::Exclusive, LOCK_WAIT, &|| events.is_cancelled())?;
        let _memory = working_memory(&core.options.budget, events)?;
        let before: HashSet<Id> = crate::unpacked::list(&*core.backend, FileKind::Snapshot)?.into_iter().collect();
        let census = Census::take(core, events)?;
        if let Some((id, error)) = census.damaged.first() {
            return Err(VaultError::new(VaultErrorKind::Damaged, format!("index file {id} cannot be read: {error}"))
                .with_hint("run `restic rebuild-index` (`restic repair index` since 0.16), then verify the vault"));
        }
        let mut report = SetAside::default();
        let (bad, superseded) = self.judge(damaged, &census, events, &mut report)?;
        if bad.is_empty() {
            return Ok(report);
        }
        let unreadable = self.save(&bad, &superseded, &census, events, &mut report)?;
        let mut writer = IndexWriter::new(core);
        for file in &superseded {
            let IndexFile { packs, marked } = core.read_index_file(file)?;
            packs.into_iter().filter(|pack| !bad.contains(&pack.id)).try_for_each(|pack| writer.list(pack))?;
            marked.into_iter().try_for_each(|marked| writer.mark(marked))?;
        }
        writer.finish()?;
        lock.check()?;
        superseded.iter().try_for_each(|file| core.backend.remove(FileKind::Index, &file.to_hex()))?;
        core.refresh()?;
        for (kind, id) in unreadable {
            report.blobs_lost += u64::from(core.find(kind, &id)?.is_none());
        }
        self.tell_of_new_snapshots(&before, events)?;
        lock.release()?;
        report.packs.extend(bad);
        Ok(report)
    }

    /// Which of the packs are damaged indeed, and which index files list them.
    fn judge(
        &self,
        damaged: &[Id],
        census: &Census,
        events: &dyn MaintenanceEvents,
        report: &mut SetAside,
    ) -> Result<(BTreeSet<Id>, Vec<Id>)> {
        let core = self.core();
        let stored = stored_packs(core)?;
        let named: BTreeSet<Id> = damaged.iter().copied().collect();
        let (mut bad, mut sound, mut files) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for file in &census.files {
            let mut is_affected = false;
            for pack in core.read_index_file(&file.id)?.packs.iter().filter(|pack| named.contains(&pack.id)) {
                check_cancelled(events)?;
                let contradictory =
                    census.number(&pack.id).is_some_and(|number| census.packs[number as usize].contradictory);
                if !bad.contains(&pack.id) && !sound.contains(&pack.id) {
                    let reading = read_pack(core, pack, stored.get(&pack.id).copied(), &mut |_, _| Ok(()))?;
                    if reading.damage.is_some() || contradictory {
                        bad.insert(pack.id)
                    } else {
                        sound.insert(pack.id)
                    };
                }
                is_affected |= bad.contains(&pack.id);
            }
            if is_affected {
                files.push(file.id);
            }
        }
        report.left_alone = named.difference(&bad).copied().collect();
        Ok((bad, files))
    }

    /// Copies what can still be read and has its counting copy in one of the damaged packs. The answer is what cannot be read.
    fn save(
        &self,
        bad: &BTreeSet<Id>,
        files: &[Id],
        census: &Census,
        events: &dyn MaintenanceEvents,
        report: &mut SetAside,
    ) -> Result<Vec<(BlobKind, Id)>> {
        let core = self.core();
        let stored = stored_packs(core)?;
        let mut repacker = Repacker::new(core);
        let (mut saved, mut unreadable) = (HashSet::new(), HashSet::new());
        let total: u64 = bad.iter().filter_map(|id| stored.get(id)).sum();
        let mut done = 0;
        for file in files {
            for pack in core.read_index_file(file)?.packs.iter().filter(|pack| bad.contains(&pack.id)) {
                check_cancelled(events)?;
                let reading = read_pack(core, pack, stored.get(&pack.id).copied(), &mut |blob, sealed| {
                    let counts = census.find(blob.kind, &blob.id)?.is_some_and(|location| bad.contains(&location.pack));
                    if counts && saved.insert((blob.kind, blob.id)) {
                        report.blobs_saved += 1;
                        report.bytes_saved += sealed.len() as u64;
                        repacker.add(blob, sealed)?;
                    }
                    Ok(())
                })?;
                for blob in reading.unreadable {
                    if census.find(blob.kind, &blob.id)?.is_some_and(|location| bad.contains(&location.pack)) {
                        unreadable.insert((blob.kind, blob.id));
                    }
                }
                done += reading.bytes;
                events.progress(done.min(total), total);
            }
        }
        repacker.finish()?;
        Ok(unreadable.difference(&saved).copied().collect())
    }

    /// A capture that finished meanwhile looks at what it needs by itself; what it could not be told in time is told here.
    fn tell_of_new_snapshots(&self, before: &HashSet<Id>, events: &dyn MaintenanceEvents) -> Result<()> {
        let core = self.core();
        for snapshot in snapshot::read_all(core)?.snapshots.iter().filter(|snapshot| !before.contains(&snapshot.id)) {
            if let Err(error) = verify::check_tree(core, snapshot.record.tree, VerifyOptions::NOTHING_READ, &|| false) {
                events.note(&format!("snapshot {} needs what was set aside: {error}", snapshot.id));
            }
        }
        Ok(())
    }
}
