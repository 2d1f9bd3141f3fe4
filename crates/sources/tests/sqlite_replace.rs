//! A stored database over the live one: refused while it is in use, swapped in one step, finished after a crash.

// Clippy knows tests by their attribute, not what they call.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, Once},
};

use support::{Database, EVERYTHING, connect, rows};
use trivault_sources::{
    CaptureManifest, Conflict, ErrorKind, Interrupted, PartReader, PartRestorePlan, Progress, RandomRead,
    RestoreTarget, Result, Selection, StoredNode, Warning,
    testing::{
        MemoryPart, MemoryReader, MemorySink, MemoryStore,
        suite::{captures, request},
    },
};

const COUNT: &str = "SELECT count(*) FROM log";

/// A captured database that was changed afterwards.
struct Changed {
    database: Database,
    part: Arc<MemoryPart>,
}

impl Changed {
    fn new(journal_mode: &str) -> Self {
        let database = Database::new(&format!("PRAGMA journal_mode = {journal_mode}; {EVERYTHING}"));
        let part = captures(database.driver().as_ref(), MemorySink::new(&MemoryStore::new()));
        database.connect().execute("DELETE FROM log", []).unwrap();
        Self { database, part }
    }

    fn plan(&self) -> PartRestorePlan {
        self.try_plan().unwrap()
    }

    fn try_plan(&self) -> Result<PartRestorePlan> {
        let request = request(RestoreTarget::InPlace, Conflict::Replace);
        self.database.driver().plan_restore(&MemoryReader::new(&self.part), &request)
    }

    fn kept(&self) -> PathBuf {
        self.database.beside("app.db.before-suite")
    }

    fn temporary(&self) -> PathBuf {
        self.database.beside(".trivault-suite.db")
    }

    fn assert_restored(&self) {
        assert!(fs::read(&self.database.path).unwrap() == self.part.bytes(&[b"data"]).unwrap(), "byte for byte");
    }

    fn assert_untouched(&self) {
        assert_eq!(rows(&self.database.connect(), COUNT), ["Integer(0)"]);
        let left: Vec<String> = self.database.names().into_iter().filter(|name| name.contains("suite")).collect();
        assert_eq!(left, [""; 0]);
    }

    fn resume(&self, plan: &PartRestorePlan) -> Interrupted {
        self.database.driver().resume_restore(plan).unwrap()
    }
}

/// Calls something when the restore has written its first bytes.
struct Hooked<F> {
    inner: MemoryReader,
    once: Once,
    hook: F,
}

impl<F: Fn() + Send + Sync> PartReader for Hooked<F> {
    fn manifest(&self) -> &CaptureManifest {
        self.inner.manifest()
    }
    fn list(&self, path: &[&[u8]]) -> Result<Vec<StoredNode>> {
        self.inner.list(path)
    }
    fn open(&self, path: &[&[u8]]) -> Result<Box<dyn RandomRead>> {
        self.inner.open(path)
    }
    fn is_cancelled(&self) -> bool {
        self.inner.is_cancelled()
    }
    fn progress(&self, _: Progress) {
        self.once.call_once(|| (self.hook)());
    }
    fn warn(&self, warning: Warning) {
        self.inner.warn(warning);
    }
    fn log(&self, line: &str) {
        self.inner.log(line);
    }
}

/// Another program that has the database open and does nothing, until dropped.
struct Idle(Child);

