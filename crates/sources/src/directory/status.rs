//! What the operating system says about one entry, and the few calls that ask it.
//!
//! Nothing here resolves a path of more than one component: an entry is always named by its directory's open handle and
//! its own name, and links are never followed. So a tree that others change meanwhile cannot lead us out of it.

use std::{
    ffi::CStr,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, Statx, StatxAttributes, StatxFlags, StatxTimestamp, makedev},
    io::Errno,
};

use crate::{ErrorKind, SourceError, Timestamp};

/// One entry's metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub file_type: FileType,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Bytes that take up space on the disk.
    pub allocated: u64,
    pub device: u64,
    pub inode: u64,
    pub links: u64,
    /// Of a device node.
    pub special_device: u64,
    pub modified: Timestamp,
    pub changed: Timestamp,
    /// The `nodump` flag of the file system.
    pub no_dump: bool,
    /// The entry is where a file system is mounted.
    pub mount_root: bool,
}

impl Status {
    /// Device and inode: which thing this is, whatever it is called.
    pub fn identity(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    /// True when nothing says that the content changed between the two.
    pub fn same_content(&self, other: &Self) -> bool {
        self.identity() == other.identity()
            && self.file_type == other.file_type
            && self.size == other.size
            && self.modified == other.modified
            && self.changed == other.changed
    }

    pub fn is_directory(&self) -> bool {
        self.file_type == FileType::Directory
    }
}

impl From<Statx> for Status {
    fn from(raw: Statx) -> Self {
        let instant = |at: StatxTimestamp| Timestamp { seconds: at.tv_sec, nanoseconds: at.tv_nsec };
        Self {
            file_type: FileType::from_raw_mode(u32::from(raw.stx_mode)),
            mode: u32::from(raw.stx_mode) & 0o7777,
            uid: raw.stx_uid,
            gid: raw.stx_gid,
            size: raw.stx_size,
            allocated: raw.stx_blocks.saturating_mul(512),
            device: makedev(raw.stx_dev_major, raw.stx_dev_minor),
            inode: raw.stx_ino,
            links: u64::from(raw.stx_nlink),
            special_device: makedev(raw.stx_rdev_major, raw.stx_rdev_minor),
            modified: instant(raw.stx_mtime),
            changed: instant(raw.stx_ctime),
            no_dump: raw.stx_attributes.contains(StatxAttributes::NODUMP),
            mount_root: raw.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
        }
    }
}

/// The status of `name` in `directory`, links not followed.
pub(super) fn status_at(directory: impl AsFd, name: &CStr) -> Result<Status, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(directory, name, flags, StatxFlags::BASIC_STATS).map(Status::from)
}

/// The status of an open handle.
pub(super) fn status_of(handle: impl AsFd) -> Result<Status, Errno> {
    rustix::fs::statx(handle, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).map(Status::from)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);

/// Opens a directory below an open one.
pub(super) fn open_directory(directory: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(directory, name, DIRECTORY, Mode::empty())
}

/// Opens a directory that a person named: links in it are followed.
pub(super) fn open_directory_path(path: &std::path::Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOCTTY;
    rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty())
}

/// Opens a regular file for reading. `quietly` leaves its access time alone, which only its owner and root may ask.
/// Non-blocking, because a fifo may have taken the file's place.
pub(super) fn open_file(directory: impl AsFd, name: &CStr, quietly: bool) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if quietly {
        match rustix::fs::openat(&directory, name, flags | OFlags::NOATIME, Mode::empty()) {
            Err(Errno::PERM) => {}
            answer => return answer,
        }
    }
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// The error of a system call that a whole capture or restore depends on.
pub(super) fn failure(errno: Errno, sentence: impl Into<String>) -> SourceError {
    let kind = match errno {
        Errno::NOENT | Errno::NOTDIR => ErrorKind::Missing,
        Errno::ACCESS | Errno::PERM | Errno::ROFS => ErrorKind::Denied,
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => ErrorKind::Full,
        Errno::EXIST | Errno::NOTEMPTY | Errno::BUSY => ErrorKind::Conflict,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO | Errno::STALE | Errno::TIMEDOUT | Errno::AGAIN => {
            ErrorKind::Unavailable
        }
        _ => ErrorKind::Internal,
    };
    let error = SourceError::new(kind, format!("{} ({}).", sentence.into(), reason(errno)));
    let error = match kind {
        ErrorKind::Full => error.hint("Free some space there, or choose another place."),
        ErrorKind::Denied => error.hint("Run as the owner or as root, or grant the right."),
        _ => error,
    };
    error.because(std::io::Error::from(errno))
}

/// The operating system's words without the number.
pub(super) fn reason(errno: Errno) -> String {
    let words = std::io::Error::from(errno).to_string();
    match words.find(" (os error") {
        Some(end) => words[..end].to_lowercase(),
        None => words,
    }
}

/// Longest path shown in a sentence, characters.
const SHOWN_PATH_CHARACTERS: usize = 300;

/// A path for a sentence: control characters are escaped, bytes that are not UTF-8 replaced, the middle left out.
pub(super) fn show(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len().min(4 * SHOWN_PATH_CHARACTERS));
    for character in String::from_utf8_lossy(path).chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    let count = text.chars().count();
    if count <= SHOWN_PATH_CHARACTERS {
        return text;
    }
    let half = SHOWN_PATH_CHARACTERS / 2;
    let begin: String = text.chars().take(half).collect();
    let end: String = text.chars().skip(count - half).collect();
    format!("{begin}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_path_has_no_control_characters_and_a_bounded_length() {
        assert_eq!(show(b"a/\xff\n"), "a/\u{fffd}\\n");
        assert!(show(&vec![b'x'; 5000]).chars().count() <= SHOWN_PATH_CHARACTERS + 1);
    }

    #[test]
    fn a_full_disk_has_its_own_kind_and_a_hint() {
        let error = failure(Errno::NOSPC, "Cannot write `x`");
        assert_eq!(error.kind, ErrorKind::Full);
        assert_eq!(error.sentence, "Cannot write `x` (no space left on device).");
        assert!(error.hint.is_some());
    }
}
