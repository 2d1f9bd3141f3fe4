//! The metadata of the entry at hand, in memory that is used again for the next one.

use std::os::fd::AsFd;

use super::super::{
    extended::{AttributeReader, Attributes, Place},
    owners::Owners,
    status::Status,
};
use crate::{NodeMeta, NodeType, Timestamp};

pub(super) struct NodeBuffer {
    pub meta: NodeMeta,
    owners: Owners,
    attributes: AttributeReader,
}

impl NodeBuffer {
    pub fn new() -> Self {
        let owners = Owners::of_this_machine();
        let mut meta = NodeMeta::synthetic(NodeType::File, Timestamp::default());
        meta.user.push_str(owners.user(0));
        meta.group.push_str(owners.group(0));
        Self { meta, owners, attributes: AttributeReader::new() }
    }

    /// Takes all but the extended attributes from `status`.
    ///
    /// The access time is not kept: reading changes it, and a tree whose every node differs from yesterday's shares
    /// nothing with it. The time of the last modification stands in its place, as in restic.
    pub fn describe(&mut self, status: &Status, node_type: NodeType) {
        let meta = &mut self.meta;
        meta.node_type = node_type;
        meta.mode = status.mode;
        meta.modified = status.modified;
        meta.accessed = status.modified;
        meta.changed = status.changed;
        if meta.uid != status.uid {
            meta.uid = status.uid;
            meta.user.clear();
            meta.user.push_str(self.owners.user(status.uid));
        }
        if meta.gid != status.gid {
            meta.gid = status.gid;
            meta.group.clear();
            meta.group.push_str(self.owners.group(status.gid));
        }
        meta.inode = status.inode;
        meta.device = status.device;
        meta.links = status.links;
        meta.size = status.size;
        meta.extended_attributes.clear();
    }

    pub fn read_attributes<Fd: AsFd>(&mut self, place: Place<'_, Fd>) -> Attributes {
        self.attributes.read(place, self.meta.device, &mut self.meta.extended_attributes)
    }
}
