//! A throwaway vault and what tests do with it.

use crate::{
    Capture, CaptureEvents, Committed, Cutting, FileOptions, FileRecord, Id, Kdf, MaintenanceEvents, MemoryBudget,
    NodeKind, NodeMeta, Password, Result, Snapshot, SnapshotDraft, Timestamp, TreeReader, Vault, VaultError,
    VaultErrorKind, VaultOptions, VerifyOptions,
    backend::{Backend, Entry, FileKind, LocalBackend},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};
use tempfile::TempDir;

pub const PASSWORD: &str = "correct horse";
/// Cheap, for tests only.
pub const FAST: Kdf = Kdf { log_n: 10, r: 8, p: 1 };
pub const CONTENT_DEFINED: FileOptions = FileOptions { cutting: Cutting::ContentDefined, whole_digest: true };

pub struct Scene {
    pub directory: TempDir,
    pub vault: Vault,
}

impl Scene {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let vault =
            Vault::create(backend(&directory.path().join("vault")), &Password::new(PASSWORD), FAST, options()).unwrap();
        Self { directory, vault }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("vault")
    }

    /// The same vault opened by another installation.
    pub fn opened_by(&self, host: &str) -> Vault {
        let options = VaultOptions { lock_host: host.to_owned(), ..options() };
        Vault::open(backend(&self.path()), &Password::new(PASSWORD), options).unwrap()
    }

    /// The same vault opened by what could be another process.
    pub fn reopened(&self) -> Vault {
        open(&self.path()).unwrap()
    }
}

pub fn backend(path: &Path) -> Arc<LocalBackend> {
    Arc::new(LocalBackend::with_lazy_data_directories(path))
}

pub fn options() -> VaultOptions {
    VaultOptions {
        workers: 2,
        ..VaultOptions::new(MemoryBudget::new(MemoryBudget::DEFAULT_BYTES), "trivault-test", "node")
    }
}

pub fn open(path: &Path) -> Result<Vault> {
    Vault::open(backend(path), &Password::new(PASSWORD), options())
}

#[derive(Default)]
pub struct Events {
    pub cancelled: AtomicBool,
    pub stored: AtomicU64,
}

impl CaptureEvents for Events {
    fn stored(&self, bytes: u64) {
        self.stored.fetch_add(bytes, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

pub fn draft() -> SnapshotDraft {
    SnapshotDraft {
        time: "2026-01-02T03:04:05.678Z".parse().unwrap(),
        hostname: "travel-sample".to_owned(),
        username: "trivault".to_owned(),
        paths: vec!["/r/travel-sample".to_owned()],
        tags: vec!["trivault:1".to_owned()],
        program_version: "trivault 0.1.0".to_owned(),
    }
}

pub fn begin(vault: &Vault, previous: Option<&Snapshot>) -> Capture {
    vault.capture(draft(), previous, Arc::new(Events::default())).unwrap()
}

pub fn file_meta() -> NodeMeta {
    NodeMeta::synthetic(NodeKind::File, Timestamp { seconds: 1_700_000_000, nanoseconds: 5 })
}

pub fn directory_meta() -> NodeMeta {
    NodeMeta::synthetic(NodeKind::Directory, Timestamp { seconds: 1_700_000_000, nanoseconds: 0 })
}

pub fn stream(capture: &Capture, content: &[u8], options: FileOptions) -> Result<FileRecord> {
    let mut writer = capture.file(options)?;
    for piece in content.chunks(100_000) {
        writer.write(piece)?;
    }
    writer.finish()
}

/// Captures these files into the root directory. Names must ascend.
pub fn capture_files(vault: &Vault, files: &[(&[u8], &[u8])]) -> Result<Committed> {
    let capture = begin(vault, None);
    let mut root = capture.directory();
    for (name, content) in files {
        root.add_file(name, &file_meta(), &stream(&capture, content, CONTENT_DEFINED)?)?;
    }
    let root = root.finish()?;
    commit(capture, root)
}

pub fn commit(capture: Capture, root: Id) -> Result<Committed> {
    capture.commit(root, &mut || Ok(()), VerifyOptions::default())
}

pub fn reader(vault: &Vault, committed: &Committed) -> TreeReader {
    vault.reader(&vault.snapshot(&committed.snapshot).unwrap()).unwrap()
}

pub fn read_all(reader: &TreeReader, path: &[&[u8]]) -> Result<Vec<u8>> {
    let node = reader.node(path)?;
    let mut file = reader.open(&node)?;
    let mut content = Vec::new();
    let mut buffer = vec![0; 70_001];
    loop {
        let count = file.read_at(content.len() as u64, &mut buffer)?;
        if count == 0 {
            assert_eq!(content.len() as u64, file.length());
            return Ok(content);
        }
        content.extend_from_slice(&buffer[..count]);
    }
}

/// Repeatable bytes that do not compress.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Repeatable bytes that compress as a dump does.
pub fn rows(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 100);
    let mut row = seed;
    while bytes.len() < length {
        row = row.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(
            format!("INSERT INTO hotel VALUES ({}, 'Grand Hotel {:x}', true);\n", row >> 40, row).as_bytes(),
        );
    }
    bytes.truncate(length);
    bytes
}

/// All files of a kind below the vault.
pub fn files_below(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() { waiting.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found.sort();
    found
}

/// Maintenance that nobody disturbs.
pub struct Calm;

impl MaintenanceEvents for Calm {
    fn is_cancelled(&self) -> bool {
        false
    }
    fn progress(&self, done_bytes: u64, total_bytes: u64) {
        assert!(done_bytes <= total_bytes, "{done_bytes} of {total_bytes}");
    }
}

/// Maintenance that shall stop at once.
pub struct Impatient;

impl MaintenanceEvents for Impatient {
    fn is_cancelled(&self) -> bool {
        true
    }
    fn progress(&self, _done_bytes: u64, _total_bytes: u64) {}
}

/// A store that works for so many writes and removals, then never again.
#[derive(Debug)]
pub struct Dying {
    inner: Arc<dyn Backend>,
    left: AtomicI64,
    dead: AtomicBool,
}

impl Dying {
    pub fn new(inner: Arc<dyn Backend>, left: i64) -> Arc<Self> {
        Arc::new(Self { inner, left: AtomicI64::new(left), dead: AtomicBool::new(false) })
    }

    /// From now on nothing works.
    pub fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst)
    }

    fn reads(&self) -> Result<()> {
        if self.is_dead() {
            return Err(VaultError::new(VaultErrorKind::StoreUnavailable, "the store is gone"));
        }
        Ok(())
    }

    fn changes(&self) -> Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            self.die();
        }
        self.reads()
    }
}

