//! The seam below a local store where tests see each operation that a power cut may undo.
//!
//! Everything that changes the disk passes through [`observed`], and everything that makes it durable through [`observed_sync`]. Outside
//! of tests both are the plain call.

#[cfg(not(test))]
use std::io;
use std::path::Path;

/// One operation on the disk.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "only tests look at what passes"))]
pub(crate) enum DiskOperation<'a> {
    /// A new file with these bytes.
    Write(&'a Path, &'a [u8]),
    /// The content of a file is made durable.
    SyncFile(&'a Path),
    /// A file gets another name, over an older file of that name.
    Rename(&'a Path, &'a Path),
    /// A file gets a second name.
    Link(&'a Path, &'a Path),
    /// A file loses its name.
    Remove(&'a Path),
    /// A directory and everything below it go.
    RemoveTree(&'a Path),
    /// A new directory.
    MakeDirectory(&'a Path),
    /// The entries of a directory are made durable.
    SyncDirectory(&'a Path),
}

/// Changes the disk.
#[cfg(not(test))]
#[inline]
pub(super) fn observed<T>(_operation: DiskOperation<'_>, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    action()
}

/// Makes something durable.
#[cfg(not(test))]
#[inline]
pub(super) fn observed_sync(_operation: DiskOperation<'_>, action: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    action()
}

#[cfg(test)]
pub(super) use super::recorder::{observed, observed_sync};
