//! Content of large objects. They exist already, made with the definitions before the rows, and are empty.

use crate::{
    ErrorKind, RandomRead, Result, SourceError,
    postgresql::{
        layout::{Captured, LARGE_OBJECTS},
        session::Session,
    },
};

use super::run::Run;

/// Content put into one statement, bytes; it is twice as long there.
const STATEMENT_BYTES: usize = 512 * 1024;
/// Read at once, bytes.
const READ_BYTES: usize = 256 * 1024;
/// An integer of the archive: sign and four bytes.
const INTEGER_BYTES: usize = 5;

/// A piece of one object.
pub(super) struct Piece<'a> {
    pub oid: u32,
    /// Where in the object it belongs, bytes.
    pub offset: u64,
    pub bytes: &'a [u8],
}

pub(super) fn load(run: &Run<'_>, captured: &Captured, session: &mut Session) -> Result<()> {
    let mut statement = String::new();
    session.execute("BEGIN")?;
    each_piece(run, captured, &mut |piece| {
        if piece.bytes.is_empty() {
            return Ok(());
        }
        statement.push_str(&put(&piece));
        if statement.len() >= 2 * STATEMENT_BYTES {
            session.execute(&statement)?;
            statement.clear();
        }
        Ok(())
    })?;
    if !statement.is_empty() {
        session.execute(&statement)?;
    }
    session.execute("COMMIT")
}

/// The statement that writes a piece.
pub(super) fn put(piece: &Piece<'_>) -> String {
    // `standard_conforming_strings` may be off; this form means the same always.
    format!("SELECT pg_catalog.lo_put({}, {}, E'\\\\x{}');", piece.oid, piece.offset, hex::encode(piece.bytes))
}

/// Walks through the stream: of each object an empty piece first, then its content in order.
pub(super) fn each_piece(
    run: &Run<'_>,
    captured: &Captured,
    each: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> Result<()> {
    let Some(large) = &captured.large_objects else { return Ok(()) };
    let path: Vec<&[u8]> = LARGE_OBJECTS.iter().map(|component| component.as_bytes()).collect();
    let mut input = Input { reader: run.part.open(&path)?, position: 0, buffer: Vec::new(), start: 0 };
    while input.position < large.length {
        run.check()?;
        let before = input.position;
        let number = input.integer()?;
        // Zero ends the payload of an entry; another one may follow.
        if number != 0 {
            let oid = number.cast_unsigned();
            each(Piece { oid, offset: 0, bytes: &[] })?;
            let mut offset = 0;
            loop {
                let length = usize::try_from(input.integer()?).map_err(|_| damaged())?;
                if length == 0 {
                    break;
                }
                let mut left = length;
                while left > 0 {
                    run.check()?;
                    let bytes = input.take(left.min(STATEMENT_BYTES))?;
                    each(Piece { oid, offset, bytes })?;
                    offset += bytes.len() as u64;
                    left -= bytes.len();
                }
            }
        }
        run.moved(input.position - before, 0);
    }
    Ok(())
}

struct Input {
    reader: Box<dyn RandomRead>,
    /// Of the next byte to be taken.
    position: u64,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were taken.
    start: usize,
}

impl Input {
    fn take(&mut self, length: usize) -> Result<&[u8]> {
        if self.buffer.len() - self.start < length {
            self.buffer.drain(..self.start);
            self.start = 0;
            let have = self.buffer.len();
            let want = length.max(READ_BYTES);
            self.buffer.resize(want, 0);
            let read =
                self.reader.read_at(self.position + have as u64, self.buffer.get_mut(have..).unwrap_or_default())?;
            self.buffer.truncate(have + read);
        }
        let taken = self.buffer.get(self.start..self.start + length).ok_or_else(damaged)?;
        self.start += length;
        self.position += length as u64;
        Ok(taken)
    }

    fn integer(&mut self) -> Result<i32> {
        let bytes = self.take(INTEGER_BYTES)?;
        let &[sign, a, b, c, d] = bytes else { return Err(damaged()) };
        let value = u32::from_le_bytes([a, b, c, d]);
        Ok(if sign == 0 { value.cast_signed() } else { value.cast_signed().wrapping_neg() })
    }
}

fn damaged() -> SourceError {
    SourceError::new(ErrorKind::Store, "The stream of large objects is damaged.")
        .hint("Verify the store; restore another backup.")
}
