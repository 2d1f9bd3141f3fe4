//! Writing a block manifest while the ranges of its table pass in several threads.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::{Comparison, Filter, MAGIC, VERSION, hash, put_number, put_text};
use crate::{
    CaptureSink, Cutting, Result, StreamOptions, StreamSink, StreamSummary,
    postgresql::layout::{BLOCKS, DATA, Order},
};

/// Blocks of a leaf: it ends before one whose key's hash says so, not before the first limit and at the second.
const FEWEST_BLOCKS: u64 = 64;
const MOST_BLOCKS: u64 = 512;
const END_EVERY: u32 = 128;
/// Leaves that wait for those of an earlier range, bytes; beyond it they are written as they come.
const WAITING_BYTES: usize = 8 << 20;

/// What is said of one block.
pub(in super::super) struct BlockFacts<'a> {
    pub length: u64,
    pub rows: u64,
    /// Empty where nothing can be said.
    pub first: &'a [u8],
    pub last: &'a [u8],
    /// CRC-32 of the first key column of each row; empty where the table has no filters.
    pub keys: &'a [u32],
    /// CRC-32 of the key of its first row, and the number that its hash was divided by.
    pub border: (u32, u32),
}

/// A finished leaf.
#[derive(Default)]
struct Leaf {
    bytes: Vec<u8>,
    offset: u64,
    length: u64,
    rows: u64,
    blocks: u64,
    first: Vec<u8>,
    last: Vec<u8>,
}

/// The leaves of one range, in the hands of the thread that reads it.
pub(in super::super) struct RangeBlocks<'t, 's> {
    table: &'t TableBlocks<'s>,
    range: u32,
    leaf: Leaf,
}

impl RangeBlocks<'_, '_> {
    pub(in super::super) fn add(&mut self, block: &BlockFacts<'_>) -> Result<()> {
        let (crc, every) = block.border;
        let ends = (hash(crc) / every.max(1)).is_multiple_of(END_EVERY);
        if self.leaf.blocks >= MOST_BLOCKS || (self.leaf.blocks >= FEWEST_BLOCKS && ends) {
            self.end_leaf()?;
        }
        let Leaf { bytes, length, rows, blocks, first, last, .. } = &mut self.leaf;
        if *blocks == 0 {
            block.first.clone_into(first);
            block.last.clone_into(last);
        } else if self.table.order == Order::Key {
            block.last.clone_into(last);
        } else {
            let comparison = self.table.comparison;
            match (comparison.compare(block.first, first), comparison.compare(block.last, last)) {
                (Some(below), Some(above)) => {
                    if below == Ordering::Less {
                        block.first.clone_into(first);
                    }
                    if above == Ordering::Greater {
                        block.last.clone_into(last);
                    }
                }
                // Where nothing can be said of a block, nothing is said of its leaf.
                _ => {
                    first.clear();
                    last.clear();
                }
            }
        }
        *length += block.length;
        *rows += block.rows;
        *blocks += 1;
        put_number(bytes, block.length);
        put_number(bytes, block.rows);
        put_text(bytes, block.first);
        put_text(bytes, block.last);
        if self.table.filtered {
            Filter::build(block.keys, bytes);
        }
        Ok(())
    }

    /// The range is complete.
    pub(in super::super) fn finish(mut self) -> Result<()> {
        if self.leaf.blocks > 0 {
            self.end_leaf()?;
        }
        let mut state = self.table.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.finished.insert(self.range, ());
        state.write_what_is_next(self.table)
    }

    fn end_leaf(&mut self) -> Result<()> {
        let next = self.leaf.offset + self.leaf.length;
        let leaf = std::mem::replace(&mut self.leaf, Leaf { offset: next, ..Leaf::default() });
        let mut state = self.table.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.blocks += leaf.blocks;
        state.waiting_bytes += leaf.bytes.len();
        state.waiting.entry(self.range).or_default().push(leaf);
        state.write_what_is_next(self.table)
    }
}

/// The manifest of one table.
pub(in super::super) struct TableBlocks<'s> {
    sink: &'s dyn CaptureSink,
    directory: String,
    order: Order,
    comparison: Comparison,
    filtered: bool,
    state: Mutex<State<'s>>,
}

