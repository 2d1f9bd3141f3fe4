//! The data blocks that follow a table of contents, taken apart while they pass.

use std::{
    collections::BTreeSet,
    io::{self, Read},
};

use super::{
    archive::Archive,
    error::{DumpError, malformed},
    framing::INTEGER_BYTES,
    wire::decode_integer,
};

/// What `pg_dump` writes after the rows of a table; no row can look like its beginning.
pub(in crate::postgresql) const ROWS_END: &[u8] = b"\\.\n\n\n";
/// Types of blocks.
pub(super) const ROWS_BLOCK: u8 = 1;
pub(super) const LARGE_OBJECTS_BLOCK: u8 = 3;
/// Bytes that are given out at once.
const BUFFER_BYTES: usize = 64 * 1024;
const INTEGER: usize = INTEGER_BYTES as usize;

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::postgresql) enum Event<'a> {
    /// Rows of a `TABLE DATA` entry follow, in portions that end anywhere.
    DataBegin(i32),
    /// The payload of a `BLOBS` entry follows, as it lies in the archive with its two ending zeros.
    LargeObjectsBegin(i32),
    Bytes(&'a [u8]),
    /// The rows or the payload are complete.
    DataEnd,
    /// The archive is complete: every entry with data has had its block.
    End,
}

/// Where the splitter stands.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Before a block or the end.
    Between,
    /// In rows, with so many bytes left of the current piece.
    Rows { left: u64 },
    /// In large objects: before the number of an object.
    Object,
    /// In a large object, with so many bytes left of the current piece.
    Piece { left: u64 },
    /// All bytes of the block were given out.
    Ending,
}

/// Reads uncompressed data blocks in bounded memory. Many small reads: give a buffered reader.
pub(in crate::postgresql) struct Splitter<R> {
    reader: R,
    state: State,
    /// Entries whose block has not come yet.
    expected: BTreeSet<i32>,
    buffer: Box<[u8]>,
    /// Rows in the buffer, bytes.
    filled: usize,
    /// Those of them that were given out.
    given: usize,
}

impl<R: Read> Splitter<R> {
    /// `reader` stands right after the table of contents.
    ///
    /// # Errors
    /// [`DumpError::Malformed`] for compressed archives.
    pub fn new(reader: R, archive: &Archive) -> Result<Self, DumpError> {
        if archive.header.is_compressed() {
            return Err(malformed("its data are compressed"));
        }
        let expected = archive.entries.iter().filter(|entry| entry.had_dumper).map(|entry| entry.dump_id).collect();
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Ok(Self { reader, state: State::Between, expected, buffer, filled: 0, given: 0 })
    }

    /// What comes next; after [`Event::End`] always that.
    ///
    /// # Errors
    /// [`DumpError`]; the splitter is of no more use then.
    pub fn next_event(&mut self) -> Result<Event<'_>, DumpError> {
        match self.state {
            State::Between => self.begin(),
            State::Rows { left } => self.rows(left),
            State::Object => {
                let number = self.visible_integer()?;
                self.state = if number == 0 { State::Ending } else { State::Piece { left: 0 } };
                Ok(Event::Bytes(&self.buffer[..INTEGER]))
            }
            State::Piece { left: 0 } => {
                let left = length(self.visible_integer()?)?;
                self.state = if left == 0 { State::Object } else { State::Piece { left } };
                Ok(Event::Bytes(&self.buffer[..INTEGER]))
            }
            State::Piece { left } => {
                let count = self.fill(0, left)?;
                self.state = State::Piece { left: left - count as u64 };
                Ok(Event::Bytes(&self.buffer[..count]))
            }
            State::Ending => {
                self.state = State::Between;
                Ok(Event::DataEnd)
            }
        }
    }

    fn begin(&mut self) -> Result<Event<'_>, DumpError> {
        let Some(block_type) = self.block_type()? else {
            return match self.expected.first() {
                Some(missing) => Err(malformed(format!("it ends before the data of entry {missing}"))),
                None => Ok(Event::End),
            };
        };
        let dump_id = self.integer()?;
        if !self.expected.remove(&dump_id) {
            return Err(malformed(format!("it has data of an entry {dump_id} that should have none")));
        }
        match block_type {
            ROWS_BLOCK => {
                (self.state, self.filled, self.given) = (State::Rows { left: 0 }, 0, 0);
                Ok(Event::DataBegin(dump_id))
            }
            LARGE_OBJECTS_BLOCK => {
                self.state = State::Object;
                Ok(Event::LargeObjectsBegin(dump_id))
            }
            other => Err(malformed(format!("it has a data block of type {other}"))),
        }
    }

    /// Gathers pieces until the buffer is full or the block ends, for `pg_dump` writes a piece for each row. The last
    /// bytes are held back: they may be the end mark.
    fn rows(&mut self, mut left: u64) -> Result<Event<'_>, DumpError> {
        self.buffer.copy_within(self.given..self.filled, 0);
        self.filled -= self.given;
        self.given = 0;
        while self.filled < self.buffer.len() {
            if left == 0 {
                left = length(self.integer()?)?;
                if left == 0 {
                    return self.end_rows();
                }
            }
            let count = self.fill(self.filled, left)?;
            self.filled += count;
            left -= count as u64;
        }
        self.state = State::Rows { left };
        self.given = self.filled - ROWS_END.len();
        Ok(Event::Bytes(&self.buffer[..self.given]))
    }

    fn end_rows(&mut self) -> Result<Event<'_>, DumpError> {
        let Some(rows) = self.buffer[..self.filled].strip_suffix(ROWS_END) else {
            return Err(malformed("the rows of a table do not end with their mark"));
        };
        if rows.is_empty() {
            self.state = State::Between;
            return Ok(Event::DataEnd);
        }
        self.state = State::Ending;
        Ok(Event::Bytes(rows))
    }

    /// Reads at least one byte, at most `left`, to `start` of the buffer.
    fn fill(&mut self, start: usize, left: u64) -> Result<usize, DumpError> {
        let room = self.buffer.len() - start;
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(room);
        loop {
            match self.reader.read(&mut self.buffer[start..start + wanted]) {
                Ok(0) => return Err(malformed("it ends too early")),
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(DumpError::Io(error)),
            }
        }
    }

    fn integer(&mut self) -> Result<i32, DumpError> {
        let mut bytes = [0; INTEGER];
        self.reader.read_exact(&mut bytes).map_err(DumpError::reading)?;
        decode_integer(bytes)
    }

    /// An integer of large objects, which also stands at the buffer's beginning then.
    fn visible_integer(&mut self) -> Result<i32, DumpError> {
        let mut bytes = [0; INTEGER];
        self.reader.read_exact(&mut bytes).map_err(DumpError::reading)?;
        self.buffer[..INTEGER].copy_from_slice(&bytes);
        decode_integer(bytes)
    }

    /// `None` at the end of the archive.
    fn block_type(&mut self) -> Result<Option<u8>, DumpError> {
        let mut byte = [0];
        match self.reader.read_exact(&mut byte) {
            Ok(()) => Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(DumpError::Io(error)),
        }
    }
}

/// Of the piece that follows.
fn length(number: i32) -> Result<u64, DumpError> {
    u64::try_from(number).map_err(|_| malformed("a piece of data has a negative length"))
}
