//! Our side, run in a process of its own so that its figures are those of the vault alone.

use std::error::Error;
use std::fs::{self, File, Metadata};
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, UNIX_EPOCH};
use trivault_vault::backend::LocalBackend;
use trivault_vault::{
    Capture, CaptureEvents, Cutting, FileOptions, FileWriter, Id, Kdf, MemoryBudget, Node, NodeKind, NodeMeta,
    Password, SnapshotDraft, Timestamp, TreeReader, Vault, VaultOptions, VerifyOptions,
};

/// The password of every vault of the comparison.
pub const PASSWORD: &str = "benchmark";
/// One read from a source, in bytes.
const READ_BYTES: usize = 256 << 10;
/// One read from the vault, in bytes.
const RESTORE_BYTES: usize = 1 << 20;
/// Threads that restore files, and files that wait for one.
const RESTORE_THREADS: usize = 4;
const RESTORE_QUEUE: usize = 256;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn options(vault: &Path) -> VaultOptions {
    let level = std::env::var("TRIVAULT_BENCH_ZSTD").ok().and_then(|level| level.parse().ok());
    VaultOptions {
        budget: MemoryBudget::new(MemoryBudget::DEFAULT_BYTES),
        zstd_level: level.unwrap_or(3),
        cache_directory: Some(vault.with_extension("index-cache")),
        lock_host: "trivault-bench".to_owned(),
        lock_user: "bench".to_owned(),
        workers: std::thread::available_parallelism().map_or(2, usize::from),
    }
}

fn open(vault: &Path) -> Outcome<Vault> {
    Ok(Vault::open(Arc::new(LocalBackend::new(vault)), &Password::new(PASSWORD), options(vault))?)
}

/// Makes an empty vault.
pub fn init(vault: &Path) -> Outcome {
    Vault::create(Arc::new(LocalBackend::new(vault)), &Password::new(PASSWORD), Kdf::default(), options(vault))?;
    Ok(())
}

struct Silent;

impl CaptureEvents for Silent {
    fn stored(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}

fn begin(vault: &Vault, path: &str) -> Outcome<Capture> {
    let draft = SnapshotDraft {
        time: chrono::Utc::now(),
        hostname: "bench".to_owned(),
        username: "bench".to_owned(),
        paths: vec![path.to_owned()],
        tags: Vec::new(),
        program_version: "trivault bench".to_owned(),
    };
    Ok(vault.capture(draft, None, Arc::new(Silent))?)
}

fn commit(capture: Capture, root: Id) -> Outcome {
    let stored = Instant::now();
    capture.commit(root, &mut || Ok(()), VerifyOptions::default())?;
    eprintln!("commit and verification: {:.2} s", stored.elapsed().as_secs_f64());
    Ok(())
}

fn copy_in(mut from: impl Read, to: &mut FileWriter, buffer: &mut [u8]) -> Outcome {
    loop {
        match from.read(buffer)? {
            0 => return Ok(()),
            read => to.write(&buffer[..read])?,
        }
    }
}

fn backup_stream_into(vault: &Vault, input: &Path) -> Outcome {
    let capture = begin(vault, "/dump.sql")?;
    let mut file = capture.file(FileOptions { cutting: Cutting::ContentDefined, whole_digest: false })?;
    copy_in(File::open(input)?, &mut file, &mut vec![0; READ_BYTES])?;
    let record = file.finish()?;
    let mut root = capture.directory();
    root.add_file(b"dump.sql", &NodeMeta::synthetic(NodeKind::File, Timestamp::default()), &record)?;
    let root = root.finish()?;
    commit(capture, root)
}

fn backup_tree_into(vault: &Vault, folder: &Path) -> Outcome {
    let capture = begin(vault, "/tree")?;
    let root = backup_directory(&capture, folder, &mut vec![0; READ_BYTES])?;
    commit(capture, root)
}

fn backup_directory(capture: &Capture, folder: &Path, buffer: &mut [u8]) -> Outcome<Id> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut directory = capture.directory();
    for entry in entries {
        let (name, path, found) = (entry.file_name(), entry.path(), entry.metadata()?);
        if found.is_dir() {
            let subtree = backup_directory(capture, &path, buffer)?;
            directory.add_directory(name.as_bytes(), &meta(&found, NodeKind::Directory), subtree)?;
        } else if found.is_symlink() {
            let target = fs::read_link(&path)?.into_os_string().into_vec();
            directory.add_special(name.as_bytes(), &meta(&found, NodeKind::Symlink(target)))?;
        } else {
            let mut file = capture.file(FileOptions { cutting: Cutting::ContentDefined, whole_digest: false })?;
            copy_in(File::open(&path)?, &mut file, buffer)?;
            directory.add_file(name.as_bytes(), &meta(&found, NodeKind::File), &file.finish()?)?;
        }
    }
    Ok(directory.finish()?)
}

