//! What a capture of an SQLite database holds, whatever the database is like.

// Clippy knows tests by their attribute, not what they call.
#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeMap, fs, os::unix::fs::FileExt, process::Command, sync::Arc};

use sha2::{Digest, Sha256};
use support::{Database, EVERYTHING, connect, rows};
use trivault_sources::{
    ErrorKind, Severity, SourceConfig, SourceDriver, Timestamp, open,
    testing::{
        Event, MemoryReader, MemorySink, MemoryStore,
        suite::{captures, every_promise_holds, whole},
    },
    validate,
};

#[test]
fn an_empty_database_keeps_every_promise() {
    every_promise_holds(&Database::new("PRAGMA user_version = 0"));
}

#[test]
fn a_file_without_a_byte_keeps_every_promise() {
    let database = Database::without_file();
    fs::write(&database.path, b"").unwrap();
    every_promise_holds(&database);
}

#[test]
fn a_database_with_everything_keeps_every_promise() {
    every_promise_holds(&Database::new(EVERYTHING));
}

#[test]
fn a_wal_database_keeps_every_promise() {
    let database = Database::new("PRAGMA journal_mode = WAL;");
    database.connect().execute_batch(EVERYTHING).unwrap();
    every_promise_holds(&database);
}

#[test]
fn every_page_size_keeps_every_promise() {
    for shift in 9..=16 {
        let size = 1 << shift;
        let database = Database::new(&format!("PRAGMA page_size = {size}; PRAGMA auto_vacuum = 1; {EVERYTHING}"));
        every_promise_holds(&database);
        let part = captures(database.driver().as_ref(), MemorySink::new(&MemoryStore::new()));
        assert_eq!(part.manifest().details["page_size"], size);
    }
}

#[test]
fn the_inventory_counts_what_a_query_counts() {
    for prefix in ["", "PRAGMA encoding = 'UTF-16le';", "PRAGMA page_size = 512;"] {
        let database = Database::new(&format!("{prefix} {EVERYTHING}"));
        let sink = MemorySink::new(&MemoryStore::new());
        let manifest = database.driver().capture(&sink).unwrap();
        assert_eq!(sink.warnings(), []);
        assert_eq!(manifest.inventory.indexes, 2);
        assert_eq!(manifest.inventory.scopes.len(), 1);
        let scope = &manifest.inventory.scopes[0];
        assert_eq!(scope.name, "_default");
        let counted: BTreeMap<String, u64> =
            scope.collections.iter().map(|table| (table.name.clone(), table.items)).collect();
        let names = [
            "boxes",
            "counted",
            "log",
            "notes",
            "notes_index",
            "odd \" name.with dot",
            "people",
            "prices",
            "settings",
            "texts",
        ];
        assert_eq!(counted.keys().collect::<Vec<_>>(), names);
        let connection = database.connect();
        for (table, items) in counted {
            let sql = format!("SELECT count(*) FROM \"{}\"", table.replace('"', "\"\""));
            let expected: u64 = connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
            assert_eq!(items, expected, "{prefix} {table}");
        }
    }
}

#[test]
fn a_schema_with_text_that_is_not_utf_8_is_captured() {
    let database = Database::new("CREATE TABLE latin(a DEFAULT '~~'); INSERT INTO latin DEFAULT VALUES;");
    let mut bytes = fs::read(&database.path).unwrap();
    let at = bytes.windows(2).position(|pair| pair == b"~~").unwrap();
    bytes[at..at + 2].copy_from_slice(b"\xe9\xe8");
    fs::write(&database.path, bytes).unwrap();
    every_promise_holds(&database);
}

#[test]
fn the_manifest_names_versions_and_mode() {
    use std::os::unix::fs::PermissionsExt;
    let database = Database::new("PRAGMA journal_mode = WAL; PRAGMA user_version = 7; CREATE TABLE t(a);");
    fs::set_permissions(&database.path, fs::Permissions::from_mode(0o640)).unwrap();
    let part = captures(database.driver().as_ref(), MemorySink::new(&MemoryStore::new()));
    let manifest = part.manifest();
    assert_eq!(manifest.versions["sqlite"], rusqlite::version());
    assert_eq!(manifest.versions["sqlite_last_writer"], rusqlite::version());
    assert_eq!(manifest.details["journal_mode"], "wal");
    assert_eq!(manifest.details["user_version"], 7);
    assert_eq!(manifest.details["mode"], 0o640);
}

#[test]
fn commits_that_lie_in_the_log_only_are_captured() {
    let database = Database::new("PRAGMA journal_mode = WAL;");
    let writer = database.connect();
    writer
        .execute_batch("PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(a); INSERT INTO t VALUES('in the log');")
        .unwrap();
    let part = captures(database.driver().as_ref(), MemorySink::new(&MemoryStore::new()));
    let copy = database.beside("copy.db");
    fs::write(&copy, part.bytes(&[b"data"]).unwrap()).unwrap();
    assert_eq!(rows(&connect(&copy), "SELECT a FROM t"), ["Text([105, 110, 32, 116, 104, 101, 32, 108, 111, 103])"]);
}

