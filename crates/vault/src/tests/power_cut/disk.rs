//! A disk as POSIX promises it, no better: content lasts when the file was synced, names when their directory was.

use crate::backend::recorder::Record;
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

type Names = BTreeMap<OsString, usize>;

enum Node {
    File {
        bytes: Arc<[u8]>,
        durable: bool,
    },
    Directory {
        durable: Names,
        /// What has happened to names since the last sync.
        pending: Vec<(OsString, Option<usize>)>,
    },
}

/// What a power cut makes of what is not durable.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// Nothing of it has reached the disk.
    Lost,
    /// All names have, no content: files are as long as they should be and full of zeros.
    NamesAlone,
    /// Every name that could be there is: removals are undone, new names have come.
    Resurrected,
    /// Every name that could be gone is, and files are empty.
    Vanished,
    /// All names have reached the disk but those in directories called so, which are as they were.
    Behind(&'static str),
    /// Each name and each file by chance, out of this seed.
    Chance(u64),
}

/// What is left of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Left {
    Directory,
    Whole(usize),
    Zeros(usize),
    /// The first part, the rest is cut off.
    Cut(usize, usize),
}

/// All names that a power cut leaves, relative to the disk.
pub type Survivors = BTreeMap<PathBuf, Left>;

pub struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
}

impl Disk {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), nodes: vec![Node::Directory { durable: Names::new(), pending: Vec::new() }] }
    }

    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Write(path, bytes) => {
                let id = self.add(Node::File { bytes: Arc::clone(bytes), durable: false });
                self.name(path, Some(id));
            }
            Record::SyncFile(path) => {
                let id = self.find(path);
                let Node::File { durable, .. } = &mut self.nodes[id] else { panic!("{path:?} is no file") };
                *durable = true;
            }
            Record::Rename(from, to) => {
                let id = self.find(from);
                self.name(from, None);
                self.name(to, Some(id));
            }
            Record::Link(from, to) => {
                let id = self.find(from);
                self.name(to, Some(id));
            }
            Record::Remove(path) | Record::RemoveTree(path) => self.name(path, None),
            Record::MakeDirectory(path) => {
                let id = self.add(Node::Directory { durable: Names::new(), pending: Vec::new() });
                self.name(path, Some(id));
            }
            Record::SyncDirectory(path) => {
                let id = self.find(path);
                let Node::Directory { durable, pending } = &mut self.nodes[id] else { panic!("{path:?} is no folder") };
                for (name, node) in pending.drain(..) {
                    match node {
                        Some(node) => durable.insert(name, node),
                        None => durable.remove(&name),
                    };
                }
            }
            Record::Mark(_) => {}
        }
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn look_up(&self, directory: usize, name: &OsStr) -> Option<usize> {
        let Node::Directory { durable, pending } = &self.nodes[directory] else { return None };
        let latest = pending.iter().rev().find(|(pending, _)| pending == name);
        latest.map_or_else(|| durable.get(name).copied(), |(_, node)| *node)
    }

    fn find(&self, path: &Path) -> usize {
        let parts = path.strip_prefix(&self.root).unwrap().components();
        parts.fold(0, |directory, part| {
            self.look_up(directory, part.as_os_str()).unwrap_or_else(|| panic!("{path:?} was never made"))
        })
    }

    fn name(&mut self, path: &Path, node: Option<usize>) {
        let parent = self.find(path.parent().unwrap());
        let Node::Directory { pending, .. } = &mut self.nodes[parent] else { panic!("{path:?} lies in no folder") };
        pending.push((path.file_name().unwrap().to_owned(), node));
    }

    /// What is left when the power goes now.
    pub fn cut(&self, fate: Fate) -> Survivors {
        let mut chance = Chance(if let Fate::Chance(seed) = fate { seed } else { 0 });
        let mut left = Survivors::new();
        let mut waiting = vec![(0, PathBuf::new())];
        while let Some((directory, path)) = waiting.pop() {
            let Node::Directory { durable, pending } = &self.nodes[directory] else { continue };
            let mut histories: BTreeMap<&OsString, Vec<Option<usize>>> =
                durable.iter().map(|(name, node)| (name, vec![Some(*node)])).collect();
            for (name, node) in pending {
                histories.entry(name).or_insert_with(|| vec![None]).push(*node);
            }
            for (name, history) in histories {
                let chosen = match fate {
                    Fate::Lost => history[0],
                    Fate::NamesAlone => history[history.len() - 1],
                    Fate::Resurrected => history.iter().rev().find_map(|node| *node),
                    Fate::Vanished => history.iter().copied().min().flatten(),
                    Fate::Behind(behind) if path.ends_with(behind) => history[0],
                    Fate::Behind(_) => history[history.len() - 1],
                    Fate::Chance(_) => history[chance.below(history.len())],
                };
                let Some(node) = chosen else { continue };
                let path = path.join(name);
                left.insert(path.clone(), self.content(node, fate, &mut chance));
                waiting.push((node, path));
            }
        }
        left
    }

    fn content(&self, node: usize, fate: Fate, chance: &mut Chance) -> Left {
        match &self.nodes[node] {
            Node::Directory { .. } => Left::Directory,
            Node::File { durable: true, .. } => Left::Whole(node),
            Node::File { bytes, durable: false } => match fate {
                Fate::Lost | Fate::Vanished => Left::Cut(node, 0),
                Fate::NamesAlone | Fate::Resurrected | Fate::Behind(_) => Left::Zeros(node),
                Fate::Chance(_) => match chance.below(3) {
                    0 => Left::Whole(node),
                    1 => Left::Zeros(node),
                    _ => Left::Cut(node, chance.below(bytes.len().max(1))),
                },
            },
        }
    }

    /// Makes these files below `into`. Whole ones are links to one copy in `pool`: nobody changes a finished file.
    pub fn make(&self, survivors: &Survivors, pool: &Path, into: &Path) {
        fs::create_dir_all(into).unwrap();
        for (path, left) in survivors {
            let target = into.join(path);
            match left {
                Left::Directory => fs::create_dir(target).unwrap(),
                Left::Zeros(node) => fs::write(target, vec![0; self.bytes(*node).len()]).unwrap(),
                Left::Cut(node, length) => fs::write(target, &self.bytes(*node)[..*length]).unwrap(),
                Left::Whole(node) => {
                    let copy = pool.join(node.to_string());
                    if !copy.exists() {
                        fs::write(&copy, self.bytes(*node)).unwrap();
                    }
                    fs::hard_link(copy, target).unwrap();
                }
            }
        }
    }

    fn bytes(&self, node: usize) -> &[u8] {
        let Node::File { bytes, .. } = &self.nodes[node] else { panic!("node {node} is no file") };
        bytes
    }
}

/// Repeatable chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
