//! The contract between a kind of source, the engine, and the place where bytes are kept.
//!
//! A part of a backup is a small tree: below its root lie `data` (a directory or a file: the source's content) and, beside
//! it, named side streams of the driver (`layout`, `toc.pgdmp` ...). The engine adds `manifest.json`.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::SourceError;

pub type Result<T, E = SourceError> = std::result::Result<T, E>;

// ---------------------------------------------------------------------------------------------------------------------
// Capture

/// How a stream is cut into chunks (DESIGN section 5). A source keeps its choice for life: changing it stores all anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// Content-defined, mean 64 KiB, growing with the offset.
    ContentDefined,
    /// Fixed: 16 KiB up to 16 GiB of offset, 64 KiB up to 256 GiB, then 1 MiB. For databases made of pages.
    Pages,
    /// Only where [`StreamSink::cut`] is called (and at the format's upper limit of 8 MiB).
    AtMarks,
}

/// What a node of the tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeType {
    File,
    Directory,
    /// Target bytes as stored by the file system, not necessarily UTF-8.
    Symlink(Vec<u8>),
    /// `st_rdev`.
    BlockDevice(u64),
    CharacterDevice(u64),
    Fifo,
    Socket,
}

/// An instant of a file system: seconds and nanoseconds since 1970, UTC. Seconds may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// Everything about a node but its name and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeMeta {
    pub node_type: NodeType,
    /// Permission bits with setuid, setgid and sticky, as in `st_mode & 0o7777`.
    pub mode: u32,
    pub modified: Timestamp,
    pub accessed: Timestamp,
    pub changed: Timestamp,
    pub uid: u32,
    pub gid: u32,
    pub user: String,
    pub group: String,
    pub inode: u64,
    pub device: u64,
    /// Number of hard links; above 1 for a file, `(device, inode)` identifies its siblings.
    pub links: u64,
    /// Bytes, as `st_size` says. What is stored may differ where a file changes while it is read.
    pub size: u64,
    /// Names and raw values; POSIX ACLs are among them as `system.posix_acl_*`.
    pub extended_attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl NodeMeta {
    /// Metadata of a node that no file system knows: mode 0644 (0755 for directories), owner root, all times `at`.
    pub fn synthetic(node_type: NodeType, at: Timestamp) -> Self {
        let mode = if node_type == NodeType::Directory { 0o755 } else { 0o644 };
        Self {
            node_type,
            mode,
            modified: at,
            accessed: at,
            changed: at,
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            inode: 0,
            device: 0,
            links: 1,
            size: 0,
            extended_attributes: Vec::new(),
        }
    }
}

/// What a finished stream was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSummary {
    /// Bytes.
    pub length: u64,
    /// Over the whole stream. Taken only where [`StreamOptions::whole_digest`] asked for it.
    pub sha256: Option<[u8; 32]>,
    /// CRC-32 (IEEE, as in gzip) over the whole stream; always taken.
    pub crc32: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct StreamOptions {
    pub cutting: Cutting,
    /// Also take a SHA-256 over the whole stream. Costs a second hash of every byte: for databases, not for small files.
    pub whole_digest: bool,
}

/// One stream on its way into the vault. Writes block while the process-wide byte budget is used up.
/// Dropped without [`StreamSink::finish`], nothing of it becomes visible.
pub trait StreamSink: Send {
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
    /// `length` zero bytes; cheaper than writing them.
    fn write_zeros(&mut self, length: u64) -> Result<()>;
    /// Ends the current chunk here ([`Cutting::AtMarks`]).
    fn cut(&mut self) -> Result<()>;
    fn finish(self: Box<Self>) -> Result<StreamSummary>;
}

