//! Reading a part back.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use super::{MemoryPart, lock, store::ChunkReader};
use crate::{CaptureManifest, ErrorKind, PartReader, Progress, RandomRead, Result, SourceError, StoredNode, Warning};

/// A [`PartReader`] over a part in memory, which can be told to fail or to be cancelled.
pub struct MemoryReader {
    part: Arc<MemoryPart>,
    bytes: Arc<AtomicU64>,
    fail_at: Option<u64>,
    cancel_at: Option<u64>,
    progress: Mutex<Progress>,
    warnings: Mutex<Vec<Warning>>,
    lines: Mutex<Vec<String>>,
}

impl MemoryReader {
    pub fn new(part: &Arc<MemoryPart>) -> Self {
        Self {
            part: Arc::clone(part),
            bytes: Arc::default(),
            fail_at: None,
            cancel_at: None,
            progress: Mutex::default(),
            warnings: Mutex::default(),
            lines: Mutex::default(),
        }
    }

    /// Reads beyond this many bytes fail as a broken store does.
    #[must_use]
    pub fn fail_at(mut self, bytes: u64) -> Self {
        self.fail_at = Some(bytes);
        self
    }

    /// The caller asks to stop once this many bytes were read (0: from the beginning).
    #[must_use]
    pub fn cancel_at(mut self, bytes: u64) -> Self {
        self.cancel_at = Some(bytes);
        self
    }

    pub fn warnings(&self) -> Vec<Warning> {
        lock(&self.warnings).clone()
    }

    pub fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    pub fn last_progress(&self) -> Progress {
        *lock(&self.progress)
    }

    /// Bytes that were read so far.
    pub fn bytes_read(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

impl PartReader for MemoryReader {
    fn manifest(&self) -> &CaptureManifest {
        self.part.manifest()
    }

    fn list(&self, path: &[&[u8]]) -> Result<Vec<StoredNode>> {
        let children = self.part.directory(path).ok_or_else(|| {
            SourceError::new(
                ErrorKind::Store,
                format!("The part has no directory `{}`.", String::from_utf8_lossy(&path.join(&b'/'))),
            )
        })?;
        Ok(children.iter().map(|(name, node)| StoredNode { name: name.clone(), meta: node.meta.clone() }).collect())
    }

    fn open(&self, path: &[&[u8]]) -> Result<Box<dyn RandomRead>> {
        Ok(Box::new(CountedReader {
            inner: self.part.reader(path)?,
            bytes: Arc::clone(&self.bytes),
            fail_at: self.fail_at,
        }))
    }

    fn is_cancelled(&self) -> bool {
        self.cancel_at.is_some_and(|limit| self.bytes_read() >= limit)
    }

    fn progress(&self, progress: Progress) {
        *lock(&self.progress) = progress;
    }

    fn warn(&self, warning: Warning) {
        lock(&self.warnings).push(warning);
    }

    fn log(&self, line: &str) {
        lock(&self.lines).push(line.to_owned());
    }
}

struct CountedReader {
    inner: ChunkReader,
    bytes: Arc<AtomicU64>,
    fail_at: Option<u64>,
}

impl RandomRead for CountedReader {
    fn length(&self) -> u64 {
        self.inner.length()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let read = self.inner.read_at(offset, buffer)?;
        let total = self.bytes.fetch_add(read as u64, Ordering::SeqCst) + read as u64;
        if self.fail_at.is_some_and(|limit| total > limit) {
            return Err(SourceError::new(ErrorKind::Store, "The store broke (injected by a test)."));
        }
        Ok(read)
    }
}
