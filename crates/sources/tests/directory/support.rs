//! What the tests of directories share: making trees, looking at them, capturing and restoring.

use std::{
    collections::BTreeMap,
    ffi::{CString, OsStr},
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Value, json};
use trivault_sources::{
    Conflict, NodeType, PartReader, PartRestoreRequest, RestoreOutcome, RestoreTarget, Result, Selection, SourceConfig,
    SourceDriver, Warning,
    directory::DirectorySource,
    testing::{MemoryPart, MemoryReader, MemorySink, MemoryStore},
};

/// Everything that a restore must bring back of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub modified: (i64, i64),
    pub attributes: Vec<(Vec<u8>, Vec<u8>)>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    Directory,
    /// Content, and the first path under which the walk met the same inode.
    File(Vec<u8>, Vec<u8>),
    Symlink(Vec<u8>),
    Fifo,
    Socket,
    Device(bool, u64),
}

/// The whole tree below `root`, by path; the root itself is the empty path.
pub fn look(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let mut seen = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    let mut paths = vec![root.to_path_buf()];
    while let Some(path) = paths.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let relative = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let kind = metadata.file_type();
        let what = if kind.is_dir() {
            let mut children: Vec<PathBuf> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            children.sort_by(|left, right| right.as_os_str().as_bytes().cmp(left.as_os_str().as_bytes()));
            paths.extend(children);
            What::Directory
        } else if kind.is_file() {
            let first = inodes.entry((metadata.dev(), metadata.ino())).or_insert_with(|| relative.clone());
            What::File(fs::read(&path).unwrap(), first.clone())
        } else if kind.is_symlink() {
            What::Symlink(fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
        } else if kind.is_fifo() {
            What::Fifo
        } else if kind.is_socket() {
            What::Socket
        } else {
            What::Device(kind.is_char_device(), metadata.rdev())
        };
        let entry = Seen {
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            attributes: attributes(&path),
            what,
        };
        seen.insert(relative, entry);
    }
    seen
}

/// Contents alone.
pub fn contents(root: &Path) -> BTreeMap<String, String> {
    look(root)
        .into_iter()
        .filter_map(|(path, seen)| match seen.what {
            What::File(bytes, _) => Some((text(&path), text(&bytes))),
            _ => None,
        })
        .collect()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn attributes(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; 65536];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names[..]) else { return Vec::new() };
    let mut found: Vec<_> = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            (name.to_vec(), value[..length].to_vec())
        })
        .collect();
    found.sort();
    found
}

pub fn set_attribute(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).is_ok()
}