impl Idle {
    fn new(database: &Database) -> Self {
        let script = "import sqlite3, sys\n\
            c = sqlite3.connect(sys.argv[1]); c.execute('select count(*) from log').fetchall()\n\
            print('open', flush=True); sys.stdin.read()";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .arg(&database.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "open\n");
        Self(child)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn the_live_database_is_exchanged_and_the_old_one_kept() {
    for mode in ["delete", "wal", "persist"] {
        let changed = Changed::new(mode);
        let database = &changed.database;
        fs::set_permissions(&database.path, fs::Permissions::from_mode(0o640)).unwrap();
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        if is_root {
            std::os::unix::fs::chown(&database.path, Some(1234), Some(2345)).unwrap();
        }
        let plan = changed.plan();
        let before = database.names();
        assert!(plan.steps.iter().any(|step| step.contains("app.db.before-suite")), "{:?}", plan.steps);
        assert_eq!(before, database.names(), "planning touches nothing");
        let reader = MemoryReader::new(&changed.part);
        let outcome = database.driver().restore(&reader, &plan).unwrap();
        assert_eq!(outcome.kept_aside, [changed.kept()]);
        assert_eq!(outcome.bytes_written, changed.part.manifest().size);
        assert_eq!(database.names(), ["app.db", "app.db.before-suite"], "{mode}");
        changed.assert_restored();
        let found = fs::metadata(&database.path).unwrap();
        assert_eq!(found.mode() & 0o7777, 0o640);
        if is_root {
            assert_eq!((found.uid(), found.gid()), (1234, 2345));
        }
        assert_eq!(rows(&database.connect(), COUNT), ["Integer(20000)"]);
        assert_eq!(rows(&connect(&changed.kept()), COUNT), ["Integer(0)"]);
        assert_eq!(reader.warnings(), []);
    }
}

#[test]
fn a_restore_is_refused_while_another_program_has_the_database_open() {
    for mode in ["delete", "wal"] {
        let changed = Changed::new(mode);
        let idle = Idle::new(&changed.database);
        let error = changed.try_plan().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert!(error.sentence.contains("is open in another program: python3"), "{}", error.sentence);
        assert!(error.hint.unwrap().starts_with("Stop the application first"));
        drop(idle);
        changed.try_plan().unwrap();
    }
}

#[test]
fn a_program_that_opens_the_database_during_the_restore_stops_it_before_the_swap() {
    for mode in ["delete", "wal"] {
        let changed = Changed::new(mode);
        let plan = changed.plan();
        let idle = Mutex::new(None);
        let reader = Hooked {
            inner: MemoryReader::new(&changed.part),
            once: Once::new(),
            hook: || *idle.lock().unwrap() = Some(Idle::new(&changed.database)),
        };
        let error = changed.database.driver().restore(&reader, &plan).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{mode}: {error:?}");
        drop(idle.into_inner().unwrap());
        changed.assert_untouched();
        assert_eq!(rows(&changed.database.connect(), "PRAGMA journal_mode"), [format!("Text({:?})", mode.as_bytes())]);
    }
}

#[test]
fn a_damaged_live_database_is_replaced_and_kept_with_its_log() {
    let changed = Changed::new("delete");
    let garbage = b"garbage".repeat(1000);
    fs::write(&changed.database.path, &garbage).unwrap();
    fs::write(changed.database.beside("app.db-wal"), b"a log that nobody can read").unwrap();
    let plan = changed.plan();
    changed.database.driver().restore(&MemoryReader::new(&changed.part), &plan).unwrap();
    changed.assert_restored();
    assert_eq!(changed.database.names(), ["app.db", "app.db.before-suite", "app.db.before-suite-wal"]);
    assert_eq!(fs::read(changed.kept()).unwrap(), garbage);
}

#[test]
fn a_file_that_was_replaced_after_the_plan_is_not_touched() {
    let changed = Changed::new("delete");
    let plan = changed.plan();
    fs::copy(&changed.database.path, changed.database.beside("other")).unwrap();
    fs::rename(changed.database.beside("other"), &changed.database.path).unwrap();
    let error = changed.database.driver().restore(&MemoryReader::new(&changed.part), &plan).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    changed.assert_untouched();
}

#[test]
fn a_restore_that_is_cancelled_or_fails_leaves_the_live_database_alone() {
    let changed = Changed::new("wal");
    let half = changed.part.manifest().size / 2;
    for (reader, kind) in [
        (MemoryReader::new(&changed.part).cancel_at(half), ErrorKind::Cancelled),
        (MemoryReader::new(&changed.part).fail_at(half), ErrorKind::Store),
    ] {
        let plan = changed.plan();
        assert_eq!(changed.database.driver().restore(&reader, &plan).unwrap_err().kind, kind);
        changed.assert_untouched();
    }
}

#[test]
fn a_crash_while_the_new_file_is_written_leaves_nothing() {
    let changed = Changed::new("delete");
    let plan = changed.plan();
    fs::write(changed.temporary(), b"half of it").unwrap();
    assert!(plan.temporary.contains(&changed.temporary()), "the plan names it");
    assert_eq!(changed.resume(&plan), Interrupted::NothingTouched);
    changed.assert_untouched();
    assert_eq!(changed.resume(&plan), Interrupted::NothingTouched);
}

#[test]
fn a_crash_after_wal_mode_was_ended_brings_it_back() {
    let changed = Changed::new("wal");
    let plan = changed.plan();
    fs::write(changed.temporary(), b"all of it").unwrap();
    let _: String = changed.database.connect().query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0)).unwrap();
    assert_eq!(changed.resume(&plan), Interrupted::NothingTouched);
    changed.assert_untouched();
    assert_eq!(rows(&changed.database.connect(), "PRAGMA journal_mode"), [format!("Text({:?})", b"wal")]);
}

