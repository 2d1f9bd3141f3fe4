//! Where blobs lie in packs that are marked for removal.
//!
//! Such a pack stays for a day at least. Readers may use it, for a snapshot may have come to need it while it was being marked; writers
//! never take it for stored.

use crate::{
    core::{Core, REFRESH_TRIES},
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    index::{IndexedPack, Location},
    pack::BlobKind,
    parallel::read_each,
    scratch_index::ScratchIndex,
    unpacked,
};
use std::collections::HashSet;

/// The marks of all index files at one time.
#[derive(Debug)]
pub(crate) struct Marks {
    blobs: ScratchIndex,
    packs: HashSet<Id>,
}

impl Marks {
    /// Reads all index files. Those that cannot be read are left out; who opened the vault was told of them.
    pub fn read(core: &Core) -> Result<Self> {
        for _ in 0..REFRESH_TRIES {
            if let Some(marks) = Self::try_read(core)? {
                return Ok(marks);
            }
        }
        Err(VaultError::new(VaultErrorKind::StoreUnavailable, "the index changes faster than it can be read"))
    }

    /// `None` when a file was removed since it was listed.
    fn try_read(core: &Core) -> Result<Option<Self>> {
        let mut marks = Self { blobs: ScratchIndex::new(core)?, packs: HashSet::new() };
        let mut vanished = false;
        let files = unpacked::list(&*core.backend, crate::backend::FileKind::Index)?;
        read_each(
            &files,
            |id| core.read_index_file(id),
            |id, file| match file {
                Ok(file) => {
                    let marked: Vec<IndexedPack> = file.marked.into_iter().map(|marked| marked.pack).collect();
                    marks.packs.extend(marked.iter().map(|pack| pack.id));
                    marks.blobs.add(*id, &marked)
                }
                Err(error) if matches!(error.kind(), VaultErrorKind::Damaged | VaultErrorKind::Unsupported) => Ok(()),
                Err(error) if error.kind() == &VaultErrorKind::Missing => {
                    vanished = true;
                    Ok(())
                }
                Err(error) => Err(error.during("reading the index")),
            },
        )?;
        Ok((!vanished).then_some(marks))
    }

    /// Where a blob lies.
    pub fn find(&self, kind: BlobKind, id: &Id) -> Result<Option<Location>> {
        self.blobs.index().find(kind, id)
    }

    /// Whether a pack is marked.
    pub fn contains(&self, pack: &Id) -> bool {
        self.packs.contains(pack)
    }
}
