//! The trees of all snapshots, each distinct one once, and the files in them.

use super::{
    CheckReport, DamagedFile,
    file_faults::{BlobState, Fault, faults},
    packs::Unreadable,
    report::is_damage,
};
use crate::{
    backend::FileKind,
    census::{BlobSet, Census},
    core::Core,
    error::{Result, VaultError},
    id::Id,
    maintenance::{MaintenanceEvents, check_cancelled},
    node::{Node, NodeKind},
    pack::BlobKind,
    snapshot::SnapshotList,
    tree,
};
use std::collections::HashSet;

/// Damaged parts reported of one snapshot.
const MAX_FAULTS: usize = 1000;

/// Walks every snapshot.
pub(super) fn check(
    core: &Core,
    census: &Census,
    snapshots: &SnapshotList,
    unreadable: &Unreadable,
    events: &dyn MaintenanceEvents,
    report: &mut CheckReport,
) -> Result<()> {
    core.cache.forget();
    let (clean, discarded) = (census.no_blobs(), HashSet::new());
    let mut walk = Walk { core, census, unreadable, events, report, clean, discarded, from_marked: false };
    for damaged in &snapshots.damaged {
        walk.report.damaged_snapshots.push(DamagedFile {
            snapshot: damaged.id,
            path: String::new(),
            offset: 0,
            length: 0,
            sentence: damaged.error.sentence().to_owned(),
        });
    }
    let mut on_marked = 0_usize;
    for snapshot in &snapshots.snapshots {
        walk.from_marked = false;
        walk.snapshot(snapshot.id, snapshot.record.tree)?;
        on_marked += usize::from(walk.from_marked);
    }
    if on_marked > 0 {
        report.notes.push(format!(
            "{on_marked} snapshots need packs that are marked for removal; the next prune lists these packs again"
        ));
    }
    Ok(())
}

struct Walk<'a> {
    core: &'a Core,
    census: &'a Census,
    unreadable: &'a Unreadable,
    events: &'a dyn MaintenanceEvents,
    report: &'a mut CheckReport,
    /// Trees that are whole with all that is below them. Others are walked again for every path that leads to them.
    clean: BlobSet,
    /// Packs that the machine was asked to forget, so that their trees come from the store.
    discarded: HashSet<Id>,
    /// Whether the current snapshot needs something that is only in marked packs.
    from_marked: bool,
}

/// A directory on the way from the root to where the walk is.
struct Frame {
    tree: Id,
    /// Bytes of the path that belong to the directories above.
    path: usize,
    below: std::vec::IntoIter<(Vec<u8>, Id)>,
    whole: bool,
}

