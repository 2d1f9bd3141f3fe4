//! Durable files on a local disk: restic's scheme of a temporary file beside the target, fsync, rename, fsync of the directory.
//!
//! A failed fsync is never tried again on the same descriptor (the kernel may have marked the page clean): the temporary file is removed
//! and the caller writes anew.

use super::observed::{DiskOperation, observed, observed_sync};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Directories are for their owner alone, as restic makes them.
const DIRECTORY_MODE: u32 = 0o700;
/// Finished files are never changed again.
const FILE_MODE: u32 = 0o400;
/// What stands between the final name and the random part of a temporary name.
const TEMPORARY_MARK: &str = "-tmp-";
/// Files from this size on have their space reserved first, so that a full disk is noticed before the bytes are written.
const RESERVE_FROM_BYTES: usize = 1 << 20;

/// What happens to an older file of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// It is replaced.
    Replace,
    /// It stays, and the new bytes are dropped.
    Keep,
}

/// Writes `bytes` to `target` so that a power cut leaves all of it or nothing; `false` when an existing file was kept.
pub(super) fn write_durably(target: &Path, bytes: &[u8], existing: Existing) -> io::Result<bool> {
    let directory = target.parent().ok_or_else(|| io::Error::other("a file needs a directory"))?;
    let temporary = temporary_name(target)?;
    let written = fill(&temporary, bytes).and_then(|()| publish(&temporary, target, existing));
    if !matches!(written, Ok(true)) {
        // The outcome stands whatever becomes of the temporary file; a later sweep removes it.
        let _ = remove_file(&temporary);
    }
    if written? {
        sync_directory(directory)?;
        return Ok(true);
    }
    Ok(false)
}

fn fill(temporary: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = observed(DiskOperation::Write(temporary, bytes), || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        if bytes.len() >= RESERVE_FROM_BYTES {
            reserve(&file, bytes.len() as u64)?;
        }
        file.write_all(bytes)?;
        file.set_permissions(Permissions::from_mode(FILE_MODE)).or_else(ignore_unsupported)?;
        Ok(file)
    })?;
    observed_sync(DiskOperation::SyncFile(temporary), || file.sync_all().or_else(ignore_unsupported))
}

fn publish(temporary: &Path, target: &Path, existing: Existing) -> io::Result<bool> {
    if existing == Existing::Replace {
        return observed(DiskOperation::Rename(temporary, target), || fs::rename(temporary, target)).map(|()| true);
    }
    let renamed = observed(DiskOperation::Rename(temporary, target), || {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        Ok(rustix::fs::renameat_with(rustix::fs::CWD, temporary, rustix::fs::CWD, target, flags)?)
    });
    match renamed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // File systems without the flag (NFS, some FUSE) have hard links, which are exclusive too.
        Err(_) => match observed(DiskOperation::Link(temporary, target), || fs::hard_link(temporary, target)) {
            Ok(()) => remove_file(temporary).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error),
        },
    }
}

fn reserve(file: &File, length: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, length) {
        // Only a full disk matters here; a file system that cannot reserve is written to as it is.
        Err(error @ (rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT)) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    observed_sync(DiskOperation::SyncDirectory(directory), || {
        File::open(directory)?.sync_all().or_else(ignore_unsupported)
    })
}

/// Takes a file's name away. Not durable before its directory is synced.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    observed(DiskOperation::Remove(path), || fs::remove_file(path))
}

/// Removes a directory and everything below it. Not durable before the directory above is synced.
pub(super) fn remove_tree(directory: &Path) -> io::Result<()> {
    observed(DiskOperation::RemoveTree(directory), || fs::remove_dir_all(directory))
}

/// Makes one directory. Not durable before the one above is synced.
pub(super) fn make_one_directory(directory: &Path) -> io::Result<()> {
    observed(DiskOperation::MakeDirectory(directory), || {
        DirBuilder::new().mode(DIRECTORY_MODE).create(directory)?;
        // The mode of creation is cut by the process's mask, this one is not.
        fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE)).or_else(ignore_unsupported)
    })
}

/// Makes a directory and those above it that are missing, each durable in its parent. One that is there is made durable too: who made it
/// may have died before that, or may be about to do it.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    match make_one_directory(directory) {
        Ok(()) => sync_parent(directory),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => {
            match sync_parent(directory) {
                // A folder that an administrator made in a place that we may not read.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                synced => synced,
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty()).ok_or(error)?;
            make_directory(parent)?;
            make_directory(directory)
        }
        Err(error) => Err(error),
    }
}

fn sync_parent(directory: &Path) -> io::Result<()> {
    match directory.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_directory(Path::new(".")),
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Removes temporary files of crashed writers that were last touched before `before`; returns how many.
///
/// What cannot be removed is left for the next sweep: a leftover is ugly, not harmful.
pub(super) fn sweep_temporaries(directory: &Path, before: SystemTime) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_temporary))
        .filter(|entry| {
            let metadata = entry.metadata();
            metadata.is_ok_and(|found| found.is_file() && found.modified().is_ok_and(|at| at < before))
        })
        .filter(|entry| remove_file(&entry.path()).is_ok())
        .count()
}

/// Whether this is a name that [`write_durably`] or restic gives to unfinished files.
pub(super) fn is_temporary(name: &str) -> bool {
    name.contains(TEMPORARY_MARK)
}

fn temporary_name(target: &Path) -> io::Result<PathBuf> {
    let mut random = [0u8; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut name = target.file_name().ok_or_else(|| io::Error::other("a file needs a name"))?.to_owned();
    name.push(TEMPORARY_MARK);
    name.push(hex::encode(random));
    Ok(target.with_file_name(name))
}

/// File systems that cannot fsync a directory or change modes say so; that is not a failure of the write.
fn ignore_unsupported(error: io::Error) -> io::Result<()> {
    let unsupported = [rustix::io::Errno::NOTSUP, rustix::io::Errno::INVAL, rustix::io::Errno::NOTTY];
    if unsupported.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error())) { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_sweep_takes_only_old_temporary_files() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let old = now - Duration::from_secs(25 * 3600);
        for (name, modified) in [("a-tmp-1", old), ("b-tmp-2", now), ("finished", old)] {
            let file = File::create(directory.path().join(name)).unwrap();
            file.set_modified(modified).unwrap();
        }
        assert_eq!(sweep_temporaries(directory.path(), now - Duration::from_secs(24 * 3600)), 1);
        let mut left: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["b-tmp-2", "finished"]);
    }

    #[test]
    fn a_finished_file_is_read_only_and_leaves_no_temporary_behind() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("file");
        assert!(write_durably(&target, b"one", Existing::Keep).unwrap());
        assert!(!write_durably(&target, b"two", Existing::Keep).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"one");
        assert!(write_durably(&target, b"three", Existing::Replace).unwrap());
        assert_eq!(fs::read(&target).unwrap(), b"three");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
