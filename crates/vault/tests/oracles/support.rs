//! Capturing and reading in few words.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use trivault_vault::backend::{Backend, LocalBackend};
use trivault_vault::{
    Capture, CaptureEvents, Committed, Cutting, FileOptions, FileRecord, Id, Kdf, MemoryBudget, Node, NodeKind,
    NodeMeta, Password, Result, Snapshot, SnapshotDraft, Timestamp, TreeReader, Vault, VaultError, VaultOptions,
    VerifyOptions,
};

pub const PASSWORD: &str = "correct horse";
/// Cheap on purpose: the tests derive many keys.
pub const KDF: Kdf = Kdf { log_n: 10, r: 8, p: 1 };

pub fn options() -> VaultOptions {
    VaultOptions {
        budget: MemoryBudget::new(MemoryBudget::DEFAULT_BYTES),
        zstd_level: 3,
        cache_directory: None,
        lock_host: "trivault-test".to_owned(),
        lock_user: "test".to_owned(),
        workers: 2,
    }
}

pub fn create(folder: &Path) -> Vault {
    create_on(Arc::new(LocalBackend::new(folder)))
}

pub fn create_on(backend: Arc<dyn Backend>) -> Vault {
    Vault::create(backend, &Password::new(PASSWORD), KDF, options()).unwrap()
}

pub fn open(folder: &Path, password: &str) -> Result<Vault> {
    Vault::open(Arc::new(LocalBackend::new(folder)), &Password::new(password), options())
}

struct Silent;

impl CaptureEvents for Silent {
    fn stored(&self, _bytes: u64) {}
    fn is_cancelled(&self) -> bool {
        false
    }
}

pub fn begin(vault: &Vault, path: &str) -> Capture {
    let draft = SnapshotDraft {
        time: chrono::Utc::now(),
        hostname: "source".to_owned(),
        username: "trivault".to_owned(),
        paths: vec![path.to_owned()],
        tags: vec!["trivault:test".to_owned()],
        program_version: "trivault test".to_owned(),
    };
    vault.capture(draft, None, Arc::new(Silent)).unwrap()
}

pub fn commit(capture: Capture, root: Id) -> Result<Committed> {
    capture.commit(root, &mut || Ok(()), VerifyOptions::default())
}

pub fn write_stream(capture: &Capture, bytes: &[u8], cutting: Cutting) -> Result<FileRecord> {
    let mut file = capture.file(FileOptions { cutting, whole_digest: true })?;
    for piece in bytes.chunks(100_003) {
        file.write(piece)?;
        file.cut()?;
    }
    file.finish()
}

/// One snapshot with these streams in its root.
pub fn capture_streams(vault: &Vault, streams: &[(&str, &[u8])], cutting: Cutting) -> Committed {
    let capture = begin(vault, &format!("/{}", streams[0].0));
    let mut root = capture.directory();
    for (name, bytes) in streams {
        let record = write_stream(&capture, bytes, cutting).unwrap();
        assert_eq!(record.length, bytes.len() as u64);
        root.add_file(name.as_bytes(), &NodeMeta::synthetic(NodeKind::File, Timestamp::default()), &record).unwrap();
    }
    let root = root.finish().unwrap();
    commit(capture, root).unwrap()
}

/// One snapshot of a folder: files, folders and symbolic links with their modes and times.
pub fn capture_folder(vault: &Vault, folder: &Path) -> Committed {
    let capture = begin(vault, "/tree");
    let root = capture_directory(&capture, folder);
    commit(capture, root).unwrap()
}

fn capture_directory(capture: &Capture, folder: &Path) -> Id {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    let mut directory = capture.directory();
    for entry in entries {
        let (name, path) = (entry.file_name(), entry.path());
        let found = fs::symlink_metadata(&path).unwrap();
        let kind = found.file_type();
        if kind.is_dir() {
            let subtree = capture_directory(capture, &path);
            directory.add_directory(name.as_bytes(), &meta(&found, NodeKind::Directory), subtree).unwrap();
        } else if kind.is_symlink() {
            let target = fs::read_link(&path).unwrap().into_os_string().into_vec();
            directory.add_special(name.as_bytes(), &meta(&found, NodeKind::Symlink(target))).unwrap();
        } else {
            let record = write_stream(capture, &fs::read(&path).unwrap(), Cutting::ContentDefined).unwrap();
            directory.add_file(name.as_bytes(), &meta(&found, NodeKind::File), &record).unwrap();
        }
    }
    directory.finish().unwrap()
}

