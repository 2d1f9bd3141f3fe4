//! One stream on its way into the vault: cut, hashed, looked up, and handed on when new.

use crate::{
    capture::{FileOptions, FileRecord},
    capture_state::CaptureState,
    chunker::Chunker,
    error::Result,
    id::Id,
    pack::BlobKind,
};
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};

/// Zeros written as ordinary bytes come in pieces of this many.
const ZEROS: usize = 64 << 10;
static ZERO_BYTES: [u8; ZEROS] = [0; ZEROS];

/// One stream on its way into the vault. Writes block while the process-wide byte budget is used up. May move to another thread; several
/// may be open at once. Dropped without [`FileWriter::finish`], nothing of it becomes visible.
pub struct FileWriter {
    sink: Sink,
    chunker: Chunker,
    sha256: Option<Sha256>,
    crc32: crc32fast::Hasher,
}

/// What is behind the chunker.
struct Sink {
    capture: Arc<CaptureState>,
    content: Vec<Id>,
    length: u64,
}

impl FileWriter {
    pub(crate) fn new(capture: Arc<CaptureState>, options: FileOptions) -> Self {
        Self {
            chunker: Chunker::new(options.cutting, capture.gear.clone()),
            sink: Sink { capture, content: Vec::new(), length: 0 },
            sha256: options.whole_digest.then(Sha256::new),
            crc32: crc32fast::Hasher::new(),
        }
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.crc32.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        let sink = &mut self.sink;
        self.chunker.write(bytes, &mut |chunk| sink.take(chunk))
    }

    /// Appends `length` zero bytes; cheaper than writing them. In content-defined streams a long run also ends the chunk before it, so
    /// that the run itself is stored once.
    pub fn write_zeros(&mut self, mut length: u64) -> Result<()> {
        let sink = &mut self.sink;
        // Worth it only for runs of which much is left after the chunk that has begun.
        if self.chunker.begun() > 0 && length >= ZEROS as u64 * 16 {
            match self.chunker.bytes_to_grid() {
                None => self.chunker.flush(&mut |chunk| sink.take(chunk))?,
                Some(missing) => {
                    let missing = (missing as u64).min(length);
                    length -= missing;
                    self.write_short_zeros(missing)?;
                }
            }
        }
        while let Some(chunk) = self.chunker.zero_chunk(length) {
            self.sink.take_zeros(chunk)?;
            self.chunker.skip(chunk);
            self.digest_zeros(chunk as u64);
            length -= chunk as u64;
        }
        self.write_short_zeros(length)
    }

    fn write_short_zeros(&mut self, mut length: u64) -> Result<()> {
        while length > 0 {
            let piece = length.min(ZEROS as u64) as usize;
            self.write(&ZERO_BYTES[..piece])?;
            length -= piece as u64;
        }
        Ok(())
    }

    fn digest_zeros(&mut self, mut length: u64) {
        while length > 0 {
            let piece = length.min(ZEROS as u64) as usize;
            self.crc32.update(&ZERO_BYTES[..piece]);
            if let Some(sha256) = &mut self.sha256 {
                sha256.update(&ZERO_BYTES[..piece]);
            }
            length -= piece as u64;
        }
    }

    /// Ends the current chunk here; only for [`Cutting::AtMarks`](crate::Cutting::AtMarks), elsewhere without effect.
    pub fn cut(&mut self) -> Result<()> {
        let sink = &mut self.sink;
        self.chunker.mark(&mut |chunk| sink.take(chunk))
    }

    /// Bytes written so far.
    pub fn length(&self) -> u64 {
        self.sink.length + self.chunker.begun() as u64
    }

    /// Ends the stream. Its blobs are durable when the capture is committed.
    pub fn finish(mut self) -> Result<FileRecord> {
        let sink = &mut self.sink;
        self.chunker.flush(&mut |chunk| sink.take(chunk))?;
        let Sink { content, length, .. } = self.sink;
        Ok(FileRecord {
            content: Arc::new(content),
            length,
            sha256: self.sha256.map(|sha256| sha256.finalize().into()),
            crc32: Some(self.crc32.finalize()),
        })
    }
}

impl Sink {
    fn take(&mut self, chunk: &[u8]) -> Result<()> {
        if chunk.first() == Some(&0) && is_zero(chunk) {
            return self.take_zeros(chunk.len());
        }
        self.capture.check_cancelled()?;
        let id = Id::of(chunk);
        self.capture.store(BlobKind::Data, id, chunk)?;
        self.note(id, chunk.len());
        Ok(())
    }

    fn take_zeros(&mut self, length: usize) -> Result<()> {
        self.capture.check_cancelled()?;
        let id = self.capture.zeros.store(&self.capture, length)?;
        self.note(id, length);
        Ok(())
    }

    fn note(&mut self, id: Id, length: usize) {
        self.content.push(id);
        self.length += length as u64;
    }
}

/// Whether all bytes are zero; looks at the first few alone, because most chunks differ there.
fn is_zero(bytes: &[u8]) -> bool {
    let (head, rest) = bytes.split_at(bytes.len().min(16));
    head.iter().all(|byte| *byte == 0) && rest.chunks(256).all(|part| part.iter().fold(0, |all, byte| all | byte) == 0)
}

impl fmt::Debug for FileWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FileWriter({} bytes)", self.length())
    }
}