/// A directory tree on its way into the vault, depth first, names of one directory in strictly ascending byte order.
/// Memory holds only the directories on the path from the root.
pub trait TreeSink: Send {
    /// Goes down into a new directory.
    fn enter(&mut self, name: &[u8], meta: &NodeMeta) -> Result<()>;
    /// Ends the current directory. `meta` replaces that of `enter` where the directory changed meanwhile.
    fn leave(&mut self) -> Result<()>;
    /// Adds a file; its node is added when the stream is finished and before the next call on the tree.
    fn file<'a>(&'a mut self, name: &[u8], meta: &NodeMeta, options: StreamOptions)
    -> Result<Box<dyn StreamSink + 'a>>;
    /// Adds a node that has no content: symlink, device, fifo, socket.
    fn special(&mut self, name: &[u8], meta: &NodeMeta) -> Result<()>;
    /// Adds another name of a file of this capture: same content, not stored again. `first` is the path below `data`.
    fn hard_link(&mut self, name: &[u8], meta: &NodeMeta, first: &[Vec<u8>]) -> Result<()>;
    /// Looks the current directory's entry `name` up in the previous backup of this source. The engine decides which
    /// backup that is and answers `None` for a full one.
    fn previous(&mut self, name: &[u8]) -> Result<Option<PreviousFile>>;
    /// Adds a file with the content it had in the previous backup, without reading it: the parent fast path.
    fn reuse(&mut self, name: &[u8], meta: &NodeMeta, previous: &PreviousFile) -> Result<()>;
    /// Ends the tree; all directories must have been left.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A regular file of the previous backup. `content` is opaque to drivers.
#[derive(Clone, Debug)]
pub struct PreviousFile {
    pub meta: NodeMeta,
    /// When the previous capture began: a file whose mtime is within two seconds of it must be read again.
    pub captured_at: Timestamp,
    pub content: std::sync::Arc<Vec<[u8; 32]>>,
}

/// Where a capture writes. Streams may be open at the same time from several threads; the tree is one walk.
pub trait CaptureSink: Sync {
    /// A stream at `path` below the part's root (`["data"]`, `["data", "public.acct", "0000.copy"]`, `["layout"]`).
    /// Directories on the way come into being. Components: no `/`, no NUL, not empty, not `.` or `..`.
    fn stream(&self, path: &[&str], options: StreamOptions) -> Result<Box<dyn StreamSink + '_>>;
    /// The tree below `data`. At most one, and not together with streams below `data`.
    fn tree(&self, root: &NodeMeta) -> Result<Box<dyn TreeSink + '_>>;
    /// The manifest of the previous backup of this source, if there is one to build on.
    fn previous_manifest(&self) -> Option<&CaptureManifest>;
    /// Reads a side stream of the previous backup (`layout` ...).
    fn previous_stream(&self, path: &[&str]) -> Result<Option<Box<dyn RandomRead>>>;
    fn progress(&self, progress: Progress);
    /// Something a person should know, kept with the job and the part. Never a secret.
    fn warn(&self, warning: Warning);
    /// A line of the job's log.
    fn log(&self, line: &str);
    /// Drivers look at this at least every second of work and return [`SourceError::cancelled`].
    fn is_cancelled(&self) -> bool;
}

/// Absolute figures; a driver reports as often as it likes, the engine throttles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub bytes_read: u64,
    /// What the whole will be, where the source can tell.
    pub bytes_total: Option<u64>,
    pub items: u64,
    pub items_total: Option<u64>,
}

/// A named kind of oddity, how often it was met, and the first example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// `changed_during_read`, `vanished`, `unreadable`, `live_database_inside` ...
    pub code: String,
    pub count: u64,
    pub sentence: String,
}

/// What was captured: written as `manifest.json` into the part, and the source of the catalogue's figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CaptureManifest {
    /// Of the driver's own part of the manifest; readers accept older ones.
    pub format: u32,
    pub kind: String,
    /// The capturing software and the source's version: `{"sqlite": "3.51.0"}`.
    pub versions: BTreeMap<String, String>,
    /// Bytes of live data.
    pub size: u64,
    /// Rows or files.
    pub items: u64,
    /// Streams by path (`data`, `layout`) with length and digests.
    pub streams: BTreeMap<String, StreamRecord>,
    pub inventory: Inventory,
    /// Length and checksum material of the download; `None` where the kind has none.
    pub download: Option<DownloadRecord>,
    /// What only the driver reads (page size, journal mode, root metadata ...).
    pub details: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    pub length: u64,
    /// Lower-case hex.
    pub sha256: Option<String>,
    pub crc32: u32,
}

