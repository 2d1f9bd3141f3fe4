//! Doing what was decided, in the order that the module's head explains.

use super::{
    PRUNE_POINTS, PruneOptions, PruneReport,
    decision::{Fate, MarkFate, damaged_pack},
    index_writer::IndexWriter,
    repacker::Repacker,
    survey::Survey,
};
use crate::{
    backend::FileKind,
    capture::VerifyOptions,
    census::SMALL_INDEX,
    core::Core,
    error::{Result, VaultErrorKind},
    id::Id,
    index::{IndexedPack, Location},
    index_wire::{IndexFile, MarkedPack},
    lock::Lock,
    maintenance::{MaintenanceEvents, check_cancelled},
    pack::file_length,
    read_group::requests,
    relist::read_header,
    verify,
};
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

/// Who cannot be stopped: what has been begun there must be brought to its end, or a snapshot that came meanwhile would miss packs.
struct Deaf<'a>(&'a dyn MaintenanceEvents);

impl MaintenanceEvents for Deaf<'_> {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn progress(&self, done_bytes: u64, total_bytes: u64) {
        self.0.progress(done_bytes, total_bytes);
    }

    fn note(&self, sentence: &str) {
        self.0.note(sentence);
    }

    fn point(&self, name: &str) {
        self.0.point(name);
    }
}

/// Packs deleted between two looks at the lock.
const DELETED_PER_LOOK: usize = 64;

/// A prune under way.
pub(super) struct Execution<'a> {
    core: Arc<Core>,
    survey: Survey,
    lock: &'a Lock,
    options: &'a PruneOptions,
    events: &'a dyn MaintenanceEvents,
    report: PruneReport,
    done_bytes: u64,
}

impl<'a> Execution<'a> {
    pub fn new(survey: Survey, lock: &'a Lock, options: &'a PruneOptions, events: &'a dyn MaintenanceEvents) -> Self {
        let core = Arc::clone(&survey.core);
        let report = PruneReport { plan: survey.plan(), ..PruneReport::default() };
        Self { core, survey, lock, options, events, report, done_bytes: 0 }
    }

    pub fn run(mut self) -> Result<PruneReport> {
        for note in std::mem::take(&mut self.survey.decision.notes) {
            self.note(note);
        }
        self.events.point(PRUNE_POINTS[0]);
        if self.survey.decision.is_empty() {
            return Ok(self.report);
        }
        self.survey.usage.begin_late();
        self.repack()?;
        self.events.point(PRUNE_POINTS[1]);
        self.survey.add_new_snapshots(self.events)?;
        let superseded = self.write_index()?;
        self.events.point(PRUNE_POINTS[2]);
        check_cancelled(self.events)?;
        self.lock.check()?;
        // From here on no cancellation is listened to until the snapshots have been looked at again.
        for id in &superseded {
            self.core.backend.remove(FileKind::Index, &id.to_hex())?;
            self.report.index_files_removed += 1;
        }
        self.events.point(PRUNE_POINTS[3]);
        let mut doomed: BTreeSet<Id> = self
            .survey
            .decision
            .marks
            .iter()
            .filter(|(_, fate)| **fate == MarkFate::Delete)
            .map(|(id, _)| *id)
            .collect();
        self.settle(&mut doomed)?;
        self.events.point(PRUNE_POINTS[4]);
        self.delete(&doomed)?;
        self.events.point(PRUNE_POINTS[5]);
        Ok(self.report)
    }

    fn note(&mut self, sentence: String) {
        self.events.note(&sentence);
        self.report.notes.push(sentence);
    }

    fn progress(&mut self, bytes: u64) {
        self.done_bytes += bytes;
        let plan = &self.report.plan;
        let total = plan.copied_bytes + plan.delete.bytes;
        self.events.progress(self.done_bytes.min(total), total);
    }

