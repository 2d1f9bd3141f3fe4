//! Parts in memory, made of what `pg_dump` wrote.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    CaptureManifest, CaptureSink, Cutting, StreamOptions, StreamSummary,
    postgresql::{
        download,
        layout::{
            Captured, DATA, DatabaseFacts, How, LARGE_OBJECTS, LargeObjectEntry, LargeObjects, Order, Range, TOC,
            Table, WHOLE, Whole,
        },
    },
    testing::{MemoryPart, MemorySink, MemoryStore},
};

/// Bytes of a stream of rows, more or less, so that tables have several.
const STREAM_BYTES: usize = 700_000;

fn store(sink: &MemorySink, path: &[&str], bytes: &[u8]) -> StreamSummary {
    let options = StreamOptions { cutting: Cutting::ContentDefined, whole_digest: false };
    let mut stream = sink.stream(path, options).unwrap();
    stream.write(bytes).unwrap();
    stream.finish().unwrap()
}

pub fn captured(how: How) -> Captured {
    Captured {
        how,
        server_version: 150_018,
        tool_version: "15.18".into(),
        database: DatabaseFacts::default(),
        extensions: Vec::new(),
        roles: Vec::new(),
        tables: Vec::new(),
        large_objects: None,
        whole: None,
    }
}

fn table(entry: &Entry) -> Table {
    Table {
        schema: entry.namespace.as_ref().unwrap().lossy().into_owned(),
        name: entry.tag.lossy().into_owned(),
        dump_id: entry.dump_id,
        directory: format!("table-{}", entry.dump_id),
        columns: String::new(),
        rows: 0,
        length: 0,
        order: Order::Physical,
        key: Vec::new(),
        key_columns: Vec::new(),
        block_rows: 64,
        borders: Vec::new(),
        ranges: Vec::new(),
        blocks: 0,
    }
}

/// Rows as streams that end where a row does.
fn store_rows(sink: &MemorySink, entry: &Entry, rows: &[u8]) -> Table {
    let mut table = table(entry);
    let mut rest = rows;
    while !rest.is_empty() {
        let after = rest.get(STREAM_BYTES..).and_then(|tail| tail.iter().position(|byte| *byte == b'\n'));
        let (now, later) = rest.split_at(after.map_or(rest.len(), |place| STREAM_BYTES + place + 1));
        rest = later;
        let stream = format!("{:04}.copy", table.ranges.len());
        let summary = store(sink, &[DATA, &table.directory, &stream], now);
        let mut sums = PieceSums::new();
        now.chunks(100_003).for_each(|bytes| sums.update(bytes));
        table.length += summary.length;
        table.ranges.push(Range {
            stream,
            rows: 0,
            length: summary.length,
            crc32: summary.crc32,
            framed_crc32: sums.finish(),
        });
    }
    table
}

fn manifest(captured: &Captured, archive: Option<&Archive>) -> CaptureManifest {
    CaptureManifest {
        format: 1,
        kind: "postgresql".into(),
        versions: BTreeMap::new(),
        download: Some(download::record(captured, archive).unwrap()),
        details: serde_json::to_value(captured).unwrap(),
        ..CaptureManifest::default()
    }
}

/// The streams of an archive, as a capture that splits it keeps them.
pub fn split(bytes: &[u8]) -> Arc<MemoryPart> {
    let sink = MemorySink::new(&MemoryStore::new());
    let mut rest = bytes;
    let archive = Archive::read(&mut rest).unwrap();
    store(&sink, &[TOC], &archive.to_bytes());
    let mut captured = captured(How::Split);
    let mut splitter = Splitter::new(rest, &archive).unwrap();
    let (mut current, mut content) = (0, Vec::new());
    let (mut objects, mut entries) = (Vec::new(), Vec::new());
    loop {
        match splitter.next_event().unwrap() {
            Event::DataBegin(dump_id) | Event::LargeObjectsBegin(dump_id) => (current, content) = (dump_id, Vec::new()),
            Event::Bytes(bytes) => content.extend_from_slice(bytes),
            Event::DataEnd => {
                let entry = archive.entry(current).unwrap();
                if entry.is_table_data() {
                    captured.tables.push(store_rows(&sink, entry, &content));
                } else {
                    let (length, crc32) = (content.len() as u64, crc32fast::hash(&content));
                    entries.push(LargeObjectEntry { dump_id: current, length, crc32 });
                    objects.extend_from_slice(&content);
                }
            }
            Event::End => break,
        }
    }
    if !entries.is_empty() {
        let StreamSummary { length, crc32, .. } = store(&sink, &LARGE_OBJECTS, &objects);
        captured.large_objects = Some(LargeObjects { count: 3, length, crc32, entries });
    }
    let manifest = manifest(&captured, Some(&archive));
    sink.into_part(manifest)
}

/// An archive as a capture keeps it that does not understand it.
pub fn whole(bytes: &[u8]) -> Arc<MemoryPart> {
    let sink = MemorySink::new(&MemoryStore::new());
    let StreamSummary { length, crc32, .. } = store(&sink, &[WHOLE], bytes);
    let mut captured = captured(How::Whole);
    captured.whole = Some(Whole { length, crc32 });
    let manifest = manifest(&captured, None);
    sink.into_part(manifest)
}
