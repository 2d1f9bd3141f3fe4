//! An index for the time of one piece of maintenance: what is too much for memory goes to a file that has no name.

use crate::{
    core::Core,
    crypto::fill_random,
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    index::{Index, IndexedPack},
    index_run::RunKey,
};
use std::path::PathBuf;

/// Unit tests are too small to ever need the file, and shall use it.
const SPILL_ALWAYS: bool = cfg!(test);

/// See the module. In memory it needs at most about 30 MB for the newest 250,000 blobs (an eighth of all, when there are more than two
/// million) and 1.4 bytes for each blob that lies in the file; the file has 48 bytes per blob.
#[derive(Debug)]
pub(crate) struct ScratchIndex {
    index: Index,
    directory: PathBuf,
    /// Hides the ids in the file; nobody else ever knows it.
    key: RunKey,
}

impl ScratchIndex {
    /// An empty one. Its file will lie in the vault's cache directory, without one in the machine's directory for temporary files.
    pub fn new(core: &Core) -> Result<Self> {
        let mut key = [0; 16];
        fill_random(&mut key)?;
        let directory = match &core.options.cache_directory {
            Some(directory) => directory.join(core.id.to_hex()),
            None => std::env::temp_dir(),
        };
        Ok(Self { index: Index::default(), directory, key: RunKey::new(&key) })
    }

    /// What it holds.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Takes in what an index file lists.
    pub fn add(&mut self, file: Id, packs: &[IndexedPack]) -> Result<()> {
        self.index.add_file(file, packs);
        if self.index.should_spill() || SPILL_ALWAYS {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        let mut name = [0; 8];
        fill_random(&mut name)?;
        std::fs::create_dir_all(&self.directory).map_err(|error| self.unusable(error))?;
        let path = self.directory.join(format!("trivault-maintenance-{}.run", hex::encode(name)));
        let spilled = self.index.spill(&path, &self.key);
        // It stays readable as long as it is open, and is gone whatever becomes of this process.
        let removed = std::fs::remove_file(&path);
        spilled?;
        removed.map_err(|error| self.unusable(error))
    }

    fn unusable(&self, error: std::io::Error) -> VaultError {
        VaultError::new(
            VaultErrorKind::StoreUnavailable,
            format!("{} cannot hold temporary files", self.directory.display()),
        )
        .with_hint("give the server's user the right to write there, and room for 48 bytes for each blob of the vault")
        .with_source(error)
    }
}
