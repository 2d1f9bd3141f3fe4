//! Nodes of a snapshot's tree in plain terms; `tree` has their wire form.

use crate::id::Id;
use std::sync::Arc;

/// An instant of a file system: seconds and nanoseconds since 1970, UTC. Seconds may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file; its content stands in [`Node::content`].
    File,
    /// A directory; its entries stand in the tree [`Node::subtree`].
    Directory,
    /// Target bytes as stored by the file system, not necessarily UTF-8.
    Symlink(Vec<u8>),
    /// `st_rdev`.
    BlockDevice(u64),
    /// `st_rdev`.
    CharacterDevice(u64),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Something that only its writer knew.
    Irregular,
}

/// Everything about a node but its name and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeMeta {
    /// What the node is.
    pub kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky, as in `st_mode & 0o7777`.
    pub mode: u32,
    /// `st_mtim`
    pub modified: Timestamp,
    /// `st_atim`
    pub accessed: Timestamp,
    /// `st_ctim`
    pub changed: Timestamp,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name; empty when unknown.
    pub user: String,
    /// Group's name; empty when unknown.
    pub group: String,
    /// `st_ino`; 0 when unknown.
    pub inode: u64,
    /// `st_dev`; stored only for files with several links, whose siblings it identifies together with the inode.
    pub device: u64,
    /// Number of hard links; 0 when unknown.
    pub links: u64,
    /// Bytes. For a file that is written, the length of its stream replaces it.
    pub size: u64,
    /// Names and raw values.
    pub extended_attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl NodeMeta {
    /// Metadata of a node that no file system knows: mode 0644 (0755 for directories), owner root, all times `at`.
    pub fn synthetic(kind: NodeKind, at: Timestamp) -> Self {
        let mode = if kind == NodeKind::Directory { 0o755 } else { 0o644 };
        Self {
            kind,
            mode,
            modified: at,
            accessed: at,
            changed: at,
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            inode: 0,
            device: 0,
            links: 1,
            size: 0,
            extended_attributes: Vec::new(),
        }
    }
}

/// One entry of a stored directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Raw bytes; no `/`.
    pub name: Vec<u8>,
    /// Everything else about it.
    pub meta: NodeMeta,
    /// The blobs of a file in their order; empty for an empty file and for every other kind.
    pub content: Arc<Vec<Id>>,
    /// The tree of a directory.
    pub subtree: Option<Id>,
}
