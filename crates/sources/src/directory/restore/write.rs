//! Making one entry: content first, then owner, attributes, mode and times, in an order in which none undoes another.

use std::{
    ffi::CStr,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid},
    io::Errno,
};

use super::{
    super::{
        extended::{self, Place},
        status::{failure, show},
    },
    tally::{Shortfall, Tally},
};
use crate::{ErrorKind, NodeMeta, NodeType, RandomRead, Result, SourceError, Timestamp};

/// Runs of zeros of this length, at a multiple of it, become holes; bytes.
const HOLE_BYTES: usize = 4096;
/// Set-user-id and set-group-id.
const SET_ID_BITS: u32 = 0o6000;

/// Makes a new file in `directory`; what is there already is never opened.
pub(super) fn create(directory: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| failure(errno, format!("Cannot make the file `{}`", show(path))))
}

/// Copies the whole of `content`; `advance` is told of every piece and may stop the work.
pub(super) fn fill(
    file: &OwnedFd,
    path: &[u8],
    content: &mut dyn RandomRead,
    buffer: &mut [u8],
    advance: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let length = content.length();
    let (mut at, mut written) = (0, 0);
    while at < length {
        let wanted = usize::try_from(length - at).unwrap_or(usize::MAX).min(buffer.len());
        // Full reads keep every piece but the last at a multiple of the hole's size.
        let mut filled = 0;
        while filled < wanted {
            match content.read_at(at + filled as u64, &mut buffer[filled..wanted])? {
                0 => {
                    return Err(SourceError::new(
                        ErrorKind::Store,
                        format!("The stored content of `{}` ends before its length.", show(path)),
                    )
                    .hint("Verify the backup; another one may hold the file undamaged."));
                }
                read => filled += read,
            }
        }
        if let Some(end) = write_data(file, &buffer[..filled], at).map_err(|errno| cannot_write(errno, path))? {
            written = end;
        }
        at += filled as u64;
        advance(filled as u64)?;
    }
    if written < length {
        rustix::fs::ftruncate(file, length).map_err(|errno| cannot_write(errno, path))?;
    }
    Ok(())
}

