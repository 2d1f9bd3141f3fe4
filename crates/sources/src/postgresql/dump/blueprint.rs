//! Where everything lies in an archive that is put together from a part, by arithmetic alone.

use std::collections::HashMap;

use super::{
    Archive, Entry, Offset, ROWS_END,
    framing::{INTEGER_BYTES, framed_length, integer, piece_header},
    split::{LARGE_OBJECTS_BLOCK, ROWS_BLOCK},
};
use crate::{
    ErrorKind, Result, SourceError,
    archive::RunningCrc,
    postgresql::layout::{Captured, LargeObjectEntry, Table, Whole},
};

/// No stream is longer, bytes: arithmetic with longer ones from a damaged manifest would overflow.
const LONGEST_STREAM_BYTES: u64 = 1 << 56;

/// Something in the archive that is of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Header and entries with true offsets.
    TableOfContents(Vec<u8>),
    /// Type of a block and `dumpId`.
    Begin { block: u8, dump_id: i32 },
    /// One stream of rows, in pieces.
    Rows { directory: Box<str>, stream: Box<str>, length: u64, framed_crc32: u32 },
    /// A piece with the mark that ends rows, and the end of the block.
    RowsEnd,
    /// Bytes of the stream of large objects from `start` on; `stream_length` is that of the whole stream.
    LargeObjects { start: u64, length: u64, stream_length: u64, crc32: u32 },
    /// The archive itself, where it was kept whole.
    Whole(Whole),
}

/// The segments of an archive with the offset at which each begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blueprint {
    segments: Vec<(u64, Segment)>,
    length: u64,
}

impl Segment {
    pub fn length(&self) -> u64 {
        match self {
            Self::TableOfContents(bytes) => bytes.len() as u64,
            Self::Begin { .. } => 1 + INTEGER_BYTES,
            Self::Rows { length, .. } => framed_length(*length),
            Self::RowsEnd => INTEGER_BYTES + ROWS_END.len() as u64 + INTEGER_BYTES,
            Self::LargeObjects { length, .. } => *length,
            Self::Whole(whole) => whole.length,
        }
    }

    /// The bytes of what is not stored as a stream.
    pub fn framing(&self) -> Vec<u8> {
        match self {
            Self::Begin { block, dump_id } => [&[*block], &integer(*dump_id)[..]].concat(),
            Self::RowsEnd => [&piece_header(ROWS_END.len() as u64)[..], ROWS_END, &integer(0)].concat(),
            Self::TableOfContents(_) | Self::Rows { .. } | Self::LargeObjects { .. } | Self::Whole(_) => Vec::new(),
        }
    }
}

impl Blueprint {
    /// Of an archive with these entries, whose data are what was captured of them.
    pub fn new(archive: &Archive, captured: &Captured) -> Result<Self> {
        if archive.header.is_compressed() {
            return Err(damaged("Its table of contents says that the data are compressed."));
        }
        let tables: HashMap<i32, &Table> = captured.tables.iter().map(|table| (table.dump_id, table)).collect();
        let large_objects = large_objects(captured)?;
        let (mut segments, mut offsets) = (Vec::new(), HashMap::new());
        let mut position = archive.to_bytes().len() as u64;
        for entry in &archive.entries {
            let first = segments.len();
            if entry.is_table_data() {
                let table = tables.get(&entry.dump_id).ok_or_else(|| without_data(entry))?;
                segments.push((position, Segment::Begin { block: ROWS_BLOCK, dump_id: entry.dump_id }));
                for stream in rows(table) {
                    segments.push((position, stream?));
                }
                segments.push((position, Segment::RowsEnd));
            } else if entry.is_large_objects() {
                let payload = large_objects.get(&entry.dump_id).ok_or_else(|| without_data(entry))?;
                segments.push((position, Segment::Begin { block: LARGE_OBJECTS_BLOCK, dump_id: entry.dump_id }));
                segments.push((position, payload.clone()));
            } else if entry.had_dumper {
                return Err(without_data(entry));
            }
            if entry.had_dumper {
                offsets.insert(entry.dump_id, Offset::At(position));
            }
            for (start, segment) in &mut segments[first..] {
                *start = position;
                position = sum(position, segment.length())?;
            }
        }
        let offset = |entry: &Entry| offsets.get(&entry.dump_id).copied().unwrap_or(Offset::NoData);
        segments.insert(0, (0, Segment::TableOfContents(archive.with_offsets(offset))));
        Ok(Self { segments, length: position })
    }