#[derive(Default)]
struct State<'s> {
    out: Option<Box<dyn StreamSink + 's>>,
    position: u64,
    /// Root entries, by range and offset: the order of the stream does not matter to a reader.
    entries: BTreeMap<(u32, u64), Vec<u8>>,
    blocks: u64,
    waiting: BTreeMap<u32, Vec<Leaf>>,
    waiting_bytes: usize,
    finished: BTreeMap<u32, ()>,
    next_range: u32,
}

impl<'s> TableBlocks<'s> {
    pub(in super::super) fn new(
        sink: &'s dyn CaptureSink,
        directory: &str,
        order: Order,
        comparison: Comparison,
        has_key: bool,
    ) -> Self {
        // In the order of a key that we can compare, a search needs no filter.
        let filtered = has_key && !(order == Order::Key && comparison != Comparison::Unknown);
        Self { sink, directory: directory.to_owned(), order, comparison, filtered, state: Mutex::default() }
    }

    /// Whether [`BlockFacts::keys`] is wanted.
    pub(in super::super) fn filtered(&self) -> bool {
        self.filtered
    }

    pub(in super::super) fn range(&self, range: u32) -> RangeBlocks<'_, 's> {
        RangeBlocks { table: self, range, leaf: Leaf::default() }
    }

    /// Ends the manifest when all ranges are finished: the number of blocks, and the stream where there is one.
    pub(in super::super) fn finish(&self) -> Result<(u64, Option<StreamSummary>)> {
        let Self { order, comparison, filtered, .. } = *self;
        let mut state = std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        // Only a table of a single block still waits.
        let Some(mut out) = state.out.take() else { return Ok((state.blocks, None)) };
        let mut root = vec![VERSION, u8::from(order == Order::Physical), comparison as u8, u8::from(filtered)];
        put_number(&mut root, state.entries.len() as u64);
        state.entries.values().for_each(|entry| root.extend_from_slice(entry));
        let length = u32::try_from(root.len()).unwrap_or(u32::MAX);
        let checksum = crc32fast::hash(&root);
        root.extend_from_slice(&state.position.to_le_bytes());
        root.extend_from_slice(&length.to_le_bytes());
        root.extend_from_slice(&checksum.to_le_bytes());
        root.extend_from_slice(MAGIC);
        out.write(&root)?;
        Ok((state.blocks, Some(out.finish()?)))
    }
}

impl<'s> State<'s> {
    /// Leaves go out in the order of their ranges, so that the stream does not depend on the number of threads, unless too
    /// many would have to wait.
    fn write_what_is_next(&mut self, table: &TableBlocks<'s>) -> Result<()> {
        if self.blocks < 2 {
            return Ok(());
        }
        loop {
            for leaf in self.waiting.remove(&self.next_range).unwrap_or_default() {
                self.write(table, self.next_range, leaf)?;
            }
            if self.finished.remove(&self.next_range).is_none() {
                break;
            }
            self.next_range += 1;
        }
        if self.waiting_bytes > WAITING_BYTES {
            for (range, leaves) in std::mem::take(&mut self.waiting) {
                for leaf in leaves {
                    self.write(table, range, leaf)?;
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, table: &TableBlocks<'s>, range: u32, leaf: Leaf) -> Result<()> {
        if self.out.is_none() {
            let options = StreamOptions { cutting: Cutting::AtMarks, whole_digest: false };
            self.out = Some(table.sink.stream(&[DATA, &table.directory, BLOCKS], options)?);
        }
        let mut entry = Vec::new();
        let size = leaf.bytes.len();
        for number in [u64::from(range), leaf.offset, leaf.length, leaf.rows, leaf.blocks, self.position, size as u64] {
            put_number(&mut entry, number);
        }
        put_text(&mut entry, &leaf.first);
        put_text(&mut entry, &leaf.last);
        self.entries.insert((range, leaf.offset), entry);
        self.waiting_bytes = self.waiting_bytes.saturating_sub(size);
        self.position += size as u64;
        let Some(out) = &mut self.out else { return Ok(()) };
        out.write(&leaf.bytes)?;
        out.cut()
    }
}