    /// Copies what is needed of the packs to be repacked.
    fn repack(&mut self) -> Result<()> {
        if !self.survey.decision.packs.contains(&Fate::Repack) {
            return Ok(());
        }
        let core = Arc::clone(&self.core);
        let mut repacker = Repacker::new(&core);
        let mut seen = HashSet::new();
        for position in 0..self.survey.usage.census.files.len() {
            let file = self.survey.usage.census.files[position].id;
            for pack in core.read_index_file(&file)?.packs {
                let Some(number) = self.survey.usage.census.number(&pack.id) else { continue };
                if self.survey.decision.packs[number as usize] != Fate::Repack || !seen.insert(number) {
                    continue;
                }
                check_cancelled(self.events)?;
                let (length, used) = (file_length(&pack.blobs), self.survey.usage.bytes[number as usize]);
                self.copy(&mut repacker, number, &pack).map_err(|error| match error.kind() {
                    VaultErrorKind::Damaged | VaultErrorKind::Missing => damaged_pack(&pack.id, &error),
                    _ => error,
                })?;
                self.report.repacked.add(length);
                self.progress(used);
            }
        }
        repacker.finish()?;
        self.report.written = repacker.written;
        Ok(())
    }

    /// Copies the blobs of a pack that count in it.
    fn copy(&self, repacker: &mut Repacker<'_>, number: u32, pack: &IndexedPack) -> Result<()> {
        let mut wanted = Vec::new();
        for blob in &pack.blobs {
            if self.survey.usage.counts_in(number, blob.kind, &blob.id)? {
                wanted.push(Location { pack: pack.id, blob: *blob, pack_end: 0 });
            }
        }
        wanted.sort_unstable_by_key(|location| location.blob.offset);
        for request in requests(&wanted) {
            let (Some(first), Some(last)) = (request.first(), request.last()) else { continue };
            let start = u64::from(first.blob.offset);
            let length = u64::from(last.blob.offset) + u64::from(last.blob.length) - start;
            let bytes = self.core.backend.read_range(FileKind::Pack, &pack.id.to_hex(), start, length)?;
            for Location { blob, .. } in request {
                let begin = (u64::from(blob.offset) - start) as usize;
                let sealed = bytes.get(begin..begin + blob.length as usize).unwrap_or_default();
                self.core.decode(&pack.id, blob, sealed)?;
                repacker.add(blob, sealed)?;
            }
        }
        Ok(())
    }

    /// Writes the new index files; the answer is which ones they replace.
    fn write_index(&mut self) -> Result<Vec<Id>> {
        let core = Arc::clone(&self.core);
        let mut writer = IndexWriter::new(&core);
        let (mut superseded, mut emitted) = (Vec::new(), HashSet::new());
        for position in 0..self.survey.usage.census.files.len() {
            check_cancelled(self.events)?;
            let file = self.survey.usage.census.files[position].id;
            let content = core.read_index_file(&file)?;
            if self.is_affected(&content) {
                self.rewrite(content, &mut writer, &mut emitted)?;
                superseded.push(file);
            }
        }
        let orphans: Vec<(Id, MarkFate)> = self.survey.decision.orphans.iter().map(|(id, fate)| (*id, *fate)).collect();
        for (id, fate) in orphans {
            self.rewrite_orphan(id, fate, &mut writer)?;
        }
        writer.finish()?;
        self.report.index_files_written += writer.written.len() as u64;
        Ok(superseded)
    }

    fn is_affected(&self, file: &IndexFile) -> bool {
        let Survey { usage, decision, .. } = &self.survey;
        let goes = |pack: &IndexedPack| {
            usage.census.number(&pack.id).is_some_and(|number| decision.packs[number as usize] != Fate::Keep)
        };
        let changes = |marked: &MarkedPack| decision.marks.get(&marked.pack.id) != Some(&MarkFate::Wait);
        let is_small = decision.joins_indexes && file.blobs() < SMALL_INDEX;
        is_small || *file == IndexFile::default() || file.packs.iter().any(goes) || file.marked.iter().any(changes)
    }

