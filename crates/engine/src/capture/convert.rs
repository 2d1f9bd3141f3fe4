//! Metadata of nodes, from the sources' words to the vault's and back. Every field is named, so that a new one is an error here.

use std::sync::Arc;

use trivault_sources::{self as sources, NodeType, StoredNode};
use trivault_vault::{self as vault, Id, Node, NodeKind};

pub(crate) fn meta_to_vault(meta: &sources::NodeMeta) -> vault::NodeMeta {
    let sources::NodeMeta {
        node_type,
        mode,
        modified,
        accessed,
        changed,
        uid,
        gid,
        user,
        group,
        inode,
        device,
        links,
        size,
        extended_attributes,
    } = meta;
    vault::NodeMeta {
        kind: match node_type {
            NodeType::File => NodeKind::File,
            NodeType::Directory => NodeKind::Directory,
            NodeType::Symlink(target) => NodeKind::Symlink(target.clone()),
            NodeType::BlockDevice(device) => NodeKind::BlockDevice(*device),
            NodeType::CharacterDevice(device) => NodeKind::CharacterDevice(*device),
            NodeType::Fifo => NodeKind::Fifo,
            NodeType::Socket => NodeKind::Socket,
        },
        mode: *mode,
        modified: time_to_vault(*modified),
        accessed: time_to_vault(*accessed),
        changed: time_to_vault(*changed),
        uid: *uid,
        gid: *gid,
        user: user.clone(),
        group: group.clone(),
        inode: *inode,
        device: *device,
        links: *links,
        size: *size,
        extended_attributes: extended_attributes.clone(),
    }
}

/// `None` for what sources have no word for (written by other programs).
pub(crate) fn meta_to_source(meta: &vault::NodeMeta) -> Option<sources::NodeMeta> {
    let vault::NodeMeta {
        kind,
        mode,
        modified,
        accessed,
        changed,
        uid,
        gid,
        user,
        group,
        inode,
        device,
        links,
        size,
        extended_attributes,
    } = meta;
    let node_type = match kind {
        NodeKind::File => NodeType::File,
        NodeKind::Directory => NodeType::Directory,
        NodeKind::Symlink(target) => NodeType::Symlink(target.clone()),
        NodeKind::BlockDevice(device) => NodeType::BlockDevice(*device),
        NodeKind::CharacterDevice(device) => NodeType::CharacterDevice(*device),
        NodeKind::Fifo => NodeType::Fifo,
        NodeKind::Socket => NodeType::Socket,
        NodeKind::Irregular => return None,
    };
    Some(sources::NodeMeta {
        node_type,
        mode: *mode,
        modified: time_to_source(*modified),
        accessed: time_to_source(*accessed),
        changed: time_to_source(*changed),
        uid: *uid,
        gid: *gid,
        user: user.clone(),
        group: group.clone(),
        inode: *inode,
        device: *device,
        links: *links,
        size: *size,
        extended_attributes: extended_attributes.clone(),
    })
}

pub(crate) fn node_to_source(node: &Node) -> Option<StoredNode> {
    let Node { name, meta, content: _, subtree: _ } = node;
    Some(StoredNode { name: name.clone(), meta: meta_to_source(meta)? })
}

pub(crate) fn time_to_vault(at: sources::Timestamp) -> vault::Timestamp {
    let sources::Timestamp { seconds, nanoseconds } = at;
    vault::Timestamp { seconds, nanoseconds }
}

pub(crate) fn time_to_source(at: vault::Timestamp) -> sources::Timestamp {
    let vault::Timestamp { seconds, nanoseconds } = at;
    sources::Timestamp { seconds, nanoseconds }
}

/// An instant of the engine's, as file systems write it.
pub(crate) fn instant(at: chrono::DateTime<chrono::Utc>) -> sources::Timestamp {
    sources::Timestamp { seconds: at.timestamp(), nanoseconds: at.timestamp_subsec_nanos().min(999_999_999) }
}

pub(crate) fn content_to_source(content: &[Id]) -> Arc<Vec<[u8; 32]>> {
    Arc::new(content.iter().map(|id| *id.as_bytes()).collect())
}
