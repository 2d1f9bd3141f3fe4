//! The JSON of an index file.
//!
//! Beside restic's `packs` we keep rustic's `packs_to_delete`: packs that nothing needed when they were marked, each with the time of its
//! mark. restic ignores that field, so that to it such packs are in no index.

use crate::{
    id::Id,
    index::IndexedPack,
    pack::{self, BlobKind, PackedBlob},
    snapshot::go_time,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What an index file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IndexFile {
    /// Packs whose blobs may be used.
    pub packs: Vec<IndexedPack>,
    /// Packs that wait for their removal.
    pub marked: Vec<MarkedPack>,
}

/// A pack that waits for its removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MarkedPack {
    /// No blobs when its header could not be read.
    pub pack: IndexedPack,
    /// When it was marked; `None` when the writer of the mark did not say it in a way that we understand.
    pub time: Option<DateTime<Utc>>,
    /// Bytes of its file.
    pub size: u64,
}

impl IndexFile {
    /// Number of blobs.
    pub fn blobs(&self) -> usize {
        let marked = self.marked.iter().map(|marked| marked.pack.blobs.len()).sum::<usize>();
        self.packs.iter().map(|pack| pack.blobs.len()).sum::<usize>() + marked
    }
}

#[derive(Serialize, Deserialize)]
struct WireIndex {
    #[serde(default)]
    packs: Vec<WirePack>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    packs_to_delete: Vec<WireMark>,
}

#[derive(Serialize, Deserialize)]
struct WirePack {
    id: Id,
    #[serde(default)]
    blobs: Vec<WireBlob>,
}

#[derive(Serialize, Deserialize)]
struct WireMark {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Id>,
    #[serde(default)]
    blobs: Vec<WireBlob>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct WireBlob {
    id: Id,
    #[serde(rename = "type")]
    kind: WireKind,
    offset: u32,
    length: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    uncompressed_length: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WireKind {
    Data,
    Tree,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl From<&PackedBlob> for WireBlob {
    fn from(blob: &PackedBlob) -> Self {
        let PackedBlob { id, kind, offset, length, uncompressed } = *blob;
        let kind = if kind == BlobKind::Data { WireKind::Data } else { WireKind::Tree };
        Self { id, kind, offset, length, uncompressed_length: uncompressed.unwrap_or(0) }
    }
}

impl From<WireBlob> for PackedBlob {
    fn from(blob: WireBlob) -> Self {
        let WireBlob { id, kind, offset, length, uncompressed_length } = blob;
        let kind = match kind {
            WireKind::Data => BlobKind::Data,
            WireKind::Tree => BlobKind::Tree,
        };
        Self { id, kind, offset, length, uncompressed: Some(uncompressed_length).filter(|length| *length > 0) }
    }
}

/// The JSON of an index file.
pub(crate) fn to_json(file: &IndexFile) -> serde_json::Result<Vec<u8>> {
    let blobs = |pack: &IndexedPack| pack.blobs.iter().map(WireBlob::from).collect();
    let packs = file.packs.iter().map(|pack| WirePack { id: pack.id, blobs: blobs(pack) }).collect();
    let mark = |marked: &MarkedPack| WireMark {
        id: Some(marked.pack.id),
        blobs: blobs(&marked.pack),
        time: marked.time.as_ref().map(go_time),
        size: Some(marked.size),
    };
    serde_json::to_vec(&WireIndex { packs, packs_to_delete: file.marked.iter().map(mark).collect() })
}

/// Reads an index file. `supersedes` of old versions is left out: such files were removed when it was written. A mark that names no
/// pack is left out too.
pub(crate) fn from_json(json: &[u8]) -> serde_json::Result<IndexFile> {
    let indexed =
        |id: Id, blobs: Vec<WireBlob>| IndexedPack { id, blobs: blobs.into_iter().map(PackedBlob::from).collect() };
    let WireIndex { packs, packs_to_delete } = serde_json::from_slice(json)?;
    let packs = packs.into_iter().map(|WirePack { id, blobs }| indexed(id, blobs)).collect();
    let marked = packs_to_delete.into_iter().filter_map(|WireMark { id, blobs, time, size }| {
        let pack = indexed(id?, blobs);
        let size = size.unwrap_or_else(|| pack::file_length(&pack.blobs));
        Some(MarkedPack { pack, time: time.as_deref().and_then(read_time), size })
    });
    Ok(IndexFile { packs, marked: marked.collect() })
}

/// rustic writes its local time, in some versions with the zone's name in brackets behind it.
fn read_time(text: &str) -> Option<DateTime<Utc>> {
    let instant = text.split_once('[').map_or(text, |(instant, _)| instant);
    DateTime::parse_from_rfc3339(instant).ok().map(|time| time.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(name: &[u8], count: u32) -> IndexedPack {
        let blob = |number: u32| PackedBlob {
            id: Id::of(&number.to_le_bytes()),
            kind: if number.is_multiple_of(5) { BlobKind::Tree } else { BlobKind::Data },
            offset: number,
            length: 50 + number,
            uncompressed: number.is_multiple_of(3).then_some(1000 + number),
        };
        IndexedPack { id: Id::of(name), blobs: (0..count).map(blob).collect() }
    }

    #[test]
    fn an_index_file_survives_its_json_form() {
        let time = Some("2026-01-02T03:04:05.5Z".parse().unwrap());
        let marked = vec![
            MarkedPack { pack: pack(b"marked", 3), time, size: 777 },
            MarkedPack { pack: pack(b"unreadable", 0), time: None, size: 5 },
        ];
        let file = IndexFile { packs: vec![pack(b"pack", 7)], marked };
        let json = to_json(&file).unwrap();
        assert_eq!(from_json(&json).unwrap(), file);
        assert_eq!(file.blobs(), 10);
        assert!(!String::from_utf8(json).unwrap().contains("\"uncompressed_length\":0"));
        assert!(from_json(b"{\"packs\":[{\"id\":\"zz\"}]}").is_err());
        let none = to_json(&IndexFile::default()).unwrap();
        assert_eq!(none, b"{\"packs\":[]}", "restic and older rustic never see an empty list of marks");
    }

    #[test]
    fn marks_of_other_writers_are_understood_or_left_out() {
        let foreign = br#"{"supersedes":["x"],"packs":[],"packs_to_delete":[{"time":"t"}]}"#;
        assert_eq!(from_json(foreign).unwrap(), IndexFile::default());
        let id = Id::of(b"");
        for (text, expected) in [
            ("2026-01-02T05:04:05+02:00[Europe/Berlin]", Some("2026-01-02T03:04:05Z")),
            ("2026-01-02T03:04:05.123456789Z", Some("2026-01-02T03:04:05.123456789Z")),
            ("yesterday", None),
        ] {
            let json = format!(r#"{{"packs":[],"packs_to_delete":[{{"id":"{id}","blobs":[],"time":"{text}"}}]}}"#);
            let file = from_json(json.as_bytes()).unwrap();
            assert_eq!(file.marked[0].time, expected.map(|time| time.parse().unwrap()));
        }
    }
}
