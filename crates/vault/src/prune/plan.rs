//! What a prune would do, and what it has done.

use chrono::{DateTime, Utc};
use serde::Serialize;
use std::fmt;

/// Some packs and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PackCount {
    /// How many.
    pub packs: u64,
    /// Bytes of their files.
    pub bytes: u64,
}

impl PackCount {
    pub(super) fn add(&mut self, bytes: u64) {
        self.packs += 1;
        self.bytes += bytes;
    }
}

impl fmt::Display for PackCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} packs, {} bytes", self.packs, self.bytes)
    }
}

/// What a prune would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PrunePlan {
    /// Snapshots that say what is needed.
    pub snapshots: u64,
    /// Bytes in listed packs that are needed.
    pub used_bytes: u64,
    /// Bytes in listed packs that are not.
    pub unused_bytes: u64,
    /// Packs that stay as they are.
    pub keep: PackCount,
    /// Packs whose needed blobs are copied into new ones; they are marked afterwards.
    pub repack: PackCount,
    /// Bytes to be copied for that.
    pub copied_bytes: u64,
    /// Packs that nothing needs, and packs that no index lists: to be marked.
    pub mark: PackCount,
    /// Packs marked before that go on waiting.
    pub waiting: PackCount,
    /// When the first of these was marked.
    pub waiting_since: Option<DateTime<Utc>>,
    /// Packs marked before that are needed again, and unlisted ones that hold what is missing: to be listed again.
    pub recover: PackCount,
    /// Packs marked before whose time has come.
    pub delete: PackCount,
    /// Marks that are out of date: their pack is listed again, or gone.
    pub dropped_marks: u64,
    /// What an operator should know. A sentence each.
    pub notes: Vec<String>,
}

impl PrunePlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let packs = [self.repack, self.mark, self.recover, self.delete];
        packs.iter().all(|count| count.packs == 0) && self.dropped_marks == 0
    }
}

impl fmt::Display for PrunePlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "needed by {} snapshots: {} bytes", self.snapshots, self.used_bytes)?;
        writeln!(formatter, "not needed: {} bytes", self.unused_bytes)?;
        writeln!(formatter, "keep: {}", self.keep)?;
        writeln!(formatter, "repack: {} ({} bytes are copied)", self.repack, self.copied_bytes)?;
        writeln!(formatter, "mark: {}", self.mark)?;
        writeln!(formatter, "marked and waiting: {}", self.waiting)?;
        writeln!(formatter, "list again: {}", self.recover)?;
        writeln!(formatter, "delete now: {}", self.delete)?;
        writeln!(formatter, "drop marks: {}", self.dropped_marks)?;
        self.notes.iter().try_for_each(|note| writeln!(formatter, "note: {note}"))
    }
}

/// What a prune has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PruneReport {
    /// What it had set out to do.
    pub plan: PrunePlan,
    /// Packs that were repacked.
    pub repacked: PackCount,
    /// New packs that hold what was copied.
    pub written: PackCount,
    /// Packs marked now.
    pub marked: PackCount,
    /// Packs listed again.
    pub recovered: u64,
    /// Packs deleted: the bytes are free now.
    pub deleted: PackCount,
    /// Index files written and removed.
    pub index_files_written: u64,
    /// Index files removed.
    pub index_files_removed: u64,
    /// What an operator should know. A sentence each.
    pub notes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_can_be_printed_and_sent() {
        let mut plan =
            PrunePlan { snapshots: 3, used_bytes: 10, notes: vec!["look here".to_owned()], ..PrunePlan::default() };
        assert!(plan.is_empty());
        plan.delete.add(77);
        assert!(!plan.is_empty());
        let text = plan.to_string();
        assert!(text.contains("delete now: 1 packs, 77 bytes\n") && text.ends_with("note: look here\n"), "{text}");
        assert_eq!(serde_json::to_value(&plan).unwrap()["delete"]["bytes"], 77);
    }
}
