//! The archive that `pg_restore` reads, put together from the streams of a part.

use std::ops::Deref;

use super::{
    Archive,
    blueprint::{Blueprint, Segment},
    framing::{INTEGER_BYTES, PIECE_BYTES, piece_header},
    wire::TOC_LIMIT_BYTES,
};
use crate::{
    ErrorKind, PartReader, RandomRead, Result, SourceError,
    postgresql::layout::{Captured, DATA, How, LARGE_OBJECTS, TOC, WHOLE},
};

/// Streams that are open at the same time: reads most often go on where the last one ended, or in a few places.
const OPEN_STREAMS: usize = 4;
/// Read at once, where a whole stream is wanted.
const PORTION_BYTES: usize = 1024 * 1024;

/// An archive with true offsets that is nowhere stored: the same bytes on each call, of a length known before, readable
/// from any offset without what lies before it.
///
/// `P` is a reference or an `Arc` to the part.
pub(in crate::postgresql) struct Assembled<P> {
    part: P,
    blueprint: Blueprint,
    /// Streams by the number of their segment, the one that was used last at the end.
    open: Vec<(usize, Box<dyn RandomRead>)>,
}

impl<P> Assembled<P>
where
    P: Deref + Send,
    P::Target: PartReader,
{
    /// All that was captured.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] where the part's manifest and table of contents do not fit together.
    pub fn open(part: P) -> Result<Self> {
        let captured = Captured::of(part.manifest())?;
        if captured.how == How::Whole {
            return Ok(Self { part, blueprint: Blueprint::of_whole(&captured)?, open: Vec::new() });
        }
        let archive = Archive::of_part(&*part)?;
        Self::new(part, &archive, &captured)
    }

    /// What was captured of `archive`'s entries, which may be a selection ([`Archive::with_entries`]).
    ///
    /// # Errors
    /// [`ErrorKind::Store`] for an entry with data of which nothing was captured.
    pub fn new(part: P, archive: &Archive, captured: &Captured) -> Result<Self> {
        Ok(Self { part, blueprint: Blueprint::new(archive, captured)?, open: Vec::new() })
    }

    /// Of the whole archive, as it was recorded at capture; nothing is read.
    pub fn crc32(&self) -> u32 {
        self.blueprint.crc32()
    }

    /// Reads what lies at `offset` of segment `index`. Answers how many bytes; never none.
    fn read_segment(&mut self, index: usize, segment: &Segment, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        match segment {
            Segment::TableOfContents(bytes) => copy_from(bytes, offset, buffer),
            Segment::Begin { .. } | Segment::RowsEnd => copy_from(&segment.framing(), offset, buffer),
            Segment::Rows { directory, stream, length, .. } => {
                let start = offset / (INTEGER_BYTES + PIECE_BYTES) * PIECE_BYTES;
                let within = offset % (INTEGER_BYTES + PIECE_BYTES);
                let piece = PIECE_BYTES.min(length.saturating_sub(start));
                if within < INTEGER_BYTES {
                    return copy_from(&piece_header(piece), within, buffer);
                }
                let within = within - INTEGER_BYTES;
                let path = [DATA.as_bytes(), directory.as_bytes(), stream.as_bytes()];
                let wanted = limit(buffer, piece.saturating_sub(within));
                self.read_stream(index, &path, *length, start + within, wanted)
            }
            Segment::LargeObjects { start, length, stream_length, .. } => {
                let wanted = limit(buffer, length - offset);
                self.read_stream(index, &LARGE_OBJECTS.map(str::as_bytes), *stream_length, start + offset, wanted)
            }
            Segment::Whole(whole) => {
                let wanted = limit(buffer, whole.length - offset);
                self.read_stream(index, &[WHOLE.as_bytes()], whole.length, offset, wanted)
            }
        }
    }

    fn read_stream(
        &mut self,
        index: usize,
        path: &[&[u8]],
        length: u64,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize> {
        let mut stream = match self.open.iter().position(|(open, _)| *open == index) {
            Some(place) => self.open.remove(place).1,
            None => self.part.open(path)?,
        };
        if stream.length() != length {
            return Err(damaged("A stream does not have its recorded length."));
        }
        let read = stream.read_at(offset, buffer)?;
        if self.open.len() >= OPEN_STREAMS {
            self.open.remove(0);
        }
        self.open.push((index, stream));
        if read == 0 { Err(damaged("A stream ends before its recorded length.")) } else { Ok(read) }
    }
}

impl<P> RandomRead for Assembled<P>
where
    P: Deref + Send,
    P::Target: PartReader,
{
    fn length(&self) -> u64 {
        self.blueprint.length()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let wanted = limit(buffer, self.length().saturating_sub(offset));
        let mut filled = 0;
        while filled < wanted.len() {
            let position = offset + filled as u64;
            let rest = &mut wanted[filled..];
            let Some((index, start, segment)) = self.blueprint.find(position) else { break };
            // The table of contents may be large and is never copied; the others are small.
            filled += match segment {
                Segment::TableOfContents(bytes) => copy_from(bytes, position - start, rest)?,
                segment => {
                    let segment = segment.clone();
                    self.read_segment(index, &segment, position - start, rest)?
                }
            };
        }
        Ok(filled)
    }
}

impl Archive {
    /// The table of contents of a part that has one.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] when it is damaged.
    pub fn of_part(part: &(impl PartReader + ?Sized)) -> Result<Self> {
        let mut stream = part.open(&[TOC.as_bytes()])?;
        let length = stream.length();
        if length > TOC_LIMIT_BYTES {
            return Err(damaged("Its table of contents is too large."));
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            let filled = bytes.len();
            bytes.resize(filled + PORTION_BYTES.min((length - filled as u64) as usize), 0);
            let read = stream.read_at(filled as u64, &mut bytes[filled..])?;
            if read == 0 {
                return Err(damaged("Its table of contents ends too early."));
            }
            bytes.truncate(filled + read);
        }
        let mut rest = bytes.as_slice();
        let archive = Self::read(&mut rest)
            .map_err(|error| damaged("Its table of contents cannot be understood.").because(error))?;
        if rest.is_empty() { Ok(archive) } else { Err(damaged("Its table of contents is too long.")) }
    }
}

/// As much of `buffer` as `length` bytes take.
fn limit(buffer: &mut [u8], length: u64) -> &mut [u8] {
    let count = usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len());
    &mut buffer[..count]
}

/// Copies what `bytes` holds from `offset` on, as much as `buffer` takes.
fn copy_from(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> Result<usize> {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    let count = rest.len().min(buffer.len());
    buffer[..count].copy_from_slice(&rest[..count]);
    if count == 0 { Err(damaged("Its pieces do not join.")) } else { Ok(count) }
}

fn damaged(what: &str) -> SourceError {
    SourceError::new(ErrorKind::Store, format!("The archive in the backup cannot be read. {what}"))
        .hint("Verify the backup.")
}
