//! Which programs have a database open.
//!
//! SQLite cannot tell: in rollback mode an idle connection holds no lock, and in WAL mode an exclusive transaction
//! begins beside other connections. So the descriptors of all processes are looked at as well.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
};

use super::plan::FileId;
use crate::{ErrorKind, Result, SourceError, sqlite::connection::beside};

/// Which processes count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Processes {
    All,
    /// Not our own, which has the database open itself at that moment.
    Others,
}

/// Refuses when a program has the database at `path` open. Returns how many processes could not be looked at.
pub(super) fn refuse(path: &Path, processes: Processes) -> Result<u64> {
    let names = ["", "-wal", "-shm", "-journal"];
    let files: HashSet<FileId> = names.iter().filter_map(|suffix| FileId::of(&beside(path, suffix))).collect();
    let mut programs = BTreeSet::new();
    let mut unseen = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        if processes == Processes::Others && id == std::process::id() {
            continue;
        }
        match has_open(id, &files) {
            Some(true) => _ = programs.insert(program(id)),
            Some(false) => {}
            None => unseen += 1,
        }
    }
    if programs.is_empty() {
        return Ok(unseen);
    }
    let programs: Vec<String> = programs.into_iter().collect();
    Err(SourceError::new(
        ErrorKind::Conflict,
        format!("{} is open in another program: {}.", path.display(), programs.join(", ")),
    )
    .hint("Stop the application first, then restore again; or restore to a new path."))
}

/// `None` when the process cannot be looked at (of another user, or gone).
fn has_open(id: u32, files: &HashSet<FileId>) -> Option<bool> {
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).ok()?;
    // Following the link is a stat of the open file itself: it opens and closes nothing.
    let ids = descriptors.flatten().filter_map(|descriptor| fs::metadata(descriptor.path()).ok());
    Some(ids.map(|found| FileId { device: found.dev(), inode: found.ino() }).any(|found| files.contains(&found)))
}

fn program(id: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    format!("{} (process {id})", name.trim())
}
