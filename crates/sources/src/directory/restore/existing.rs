//! What stands at the target already, compared with what the backup has.

use std::{
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{FileType, Mode},
    io::Errno,
};

use super::super::{
    extended::{self, AttributeReader, Place},
    names::as_c_str,
    status::{Status, open_file, status_at, status_of},
};
use crate::{NodeMeta, NodeType, RandomRead, Result, Timestamp};

/// Compares nodes; owns the buffers for it.
pub(super) struct Comparer {
    attributes: AttributeReader,
    found: Vec<(Vec<u8>, Vec<u8>)>,
    stored: Vec<u8>,
    existing: Vec<u8>,
    privileged: bool,
}

/// Bytes compared at a time.
const COMPARE_BUFFER_BYTES: usize = 256 * 1024;

impl Comparer {
    pub fn new() -> Self {
        Self {
            attributes: AttributeReader::new(),
            found: Vec::new(),
            stored: vec![0; COMPARE_BUFFER_BYTES],
            existing: vec![0; COMPARE_BUFFER_BYTES],
            privileged: rustix::process::geteuid().is_root(),
        }
    }

    /// True when metadata differs in something that a restore by us would set.
    pub fn metadata_differs(&mut self, handle: Place<'_, impl AsFd>, status: &Status, meta: &NodeMeta) -> bool {
        let link = matches!(meta.node_type, NodeType::Symlink(_));
        if (!link && status.mode != meta.mode) || status.modified != meta.modified {
            return true;
        }
        // Without the right to give files away the owner stays what it is.
        if self.privileged && (status.uid != meta.uid || status.gid != meta.gid) {
            return true;
        }
        self.attributes.read(handle, status.device, &mut self.found);
        let mut wanted: Vec<_> = meta.extended_attributes.iter().collect();
        wanted.sort_unstable();
        !wanted.into_iter().eq(self.found.iter())
    }

    /// True when the file `name` holds exactly `content`.
    pub fn same_content(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        content: &mut dyn RandomRead,
    ) -> Result<bool> {
        let Ok(file) = open_file(directory, name, false) else { return Ok(false) };
        let length = content.length();
        if status_of(&file).map(|status| (status.file_type, status.size)) != Ok((FileType::RegularFile, length)) {
            return Ok(false);
        }
        let mut at = 0;
        while at < length {
            let wanted = usize::try_from(length - at).unwrap_or(usize::MAX).min(self.stored.len());
            let count = content.read_at(at, &mut self.stored[..wanted])?;
            if count == 0 || !read_full(&file, &mut self.existing[..count], at) {
                return Ok(false);
            }
            if self.stored[..count] != self.existing[..count] {
                return Ok(false);
            }
            at += count as u64;
        }
        Ok(true)
    }

    /// True when a link, fifo, socket or device is what the backup says.
    pub fn same_special(&self, directory: BorrowedFd<'_>, name: &CStr, status: &Status, meta: &NodeMeta) -> bool {
        match &meta.node_type {
            NodeType::Symlink(target) => rustix::fs::readlinkat(directory, name, Vec::new())
                .is_ok_and(|found| found.as_bytes() == target.as_slice()),
            NodeType::Fifo => status.file_type == FileType::Fifo,
            NodeType::Socket => status.file_type == FileType::Socket,
            NodeType::CharacterDevice(device) => {
                status.file_type == FileType::CharacterDevice && status.special_device == *device
            }
            NodeType::BlockDevice(device) => {
                status.file_type == FileType::BlockDevice && status.special_device == *device
            }
            NodeType::File | NodeType::Directory => false,
        }
    }
}

fn read_full(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> bool {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::pread(file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => return false,
            Ok(read) => filled += read,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Gives the directory `to` the owner, attributes, mode and time of `from`, as far as we may.
pub(super) fn copy_metadata(from: &OwnedFd, to: BorrowedFd<'_>, status: &Status) -> Result<(), Errno> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(status.uid), rustix::fs::Gid::from_raw(status.gid));
    match rustix::fs::fchown(to, Some(uid), Some(gid)) {
        Ok(()) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let mut reader = AttributeReader::new();
    let (mut wanted, mut found) = (Vec::new(), Vec::new());
    reader.read(Place::Handle(from), status.device, &mut wanted);
    reader.read(Place::Handle(&to), status.device, &mut found);
    for (name, _) in found.iter().filter(|(name, _)| wanted.iter().all(|(other, _)| other != name)) {
        // Attributes that only root or the kernel may touch stay.
        let _ = extended::remove(&to, name);
    }
    for (name, value) in &wanted {
        let _ = extended::set(Place::Handle(&to), name, value);
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(status.mode))?;
    set_time(to, status.modified)
}

pub(super) fn set_time(directory: BorrowedFd<'_>, modified: Timestamp) -> Result<(), Errno> {
    let time = super::write::timespec(modified);
    rustix::fs::futimens(directory, &rustix::fs::Timestamps { last_access: time, last_modification: time })
}

/// The entry `name` (ending with NUL) of a directory, if it exists.
pub(super) fn look(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Status>, Errno> {
    match status_at(directory, as_c_str(name)) {
        Ok(status) => Ok(Some(status)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
