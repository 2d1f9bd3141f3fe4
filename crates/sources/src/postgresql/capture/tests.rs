//! Rows into blocks and back, without a server.

use std::sync::Arc;

use super::{
    blocks::{self, Block, Comparison},
    manifest::{self, Streams},
    plan::Plan,
    rows::{LARGEST_BLOCK_BYTES, RowShape, SMALLEST_BLOCK_BYTES, block_rows},
    table::TableWork,
    tables::Found,
};
use crate::{
    CaptureManifest,
    postgresql::layout::{Order, Table},
    testing::{MemoryPart, MemoryReader, MemorySink, MemoryStore},
};

/// How rows come from the server.
#[derive(Clone, Copy)]
enum Messages {
    Row,
    /// Torn and joined at every so many bytes.
    Bytes(usize),
}

struct Setup {
    key: Vec<usize>,
    comparison: Comparison,
    order: Order,
    rows: u32,
}

impl Setup {
    fn ids(order: Order) -> Self {
        Self { key: vec![0], comparison: Comparison::Integer, order, rows: block_rows(60.0) }
    }

    /// Writes ranges of rows, in the given order of the ranges.
    fn written(
        &self,
        store: &Arc<MemoryStore>,
        ranges: &[Vec<String>],
        finish: &[usize],
        messages: Messages,
    ) -> (Arc<MemoryPart>, Table) {
        let sink = MemorySink::new(store);
        let plan = Plan {
            found: Found::unknown(1, "public".to_owned(), "t".to_owned()),
            dump_id: 7,
            directory: "public.t".to_owned(),
            shape: RowShape::new(&self.key, self.comparison, self.order, self.rows),
            borders: (1..ranges.len()).map(|range| range.to_string()).collect(),
        };
        let table = {
            let work = TableWork::new(&sink, plan);
            for range in finish {
                let stream = format!("{range:04}.copy");
                let mut writer = work.writer(&sink, *range as u32, &stream);
                let rows: Vec<u8> = ranges[*range].concat().into_bytes();
                match messages {
                    Messages::Row => {
                        rows.split_inclusive(|byte| *byte == b'\n').for_each(|row| writer.message(row).unwrap());
                    }
                    Messages::Bytes(count) => rows.chunks(count).for_each(|bytes| writer.message(bytes).unwrap()),
                }
                work.finish_range(*range as u32, &stream, writer).unwrap();
            }
            let (plan, done) = work.into_done();
            manifest::table(plan, done, &mut Streams::default())
        };
        (sink.into_part(CaptureManifest::default()), table)
    }
}

fn row(id: i64) -> String {
    format!("{id}\t{}\n", "x".repeat(20 + (id.unsigned_abs() % 60) as usize))
}

fn bytes_of(part: &MemoryPart, block: &Block) -> Vec<u8> {
    let stream = part.bytes(&[b"data", b"public.t", format!("{:04}.copy", block.range).as_bytes()]).unwrap();
    stream[block.offset as usize..(block.offset + block.length) as usize].to_vec()
}

fn ids(part: &MemoryPart, blocks: &[Block]) -> Vec<i64> {
    let text = blocks.iter().flat_map(|block| bytes_of(part, block)).collect::<Vec<u8>>();
    String::from_utf8(text).unwrap().lines().map(|line| line.split('\t').next().unwrap().parse().unwrap()).collect()
}

#[test]
fn blocks_cover_every_row_in_its_place_and_have_the_sizes_they_should() {
    let ranges = [(0..30_000).map(row).collect::<Vec<_>>(), (30_000..60_000).map(row).collect()];
    let (part, table) = Setup::ids(Order::Key).written(&MemoryStore::new(), &ranges, &[0, 1], Messages::Row);
    let mut reader = blocks::open(&MemoryReader::new(&part), &table).unwrap();
    let all = reader.blocks().unwrap();
    assert_eq!(all.len() as u64, table.blocks);
    assert_eq!(ids(&part, &all), (0..60_000).collect::<Vec<_>>());
    assert_eq!(all.iter().map(|block| block.rows).sum::<u64>(), table.rows);
    let mean = table.length / table.blocks;
    assert!((20_000..45_000).contains(&mean), "a mean of {mean} bytes");
    assert!(all.iter().all(|block| block.length as usize <= LARGEST_BLOCK_BYTES));
    let short = all.iter().filter(|block| (block.length as usize) < SMALLEST_BLOCK_BYTES).count();
    assert!(short <= 2, "only the last one of a range is short");
    for block in &all {
        let held = ids(&part, std::slice::from_ref(block));
        assert_eq!(block.first, held[0].to_string().into_bytes());
        assert_eq!(block.last, held[held.len() - 1].to_string().into_bytes());
    }
}