impl Walk<'_> {
    /// Depth-first with frames of its own, so that a deep tree cannot exhaust the thread's stack.
    fn snapshot(&mut self, snapshot: Id, root: Id) -> Result<()> {
        let mut found = Found { snapshot, path: String::new(), count: 0 };
        let mut frames = match self.enter(root, 0, &mut found)? {
            Entered::Directory(root) => vec![root],
            Entered::Whole | Entered::Broken => return Ok(()),
        };
        while let Some(frame) = frames.last_mut() {
            let Some((name, tree)) = frame.below.next() else {
                let (path, whole, tree) = (frame.path, frame.whole, frame.tree);
                frames.pop();
                found.path.truncate(path);
                if let Some(above) = frames.last_mut() {
                    above.whole &= whole;
                }
                if whole && let Some((slot, _)) = self.census.slot(BlobKind::Tree, &tree)? {
                    self.clean.insert(BlobKind::Tree, &tree, slot);
                }
                continue;
            };
            let before = found.path.len();
            found.path.push('/');
            found.path.push_str(&String::from_utf8_lossy(&name));
            match self.enter(tree, before, &mut found)? {
                Entered::Directory(below) => frames.push(below),
                Entered::Whole => found.path.truncate(before),
                Entered::Broken => {
                    found.path.truncate(before);
                    frame.whole = false;
                }
            }
        }
        Ok(())
    }

    /// Opens a tree and looks at its files.
    fn enter(&mut self, id: Id, path: usize, found: &mut Found) -> Result<Entered> {
        check_cancelled(self.events)?;
        if let Some((slot, _)) = self.census.slot(BlobKind::Tree, &id)?
            && self.clean.contains(BlobKind::Tree, &id, slot)
        {
            return Ok(Entered::Whole);
        }
        let nodes = match self.load(&id) {
            Ok(nodes) => nodes,
            Err(error) if is_damage(&error) => {
                let sentence = format!("this directory and all below it cannot be read: {error}");
                found.add(self.report, None, 0, 0, sentence);
                return Ok(Entered::Broken);
            }
            Err(error) => return Err(error),
        };
        let (mut below, mut whole) = (Vec::new(), true);
        for node in nodes {
            match (&node.meta.kind, node.subtree) {
                (NodeKind::Directory, Some(tree)) => below.push((node.name, tree)),
                (NodeKind::File, _) => whole &= self.file(&node, found)?,
                _ => {}
            }
        }
        Ok(Entered::Directory(Frame { tree: id, path, below: below.into_iter(), whole }))
    }

    fn load(&mut self, id: &Id) -> Result<Vec<Node>> {
        let location = match self.census.find(BlobKind::Tree, id)? {
            Some(location) => location,
            None => {
                let marked = self.census.find_marked(BlobKind::Tree, id)?;
                self.from_marked |= marked.is_some();
                marked.ok_or_else(|| VaultError::damaged(format!("tree {id} is in no index")))?
            }
        };
        if self.discarded.insert(location.pack) {
            self.core.backend.discard_cache(FileKind::Pack, &location.pack.to_hex());
        }
        let json = self.core.read_at(&location)?;
        self.report.bytes_read += u64::from(location.blob.length);
        tree::parse(id, &json)
    }

    /// Whether a file is whole.
    fn file(&mut self, node: &Node, found: &mut Found) -> Result<bool> {
        let mut states = Vec::with_capacity(node.content.len());
        for id in node.content.iter() {
            states.push(self.blob(id)?);
        }
        let faults = faults(states.into_iter(), node.meta.size);
        let whole = faults.is_empty();
        for Fault { offset, length, sentence } in faults {
            found.add(self.report, Some(&node.name), offset, length, sentence.to_owned());
        }
        Ok(whole)
    }

    fn blob(&mut self, id: &Id) -> Result<BlobState> {
        let location = match self.census.find(BlobKind::Data, id)? {
            Some(location) => location,
            None => match self.census.find_marked(BlobKind::Data, id)? {
                Some(location) => {
                    self.from_marked = true;
                    location
                }
                None => return Ok(BlobState::Unknown),
            },
        };
        let length = location.blob.plain_length();
        let lost = !self.unreadable.is_empty() && self.unreadable.contains(&(BlobKind::Data, *id));
        Ok(if lost { BlobState::Unreadable(length) } else { BlobState::Good(length) })
    }
}

/// What a directory turned out to be.
enum Entered {
    Directory(Frame),
    Whole,
    Broken,
}

/// Where in a snapshot the walk is, and how much it has found there.
struct Found {
    snapshot: Id,
    path: String,
    count: usize,
}

impl Found {
    fn add(&mut self, report: &mut CheckReport, name: Option<&[u8]>, offset: u64, length: u64, sentence: String) {
        self.count += 1;
        if self.count > MAX_FAULTS {
            if self.count == MAX_FAULTS + 1 {
                report.notes.push(format!("snapshot {} has more damage than is listed", self.snapshot));
            }
            return;
        }
        let name = name.map(|name| format!("/{}", String::from_utf8_lossy(name))).unwrap_or_default();
        let path = format!("{}{name}", self.path);
        let path = if path.is_empty() { "/".to_owned() } else { path };
        report.damaged_snapshots.push(DamagedFile { snapshot: self.snapshot, path, offset, length, sentence });
    }
}
