//! Removing a tree that a restore made, of any depth, without following links.

use std::{
    ffi::{CStr, CString},
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, Mode},
    io::Errno,
};

use super::super::{
    names::{ListingBuffer, Names, as_c_str},
    status::{open_directory, status_at, status_of},
    trail::Trail,
};

/// Removes `name` in `parent` with everything in it. What is not there is no error.
pub(super) fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match status_at(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
        Ok(status) if !status.is_directory() => return rustix::fs::unlinkat(parent, name, AtFlags::empty()),
        Ok(_) => {}
    }
    let mut listing = ListingBuffer::new();
    let (handle, names) = open(parent, name, &mut listing)?;
    let mut trail = Trail::new(handle, names);
    let mut entry = Vec::new();
    loop {
        if trail.value().next_into(&mut entry) {
            let directory = trail.current().ok_or(Errno::STALE)?;
            let entry_name = as_c_str(&entry);
            if status_at(directory, entry_name)?.is_directory() {
                let (handle, names) = open(directory, entry_name, &mut listing)?;
                let identity = status_of(&handle)?.identity();
                trail.push(&entry[..entry.len() - 1], handle, identity, names);
            } else {
                rustix::fs::unlinkat(directory, entry_name, AtFlags::empty())?;
            }
            continue;
        }
        let last = trail.path().rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
        if trail.pop().is_none() {
            return rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR);
        }
        let last = CString::new(last).map_err(|_| Errno::INVAL)?;
        rustix::fs::unlinkat(trail.current().ok_or(Errno::STALE)?, &last, AtFlags::REMOVEDIR)?;
    }
}

/// Opens a directory for removal: its mode may keep even its owner out.
fn open(parent: BorrowedFd<'_>, name: &CStr, listing: &mut ListingBuffer) -> Result<(OwnedFd, Names), Errno> {
    let handle = match open_directory(parent, name) {
        Err(Errno::ACCESS) => {
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            open_directory(parent, name)?
        }
        answer => answer?,
    };
    if status_of(&handle)?.mode & 0o700 != 0o700 {
        rustix::fs::fchmod(&handle, Mode::RWXU)?;
    }
    let mut names = Names::default();
    names.read(&handle, listing)?;
    Ok((handle, names))
}