#[test]
fn the_stream_does_not_depend_on_messages_or_the_order_in_which_ranges_are_finished() {
    let ranges: Vec<Vec<String>> = (0..4).map(|range| (range * 5000..range * 5000 + 5000).map(row).collect()).collect();
    let store = MemoryStore::new();
    let setup = Setup::ids(Order::Key);
    let (_, first) = setup.written(&store, &ranges, &[0, 1, 2, 3], Messages::Row);
    let stored = store.stored_bytes();
    for messages in [Messages::Row, Messages::Bytes(1000), Messages::Bytes(37), Messages::Bytes(1 << 20)] {
        let (part, table) = setup.written(&store, &ranges, &[3, 1, 0, 2], messages);
        assert_eq!(table, first);
        assert_eq!(store.stored_bytes(), stored, "neither rows nor the manifest are new");
        let mut reader = blocks::open(&MemoryReader::new(&part), &table).unwrap();
        assert_eq!(ids(&part, &reader.blocks().unwrap()), (0..20_000).collect::<Vec<_>>());
    }
}

#[test]
fn a_range_of_keys_reads_little_more_than_its_rows() {
    let rows: Vec<String> = (-50_000..50_000).map(row).collect();
    let (part, table) = Setup::ids(Order::Key).written(&MemoryStore::new(), &[rows], &[0], Messages::Row);
    let source = MemoryReader::new(&part);
    let mut reader = blocks::open(&source, &table).unwrap();
    let found = reader.blocks_for_range(Some("-500"), Some("500")).unwrap();
    let held = ids(&part, &found);
    assert!((-500..500).all(|id| held.binary_search(&id).is_ok()));
    assert!(held.len() < 3000, "{} rows", held.len());
    assert!(source.bytes_read() < 20_000, "{} bytes of the manifest", source.bytes_read());
    assert_eq!(reader.blocks_for_range(Some("50000"), None).unwrap(), []);
    assert_eq!(reader.blocks_for_range(None, Some("-50000")).unwrap(), []);
    let all = table.blocks as usize;
    assert_eq!(reader.blocks_for_range(None, None).unwrap().len(), all);
    assert_eq!(
        reader.blocks_for_range(Some("not a number"), None).unwrap().len(),
        all,
        "and is for the server to refuse"
    );
    assert_eq!(reader.blocks_for_key("77", b"77").unwrap().len(), 1);
}

#[test]
fn keys_in_no_order_are_found_by_their_bounds_and_filters() {
    // Far apart rows in each block, but the later half of the table is higher.
    let scattered = |half: i64| (0..20_000).map(move |n| half * 20_000 + n * 7919 % 20_000).map(row);
    let rows: Vec<String> = scattered(0).chain(scattered(1)).collect();
    let (part, table) = Setup::ids(Order::Physical).written(&MemoryStore::new(), &[rows], &[0], Messages::Row);
    let mut reader = blocks::open(&MemoryReader::new(&part), &table).unwrap();
    let all = reader.blocks().unwrap();
    let found = reader.blocks_for_range(None, Some("20000")).unwrap();
    assert!(found.len() * 10 <= all.len() * 6, "{} of {}", found.len(), all.len());
    for id in [0, 1, 12_345, 39_999] {
        let text = id.to_string();
        let found = reader.blocks_for_key(&text, text.as_bytes()).unwrap();
        assert!(ids(&part, &found).contains(&id) && found.len() <= 3, "{id} in {} blocks", found.len());
    }
}

#[test]
fn a_row_more_or_less_changes_one_block_and_one_leaf() {
    let setup = Setup::ids(Order::Key);
    let store = MemoryStore::new();
    let rows: Vec<String> = (0..200_000).map(|id| row(id * 2)).collect();
    setup.written(&store, std::slice::from_ref(&rows), &[0], Messages::Row);
    let stored = store.stored_bytes();
    let mut changed = rows;
    changed.insert(50_000, row(99_999));
    changed.remove(1_000);
    setup.written(&store, &[changed], &[0], Messages::Row);
    let added = store.stored_bytes() - stored;
    assert!(added < 2 * LARGEST_BLOCK_BYTES as u64 + 60_000, "{added} bytes");
}