impl Backend for Dying {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn list(&self, kind: FileKind) -> Result<Vec<Entry>> {
        self.reads()?;
        self.inner.list(kind)
    }
    fn length(&self, kind: FileKind, name: &str) -> Result<u64> {
        self.reads()?;
        self.inner.length(kind, name)
    }
    fn read(&self, kind: FileKind, name: &str) -> Result<Vec<u8>> {
        self.reads()?;
        self.inner.read(kind, name)
    }
    fn read_range(&self, kind: FileKind, name: &str, offset: u64, length: u64) -> Result<Vec<u8>> {
        self.reads()?;
        self.inner.read_range(kind, name, offset, length)
    }
    fn write(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<()> {
        self.changes()?;
        self.inner.write(kind, name, bytes)
    }
    fn create(&self, kind: FileKind, name: &str, bytes: &[u8]) -> Result<bool> {
        self.changes()?;
        self.inner.create(kind, name, bytes)
    }
    fn remove(&self, kind: FileKind, name: &str) -> Result<()> {
        self.changes()?;
        self.inner.remove(kind, name)
    }
    fn prepare(&self) -> Result<()> {
        self.inner.prepare()
    }
    fn sweep(&self) -> Result<()> {
        self.reads()?;
        self.inner.sweep()
    }
    fn discard_cache(&self, kind: FileKind, name: &str) {
        self.inner.discard_cache(kind, name);
    }
}

/// Does something once when a prune passes a named place.
pub struct Meddling<'a> {
    pub at: &'a str,
    pub act: Mutex<Option<Box<dyn FnOnce() + Send + 'a>>>,
}

impl<'a> Meddling<'a> {
    pub fn new(at: &'a str, act: impl FnOnce() + Send + 'a) -> Self {
        Self { at, act: Mutex::new(Some(Box::new(act))) }
    }
}

impl MaintenanceEvents for Meddling<'_> {
    fn is_cancelled(&self) -> bool {
        false
    }
    fn progress(&self, _done_bytes: u64, _total_bytes: u64) {}
    fn point(&self, name: &str) {
        if name == self.at
            && let Some(act) = self.act.lock().unwrap().take()
        {
            act();
        }
    }
}

/// Removes the lock files that a crash left.
pub fn unlock(vault: &Vault) {
    let left: Vec<Id> = vault.own_stale_locks().unwrap().iter().map(|lock| lock.id).collect();
    vault.remove_locks(&left).unwrap();
}
