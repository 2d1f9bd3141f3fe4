//! Fetching several blobs at once: neighbours in a pack come with one request.

use crate::{
    backend::FileKind,
    core::Core,
    error::{Result, VaultError},
    id::Id,
    index::Location,
    pack::BlobKind,
};
use std::{collections::HashMap, sync::Arc};

/// Unwanted bytes between two blobs that are cheaper to read than another request.
const MAX_GAP: u32 = 64 << 10;
/// Most stored bytes of one request.
const MAX_REQUEST: u64 = 4 << 20;

/// The plain blobs in the order asked for. Blobs that occur several times are fetched once.
pub(crate) fn load_group(core: &Core, ids: &[Id]) -> Result<Vec<Arc<Vec<u8>>>> {
    if let [id] = ids {
        return Ok(vec![core.load(BlobKind::Data, id)?]);
    }
    core.with_fresh_index(|| load_several(core, ids))
}

fn load_several(core: &Core, ids: &[Id]) -> Result<Vec<Arc<Vec<u8>>>> {
    let mut found: HashMap<Id, Arc<Vec<u8>>> = HashMap::with_capacity(ids.len());
    let mut wanted = Vec::with_capacity(ids.len());
    for id in ids {
        if found.contains_key(id) {
            continue;
        }
        match core.cache.blob(id) {
            Some(blob) => {
                found.insert(*id, blob);
            }
            None => wanted.push(core.locate(BlobKind::Data, id)?),
        }
    }
    wanted.sort_unstable_by_key(|location| (location.pack, location.blob.offset));
    wanted.dedup();
    for request in requests(&wanted) {
        fetch(core, request, &mut found)?;
    }
    if ids.len() > found.len() {
        keep_repeated(core, ids, &found);
    }
    ids.iter()
        .map(|id| found.get(id).cloned().ok_or_else(|| VaultError::internal("a blob was fetched and lost")))
        .collect()
}

fn fetch(core: &Core, request: &[Location], found: &mut HashMap<Id, Arc<Vec<u8>>>) -> Result<()> {
    let (Some(first), Some(last)) = (request.first(), request.last()) else { return Ok(()) };
    let start = first.blob.offset;
    let length = u64::from(last.blob.offset) + u64::from(last.blob.length) - u64::from(start);
    let bytes = core.backend.read_range(FileKind::Pack, &first.pack.to_hex(), start.into(), length)?;
    for Location { pack, blob, .. } in request {
        let begin = (blob.offset - start) as usize;
        let sealed = bytes.get(begin..begin + blob.length as usize);
        let sealed =
            sealed.ok_or_else(|| VaultError::damaged(format!("pack {pack} is shorter than its index says")))?;
        found.insert(blob.id, Arc::new(core.decode(pack, blob, sealed)?));
    }
    Ok(())
}

/// Splits sorted places into runs that are worth one request each.
pub(crate) fn requests(wanted: &[Location]) -> impl Iterator<Item = &[Location]> {
    let mut rest = wanted;
    std::iter::from_fn(move || {
        let first = rest.first()?;
        let mut end = first.blob.offset.saturating_add(first.blob.length);
        let mut count = 1;
        for next in &rest[1..] {
            if next.pack != first.pack {
                break;
            }
            let reach = u64::from(next.blob.offset) + u64::from(next.blob.length) - u64::from(first.blob.offset);
            if next.blob.offset > end.saturating_add(MAX_GAP) || reach > MAX_REQUEST {
                break;
            }
            end = end.max(next.blob.offset.saturating_add(next.blob.length));
            count += 1;
        }
        let (run, after) = rest.split_at(count);
        rest = after;
        Some(run)
    })
}

/// A blob that occurs twice so near will occur again: pages of zeros, above all.
fn keep_repeated(core: &Core, ids: &[Id], found: &HashMap<Id, Arc<Vec<u8>>>) {
    let mut seen = std::collections::HashSet::with_capacity(ids.len());
    let mut kept = std::collections::HashSet::new();
    for id in ids {
        if !seen.insert(*id)
            && kept.insert(*id)
            && core.cache.blob(id).is_none()
            && let Some(blob) = found.get(id)
        {
            core.cache.keep(*id, blob);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::PackedBlob;

    fn at(pack: &[u8], offset: u32, length: u32) -> Location {
        let blob =
            PackedBlob { id: Id::of(&offset.to_le_bytes()), kind: BlobKind::Data, offset, length, uncompressed: None };
        Location { pack: Id::of(pack), blob, pack_end: 1 << 30 }
    }

    #[test]
    fn neighbours_share_a_request_and_distant_blobs_do_not() {
        let wanted = [
            at(b"a", 0, 100),
            at(b"a", 100, 100),
            at(b"a", 200 + MAX_GAP, 100),
            at(b"a", 301 + 2 * MAX_GAP, 100),
            at(b"b", 0, 5 << 20),
            at(b"b", 5 << 20, 10),
        ];
        let lengths: Vec<_> = requests(&wanted).map(<[Location]>::len).collect();
        assert_eq!(lengths, [3, 1, 1, 1]);
        assert_eq!(requests(&[]).count(), 0);
    }
}