    fn rewrite(&mut self, file: IndexFile, writer: &mut IndexWriter<'_>, emitted: &mut HashSet<Id>) -> Result<()> {
        for pack in file.packs {
            let Some(number) = self.survey.usage.census.number(&pack.id) else { continue };
            if !emitted.insert(pack.id) {
                continue;
            }
            match self.survey.decision.packs[number as usize] {
                Fate::Keep => writer.list(pack)?,
                Fate::Drop => {}
                Fate::Repack | Fate::Mark if self.is_needed_lately(number, &pack)? => writer.list(pack)?,
                Fate::Repack | Fate::Mark => {
                    let stored = self.survey.stored.get(&pack.id).copied();
                    let size = stored.unwrap_or_else(|| file_length(&pack.blobs));
                    self.report.marked.add(size);
                    writer.mark(MarkedPack { pack, time: Some(self.options.now), size })?;
                }
            }
        }
        for marked in file.marked {
            match self.survey.decision.marks.get(&marked.pack.id) {
                Some(MarkFate::Wait) if emitted.insert(marked.pack.id) => {
                    writer.mark(MarkedPack { time: Some(marked.time.unwrap_or(self.options.now)), ..marked })?;
                }
                Some(MarkFate::Recover) if emitted.insert(marked.pack.id) => {
                    self.report.recovered += 1;
                    writer.list(marked.pack)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a snapshot that came since needs something of a pack that was to go.
    fn is_needed_lately(&self, number: u32, pack: &IndexedPack) -> Result<bool> {
        for blob in &pack.blobs {
            if self.survey.usage.is_late_in(number, blob.kind, &blob.id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn rewrite_orphan(&mut self, id: Id, fate: MarkFate, writer: &mut IndexWriter<'_>) -> Result<()> {
        let header = match read_header(&self.core, &id) {
            Ok(header) => header,
            Err(error) if error.kind() == &VaultErrorKind::Missing => return Ok(()),
            Err(error) if error.kind() == &VaultErrorKind::Damaged && fate != MarkFate::Recover => {
                IndexedPack { id, blobs: Vec::new() }
            }
            Err(error) => return Err(error),
        };
        if fate == MarkFate::Recover {
            self.report.recovered += 1;
            return writer.list(header);
        }
        let size = self.survey.stored.get(&id).copied().unwrap_or(0);
        self.report.marked.add(size);
        writer.mark(MarkedPack { pack: header, time: Some(self.options.now), size })
    }

    /// Looks for snapshots that came since the last look, and lists again what they need; spares packs that were to be deleted.
    fn settle(&mut self, doomed: &mut BTreeSet<Id>) -> Result<()> {
        let new = self.survey.add_new_snapshots(&Deaf(self.events))?;
        let mut spared = BTreeSet::new();
        if !new.is_empty() {
            for (kind, id) in &self.survey.usage.unlisted {
                if let Some(location) = self.survey.usage.census.find_marked(*kind, id)?
                    && self.core.find(*kind, id)?.is_none()
                    && doomed.remove(&location.pack)
                {
                    spared.insert(location.pack);
                }
            }
        }
        if !spared.is_empty() {
            let packs = spared.iter().map(|id| read_header(&self.core, id)).collect::<Result<Vec<_>>>()?;
            self.core.add_index(&packs)?;
            self.report.recovered += packs.len() as u64;
        }
        for snapshot in new {
            match verify::check_tree(&self.core, snapshot.record.tree, VerifyOptions::NOTHING_READ, &|| false) {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), VaultErrorKind::Damaged | VaultErrorKind::Missing) => {
                    doomed.clear();
                    self.note(format!("snapshot {} came during the prune and is not whole: {error}", snapshot.id));
                }
                Err(error) => return Err(error),
            }
        }
        // Somebody may have listed one again after its mark was seen and before it was dropped.
        self.core.refresh()?;
        doomed.retain(|id| !self.core.lists_pack(id));
        Ok(())
    }

    fn delete(&mut self, doomed: &BTreeSet<Id>) -> Result<()> {
        for (position, id) in doomed.iter().enumerate() {
            check_cancelled(self.events)?;
            if position % DELETED_PER_LOOK == 0 {
                self.lock.check()?;
            }
            self.core.backend.remove(FileKind::Pack, &id.to_hex())?;
            let bytes = self.survey.stored.get(id).copied().unwrap_or(0);
            self.report.deleted.add(bytes);
            self.progress(bytes);
        }
        Ok(())
    }
}
