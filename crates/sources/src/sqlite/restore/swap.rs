//! A whole database over the live one.

use std::{fs, path::Path};

use super::{
    copy, in_use,
    plan::{Details, FileId, Places},
};
use crate::{
    ErrorKind, PartReader, RestoreOutcome, Result, SourceError,
    sqlite::{
        connection::{LiveConnection, beside, open_for_writing, open_live},
        errors::{explain, from_system},
    },
};

/// Files of a database beside it.
pub(super) const SIDES: [&str; 3] = ["-wal", "-shm", "-journal"];

pub(super) fn swap(part: &dyn PartReader, details: &Details, places: &Places) -> Result<RestoreOutcome> {
    if FileId::of(&details.target) != details.old {
        return Err(SourceError::new(
            ErrorKind::Conflict,
            format!("{} is not the file any more that the restore was planned for.", details.target.display()),
        )
        .hint("Something has replaced it; plan the restore again."));
    }
    in_use::refuse(&details.target, in_use::Processes::All)?;
    copy::write_database(part, &places.new, details)?;
    copy::check(&places.new, part)?;
    if part.is_cancelled() {
        return Err(SourceError::cancelled());
    }
    // From here to the exchange is short; nothing in it waits.
    let quiet = quiet(details, part)?;
    let unseen = in_use::refuse(&details.target, in_use::Processes::Others)?;
    if unseen > 0 {
        part.log(&format!("{unseen} processes of other users could not be looked at; the locks show none of them"));
    }
    part.point("swap");
    move_sides(details, places, quiet.is_some())?;
    part.point("swap.alone");
    exchange(details, places)?;
    part.point("swap.exchanged");
    // The lock on the old file is let go only when it is no longer the live one.
    drop(quiet);
    keep_old(places)?;
    part.point("swap.kept");
    Ok(outcome(part, places))
}

pub(super) fn outcome(part: &dyn PartReader, places: &Places) -> RestoreOutcome {
    part.log(&format!("the replaced database is kept as {}", places.before.display()));
    RestoreOutcome {
        bytes_written: part.manifest().size,
        items: part.manifest().items,
        kept_aside: vec![places.before.clone()],
    }
}

/// Puts the old database's log into it and locks it. `None` when SQLite cannot read it: then it is damaged, and nothing
/// of it is touched. (A connection that may write would remove the log of a damaged database when it is closed.)
fn quiet(details: &Details, part: &dyn PartReader) -> Result<Option<LiveConnection>> {
    let path = &details.target;
    if let Err(error) = read(path) {
        if error.kind != ErrorKind::Invalid {
            return Err(error);
        }
        part.log(&format!("the live database cannot be read ({error}); it is kept as it is"));
        return Ok(None);
    }
    let connection = open_for_writing(path)?;
    let refused = |error: rusqlite::Error| {
        let error = explain(path, error);
        match error.kind {
            ErrorKind::Unavailable => {
                SourceError::new(ErrorKind::Conflict, format!("{} is open in another program.", path.display()))
                    .hint("Stop the application first, then restore again; or restore to a new path.")
                    .because(error)
            }
            _ => error,
        }
    };
    // Succeeds only when no other connection is there, and leaves neither -wal nor -shm.
    let mode: rusqlite::Result<String> = connection
        .query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))
        .and_then(|mode| connection.execute_batch("BEGIN EXCLUSIVE").map(|()| mode))
        .and_then(|mode| connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(mode)));
    match mode.map_err(refused) {
        Ok(mode) if mode == "delete" => Ok(Some(connection)),
        Ok(_) => Err(SourceError::new(ErrorKind::Conflict, format!("{} is open in another program.", path.display()))
            .hint("Stop the application first, then restore again; or restore to a new path.")),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> Result<()> {
    let connection = open_live(path)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(|error| explain(path, error))
}

/// No file of the old database may stay beside the new one. Of a readable one only an empty or cold journal can be
/// left; those of a damaged one go along with it.
fn move_sides(details: &Details, places: &Places, readable: bool) -> Result<()> {
    for suffix in SIDES {
        let side = beside(&details.target, suffix);
        if side.symlink_metadata().is_err() {
            continue;
        }
        // The -shm file is only an index of the log and is made anew by whoever needs it.
        if suffix == "-shm" || (readable && suffix == "-journal") {
            fs::remove_file(&side).map_err(|error| from_system(&side, "remove", error))?;
            continue;
        }
        let kept = beside(&places.before, suffix);
        fs::rename(&side, &kept).map_err(|error| from_system(&side, "rename", error))?;
    }
    Ok(())
}

fn exchange(details: &Details, places: &Places) -> Result<()> {
    use rustix::{
        fs::{CWD, RenameFlags, renameat_with},
        io::Errno,
    };
    renameat_with(CWD, &places.new, CWD, &details.target, RenameFlags::EXCHANGE).map_err(|error| match error {
        Errno::INVAL | Errno::NOSYS => SourceError::new(
            ErrorKind::Unsupported,
            format!("The file system of {} cannot exchange two files in one step.", details.target.display()),
        )
        .hint("Restore to a new path and rename it while the application is stopped."),
        other => from_system(&details.target, "exchange", other.into()),
    })?;
    copy::sync_directory(&places.directory)
}

/// After the exchange the old database has the temporary name.
pub(super) fn keep_old(places: &Places) -> Result<()> {
    copy::rename_new(&places.new, &places.before)
}