#[test]
fn a_download_is_opened_by_stock_programs_and_is_the_database() {
    let database = Database::new(EVERYTHING);
    let part = captures(database.driver().as_ref(), MemorySink::new(&MemoryStore::new()));
    let at = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
    let mut download = database.driver().download(Arc::new(MemoryReader::new(&part)), "app-2024", at).unwrap();
    let directory = database.directory.path();
    fs::write(directory.join("app.tar.gz"), whole(download.as_mut())).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(directory).output();
        let output = output.unwrap_or_else(|error| panic!("{program} is needed (apt-get install {program}): {error}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(run("tar", &["-tzf", "app.tar.gz"]), "app-2024.sqlite\n");
    run("tar", &["-xzf", "app.tar.gz"]);
    assert_eq!(fs::read(directory.join("app-2024.sqlite")).unwrap(), fs::read(&database.path).unwrap());
    let query = "SELECT count(*) || ' ' || max(name) FROM people";
    let script =
        format!("import sqlite3; print(sqlite3.connect('app-2024.sqlite').execute(\"{query}\").fetchone()[0])");
    assert_eq!(run("python3", &["-c", &script]), "4 日本語\n");
    assert_eq!(run("sqlite3", &["app-2024.sqlite", "PRAGMA integrity_check", query]), "ok\n4 日本語\n");
}

#[test]
fn a_database_past_the_lock_page_at_one_gib_is_captured_whole() {
    // Sparse: a small database whose header is made to say that it has pages beyond 1 GiB. Nothing but a checker of the
    // free list would mind, and reading holes is cheap.
    let database = Database::new(
        "PRAGMA page_size = 65536; PRAGMA journal_mode = WAL; CREATE TABLE t(a); INSERT INTO t VALUES(randomblob(99));",
    );
    let pages: u32 = (1 << 30) / 65536 + 2;
    let file = fs::OpenOptions::new().write(true).open(&database.path).unwrap();
    file.set_len(u64::from(pages) * 65536).unwrap();
    file.write_all_at(&pages.to_be_bytes(), 28).unwrap();
    file.write_all_at(b"the last page", u64::from(pages - 1) * 65536).unwrap();
    drop(file);
    let part = captures(database.driver().as_ref(), MemorySink::new(&MemoryStore::new()));
    assert_eq!(part.manifest().size, u64::from(pages) * 65536);
    assert_eq!(part.manifest().items, 1);
    let mut digest = Sha256::new();
    let file = fs::File::open(&database.path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    for offset in (0..part.manifest().size).step_by(1 << 20) {
        let read = file.read_at(&mut buffer, offset).unwrap();
        digest.update(&buffer[..read]);
    }
    assert_eq!(part.manifest().streams["data"].sha256, Some(hex::encode(digest.finalize())), "byte for byte");
}

#[test]
fn a_second_capture_stores_only_the_pages_that_changed() {
    let database = Database::new(EVERYTHING);
    let store = MemoryStore::new();
    let part = captures(database.driver().as_ref(), MemorySink::new(&store));
    let before = store.stored_bytes();
    database.connect().execute("UPDATE log SET what = 'changed' WHERE at = 7000", []).unwrap();
    captures(database.driver().as_ref(), MemorySink::new(&store).previous(&part));
    let added = store.stored_bytes() - before;
    assert!(added > 0 && added <= 2 * 16 * 1024, "{added} bytes were added: the header's chunk and the row's");
}

#[test]
fn a_capture_of_an_idle_wal_database_leaves_an_empty_log_at_most() {
    use std::os::unix::fs::MetadataExt;
    let database = Database::new("PRAGMA journal_mode = WAL; CREATE TABLE t(a);");
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if is_root {
        std::os::unix::fs::chown(&database.path, Some(1234), Some(2345)).unwrap();
    }
    let before = fs::read(&database.path).unwrap();
    captures(database.driver().as_ref(), MemorySink::new(&MemoryStore::new()));
    // A connection that only reads has to make these two and may not remove them; the owner's next program uses them.
    assert_eq!(database.names(), ["app.db", "app.db-shm", "app.db-wal"]);
    assert_eq!(fs::metadata(database.beside("app.db-wal")).unwrap().len(), 0);
    if is_root {
        assert_eq!(fs::metadata(database.beside("app.db-shm")).unwrap().uid(), 1234);
    }
    assert!(fs::read(&database.path).unwrap() == before, "the database itself is not touched");
}

#[test]
fn a_capture_that_is_cancelled_on_the_way_lets_writers_go_on_at_once() {
    let database = Database::new(EVERYTHING);
    let sink = MemorySink::new(&MemoryStore::new()).cancel_at(256 * 1024);
    assert_eq!(database.driver().capture(&sink).unwrap_err().kind, ErrorKind::Cancelled);
    assert!(sink.is_empty(), "no stream becomes visible");
    let writer = database.connect();
    writer.busy_timeout(std::time::Duration::ZERO).unwrap();
    writer.execute("DELETE FROM log", []).unwrap();
    assert_eq!(database.names(), ["app.db"]);
}

#[test]
fn a_lock_that_was_lost_behind_our_back_fails_the_capture() {
    let database = Database::new(EVERYTHING);
    let path = database.path.clone();
    let sink = MemorySink::new(&MemoryStore::new()).listen(move |event| {
        if matches!(event, Event::Begin(_)) {
            // Closing any descriptor of the file drops the locks of the process; then somebody else commits.
            drop(fs::File::open(&path).unwrap());
            let script =
                "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('DELETE FROM log'); c.commit()";
            let status = Command::new("python3").args(["-c", script]).arg(&path).status().unwrap();
            assert!(status.success());
        }
    });
    let error = database.driver().capture(&sink).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
}

/// The worst finding's sentence and hint.
fn worst(driver: &dyn SourceDriver) -> (Severity, String, String) {
    let finding = driver.probe().into_iter().max_by_key(|finding| finding.severity).unwrap();
    (finding.severity, finding.sentence, finding.hint.unwrap_or_default())
}

#[test]
fn a_probe_of_a_good_database_finds_nothing_wrong() {
    let database = Database::new("PRAGMA journal_mode = WAL; CREATE TABLE t(a);");
    let (severity, sentence, _) = worst(database.driver().as_ref());
    assert_eq!(severity, Severity::Fine);
    assert!(
        sentence.contains("is an SQLite database of 8192 bytes with 1 tables, in journal mode `wal`"),
        "{sentence}"
    );
    assert_eq!(database.driver().estimate().unwrap().bytes, Some(8192));
}

#[test]
fn a_missing_file_is_named() {
    let database = Database::without_file();
    let (severity, sentence, hint) = worst(database.driver().as_ref());
    assert_eq!((severity, sentence), (Severity::Error, format!("There is no file at {}.", database.path.display())));
    assert!(!hint.is_empty());
    let sink = MemorySink::new(&MemoryStore::new());
    assert_eq!(database.driver().capture(&sink).unwrap_err().kind, ErrorKind::Missing);
    assert_eq!(database.names(), [""; 0], "looking makes no file");
}

#[test]
fn a_file_that_is_not_a_database_is_refused() {
    let database = Database::without_file();
    fs::write(&database.path, b"not a database, and long enough to be looked at as one".repeat(100)).unwrap();
    let (severity, sentence, _) = worst(database.driver().as_ref());
    assert_eq!(severity, Severity::Error);
    assert!(sentence.ends_with("is not an SQLite database, or it is encrypted."), "{sentence}");
    let sink = MemorySink::new(&MemoryStore::new());
    assert_eq!(database.driver().capture(&sink).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn a_directory_is_not_a_database() {
    let database = Database::without_file();
    fs::create_dir(&database.path).unwrap();
    let (severity, sentence, _) = worst(database.driver().as_ref());
    assert_eq!((severity, sentence), (Severity::Error, format!("{} is not a file.", database.path.display())));
}

#[test]
fn an_exclusive_lock_is_worth_a_retry() {
    let database = Database::new("CREATE TABLE t(a);");
    let owner = database.connect();
    owner.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let sink = MemorySink::new(&MemoryStore::new());
    let error = database.driver().capture(&sink).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.sentence.starts_with("Another program holds an exclusive lock on"), "{}", error.sentence);
}

#[test]
fn configurations_that_no_driver_could_use_are_refused() {
    let config = |kind: &str, location: &str| SourceConfig {
        kind: kind.into(),
        location: location.into(),
        options: serde_json::Map::new(),
        never_capture: Vec::new(),
        secret: None,
    };
    assert!(validate(&config("sqlite", "/srv/app.db")).is_ok());
    for (kind, location, expected) in [
        ("sqlite", "app.db", ErrorKind::Invalid),
        ("sqlite", "/srv/", ErrorKind::Invalid),
        ("sqlite", "/srv/a\0b", ErrorKind::Invalid),
        ("mongodb", "/srv/x", ErrorKind::Unsupported),
    ] {
        let error = open(&config(kind, location)).err().unwrap();
        assert_eq!(error.kind, expected, "{kind} {location}");
    }
    let mut with_option = config("sqlite", "/srv/app.db");
    with_option.options.insert("exclude".into(), serde_json::Value::Null);
    assert!(validate(&with_option).unwrap_err().sentence.contains("no option `exclude`"));
}
