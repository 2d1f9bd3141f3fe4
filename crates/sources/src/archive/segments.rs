//! Pieces that stand for one long stream.

use crate::{ErrorKind, RandomRead, Result, SourceError};

/// A piece of a [`Concatenation`].
pub enum Segment {
    Bytes(Vec<u8>),
    Zeros(u64),
    Content(Box<dyn RandomRead>),
}

impl Segment {
    fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(length) => *length,
            Self::Content(content) => content.length(),
        }
    }
}

/// Segments one after another. Memory is that of the list: for millions of members write a
/// [`RandomRead`] that looks its pieces up instead.
pub struct Concatenation {
    /// Each segment with the offset at which it begins; none is empty.
    segments: Vec<(u64, Segment)>,
    length: u64,
}

impl Concatenation {
    pub fn new(segments: Vec<Segment>) -> Self {
        let mut length = 0;
        let mut placed = Vec::with_capacity(segments.len());
        for segment in segments {
            let start = length;
            length += segment.length();
            if length > start {
                placed.push((start, segment));
            }
        }
        Self { segments: placed, length }
    }
}

impl RandomRead for Concatenation {
    fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let position = offset + filled as u64;
            if position >= self.length {
                break;
            }
            let index = self.segments.partition_point(|(start, _)| *start <= position) - 1;
            let Some((start, segment)) = self.segments.get_mut(index) else { break };
            let within = position - *start;
            let left = usize::try_from(segment.length() - within).unwrap_or(usize::MAX);
            let count = left.min(buffer.len() - filled);
            let piece = &mut buffer[filled..filled + count];
            match segment {
                Segment::Bytes(bytes) => {
                    let within = usize::try_from(within).unwrap_or(usize::MAX);
                    piece.copy_from_slice(&bytes[within..within + count]);
                }
                Segment::Zeros(_) => piece.fill(0),
                Segment::Content(content) => fill(content.as_mut(), within, piece)?,
            }
            filled += count;
        }
        Ok(filled)
    }
}

/// Fills the whole of `buffer` from `offset`.
///
/// # Errors
/// Those of the reader, and [`ErrorKind::Store`] when the stream ends before the buffer is full.
pub(super) fn fill(reader: &mut (impl RandomRead + ?Sized), offset: u64, buffer: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        let read = reader.read_at(offset + filled as u64, &mut buffer[filled..])?;
        if read == 0 {
            return Err(SourceError::new(ErrorKind::Store, "A stored stream ended before its recorded length.")
                .hint("Verify the backup: its content is damaged."));
        }
        filled += read;
    }
    Ok(())
}
