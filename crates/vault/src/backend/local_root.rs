//! A store in a folder of the local disk.

use super::failure::{folder_missing, from_io};
use super::local_files::{Existing, make_directory, remove_file, remove_tree, sync_directory, write_durably};
use super::store_root::{PASSCODE_VAULTS, Probe, StoreRoot, checked_name, probe_by_writing};
use super::{Backend, LocalBackend};
use crate::error::{Result, VaultError, VaultErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

/// Below this a probe calls the store full: the smallest backup writes one pack, one index and one snapshot.
const MIN_FREE_BYTES: u64 = 16 << 20;

/// A store in a local folder.
#[derive(Debug, Clone)]
pub struct LocalRoot {
    folder: PathBuf,
    location: String,
}

impl LocalRoot {
    /// The store in this folder, which need not exist yet. A relative path is taken from the working directory of now.
    pub fn new(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let folder = std::path::absolute(folder)
            .map_err(|error| from_io(&folder.display().to_string(), "finding the folder", error))?;
        Ok(Self { location: folder.display().to_string(), folder })
    }

    /// The folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn file(&self, name: &str) -> Result<PathBuf> {
        checked_name(name).map(|name| self.folder.join(name))
    }

    fn failure(&self, verb: &str, name: &str, error: io::Error) -> VaultError {
        if error.kind() != io::ErrorKind::NotFound {
            return from_io(&self.location, &format!("{verb} {name}"), error);
        }
        if !self.folder.is_dir() {
            return folder_missing(&self.location);
        }
        VaultError::missing(format!("{name} is not in the store at {}", self.location)).with_source(error)
    }

    fn store(&self, name: &str, bytes: &[u8], existing: Existing) -> Result<bool> {
        let target = self.file(name)?;
        if !self.folder.is_dir() {
            return Err(folder_missing(&self.location));
        }
        let directory = target.parent().unwrap_or(&self.folder);
        make_directory(directory)
            .and_then(|()| write_durably(&target, bytes, existing))
            .map_err(|error| self.failure("writing", name, error))
    }

    fn free_bytes(&self) -> Option<u64> {
        let found = rustix::fs::statvfs(&self.folder).ok()?;
        found.f_bavail.checked_mul(found.f_frsize)
    }
}

impl StoreRoot for LocalRoot {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn prepare(&self) -> Result<()> {
        make_directory(&self.folder).map_err(|error| from_io(&self.location, "making the store's folder", error))
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        fs::read(self.file(name)?).map_err(|error| self.failure("reading", name, error))
    }

    fn write_atomic(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.store(name, bytes, Existing::Replace).map(|_| ())
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        self.store(name, bytes, Existing::Keep)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let target = self.file(name)?;
        match remove_file(&target) {
            Ok(()) => sync_directory(target.parent().unwrap_or(&self.folder))
                .map_err(|error| self.failure("removing", name, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.folder.is_dir() => Ok(()),
            Err(error) => Err(self.failure("removing", name, error)),
        }
    }

    fn list_dirs(&self, prefix: &str) -> Result<Vec<String>> {
        let directory = if prefix.is_empty() { self.folder.clone() } else { self.file(prefix)? };
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    names.extend(entry.file_name().into_string());
                }
            }
            names.sort();
            Ok(names)
        };
        match list() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.folder.is_dir() => Ok(Vec::new()),
            listed => listed.map_err(|error| self.failure("listing", prefix, error)),
        }
    }

    fn remove_tree(&self, prefix: &str) -> Result<()> {
        let directory = self.file(prefix)?;
        match remove_tree(&directory) {
            Ok(()) => sync_directory(directory.parent().unwrap_or(&self.folder))
                .map_err(|error| self.failure("removing", prefix, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.folder.is_dir() => Ok(()),
            Err(error) => Err(self.failure("removing", prefix, error)),
        }
    }

    fn vault(&self, prefix: &str) -> Result<Arc<dyn Backend>> {
        let root = self.file(prefix)?;
        let lazy = prefix.split('/').next() == Some(PASSCODE_VAULTS);
        Ok(if lazy {
            Arc::new(LocalBackend::with_lazy_data_directories(root))
        } else {
            Arc::new(LocalBackend::new(root))
        })
    }

    fn probe(&self) -> Result<Probe> {
        let exclusive_create = probe_by_writing(self)?;
        let free_bytes = self.free_bytes();
        if let Some(free) = free_bytes.filter(|free| *free < MIN_FREE_BYTES) {
            let sentence = format!("the store at {} has only {} KiB left", self.location, free >> 10);
            return Err(VaultError::new(VaultErrorKind::StoreFull, sentence)
                .with_hint("free space there or move the store to a larger disk"));
        }
        Ok(Probe { free_bytes, exclusive_create })
    }
}
