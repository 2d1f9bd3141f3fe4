//! What a site stands on: a metadata database and a store.

use std::{
    fmt, fs,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use tempfile::TempDir;
use trivault_testkit::s3::S3Server;

/// Bytes that all sites together need, with a margin.
const ROOM_FOR_SITES: u64 = 2 << 30;
/// How the name of a site's folder begins; the number of its process follows.
const FOLDER: &str = "tv-crash-";

/// Where the metadata lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metadata {
    Sqlite,
    Postgres,
}

/// Where the bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Folder,
    S3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ground {
    pub metadata: Metadata,
    pub place: Place,
}

impl Ground {
    pub const ALL: [Self; 4] = [
        Self { metadata: Metadata::Sqlite, place: Place::Folder },
        Self { metadata: Metadata::Postgres, place: Place::Folder },
        Self { metadata: Metadata::Sqlite, place: Place::S3 },
        Self { metadata: Metadata::Postgres, place: Place::S3 },
    ];
}

impl fmt::Display for Ground {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = match self.metadata {
            Metadata::Sqlite => "SQLite",
            Metadata::Postgres => "PostgreSQL",
        };
        let place = match self.place {
            Place::Folder => "folder",
            Place::S3 => "S3",
        };
        write!(out, "{metadata}, {place}")
    }
}

/// A folder for a site: in memory where there is room, for a kill loses nothing of what the kernel holds, and nothing is learnt from
/// waiting for a disk.
pub fn folder_of_site() -> TempDir {
    let memory = Path::new("/dev/shm");
    clear_away_dead_sites(memory);
    let free = rustix::fs::statvfs(memory).map_or(0, |found| found.f_bavail * found.f_frsize);
    let make = |folder: &Path| {
        let prefix = format!("{FOLDER}{}-", std::process::id());
        tempfile::Builder::new().prefix(&prefix).tempdir_in(folder)
    };
    match make(memory) {
        Ok(folder) if free > ROOM_FOR_SITES => folder,
        _ => make(&std::env::temp_dir()).unwrap(),
    }
}

/// Tests that were killed have left theirs.
fn clear_away_dead_sites(folder: &Path) {
    for path in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let process = name.strip_prefix(FOLDER).and_then(|rest| rest.split_once('-')).map(|(process, _)| process);
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

pub fn s3_store() -> Option<String> {
    static SERVER: OnceLock<Option<S3Server>> = OnceLock::new();
    static BUCKETS: AtomicU32 = AtomicU32::new(0);
    let server = SERVER.get_or_init(S3Server::start).as_ref()?;
    let bucket = format!("crash-{}", BUCKETS.fetch_add(1, Ordering::SeqCst));
    server.make_bucket(&bucket);
    Some(format!(
        "location = \"s3://{bucket}/trivault\"\nregion = \"us-east-1\"\nendpoint = \"{}\"\nallow_http = true\n\
         access_key_env = \"STORE_ACCESS\"\nsecret_key_env = \"STORE_SECRET\"\n",
        server.endpoint()
    ))
}
