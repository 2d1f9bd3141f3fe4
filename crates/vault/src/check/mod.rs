//! Checks of a vault as a whole: what restores would meet, found before they do.
//!
//! * **Structure** (level V4, always): every index file opens, every listed pack is there and has the length that its list says, every tree
//!   of every snapshot opens, every blob that a file names is listed, and the lengths of a file's blobs add up to its size, which the stock
//!   `restic check` does not compare.
//! * **Bytes** (level V5, [`ReadSubset`]): of whole packs, read past the machine's cache, the SHA-256 is the name, the header lists what
//!   the index lists, and every blob's MAC and SHA-256 hold. A pack that is conspicuous by its structure is read in any case, so that the
//!   report can name the files that suffer.
//!
//! A check writes nothing and needs no lock of its own, but its caller holds a shared one ([`crate::LockMode::Shared`]), lest another
//! program's prune be taken for damage. Memory: that of [`Census`], one piece of at most 4 MiB (or one blob, if larger) for each of four
//! packs being read, and 100 bytes for each damaged blob.

mod file_faults;
pub(crate) mod pack_reading;
mod packs;
mod report;
mod trees;

pub use report::{CheckReport, DamagedFile, DamagedIndex, DamagedPack, PackDamage};

use crate::{
    census::{Census, stored_packs},
    core::Core,
    error::Result,
    id::Id,
    maintenance::{MaintenanceEvents, working_memory},
    snapshot,
    vault::Vault,
};

/// Which packs are read whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadSubset {
    /// None: the structure alone.
    None,
    /// Those whose id's first byte, divided by `of`, leaves `part`: names are digests, so that `of` runs with one part each cover all
    /// packs. `of` is 1 to 256; `part` counts modulo `of`.
    Share {
        /// Which share.
        part: u32,
        /// How many there are.
        of: u32,
    },
    /// All.
    All,
}

impl ReadSubset {
    /// Whether this pack is read.
    pub(crate) fn contains(self, pack: &Id) -> bool {
        match self {
            Self::None => false,
            Self::Share { part, of } => {
                let of = of.clamp(1, 256);
                u32::from(pack.as_bytes()[0]) % of == part % of
            }
            Self::All => true,
        }
    }
}

/// How a vault is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// Which packs are read whole.
    pub read: ReadSubset,
}

impl Vault {
    /// Checks the vault; see the module's words on levels. Damage is reported, not an error: an error means that the check could not be
    /// done.
    pub fn check(&self, options: &CheckOptions, events: &dyn MaintenanceEvents) -> Result<CheckReport> {
        let core = self.core();
        let _memory = working_memory(&core.options.budget, events)?;
        // Snapshots before the index, the index before the packs: whoever writes goes the other way, so that nothing is met too early.
        let snapshots = snapshot::read_all(core)?;
        let census = Census::take(core, events)?;
        let stored = stored_packs(core)?;
        let mut report = CheckReport { snapshots: snapshots.snapshots.len() as u64, ..CheckReport::default() };
        report.add_index(&census, &stored);
        let unreadable = packs::check(core, &census, &stored, options.read, events, &mut report)?;
        trees::check(core, &census, &snapshots, &unreadable, events, &mut report)?;
        log(core, &report);
        Ok(report)
    }
}

fn log(core: &Core, report: &CheckReport) {
    if report.is_sound() {
        return;
    }
    tracing::error!(
        vault.id = %core.id,
        damaged_packs = report.damaged_packs.len(),
        damaged_files = report.damaged_snapshots.len(),
        damaged_index_files = report.damaged_index_files.len(),
        "a check found damage"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_one_division_cover_every_pack_once() {
        for of in [1, 2, 7, 30, 256] {
            for name in 0..500_u32 {
                let pack = Id::of(&name.to_le_bytes());
                let parts = (0..of).filter(|part| ReadSubset::Share { part: *part, of }.contains(&pack)).count();
                assert_eq!(parts, 1);
            }
        }
        assert!(ReadSubset::All.contains(&Id::of(b"")) && !ReadSubset::None.contains(&Id::of(b"")));
        assert!(ReadSubset::Share { part: 5, of: 0 }.contains(&Id::of(b"")), "a division by nothing is no division");
    }
}
