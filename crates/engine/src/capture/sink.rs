//! The sink of one part: a driver's streams and tree on their way into a vault.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use trivault_sources::{
    CaptureManifest, CaptureSink, Cutting, ErrorKind, NodeMeta, Progress, RandomRead, SourceError, StreamOptions,
    StreamSink, StreamSummary, Timestamp, TreeSink, Warning,
};
use trivault_vault::{self as vault, Capture, FileOptions, FileRecord, FileWriter, Id, NodeKind};

use super::{
    convert::{meta_to_vault, time_to_vault},
    layout::{Entries, Entry, check_name, insert, misuse, store},
    reader::StoredPart,
    tree::PartTree,
};
use crate::failure::to_source;

type Result<T> = trivault_sources::Result<T>;

/// Directory of a part's content, below the part's root.
pub(crate) const DATA: &[u8] = b"data";
/// The engine's own stream of a part.
pub(crate) const MANIFEST: &str = "manifest.json";

/// What a capture tells the job that it belongs to. Must be cheap.
pub(crate) trait PartEvents: Send + Sync {
    fn progress(&self, progress: Progress);
    fn warn(&self, warning: Warning);
    fn log(&self, line: &str);
    fn is_cancelled(&self) -> bool;
    /// A named place was passed.
    fn point(&self, name: &str) {
        let _ = name;
    }
}

/// A [`CaptureSink`] into one snapshot of a vault.
pub(crate) struct PartSink<'a> {
    pub(super) capture: &'a Capture,
    /// The source's name: the root directory of the snapshot.
    pub(super) source: &'a str,
    pub(super) previous: Option<&'a StoredPart>,
    pub(super) entries: Mutex<Entries>,
    pub(super) tree_begun: AtomicBool,
    events: &'a dyn PartEvents,
    at: Timestamp,
}

impl<'a> PartSink<'a> {
    /// `at` is when the capture began.
    pub(crate) fn new(
        capture: &'a Capture,
        source: &'a str,
        previous: Option<&'a StoredPart>,
        events: &'a dyn PartEvents,
        at: Timestamp,
    ) -> Self {
        let (entries, tree_begun) = (Mutex::default(), AtomicBool::new(false));
        Self { capture, source, previous, entries, tree_begun, events, at }
    }

    /// Ends the part with its manifest; answers the root tree of the snapshot.
    pub(crate) fn finish(self, manifest: &[u8]) -> Result<Id> {
        let options = StreamOptions { cutting: Cutting::ContentDefined, whole_digest: false };
        let mut stream = self.begin(vec![MANIFEST.as_bytes().to_vec()], options)?;
        stream.write(manifest)?;
        stream.finish()?;
        let directory = vault::NodeMeta::synthetic(NodeKind::Directory, time_to_vault(self.at));
        let part = store(self.capture, &self.entries(), &directory).map_err(to_source)?;
        let mut root = self.capture.directory();
        root.add_directory(self.source.as_bytes(), &directory, part).map_err(to_source)?;
        root.finish().map_err(to_source)
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, path: Vec<Vec<u8>>, options: StreamOptions) -> Result<Box<dyn StreamSink + '_>> {
        let attach = move |record: &FileRecord| {
            let meta = vault::NodeMeta::synthetic(NodeKind::File, time_to_vault(self.at));
            insert(&mut self.entries(), &path, Entry::File(meta, record.clone()))
        };
        open_stream(self.capture, options, Box::new(attach))
    }
}

/// Puts a finished stream where it belongs.
type Attach<'s> = Box<dyn FnOnce(&FileRecord) -> Result<()> + Send + 's>;

/// A stream whose record is handed to `attach` when it is finished.
pub(super) fn open_stream<'s>(
    capture: &Capture,
    options: StreamOptions,
    attach: Attach<'s>,
) -> Result<Box<dyn StreamSink + 's>> {
    let StreamOptions { cutting, whole_digest } = options;
    let marks = cutting == Cutting::AtMarks;
    let cutting = match cutting {
        Cutting::ContentDefined => vault::Cutting::ContentDefined,
        Cutting::Pages => vault::Cutting::Pages,
        Cutting::AtMarks => vault::Cutting::AtMarks,
    };
    let writer = capture.file(FileOptions { cutting, whole_digest }).map_err(to_source)?;
    Ok(Box::new(PartStream { writer, marks, attach }))
}

impl CaptureSink for PartSink<'_> {
    fn stream(&self, path: &[&str], options: StreamOptions) -> Result<Box<dyn StreamSink + '_>> {
        let path: Vec<Vec<u8>> = path.iter().map(|component| component.as_bytes().to_vec()).collect();
        for component in &path {
            check_name(component)?;
        }
        if path.is_empty() || path[0] == MANIFEST.as_bytes() {
            return Err(misuse("a stream needs a path, and not that of the manifest"));
        }
        self.begin(path, options)
    }

    fn tree(&self, root: &NodeMeta) -> Result<Box<dyn TreeSink + '_>> {
        if self.tree_begun.swap(true, Ordering::SeqCst) || self.entries().contains_key(DATA) {
            return Err(misuse("a capture has at most one tree, and no stream beside it below `data`"));
        }
        Ok(Box::new(PartTree::new(self, meta_to_vault(root))))
    }

    fn previous_manifest(&self) -> Option<&CaptureManifest> {
        self.previous.map(StoredPart::capture_manifest)
    }

    fn previous_stream(&self, path: &[&str]) -> Result<Option<Box<dyn RandomRead>>> {
        let Some(previous) = self.previous else { return Ok(None) };
        let path: Vec<&[u8]> = path.iter().map(|component| component.as_bytes()).collect();
        previous.open_stream(&path)
    }

    fn progress(&self, progress: Progress) {
        self.events.progress(progress);
    }

    fn warn(&self, warning: Warning) {
        self.events.warn(warning);
    }

    fn log(&self, line: &str) {
        self.events.log(line);
    }

    fn is_cancelled(&self) -> bool {
        self.events.is_cancelled()
    }
}

struct PartStream<'s> {
    writer: FileWriter,
    marks: bool,
    attach: Attach<'s>,
}

impl StreamSink for PartStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write(bytes).map_err(to_source)
    }

    fn write_zeros(&mut self, length: u64) -> Result<()> {
        self.writer.write_zeros(length).map_err(to_source)
    }

    fn cut(&mut self) -> Result<()> {
        if !self.marks {
            return Err(misuse("cut() is only for streams that are cut at marks"));
        }
        self.writer.cut().map_err(to_source)
    }

    fn finish(self: Box<Self>) -> Result<StreamSummary> {
        let record = self.writer.finish().map_err(to_source)?;
        (self.attach)(&record)?;
        let FileRecord { content: _, length, sha256, crc32 } = record;
        let crc32 =
            crc32.ok_or_else(|| SourceError::new(ErrorKind::Internal, "A stream that was written has no checksum."))?;
        Ok(StreamSummary { length, sha256, crc32 })
    }
}

/// What the vault tells of a capture, passed on to the job.
pub(crate) struct VaultEvents {
    pub(crate) stored: Arc<dyn Fn(u64) + Send + Sync>,
    pub(crate) is_cancelled: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl vault::CaptureEvents for VaultEvents {
    fn stored(&self, bytes: u64) {
        (self.stored)(bytes);
    }

    fn is_cancelled(&self) -> bool {
        (self.is_cancelled)()
    }
}