/// Writes a file, making its directories.
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Sets the time of the last modification, links not followed.
pub fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn make_node(path: &Path, kind: rustix::fs::FileType, device: u64) {
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &name, kind, rustix::fs::Mode::from_raw_mode(0o640), device).unwrap();
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A place that is removed at the end, with a `live` directory in it.
pub struct Place {
    pub directory: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self::in_directory(tempfile::tempdir().unwrap())
    }

    /// In memory where the machine offers it, for tests of which the disk's speed is not the point.
    pub fn in_memory() -> Self {
        Self::in_directory(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn in_directory(directory: tempfile::TempDir) -> Self {
        fs::create_dir(directory.path().join("live")).unwrap();
        Self { directory }
    }

    pub fn live(&self) -> PathBuf {
        self.directory.path().join("live")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn driver(&self) -> DirectorySource {
        self.driver_with(json!({}))
    }

    pub fn driver_with(&self, options: Value) -> DirectorySource {
        driver(&self.live(), options, &[])
    }

    /// Names beside `live`, for tests that nothing is left.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

pub fn driver(root: &Path, options: Value, never_capture: &[PathBuf]) -> DirectorySource {
    DirectorySource::new(&config(root, options, never_capture)).unwrap()
}

pub fn config(root: &Path, options: Value, never_capture: &[PathBuf]) -> SourceConfig {
    let Value::Object(options) = options else { unreachable!() };
    SourceConfig {
        kind: "directory".to_owned(),
        location: root.to_str().unwrap().to_owned(),
        options,
        never_capture: never_capture.to_vec(),
        secret: None,
    }
}

/// A capture that ended well.
pub struct Captured {
    pub part: Arc<MemoryPart>,
    pub warnings: Vec<Warning>,
    pub lines: Vec<String>,
}

impl Captured {
    pub fn warning(&self, code: &str) -> Option<&Warning> {
        self.warnings.iter().find(|warning| warning.code == code)
    }

    pub fn codes(&self) -> Vec<&str> {
        self.warnings.iter().map(|warning| warning.code.as_str()).collect()
    }

    pub fn detail(&self, name: &str) -> &Value {
        &self.part.manifest().details[name]
    }

    /// Content of a file of the part by its path below the directory.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let names: Vec<&[u8]> = std::iter::once("data").chain(path.split('/')).map(str::as_bytes).collect();
        self.part.bytes(&names).unwrap()
    }

    pub fn has(&self, path: &str) -> bool {
        let names: Vec<&[u8]> = std::iter::once("data").chain(path.split('/')).map(str::as_bytes).collect();
        self.part.meta(&names).is_some()
    }
}

pub fn capture(driver: &DirectorySource) -> Captured {
    capture_into(driver, MemorySink::new(&MemoryStore::new())).unwrap()
}

pub fn capture_into(driver: &DirectorySource, sink: MemorySink) -> Result<Captured> {
    let manifest = driver.capture(&sink)?;
    let (warnings, lines) = (sink.warnings(), sink.lines());
    Ok(Captured { part: sink.into_part(manifest), warnings, lines })
}

pub fn request(target: RestoreTarget, conflict: Conflict) -> PartRestoreRequest {
    PartRestoreRequest { target, conflict, selection: Selection::default(), job: "job1".to_owned() }
}

pub fn new_path(path: &Path) -> PartRestoreRequest {
    request(RestoreTarget::NewPath(path.to_path_buf()), Conflict::Replace)
}

pub fn in_place(conflict: Conflict) -> PartRestoreRequest {
    request(RestoreTarget::InPlace, conflict)
}

/// A restore and the warnings that it gave.
pub fn restore(
    driver: &DirectorySource,
    part: &Arc<MemoryPart>,
    request: &PartRestoreRequest,
) -> (RestoreOutcome, Vec<Warning>) {
    let reader = MemoryReader::new(part);
    let outcome = run(driver, &reader, request).unwrap();
    (outcome, reader.warnings())
}

pub fn run(driver: &DirectorySource, reader: &dyn PartReader, request: &PartRestoreRequest) -> Result<RestoreOutcome> {
    let plan = driver.plan_restore(reader, request)?;
    driver.restore(reader, &plan)
}

/// A tree with a bit of everything; gives whether the file system has POSIX ACLs and attributes.
pub fn furnish(root: &Path) -> bool {
    write(root.join("empty"), b"");
    write(root.join("a/b/c/deep.txt"), b"deep");
    write(root.join("a/one.json"), br#"{"n": 1}"#);
    write(root.join("a.b/after a"), b"sorted behind a/");
    write(root.join("Ünïcödé/日本語.txt"), "héllo".as_bytes());
    write(root.join(OsStr::from_bytes(b"\xff\xfe/na\xffme")), b"\xff");
    write(root.join("new\nline"), b"odd");
    write(root.join("large"), vec![7; 3 * 1024 * 1024 + 17]);
    fs::create_dir_all(root.join("nothing here")).unwrap();
    fs::hard_link(root.join("a/one.json"), root.join("z-link")).unwrap();
    fs::hard_link(root.join("a/one.json"), root.join("a/b/link")).unwrap();
    std::os::unix::fs::symlink("a/one.json", root.join("symlink")).unwrap();
    std::os::unix::fs::symlink(OsStr::from_bytes(b"/no/such/\xff"), root.join("dangling")).unwrap();
    std::os::unix::fs::symlink("a", root.join("link to directory")).unwrap();
    make_node(&root.join("fifo"), rustix::fs::FileType::Fifo, 0);
    write(root.join("setuid"), b"#!");
    let acl: Vec<u8> = [
        2_u32.to_le_bytes().to_vec(),
        entry(1, 6, u32::MAX),
        entry(2, 4, 12345),
        entry(4, 4, u32::MAX),
        entry(16, 4, u32::MAX),
        entry(32, 0, u32::MAX),
    ]
    .concat();
    let has = set_attribute(&root.join("a/one.json"), "user.colour", b"red\0blue")
        && set_attribute(&root.join("a"), "user.empty", b"")
        && set_attribute(&root.join("large"), "system.posix_acl_access", &acl)
        && set_attribute(&root.join("a.b"), "system.posix_acl_default", &acl);
    if is_root() {
        make_node(&root.join("null"), rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 3));
        make_node(&root.join("loop"), rustix::fs::FileType::BlockDevice, rustix::fs::makedev(7, 250));
        std::os::unix::fs::lchown(root.join("a.b/after a"), Some(12), Some(34)).unwrap();
        std::os::unix::fs::lchown(root.join("symlink"), Some(12), Some(34)).unwrap();
        std::os::unix::fs::lchown(root.join("setuid"), Some(7), Some(8)).unwrap();
    }
    set_mode(&root.join("setuid"), 0o6755);
    set_mode(&root.join("nothing here"), 0o1777);
    set_mode(&root.join("a/b/c/deep.txt"), 0);
    set_mode(&root.join("a/b"), 0o500);
    set_time(&root.join("a/b/c/deep.txt"), -5, 123_456_789);
    set_time(&root.join("symlink"), 1_000_000_000, 1);
    set_time(&root.join("large"), 4_000_000_000, 999_999_999);
    set_time(&root.join("a"), 1_500_000_000, 5);
    set_time(root, 1_400_000_000, 6);
    has
}

/// One entry of a POSIX ACL as the kernel keeps it.
fn entry(tag: u16, permissions: u16, id: u32) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
}

/// What the part says of a file's type.
pub fn stored_type(captured: &Captured, path: &str) -> NodeType {
    let names: Vec<&[u8]> = std::iter::once("data").chain(path.split('/')).map(str::as_bytes).collect();
    captured.part.meta(&names).unwrap().node_type.clone()
}
