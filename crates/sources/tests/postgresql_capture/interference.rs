//! What others do while a capture begins and runs.

use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use trivault_sources::{
    ErrorKind, Secret, SourceConfig, SourceDriver, open,
    testing::{Event, MemorySink, MemoryStore},
};

use crate::{
    sink::{Stoppable, Told},
    support::{Database, as_user, digests, driver},
};

const ROWS: &str = "CREATE TABLE acct (id int PRIMARY KEY, owner text);
    INSERT INTO acct SELECT n, md5(n::text) FROM generate_series(1, 5000) n;";

/// Captures, and runs `script` each time the snapshot was taken and the locks were not, `times` times.
fn with_changes_before_the_locks(
    script: &'static str,
    times: u32,
) -> Option<(Database, trivault_sources::Result<u64>, u32)> {
    let database = Database::new(ROWS)?;
    let (url, seen) = (database.url.clone(), Arc::new(AtomicU32::new(0)));
    let count = Arc::clone(&seen);
    let told = Told {
        inner: MemorySink::new(&database.store),
        on_line: move |line: &str| {
            if line.contains("was taken") && count.fetch_add(1, Ordering::SeqCst) < times {
                crate::support::psql(&url, script);
            }
        },
    };
    let result = database.driver().capture(&told);
    let result = result.map(|manifest| {
        let part = told.inner.into_part(manifest);
        database.assert_same(&part);
        part.manifest().items
    });
    Some((database, result, seen.load(Ordering::SeqCst)))
}

#[test]
fn a_table_truncated_before_it_was_locked_is_seen_as_it_is() {
    let script = "TRUNCATE acct; INSERT INTO acct VALUES (1, 'after')";
    let Some((_, result, snapshots)) = with_changes_before_the_locks(script, 1) else { return };
    assert_eq!((result.unwrap(), snapshots), (1, 2), "a second snapshot sees the new row");
}

#[test]
fn a_table_rewritten_before_it_was_locked_is_not_taken_for_empty() {
    let script = "ALTER TABLE acct ALTER id TYPE bigint";
    let Some((_, result, snapshots)) = with_changes_before_the_locks(script, 1) else { return };
    assert_eq!((result.unwrap(), snapshots), (5000, 2));
}

#[test]
fn an_index_built_anew_before_its_table_was_locked_does_not_confuse_the_table_of_contents() {
    let script = "ALTER TABLE acct DROP CONSTRAINT acct_pkey; ALTER TABLE acct ADD PRIMARY KEY (id)";
    let Some((_, result, snapshots)) = with_changes_before_the_locks(script, 1) else { return };
    assert_eq!((result.unwrap(), snapshots), (5000, 2));
}

#[test]
fn a_table_dropped_before_it_was_locked_is_gone() {
    let Some((_, result, snapshots)) = with_changes_before_the_locks("DROP TABLE IF EXISTS acct", 1) else { return };
    assert_eq!((result.unwrap(), snapshots), (0, 2));
}

#[test]
fn tables_that_are_rewritten_again_and_again_fail_the_capture() {
    let Some((_, result, snapshots)) = with_changes_before_the_locks("TRUNCATE acct", 99) else { return };
    let error = result.unwrap_err();
    assert_eq!((error.kind, snapshots), (ErrorKind::Unavailable, 4));
    assert!(error.sentence.contains("4 times"), "{error:?}");
}

#[test]
fn a_lock_that_cannot_be_had_is_explained() {
    let Some(database) = Database::new(ROWS) else { return };
    let mut holder = hold(&database, "BEGIN; LOCK TABLE acct; SELECT pg_sleep(60)");
    let error = database
        .driver_with(&database.url, json!({"lock_timeout_seconds": 1}))
        .capture(&MemorySink::new(&database.store));
    holder.kill().unwrap();
    holder.wait().unwrap();
    let error = error.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    let sentence = &error.sentence;
    assert!(
        sentence.contains("public.acct is held by process") && sentence.contains("of user postgres (psql) since"),
        "{sentence}"
    );
}

