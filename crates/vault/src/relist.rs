//! Listing packs again that a prune has marked for removal, because something needs them once more.
//!
//! A pack that is listed and marked counts as listed; the next prune drops the mark. Nothing is taken from the mark but that the pack is
//! there: what it holds is read from its own header.
//!
//! A later prune may be about to remove the very same packs. It first drops their marks, then looks for index files that list them again,
//! then removes them. So whoever lists packs again looks afterwards whether they are still marked: if so, that prune, which has yet to drop
//! the marks, will see the new index file.

use crate::{
    backend::FileKind,
    core::Core,
    error::{Result, VaultError},
    id::Id,
    index::IndexedPack,
    index_wire::IndexFile,
    pack,
};
use std::collections::BTreeSet;

/// Bytes read from the end of a pack at first; enough for the header of most.
const TAIL: u64 = 64 << 10;

/// Lists these marked packs in a new index file, durably, and takes them in.
///
/// # Errors
/// `Damaged` when one of them is gone, or about to be; nothing is listed then.
pub(crate) fn list_again(core: &Core, packs: &BTreeSet<Id>) -> Result<()> {
    if packs.is_empty() {
        return Ok(());
    }
    let listed = packs.iter().map(|pack| read_header(core, pack)).collect::<Result<Vec<IndexedPack>>>()?;
    let file = IndexFile { packs: listed, marked: Vec::new() };
    let id = core.write_index_file(&file)?;
    let marks = core.fresh_marks()?;
    if let Some(gone) = packs.iter().find(|pack| !marks.contains(pack)) {
        core.backend.remove(FileKind::Index, &id.to_hex())?;
        return Err(VaultError::damaged(format!(
            "pack {gone} was removed by a prune while it came to be needed again"
        )));
    }
    tracing::info!(vault.id = %core.id, packs = packs.len(), "listed packs again that a prune had marked for removal");
    core.take_in(id, &file.packs);
    Ok(())
}

/// What a pack's own header says that it holds.
pub(crate) fn read_header(core: &Core, id: &Id) -> Result<IndexedPack> {
    let name = id.to_hex();
    let wrong = || VaultError::damaged(format!("pack {id} is too short for its header"));
    let length = core.backend.length(FileKind::Pack, &name)?;
    let first = TAIL.min(length);
    let mut tail = core.backend.read_range(FileKind::Pack, &name, length - first, first)?;
    let said = tail.last_chunk::<{ pack::TRAILER }>().map(|bytes| u32::from_le_bytes(*bytes)).ok_or_else(wrong)?;
    let wanted = u64::from(said) + pack::TRAILER as u64;
    if said > pack::MAX_HEADER || wanted > length {
        return Err(wrong());
    }
    if wanted > first {
        tail = core.backend.read_range(FileKind::Pack, &name, length - wanted, wanted)?;
    }
    let header = tail.get(tail.len() - wanted as usize..).ok_or_else(wrong)?;
    let blobs = pack::parse_tail(&core.key, id, header)?;
    if pack::file_length(&blobs) != length {
        return Err(VaultError::damaged(format!("pack {id} does not have the length that its header tells")));
    }
    Ok(IndexedPack { id: *id, blobs })
}
