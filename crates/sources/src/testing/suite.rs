//! What every kind of source must be able to do with any of its sources: the shared round-trip suite.
//!
//! A kind's tests build a source with something particular about it (empty, large, strange names ...), and hand a
//! [`Fixture`] to [`every_promise_holds`].

use std::{collections::BTreeSet, ffi::OsString, fs, path::Path, path::PathBuf, sync::Arc};

use super::{MemoryPart, MemoryReader, MemorySink, MemoryStore};
use crate::{
    CaptureManifest, Conflict, ErrorKind, Interrupted, PartRestoreRequest, RandomRead, RestoreTarget, Result,
    Selection, SourceDriver, Timestamp,
};

/// One source under test.
pub trait Fixture {
    fn driver(&self) -> Box<dyn SourceDriver>;
    /// A directory in which restores may make their targets.
    fn scratch(&self) -> &Path;
    /// Panics unless the live source and the restored one are the same, byte by byte.
    fn assert_same(&self, restored: &Path);
}

/// Panics with the promise that is broken.
pub fn every_promise_holds(fixture: &dyn Fixture) {
    let driver = fixture.driver();
    let store = MemoryStore::new();
    let part = captures(driver.as_ref(), MemorySink::new(&store));
    manifest_tells_the_truth(driver.as_ref(), &part);
    let stored = store.stored_bytes();
    captures(driver.as_ref(), MemorySink::new(&store).previous(&part));
    assert_eq!(store.stored_bytes(), stored, "an unchanged source adds nothing to the store");
    stops_when_told(driver.as_ref(), &store, &part);
    restores_to_a_new_place(fixture, driver.as_ref(), &part);
    leaves_nothing_behind(fixture, driver.as_ref(), &part);
    downloads_are_stable(driver.as_ref(), &part);
}

/// Captures, or panics with the driver's own sentence.
pub fn captures(driver: &dyn SourceDriver, sink: MemorySink) -> Arc<MemoryPart> {
    let manifest = must("capture", driver.capture(&sink));
    sink.into_part(manifest)
}

/// Restores the whole part to `target`, or panics with the driver's own sentence.
pub fn restores(driver: &dyn SourceDriver, part: &Arc<MemoryPart>, target: RestoreTarget, conflict: Conflict) {
    let reader = MemoryReader::new(part);
    let plan = must("plan the restore", driver.plan_restore(&reader, &request(target, conflict)));
    assert!(!plan.steps.is_empty(), "a plan says what it will do");
    must("restore", driver.restore(&reader, &plan));
}

/// A request for everything, by the job `suite`.
pub fn request(target: RestoreTarget, conflict: Conflict) -> PartRestoreRequest {
    PartRestoreRequest { target, conflict, selection: Selection::default(), job: "suite".to_owned() }
}

fn must<T>(what: &str, result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("could not {what}: {error:?}"),
    }
}

fn kind_of<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind)
}

fn manifest_tells_the_truth(driver: &dyn SourceDriver, part: &Arc<MemoryPart>) {
    let manifest = part.manifest();
    assert_eq!(manifest.kind, driver.kind());
    let text = serde_json::to_string(manifest).unwrap_or_default();
    let again: Option<CaptureManifest> = serde_json::from_str(&text).ok();
    assert_eq!(again.as_ref(), Some(manifest), "a manifest survives being written down");
    for (path, record) in &manifest.streams {
        let components: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
        let bytes = must("read a stream back", part.bytes(&components));
        assert_eq!(record.length, bytes.len() as u64, "length of {path}");
        assert_eq!(record.crc32, crc32fast::hash(&bytes), "checksum of {path}");
    }
    let counted: u64 = manifest.inventory.scopes.iter().flat_map(|s| &s.collections).map(|c| c.items).sum();
    assert_eq!(manifest.items, counted, "the inventory adds up");
}

