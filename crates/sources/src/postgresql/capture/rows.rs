//! Rows of COPY text on their way into a stream: counted, and cut into blocks by their keys.
//!
//! A block begins at a row whose key's hash is a multiple of `block_rows`, so that rows that come, go or change elsewhere
//! move no border. Blocks are also bounded, and each is a chunk of the vault. A table without a key is cut by the hash of
//! whole rows.

use memchr::{memchr, memrchr};

use super::blocks::{BlockFacts, Comparison, RangeBlocks, hash};
use crate::{
    CaptureSink, Cutting, Result, StreamOptions, StreamSink, StreamSummary,
    postgresql::{
        dump::PieceSums,
        layout::{DATA, Order},
    },
};

/// No border before this many bytes of a block.
pub(super) const SMALLEST_BLOCK_BYTES: usize = 8 * 1024;
/// A block that would grow beyond this ends; a longer row is a block of its own.
pub(super) const LARGEST_BLOCK_BYTES: usize = 128 * 1024;
/// What blocks should have on average, bytes.
const MEAN_BLOCK_BYTES: f64 = 32.0 * 1024.0;
const LARGEST_BLOCK_ROWS: f64 = 16_384.0;

/// `block_rows` for rows of this many bytes: after the smallest block, a border is met after so many rows on average.
pub(super) fn block_rows(row_bytes: f64) -> u32 {
    let rows = (MEAN_BLOCK_BYTES - SMALLEST_BLOCK_BYTES as f64) / row_bytes.max(1.0);
    rows.round().clamp(1.0, LARGEST_BLOCK_ROWS) as u32
}

/// How a table's rows are read apart.
#[derive(Clone, Debug)]
pub(super) struct RowShape {
    /// Positions of the key's columns among those of the row, ascending; empty: the whole row is the key.
    key: Vec<usize>,
    /// The key is the row's first columns: the common case, found without a loop over columns.
    leading: bool,
    /// Position of the first key column.
    first: usize,
    pub comparison: Comparison,
    pub order: Order,
    pub block_rows: u32,
}

/// Where the key lies in a row.
struct Key<'r> {
    /// CRC-32 of the texts of its columns as they stand in the row, a tab between two.
    crc: u32,
    /// The first key column as it stands in the row; empty without a key.
    first: &'r [u8],
}

impl RowShape {
    /// `key`: positions in the order of the key.
    pub(super) fn new(key: &[usize], comparison: Comparison, order: Order, block_rows: u32) -> Self {
        let first = key.first().copied().unwrap_or_default();
        let mut key = key.to_vec();
        key.sort_unstable();
        let leading = key.iter().copied().eq(0..key.len());
        Self { key, leading, first, comparison, order, block_rows }
    }

    pub(super) fn has_key(&self) -> bool {
        !self.key.is_empty()
    }

    /// `row` without its newline.
    fn key<'r>(&self, row: &'r [u8]) -> Key<'r> {
        if self.key.is_empty() {
            return Key { crc: crc32fast::hash(row), first: &[] };
        }
        if self.leading && self.key.len() == 1 {
            let first = row.get(..memchr(b'\t', row).unwrap_or(row.len())).unwrap_or_default();
            return Key { crc: crc32fast::hash(first), first };
        }
        let mut hasher = crc32fast::Hasher::new();
        let mut first: &[u8] = &[];
        let mut wanted = self.key.iter().copied().peekable();
        for (position, column) in row.split(|byte| *byte == b'\t').enumerate() {
            if wanted.next_if_eq(&position).is_none() {
                continue;
            }
            if position == self.first {
                first = column;
            }
            hasher.update(column);
            if wanted.peek().is_none() {
                break;
            }
            hasher.update(b"\t");
        }
        Key { crc: hasher.finalize(), first }
    }
}

/// A range that was read to its end.
pub(super) struct RangeRows {
    pub rows: u64,
    pub summary: StreamSummary,
    pub framed_crc32: u32,
}

