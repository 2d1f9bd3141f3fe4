//! Reading a block manifest: the root, and the leaves that may matter.

use std::cmp::Ordering;

use super::{Bytes, Comparison, Filter, MAGIC, TRAILER_BYTES, VERSION};
use crate::{
    ErrorKind, PartReader, RandomRead, Result, SourceError,
    postgresql::layout::{BLOCKS, DATA, Order, Table},
};

/// Rows that lie together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::postgresql) struct Block {
    /// Number in the stream's name: 7 is `0007.copy`.
    pub range: u32,
    /// Where it begins in the stream, bytes.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    pub rows: u64,
    /// Of the first key column, see the module; may be empty.
    pub first: Vec<u8>,
    pub last: Vec<u8>,
}

/// What the root says of a leaf.
struct Entry {
    range: u32,
    offset: u64,
    length: u64,
    rows: u64,
    blocks: u64,
    position: u64,
    size: u64,
    first: Vec<u8>,
    last: Vec<u8>,
}

/// The blocks of one table.
pub(in crate::postgresql) struct Reader {
    stream: Option<Box<dyn RandomRead>>,
    order: Order,
    comparison: Comparison,
    filtered: bool,
    entries: Vec<Entry>,
}

/// The manifest of a captured table. A table without one is one block for each of its streams.
///
/// # Errors
/// [`ErrorKind::Store`] for a manifest that is not what a capture writes.
pub(in crate::postgresql) fn open(part: &dyn PartReader, table: &Table) -> Result<Reader> {
    if table.blocks >= 2 {
        return Reader::new(part.open(&[DATA.as_bytes(), table.directory.as_bytes(), BLOCKS.as_bytes()])?);
    }
    let entries = table.ranges.iter().map(|range| Entry {
        range: range.stream.split('.').next().and_then(|number| number.parse().ok()).unwrap_or_default(),
        offset: 0,
        length: range.length,
        rows: range.rows,
        blocks: 1,
        position: 0,
        size: 0,
        first: Vec::new(),
        last: Vec::new(),
    });
    Ok(Reader {
        stream: None,
        order: table.order,
        comparison: Comparison::Unknown,
        filtered: false,
        entries: entries.collect(),
    })
}

impl Reader {
    pub(in crate::postgresql) fn new(mut stream: Box<dyn RandomRead>) -> Result<Self> {
        let mut trailer = [0; TRAILER_BYTES];
        let end = stream.length().checked_sub(TRAILER_BYTES as u64).ok_or_else(damaged)?;
        exactly(stream.as_mut(), end, &mut trailer)?;
        let (numbers, magic) = trailer.split_at(16);
        let number = |from: usize, to: usize| -> u64 {
            numbers.get(from..to).unwrap_or_default().iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
        };
        let (position, length, checksum) = (number(0, 8), number(8, 12), number(12, 16));
        if magic != MAGIC || position.checked_add(length) != Some(end) {
            return Err(damaged());
        }
        let mut root = vec![0; usize::try_from(length).map_err(|_| damaged())?];
        exactly(stream.as_mut(), position, &mut root)?;
        if u64::from(crc32fast::hash(&root)) != checksum {
            return Err(damaged());
        }
        let (order, comparison, filtered, entries) = parse_root(&root).ok_or_else(damaged)?;
        Ok(Self { stream: Some(stream), order, comparison, filtered, entries })
    }

    /// How the first key column's values compare; [`Comparison::Unknown`]: a range is never narrowed.
    pub(in crate::postgresql) fn comparison(&self) -> Comparison {
        self.comparison
    }

    pub(in crate::postgresql) fn order(&self) -> Order {
        self.order
    }

    pub(in crate::postgresql) fn blocks(&mut self) -> Result<Vec<Block>> {
        self.find(|_, _| true, |_| true)
    }

    /// The blocks that may hold rows whose first key column is at least `from` and less than `before`, in the order of
    /// their places. Both must be as the server prints values under our settings (ISO, UTC, hex); others narrow nothing.
    /// The rows of these blocks must still be looked at one by one.
    pub(in crate::postgresql) fn blocks_for_range(
        &mut self,
        from: Option<&str>,
        before: Option<&str>,
    ) -> Result<Vec<Block>> {
        let comparison = self.comparison;
        let bound =
            |text: Option<&str>| text.map(|text| text.as_bytes().to_vec()).filter(|text| comparison.understands(text));
        let (from, before) = (bound(from), bound(before));
        self.find(
            |first, last| {
                let too_low = from.as_ref().is_some_and(|from| comparison.compare(last, from) == Some(Ordering::Less));
                let too_high = before.as_ref().is_some_and(|before| {
                    matches!(comparison.compare(first, before), Some(Ordering::Equal | Ordering::Greater))
                });
                !too_low && !too_high
            },
            |_| true,
        )
    }

