//! The server key's file: made once, mode 0600, never overwritten.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use zeroize::Zeroizing;

use super::{ServerKey, random_hex};
use crate::domain::{Error, Result};

/// The key in this file; made with a new key when there is none and `may_create`.
pub(crate) fn load_or_create(path: &Path, may_create: bool) -> Result<ServerKey> {
    match fs::read(path) {
        Ok(bytes) => {
            let bytes = Zeroizing::new(bytes);
            refuse_readable_by_others(path)?;
            ServerKey::parse(&bytes).map_err(|error| Error {
                sentence: format!("The file {} does not hold a server key.", path.display()),
                ..error
            })
        }
        Err(error) if error.kind() == ErrorKind::NotFound && may_create => create(path),
        Err(error) => Err(Error::internal(format!("The server key {} cannot be read.", path.display()))
            .hint("Put the server key there, or name its place with --key-file.")
            .because(error)),
    }
}

fn refuse_readable_by_others(path: &Path) -> Result<()> {
    let mode = fs::metadata(path)
        .map_err(|error| Error::internal(format!("The server key {} cannot be read.", path.display())).because(error))?
        .mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "The server key {} can be read by other users (mode {:04o}).",
        path.display(),
        mode & 0o7777
    ))
    .hint(format!("chmod 600 {}", path.display())))
}

/// The key in this file; `key` is written where there is none.
pub(crate) fn load_or_keep(path: &Path, key: &ServerKey) -> Result<ServerKey> {
    if path.exists() { load_or_create(path, false) } else { keep(path, key.clone()) }
}

fn create(path: &Path) -> Result<ServerKey> {
    keep(path, ServerKey::random()?)
}

/// Written beside and linked into place, so that two first starts agree on one key and a crash leaves no half of one.
fn keep(path: &Path, key: ServerKey) -> Result<ServerKey> {
    let failed = |error: std::io::Error| {
        Error::internal(format!("The server key {} cannot be written.", path.display())).because(error)
    };
    let beside = path.with_extension(format!("new-{}", random_hex(8)?));
    let outcome = write_and_link(&key, &beside, path);
    // Gone already or not: the linked name is the one that counts.
    let _ = fs::remove_file(&beside);
    match outcome {
        Ok(()) => Ok(key),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => load_or_create(path, false),
        Err(error) => Err(failed(error)),
    }
}

fn write_and_link(key: &ServerKey, beside: &Path, path: &Path) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    file.write_all(key.to_text().expose().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::hard_link(beside, path)?;
    match path.parent() {
        Some(directory) => fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_start_makes_a_key_that_later_starts_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.key");
        assert!(load_or_create(&path, false).is_err());
        let key = load_or_create(&path, true).unwrap();
        assert_eq!(load_or_create(&path, true).unwrap(), key);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.key");
        load_or_create(&path, true).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(&path, mode).unwrap();
        assert!(load_or_create(&path, true).unwrap_err().hint.unwrap().starts_with("chmod 600"));
    }
}
