//! The stored rows of one stream on their way into a `COPY`.

use std::collections::VecDeque;

use crate::{
    PartReader, RandomRead, Result, SourceError,
    postgresql::layout::{DATA, Table},
};

use super::{blocks::Segment, filter::LineFilter};

/// Read at once, bytes.
const READ_BYTES: usize = 512 * 1024;
/// After as many bytes a `COPY` ends at the next row and another goes on: the server says only at the end of one what it did
/// not like.
const PIECE_BYTES: u64 = 64 * 1024 * 1024;

pub(super) struct Rows {
    reader: Box<dyn RandomRead>,
    segments: VecDeque<Segment>,
    filter: Option<LineFilter>,
    /// Begun rows; with a filter a whole row, without one what was read behind the end of a piece.
    carry: Vec<u8>,
    buffer: Vec<u8>,
    piece_left: u64,
}

impl Rows {
    /// `segments` of the table's stream `range`, in ascending order.
    pub(super) fn open(
        part: &dyn PartReader,
        table: &Table,
        range: usize,
        segments: Vec<Segment>,
        filter: Option<LineFilter>,
    ) -> Result<Self> {
        let stream = table.ranges.get(range).map(|range| range.stream.as_str()).unwrap_or_default();
        Ok(Self {
            reader: part.open(&[DATA.as_bytes(), table.directory.as_bytes(), stream.as_bytes()])?,
            segments: segments.into(),
            filter,
            carry: Vec::new(),
            buffer: vec![0; READ_BYTES],
            piece_left: PIECE_BYTES,
        })
    }

    /// Nothing is left.
    pub(super) fn is_done(&self) -> bool {
        self.segments.is_empty() && self.carry.is_empty()
    }

    pub(super) fn begin_piece(&mut self) {
        self.piece_left = PIECE_BYTES;
    }

    /// Puts the next rows into the buffer, nothing at the end of a piece. Answers how many bytes were read for it.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>) -> Result<u64> {
        if self.piece_left == 0 {
            return Ok(0);
        }
        let mut bytes = 0;
        while out.is_empty() {
            if self.filter.is_none() && !self.carry.is_empty() {
                out.append(&mut self.carry);
                break;
            }
            let read = self.read()?;
            bytes += read as u64;
            if read == 0 {
                self.last_line(out);
                break;
            }
            match &self.filter {
                None => out.extend_from_slice(self.buffer.get(..read).unwrap_or_default()),
                Some(filter) => {
                    self.carry.extend_from_slice(self.buffer.get(..read).unwrap_or_default());
                    keep_wanted(filter, &mut self.carry, out);
                }
            }
        }
        self.end_piece(out);
        Ok(bytes)
    }

    fn read(&mut self) -> Result<usize> {
        let Some(segment) = self.segments.front_mut() else { return Ok(0) };
        let want = usize::try_from(segment.length).unwrap_or(usize::MAX).min(READ_BYTES);
        let read = self.reader.read_at(segment.offset, self.buffer.get_mut(..want).unwrap_or_default())?;
        if read != want {
            return Err(SourceError::new(
                crate::ErrorKind::Store,
                "A stream of rows is shorter than its manifest says.",
            ));
        }
        segment.offset += read as u64;
        segment.length -= read as u64;
        if segment.length == 0 {
            self.segments.pop_front();
        }
        Ok(read)
    }

    /// A last line without its newline; captures write none.
    fn last_line(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.carry);
        if !line.is_empty() && self.filter.as_ref().is_none_or(|filter| filter.wants(&line)) {
            out.extend_from_slice(&line);
            out.push(b'\n');
        }
    }

    /// Once the piece is long enough it ends with a row.
    fn end_piece(&mut self, out: &mut Vec<u8>) {
        let left = self.piece_left.saturating_sub(out.len() as u64);
        if left > 0 {
            self.piece_left = left;
            return;
        }
        // In the middle of a row that is longer than a buffer the piece goes on.
        self.piece_left = 1;
        if let Some(end) = out.iter().rposition(|byte| *byte == b'\n') {
            self.piece_left = 0;
            if self.filter.is_none() {
                let rest = out.split_off(end + 1);
                self.carry.splice(0..0, rest);
            }
        }
    }
}

/// Moves wanted rows from the front of `lines` to `out`; a begun row stays.
fn keep_wanted(filter: &LineFilter, lines: &mut Vec<u8>, out: &mut Vec<u8>) {
    let Some(end) = lines.iter().rposition(|byte| *byte == b'\n') else { return };
    for line in lines.get(..end).unwrap_or_default().split(|byte| *byte == b'\n') {
        if filter.wants(line) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
    lines.drain(..=end);
}
