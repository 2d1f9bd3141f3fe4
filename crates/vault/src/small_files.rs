//! Reading ahead from file to file: who opens the files of a directory one after the other finds the next small ones opened already.
//!
//! A restore of many small files would else fetch, decrypt and write in turns on one thread. Groups are fetched by the read pool as far
//! as the budget allows, and given back when somebody waits for the budget.

use crate::{
    budget::{Permit, Reclaim},
    core::{Core, lock},
    error::Result,
    id::Id,
    node::{Node, NodeKind},
    read_group::load_group,
};
use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::{Arc, Mutex, Weak, mpsc},
};

/// Files above this length (bytes) read ahead by themselves.
const MAX_FILE: u64 = 256 << 10;
/// Plain bytes and files of one group.
const GROUP_BYTES: u64 = 1 << 20;
const GROUP_FILES: usize = 128;
/// How many files behind the furthest one still belong to the same walk.
const OUT_OF_ORDER: usize = 64;

type Blobs = HashMap<Id, Arc<Vec<u8>>>;

/// The state of one reader's walk.
#[derive(Default)]
pub(crate) struct SmallFiles {
    walk: Mutex<Walk>,
}

#[derive(Default)]
struct Walk {
    registered: bool,
    directory: Option<Arc<Vec<Node>>>,
    /// The file that would come next.
    cursor: usize,
    /// First file that no group covers.
    planned: usize,
    ready: Blobs,
    /// The group before.
    before: Blobs,
    coming: VecDeque<Group>,
}

struct Group {
    files: Range<usize>,
    blobs: mpsc::Receiver<Result<Blobs>>,
    _permit: Permit,
}

impl SmallFiles {
    /// The plain blobs of a file that was read ahead; `None` when it was not. `find` gives the directory that holds a node, and its place.
    pub fn take(
        self: &Arc<Self>,
        core: &Arc<Core>,
        node: &Node,
        find: impl FnOnce() -> Option<(Arc<Vec<Node>>, usize)>,
    ) -> Option<Vec<Arc<Vec<u8>>>> {
        if node.content.is_empty() || node.meta.size > MAX_FILE {
            return None;
        }
        let mut walk = lock(&self.walk);
        if !walk.registered {
            walk.registered = true;
            let weak: Weak<Self> = Arc::downgrade(self);
            core.options.budget.register(weak);
        }
        let position = match walk.position(node) {
            Some(position) => position,
            None => {
                let (directory, position) = find()?;
                *walk = Walk {
                    registered: true,
                    directory: Some(directory),
                    cursor: position,
                    planned: position + 1,
                    ..Walk::default()
                };
                // The first file of a directory may be the only one that is wanted.
                walk.cursor += 1;
                return None;
            }
        };
        // Files may be left out on the way, and several threads of one restore come a little out of order. Going far back or ahead is
        // another walk.
        let in_sequence = position + OUT_OF_ORDER >= walk.cursor && position <= walk.planned.max(walk.cursor);
        if in_sequence {
            walk.cursor = walk.cursor.max(position + 1);
            walk.plan(core);
        } else {
            walk.cursor = position + 1;
            walk.planned = position + 1;
            walk.coming.clear();
        }
        walk.receive(position);
        node.content.iter().map(|id| walk.ready.get(id).or_else(|| walk.before.get(id)).cloned()).collect()
    }
}

impl Walk {
    /// Where a node is in the current directory. Its content is the very same list, when it came from there.
    fn position(&self, node: &Node) -> Option<usize> {
        let directory = self.directory.as_ref()?;
        let is_it =
            |position: usize| directory.get(position).is_some_and(|known| Arc::ptr_eq(&known.content, &node.content));
        (self.cursor.saturating_sub(4)..self.cursor + 4).find(|position| is_it(*position)).or_else(|| {
            let position = directory.binary_search_by(|known| known.name.cmp(&node.name)).ok()?;
            is_it(position).then_some(position)
        })
    }

    fn receive(&mut self, position: usize) {
        while self.coming.front().is_some_and(|group| group.files.end <= position) {
            self.coming.pop_front();
        }
        if self.coming.front().is_some_and(|group| group.files.start <= position)
            && let Some(group) = self.coming.pop_front()
        {
            // A failure is met again, and reported, when the file is read.
            let ready = group.blobs.recv().ok().and_then(Result::ok).unwrap_or_default();
            self.before = std::mem::replace(&mut self.ready, ready);
        }
    }

    fn plan(&mut self, core: &Arc<Core>) {
        let Some(directory) = self.directory.clone() else { return };
        self.planned = self.planned.max(self.cursor);
        while self.coming.len() < core.options.workers.max(1) && self.planned < directory.len() {
            let start = self.planned;
            let (mut end, mut bytes) = (start, 0);
            let mut ids = Vec::new();
            for node in &directory[start..] {
                let small = node.meta.kind != NodeKind::File || node.meta.size <= MAX_FILE;
                if !small || bytes >= GROUP_BYTES || end - start >= GROUP_FILES {
                    break;
                }
                ids.extend(node.content.iter().copied());
                bytes += node.meta.size;
                end += 1;
            }
            if end == start {
                // A large file: go on behind it.
                self.planned += 1;
                continue;
            }
            let Some(permit) = core.options.budget.try_acquire(bytes) else { return };
            self.planned = end;
            let (sender, blobs) = mpsc::sync_channel(1);
            let core_of_task = Arc::clone(core);
            self.coming.push_back(Group { files: start..end, blobs, _permit: permit });
            core.pool.run(Box::new(move || {
                let loaded = load_group(&core_of_task, &ids).map(|blobs| ids.into_iter().zip(blobs).collect());
                // Nobody waits any more when the walk has gone elsewhere.
                let _ = sender.send(loaded);
            }));
        }
    }
}

impl Reclaim for SmallFiles {
    fn reclaim(&self) {
        // A walk that waits for its group right now holds the lock; it will give its permits back without being asked.
        if let Ok(mut walk) = self.walk.try_lock() {
            walk.planned = walk.cursor;
            let taken = std::mem::take(&mut walk.coming);
            drop(walk);
            drop(taken);
        }
    }
}
