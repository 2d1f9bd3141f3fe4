//! What a check found.

use crate::{
    census::{Census, MANY_INDEXES, Mark, SMALL_INDEX},
    error::{VaultError, VaultErrorKind},
    id::Id,
    snapshot::go_time,
};
use serde::Serialize;
use std::collections::HashMap;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Snapshots whose trees were walked.
    pub snapshots: u64,
    /// Packs that the index lists.
    pub packs: u64,
    /// Stored bytes of packs and trees that were read.
    pub bytes_read: u64,
    /// Packs that are not what their index or their name says.
    pub damaged_packs: Vec<DamagedPack>,
    /// Files, directories and whole snapshots that cannot be restored as they were. Of each damaged snapshot there is at least one
    /// entry, and at most a thousand.
    pub damaged_snapshots: Vec<DamagedFile>,
    /// Index files that cannot be read.
    pub damaged_index_files: Vec<DamagedIndex>,
    /// What is no damage: packs that no index lists, blobs stored twice, marks that are out of date. A sentence each.
    pub notes: Vec<String>,
}

/// A pack that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedPack {
    /// Its name.
    pub id: Id,
    /// What is wrong.
    pub what: PackDamage,
    /// The same for a person.
    pub sentence: String,
}

/// What is wrong with a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PackDamage {
    /// It is listed and not there.
    Missing,
    /// Its file is shorter or longer than its list says.
    WrongLength,
    /// Its bytes are not those it was stored with.
    WrongContent,
    /// Its header lists other blobs than the index, or cannot be read.
    WrongHeader,
    /// The store does not give it out.
    Unreadable,
    /// Several index files list it, each otherwise.
    Contradictory,
}

/// A part of a snapshot that cannot be restored as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedFile {
    /// The snapshot.
    pub snapshot: Id,
    /// Path from the snapshot's root, as text; empty when the snapshot itself cannot be read.
    pub path: String,
    /// First damaged byte of the file.
    pub offset: u64,
    /// How many bytes from there on; 0 for directories and whole snapshots.
    pub length: u64,
    /// What is wrong, for a person.
    pub sentence: String,
}

/// An index file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DamagedIndex {
    /// Its name.
    pub id: Id,
    /// Why, for a person.
    pub sentence: String,
}

impl CheckReport {
    /// Whether there is no damage. Notes are none.
    pub fn is_sound(&self) -> bool {
        self.damaged_packs.is_empty() && self.damaged_snapshots.is_empty() && self.damaged_index_files.is_empty()
    }

    /// What shows by comparing the index with the list of packs; packs that are missing or too short are found when they are looked at.
    pub(super) fn add_index(&mut self, census: &Census, stored: &HashMap<Id, u64>) {
        self.packs = census.packs.len() as u64;
        for (id, error) in &census.damaged {
            self.damaged_index_files.push(DamagedIndex { id: *id, sentence: error.sentence().to_owned() });
        }
        let is_orphan = |id: &Id| census.number(id).is_none() && !census.marks.contains_key(id);
        let orphans: Vec<u64> = stored.iter().filter(|(id, _)| is_orphan(id)).map(|(_, length)| *length).collect();
        self.count_note(orphans.len(), |count| {
            let bytes: u64 = orphans.iter().sum();
            format!("{count} packs with {bytes} bytes are in no index; a prune marks them and removes them later")
        });
        let waits = |id: &Id| stored.contains_key(id) && census.number(id).is_none();
        let waiting: Vec<&Mark> = census.marks.iter().filter(|(id, _)| waits(id)).map(|(_, mark)| mark).collect();
        self.count_note(waiting.len(), |count| {
            let bytes: u64 = waiting.iter().map(|mark| mark.size).sum();
            let since = waiting
                .iter()
                .filter_map(|mark| mark.time)
                .min()
                .map_or(String::new(), |time| format!(", the first since {}", go_time(&time)));
            format!("{count} packs with {bytes} bytes are marked and wait for their removal{since}")
        });
        let small = census.files.iter().filter(|file| file.blobs < SMALL_INDEX).count();
        self.count_note(small / MANY_INDEXES, |_| {
            format!("{small} index files are small, which makes opening the vault slower; a prune joins them")
        });
        let gone = census.marks.keys().filter(|id| !stored.contains_key(id)).count();
        self.count_note(gone, |count| {
            format!("{count} packs are marked for removal and gone already; a prune drops their marks")
        });
        let again = census.marks.keys().filter(|id| census.number(id).is_some()).count();
        self.count_note(again, |count| {
            format!("{count} packs are marked for removal and in use again; a prune drops their marks")
        });
        let twice = census.packs.iter().filter(|pack| pack.listings > 1).count();
        self.count_note(twice, |count| {
            format!("{count} packs are listed by several index files; a prune tidies this up")
        });
        self.count_note(census.duplicates(), |count| {
            format!("{count} blobs are stored more than once; a prune keeps one copy of each")
        });
    }

    fn count_note(&mut self, count: usize, sentence: impl Fn(usize) -> String) {
        if count > 0 {
            self.notes.push(sentence(count));
        }
    }
}

/// Whether an error tells of damage at rest, and not of a store that does not work now.
pub(super) fn is_damage(error: &VaultError) -> bool {
    matches!(error.kind(), VaultErrorKind::Damaged | VaultErrorKind::Missing | VaultErrorKind::Unsupported)
}