/// The stream of one range. It comes into being with the first row.
pub(super) struct RangeWriter<'t, 's> {
    sink: &'s dyn CaptureSink,
    directory: &'t str,
    stream: &'t str,
    shape: &'t RowShape,
    blocks: RangeBlocks<'t, 's>,
    /// Wanted by the block manifest: the keys of the block.
    filtered: bool,
    out: Option<Box<dyn StreamSink + 's>>,
    sums: PieceSums,
    /// Rows of the current block.
    block: Vec<u8>,
    block_row_count: u64,
    block_border: u32,
    keys: Vec<u32>,
    span: Span,
    /// Where the first key column of the block's last row lies in `block`.
    last_key: (usize, usize),
    /// A row that came in several messages.
    torn: Vec<u8>,
    rows: u64,
    /// Bytes and rows of blocks that were written since somebody asked.
    news: (u64, u64),
}

impl<'t, 's> RangeWriter<'t, 's> {
    pub(super) fn new(
        sink: &'s dyn CaptureSink,
        directory: &'t str,
        stream: &'t str,
        shape: &'t RowShape,
        blocks: RangeBlocks<'t, 's>,
        filtered: bool,
    ) -> Self {
        Self {
            sink,
            directory,
            stream,
            shape,
            blocks,
            filtered,
            out: None,
            sums: PieceSums::new(),
            block: Vec::with_capacity(LARGEST_BLOCK_BYTES / 2),
            block_row_count: 0,
            block_border: 0,
            keys: Vec::new(),
            span: Span::default(),
            last_key: (0, 0),
            torn: Vec::new(),
            rows: 0,
            news: (0, 0),
        }
    }

    /// One message of the server: a row with its newline. Whatever stands between may split and join them differently.
    pub(super) fn message(&mut self, bytes: &[u8]) -> Result<()> {
        if self.torn.is_empty() && memchr(b'\n', bytes) == Some(bytes.len().wrapping_sub(1)) {
            return self.row(bytes);
        }
        let Some(end) = memrchr(b'\n', bytes) else {
            self.torn.extend_from_slice(bytes);
            return Ok(());
        };
        let (complete, rest) = bytes.split_at(end + 1);
        for row in complete.split_inclusive(|byte| *byte == b'\n') {
            if self.torn.is_empty() {
                self.row(row)?;
            } else {
                let mut torn = std::mem::take(&mut self.torn);
                torn.extend_from_slice(row);
                self.row(&torn)?;
            }
        }
        self.torn.extend_from_slice(rest);
        Ok(())
    }

    /// Bytes and rows since the last call: what is known to be on its way into the vault.
    pub(super) fn take_news(&mut self) -> (u64, u64) {
        std::mem::take(&mut self.news)
    }

    /// `row` with its newline.
    fn row(&mut self, row: &[u8]) -> Result<()> {
        let text = row.strip_suffix(b"\n").unwrap_or(row);
        let key = self.shape.key(text);
        let length = self.block.len();
        let at_border = length >= SMALLEST_BLOCK_BYTES && hash(key.crc).is_multiple_of(self.shape.block_rows.max(1));
        if length > 0 && (at_border || length + row.len() > LARGEST_BLOCK_BYTES) {
            self.end_block()?;
        }
        if self.block_row_count == 0 {
            self.block_border = key.crc;
            self.span.begin(self.shape, key.first);
        } else if self.shape.order == Order::Physical {
            self.span.widen(self.shape, key.first);
        }
        if self.filtered {
            // Of a key of several columns the first is what a search names.
            self.keys.push(if self.shape.key.len() == 1 { key.crc } else { crc32fast::hash(key.first) });
        }
        if self.shape.has_key() {
            let begin = self.block.len() + (key.first.as_ptr() as usize).saturating_sub(row.as_ptr() as usize);
            self.last_key = (begin, begin + key.first.len());
        }
        self.block_row_count += 1;
        self.rows += 1;
        if self.block.is_empty() && row.len() > LARGEST_BLOCK_BYTES {
            // A block of its own, which may be hundreds of megabytes: no second copy of it.
            return self.write_block(row);
        }
        self.block.extend_from_slice(row);
        Ok(())
    }