fn stops_when_told(driver: &dyn SourceDriver, store: &Arc<MemoryStore>, part: &Arc<MemoryPart>) {
    let sink = MemorySink::new(store).cancel_at(0);
    assert_eq!(kind_of(driver.capture(&sink)), Some(ErrorKind::Cancelled), "a capture that is cancelled");
    if part.manifest().size > 0 {
        let sink = MemorySink::new(store).fail_at(0);
        assert_eq!(kind_of(driver.capture(&sink)), Some(ErrorKind::Store), "a capture into a broken store");
    }
}

fn restores_to_a_new_place(fixture: &dyn Fixture, driver: &dyn SourceDriver, part: &Arc<MemoryPart>) {
    let target = fixture.scratch().join("restored");
    let reader = MemoryReader::new(part);
    let request = request(RestoreTarget::NewPath(target.clone()), Conflict::Replace);
    let plan = must("plan the restore", driver.plan_restore(&reader, &request));
    assert!(!target.exists(), "planning touches nothing");
    assert_eq!(must("resume", driver.resume_restore(&plan)), Interrupted::NothingTouched);
    must("restore", driver.restore(&reader, &plan));
    fixture.assert_same(&target);
    assert_eq!(names(fixture.scratch()), BTreeSet::from(["restored".into()]), "only the target is left");
    assert_eq!(must("resume", driver.resume_restore(&plan)), Interrupted::Finished);
    assert_eq!(must("resume again", driver.resume_restore(&plan)), Interrupted::Finished);
    fixture.assert_same(&target);
    if part.manifest().size > 0 {
        let refusal = driver.plan_restore(&reader, &request);
        assert_eq!(kind_of(refusal), Some(ErrorKind::Conflict), "a target that exists is refused");
    }
    remove(&target);
}

fn leaves_nothing_behind(fixture: &dyn Fixture, driver: &dyn SourceDriver, part: &Arc<MemoryPart>) {
    if part.manifest().size == 0 {
        return;
    }
    let target = fixture.scratch().join("deep").join("restored");
    let request = request(RestoreTarget::NewPath(target), Conflict::Replace);
    let half = part.manifest().size / 2;
    let readers = [
        (MemoryReader::new(part).cancel_at(0), ErrorKind::Cancelled),
        (MemoryReader::new(part).fail_at(half), ErrorKind::Store),
    ];
    for (reader, kind) in readers {
        let plan = must("plan the restore", driver.plan_restore(&reader, &request));
        assert_eq!(kind_of(driver.restore(&reader, &plan)), Some(kind), "a restore that is broken off");
        assert_eq!(names(fixture.scratch()), BTreeSet::new(), "a restore that is broken off leaves nothing");
        assert_eq!(must("resume", driver.resume_restore(&plan)), Interrupted::NothingTouched);
    }
}

fn downloads_are_stable(driver: &dyn SourceDriver, part: &Arc<MemoryPart>) {
    let Some(record) = part.manifest().download.clone() else { return };
    let at = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
    let open = |stem: &str| must("open the download", driver.download(Arc::new(MemoryReader::new(part)), stem, at));
    let first = whole(open("backup").as_mut());
    assert_eq!(first.len() as u64, record.length, "the length is the recorded one");
    let mut second = open("backup");
    assert_eq!(whole(open(&"x".repeat(90)).as_mut()).len(), first.len(), "the length does not depend on the name");
    // From the end backwards, in pieces that fit no boundary.
    let mut end = first.len();
    while end > 0 {
        let start = end.saturating_sub(99_991);
        let mut piece = vec![0; end - start];
        let read = must("read a range", second.read_at(start as u64, &mut piece));
        assert!(read == piece.len() && piece == first[start..end], "the range {start}..{end} equals the whole");
        end = start;
    }
}

/// Everything that a reader has.
pub fn whole(reader: &mut dyn RandomRead) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(reader.length()).unwrap_or(0)];
    let read = must("read", reader.read_at(0, &mut bytes));
    assert_eq!(read, bytes.len(), "a reader gives all that it promised");
    bytes
}

/// Names in a directory.
pub fn names(directory: &Path) -> BTreeSet<OsString> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
}

fn remove(path: &PathBuf) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}
