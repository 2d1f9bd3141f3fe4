//! The stored database as a file of its own.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::plan::Details;
use crate::{
    ErrorKind, PartReader, Progress, Result, SourceError, Warning,
    sqlite::{
        DATA,
        connection::{interruptible, open_private},
        data_record,
        errors::{explain, from_system, message},
    },
};

/// Read and written at once, bytes.
const COPY_BYTES: usize = 1024 * 1024;

/// Writes the stored database to `path`, which must not exist, with the owner and mode of the plan, and syncs it.
/// Returns its length.
pub(super) fn write_database(part: &dyn PartReader, path: &Path, details: &Details) -> Result<u64> {
    let record = data_record(part.manifest())?;
    let mut stored = part.open(&[DATA.as_bytes()])?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| from_system(path, "create", error))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut progress = Progress { bytes_total: Some(record.length), ..Progress::default() };
    while progress.bytes_read < record.length {
        if part.is_cancelled() {
            return Err(SourceError::cancelled());
        }
        let read = stored.read_at(progress.bytes_read, &mut buffer)?;
        if read == 0 {
            break;
        }
        digest.update(&buffer[..read]);
        file.write_all(&buffer[..read]).map_err(|error| from_system(path, "write", error))?;
        progress.bytes_read += read as u64;
        part.progress(progress);
    }
    let digest = hex::encode(digest.finalize());
    if progress.bytes_read != record.length || record.sha256.as_ref().is_some_and(|recorded| *recorded != digest) {
        return Err(SourceError::new(ErrorKind::Store, "The stored database is not what was captured.")
            .hint("Verify the backup: its content is damaged."));
    }
    give_away(&file, path, details, part)?;
    file.sync_all().map_err(|error| from_system(path, "sync", error))?;
    Ok(progress.bytes_read)
}

/// Owner and mode for a file that SQLite has written, and a sync.
pub(super) fn finish_file(path: &Path, details: &Details, part: &dyn PartReader) -> Result<()> {
    let file = File::open(path).map_err(|error| from_system(path, "open", error))?;
    give_away(&file, path, details, part)?;
    file.sync_all().map_err(|error| from_system(path, "sync", error))
}

fn give_away(file: &File, path: &Path, details: &Details, part: &dyn PartReader) -> Result<()> {
    if let Some((uid, gid)) = details.owner
        && let Err(error) = fchown(file, Some(uid), Some(gid))
    {
        part.warn(Warning {
            code: "owner_not_set".into(),
            count: 1,
            sentence: format!("The restored file could not be given to user {uid} and group {gid}: {error}."),
        });
    }
    file.set_permissions(fs::Permissions::from_mode(details.mode))
        .map_err(|error| from_system(path, "set the mode of", error))
}

/// Lets SQLite look through a file that we wrote.
pub(super) fn check(path: &Path, part: &dyn PartReader) -> Result<()> {
    let connection = open_private(path)?;
    let is_cancelled = || part.is_cancelled();
    let first: String = interruptible(&connection, &is_cancelled, || {
        let result = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        match result {
            // A function or a module of the application is missing here: that is no fault of the file.
            Err(error) if error.sqlite_error().is_some_and(|failure| failure.extended_code == 1) => {
                part.warn(Warning {
                    code: "not_checked".into(),
                    count: 1,
                    sentence: format!("The database could not be checked whole: {}.", message(&error)),
                });
                Ok("ok".to_owned())
            }
            other => other.map_err(|error| explain(path, error)),
        }
    })?;
    if first == "ok" {
        return Ok(());
    }
    Err(SourceError::new(ErrorKind::Invalid, format!("The database in the backup is damaged: {}.", first.trim()))
        .hint("It was so when it was captured. Take an older backup, or download this one and let `sqlite3 FILE .recover` save what it can."))
}

/// Gives a finished file its name, if that is still free.
pub(super) fn rename_new(from: &Path, to: &Path) -> Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
        .map_err(|error| from_system(to, "put the restored database at", error.into()))?;
    to.parent().map_or(Ok(()), sync_directory)
}

/// Makes new names in a directory survive a power failure.
pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(|error| from_system(directory, "sync the directory", error))
}
