//! Files that SQLite has open in this process, kept apart from files that we read by ourselves.
//!
//! When a process closes any descriptor of a file, it loses all POSIX locks that it holds on that file: a directory's
//! capture that reads a database inside would take away, without a word, the locks under which the same server captures
//! that database, and with them the promise that the copy is of one moment. So whoever opens files of other people's
//! directories asks here first, and waits while SQLite has them open.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{ErrorKind, Result, SourceError};

/// Device and inode.
pub type Identity = (u64, u64);

/// How long SQLite's side waits for a reader of the file before it gives up: a retry of the job does the rest.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a waiting reader looks whether it should stop.
const CANCEL_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Use {
    /// Connections of SQLite.
    live: usize,
    readers: usize,
}

static USES: Mutex<BTreeMap<Identity, Use>> = Mutex::new(BTreeMap::new());
static CHANGED: Condvar = Condvar::new();

fn uses() -> MutexGuard<'static, BTreeMap<Identity, Use>> {
    USES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_free(uses: &BTreeMap<Identity, Use>, identity: Identity, of: fn(&Use) -> usize) -> bool {
    uses.get(&identity).is_none_or(|found| of(found) == 0)
}

fn release(identity: Identity, of: fn(&mut Use) -> &mut usize) {
    let mut uses = uses();
    if let Some(found) = uses.get_mut(&identity) {
        let count = of(found);
        *count = count.saturating_sub(1);
        if found.live == 0 && found.readers == 0 {
            uses.remove(&identity);
        }
    }
    CHANGED.notify_all();
}

/// The files of a database, held while SQLite has them open.
#[derive(Default)]
pub struct Live(Vec<Identity>);

impl Live {
    /// Holds the file at `path` as well; one that does not exist needs no holding.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when a capture of its directory goes on reading it.
    pub fn hold(&mut self, path: &Path) -> Result<()> {
        let Ok(found) = fs::metadata(path) else { return Ok(()) };
        let identity = (found.dev(), found.ino());
        let waited =
            CHANGED.wait_timeout_while(uses(), PATIENCE, |uses| !is_free(uses, identity, |found| found.readers));
        let (mut uses, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !is_free(&uses, identity, |found| found.readers) {
            return Err(SourceError::new(
                ErrorKind::Unavailable,
                format!("{} is being read by a backup of its directory.", path.display()),
            )
            .hint("Try again when that is done, or exclude the database from the directory's source."));
        }
        uses.entry(identity).or_default().live += 1;
        self.0.push(identity);
        Ok(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.drain(..).for_each(|identity| release(identity, |found| &mut found.live));
    }
}

/// A file that is read; must outlive its descriptor.
pub struct Reading(Identity);

impl Reading {
    /// Waits until SQLite has the file not open in this process.
    ///
    /// # Errors
    /// [`SourceError::cancelled`] when `is_cancelled` says so.
    pub fn begin(identity: Identity, is_cancelled: &dyn Fn() -> bool) -> Result<Self> {
        let mut guard = uses();
        while !is_free(&guard, identity, |found| found.live) {
            if is_cancelled() {
                return Err(SourceError::cancelled());
            }
            guard = CHANGED.wait_timeout(guard, CANCEL_INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
        }
        guard.entry(identity).or_default().readers += 1;
        Ok(Self(identity))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        release(self.0, |found| &mut found.readers);
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    fn identity(path: &Path) -> Identity {
        let found = fs::metadata(path).unwrap();
        (found.dev(), found.ino())
    }

    #[test]
    fn a_reader_waits_until_sqlite_has_closed_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut live = Live::default();
        live.hold(file.path()).unwrap();
        let id = identity(file.path());
        let (begun, reading) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                let guard = Reading::begin(id, &|| false).unwrap();
                begun.send(()).unwrap();
                drop(guard);
            });
            assert!(reading.recv_timeout(CANCEL_INTERVAL).is_err(), "it waits");
            drop(live);
            reading.recv().unwrap();
        });
    }

    #[test]
    fn a_waiting_reader_can_be_cancelled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut live = Live::default();
        live.hold(file.path()).unwrap();
        let error = Reading::begin(identity(file.path()), &|| true).err().unwrap();
        assert_eq!(error.kind, ErrorKind::Cancelled);
    }

    #[test]
    fn a_database_that_is_read_all_the_time_is_unavailable() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reading = Reading::begin(identity(file.path()), &|| false).unwrap();
        let mut live = Live::default();
        assert_eq!(live.hold(file.path()).unwrap_err().kind, ErrorKind::Unavailable);
        drop(reading);
        live.hold(file.path()).unwrap();
        live.hold(Path::new("/does/not/exist")).unwrap();
    }
}
