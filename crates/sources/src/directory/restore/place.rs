//! A plan's paths as names in directories that were opened once.

use std::{
    ffi::CString,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{fs::AtFlags, fs::RenameFlags, io::Errno};

use super::{
    super::{
        names::as_c_str,
        status::{Status, failure, open_directory, open_directory_path, status_at, status_of},
    },
    plan::shown,
};
use crate::{ErrorKind, Result, SourceError};

/// A name in an open directory.
pub(super) struct Place {
    parent: OwnedFd,
    name: CString,
    shown: String,
}

impl Place {
    /// Opens the directory that `path` is in.
    pub fn open(path: &Path) -> Result<Self> {
        let cannot = |errno| failure(errno, format!("Cannot open the directory of `{}`", shown(path)));
        let parent = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default();
        let name = CString::new(name.as_bytes()).map_err(|_| cannot(Errno::INVAL))?;
        Ok(Self { parent: open_directory_path(parent).map_err(cannot)?, name, shown: shown(path) })
    }

    pub fn shown(&self) -> &str {
        &self.shown
    }

    pub fn status(&self) -> Result<Option<Status>> {
        match status_at(&self.parent, &self.name) {
            Ok(status) => Ok(Some(status)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failure(errno, format!("Cannot look at `{}`", self.shown))),
        }
    }

    pub fn exists(&self) -> Result<bool> {
        Ok(self.status()?.is_some())
    }

    /// Makes a directory that only we may enter, and opens it.
    pub fn make(&self) -> Result<OwnedFd> {
        rustix::fs::mkdirat(&self.parent, &self.name, rustix::fs::Mode::RWXU)
            .map_err(|errno| failure(errno, format!("Cannot make the directory `{}`", self.shown)))?;
        self.open_directory()
    }

    pub fn open_directory(&self) -> Result<OwnedFd> {
        open_directory(&self.parent, &self.name)
            .map_err(|errno| failure(errno, format!("Cannot open the directory `{}`", self.shown)))
    }

    pub fn remove(&self) -> Result<()> {
        super::remove::remove_tree(self.parent.as_fd(), &self.name)
            .map_err(|errno| failure(errno, format!("Cannot remove `{}`", self.shown)))
    }

    /// Removes the directory if nothing is in it.
    pub fn remove_if_empty(&self) -> Result<()> {
        match rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(errno) => Err(failure(errno, format!("Cannot remove `{}`", self.shown))),
        }
    }

    /// Renames, replacing an empty directory and nothing else.
    pub fn rename(&self, to: &Self) -> Result<()> {
        rustix::fs::renameat(&self.parent, &self.name, &to.parent, &to.name)
            .map_err(|errno| self.cannot_rename(to, errno))
    }

    /// Exchanges two names in one step; false where the file system cannot.
    pub fn exchange(&self, with: &Self) -> Result<bool> {
        let flags = RenameFlags::EXCHANGE;
        match rustix::fs::renameat_with(&self.parent, &self.name, &with.parent, &with.name, flags) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
            Err(errno) => Err(self.cannot_rename(with, errno)),
        }
    }

    fn cannot_rename(&self, to: &Self, errno: Errno) -> SourceError {
        failure(errno, format!("Cannot rename `{}` to `{}`", self.shown, to.shown))
    }

    /// Makes the renames in this directory durable.
    pub fn sync(&self) -> Result<()> {
        rustix::fs::fsync(&self.parent)
            .map_err(|errno| failure(errno, format!("Cannot write the directory of `{}` to disk", self.shown)))
    }
}

/// Moves `name` (ending with NUL) from one directory to another where it must not exist yet.
pub(super) fn move_entry(
    from: BorrowedFd<'_>,
    name: &[u8],
    to: BorrowedFd<'_>,
    new_name: &[u8],
    replace: bool,
) -> Result<(), Errno> {
    let (name, new_name) = (as_c_str(name), as_c_str(new_name));
    let rename = || {
        if replace {
            return rustix::fs::renameat(from, name, to, new_name);
        }
        match rustix::fs::renameat_with(from, name, to, new_name, RenameFlags::NOREPLACE) {
            // A file system without the flag.
            Err(Errno::INVAL | Errno::NOSYS) => match status_at(to, new_name) {
                Err(Errno::NOENT) => rustix::fs::renameat(from, name, to, new_name),
                Err(errno) => Err(errno),
                Ok(_) => Err(Errno::EXIST),
            },
            answer => answer,
        }
    };
    match rename() {
        // Only a directory that we may write to can be moved elsewhere, since its `..` changes.
        Err(Errno::ACCESS | Errno::PERM) if status_at(from, name).is_ok_and(|status| status.is_directory()) => {
            let handle = open_directory(from, name)?;
            let mode = status_of(&handle)?.mode;
            rustix::fs::fchmod(&handle, rustix::fs::Mode::from_raw_mode(mode | 0o700))?;
            rename()?;
            rustix::fs::fchmod(&handle, rustix::fs::Mode::from_raw_mode(mode))
        }
        answer => answer,
    }
}

pub(super) fn changed_meanwhile(shown: &str) -> SourceError {
    SourceError::new(ErrorKind::Conflict, format!("`{shown}` was replaced by something else meanwhile."))
        .hint("Look at what is there now, then start the restore again.")
}