/// Writes all of `bytes` but runs of zeros to `offset`; gives where the last written byte ends.
fn write_data(file: &OwnedFd, bytes: &[u8], offset: u64) -> Result<Option<u64>, Errno> {
    static ZEROS: [u8; HOLE_BYTES] = [0; HOLE_BYTES];
    let is_hole = |block: &[u8]| block.len() == HOLE_BYTES && *block == ZEROS;
    let mut end = None;
    let mut start = 0;
    while start < bytes.len() {
        let mut stop = start;
        while stop < bytes.len() && !is_hole(&bytes[stop..bytes.len().min(stop + HOLE_BYTES)]) {
            stop = bytes.len().min(stop + HOLE_BYTES);
        }
        let mut data = &bytes[start..stop];
        let mut at = offset + start as u64;
        while !data.is_empty() {
            match rustix::io::pwrite(file, data, at) {
                Ok(0) => return Err(Errno::IO),
                Ok(count) => {
                    data = &data[count..];
                    at += count as u64;
                    end = Some(at);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        start = bytes.len().min(stop + HOLE_BYTES);
    }
    Ok(end)
}

fn cannot_write(errno: Errno, path: &[u8]) -> SourceError {
    failure(errno, format!("Cannot write the file `{}`", show(path)))
}

/// Owner, attributes, mode and times of an open file or directory.
pub(super) fn dress(handle: &OwnedFd, meta: &NodeMeta, path: &[u8], tally: &mut Tally) -> Result<()> {
    let cannot = |errno| failure(errno, format!("Cannot set the metadata of `{}`", show(path)));
    let owner = rustix::fs::fchown(handle, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)));
    let mode = mode_for(owner, meta, path, tally).map_err(cannot)?;
    // Before the mode, which may forbid it to a mere owner; after the owner, whose change drops capabilities.
    for (name, value) in &meta.extended_attributes {
        if let Err(errno) = extended::set(Place::Handle(handle), name, value) {
            tally.refused(Shortfall::Attributes, path, errno);
        }
    }
    rustix::fs::fchmod(handle, mode).map_err(cannot)?;
    rustix::fs::futimens(handle, &times(meta)).map_err(cannot)
}

/// Makes what has no content. False where it is passed over.
pub(super) fn special(
    directory: BorrowedFd<'_>,
    name: &CStr,
    meta: &NodeMeta,
    path: &[u8],
    tally: &mut Tally,
) -> Result<bool> {
    let cannot = |errno| failure(errno, format!("Cannot make `{}`", show(path)));
    let node = |file_type, device| rustix::fs::mknodat(directory, name, file_type, Mode::RUSR | Mode::WUSR, device);
    match &meta.node_type {
        NodeType::Symlink(target) => {
            let target = std::ffi::CString::new(target.as_slice()).map_err(|_| hostile(path))?;
            rustix::fs::symlinkat(&target, directory, name).map_err(cannot)?;
        }
        NodeType::Fifo => node(FileType::Fifo, 0).map_err(cannot)?,
        NodeType::Socket => {
            tally.add(Shortfall::Socket, path);
            return Ok(false);
        }
        NodeType::CharacterDevice(device) | NodeType::BlockDevice(device) => {
            let character = matches!(meta.node_type, NodeType::CharacterDevice(_));
            let file_type = if character { FileType::CharacterDevice } else { FileType::BlockDevice };
            if !rustix::process::geteuid().is_root() {
                tally.add(Shortfall::Device, path);
                return Ok(false);
            }
            match node(file_type, *device) {
                // Root of a container is not root of the machine.
                Err(errno @ Errno::PERM) => {
                    tally.refused(Shortfall::Device, path, errno);
                    return Ok(false);
                }
                answer => answer.map_err(cannot)?,
            }
        }
        NodeType::File | NodeType::Directory => return Ok(false),
    }
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    let owner =
        rustix::fs::chownat(directory, name, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)), nofollow);
    let mode = mode_for(owner, meta, path, tally).map_err(cannot)?;
    for (attribute, value) in &meta.extended_attributes {
        if let Err(errno) = extended::set(Place::Name(&directory, name), attribute, value) {
            tally.refused(Shortfall::Attributes, path, errno);
        }
    }
    if !matches!(meta.node_type, NodeType::Symlink(_)) {
        rustix::fs::chmodat(directory, name, mode, AtFlags::empty()).map_err(cannot)?;
    }
    rustix::fs::utimensat(directory, name, &times(meta), nofollow).map_err(cannot)?;
    Ok(true)
}

/// The mode to set, without setuid and setgid where the owner is not the one that they were given for.
fn mode_for(owner: Result<(), Errno>, meta: &NodeMeta, path: &[u8], tally: &mut Tally) -> Result<Mode, Errno> {
    match owner {
        Ok(()) => Ok(Mode::from_raw_mode(meta.mode)),
        Err(errno @ (Errno::PERM | Errno::INVAL | Errno::NOTSUP)) => {
            tally.refused(Shortfall::Owner, path, errno);
            Ok(Mode::from_raw_mode(meta.mode & !SET_ID_BITS))
        }
        Err(errno) => Err(errno),
    }
}

pub(super) fn times(meta: &NodeMeta) -> Timestamps {
    Timestamps { last_access: timespec(meta.accessed), last_modification: timespec(meta.modified) }
}

pub(super) fn timespec(at: Timestamp) -> Timespec {
    Timespec { tv_sec: at.seconds, tv_nsec: i64::from(at.nanoseconds.min(999_999_999)) }
}

/// A name or a target that no file system gave us.
pub(super) fn hostile(path: &[u8]) -> SourceError {
    SourceError::new(ErrorKind::Store, format!("The backup holds a name that cannot be a file's: `{}`.", show(path)))
        .hint("It was not written by a capture of a directory. Do not trust this store.")
}
