//! Which blobs the trees of all snapshots need.

use crate::{
    census::{BlobSet, Census},
    core::Core,
    error::{Result, VaultErrorKind},
    id::Id,
    index::Location,
    maintenance::{MaintenanceEvents, check_cancelled},
    node::NodeKind,
    pack::BlobKind,
    snapshot::Snapshot,
    tree,
};
use std::collections::HashSet;

/// What is needed of a census, and what is needed and not in it.
pub(super) struct Usage {
    pub census: Census,
    used: BlobSet,
    /// Bytes needed of each pack, by its number; of a blob stored twice only one copy counts.
    pub bytes: Vec<u64>,
    /// Needed, and listed by no index file of the census.
    pub unlisted: HashSet<(BlobKind, Id)>,
    /// Needed only since copying began; `None` before.
    late: Option<HashSet<(BlobKind, Id)>>,
}

impl Usage {
    pub fn new(census: Census) -> Self {
        let (used, bytes) = (census.no_blobs(), vec![0; census.packs.len()]);
        Self { census, used, bytes, unlisted: HashSet::new(), late: None }
    }

    /// From here on, what comes to be needed is remembered as late.
    pub fn begin_late(&mut self) {
        self.late.get_or_insert_default();
    }

    /// Takes in what a snapshot needs. Trees that an earlier snapshot needed are not read again.
    pub fn add(&mut self, core: &Core, snapshot: &Snapshot, events: &dyn MaintenanceEvents) -> Result<()> {
        let mut waiting = vec![snapshot.record.tree];
        while let Some(id) = waiting.pop() {
            if !self.need(BlobKind::Tree, &id)? {
                continue;
            }
            check_cancelled(events)?;
            let json =
                self.place(core, &id).and_then(|location| core.read_at(&location)).map_err(|error| {
                    match error.kind() {
                        VaultErrorKind::Damaged | VaultErrorKind::Missing => error
                            .during(&format!(
                                "nothing was pruned, because what snapshot {} needs cannot be told",
                                snapshot.id
                            ))
                            .with_hint("verify the vault; heal what is damaged, or delete the backup of this snapshot"),
                        _ => error,
                    }
                })?;
            for node in tree::parse(&id, &json)? {
                match node.meta.kind {
                    NodeKind::Directory => waiting.extend(node.subtree),
                    NodeKind::File => node.content.iter().try_for_each(|id| self.need(BlobKind::Data, id).map(drop))?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Notes that a blob is needed; `true` for the first time.
    fn need(&mut self, kind: BlobKind, id: &Id) -> Result<bool> {
        let Some((slot, place)) = self.census.slot(kind, id)? else { return Ok(self.unlisted.insert((kind, *id))) };
        let is_new = self.used.insert(kind, id, slot);
        if is_new {
            if let Some(bytes) = self.bytes.get_mut(place.pack as usize) {
                let entry = crate::pack::PackedBlob {
                    id: *id,
                    kind,
                    offset: 0,
                    length: place.length,
                    uncompressed: place.uncompressed,
                };
                *bytes += u64::from(place.length) + entry.entry_length() as u64;
            }
            if let Some(late) = &mut self.late {
                late.insert((kind, *id));
            }
        }
        Ok(is_new)
    }

    /// Where a tree can be read: of a snapshot that came lately, maybe in a pack that is younger than the census.
    fn place(&self, core: &Core, id: &Id) -> Result<Location> {
        match self.census.find(BlobKind::Tree, id)? {
            Some(location) => Ok(location),
            None => match self.census.find_marked(BlobKind::Tree, id)? {
                Some(location) => Ok(location),
                None => core.locate(BlobKind::Tree, id),
            },
        }
    }

    /// Whether a blob is needed and this pack has the copy that counts.
    pub fn counts_in(&self, pack: u32, kind: BlobKind, id: &Id) -> Result<bool> {
        Ok(self
            .census
            .slot(kind, id)?
            .is_some_and(|(slot, place)| place.pack == pack && self.used.contains(kind, id, slot)))
    }

    /// Whether a blob came to be needed after copying began and this pack has the copy that counts.
    pub fn is_late_in(&self, pack: u32, kind: BlobKind, id: &Id) -> Result<bool> {
        let is_late = self.late.as_ref().is_some_and(|late| late.contains(&(kind, *id)));
        Ok(is_late && self.census.slot(kind, id)?.is_some_and(|(_, place)| place.pack == pack))
    }
}