    fn end_block(&mut self) -> Result<()> {
        if self.block_row_count == 0 {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.block);
        let written = self.write_block(&block);
        block.clear();
        self.block = block;
        written
    }

    /// `bytes`: the rows since the last block.
    fn write_block(&mut self, bytes: &[u8]) -> Result<()> {
        let out = match &mut self.out {
            Some(out) => out,
            None => {
                let options = StreamOptions { cutting: Cutting::AtMarks, whole_digest: false };
                self.out.insert(self.sink.stream(&[DATA, self.directory, self.stream], options)?)
            }
        };
        out.write(bytes)?;
        out.cut()?;
        self.sums.update(bytes);
        if self.shape.order == Order::Key {
            let last = bytes.get(self.last_key.0..self.last_key.1).unwrap_or_default();
            unescape(last, &mut self.span.last);
        }
        let (first, last) = self.span.ends(self.shape);
        let length = bytes.len() as u64;
        self.blocks.add(&BlockFacts {
            length,
            rows: self.block_row_count,
            first,
            last,
            keys: &self.keys,
            border: (self.block_border, self.shape.block_rows),
        })?;
        self.news = (self.news.0 + length, self.news.1 + self.block_row_count);
        self.keys.clear();
        self.block_row_count = 0;
        Ok(())
    }

    /// The last row has come. `None`: there was none, and there is no stream. Also what [`Self::take_news`] would say.
    pub(super) fn finish(mut self) -> Result<(Option<RangeRows>, (u64, u64))> {
        if !self.torn.is_empty() {
            let torn = std::mem::take(&mut self.torn);
            self.row(&torn)?;
        }
        self.end_block()?;
        self.blocks.finish()?;
        let Some(out) = self.out else { return Ok((None, self.news)) };
        let rows = RangeRows { rows: self.rows, summary: out.finish()?, framed_crc32: self.sums.finish() };
        Ok((Some(rows), self.news))
    }
}

/// First and last key of the rows of a block, COPY's escapes undone.
#[derive(Default)]
struct Span {
    first: Vec<u8>,
    last: Vec<u8>,
    scratch: Vec<u8>,
    unknown: bool,
}

impl Span {
    fn begin(&mut self, shape: &RowShape, key: &[u8]) {
        self.unknown = false;
        unescape(key, &mut self.first);
        if shape.order == Order::Physical {
            self.last.clone_from(&self.first);
        }
    }

    fn widen(&mut self, shape: &RowShape, key: &[u8]) {
        if shape.comparison == Comparison::Unknown {
            return;
        }
        let key = if memchr(b'\\', key).is_some() {
            unescape(key, &mut self.scratch);
            self.scratch.as_slice()
        } else {
            key
        };
        match (shape.comparison.compare(key, &self.first), shape.comparison.compare(key, &self.last)) {
            (Some(first), Some(last)) => {
                if first.is_lt() {
                    key.clone_into(&mut self.first);
                }
                if last.is_gt() {
                    key.clone_into(&mut self.last);
                }
            }
            // A value that we do not understand may lie anywhere: nothing is said of this block, then.
            _ => self.unknown = true,
        }
    }

    fn ends(&self, shape: &RowShape) -> (&[u8], &[u8]) {
        if shape.order == Order::Physical && (self.unknown || shape.comparison == Comparison::Unknown) {
            return (&[], &[]);
        }
        (&self.first, &self.last)
    }
}

/// Undoes the escapes of COPY text that PostgreSQL writes.
fn unescape(text: &[u8], into: &mut Vec<u8>) {
    into.clear();
    let mut rest = text;
    while let Some(at) = memchr(b'\\', rest) {
        let (before, escape) = rest.split_at(at);
        into.extend_from_slice(before);
        let Some(letter) = escape.get(1) else { break };
        into.push(match letter {
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            other => *other,
        });
        rest = escape.get(2..).unwrap_or_default();
    }
    into.extend_from_slice(rest);
}