#[test]
fn a_crash_before_the_swap_of_a_damaged_database_puts_its_log_back() {
    let changed = Changed::new("delete");
    fs::write(&changed.database.path, b"garbage").unwrap();
    let plan = changed.plan();
    fs::write(changed.temporary(), b"all of it").unwrap();
    fs::write(changed.database.beside("app.db.before-suite-wal"), b"its log").unwrap();
    assert_eq!(changed.resume(&plan), Interrupted::NothingTouched);
    assert_eq!(changed.database.names(), ["app.db", "app.db-wal"]);
}

#[test]
fn a_crash_between_the_exchange_and_the_last_rename_is_finished() {
    let changed = Changed::new("wal");
    let plan = changed.plan();
    changed.database.driver().restore(&MemoryReader::new(&changed.part), &plan).unwrap();
    fs::rename(changed.kept(), changed.temporary()).unwrap();
    for _ in 0..2 {
        assert_eq!(changed.resume(&plan), Interrupted::Finished);
        assert_eq!(changed.database.names(), ["app.db", "app.db.before-suite"]);
        changed.assert_restored();
    }
    assert_eq!(rows(&connect(&changed.kept()), COUNT), ["Integer(0)"]);
}

#[test]
fn a_live_database_that_is_gone_is_simply_written_again() {
    for conflict in [Conflict::Replace, Conflict::AddMissing, Conflict::UpdateDiffering] {
        let changed = Changed::new("delete");
        fs::remove_file(&changed.database.path).unwrap();
        let reader = MemoryReader::new(&changed.part);
        let driver = changed.database.driver();
        let plan = driver.plan_restore(&reader, &request(RestoreTarget::InPlace, conflict)).unwrap();
        driver.restore(&reader, &plan).unwrap();
        changed.assert_restored();
        assert_eq!(changed.database.names(), ["app.db"]);
    }
}

#[test]
fn a_stale_log_beside_the_target_is_refused() {
    let changed = Changed::new("delete");
    let target = changed.database.beside("new.db");
    fs::write(changed.database.beside("new.db-wal"), b"stale").unwrap();
    let request = request(RestoreTarget::NewPath(target.clone()), Conflict::Replace);
    let error = changed.database.driver().plan_restore(&MemoryReader::new(&changed.part), &request).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.sentence.contains("new.db-wal"), "{}", error.sentence);
    assert!(!target.exists());
}

#[test]
fn what_a_replacement_cannot_do_is_refused_with_what_would_do() {
    let changed = Changed::new("delete");
    let driver = changed.database.driver();
    let mut some = request(RestoreTarget::InPlace, Conflict::Replace);
    some.selection = Selection { include: vec!["_default.log".into()], ..Selection::default() };
    let error = driver.plan_restore(&MemoryReader::new(&changed.part), &some).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.hint.unwrap().contains("item by item"));
    let sink = MemorySink::new(&MemoryStore::new());
    let manifest = CaptureManifest { kind: "directory".into(), ..CaptureManifest::default() };
    let foreign = sink.into_part(manifest);
    let whole = request(RestoreTarget::InPlace, Conflict::Replace);
    let error = driver.plan_restore(&MemoryReader::new(&foreign), &whole).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    changed.assert_untouched();
}

#[test]
fn a_database_that_was_damaged_when_it_was_captured_is_not_put_in_place() {
    let database = Database::new(EVERYTHING);
    let length = fs::metadata(&database.path).unwrap().len() as usize;
    let mut bytes = fs::read(&database.path).unwrap();
    bytes[length / 2..length / 2 + 20_000].fill(0xaa);
    fs::write(&database.path, bytes).unwrap();
    let part = captures(database.driver().as_ref(), MemorySink::new(&MemoryStore::new()));
    let target = database.beside("new.db");
    let reader = MemoryReader::new(&part);
    let request = request(RestoreTarget::NewPath(target), Conflict::Replace);
    let plan = database.driver().plan_restore(&reader, &request).unwrap();
    let error = database.driver().restore(&reader, &plan).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error:?}");
    assert!(error.hint.unwrap().contains("download"), "the bytes can still be had");
    assert_eq!(database.names(), ["app.db"]);
}