fn meta(found: &fs::Metadata, kind: NodeKind) -> NodeMeta {
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

/// The newest snapshot.
pub fn latest(vault: &Vault) -> Snapshot {
    let mut list = vault.snapshots().unwrap();
    assert!(list.damaged.is_empty(), "{:?}", list.damaged);
    list.snapshots.pop().expect("a snapshot")
}

/// A whole stored stream, read in pieces of an odd size.
pub fn read_node(reader: &TreeReader, node: &Node) -> Result<Vec<u8>> {
    let mut file = reader.open(node)?;
    let length = file.length();
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 77_777];
    loop {
        let read = file.read_at(bytes.len() as u64, &mut buffer)?;
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..read]);
    }
    if bytes.len() as u64 == length { Ok(bytes) } else { Err(VaultError::damaged("the stream ended early")) }
}

/// Every file and symbolic link of a snapshot by its path. Folders end in `/`.
pub fn read_tree(vault: &Vault, snapshot: &Snapshot) -> Result<BTreeMap<String, Vec<u8>>> {
    let reader = vault.reader(snapshot)?;
    let mut found = BTreeMap::new();
    read_directory(&reader, &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn read_directory(reader: &TreeReader, path: &mut Vec<Vec<u8>>, found: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    let parts: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
    for node in reader.list(&parts)? {
        path.push(node.name.clone());
        let name = path.iter().map(|part| String::from_utf8_lossy(part)).collect::<Vec<_>>().join("/");
        match &node.meta.kind {
            NodeKind::Directory => {
                found.insert(format!("{name}/"), Vec::new());
                read_directory(reader, path, found)?;
            }
            NodeKind::Symlink(target) => {
                found.insert(format!("{name} ->"), target.clone());
            }
            NodeKind::File => {
                found.insert(name, read_node(reader, &node)?);
            }
            _ => {}
        }
        path.pop();
    }
    Ok(())
}

/// One file of a snapshot.
pub fn read_file(vault: &Vault, snapshot: &Snapshot, path: &[&str]) -> Result<Vec<u8>> {
    let reader = vault.reader(snapshot)?;
    let parts: Vec<&[u8]> = path.iter().map(|part| part.as_bytes()).collect();
    let node = reader.node(&parts)?;
    read_node(&reader, &node)
}

/// A dump-like text: compressible, with no two equal stretches.
pub fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 100);
    let mut row = 0u64;
    while bytes.len() < length {
        let mixed = (row ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        bytes.extend_from_slice(format!("{row}\t{mixed:016x}\tname {}\t\\N\n", mixed % 1000).as_bytes());
        row += 1;
    }
    bytes.truncate(length);
    bytes
}

/// A folder with the cases that matter to the format; returns nothing, the folder is the expectation.
pub fn make_tree(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    fs::create_dir_all(folder.join("deep/er/est")).unwrap();
    fs::create_dir(folder.join("empty folder")).unwrap();
    write("empty", b"");
    write("one", b"1");
    write("text", &text(1, 3_000_000));
    write("noise", &trivault_testkit::trees::noise(9, 2_000_000));
    write("zeros", &vec![0; 1_500_000]);
    write("deep/er/est/file", b"far down");
    write("größe <&> \u{2028} \u{1F600} \"quoted\" back\\slash", b"unicode");
    fs::write(folder.join(std::ffi::OsStr::from_bytes(b"not utf-8 \xff\xfe")), b"bytes").unwrap();
    write("line\nbreak\ttab\u{7f}\u{1}", b"control");
    for number in 0..200 {
        write(&format!("small-{number:03}"), &text(number, 300 + number as usize));
    }
    std::os::unix::fs::symlink("deep/er", folder.join("link")).unwrap();
    std::os::unix::fs::symlink("no/where", folder.join("dangling")).unwrap();
}
