//! What stands at a restore's target before anything is touched.

use std::{
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

use rustix::{fs::Access, io::Errno};

use super::{
    super::{
        DirectorySource,
        names::{ListingBuffer, Names},
        status::{Status, failure, open_directory_path, status_of},
    },
    plan::shown,
};
use crate::{ErrorKind, RestoreTarget, Result, SourceError};

/// What is at the target.
pub(super) struct Found {
    pub path: PathBuf,
    pub status: Option<Status>,
    pub empty: bool,
    pub missing_parents: Vec<PathBuf>,
    /// The nearest directory above that exists.
    pub parent: PathBuf,
}

pub(super) fn look(source: &DirectorySource, target: &RestoreTarget) -> Result<Found> {
    let path = match target {
        // Where the source is reached through a link, it is the directory behind it that is replaced.
        RestoreTarget::InPlace => std::fs::canonicalize(&source.root).unwrap_or_else(|_| source.root.clone()),
        RestoreTarget::NewPath(path) => {
            let plain = path.components().all(|part| !matches!(part, Component::ParentDir));
            if !path.is_absolute() || !plain || path.as_os_str().as_bytes().contains(&0) {
                return Err(SourceError::new(
                    ErrorKind::Invalid,
                    format!("`{}` cannot be the target of a restore.", shown(path)),
                )
                .hint("Give an absolute path without `..`."));
            }
            path.components().collect()
        }
        RestoreTarget::NewDatabase(_) => return Err(SourceError::no_databases("A directory")),
    };
    let (status, empty) = match std::fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => (None, true),
        Err(error) => return Err(cannot_look(&path, &error)),
        Ok(metadata) if !metadata.is_dir() => {
            return Err(SourceError::new(
                ErrorKind::Conflict,
                format!("`{}` exists and is not a directory.", shown(&path)),
            )
            .hint("Choose a path that does not exist yet."));
        }
        Ok(_) => {
            let looked = open_directory_path(&path).and_then(|handle| {
                let mut names = Names::default();
                names.read(&handle, &mut ListingBuffer::new())?;
                Ok((status_of(&handle)?, names.iter().all(|name| name == b"lost+found")))
            });
            let (status, empty) =
                looked.map_err(|errno| failure(errno, format!("Cannot look into `{}`", shown(&path))))?;
            (Some(status), empty)
        }
    };
    let mut missing_parents = Vec::new();
    let mut parent = path.parent().unwrap_or(Path::new("/")).to_path_buf();
    while !parent.exists() {
        missing_parents.insert(0, parent.clone());
        parent = parent.parent().unwrap_or(Path::new("/")).to_path_buf();
    }
    Ok(Found { path, status, empty, missing_parents, parent })
}

fn cannot_look(path: &Path, error: &std::io::Error) -> SourceError {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    failure(errno, format!("Cannot look at `{}`", shown(path)))
}

/// True when something can be made beside the target and renamed over it.
pub(super) fn can_be_beside(found: &Found) -> bool {
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    let writable = rustix::fs::accessat(rustix::fs::CWD, &found.parent, wanted, rustix::fs::AtFlags::EACCESS).is_ok();
    let device = || open_directory_path(&found.parent).and_then(status_of).map(|status| status.device).ok();
    let same_device = found.status.as_ref().is_none_or(|status| device() == Some(status.device));
    // Without a target there is no other place; the attempt will say why it fails.
    found.status.is_none() || (found.path != Path::new("/") && writable && same_device)
}

/// The first mount point below `target`.
pub(super) fn mount_below(target: &Path) -> Option<PathBuf> {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(<std::ffi::OsStr as OsStrExt>::from_bytes(&unescape(field))))
        .find(|mounted| mounted.starts_with(target) && mounted != target)
}

/// Blanks and their like are written as `\040`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 8).ok()));
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_blanks_are_read() {
        assert_eq!(unescape(b"/a\\040b\\\\c"), b"/a b\\\\c");
        assert_eq!(unescape(b"/a\\04"), b"/a\\04");
    }
}
