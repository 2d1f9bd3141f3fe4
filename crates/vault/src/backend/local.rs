//! A vault in a directory of the local disk.

use super::failure::{folder_missing, from_io};
use super::local_files::{
    Existing, make_directory, make_one_directory, remove_file, sweep_temporaries, sync_directory, write_durably,
};
use super::{Backend, Entry, FileKind, is_content_name};
use crate::error::{Result, VaultError};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

/// Temporary files older than this belong to no living writer: the longest single file write is minutes.
const TEMPORARY_MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// A vault in a local directory, laid out as restic's local backend does.
#[derive(Debug, Clone)]
pub struct LocalBackend {
    root: PathBuf,
    location: String,
    lazy_data_directories: bool,
    /// Of a lazy vault: the pack directories that are known to be durable in `data`.
    lasting: Arc<[AtomicBool; 256]>,
}

impl LocalBackend {
    /// The vault at `root`, which need not exist yet. [`Backend::prepare`] makes all 256 pack directories.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let lasting = Arc::new([const { AtomicBool::new(false) }; 256]);
        Self { location: root.display().to_string(), root, lazy_data_directories: false, lasting }
    }

    /// The same, but each pack directory is made only when its first pack comes: a vault for a passcode often holds a few files, and 256
    /// empty directories cost 1 MiB on ext4.
    pub fn with_lazy_data_directories(root: impl Into<PathBuf>) -> Self {
        Self { lazy_data_directories: true, ..Self::new(root) }
    }

    fn file(&self, kind: FileKind, name: &str) -> Result<PathBuf> {
        Ok(self.root.join(kind.path(name)?))
    }

    /// The error of a file operation. A missing file in a missing folder is an unmounted disk, not a lost file.
    fn failure(&self, verb: &str, kind: FileKind, name: &str, error: io::Error) -> VaultError {
        if error.kind() != io::ErrorKind::NotFound {
            return from_io(&self.location, &format!("{verb} the {} {}", kind.noun(), short(name)), error);
        }
        if !self.root.is_dir() {
            return folder_missing(&self.location);
        }
        VaultError::missing(format!("the {} {} is not in the vault at {}", kind.noun(), short(name), self.location))
            .with_hint("verify the vault; the next backup stores again what its source still has")
            .with_source(error)
    }

    fn store(&self, kind: FileKind, name: &str, bytes: &[u8], existing: Existing) -> Result<bool> {
        let target = self.file(kind, name)?;
        let outcome = match write_durably(&target, bytes, existing) {
            // The directory may be missing in a lazy vault, or where another program made the vault.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => {
                let directory = target.parent().unwrap_or(&self.root);
                make_directory(directory).and_then(|()| write_durably(&target, bytes, existing))
            }
            outcome => outcome,
        };
        let outcome = outcome.and_then(|stored| {
            if self.lazy_data_directories && kind == FileKind::Pack {
                self.make_directory_last(name)?;
            }
            Ok(stored)
        });
        outcome.map_err(|error| self.failure("writing", kind, name, error))
    }

    /// Makes the directory of a pack durable in `data`, once. It may have been found: made by another writer that has not synced it yet, or
    /// died before.
    fn make_directory_last(&self, pack: &str) -> io::Result<()> {
        let lasting = pack.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let Some(lasting) = lasting.and_then(|first_byte| self.lasting.get(usize::from(first_byte))) else {
            return Ok(());
        };
        if !lasting.load(Ordering::Acquire) {
            sync_directory(&self.root.join(FileKind::Pack.directory()))?;
            lasting.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Makes what `index/` shows durable. A snapshot may rely on an index file that another process has given its name and not synced, because
    /// it is about to or because it died.
    fn make_index_last(&self) -> io::Result<()> {
        match sync_directory(&self.root.join(FileKind::Index.directory())) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced,
        }
    }

    fn list_directory(&self, directory: &Path, into: &mut Vec<Entry>) -> io::Result<()> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().filter(|name| is_content_name(name)).map(str::to_owned) else {
                continue;
            };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => into.push(Entry { name, length: metadata.len() }),
                Ok(_) => {}
                // Removed between the listing and the look at it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn list_kind(&self, kind: FileKind) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        match kind {
            FileKind::Config => match fs::metadata(self.root.join("config")) {
                Ok(metadata) => found.push(Entry { name: "config".to_owned(), length: metadata.len() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            },
            FileKind::Pack => {
                for first_byte in 0..=u8::MAX {
                    self.list_directory(&self.root.join(pack_directory(first_byte)), &mut found)?;
                }
            }
            FileKind::Key | FileKind::Index | FileKind::Snapshot | FileKind::Lock => {
                self.list_directory(&self.root.join(kind.directory()), &mut found)?;
            }
        }
        Ok(found)
    }

    fn make_layout(&self) -> io::Result<()> {
        for kind in FileKind::ALL {
            make_directory(&self.root.join(kind.directory()))?;
        }
        let data = self.root.join(FileKind::Pack.directory());
        if !self.lazy_data_directories {
            for first_byte in 0..=u8::MAX {
                let directory = self.root.join(pack_directory(first_byte));
                if !directory.is_dir() {
                    make_one_directory(&directory)?;
                }
            }
            sync_directory(&data)?;
        }
        Ok(())
    }

    fn sweep_before(&self, before: SystemTime) -> usize {
        let packs = (0..=u8::MAX).map(|first_byte| self.root.join(pack_directory(first_byte)));
        let others = FileKind::ALL.into_iter().map(|kind| self.root.join(kind.directory()));
        packs.chain(others).map(|directory| sweep_temporaries(&directory, before)).sum()
    }
}

