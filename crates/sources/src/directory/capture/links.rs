//! Files with several names: the content is stored with the first one that the walk meets.

use std::collections::HashMap;

/// Memory for the paths of such files; bytes. Beyond it further names are stored as files of their own.
const PATHS_LIMIT_BYTES: usize = 32 * 1024 * 1024;
/// What one entry costs beside its path, about; bytes.
const ENTRY_BYTES: usize = 128;

/// The first name of a file.
pub(super) struct FirstName {
    pub path: Vec<u8>,
    pub length: u64,
    pub crc32: u32,
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names that the walk has not met yet.
    left: u64,
}

#[derive(Default)]
pub(super) struct HardLinks {
    known: HashMap<(u64, u64), FirstName>,
    bytes: usize,
}

impl HardLinks {
    /// The first name of the file, if the walk has met it.
    pub fn find(&self, identity: (u64, u64)) -> Option<&FirstName> {
        self.known.get(&identity)
    }

    /// Remembers a file of `links` names; false when there is no room for it.
    pub fn remember(
        &mut self,
        identity: (u64, u64),
        links: u64,
        path: &[u8],
        (length, crc32): (u64, u32),
        attributes: &[(Vec<u8>, Vec<u8>)],
    ) -> bool {
        let bytes = path.len() + ENTRY_BYTES;
        if self.bytes + bytes > PATHS_LIMIT_BYTES {
            return false;
        }
        self.bytes += bytes;
        let first = FirstName {
            path: path.to_vec(),
            length,
            crc32,
            attributes: attributes.to_vec(),
            left: links.saturating_sub(1),
        };
        self.known.insert(identity, first);
        true
    }

    /// One more name was met; after the last one the file is forgotten.
    pub fn met(&mut self, identity: (u64, u64)) {
        if let Some(first) = self.known.get_mut(&identity) {
            first.left = first.left.saturating_sub(1);
            if first.left == 0 {
                self.bytes -= first.path.len() + ENTRY_BYTES;
                self.known.remove(&identity);
            }
        }
    }
}
