//! Which bytes of a table's streams must be read for a range of keys.

use crate::{
    ErrorKind, KeyRange, PartReader, Result, SourceError,
    postgresql::{
        layout::Table,
        session::{Session, literal, sql_state},
    },
};

/// Bytes that lie together in one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Position in the table's list of streams.
    pub range: usize,
    pub offset: u64,
    pub length: u64,
}

/// Blocks that lie closer than this are read in one go, bytes.
const GAP_BYTES: u64 = 64 * 1024;

/// What a range of keys needs.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments(pub Vec<Segment>);

impl Segments {
    pub(super) fn whole(table: &Table) -> Self {
        let streams = table.ranges.iter().enumerate();
        Self(streams.map(|(range, stream)| Segment { range, offset: 0, length: stream.length }).collect())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.0.iter().map(|segment| segment.length).sum()
    }

    /// Those of one stream.
    pub(super) fn of(&self, range: usize) -> Vec<Segment> {
        self.0.iter().copied().filter(|segment| segment.range == range).collect()
    }

    /// Adds what follows in the order of places; small gaps are read too.
    fn push(&mut self, next: Segment) {
        match self.0.last_mut() {
            Some(last) if last.range == next.range && next.offset <= last.offset + last.length + GAP_BYTES => {
                last.length = next.offset + next.length - last.offset;
            }
            _ => self.0.push(next),
        }
    }
}

/// The parts of the table's streams that can hold rows of the range; the rows must still be looked at.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a bound that is no value of the key's type.
pub(super) fn segments(
    part: &dyn PartReader,
    table: &Table,
    range: &KeyRange,
    server: &mut Session,
) -> Result<Segments> {
    let from = as_printed(server, table, range.from.as_deref())?;
    let before = as_printed(server, table, range.before.as_deref())?;
    let found =
        crate::postgresql::capture::blocks::open(part, table)?.blocks_for_range(from.as_deref(), before.as_deref())?;
    let mut segments = Segments::default();
    for block in found {
        let name = format!("{:04}.copy", block.range);
        if let Some(range) = table.ranges.iter().position(|stream| stream.stream == name) {
            segments.push(Segment { range, offset: block.offset, length: block.length });
        }
    }
    Ok(segments)
}

/// A value in the form that the server prints, in which blocks are marked.
fn as_printed(server: &mut Session, table: &Table, value: Option<&str>) -> Result<Option<String>> {
    let (Some(value), Some((column, kind))) = (value, table.key_columns.first()) else { return Ok(None) };
    match server.text(&format!("SELECT ({}::{kind})::text", literal(value))) {
        Ok(printed) => Ok(printed),
        // A type of the backup's own (a domain, an enum) is not known here yet: then nothing is narrowed.
        Err(error) if sql_state(&error).as_deref() == Some("42704") => Ok(None),
        Err(error) => Err(SourceError::new(
            ErrorKind::Invalid,
            format!("`{value}` is not a key of {}.{}, whose column {column} is a {kind}.", table.schema, table.name),
        )
        .because(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_blocks_are_read_together() {
        let mut segments = Segments::default();
        for (range, offset, length) in [(0, 0, 10), (0, 10, 10), (0, 100_000, 5), (1, 100_005, 5)] {
            segments.push(Segment { range, offset, length });
        }
        let segment = |range, offset, length| Segment { range, offset, length };
        assert_eq!(segments.0, [segment(0, 0, 20), segment(0, 100_000, 5), segment(1, 100_005, 5)]);
        assert_eq!(segments.bytes(), 30);
    }
}