#[test]
fn a_change_that_waits_for_us_does_not_make_us_wait_for_it() {
    let Some(database) = Database::new(ROWS) else { return };
    let url = database.url.clone();
    let waiting = std::sync::Mutex::new(None);
    let told = Told {
        inner: MemorySink::new(&database.store),
        on_line: |line: &str| {
            let mut waiting = waiting.lock().unwrap();
            if line.contains("are locked against") && waiting.is_none() {
                *waiting = Some(hold(&database, "ALTER TABLE acct ADD COLUMN more int"));
            }
        },
    };
    // pg_dump stands behind it and gives up; then our locks are gone for a moment, and both get what they want.
    let manifest = database.driver_with(&url, json!({"lock_timeout_seconds": 1})).capture(&told).unwrap();
    assert!(waiting.lock().unwrap().take().unwrap().wait().unwrap().success());
    let part = told.inner.into_part(manifest);
    assert_eq!(part.manifest().items, 5000);
}

#[test]
fn rows_whose_table_somebody_waits_to_change_are_read_all_the_same() {
    let Some(database) = Database::new(ROWS) else { return };
    database.run("CREATE TABLE first AS SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n");
    let url = database.url.clone();
    let waiting = Arc::new(std::sync::Mutex::new(None));
    let held = Arc::clone(&waiting);
    let server = database.server;
    // While the larger table is read, somebody wants to change the smaller one.
    let sink = MemorySink::new(&database.store).listen(move |event| {
        // Its list of blocks begins too, later.
        let begins_first = matches!(event, Event::Begin(path) if path.len() == 3 && path[1] == b"public.first");
        if begins_first && held.lock().unwrap().is_none() {
            let child = statement(&url, "TRUNCATE acct");
            until(|| server.query(&url, "SELECT count(*) FROM pg_locks WHERE NOT granted").trim() == "1");
            *held.lock().unwrap() = Some(child);
        }
    });
    let manifest = database.driver_with(&database.url, json!({"workers": 1})).capture(&sink).unwrap();
    assert_eq!(manifest.items, 25_000);
    assert!(sink.lines().iter().any(|line| line.contains("waits to change public.acct")), "{:?}", sink.lines());
    let mut waiting = waiting.lock().unwrap().take().unwrap();
    assert!(waiting.wait().unwrap().success(), "and then it can");
}

#[test]
fn time_limits_of_the_role_do_not_end_a_capture() {
    let Some(database) = Database::new(ROWS) else { return };
    database.run(
        "CREATE ROLE hasty LOGIN SUPERUSER; ALTER ROLE hasty SET statement_timeout = '1ms';
         ALTER ROLE hasty SET lock_timeout = '1ms'; ALTER ROLE hasty SET idle_in_transaction_session_timeout = '1ms';
         ALTER ROLE hasty SET default_transaction_isolation = 'serializable'; ALTER ROLE hasty SET search_path = 'nowhere';",
    );
    for (limit, since) in [("idle_session_timeout", 140_000), ("transaction_timeout", 170_000)] {
        database.run(&format!(
            "DO $$ BEGIN IF current_setting('server_version_num')::int >= {since} THEN \
             ALTER ROLE hasty SET {limit} = '1ms'; END IF; END $$"
        ));
    }
    let sink = MemorySink::new(&database.store);
    let manifest = driver(&as_user(&database.url, "hasty"), json!({})).capture(&sink).unwrap();
    assert_eq!(sink.warnings(), []);
    database.assert_same(&sink.into_part(manifest));
}

#[test]
fn a_connection_that_breaks_fails_the_capture() {
    let Some(database) = Database::new(ROWS) else { return };
    let (url, server) = (database.url.clone(), database.server);
    let sink = MemorySink::new(&database.store).listen(move |event| {
        if matches!(event, Event::Begin(path) if path.len() == 3 && path[2] == b"0000.copy") {
            server.query(
                &url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trivault backup'",
            );
        }
    });
    database.run("INSERT INTO acct SELECT n, repeat('x', 1000) FROM generate_series(10000, 40000) n");
    let error = database.driver().capture(&sink).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
}

#[test]
fn a_server_that_crashes_fails_the_capture() {
    // A crash ends every connection to the server.
    let Some(database) = Database::on_own_server(ROWS) else { return };
    let (url, server) = (database.url.clone(), database.server);
    let sink = MemorySink::new(&database.store).listen(move |event| {
        if matches!(event, Event::Begin(path) if path.len() == 3 && path[2] == b"0000.copy") {
            let process = server.query(
                &url,
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'trivault backup' ORDER BY backend_start LIMIT 1",
            );
            assert!(Command::new("kill").args(["-KILL", process.trim()]).status().unwrap().success());
        }
    });
    database.run("INSERT INTO acct SELECT n, repeat('x', 1000) FROM generate_series(10000, 40000) n");
    let error = database.driver().capture(&sink).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
}