/// The download of a part is a `.tar.gz`; its length is known when the capture ends and does not depend on names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DownloadRecord {
    /// Bytes of the `.tar.gz`.
    pub length: u64,
    /// Driver's material to make it again, byte for byte.
    pub details: serde_json::Value,
}

/// Scopes (schemas, top directories) and their collections (tables, directories) with live counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    pub scopes: Vec<Scope>,
    /// Indexes of the source, where known.
    pub indexes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// `_default` where the source has no such level.
    pub name: String,
    pub collections: Vec<Collection>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    pub name: String,
    /// Rows or files.
    pub items: u64,
    /// Bytes where known, else 0.
    pub size: u64,
}

/// What is known about a source before it is captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    pub bytes: Option<u64>,
    pub items: Option<u64>,
}

/// One thing that a probe found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub severity: Severity,
    pub sentence: String,
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Fine,
    Warning,
    /// A backup would fail.
    Error,
}

// ---------------------------------------------------------------------------------------------------------------------
// Restore and download

/// Random access to one stored stream. Reads are verified against their ids.
pub trait RandomRead: Send {
    fn length(&self) -> u64;
    /// Fills `buffer` from `offset`; shorter only at the end of the stream.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize>;
}

/// A node as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredNode {
    pub name: Vec<u8>,
    pub meta: NodeMeta,
}

/// A stored part. Paths are below the part's root; components are raw bytes.
pub trait PartReader: Sync + Send {
    fn manifest(&self) -> &CaptureManifest;
    /// The nodes of a directory, in ascending order of their names.
    fn list(&self, path: &[&[u8]]) -> Result<Vec<StoredNode>>;
    fn open(&self, path: &[&[u8]]) -> Result<Box<dyn RandomRead>>;
    fn is_cancelled(&self) -> bool;
    fn progress(&self, progress: Progress);
    fn warn(&self, warning: Warning);
    fn log(&self, line: &str);
    /// A named place was passed, between two steps of what cannot be taken back; for tests that stop there.
    fn point(&self, name: &str) {
        let _ = name;
    }
}

/// Where a restored part goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreTarget {
    /// The live source itself.
    InPlace,
    /// A place that must not exist yet, or be an empty directory.
    NewPath(PathBuf),
    /// A database that must not exist yet, on the server of the configured source.
    NewDatabase(String),
}

/// What happens to things that exist at the target (DESIGN section 2b).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// Built beside and swapped; what was there is kept aside.
    Replace,
    /// What exists stays, what is missing is added, nothing is deleted.
    AddMissing,
    /// Differing things are overwritten, missing ones added, nothing is deleted.
    UpdateDiffering,
}

/// Which things of the part are wanted. Empty lists mean everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// `scope` or `scope.collection`, as the inventory names them.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Regular expressions, unanchored.
    pub keys: Option<String>,
    pub values: Option<String>,
    /// Only rows whose key lies in this range; the selection must then name exactly one collection.
    #[serde(default)]
    pub key_range: Option<KeyRange>,
}

/// A range of keys as texts of the key's type. Of a key of several columns, the first counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// First key wanted; without, from the first one.
    pub from: Option<String>,
    /// First key not wanted any more; without, to the last one.
    pub before: Option<String>,
}