impl Backend for LocalBackend {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn lists_at_once(&self) -> bool {
        true
    }

    fn list(&self, kind: FileKind) -> Result<Vec<Entry>> {
        if !self.root.is_dir() {
            return Err(folder_missing(&self.location));
        }
        self.list_kind(kind).map_err(|error| from_io(&self.location, &format!("listing each {}", kind.noun()), error))
    }

    fn length(&self, kind: FileKind, name: &str) -> Result<u64> {
        let found = fs::metadata(self.file(kind, name)?);
        found.map(|metadata| metadata.len()).map_err(|error| self.failure("looking at", kind, name, error))
    }

    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        fs::read(self.file(kind, name)?).map_err(|error| self.failure("reading", kind, name, error))
    }

    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        let path = self.file(kind, name)?;
        let read = || -> io::Result<Option<Vec<u8>>> {
            let file = File::open(&path)?;
            // The length may come from a damaged index: look before reserving memory for it.
            if offset.checked_add(length).is_none_or(|end| file.metadata().is_ok_and(|found| found.len() < end)) {
                return Ok(None);
            }
            let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            match file.read_exact_at(&mut bytes, offset) {
                Ok(()) => Ok(Some(bytes)),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                Err(error) => Err(error),
            }
        };
        match read() {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(too_short(kind, name, &self.location)),
            Err(error) => Err(self.failure("reading", kind, name, error)),
        }
    }

    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        if kind == FileKind::Snapshot {
            self.make_index_last().map_err(|error| self.failure("writing", kind, name, error))?;
        }
        self.store(kind, name, bytes, Existing::Replace).map(|_| ())
    }

    fn create(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<bool> {
        self.store(kind, name, bytes, Existing::Keep)
    }

    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        let path = self.file(kind, name)?;
        match remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => return Ok(()),
            Err(error) => return Err(self.failure("removing", kind, name, error)),
        }
        // An index that comes back after a power cut would name packs that are gone, a snapshot would be a backup that was deleted.
        // Packs and locks that come back do no harm, and there are many of them.
        if matches!(kind, FileKind::Pack | FileKind::Lock) {
            return Ok(());
        }
        let directory = path.parent().unwrap_or(&self.root);
        sync_directory(directory).map_err(|error| self.failure("removing", kind, name, error))
    }

    fn prepare(&self) -> Result<()> {
        self.make_layout().map_err(|error| from_io(&self.location, "making the vault's folders", error))
    }

    fn sweep(&self) -> Result<()> {
        if !self.root.is_dir() {
            return Err(folder_missing(&self.location));
        }
        let swept = self.sweep_before(SystemTime::now() - TEMPORARY_MAX_AGE);
        if swept > 0 {
            tracing::info!(vault.location = %self.location, files = swept, "removed temporary files of a crashed writer");
        }
        Ok(())
    }

    fn discard_cache(&self, kind: FileKind, name: &str) {
        let Ok(path) = self.file(kind, name) else { return };
        if let Ok(file) = File::open(path) {
            // Advice: a file system that does not take it serves the next read from memory, which is right too.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
}

fn pack_directory(first_byte: u8) -> String {
    format!("{}/{first_byte:02x}", FileKind::Pack.directory())
}

/// The first digits of a name, enough to find the file by.
pub(super) fn short(name: &str) -> &str {
    name.get(..10).unwrap_or(name)
}

/// A file that ends before its last wanted byte.
pub(super) fn too_short(kind: FileKind, name: &str, location: &str) -> VaultError {
    VaultError::damaged(format!(
        "the {} {} in the vault at {location} is shorter than it must be",
        kind.noun(),
        short(name)
    ))
}
