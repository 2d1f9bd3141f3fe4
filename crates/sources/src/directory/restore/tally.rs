//! What a restore could not do as it should: one warning for each kind, with the first example.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::super::status::{reason, show};
use crate::{PartReader, Warning};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shortfall {
    Owner,
    Attributes,
    Device,
    Socket,
    TypeDiffers,
    LinkApart,
    ValueTooLong,
}

impl Shortfall {
    fn code(self) -> &'static str {
        match self {
            Self::Owner => "owner_not_restored",
            Self::Attributes => "attributes_not_restored",
            Self::Device => "devices_skipped",
            Self::Socket => "sockets_skipped",
            Self::TypeDiffers => "type_differs",
            Self::LinkApart => "hard_links_apart",
            Self::ValueTooLong => "value_too_long",
        }
    }

    fn sentence(self, count: u64, first: &str) -> String {
        match self {
            Self::Owner => format!(
                "The owner of {count} entries could not be set, so they belong to us and are not setuid or setgid. \
                 The first: {first}. Run as root to restore owners."
            ),
            Self::Attributes => {
                format!("Extended attributes of {count} entries could not be set. The first: {first}.")
            }
            Self::Device => format!("{count} device nodes were skipped: only root makes them. The first: {first}."),
            Self::Socket => {
                format!("{count} sockets were skipped: programs make them when they start. The first: {first}.")
            }
            Self::TypeDiffers => format!(
                "{count} entries were skipped, because a directory stands where the backup has something else, or the \
                 other way round. The first: {first}."
            ),
            Self::LinkApart => {
                format!("{count} further names of files were restored as files of their own. The first: {first}.")
            }
            Self::ValueTooLong => format!(
                "{count} files are too long to look for the wanted value in them, and were left out. The first: {first}."
            ),
        }
    }
}

#[derive(Default)]
pub(super) struct Tally(BTreeMap<Shortfall, (u64, String)>);

impl Tally {
    pub fn add(&mut self, shortfall: Shortfall, path: &[u8]) {
        self.0.entry(shortfall).or_insert_with(|| (0, format!("`{}`", show(path)))).0 += 1;
    }

    pub fn refused(&mut self, shortfall: Shortfall, path: &[u8], errno: Errno) {
        self.0.entry(shortfall).or_insert_with(|| (0, format!("`{}` ({})", show(path), reason(errno)))).0 += 1;
    }

    pub fn warn(&self, part: &dyn PartReader) {
        for (shortfall, (count, first)) in &self.0 {
            let sentence = shortfall.sentence(*count, first);
            part.warn(Warning { code: shortfall.code().to_owned(), count: *count, sentence });
        }
    }
}