impl Selection {
    pub fn is_everything(&self) -> bool {
        let Self { include, exclude, keys, values, key_range } = self;
        include.is_empty() && exclude.is_empty() && keys.is_none() && values.is_none() && key_range.is_none()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRestoreRequest {
    pub target: RestoreTarget,
    pub conflict: Conflict,
    pub selection: Selection,
    /// Names everything made beside the target, so that a later run finds and finishes or removes it. `[0-9a-z]{1,32}`.
    pub job: String,
}

/// What a restore would do; printed before anything is touched, kept with the job, and carried out by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRestorePlan {
    pub request: PartRestoreRequest,
    /// Sentences in the order of the work: "Writes 1.2 GiB to /srv/app.db.trivault-x", "Renames ...".
    pub steps: Vec<String>,
    /// Bytes that will be written.
    pub bytes: u64,
    /// Paths that the restore makes before its swap; removed when it fails, and by the reconciler after a crash.
    pub temporary: Vec<PathBuf>,
    /// What the driver decided.
    pub details: serde_json::Value,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreOutcome {
    pub bytes_written: u64,
    pub items: u64,
    /// Where what was replaced is kept, if anything was: paths, or names of databases on the target's server.
    pub kept_aside: Vec<PathBuf>,
}

/// What the reconciler found of a restore that was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// Before the swap: temporary things were removed, the target was never touched.
    NothingTouched,
    /// The swap had begun or was done: it is finished now.
    Finished,
}

/// One kind of source bound to one configured place.
pub trait SourceDriver: Send + Sync {
    /// `directory`, `sqlite` ...
    fn kind(&self) -> &'static str;
    /// Where the data lives, as a person would type it; never a secret.
    fn location(&self) -> String;
    /// Connection, privileges, versions: everything that would make a capture fail or worth a warning.
    fn probe(&self) -> Vec<Finding>;
    fn estimate(&self) -> Result<Estimate>;
    /// Captures one consistent state. Returning `Ok` means that every byte went into the sink.
    fn capture(&self, sink: &dyn CaptureSink) -> Result<CaptureManifest>;
    /// Refuses what cannot work, before anything is touched.
    fn plan_restore(&self, part: &dyn PartReader, request: &PartRestoreRequest) -> Result<PartRestorePlan>;
    fn restore(&self, part: &dyn PartReader, plan: &PartRestorePlan) -> Result<RestoreOutcome>;
    /// After a crash: finishes the swap or removes what was made beside. May be called again.
    fn resume_restore(&self, plan: &PartRestorePlan) -> Result<Interrupted>;
    /// The download: a `.tar.gz` of exactly the recorded length, the same bytes each time for the same name and time,
    /// readable from any offset. `stem` becomes the member's name (`<stem>.sqlite`), at most 90 bytes of `[A-Za-z0-9._-]`.
    fn download(
        &self,
        part: std::sync::Arc<dyn PartReader>,
        stem: &str,
        modified: Timestamp,
    ) -> Result<Box<dyn RandomRead>>;
    /// The member of the download alone: the file that a user of the engine knows, without `.tar.gz` around it.
    fn archive(&self, _: std::sync::Arc<dyn PartReader>) -> Result<Box<dyn RandomRead>> {
        Err(SourceError::new(
            crate::ErrorKind::Unsupported,
            format!("A backup of the kind {} is no single archive.", self.kind()),
        )
        .hint("Download or restore it instead."))
    }
    /// Writes the part as SQL that the engine's own client takes, for those who want to read it or change it on the way.
    /// Returning `Ok` means that all of it was written.
    fn export_sql(&self, _: std::sync::Arc<dyn PartReader>, _: &mut dyn std::io::Write) -> Result<()> {
        Err(SourceError::new(
            crate::ErrorKind::Unsupported,
            format!("A backup of the kind {} cannot be written as SQL.", self.kind()),
        )
        .hint("Download it instead."))
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Opening

/// A configured source, as the catalogue keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceConfig {
    /// `directory`, `sqlite` ...
    pub kind: String,
    /// A path for `directory` and `sqlite`; a URL without password for servers.
    pub location: String,
    /// Driver's options (`exclude`, `one_file_system` ...). Unknown keys are refused.
    #[serde(default)]
    pub options: serde_json::Map<String, serde_json::Value>,
    /// Directories that are never captured, found by device and inode: our own data directory and stores.
    #[serde(default)]
    pub never_capture: Vec<PathBuf>,
    /// The password of a server's account. Never written with the configuration: the catalogue keeps it sealed.
    #[serde(skip)]
    pub secret: Option<Secret>,
}

/// A password on its way to a driver. `Debug` prints nothing of it, and it is wiped after use.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(zeroize::Zeroizing<String>);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(zeroize::Zeroizing::new(text.into()))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Secret(..)")
    }
}
