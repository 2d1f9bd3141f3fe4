//! Records what passes through the seam below a local store, in the order in which it takes effect.

use super::observed::DiskOperation;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// One entry of a log.
#[derive(Clone, Debug)]
pub(crate) enum Record {
    Write(PathBuf, Arc<[u8]>),
    SyncFile(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    Remove(PathBuf),
    RemoveTree(PathBuf),
    MakeDirectory(PathBuf),
    SyncDirectory(PathBuf),
    /// The test's own word between two operations.
    Mark(usize),
}

/// Says which calls that make something durable are left out, as a faulty program would.
type Leaves = Box<dyn FnMut(DiskOperation<'_>) -> bool + Send>;

/// Everything that happens below one directory.
pub(crate) struct Recorder {
    root: PathBuf,
    state: Mutex<(Vec<Record>, Leaves)>,
}

static RECORDERS: Mutex<Vec<Weak<Recorder>>> = Mutex::new(Vec::new());

impl Recorder {
    /// Records from now on; `leaves` is asked before each sync whether it is left out.
    pub fn begin(root: &Path, leaves: impl FnMut(DiskOperation<'_>) -> bool + Send + 'static) -> Arc<Self> {
        let recorder = Arc::new(Self { root: root.to_owned(), state: Mutex::new((Vec::new(), Box::new(leaves))) });
        RECORDERS.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&recorder));
        recorder
    }

    /// Puts the test's word into the log.
    pub fn mark(&self, word: usize) {
        self.state.lock().unwrap().0.push(Record::Mark(word));
    }

    /// What was recorded so far.
    pub fn log(&self) -> Vec<Record> {
        self.state.lock().unwrap().0.clone()
    }

    fn of(operation: DiskOperation<'_>) -> Option<Arc<Self>> {
        let path = match operation {
            DiskOperation::Write(path, _)
            | DiskOperation::SyncFile(path)
            | DiskOperation::Rename(path, _)
            | DiskOperation::Link(path, _)
            | DiskOperation::Remove(path)
            | DiskOperation::RemoveTree(path)
            | DiskOperation::MakeDirectory(path)
            | DiskOperation::SyncDirectory(path) => path,
        };
        let mut recorders = RECORDERS.lock().unwrap_or_else(PoisonError::into_inner);
        recorders.retain(|recorder| recorder.strong_count() > 0);
        recorders.iter().filter_map(Weak::upgrade).find(|recorder| path.starts_with(&recorder.root))
    }
}

/// Does it and records it when it succeeded. One at a time, so that the log has the order in which others could see the effects.
pub(super) fn observed<T>(operation: DiskOperation<'_>, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let Some(recorder) = Recorder::of(operation) else { return action() };
    let mut state = recorder.state.lock().unwrap_or_else(PoisonError::into_inner);
    let done = action()?;
    state.0.push(match operation {
        DiskOperation::Write(path, bytes) => Record::Write(path.to_owned(), bytes.into()),
        DiskOperation::SyncFile(path) => Record::SyncFile(path.to_owned()),
        DiskOperation::Rename(from, to) => Record::Rename(from.to_owned(), to.to_owned()),
        DiskOperation::Link(from, to) => Record::Link(from.to_owned(), to.to_owned()),
        DiskOperation::Remove(path) => Record::Remove(path.to_owned()),
        DiskOperation::RemoveTree(path) => Record::RemoveTree(path.to_owned()),
        DiskOperation::MakeDirectory(path) => Record::MakeDirectory(path.to_owned()),
        DiskOperation::SyncDirectory(path) => Record::SyncDirectory(path.to_owned()),
    });
    Ok(done)
}

/// As [`observed`], unless this sync is to be left out.
pub(super) fn observed_sync(operation: DiskOperation<'_>, action: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let left_out = Recorder::of(operation)
        .is_some_and(|recorder| (recorder.state.lock().unwrap_or_else(PoisonError::into_inner).1)(operation));
    if left_out { Ok(()) } else { observed(operation, action) }
}
