//! The sink of one capture.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};

use super::{
    MemoryPart, MemoryStore, lock,
    store::{CHUNK_BYTES, ChunkId, Content, FileContent, Node},
    tree::MemoryTree,
};
use crate::{
    CaptureManifest, CaptureSink, Cutting, ErrorKind, NodeMeta, NodeType, Progress, RandomRead, Result, SourceError,
    StreamOptions, StreamSink, StreamSummary, Timestamp, TreeSink, Warning,
};

/// The format's upper limit of one chunk, bytes.
const LARGEST_CHUNK_BYTES: usize = 8 * 1024 * 1024;
/// Chunk of [`Cutting::Pages`] below 16 GiB, bytes.
const PAGES_CHUNK_BYTES: usize = 16 * 1024;

/// What a capture just did; a test changes the source at such a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A directory of the tree was entered; path below `data`.
    Enter(&'a [Vec<u8>]),
    /// A file of the tree or a stream was begun; path below the part's root.
    Begin(&'a [Vec<u8>]),
    /// Bytes arrived: those of this stream and of the whole capture so far.
    Write { path: &'a [Vec<u8>], stream_bytes: u64, capture_bytes: u64 },
    /// A file or stream was finished.
    Finish(&'a [Vec<u8>]),
}

type Listener = Box<dyn Fn(&Event<'_>) + Send + Sync>;

/// A [`CaptureSink`] into memory.
pub struct MemorySink {
    pub(super) store: Arc<MemoryStore>,
    pub(super) previous: Option<Arc<MemoryPart>>,
    pub(super) root: Mutex<BTreeMap<Vec<u8>, Node>>,
    /// Set when the tree was begun and not finished.
    pub(super) tree_open: AtomicBool,
    captured_at: Timestamp,
    bytes: AtomicU64,
    fail_at: Option<u64>,
    cancel_at: Option<u64>,
    cancelled: AtomicBool,
    listener: Option<Listener>,
    progress: Mutex<Progress>,
    warnings: Mutex<Vec<Warning>>,
    lines: Mutex<Vec<String>>,
}

impl MemorySink {
    pub fn new(store: &Arc<MemoryStore>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            store: Arc::clone(store),
            previous: None,
            root: Mutex::default(),
            tree_open: AtomicBool::new(false),
            captured_at: Timestamp {
                seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX),
                nanoseconds: now.subsec_nanos(),
            },
            bytes: AtomicU64::new(0),
            fail_at: None,
            cancel_at: None,
            cancelled: AtomicBool::new(false),
            listener: None,
            progress: Mutex::default(),
            warnings: Mutex::default(),
            lines: Mutex::default(),
        }
    }

    /// The previous backup of the same source.
    #[must_use]
    pub fn previous(mut self, part: &Arc<MemoryPart>) -> Self {
        self.previous = Some(Arc::clone(part));
        self
    }

    /// When this capture says it began; else now.
    #[must_use]
    pub fn captured_at(mut self, at: Timestamp) -> Self {
        self.captured_at = at;
        self
    }

    /// Writes beyond this many bytes of the capture fail as a broken store does.
    #[must_use]
    pub fn fail_at(mut self, bytes: u64) -> Self {
        self.fail_at = Some(bytes);
        self
    }

    /// The caller asks to stop once this many bytes have arrived (0: from the beginning).
    #[must_use]
    pub fn cancel_at(mut self, bytes: u64) -> Self {
        self.cancel_at = Some(bytes);
        self
    }

    /// Called on the capturing thread at each [`Event`].
    #[must_use]
    pub fn listen(mut self, listener: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    pub fn warnings(&self) -> Vec<Warning> {
        lock(&self.warnings).clone()
    }

    pub fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    /// What was reported last.
    pub fn last_progress(&self) -> Progress {
        *lock(&self.progress)
    }

    /// Ends the capture: what a driver returned becomes the part's manifest.
    pub fn into_part(self, manifest: CaptureManifest) -> Arc<MemoryPart> {
        let root = std::mem::take(&mut *lock(&self.root));
        Arc::new(MemoryPart { store: Arc::clone(&self.store), root, manifest, captured_at: self.captured_at })
    }

    /// True when nothing at all was written into the sink.
    pub fn is_empty(&self) -> bool {
        lock(&self.root).is_empty()
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        if let Some(listener) = &self.listener {
            listener(event);
        }
    }

    /// A stream whose content is handed to `attach` when it is finished.
    pub(super) fn begin<'a>(
        &'a self,
        path: Vec<Vec<u8>>,
        options: StreamOptions,
        attach: Box<dyn FnOnce(FileContent) -> Result<()> + Send + 'a>,
    ) -> Box<dyn StreamSink + 'a> {
        self.tell(&Event::Begin(&path));
        Box::new(MemoryStream {
            sink: self,
            path,
            options,
            pending: Vec::new(),
            chunks: Vec::new(),
            offsets: Vec::new(),
            cut_length: 0,
            length: 0,
            crc: crc32fast::Hasher::new(),
            sha256: options.whole_digest.then(Sha256::new),
            attach,
        })
    }

    fn count(&self, length: u64) -> Result<u64> {
        let total = self.bytes.fetch_add(length, Ordering::SeqCst) + length;
        if self.fail_at.is_some_and(|limit| total > limit) {
            return Err(SourceError::new(ErrorKind::Store, "The store broke (injected by a test)."));
        }
        Ok(total)
    }
}

impl CaptureSink for MemorySink {
    fn stream(&self, path: &[&str], options: StreamOptions) -> Result<Box<dyn StreamSink + '_>> {
        let path: Vec<Vec<u8>> = path.iter().map(|component| component.as_bytes().to_vec()).collect();
        if path.is_empty() {
            return Err(misuse("a stream needs a path"));
        }
        for component in &path {
            check_name(component)?;
        }
        let at = path.clone();
        let attach = Box::new(move |content: FileContent| {
            let mut meta = NodeMeta::synthetic(NodeType::File, self.captured_at);
            meta.size = content.length;
            let mut root = lock(&self.root);
            insert(&mut root, &at, Node { meta, content: Content::File(content) }, self.captured_at)
        });
        Ok(self.begin(path, options, attach))
    }

    fn tree(&self, root: &NodeMeta) -> Result<Box<dyn TreeSink + '_>> {
        if self.tree_open.swap(true, Ordering::SeqCst) || lock(&self.root).contains_key(b"data".as_slice()) {
            return Err(misuse("a capture has at most one tree, and no stream beside it below `data`"));
        }
        Ok(Box::new(MemoryTree::new(self, root.clone())))
    }

    fn previous_manifest(&self) -> Option<&CaptureManifest> {
        self.previous.as_ref().map(|part| part.manifest())
    }

    fn previous_stream(&self, path: &[&str]) -> Result<Option<Box<dyn RandomRead>>> {
        let Some(part) = &self.previous else { return Ok(None) };
        let path: Vec<&[u8]> = path.iter().map(|component| component.as_bytes()).collect();
        if part.node(&path).is_none() {
            return Ok(None);
        }
        Ok(Some(Box::new(part.reader(&path)?)))
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

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
            || self.cancel_at.is_some_and(|limit| self.bytes.load(Ordering::SeqCst) >= limit)
    }
}