#[test]
fn keys_of_several_columns_and_escaped_ones_are_read_apart() {
    let text = |n: i32| format!("{n:05}\\tand\\n\\\\");
    let rows: Vec<String> = (0..20_000).map(|n| format!("payload {n}\t{}\t{}\n", text(n), n % 3)).collect();
    let setup = Setup { key: vec![1, 2], comparison: Comparison::Bytes, order: Order::Key, rows: block_rows(40.0) };
    let (part, table) = setup.written(&MemoryStore::new(), &[rows], &[0], Messages::Row);
    let mut reader = blocks::open(&MemoryReader::new(&part), &table).unwrap();
    assert_eq!(reader.blocks().unwrap()[0].first, b"00000\tand\n\\");
    let found = reader.blocks_for_range(Some("10000\tand\n\\"), Some("10000\tand\n]")).unwrap();
    assert_eq!(found.len(), 1);
    assert!(String::from_utf8(bytes_of(&part, &found[0])).unwrap().contains(&text(10_000)));
}

#[test]
fn rows_of_any_size_make_blocks() {
    let rows: Vec<String> = [5, 300_000, 10, 0, 131_071, 20_000_000, 1, 9_000, 9_000]
        .iter()
        .enumerate()
        .map(|(id, length)| format!("{id}\t{}\n", "y".repeat(*length)))
        .collect();
    let setup = Setup { rows: 1, ..Setup::ids(Order::Key) };
    let (part, table) = setup.written(&MemoryStore::new(), &[rows], &[0], Messages::Row);
    let mut reader = blocks::open(&MemoryReader::new(&part), &table).unwrap();
    assert_eq!(ids(&part, &reader.blocks().unwrap()), (0..9).collect::<Vec<_>>());
}

#[test]
fn tables_without_rows_or_with_one_block_have_no_manifest() {
    let store = MemoryStore::new();
    let setup = Setup { key: Vec::new(), comparison: Comparison::Unknown, order: Order::Physical, rows: 100 };
    let (part, table) = setup.written(&store, &[Vec::new()], &[0], Messages::Row);
    assert!((table.blocks, table.ranges.len()) == (0, 0) && part.bytes(&[b"data", b"public.t", b"blocks"]).is_err());
    assert_eq!(blocks::open(&MemoryReader::new(&part), &table).unwrap().blocks().unwrap(), []);
    let (part, table) = setup.written(&store, &[Vec::new(), vec![row(1)]], &[1, 0], Messages::Row);
    assert!(table.blocks == 1 && part.bytes(&[b"data", b"public.t", b"blocks"]).is_err());
    let found = blocks::open(&MemoryReader::new(&part), &table).unwrap().blocks_for_range(Some("9"), None).unwrap();
    assert_eq!((found[0].range, ids(&part, &found)), (1, vec![1]));
}

#[test]
fn a_damaged_manifest_is_refused() {
    struct Bytes(Vec<u8>);
    impl crate::RandomRead for Bytes {
        fn length(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> crate::Result<usize> {
            let from = self.0.get(offset as usize..).unwrap_or_default();
            let count = from.len().min(buffer.len());
            buffer[..count].copy_from_slice(&from[..count]);
            Ok(count)
        }
    }
    let rows: Vec<String> = (0..5_000).map(row).collect();
    let (part, _) = Setup::ids(Order::Physical).written(&MemoryStore::new(), &[rows], &[0], Messages::Row);
    let whole = part.bytes(&[b"data", b"public.t", b"blocks"]).unwrap();
    for end in 0..whole.len() {
        assert!(blocks::Reader::new(Box::new(Bytes(whole[..end].to_vec()))).is_err(), "cut at {end}");
    }
    // Wherever a bit is wrong: an error or an answer, never a panic.
    for position in (0..whole.len()).step_by(1 + whole.len() / 3000) {
        let mut bytes = whole.clone();
        bytes[position] ^= 0x55;
        if let Ok(mut reader) = blocks::Reader::new(Box::new(Bytes(bytes))) {
            let _ = reader.blocks_for_range(Some("17"), Some("19"));
        }
    }
}
