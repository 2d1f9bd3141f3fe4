//! The open directories from a root down to where a walk is.
//!
//! A tree may be deeper than a process may have files open: only the lowest levels keep their handle. On the way back up
//! a closed one is opened again through `..` and must be the same directory as before; if somebody moved it meanwhile, it
//! is looked for again from the root by its names.

use std::{
    ffi::CString,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::io::Errno;

use super::status::{open_directory, status_of};

/// Directories that stay open below the root.
const OPEN_LEVELS: usize = 64;

struct Level<T> {
    handle: Option<OwnedFd>,
    identity: (u64, u64),
    /// Length of [`Trail::path`] up to and with this level.
    path_length: usize,
    value: T,
}

/// A path of directories, the root first, each with what the walk keeps for it.
pub(super) struct Trail<T> {
    root: OwnedFd,
    root_value: T,
    /// Below the root.
    levels: Vec<Level<T>>,
    path: Vec<u8>,
}

impl<T> Trail<T> {
    pub fn new(root: OwnedFd, value: T) -> Self {
        Self { root, root_value: value, levels: Vec::new(), path: Vec::new() }
    }

    /// Directories below the root.
    pub fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Names from the root to the current directory with `/` between them; empty at the root.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The current directory; `None` when it could not be found again after [`Trail::pop`].
    pub fn current(&self) -> Option<BorrowedFd<'_>> {
        match self.levels.last() {
            Some(level) => level.handle.as_ref().map(AsFd::as_fd),
            None => Some(self.root.as_fd()),
        }
    }

    pub fn value(&mut self) -> &mut T {
        match self.levels.last_mut() {
            Some(level) => &mut level.value,
            None => &mut self.root_value,
        }
    }

    /// Goes down.
    pub fn push(&mut self, name: &[u8], handle: OwnedFd, identity: (u64, u64), value: T) {
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        self.levels.push(Level { handle: Some(handle), identity, path_length: self.path.len(), value });
        if let Some(above) = self.levels.len().checked_sub(OPEN_LEVELS + 1) {
            self.levels[above].handle = None;
        }
    }

    /// Goes up, giving back what was kept for the directory that is left; `None` at the root.
    pub fn pop(&mut self) -> Option<T> {
        let left = self.levels.pop()?;
        if let Some(level) = self.levels.last_mut()
            && level.handle.is_none()
        {
            let identity = level.identity;
            level.handle = left.handle.and_then(|child| open_as(child, c"..", identity).ok());
        }
        self.path.truncate(self.levels.last().map_or(0, |level| level.path_length));
        if self.current().is_none() {
            let found = self.find().ok();
            if let Some(level) = self.levels.last_mut() {
                level.handle = found;
            }
        }
        Some(left.value)
    }

    /// Looks the current directory up by its names.
    fn find(&self) -> Result<OwnedFd, Errno> {
        let identity = self.levels.last().ok_or(Errno::NOENT)?.identity;
        let mut handle = self.root.try_clone().map_err(|_| Errno::MFILE)?;
        for name in self.path.split(|byte| *byte == b'/') {
            let name = CString::new(name).map_err(|_| Errno::INVAL)?;
            handle = open_directory(&handle, &name)?;
        }
        if status_of(&handle)?.identity() == identity { Ok(handle) } else { Err(Errno::STALE) }
    }
}

fn open_as(from: OwnedFd, name: &std::ffi::CStr, identity: (u64, u64)) -> Result<OwnedFd, Errno> {
    let handle = open_directory(from, name)?;
    if status_of(&handle)?.identity() == identity { Ok(handle) } else { Err(Errno::STALE) }
}

#[cfg(test)]
mod tests {
    use super::super::status::open_directory_path;
    use super::*;

    fn descend(place: &std::path::Path, levels: usize) -> Trail<usize> {
        let mut trail = Trail::new(open_directory_path(place).unwrap(), 0);
        for level in 1..=levels {
            let parent = trail.current().unwrap();
            rustix::fs::mkdirat(parent, c"d", rustix::fs::Mode::RWXU).unwrap();
            let handle = open_directory(parent, c"d").unwrap();
            let identity = status_of(&handle).unwrap().identity();
            trail.push(b"d", handle, identity, level);
        }
        trail
    }

    #[test]
    fn a_closed_ancestor_is_opened_again_and_is_the_same_directory() {
        let place = tempfile::tempdir().unwrap();
        let mut trail = descend(place.path(), 3 * OPEN_LEVELS);
        assert_eq!(trail.path().len(), 2 * 3 * OPEN_LEVELS - 1);
        for level in (1..=3 * OPEN_LEVELS).rev() {
            assert_eq!(*trail.value(), level);
            assert_eq!(trail.pop(), Some(level));
            assert!(trail.current().is_some());
        }
        assert!(trail.pop().is_none() && trail.path().is_empty());
    }

    #[test]
    fn an_ancestor_that_was_moved_away_is_lost_and_those_above_are_found() {
        let place = tempfile::tempdir().unwrap();
        let levels = OPEN_LEVELS + 10;
        let mut trail = descend(place.path(), levels);
        let fifth = place.path().join("d/d/d/d/d");
        std::fs::rename(&fifth, place.path().join("moved")).unwrap();
        let mut lost = 0;
        while trail.depth() > 0 {
            trail.pop();
            lost += usize::from(trail.current().is_none());
        }
        // Levels 5 to 9 hang together under the new name and are reached by `..`; level 4 and above by their names.
        assert_eq!(lost, 0);
    }
}
