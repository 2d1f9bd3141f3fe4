//! What SQLite says, as a sentence for a person.

use std::path::Path;

use rusqlite::{Error, ffi};

use crate::{ErrorKind, SourceError};

/// Turns an error of SQLite about the database at `path` into ours.
pub(super) fn explain(path: &Path, error: Error) -> SourceError {
    let at = path.display();
    let Some(code) = error.sqlite_error().map(|failure| failure.extended_code) else {
        return SourceError::new(ErrorKind::Internal, format!("SQLite could not be asked about {at}: {error}."))
            .because(error);
    };
    let (kind, sentence, hint) = match (code & 0xff, code) {
        (_, ffi::SQLITE_READONLY_DIRECTORY | ffi::SQLITE_READONLY_CANTINIT | ffi::SQLITE_READONLY_RECOVERY) => (
            ErrorKind::Denied,
            format!(
                "{at} is in WAL mode, which needs the file `{at}-shm` beside it, and this server may not write it."
            ),
            "Run the server as the owner of the database, or let its directory be writable for it.",
        ),
        (_, ffi::SQLITE_READONLY_ROLLBACK) => (
            ErrorKind::Unavailable,
            format!("A program died while it wrote to {at}; the write must be rolled back before it can be read."),
            "Open the database once with its own program, which does that.",
        ),
        (ffi::SQLITE_NOTADB, _) => (
            ErrorKind::Invalid,
            format!("{at} is not an SQLite database, or it is encrypted."),
            "Check the path; encrypted databases cannot be read without their program.",
        ),
        (ffi::SQLITE_CORRUPT, _) => (
            ErrorKind::Invalid,
            format!("The database {at} is damaged: {}.", message(&error)),
            "Restore the last good backup, or let `sqlite3 FILE .recover` save what it can.",
        ),
        (ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED, _) => (
            ErrorKind::Unavailable,
            format!("Another program holds an exclusive lock on {at}."),
            "Try again when it has finished; a program with `locking_mode=EXCLUSIVE` never lets others in.",
        ),
        (ffi::SQLITE_CANTOPEN | ffi::SQLITE_PERM | ffi::SQLITE_READONLY, _) => (
            ErrorKind::Denied,
            format!("{at} cannot be opened: the operating system refuses it to this server."),
            "Check the permissions of the file and of the directories on the way. In WAL mode the directory must be \
             writable, for the `-shm` file.",
        ),
        (ffi::SQLITE_FULL, _) => {
            (ErrorKind::Full, format!("There is no space left for {at}."), "Free some space and try again.")
        }
        (ffi::SQLITE_IOERR, _) => (
            ErrorKind::Unavailable,
            format!("Reading or writing {at} failed: {}.", message(&error)),
            "Look at the system's log for errors of the disk or the network file system.",
        ),
        (ffi::SQLITE_INTERRUPT, _) => return SourceError::cancelled(),
        _ => {
            return SourceError::new(ErrorKind::Internal, format!("SQLite failed on {at}: {}.", message(&error)))
                .because(error);
        }
    };
    SourceError::new(kind, sentence).hint(hint).because(error)
}

/// SQLite's own words.
pub(super) fn message(error: &Error) -> String {
    match error {
        Error::SqliteFailure(_, Some(message)) => message.clone(),
        other => other.to_string(),
    }
}

/// The error of a missing file, which SQLite itself would only say "unable to open" about.
pub(super) fn missing(path: &Path) -> SourceError {
    SourceError::new(ErrorKind::Missing, format!("There is no file at {}.", path.display()))
        .hint("Check the path, and that its disk is mounted.")
}

/// An error of the operating system about `path`; `doing` completes "could not".
pub(super) fn from_system(path: &Path, doing: &str, error: std::io::Error) -> SourceError {
    use std::io::ErrorKind as Io;
    let kind = match error.kind() {
        Io::NotFound => ErrorKind::Missing,
        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
        Io::StorageFull | Io::QuotaExceeded => ErrorKind::Full,
        Io::AlreadyExists | Io::DirectoryNotEmpty => ErrorKind::Conflict,
        _ => ErrorKind::Unavailable,
    };
    SourceError::new(kind, format!("The server could not {doing} {}: {error}.", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_sqlite_has_its_kind_and_a_hint() {
        for (code, kind) in [
            (ffi::SQLITE_CANTOPEN, ErrorKind::Denied),
            (ffi::SQLITE_NOTADB, ErrorKind::Invalid),
            (ffi::SQLITE_READONLY_DIRECTORY, ErrorKind::Denied),
            (ffi::SQLITE_READONLY_ROLLBACK, ErrorKind::Unavailable),
            (ffi::SQLITE_BUSY, ErrorKind::Unavailable),
            (ffi::SQLITE_BUSY_SNAPSHOT, ErrorKind::Unavailable),
            (ffi::SQLITE_CORRUPT, ErrorKind::Invalid),
            (ffi::SQLITE_FULL, ErrorKind::Full),
            (ffi::SQLITE_IOERR_READ, ErrorKind::Unavailable),
        ] {
            let error = explain(Path::new("/srv/app.db"), Error::SqliteFailure(ffi::Error::new(code), None));
            assert_eq!(error.kind, kind, "code {code}");
            assert!(error.sentence.contains("/srv/app.db") && error.hint.is_some(), "code {code}");
        }
    }
}
