//! Servers that are killed, and disks that are full, while a restore works.

use std::{
    fs,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use trivault_sources::{
    CaptureManifest, Conflict, ErrorKind, Interrupted, PartReader, Progress, RandomRead, Result, StoredNode, Warning,
    testing::MemoryReader,
};
use trivault_testkit::postgres::{PostgresServer, Variant};

use crate::support::{Database, in_place, new_database, restored};

/// Kills the server once: with the first rows, or in the middle of the last definitions.
struct Killer<'a> {
    inner: MemoryReader,
    source: &'a Database,
    at_rows: bool,
    state: Mutex<State>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    /// All rows have been copied.
    Copied,
    Killed,
}

impl Killer<'_> {
    fn kill(&self, state: &mut State) {
        self.source.server.crash();
        *state = State::Killed;
    }
}

impl PartReader for Killer<'_> {
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
        // The watch of a restore asks all the time: so this also comes while nobody but the server works.
        let indexing = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'CREATE INDEX%'";
        let mut state = self.state.lock().unwrap();
        if !self.at_rows && *state == State::Copied && self.source.admin(indexing).trim() != "0" {
            self.kill(&mut state);
        }
        false
    }
    fn progress(&self, progress: Progress) {
        self.inner.progress(progress);
        let mut state = self.state.lock().unwrap();
        if self.at_rows && progress.items > 0 && *state == State::Waiting {
            self.kill(&mut state);
        }
    }
    fn warn(&self, warning: Warning) {
        self.inner.warn(warning);
    }
    fn log(&self, line: &str) {
        self.inner.log(line);
        let mut state = self.state.lock().unwrap();
        if line.starts_with("copied") && *state == State::Waiting {
            *state = State::Copied;
        }
    }
}

#[test]
fn a_server_that_is_killed_in_the_middle_has_nothing_half_done_when_it_is_back() {
    let settings = vec!["synchronous_commit=on".to_owned()];
    let Some(server) = PostgresServer::own(&Variant { settings, ..Variant::default() }) else { return };
    // Whose process it dies with, as the shared one does.
    let server: &'static PostgresServer = Box::leak(Box::new(server));
    let source = Database::on(
        server,
        "killed",
        "CREATE FUNCTION slow(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS \
         $$ BEGIN IF current_database() <> 'killed' AND i = 1 THEN PERFORM pg_sleep(30); END IF; RETURN i; END $$; \
         CREATE TABLE t (id int, x text); INSERT INTO t SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 20000) i; \
         CREATE INDEX ON t (slow(id))",
    );
    let part = source.capture();
    let driver = source.driver();
    let before = source.digest();
    for at_rows in [true, false] {
        for request in [new_database("killed2"), in_place(Conflict::Replace)] {
            let plan = driver.plan_restore(&MemoryReader::new(&part), &request).unwrap();
            let inner = MemoryReader::new(&part);
            let reader = Killer { inner, source: &source, at_rows, state: Mutex::new(State::Waiting) };
            let error = driver.restore(&reader, &plan).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Unavailable, "at the rows: {at_rows}: {error:?}");
            assert!(error.hint.is_some(), "{error:?}");
            assert!(*reader.state.lock().unwrap() == State::Killed);
            assert_eq!(driver.resume_restore(&plan).unwrap_err().kind, ErrorKind::Unavailable, "it is still away");
            server.restart();
            assert_eq!(source.databases().len(), 2, "what the restore began is still there");
            assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::NothingTouched);
            assert_eq!(source.databases(), ["killed"]);
            assert_eq!(source.digest(), before);
        }
    }
    server.crash();
}

/// A small file system that belongs to the server.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where nothing may be mounted.
    fn at(path: &Path, size: &str, server: &PostgresServer) -> Option<Self> {
        fs::create_dir(path).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(path).output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            println!("nothing can be mounted here: what needs it is not tested");
            return None;
        }
        let disk = Self(path.to_owned());
        let owner = fs::metadata(server.socket_folder().join("data")).unwrap();
        chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
        Some(disk)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_of_the_server_is_told_and_leaves_only_the_source() {
    let Some(source) = Database::new("filled", "") else { return };
    let Some(disk) = SmallDisk::at(&source.server.socket_folder().join("small"), "24m", source.server) else { return };
    source.admin(&format!("CREATE TABLESPACE small LOCATION '{}'", disk.0.display()));
    source.sql(
        "CREATE TABLE t (id int, x text) TABLESPACE small; \
         INSERT INTO t SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 20000) i",
    );
    let part = source.capture();
    let driver = source.driver();
    let before = source.digest();
    let plan = driver.plan_restore(&MemoryReader::new(&part), &new_database("filled2")).unwrap();
    let error = driver.restore(&MemoryReader::new(&part), &plan).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Full, "{error:?}");
    assert!(error.hint.as_ref().unwrap().contains("disk"), "{error:?}");
    assert_eq!(source.databases(), ["filled"]);
    assert_eq!(source.digest(), before);
    // Where there is room it comes.
    source.sql("ALTER TABLE t SET TABLESPACE pg_default");
    restored(driver.as_ref(), &part, &new_database("filled3"));
    assert_eq!(source.named("filled3").sql("SELECT count(*) FROM t").trim(), "20000");
    source.admin("DROP DATABASE filled3");
    source.admin("DROP TABLESPACE small");
}