#[test]
fn a_password_changed_while_a_capture_runs_is_noticed() {
    let Some(database) = Database::on_own_server(ROWS) else { return };
    database.run("SET password_encryption = 'scram-sha-256'; CREATE ROLE guarded LOGIN SUPERUSER PASSWORD 'one'");
    let access = database.server.socket_folder().join("data/pg_hba.conf");
    let rules = fs::read_to_string(&access).unwrap();
    fs::write(&access, format!("local all guarded scram-sha-256\n{rules}")).unwrap();
    database.query("SELECT pg_reload_conf()");
    let config = SourceConfig {
        kind: "postgresql".to_owned(),
        location: as_user(&database.url, "guarded"),
        options: serde_json::Map::new(),
        never_capture: Vec::new(),
        secret: Some(Secret::new("one")),
    };
    let driver: Box<dyn SourceDriver> = open(&config).unwrap();
    until(|| driver.estimate().is_ok());
    driver.capture(&MemorySink::new(&MemoryStore::new())).unwrap();
    let url = database.url.clone();
    let told = Told {
        inner: MemorySink::new(&database.store),
        on_line: move |line: &str| {
            if line.contains("was taken") {
                crate::support::psql(&url, "ALTER ROLE guarded PASSWORD 'two'");
            }
        },
    };
    let error = driver.capture(&told).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.sentence.contains("guarded") && error.sentence.contains("password"), "{error:?}");
    assert!(!format!("{error:?}").contains("two") && !format!("{error:?}").contains("one\""), "{error:?}");
}

#[test]
fn a_capture_that_is_told_to_stop_stops() {
    let Some(database) = Database::new(ROWS) else { return };
    let sink = MemorySink::new(&database.store).cancel_at(0);
    assert_eq!(database.driver().capture(&sink).unwrap_err().kind, ErrorKind::Cancelled);
    database.run("INSERT INTO acct SELECT n, repeat('x', 1000) FROM generate_series(10000, 40000) n");
    let sink = MemorySink::new(&database.store).cancel_at(1_000_000);
    assert_eq!(database.driver().capture(&sink).unwrap_err().kind, ErrorKind::Cancelled);
    let sink = MemorySink::new(&database.store).fail_at(1_000_000);
    assert_eq!(database.driver().capture(&sink).unwrap_err().kind, ErrorKind::Store);
    until(|| database.query("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'trivault%'") == "0");
    assert_eq!(digests(&database.url).len(), 1);
}

#[test]
fn a_capture_that_waits_for_a_lock_stops_within_a_second() {
    let Some(database) = Database::new(ROWS) else { return };
    let mut holder = hold(&database, "BEGIN; LOCK TABLE acct; SELECT pg_sleep(60)");
    let cancelled = Arc::new(AtomicU32::new(0));
    let began = std::sync::Mutex::new(None);
    let told = Told {
        inner: MemorySink::new(&database.store).cancel_at(u64::MAX),
        on_line: |line: &str| {
            if line.contains("was taken") {
                *began.lock().unwrap() = Some(Instant::now());
                cancelled.store(1, Ordering::SeqCst);
            }
        },
    };
    let stoppable = Stoppable { inner: told, cancelled: Arc::clone(&cancelled) };
    let error = database.driver().capture(&stoppable).unwrap_err();
    let waited = began.lock().unwrap().unwrap().elapsed();
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

/// A session of somebody else, which has what it wants or waits for it when this answers.
fn hold(database: &Database, script: &str) -> Child {
    let child = statement(&database.url, script);
    let locks =
        "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation::regclass::text = 'acct'";
    until(|| database.query(locks) == "1");
    child
}

fn statement(url: &str, script: &str) -> Child {
    Command::new("psql").args(["-X", "-q", "-d", url, "-c", script]).stdout(Stdio::null()).spawn().unwrap()
}

/// Waits for what will come about, at most half a minute.
fn until(reached: impl Fn() -> bool) {
    let began = Instant::now();
    while !reached() {
        assert!(began.elapsed() < Duration::from_secs(30), "it did not come about");
        std::thread::sleep(Duration::from_millis(20));
    }
}
