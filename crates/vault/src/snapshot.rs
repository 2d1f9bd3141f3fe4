//! Snapshots: the roots from which everything in a vault is reached.

use crate::{
    backend::FileKind,
    core::Core,
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    parallel::read_each,
    unpacked,
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A stored snapshot, in restic's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Name of its file.
    pub id: Id,
    /// What the file says.
    pub record: SnapshotRecord,
}

/// The content of a snapshot file. Unknown fields of other writers are not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// When the capture began.
    #[serde(serialize_with = "write_time")]
    pub time: DateTime<Utc>,
    /// The snapshot whose unchanged files were taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Id>,
    /// The root tree.
    pub tree: Id,
    /// What was captured; restic groups snapshots by host and paths.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub paths: Vec<String>,
    /// Where it was captured; for us the name of the source.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Who captured it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Numeric user of the writing process.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// Numeric group of the writing process.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// Patterns that were left out.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<String>,
    /// Free words without commas.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The snapshot that this one was rewritten from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<Id>,
    /// `trivault 0.1.0`
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program_version: String,
    /// Figures of the capture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
}

/// Figures of a capture, as restic 0.17 and later write and show them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct Summary {
    #[serde(serialize_with = "write_time")]
    pub backup_start: DateTime<Utc>,
    #[serde(serialize_with = "write_time")]
    pub backup_end: DateTime<Utc>,
    pub files_new: u64,
    pub files_changed: u64,
    pub files_unmodified: u64,
    pub dirs_new: u64,
    pub dirs_changed: u64,
    pub dirs_unmodified: u64,
    pub data_blobs: u64,
    pub tree_blobs: u64,
    pub data_added: u64,
    pub data_added_packed: u64,
    pub total_files_processed: u64,
    pub total_bytes_processed: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            backup_start: DateTime::UNIX_EPOCH,
            backup_end: DateTime::UNIX_EPOCH,
            files_new: 0,
            files_changed: 0,
            files_unmodified: 0,
            dirs_new: 0,
            dirs_changed: 0,
            dirs_unmodified: 0,
            data_blobs: 0,
            tree_blobs: 0,
            data_added: 0,
            data_added_packed: 0,
            total_files_processed: 0,
            total_bytes_processed: 0,
        }
    }
}

/// What a caller says about a snapshot before it is captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotDraft {
    /// When the capture began.
    pub time: DateTime<Utc>,
    /// For us the name of the source.
    pub hostname: String,
    /// Who captures.
    pub username: String,
    /// What is captured; unique to repository and source.
    pub paths: Vec<String>,
    /// No commas.
    pub tags: Vec<String>,
    /// `trivault 0.1.0`
    pub program_version: String,
}

/// A snapshot file that could not be read.
#[derive(Debug)]
pub struct DamagedSnapshot {
    /// Its name.
    pub id: Id,
    /// Why.
    pub error: VaultError,
}

/// All snapshots of a vault, those that cannot be read apart.
#[derive(Debug, Default)]
pub struct SnapshotList {
    /// Sorted by time, then id.
    pub snapshots: Vec<Snapshot>,
    /// Files that are damaged or written by an unknown version.
    pub damaged: Vec<DamagedSnapshot>,
}

/// The JSON of a snapshot file.
pub(crate) fn to_json(record: &SnapshotRecord) -> Result<Vec<u8>> {
    serde_json::to_vec(record).map_err(|error| VaultError::internal("a snapshot cannot be written").with_source(error))
}

/// Reads one snapshot file.
pub(crate) fn read(core: &Core, id: &Id) -> Result<Snapshot> {
    let json = unpacked::read(&*core.backend, &core.key, FileKind::Snapshot, id).map_err(|error| {
        if error.kind() == &VaultErrorKind::Missing {
            VaultError::missing(format!("there is no snapshot {id} in the vault at {}", core.backend.location()))
        } else {
            error
        }
    })?;
    let record = serde_json::from_slice(&json)
        .map_err(|error| VaultError::damaged(format!("snapshot {id} cannot be understood")).with_source(error))?;
    Ok(Snapshot { id: *id, record })
}

/// Reads all snapshot files; those that cannot be read are listed apart. A file that vanishes meanwhile was forgotten.
pub(crate) fn read_all(core: &Core) -> Result<SnapshotList> {
    let mut list = SnapshotList::default();
    let ids = unpacked::list(&*core.backend, FileKind::Snapshot)?;
    read_each(
        &ids,
        |id| read(core, id),
        |id, snapshot| {
            match snapshot {
                Ok(snapshot) => list.snapshots.push(snapshot),
                Err(error) => match error.kind() {
                    VaultErrorKind::Missing => {}
                    VaultErrorKind::Damaged | VaultErrorKind::Unsupported => {
                        list.damaged.push(DamagedSnapshot { id: *id, error })
                    }
                    _ => return Err(error),
                },
            }
            Ok(())
        },
    )?;
    list.snapshots.sort_by_key(|snapshot| (snapshot.record.time, snapshot.id));
    list.damaged.sort_by_key(|snapshot| snapshot.id);
    Ok(list)
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Go writes an absent list as `null`.
fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default())
}

fn write_time<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(&go_time(time))
}

/// RFC 3339 as Go prints it: a fraction without trailing zeros, none when it is zero.
pub(crate) fn go_time(time: &DateTime<Utc>) -> String {
    let text = time.to_rfc3339_opts(SecondsFormat::Nanos, true);
    match text.strip_suffix('Z').and_then(|text| text.split_once('.')) {
        Some((seconds, fraction)) if fraction.bytes().all(|digit| digit == b'0') => format!("{seconds}Z"),
        Some((seconds, fraction)) => format!("{seconds}.{}Z", fraction.trim_end_matches('0')),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_go_prints_them() {
        for text in ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.123456789Z"] {
            assert_eq!(go_time(&text.parse().unwrap()), text);
        }
    }

    #[test]
    fn a_minimal_snapshot_of_another_writer_is_read() {
        let json = format!(r#"{{"time":"2026-01-02T03:04:05+02:00","tree":"{}","paths":null}}"#, Id::of(b""));
        let record: SnapshotRecord = serde_json::from_str(&json).unwrap();
        assert!(record.paths.is_empty() && record.summary.is_none());
        assert_eq!(
            serde_json::to_string(&record).unwrap(),
            format!(r#"{{"time":"2026-01-02T01:04:05Z","tree":"{}","paths":[]}}"#, Id::of(b""))
        );
    }
}