    /// The blocks that may hold rows with this value of the first key column. `value` as the server prints it, `copied` as
    /// it stands in COPY text.
    pub(in crate::postgresql) fn blocks_for_key(&mut self, value: &str, copied: &[u8]) -> Result<Vec<Block>> {
        let comparison = self.comparison;
        let value = value.as_bytes();
        let crc = crc32fast::hash(copied);
        self.find(
            |first, last| {
                comparison.compare(last, value) != Some(Ordering::Less)
                    && comparison.compare(first, value) != Some(Ordering::Greater)
            },
            |filter| filter.is_none_or(|filter| filter.may_hold(crc)),
        )
    }

    fn find(
        &mut self,
        wanted: impl Fn(&[u8], &[u8]) -> bool,
        passes: impl Fn(Option<Filter<'_>>) -> bool,
    ) -> Result<Vec<Block>> {
        let mut found = Vec::new();
        for entry in &self.entries {
            if !wanted(&entry.first, &entry.last) {
                continue;
            }
            let Some(stream) = &mut self.stream else {
                found.push(entry.as_block());
                continue;
            };
            if entry.size > stream.length() {
                return Err(damaged());
            }
            let mut leaf = vec![0; usize::try_from(entry.size).map_err(|_| damaged())?];
            exactly(stream.as_mut(), entry.position, &mut leaf)?;
            let (mut bytes, mut offset) = (Bytes(&leaf), entry.offset);
            for _ in 0..entry.blocks {
                let (block, filter) =
                    parse_block(&mut bytes, entry.range, offset, self.filtered).ok_or_else(damaged)?;
                offset += block.length;
                if wanted(&block.first, &block.last) && passes(filter) {
                    found.push(block);
                }
            }
            if !bytes.0.is_empty() || offset != entry.offset + entry.length {
                return Err(damaged());
            }
        }
        Ok(found)
    }
}

impl Entry {
    fn as_block(&self) -> Block {
        let Self { range, offset, length, rows, first, last, .. } = self;
        Block { range: *range, offset: *offset, length: *length, rows: *rows, first: first.clone(), last: last.clone() }
    }
}

fn parse_root(root: &[u8]) -> Option<(Order, Comparison, bool, Vec<Entry>)> {
    let mut bytes = Bytes(root);
    let &[version, order, comparison, filtered] = bytes.take(4)? else { return None };
    if version != VERSION {
        return None;
    }
    let order = if order == 0 { Order::Key } else { Order::Physical };
    let mut entries = Vec::new();
    for _ in 0..bytes.number()? {
        entries.push(Entry {
            range: u32::try_from(bytes.number()?).ok()?,
            offset: bytes.number()?,
            length: bytes.number()?,
            rows: bytes.number()?,
            blocks: bytes.number()?,
            position: bytes.number()?,
            size: bytes.number()?,
            first: bytes.text()?.to_vec(),
            last: bytes.text()?.to_vec(),
        });
    }
    bytes.0.is_empty().then_some((order, Comparison::from_byte(comparison)?, filtered != 0, entries))
}

fn parse_block<'a>(
    bytes: &mut Bytes<'a>,
    range: u32,
    offset: u64,
    filtered: bool,
) -> Option<(Block, Option<Filter<'a>>)> {
    let (length, rows) = (bytes.number()?, bytes.number()?);
    let (first, last) = (bytes.text()?.to_vec(), bytes.text()?.to_vec());
    let filter = if filtered { Some(Filter(bytes.take(Filter::length(rows))?)) } else { None };
    offset.checked_add(length)?;
    Some((Block { range, offset, length, rows, first, last }, filter))
}

fn exactly(stream: &mut dyn RandomRead, offset: u64, buffer: &mut [u8]) -> Result<()> {
    if stream.read_at(offset, buffer)? == buffer.len() { Ok(()) } else { Err(damaged()) }
}

fn damaged() -> SourceError {
    SourceError::new(ErrorKind::Store, "The block manifest of a table is damaged.")
        .hint("Restore the whole table; that needs no block manifest.")
}
