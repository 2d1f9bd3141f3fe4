//! What went wrong on a local disk, told as a sentence with advice.

use crate::error::{VaultError, VaultErrorKind};
use std::io;

/// Turns a failure of the file system into the vault's error. `doing` completes "while …".
pub(super) fn from_io(location: &str, doing: &str, error: io::Error) -> VaultError {
    use io::ErrorKind;
    let (kind, sentence, hint) = match error.kind() {
        ErrorKind::StorageFull => (
            VaultErrorKind::StoreFull,
            format!("the store at {location} is full ({doing})"),
            "free space there or move the store to a larger disk, then run the job again",
        ),
        ErrorKind::QuotaExceeded => (
            VaultErrorKind::StoreFull,
            format!("the quota of the store at {location} is used up ({doing})"),
            "raise the quota or free space there, then run the job again",
        ),
        ErrorKind::NotFound => (
            VaultErrorKind::Missing,
            format!("a file is missing in the store at {location} ({doing})"),
            "verify the vault; the next backup stores again what its source still has",
        ),
        ErrorKind::PermissionDenied => (
            VaultErrorKind::StoreRefused,
            format!("the store at {location} may not be used by the server's user ({doing}: permission denied)"),
            "give the user that runs the server the right to read and write this folder and everything in it",
        ),
        ErrorKind::ReadOnlyFilesystem => (
            VaultErrorKind::StoreRefused,
            format!("the store at {location} is mounted read-only ({doing})"),
            "look for disk errors in the system's log, then mount it writable again",
        ),
        _ => (
            VaultErrorKind::StoreUnavailable,
            format!("the store at {location} does not work ({doing}: {error})"),
            "check that the disk is mounted and healthy, then run the job again",
        ),
    };
    VaultError::new(kind, sentence).with_hint(hint).with_source(error)
}

/// The store's folder itself is not there: most often a disk that is not mounted.
pub(super) fn folder_missing(location: &str) -> VaultError {
    VaultError::new(VaultErrorKind::StoreUnavailable, format!("the folder {location} of the store is not there"))
        .with_hint("mount the disk that holds it, or correct the store's path")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_kind_and_advice() {
        let cases = [
            (io::ErrorKind::StorageFull, VaultErrorKind::StoreFull),
            (io::ErrorKind::QuotaExceeded, VaultErrorKind::StoreFull),
            (io::ErrorKind::NotFound, VaultErrorKind::Missing),
            (io::ErrorKind::PermissionDenied, VaultErrorKind::StoreRefused),
            (io::ErrorKind::ReadOnlyFilesystem, VaultErrorKind::StoreRefused),
            (io::ErrorKind::TimedOut, VaultErrorKind::StoreUnavailable),
        ];
        for (kind, expected) in cases {
            let error = from_io("/srv/store", "writing a pack", kind.into());
            assert_eq!(error.kind(), &expected);
            assert!(error.sentence().contains("/srv/store") && error.sentence().contains("writing a pack"));
            assert!(error.hint().is_some());
        }
    }
}
