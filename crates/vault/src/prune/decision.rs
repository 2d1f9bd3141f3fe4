//! What shall become of every pack.

use super::{CLOCK_SKEW, PruneOptions, usage::Usage};
use crate::{
    backend::FileKind,
    census::{MANY_INDEXES, Mark, SMALL_INDEX},
    check::pack_reading::read_pack,
    core::Core,
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    pack::BlobKind,
    relist::read_header,
};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{HashMap, HashSet};

/// A pack with fewer bytes is small; writers end one after 16 MiB.
const SMALL_PACK: u64 = 1 << 20;
/// So many small packs are worth being joined.
const MANY_SMALL_PACKS: usize = 64;

/// What becomes of a listed pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Keep,
    /// What is needed of it is copied, then it is marked.
    Repack,
    Mark,
    /// It is not there and nothing needs it: its listing goes.
    Drop,
}

/// What becomes of a pack that is marked or in no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkFate {
    Wait,
    /// It is listed again.
    Recover,
    Delete,
    /// Only its mark goes: it is listed, or not there.
    Drop,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Decision {
    /// By the pack's number.
    pub packs: Vec<Fate>,
    pub marks: HashMap<Id, MarkFate>,
    /// Packs in no index: `Recover`, or `Wait` for those to be marked. Those left alone are not here.
    pub orphans: HashMap<Id, MarkFate>,
    /// Whether there are index files that say nothing.
    pub drops_indexes: bool,
    /// Whether small index files are joined.
    pub joins_indexes: bool,
    pub notes: Vec<String>,
}

impl Decision {
    pub fn make(core: &Core, usage: &Usage, stored: &HashMap<Id, u64>, options: &PruneOptions) -> Result<Self> {
        let census = &usage.census;
        let mut decision = Self {
            packs: vec![Fate::Keep; census.packs.len()],
            marks: HashMap::new(),
            orphans: HashMap::new(),
            drops_indexes: census.files.iter().any(|file| file.is_empty),
            joins_indexes: census.files.iter().filter(|file| file.blobs < SMALL_INDEX).count() >= MANY_INDEXES,
            notes: Vec::new(),
        };
        let mut again = HashSet::new();
        let mut lost = HashSet::new();
        for (kind, id) in &usage.unlisted {
            match census.find_marked(*kind, id)?.filter(|location| stored.contains_key(&location.pack)) {
                Some(location) => again.insert(location.pack),
                None => lost.insert((*kind, *id)),
            };
        }
        decision.judge_listed(core, usage, stored, options)?;
        for (id, mark) in &census.marks {
            let is_listed = census.number(id).is_some();
            let fate = if is_listed || !stored.contains_key(id) {
                MarkFate::Drop
            } else if again.contains(id) {
                MarkFate::Recover
            } else if is_due(mark, options) && (lost.is_empty() || mark.blobs > 0) {
                MarkFate::Delete
            } else {
                MarkFate::Wait
            };
            decision.marks.insert(*id, fate);
        }
        if !lost.is_empty() {
            let count = lost.len();
            decision.notes.push(format!("{count} blobs that snapshots need are in no index; verify the vault"));
        }
        for id in stored.keys().filter(|id| census.number(id).is_none() && !census.marks.contains_key(id)) {
            if let Some(fate) = decision.judge_orphan(core, id, stored, &lost)? {
                decision.orphans.insert(*id, fate);
            }
        }
        Ok(decision)
    }

    /// Whether there is anything to write or remove.
    pub fn is_empty(&self) -> bool {
        self.packs.iter().all(|fate| *fate == Fate::Keep)
            && self.marks.values().all(|fate| *fate == MarkFate::Wait)
            && self.orphans.is_empty()
            && !self.joins_indexes
            && !self.drops_indexes
    }

