//! Checks of a capture before its snapshot is written: levels V2 and V3; and what keeps a snapshot safe from a prune that runs meanwhile.

use crate::{
    backend::FileKind,
    capture::VerifyOptions,
    core::Core,
    crypto::fill_random,
    error::{Result, VaultError},
    id::Id,
    index::Location,
    node::{Node, NodeKind},
    pack::BlobKind,
    relist, tree,
};
use std::collections::{BTreeSet, HashSet};

/// Walks the tree through the normal read path and proves that it is whole: every tree opens, every blob of every file is indexed, and the
/// lengths add up to the size of the file. Packs that it needs and that a prune has marked for removal meanwhile are listed again. Then
/// reads some blobs back from the store. The answer is how many.
pub(crate) fn check_tree(
    core: &Core,
    root: Id,
    options: VerifyOptions,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<usize> {
    let mut walk = Walk {
        core,
        is_cancelled,
        seen: HashSet::new(),
        discarded: HashSet::new(),
        marked: BTreeSet::new(),
        sample: Sample::new(options.random_blobs)?,
    };
    walk.tree(root)?;
    relist::list_again(core, &walk.marked)?;
    let mut bytes = 0;
    let mut verified = 0;
    for id in walk.sample.chosen {
        let length = u64::from(core.locate(BlobKind::Data, &id)?.blob.plain_length());
        if bytes + length > options.max_bytes {
            continue;
        }
        if is_cancelled() {
            return Err(VaultError::cancelled());
        }
        core.load_uncached(BlobKind::Data, &id)?;
        bytes += length;
        verified += 1;
    }
    Ok(verified)
}

struct Walk<'a> {
    core: &'a Core,
    is_cancelled: &'a dyn Fn() -> bool,
    seen: HashSet<Id>,
    /// Packs that the machine was asked to forget, so that their trees come from the store.
    discarded: HashSet<Id>,
    /// Packs that hold something of this tree and are marked for removal.
    marked: BTreeSet<Id>,
    sample: Sample,
}

impl Walk<'_> {
    fn locate(&mut self, kind: BlobKind, id: &Id) -> Result<Location> {
        if let Some(location) = self.core.find(kind, id)? {
            return Ok(location);
        }
        let location = self.core.locate(kind, id)?;
        self.marked.insert(location.pack);
        Ok(location)
    }

    /// Depth-first with a stack of ids, so that a deep tree cannot exhaust the thread's stack.
    fn tree(&mut self, root: Id) -> Result<()> {
        let mut waiting = vec![root];
        while let Some(id) = waiting.pop() {
            if !self.seen.insert(id) {
                continue;
            }
            if (self.is_cancelled)() {
                return Err(VaultError::cancelled());
            }
            let pack = self.locate(BlobKind::Tree, &id)?.pack;
            if self.discarded.insert(pack) {
                self.core.backend.discard_cache(FileKind::Pack, &pack.to_hex());
            }
            let json = self.core.load(BlobKind::Tree, &id)?;
            for node in tree::parse(&id, &json)? {
                match node.meta.kind {
                    NodeKind::Directory => waiting.extend(node.subtree),
                    NodeKind::File => self.file(&node)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, node: &Node) -> Result<()> {
        let mut length = 0_u64;
        for id in node.content.iter() {
            length += u64::from(self.locate(BlobKind::Data, id)?.blob.plain_length());
            self.sample.offer(*id);
        }
        if length != node.meta.size {
            return Err(VaultError::damaged(format!(
                "the file {:?} has {} bytes, its blobs have {length}",
                String::from_utf8_lossy(&node.name),
                node.meta.size
            )));
        }
        Ok(())
    }
}

/// A random choice among things whose number is not known beforehand; each has the same chance.
struct Sample {
    chosen: Vec<Id>,
    limit: usize,
    offered: u64,
    random: u64,
}

impl Sample {
    fn new(limit: usize) -> Result<Self> {
        let mut seed = [0; 8];
        fill_random(&mut seed)?;
        Ok(Self { chosen: Vec::new(), limit, offered: 0, random: u64::from_le_bytes(seed) | 1 })
    }

    fn offer(&mut self, id: Id) {
        self.offered += 1;
        if self.chosen.len() < self.limit {
            self.chosen.push(id);
            return;
        }
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let place = self.random % self.offered;
        if let Some(chosen) = usize::try_from(place).ok().and_then(|place| self.chosen.get_mut(place)) {
            *chosen = id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_keeps_its_limit_and_reaches_late_offers() {
        let mut sample = Sample::new(10).unwrap();
        let ids: Vec<Id> = (0..1000_u32).map(|number| Id::of(&number.to_le_bytes())).collect();
        ids.iter().for_each(|id| sample.offer(*id));
        assert_eq!(sample.chosen.len(), 10);
        assert!(sample.chosen.iter().any(|id| ids[10..].contains(id)));
        let mut none = Sample::new(0).unwrap();
        none.offer(ids[0]);
        assert!(none.chosen.is_empty());
    }
}
