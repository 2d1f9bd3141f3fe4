//! Tidying up after a failure or a crash. Everything here can be done again.

use std::{fs, io, path::Path};

use super::{
    copy,
    plan::{Details, FileId, Places, Work},
    swap::{self, SIDES},
};
use crate::{
    Interrupted, Result,
    sqlite::{
        connection::{beside, open_for_writing},
        errors::from_system,
    },
};

/// Finishes a swap that was done, and removes what was made beside the target otherwise.
pub(super) fn settle(details: &Details, places: &Places, bytes: u64) -> Result<Interrupted> {
    match details.work {
        Work::Swap => settle_swap(details, places),
        Work::Merge => {
            remove_temporary(places)?;
            Ok(Interrupted::NothingTouched)
        }
        Work::WriteNew | Work::BuildNew => {
            let pending = places.new.symlink_metadata().is_ok();
            let renamed = !pending && fs::metadata(&details.target).is_ok_and(|found| was_made(details, &found, bytes));
            remove_temporary(places)?;
            if renamed {
                copy::sync_directory(&places.directory)?;
                return Ok(Interrupted::Finished);
            }
            remove_directories(details);
            Ok(Interrupted::NothingTouched)
        }
    }
}

/// The target did not exist when the restore was planned. A whole copy has exactly its length.
fn was_made(details: &Details, found: &fs::Metadata, bytes: u64) -> bool {
    details.work == Work::BuildNew || found.len() == bytes
}

fn settle_swap(details: &Details, places: &Places) -> Result<Interrupted> {
    let old = details.old;
    if old.is_some() && FileId::of(&places.new) == old {
        // The temporary name holds the old database: the exchange was done, its last rename was not.
        swap::keep_old(places)?;
        return Ok(Interrupted::Finished);
    }
    if old.is_some() && FileId::of(&places.before) == old {
        copy::sync_directory(&places.directory)?;
        return Ok(Interrupted::Finished);
    }
    remove_temporary(places)?;
    for suffix in SIDES {
        let kept = beside(&places.before, suffix);
        if kept.symlink_metadata().is_ok() {
            let side = beside(&details.target, suffix);
            fs::rename(&kept, &side).map_err(|error| from_system(&kept, "rename", error))?;
        }
    }
    if details.old_was_wal {
        bring_wal_back(&details.target);
    }
    Ok(Interrupted::NothingTouched)
}

/// The swap ends WAL mode as its last step before the exchange. Where it is in use again, it is in WAL mode already or
/// its program will set it: nothing is forced.
fn bring_wal_back(path: &Path) {
    if let Ok(connection) = open_for_writing(path) {
        let _: rusqlite::Result<String> = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0));
    }
}

pub(super) fn remove_temporary(places: &Places) -> Result<()> {
    for path in places.temporary() {
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(from_system(&path, "remove", error)),
        }
    }
    Ok(())
}

pub(super) fn make_directories(details: &Details) -> Result<()> {
    for directory in &details.missing_directories {
        match fs::create_dir(directory) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(from_system(directory, "make the directory", error)),
        }
        if let Some(parent) = directory.parent() {
            copy::sync_directory(parent)?;
        }
    }
    Ok(())
}

/// Those that we made and that are empty; others are not ours to remove.
fn remove_directories(details: &Details) {
    for directory in details.missing_directories.iter().rev() {
        if fs::remove_dir(directory).is_err() {
            break;
        }
    }
}
