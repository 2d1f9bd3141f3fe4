//! What a capture met: figures for the manifest, and oddities that become one warning each.

use std::collections::BTreeMap;

use rustix::io::Errno;
use serde_json::{Value, json};

use super::{super::status::reason, shown_path};
use crate::{CaptureSink, Warning};

/// Paths of files that changed while they were read that the manifest lists.
const CHANGED_PATHS_LIMIT: usize = 1000;

/// A kind of oddity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Oddity {
    Changed,
    Vanished,
    Unreadable,
    AttributesUnreadable,
    LiveDatabase,
    LinksForgotten,
    InventoryMerged,
}

impl Oddity {
    fn code(self) -> &'static str {
        match self {
            Self::Changed => "changed_during_read",
            Self::Vanished => "vanished",
            Self::Unreadable => "unreadable",
            Self::AttributesUnreadable => "attributes_unreadable",
            Self::LiveDatabase => "live_database_inside",
            Self::LinksForgotten => "hard_links_stored_apart",
            Self::InventoryMerged => "inventory_merged",
        }
    }

    fn sentence(self, count: u64, first: &str) -> String {
        match self {
            Self::Changed => format!(
                "{count} file(s) changed while they were read, twice; what was read is kept and may mix old and new. \
                 The first: {first}."
            ),
            Self::Vanished => format!("{count} entries vanished during the walk. The first: {first}."),
            Self::Unreadable => {
                format!("{count} entries could not be read and are not in this backup. The first: {first}.")
            }
            Self::AttributesUnreadable => {
                format!("Extended attributes of {count} entries could not be read. The first: {first}.")
            }
            Self::LiveDatabase => format!(
                "{count} live database(s) lie in this directory; a copy of their files may not open. Add each as its \
                 own source. The first: {first}."
            ),
            Self::LinksForgotten => format!(
                "There are very many files with several names; {count} of them are stored and restored as files of \
                 their own. The first: {first}."
            ),
            Self::InventoryMerged => {
                format!("There are very many directories; the files of {count} are counted together as `_other`.")
            }
        }
    }
}

#[derive(Default)]
pub(super) struct Tally {
    oddities: BTreeMap<Oddity, (u64, String)>,
    changed: Vec<String>,
    /// Of contents, each counted once.
    pub bytes: u64,
    /// What these take up on the disk, bytes.
    pub allocated: u64,
    pub files: u64,
    /// Further names of files.
    pub hard_links: u64,
    pub directories: u64,
    pub symlinks: u64,
    /// Fifos, sockets, devices.
    pub specials: u64,
    /// Files that were taken over from the previous backup unread.
    pub reused: u64,
    pub excluded: u64,
}

impl Tally {
    pub fn add(&mut self, oddity: Oddity, path: &[u8]) {
        self.add_with(oddity, || shown_path(path));
        if oddity == Oddity::Changed && self.changed.len() < CHANGED_PATHS_LIMIT {
            self.changed.push(super::show(path));
        }
    }

    pub fn refused(&mut self, oddity: Oddity, path: &[u8], errno: Errno) {
        self.add_with(oddity, || format!("{} ({})", shown_path(path), reason(errno)));
    }

    /// `first` says what was met, and is only asked the first time.
    pub fn add_with(&mut self, oddity: Oddity, first: impl FnOnce() -> String) {
        self.oddities.entry(oddity).or_insert_with(|| (0, first())).0 += 1;
    }

    pub fn add_many(&mut self, oddity: Oddity, count: u64) {
        if count > 0 {
            self.oddities.entry(oddity).or_default().0 += count;
        }
    }

    pub fn count(&self, oddity: Oddity) -> u64 {
        self.oddities.get(&oddity).map_or(0, |(count, _)| *count)
    }

    /// Everything but directories.
    pub fn items(&self) -> u64 {
        self.files + self.hard_links + self.symlinks + self.specials
    }

    pub fn warn(&self, sink: &dyn CaptureSink) {
        for (oddity, (count, first)) in &self.oddities {
            let sentence = oddity.sentence(*count, first);
            sink.warn(Warning { code: oddity.code().to_owned(), count: *count, sentence });
        }
    }

    /// A line of the job's log.
    pub fn summary(&self) -> String {
        let Self { bytes, files, hard_links, directories, symlinks, specials, reused, excluded, .. } = self;
        format!(
            "captured {files} files ({reused} unchanged since the previous backup), {hard_links} further names, \
             {symlinks} symbolic links, {specials} special files in {directories} directories; {bytes} bytes; \
             {excluded} entries left out"
        )
    }

    pub fn details(&self, root: &str) -> Value {
        let Self {
            oddities: _,
            changed,
            bytes: _,
            allocated,
            files,
            hard_links,
            directories,
            symlinks,
            specials,
            reused,
            excluded,
        } = self;
        json!({
            "root": root,
            "allocated": allocated,
            "files": files,
            "hard_links": hard_links,
            "directories": directories,
            "symlinks": symlinks,
            "specials": specials,
            "reused": reused,
            "excluded": excluded,
            "unreadable": self.count(Oddity::Unreadable),
            "vanished": self.count(Oddity::Vanished),
            "changed_during_read": changed,
            "inventory_merged": self.count(Oddity::InventoryMerged) > 0,
        })
    }
}