    /// Of an archive that was kept whole.
    pub fn of_whole(captured: &Captured) -> Result<Self> {
        let whole = captured.whole.ok_or_else(|| damaged("The length of the archive is not recorded."))?;
        Ok(Self { segments: vec![(0, Segment::Whole(whole))], length: whole.length })
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// Number, first offset and content of the segment at `offset`, which is below the length.
    pub fn find(&self, offset: u64) -> Option<(usize, u64, &Segment)> {
        let index = self.segments.partition_point(|(start, _)| *start <= offset).checked_sub(1)?;
        self.segments.get(index).map(|(start, segment)| (index, *start, segment))
    }

    /// Of all bytes, from what was recorded of the streams.
    pub fn crc32(&self) -> u32 {
        let mut crc = RunningCrc::new();
        for (_, segment) in &self.segments {
            match segment {
                Segment::TableOfContents(bytes) => crc.append_bytes(bytes),
                Segment::Begin { .. } | Segment::RowsEnd => crc.append_bytes(&segment.framing()),
                Segment::Rows { framed_crc32, .. } => crc.append(*framed_crc32, segment.length()),
                Segment::LargeObjects { length, crc32, .. } => crc.append(*crc32, *length),
                Segment::Whole(whole) => crc.append(whole.crc32, whole.length),
            }
        }
        crc.value()
    }
}

/// Length and checksum of the archive of a capture, before anything can be read. Without a table of contents, of one that was
/// kept whole.
///
/// # Errors
/// [`ErrorKind::Store`] for an entry with data of which nothing was captured.
pub(in crate::postgresql) fn measure(captured: &Captured, archive: Option<&Archive>) -> Result<Whole> {
    let blueprint = match archive {
        Some(archive) => Blueprint::new(archive, captured)?,
        None => Blueprint::of_whole(captured)?,
    };
    Ok(Whole { length: blueprint.length(), crc32: blueprint.crc32() })
}

/// The streams of a table that are not empty.
fn rows(table: &Table) -> impl Iterator<Item = Result<Segment>> {
    table.ranges.iter().filter(|range| range.length > 0).map(|range| {
        if range.length > LONGEST_STREAM_BYTES {
            return Err(damaged("A stream has an impossible length."));
        }
        Ok(Segment::Rows {
            directory: table.directory.as_str().into(),
            stream: range.stream.as_str().into(),
            length: range.length,
            framed_crc32: range.framed_crc32,
        })
    })
}

fn sum(one: u64, other: u64) -> Result<u64> {
    one.checked_add(other).ok_or_else(|| damaged("Its streams have impossible lengths."))
}

/// The payload of each `BLOBS` entry.
fn large_objects(captured: &Captured) -> Result<HashMap<i32, Segment>> {
    let mut payloads = HashMap::new();
    let Some(stream) = &captured.large_objects else { return Ok(payloads) };
    let mut start: u64 = 0;
    for LargeObjectEntry { dump_id, length, crc32 } in stream.entries.iter().copied() {
        payloads.insert(dump_id, Segment::LargeObjects { start, length, stream_length: stream.length, crc32 });
        start = sum(start, length)?;
    }
    if start != stream.length {
        return Err(damaged("Its large objects do not have the recorded length."));
    }
    Ok(payloads)
}

fn without_data(entry: &Entry) -> SourceError {
    damaged(&format!("The manifest does not say where the data of {} are.", entry.tag.lossy()))
}

fn damaged(what: &str) -> SourceError {
    SourceError::new(ErrorKind::Store, format!("The archive cannot be put together from the backup. {what}"))
        .hint("Verify the backup.")
}
