//! The data directory: whose it is, which node it is, and whether a server lives in it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FlockOperation, flock},
    process::geteuid,
};
use uuid::Uuid;

use crate::domain::{Error, ErrorCode, Noun, Result};

const LOCK_FILE: &str = "server.lock";
const NODE_FILE: &str = "node.id";

/// An existing data directory of our own user.
#[derive(Clone, Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
}

/// Held by a server for as long as it lives; the kernel lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub(crate) struct ServerLock {
    /// Open for the sake of its lock.
    _file: File,
}

impl DataDirectory {
    /// Opens or makes the directory.
    ///
    /// # Errors
    /// `Forbidden` when it belongs to another user: its files would become unreadable for the server that uses it.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|error| failed("found", path, error))?;
        match DirBuilder::new().mode(0o700).recursive(true).create(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("made", &path, error)),
        }
        // The true path: nesting is judged by it, and a symbolic link may be changed later.
        let path = path.canonicalize().map_err(|error| failed("opened", &path, error))?;
        let owner = fs::metadata(&path).map_err(|error| failed("read", &path, error))?.uid();
        let ours = geteuid().as_raw();
        if owner != ours {
            return Err(Error::new(
                ErrorCode::Forbidden,
                format!(
                    "The data directory {} belongs to user {owner}, and this process runs as user {ours}.",
                    path.display()
                ),
            )
            .hint("Run the command as that user, for instance with `sudo -u`."));
        }
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Takes the server's place.
    ///
    /// # Errors
    /// `InUse` with the process id of the server that is there already.
    pub(crate) fn lock_as_server(&self) -> Result<ServerLock> {
        let path = self.join(LOCK_FILE);
        let mut file = self.open_lock_file()?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let holder = holder_of(&mut file).map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
            return Err(Error::new(
                ErrorCode::InUse(Noun::Store),
                format!("A server (process {holder}) already runs on the data directory {}.", self.path.display()),
            )
            .hint("Stop it first, or give this one another --data-dir."));
        }
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()))
            .map_err(|error| failed("written", &path, error))?;
        Ok(ServerLock { _file: file })
    }

    /// Process id of the server that lives here, if one does.
    pub(crate) fn live_server(&self) -> Result<Option<u32>> {
        let mut file = self.open_lock_file()?;
        // A shared lock is refused only while a server holds the exclusive one; it ends with `file`.
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return Ok(None);
        }
        Ok(Some(holder_of(&mut file).unwrap_or(0)))
    }

    /// This node's stable id, made at the first call.
    pub(crate) fn node_id(&self) -> Result<Uuid> {
        let path = self.join(NODE_FILE);
        for _ in 0..2 {
            match fs::read_to_string(&path) {
                Ok(text) => {
                    return text.trim().parse().map_err(|error: uuid::Error| {
                        Error::internal(format!("The file {} does not hold a node's id.", path.display()))
                            .because(error)
                    });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => self.write_node_id(&path)?,
                Err(error) => return Err(failed("read", &path, error)),
            }
        }
        Err(Error::internal(format!("The file {} cannot be made.", path.display())))
    }

    /// Linked into place, so that two first commands agree on one id.
    fn write_node_id(&self, path: &Path) -> Result<()> {
        let id = Uuid::new_v4();
        let beside = self.join(&format!("{NODE_FILE}.{id}"));
        fs::write(&beside, format!("{id}\n")).map_err(|error| failed("written", &beside, error))?;
        let linked = fs::hard_link(&beside, path);
        let _ = fs::remove_file(&beside);
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed("written", path, error)),
            _ => Ok(()),
        }
    }

    fn open_lock_file(&self) -> Result<File> {
        let path = self.join(LOCK_FILE);
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed("opened", &path, error))
    }
}

fn holder_of(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn failed(verb: &str, path: &Path, error: std::io::Error) -> Error {
    Error::internal(format!("{} cannot be {verb}: {error}.", path.display())).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_refused_with_the_first_ones_process_id() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(&directory.path().join("data")).unwrap();
        assert_eq!(data.live_server().unwrap(), None);
        let lock = data.lock_as_server().unwrap();
        let refused = data.lock_as_server().unwrap_err();
        assert!(refused.sentence.contains(&std::process::id().to_string()), "{refused}");
        assert_eq!(data.live_server().unwrap(), Some(std::process::id()));
        drop(lock);
        assert_eq!(data.live_server().unwrap(), None);
        data.lock_as_server().unwrap();
    }

    #[test]
    fn a_data_directory_of_another_user_is_refused() {
        if !geteuid().is_root() {
            return; // Only root can give a directory away.
        }
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(directory.path(), Some(65534), None).unwrap();
        let refused = DataDirectory::open(directory.path()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Forbidden);
        assert!(refused.sentence.contains("65534"), "{refused}");
    }

    #[test]
    fn a_node_keeps_its_id() {
        let directory = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(directory.path()).unwrap();
        let id = data.node_id().unwrap();
        assert_eq!(data.node_id().unwrap(), id);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