fn meta(found: &Metadata, kind: NodeKind) -> NodeMeta {
    let time = |seconds, nanoseconds: i64| Timestamp { seconds, nanoseconds: nanoseconds as u32 };
    NodeMeta {
        kind,
        mode: found.mode() & 0o7777,
        modified: time(found.mtime(), found.mtime_nsec()),
        accessed: time(found.atime(), found.atime_nsec()),
        changed: time(found.ctime(), found.ctime_nsec()),
        uid: found.uid(),
        gid: found.gid(),
        user: String::new(),
        group: String::new(),
        inode: found.ino(),
        device: found.dev(),
        links: found.nlink(),
        size: found.len(),
        extended_attributes: Vec::new(),
    }
}

/// Backs up one stream.
pub fn backup_stream(vault: &Path, input: &Path) -> Outcome {
    backup_stream_into(&open(vault)?, input)
}

/// Backs up a tree.
pub fn backup_tree(vault: &Path, folder: &Path) -> Outcome {
    backup_tree_into(&open(vault)?, folder)
}

/// Backs up a stream and a tree at once, in one process and one vault.
pub fn backup_both(vault: &Path, input: &Path, folder: &Path) -> Outcome {
    let vault = open(vault)?;
    std::thread::scope(|scope| {
        let stream = scope.spawn(|| backup_stream_into(&vault, input));
        backup_tree_into(&vault, folder)?;
        stream.join().map_err(|_| "the backup of the stream panicked")?
    })
}

/// Restores the newest snapshot into a folder, several files at once as restic does.
pub fn restore(vault: &Path, target: &Path) -> Outcome {
    let vault = open(vault)?;
    let snapshot = vault.snapshots()?.snapshots.pop().ok_or("the vault has no snapshot")?;
    let reader = vault.reader(&snapshot)?;
    fs::create_dir_all(target)?;
    let (sender, receiver) = mpsc::sync_channel(RESTORE_QUEUE);
    let receiver = Mutex::new(receiver);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..RESTORE_THREADS).map(|_| scope.spawn(|| restore_files(&reader, &receiver))).collect();
        let walked = restore_directory(&reader, &mut Vec::new(), target, &sender);
        drop(sender);
        for worker in workers {
            worker.join().map_err(|_| "a thread of the restore panicked")??;
        }
        walked
    })
}

type Wanted = (Node, PathBuf);

fn restore_directory(
    reader: &TreeReader,
    path: &mut Vec<Vec<u8>>,
    target: &Path,
    files: &SyncSender<Wanted>,
) -> Outcome {
    let parts: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
    for node in reader.list(&parts)? {
        let place = target.join(std::ffi::OsStr::from_bytes(&node.name));
        match &node.meta.kind {
            NodeKind::Directory => {
                fs::create_dir(&place)?;
                path.push(node.name.clone());
                restore_directory(reader, path, &place, files)?;
                path.pop();
            }
            NodeKind::Symlink(link) => symlink(std::ffi::OsStr::from_bytes(link), &place)?,
            NodeKind::File => files.send((node, place)).map_err(|_| "the restore's threads have ended")?,
            _ => {}
        }
    }
    Ok(())
}

/// Restores files until no more come. After a failure it only empties the queue, so that the walk does not wait for ever.
fn restore_files(reader: &TreeReader, wanted: &Mutex<Receiver<Wanted>>) -> Outcome {
    let mut buffer = Vec::new();
    let mut outcome = Ok(());
    loop {
        let next = wanted.lock().map_err(|_| "a thread of the restore panicked")?.recv();
        let Ok((node, place)) = next else { return outcome };
        if outcome.is_ok() {
            outcome = restore_file(reader, &node, &place, &mut buffer);
        }
    }
}

fn restore_file(reader: &TreeReader, node: &Node, place: &Path, buffer: &mut Vec<u8>) -> Outcome {
    let mut stored = reader.open(node)?;
    let mut file = File::create(place)?;
    let length = stored.length();
    buffer.resize(RESTORE_BYTES.min(usize::try_from(length)?).max(buffer.len()), 0);
    let mut offset = 0;
    while offset < length {
        let read = stored.read_at(offset, buffer)?;
        file.write_all(&buffer[..read])?;
        offset += read as u64;
    }
    let modified = &node.meta.modified;
    let since = Duration::new(u64::try_from(modified.seconds).unwrap_or(0), modified.nanoseconds);
    file.set_modified(UNIX_EPOCH + since)?;
    Ok(())
}
