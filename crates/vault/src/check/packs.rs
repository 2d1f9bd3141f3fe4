//! The packs: there, of the right length and, as far as asked for, right in every byte.

use super::{CheckReport, DamagedPack, PackDamage, ReadSubset, pack_reading::read_pack};
use crate::{
    census::Census,
    core::Core,
    error::Result,
    id::Id,
    index::IndexedPack,
    maintenance::{MaintenanceEvents, check_cancelled},
    pack::BlobKind,
    parallel::read_each,
};
use std::collections::{HashMap, HashSet};

/// Blobs that no pack gives out any more.
pub(super) type Unreadable = HashSet<(BlobKind, Id)>;

/// Looks at all packs and reads those asked for, and those that are conspicuous. The answer is what cannot be read.
pub(super) fn check(
    core: &Core,
    census: &Census,
    stored: &HashMap<Id, u64>,
    read: ReadSubset,
    events: &dyn MaintenanceEvents,
    report: &mut CheckReport,
) -> Result<Unreadable> {
    let mut wanted: Vec<bool> = Vec::with_capacity(census.packs.len());
    let mut total = 0;
    for (id, pack) in census.names().iter().zip(&census.packs) {
        let conspicuous = stored.get(id) != Some(&pack.length) || pack.contradictory;
        wanted.push(conspicuous || read.contains(id));
        if wanted.last() == Some(&true) {
            total += stored.get(id).copied().unwrap_or(0);
        }
        if pack.contradictory {
            let sentence = format!("several index files list pack {id}, each with other blobs");
            report.damaged_packs.push(DamagedPack { id: *id, what: PackDamage::Contradictory, sentence });
        }
    }
    let mut unreadable = Unreadable::new();
    if !wanted.contains(&true) {
        return Ok(unreadable);
    }
    for file in &census.files {
        check_cancelled(events)?;
        let mut packs = core.read_index_file(&file.id)?.packs;
        packs.retain(|pack| {
            let wanted = census.number(&pack.id).and_then(|number| wanted.get_mut(number as usize));
            wanted.is_some_and(std::mem::take)
        });
        let look = |pack: &IndexedPack| {
            check_cancelled(events)?;
            read_pack(core, pack, stored.get(&pack.id).copied(), &mut |_, _| Ok(()))
        };
        read_each(&packs, look, |_, reading| {
            let reading = reading?;
            report.bytes_read += reading.bytes;
            events.progress(report.bytes_read, total);
            report.damaged_packs.extend(reading.damage);
            unreadable.extend(reading.unreadable.iter().map(|blob| (blob.kind, blob.id)));
            Ok(())
        })?;
    }
    if !unreadable.is_empty() {
        find_other_copies(core, census, events, report, &mut unreadable)?;
    }
    Ok(unreadable)
}

/// Leaves out what another pack has as well: setting the damaged pack aside makes it readable again.
fn find_other_copies(
    core: &Core,
    census: &Census,
    events: &dyn MaintenanceEvents,
    report: &mut CheckReport,
    unreadable: &mut Unreadable,
) -> Result<()> {
    let damaged: HashSet<Id> = report.damaged_packs.iter().map(|pack| pack.id).collect();
    let before = unreadable.len();
    for file in &census.files {
        check_cancelled(events)?;
        for pack in core.read_index_file(&file.id)?.packs.iter().filter(|pack| !damaged.contains(&pack.id)) {
            for blob in &pack.blobs {
                unreadable.remove(&(blob.kind, blob.id));
            }
        }
    }
    if before > unreadable.len() {
        let count = before - unreadable.len();
        report.notes.push(format!("{count} blobs of damaged packs are stored in other packs as well"));
    }
    Ok(())
}