struct MemoryStream<'a> {
    sink: &'a MemorySink,
    path: Vec<Vec<u8>>,
    options: StreamOptions,
    pending: Vec<u8>,
    chunks: Vec<ChunkId>,
    offsets: Vec<u64>,
    /// Bytes that lie in `chunks`.
    cut_length: u64,
    /// Bytes that were written.
    length: u64,
    crc: crc32fast::Hasher,
    sha256: Option<Sha256>,
    attach: Box<dyn FnOnce(FileContent) -> Result<()> + Send + 'a>,
}

impl MemoryStream<'_> {
    fn chunk_limit(&self) -> usize {
        match self.options.cutting {
            Cutting::ContentDefined => CHUNK_BYTES,
            Cutting::Pages => PAGES_CHUNK_BYTES,
            Cutting::AtMarks => LARGEST_CHUNK_BYTES,
        }
    }

    fn end_chunk(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        self.chunks.push(self.sink.store.put(&self.pending));
        self.offsets.push(self.cut_length);
        self.cut_length += self.pending.len() as u64;
        self.pending.clear();
    }

    fn add(&mut self, mut bytes: &[u8]) {
        self.crc.update(bytes);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
        }
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let take = (self.chunk_limit() - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.pending.len() == self.chunk_limit() {
                self.end_chunk();
            }
        }
    }

    fn tell_write(&self, capture_bytes: u64) {
        self.sink.tell(&Event::Write { path: &self.path, stream_bytes: self.length, capture_bytes });
    }
}

impl StreamSink for MemoryStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let total = self.sink.count(bytes.len() as u64)?;
        self.add(bytes);
        self.tell_write(total);
        Ok(())
    }

    fn write_zeros(&mut self, length: u64) -> Result<()> {
        static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];
        let total = self.sink.count(length)?;
        let mut left = length;
        while left > 0 {
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            self.add(&ZEROS[..take]);
            left -= take as u64;
        }
        self.tell_write(total);
        Ok(())
    }

    fn cut(&mut self) -> Result<()> {
        if self.options.cutting != Cutting::AtMarks {
            return Err(misuse("cut() is only for streams that are cut at marks"));
        }
        self.end_chunk();
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<StreamSummary> {
        self.end_chunk();
        let summary = StreamSummary {
            length: self.length,
            sha256: self.sha256.take().map(|hash| hash.finalize().into()),
            crc32: self.crc.finalize(),
        };
        (self.attach)(FileContent {
            chunks: Arc::new(self.chunks),
            offsets: Arc::new(self.offsets),
            length: self.length,
        })?;
        self.sink.tell(&Event::Finish(&self.path));
        Ok(summary)
    }
}

/// Adds `node` below `root`, making the directories on the way.
pub(super) fn insert(
    root: &mut BTreeMap<Vec<u8>, Node>,
    path: &[Vec<u8>],
    node: Node,
    directories_at: Timestamp,
) -> Result<()> {
    let Some((first, rest)) = path.split_first() else { return Err(misuse("a node needs a name")) };
    if rest.is_empty() {
        if root.insert(first.clone(), node).is_some() {
            return Err(misuse("the same path was written twice"));
        }
        return Ok(());
    }
    let directory = root.entry(first.clone()).or_insert_with(|| Node {
        meta: NodeMeta::synthetic(NodeType::Directory, directories_at),
        content: Content::Directory(BTreeMap::new()),
    });
    match &mut directory.content {
        Content::Directory(children) => insert(children, rest, node, directories_at),
        Content::File(_) | Content::Nothing => Err(misuse("a file stands where a directory is needed")),
    }
}

pub(super) fn check_name(name: &[u8]) -> Result<()> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        return Err(misuse("a name is empty, `.`, `..`, or holds `/` or NUL"));
    }
    Ok(())
}

/// A driver that breaks the contract: a defect, never the source's fault.
pub(super) fn misuse(what: &str) -> SourceError {
    SourceError::new(ErrorKind::Internal, format!("The driver broke the contract of captures: {what}."))
}
