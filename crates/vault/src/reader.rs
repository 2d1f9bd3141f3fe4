//! Reading the tree of a snapshot.

use crate::{
    core::{Core, lock},
    error::{Result, VaultError},
    file_reader::FileReader,
    id::Id,
    interrupt::{Interrupt, within},
    node::{Node, NodeKind, NodeMeta, Timestamp},
    pack::BlobKind,
    small_files::SmallFiles,
    tree,
};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
};

/// Directories kept parsed: those on the way to where a walk is.
const KEPT_DIRECTORIES: usize = 16;
/// Nodes in kept directories; the newest directory is kept whatever its size.
const KEPT_NODES: usize = 100_000;

/// Parsed directories, newest last.
type KeptDirectories = VecDeque<(Id, Arc<Vec<Node>>)>;

/// Reads one snapshot's tree. Every blob is checked against its MAC and its SHA-256. Clones share their cache.
#[derive(Clone)]
pub struct TreeReader {
    core: Arc<Core>,
    root: Id,
    kept: Arc<Mutex<KeptDirectories>>,
    small_files: Arc<SmallFiles>,
    /// Of who opened it: drivers read on threads of their own.
    interrupt: Option<Interrupt>,
}

impl TreeReader {
    pub(crate) fn new(core: Arc<Core>, root: Id) -> Self {
        Self { core, root, kept: Arc::default(), small_files: Arc::default(), interrupt: Interrupt::current() }
    }

    /// The nodes of a directory, in ascending order of their names. The empty path is the root.
    pub fn list(&self, path: &[&[u8]]) -> Result<Vec<Node>> {
        let node = self.node(path)?;
        match node.subtree {
            Some(tree) => Ok(self.directory(&tree)?.to_vec()),
            None => Err(VaultError::missing(format!("{} is not a directory", shown(path)))),
        }
    }

    /// One node; [`VaultErrorKind::Missing`] when the path leads nowhere. The root has no name.
    pub fn node(&self, path: &[&[u8]]) -> Result<Node> {
        self.find(path)?.ok_or_else(|| VaultError::missing(format!("the snapshot does not hold {}", shown(path))))
    }

    /// One node, if it is there.
    pub(crate) fn find(&self, path: &[&[u8]]) -> Result<Option<Node>> {
        let mut node = Node {
            name: Vec::new(),
            meta: NodeMeta::synthetic(NodeKind::Directory, Timestamp::default()),
            content: Arc::default(),
            subtree: Some(self.root),
        };
        for name in path {
            let Some(tree) = node.subtree else { return Ok(None) };
            let nodes = self.directory(&tree)?;
            match nodes.binary_search_by(|node| node.name.as_slice().cmp(name)) {
                Ok(position) => node = nodes[position].clone(),
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// Opens the content of a file node.
    pub fn open(&self, node: &Node) -> Result<FileReader> {
        within(self.interrupt.clone(), || self.open_file(node))
    }

    fn open_file(&self, node: &Node) -> Result<FileReader> {
        let name = || String::from_utf8_lossy(&node.name).into_owned();
        if node.meta.kind != NodeKind::File {
            return Err(VaultError::missing(format!("{:?} is not a file", name())));
        }
        let reader = FileReader::new(Arc::clone(&self.core), Arc::clone(&node.content))
            .map_err(|error| error.during(&format!("the file {:?} cannot be read", name())))?;
        if reader.length() != node.meta.size {
            return Err(VaultError::damaged(format!(
                "the file {:?} has {} bytes, its blobs have {}",
                name(),
                node.meta.size,
                reader.length()
            )));
        }
        Ok(match self.small_files.take(&self.core, node, || self.directory_of(node)) {
            Some(blobs) => reader.with_blobs(blobs),
            None => reader,
        })
    }

    /// The directory that a node was listed from, newest first, and its place there.
    fn directory_of(&self, node: &Node) -> Option<(Arc<Vec<Node>>, usize)> {
        lock(&self.kept).iter().rev().find_map(|(_, nodes)| {
            let position = nodes.binary_search_by(|known| known.name.cmp(&node.name)).ok()?;
            Arc::ptr_eq(&nodes.get(position)?.content, &node.content).then(|| (Arc::clone(nodes), position))
        })
    }

    fn directory(&self, id: &Id) -> Result<Arc<Vec<Node>>> {
        {
            let mut kept = lock(&self.kept);
            if let Some(position) = kept.iter().rposition(|(kept, _)| kept == id)
                && let Some(entry) = kept.remove(position)
            {
                let nodes = Arc::clone(&entry.1);
                kept.push_back(entry);
                return Ok(nodes);
            }
        }
        let json = within(self.interrupt.clone(), || self.core.load(BlobKind::Tree, id))?;
        let nodes = Arc::new(tree::parse(id, &json)?);
        let mut kept = lock(&self.kept);
        kept.push_back((*id, Arc::clone(&nodes)));
        while kept.len() > 1
            && (kept.len() > KEPT_DIRECTORIES || kept.iter().map(|(_, nodes)| nodes.len()).sum::<usize>() > KEPT_NODES)
        {
            kept.pop_front();
        }
        Ok(nodes)
    }
}

/// A path for a sentence.
fn shown(path: &[&[u8]]) -> String {
    let parts: Vec<_> = path.iter().map(|name| String::from_utf8_lossy(name)).collect();
    format!("\"/{}\"", parts.join("/"))
}

impl fmt::Debug for TreeReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TreeReader({})", self.root)
    }
}
