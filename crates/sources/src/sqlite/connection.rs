//! Opening databases, always through SQLite itself.

use std::{
    ffi::OsStr,
    fs,
    ops::{Deref, DerefMut},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::errors::{explain, from_system, missing};
use crate::{ErrorKind, Result, SourceError, live_files::Live};

/// How long SQLite waits for a lock, milliseconds.
const BUSY_TIMEOUT_MS: u64 = 5000;
/// Pages that a reading connection keeps in memory.
const CACHE_PAGES: u32 = 200;
/// How often a long statement looks whether it should stop.
const CANCEL_INTERVAL: Duration = Duration::from_millis(200);
/// What may stand in the path of a `file:` URI as it is.
const URI_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// A connection to files that others may have open, held apart from our own readers as long as it lives.
pub(super) struct LiveConnection {
    // Closed first.
    connection: Connection,
    held: Live,
}

impl Deref for LiveConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for LiveConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl LiveConnection {
    /// The first read opens the log and its index, if there are any.
    fn hold_sides(&mut self, path: &Path) -> Result<()> {
        self.held.hold(&beside(path, "-wal"))?;
        self.held.hold(&beside(path, "-shm"))
    }
}

/// Opens a live database for reading. Never creates one. Reads its header, so that a lock is met here already.
pub(super) fn open_live(path: &Path) -> Result<LiveConnection> {
    let mut live = open_unread(path)?;
    live.pragma_update(None, "cache_size", CACHE_PAGES).map_err(|error| explain(path, error))?;
    live.hold_sides(path)?;
    Ok(live)
}

/// Opens a live database for reading and reads nothing of it yet.
pub(super) fn open_unread(path: &Path) -> Result<LiveConnection> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing(path)),
        Err(error) => return Err(from_system(path, "look at", error)),
    };
    if !found.is_file() {
        return Err(SourceError::new(ErrorKind::Invalid, format!("{} is not a file.", path.display()))
            .hint("Give the path of the database file itself."));
    }
    let mut held = Live::default();
    held.hold(path)?;
    Ok(LiveConnection { connection: open(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?, held })
}

/// Opens an existing database for writing.
pub(super) fn open_for_writing(path: &Path) -> Result<LiveConnection> {
    let mut held = Live::default();
    held.hold(path)?;
    let mut live = LiveConnection { connection: open(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?, held };
    // What is wrong with the file is for the caller's own first statement to meet.
    let _: rusqlite::Result<i64> = live.pragma_query_value(None, "schema_version", |row| row.get(0));
    live.hold_sides(path)?;
    Ok(live)
}

/// Makes a new database.
pub(super) fn create(path: &Path) -> Result<Connection> {
    open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)
}

/// Opens a file that nobody else uses and that is not to change: no lock, no `-wal` or `-shm` beside it.
pub(super) fn open_private(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(private_uri(path), flags).map_err(|error| explain(path, error))
}

/// The URI under which [`open_private`] opens a file; also for ATTACH.
pub(super) fn private_uri(path: &Path) -> String {
    format!("file:{}?mode=ro&immutable=1", percent_encode(path.as_os_str().as_bytes(), URI_PATH))
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|error| explain(path, error))?;
    connection.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS)).map_err(|error| explain(path, error))?;
    Ok(connection)
}

/// Makes sure that this build of SQLite has the page table. Cargo reads the flag for it from a file that it looks for
/// from the working directory upwards, so that a build started elsewhere lacks it without a word.
pub(super) fn require_page_table(connection: &Connection) -> Result<()> {
    let found: rusqlite::Result<i64> =
        connection
            .query_row("SELECT count(*) FROM pragma_module_list WHERE name = 'sqlite_dbpage'", [], |row| row.get(0));
    if matches!(found, Ok(1)) {
        return Ok(());
    }
    Err(SourceError::new(ErrorKind::Internal, "This build of the server lacks SQLite's page table `sqlite_dbpage`.")
        .hint("Build it in the root of its repository, where .cargo/config.toml sets LIBSQLITE3_FLAGS."))
}

/// Runs `work` on a connection and interrupts it when `is_cancelled` says so.
pub(super) fn interruptible<T>(
    connection: &Connection,
    is_cancelled: &(dyn Fn() -> bool + Sync),
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let handle = connection.get_interrupt_handle();
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while matches!(waiting.recv_timeout(CANCEL_INTERVAL), Err(mpsc::RecvTimeoutError::Timeout)) {
                if is_cancelled() {
                    handle.interrupt();
                }
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// `path` with `suffix` put after its last byte: `-wal`, `-shm`, `-journal`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(OsStr::new(suffix));
    PathBuf::from(name)
}