    fn judge_listed(
        &mut self,
        core: &Core,
        usage: &Usage,
        stored: &HashMap<Id, u64>,
        options: &PruneOptions,
    ) -> Result<()> {
        let mut candidates: Vec<(f64, u64, usize)> = Vec::new();
        let mut small: Vec<(u64, usize)> = Vec::new();
        let listed = usage.census.names().iter().zip(&usage.census.packs).zip(&usage.bytes);
        for (number, ((id, pack), used)) in listed.enumerate() {
            // Each header has some bytes that belong to no blob.
            let content = pack.length.saturating_sub(crate::pack::file_length(&[]));
            let unused = content.saturating_sub(*used);
            let length = match stored.get(id) {
                Some(length) => Some(*length),
                // It may be younger than the list of packs.
                None => match core.backend.length(FileKind::Pack, &id.to_hex()) {
                    Ok(length) => Some(length),
                    Err(error) if error.kind() == &VaultErrorKind::Missing => None,
                    Err(error) => return Err(error),
                },
            };
            let share = unused as f64 / content.max(1) as f64;
            if *used == 0 {
                self.packs[number] = if length.is_some() { Fate::Mark } else { Fate::Drop };
            } else if length != Some(pack.length) || pack.contradictory {
                return Err(damaged_pack(id, &"it is not there as its index says"));
            } else if share > options.tolerated_unused {
                candidates.push((share, *used, number));
            } else if pack.length < SMALL_PACK {
                small.push((*used, number));
            }
        }
        candidates.sort_by(|left, right| right.0.total_cmp(&left.0));
        let joined = if small.len() >= MANY_SMALL_PACKS { small } else { Vec::new() };
        let mut left = options.max_repack_bytes.unwrap_or(u64::MAX);
        for (used, number) in candidates.into_iter().map(|(_, used, number)| (used, number)).chain(joined) {
            if used <= left {
                left -= used;
                self.packs[number] = Fate::Repack;
            }
        }
        Ok(())
    }

    /// `None`: it is left alone, because it may hold something that is missing.
    fn judge_orphan(
        &mut self,
        core: &Core,
        id: &Id,
        stored: &HashMap<Id, u64>,
        lost: &HashSet<(BlobKind, Id)>,
    ) -> Result<Option<MarkFate>> {
        if lost.is_empty() {
            return Ok(Some(MarkFate::Wait));
        }
        let header = match read_header(core, id) {
            Ok(header) => Some(header),
            Err(error) if error.kind() == &VaultErrorKind::Damaged => None,
            Err(error) if error.kind() == &VaultErrorKind::Missing => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(header) = header else {
            self.notes.push(format!("pack {id} is in no index and is kept, because it may hold what is missing"));
            return Ok(None);
        };
        if !header.blobs.iter().any(|blob| lost.contains(&(blob.kind, blob.id))) {
            return Ok(Some(MarkFate::Wait));
        }
        let reading = read_pack(core, &header, stored.get(id).copied(), &mut |_, _| Ok(()))?;
        if reading.damage.is_none() {
            return Ok(Some(MarkFate::Recover));
        }
        self.notes.push(format!("pack {id} is damaged, in no index, and is kept, because it holds what is missing"));
        Ok(None)
    }
}

/// A blob that cannot be read here may have its only good copy in a pack that is to go, because this copy is the one that counts.
pub(super) fn damaged_pack(id: &Id, why: &dyn std::fmt::Display) -> VaultError {
    let sentence = format!("nothing was removed, because pack {id} is damaged ({why})");
    VaultError::new(VaultErrorKind::Damaged, sentence)
        .with_hint("verify the vault and have damaged packs set aside, then prune again")
}

/// Whether the time of a marked pack has come. A mark in the future, or without a time, waits.
fn is_due(mark: &Mark, options: &PruneOptions) -> bool {
    let Some(time) = mark.time else { return false };
    let delta = |duration| TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    let before = |writer: DateTime<Utc>| time.checked_add_signed(delta(CLOCK_SKEW)).is_some_and(|time| time <= writer);
    options.now.signed_duration_since(time) >= delta(options.keep_marked) && options.oldest_writer.is_none_or(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_mark_is_due_after_its_time_unless_a_writer_is_as_old() {
        let now: DateTime<Utc> = "2026-01-10T00:00:00Z".parse().unwrap();
        let hours = |hours| now - TimeDelta::hours(hours);
        let due = |marked: Option<DateTime<Utc>>, writer: Option<DateTime<Utc>>| {
            let options = PruneOptions {
                oldest_writer: writer,
                keep_marked: Duration::from_secs(24 * 3600),
                ..PruneOptions::new(now)
            };
            is_due(&Mark { time: marked, size: 0, blobs: 1 }, &options)
        };
        assert!(due(Some(hours(24)), None));
        assert!(!due(Some(hours(23)), None));
        assert!(!due(Some(hours(-1)), None), "a clock was set back");
        assert!(!due(None, None));
        assert!(due(Some(hours(30)), Some(hours(29))));
        assert!(!due(Some(hours(30)), Some(hours(30))), "clocks differ");
        assert!(!due(Some(hours(30)), Some(hours(31))));
    }
}
