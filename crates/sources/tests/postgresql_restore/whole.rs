//! Whole databases into new ones.

use trivault_sources::{
    CaptureSink, Conflict, Cutting, ErrorKind, RestoreTarget, Selection, StreamOptions,
    testing::{MemoryReader, MemorySink, MemoryStore, suite::captures},
};

use crate::support::{Database, EVERYTHING, new_database, only, quote, restore, restored, to};

#[test]
fn everything_that_a_database_can_hold_comes_back() {
    let Some(source) = Database::new("everything", EVERYTHING) else { return };
    let part = source.capture();
    let reader = MemoryReader::new(&part);
    let (plan, outcome) = restore(source.driver().as_ref(), &reader, &new_database("everything2")).unwrap();
    assert!(plan.steps.iter().any(|step| step.contains("everything2__tv_j1")), "{:?}", plan.steps);
    assert_eq!(source.named("everything2").digest(), source.digest());
    assert_eq!(outcome.items, part.manifest().items, "rows of the manifest");
    assert_eq!(reader.last_progress().items, outcome.items);
    assert_eq!(reader.last_progress().bytes_total, Some(plan.bytes));
    assert_eq!(outcome.kept_aside, Vec::<std::path::PathBuf>::new());
    assert_eq!(source.databases(), ["everything", "everything2"], "nothing else is left");
    // Statistics are there: a planner without them guesses.
    let planner = source.named("everything2").sql("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'account'");
    assert_eq!(planner.trim(), "t");
}

#[test]
fn what_belongs_to_the_database_itself_comes_back() {
    let Some(source) = Database::new("itself", "CREATE TABLE t (id int)") else { return };
    source.admin(
        "CREATE ROLE itself_owner; CREATE ROLE itself_guest; ALTER DATABASE itself OWNER TO itself_owner; \
         ALTER DATABASE itself SET search_path TO \"$user\", public, \"odd, schema\"; \
         ALTER DATABASE itself SET work_mem TO '7MB'; ALTER DATABASE itself SET default_transaction_read_only TO on; \
         ALTER ROLE itself_guest IN DATABASE itself SET statement_timeout TO '1min'; \
         ALTER DATABASE itself CONNECTION LIMIT 7; COMMENT ON DATABASE itself IS 'it''s'; \
         REVOKE ALL ON DATABASE itself FROM PUBLIC; GRANT CONNECT ON DATABASE itself TO itself_guest WITH GRANT OPTION",
    );
    let part = source.capture();
    restored(source.driver().as_ref(), &part, &new_database("itself2"));
    let of = |name: &str| {
        source.admin(&format!(
            "SELECT pg_get_userbyid(datdba), datconnlimit, datacl, shobj_description(oid, 'pg_database'), encoding, datcollate, \
             (SELECT array_agg(setrole::regrole::text || setting ORDER BY setrole, setting) FROM pg_db_role_setting, unnest(setconfig) AS setting WHERE setdatabase = d.oid) \
             FROM pg_database d WHERE datname = '{name}'"
        ))
    };
    assert_eq!(of("itself2"), of("itself"));
    assert!(of("itself2").contains("itself_guest=c*/itself_owner"));
    for name in ["itself", "itself2"] {
        source.admin(&format!("DROP DATABASE {name}"));
    }
    source.admin("DROP ROLE itself_owner; DROP ROLE itself_guest");
}

#[test]
fn an_empty_database_and_odd_names_come_back() {
    let odd = "odd \"name\" = 'x' \\ dbname=postgres ü\n";
    let Some(source) = Database::new(odd, "") else { return };
    let part = source.capture();
    let new = format!("{}{}", "ü".repeat(31), "x");
    let (_, outcome) = restored(source.driver().as_ref(), &part, &new_database(&new));
    assert_eq!(outcome.items, 0);
    assert!(source.exists(&new));
    assert_eq!(source.named(&new).digest(), source.digest());
    source.admin(&format!("DROP DATABASE {}", quote(odd)));
}

/// What is made of a large table before the others' rows are in: keys of several kinds, and what hangs on an index.
const LARGE_TABLES: &str = "
    CREATE TABLE left_one (id int PRIMARY KEY, name text NOT NULL, span int4range NOT NULL, note text);
    INSERT INTO left_one SELECT i, 'n' || i, int4range(i, i + 1), repeat(md5(i::text), 320) FROM generate_series(1, 1800) i;
    ALTER TABLE left_one ADD CONSTRAINT left_name UNIQUE (name) DEFERRABLE INITIALLY DEFERRED;
    ALTER TABLE left_one ADD CONSTRAINT left_span EXCLUDE USING gist (span WITH &&);
    CREATE INDEX left_short ON left_one (lower(name)) WHERE id > 7;
    CREATE UNIQUE INDEX left_identity ON left_one (name text_pattern_ops, id) INCLUDE (span);
    ALTER TABLE left_one REPLICA IDENTITY USING INDEX left_identity;
    ALTER TABLE left_one CLUSTER ON left_one_pkey;
    COMMENT ON INDEX left_short IS 'of some';
    CREATE TABLE right_one (id int, part int, note text, PRIMARY KEY (part, id)) PARTITION BY LIST (part);
    CREATE TABLE right_first PARTITION OF right_one FOR VALUES IN (1);
    INSERT INTO right_one SELECT i, 1, repeat(md5(i::text), 320) FROM generate_series(1, 1800) i;
    CREATE INDEX ON right_one (id);
    CREATE TABLE third (id int PRIMARY KEY, note text);
    INSERT INTO third SELECT i, repeat(md5(i::text), 320) FROM generate_series(1, 1800) i;
    ALTER TABLE left_one ADD FOREIGN KEY (id) REFERENCES third (id)";

#[test]
fn indexes_of_large_tables_are_made_while_other_rows_come() {
    let Some(source) = Database::new("early", LARGE_TABLES) else { return };
    let part = source.capture();
    let reader = MemoryReader::new(&part);
    restore(source.driver().as_ref(), &reader, &new_database("early2")).unwrap();
    let lines = reader.lines();
    assert!(lines.iter().any(|line| line.contains("while other tables were copied")), "{lines:?}");
    assert_eq!(source.named("early2").digest(), source.digest());
    let unready = source.named("early2").sql("SELECT count(*) FROM pg_index WHERE NOT (indisvalid AND indisready)");
    assert_eq!(unready.trim(), "0");
}

/// Whichever table is complete first, its index is refused while the other's rows come.
#[test]
fn an_index_that_cannot_be_made_while_other_rows_come_ends_the_restore_and_leaves_nothing() {
    let sql = "CREATE FUNCTION picky(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS \
               $$ BEGIN IF current_database() <> 'picky' THEN RAISE 'not in this database'; END IF; RETURN $1; END $$; \
               CREATE TABLE one AS SELECT i, repeat(md5(i::text), 320) AS note FROM generate_series(1, 1800) i; \
               CREATE TABLE other AS SELECT * FROM one; \
               CREATE INDEX ON one (picky(i)); CREATE INDEX ON other (picky(i))";
    let Some(source) = Database::new("picky", sql) else { return };
    let part = source.capture();
    let reader = MemoryReader::new(&part);
    let error = restore(source.driver().as_ref(), &reader, &new_database("picky2")).unwrap_err();
    assert!(error.sentence.contains("not in this database"), "{error:?}");
    let lines = reader.lines();
    assert!(!lines.iter().any(|line| line.starts_with("copied")), "it ended before all rows were in: {lines:?}");
    assert_eq!(source.databases(), ["picky"]);
}

#[test]
fn three_thousand_tables_come_back() {
    let sql = "DO $$ BEGIN FOR i IN 1..3000 LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY)', i); \
               EXECUTE format('INSERT INTO t%s VALUES (%s)', i, i); IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END $$";
    let Some(source) = Database::new("thousands", sql) else { return };
    let part = source.capture();
    let (_, outcome) = restored(source.driver().as_ref(), &part, &new_database("thousands2"));
    assert_eq!(outcome.items, 3000);
    let copy = source.named("thousands2");
    assert_eq!(copy.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").trim(), "3000");
    assert_eq!(copy.sql("SELECT id FROM t2999").trim(), "2999");
    assert_eq!(
        copy.sql("SELECT count(*) FROM pg_index WHERE indisprimary AND indrelid::regclass::text LIKE 't%'").trim(),
        "3000"
    );
}

#[test]
fn a_database_of_another_encoding_comes_back() {
    let Some(source) = Database::new("others", "") else { return };
    source.admin("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    let latin = source.named("latin");
    latin.sql(r#"CREATE TABLE U&"T\00FCr" (id int PRIMARY KEY, U&"gr\00F6\00DFe" text); INSERT INTO U&"T\00FCr" VALUES (1, 'Ma' || chr(223))"#);
    let part = latin.capture();
    restored(latin.driver().as_ref(), &part, &new_database("latin2"));
    let copy = source.named("latin2");
    let there = copy.sql(r#"SELECT pg_encoding_to_char(encoding), U&"gr\00F6\00DFe" = 'Ma' || chr(223) FROM U&"T\00FCr", pg_database WHERE datname = 'latin2'"#);
    assert_eq!(there.trim(), "LATIN1|t");
    assert_eq!(copy.digest(), latin.digest());
}

#[test]
fn an_archive_that_was_kept_whole_or_split_comes_back() {
    let Some(source) = Database::new(
        "split",
        "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT i, md5(i::text) FROM generate_series(1, 3000) i; SELECT lo_from_bytea(77, 'large')",
    ) else {
        return;
    };
    let driver = source.driver_as("postgres", &[("whole_dump", true.into())]);
    let part = captures(driver.as_ref(), MemorySink::new(&MemoryStore::new()));
    restored(driver.as_ref(), &part, &new_database("split2"));
    assert_eq!(source.named("split2").digest(), source.digest());
}

#[test]
fn an_archive_that_nobody_here_could_read_goes_to_pg_restore_as_it_is() {
    let Some(source) = Database::new(
        "unread",
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 500); SELECT lo_from_bytea(77, 'large')",
    ) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("unread.dump");
    source.tool("pg_dump", &["-Fc", "-f", file.to_str().unwrap()]);
    let archive = std::fs::read(&file).unwrap();
    let sink = MemorySink::new(&MemoryStore::new());
    let mut manifest = source.driver().capture(&MemorySink::new(&MemoryStore::new())).unwrap();
    let options = StreamOptions { cutting: Cutting::ContentDefined, whole_digest: false };
    let mut stream = sink.stream(&["archive.pgdmp"], options).unwrap();
    stream.write(&archive).unwrap();
    let summary = stream.finish().unwrap();
    manifest.details["how"] = "whole".into();
    manifest.details["tables"] = serde_json::json!([]);
    manifest.details["large_objects"] = serde_json::Value::Null;
    manifest.details["whole"] = serde_json::json!({ "length": summary.length, "crc32": summary.crc32 });
    let part = sink.into_part(manifest);
    let (plan, outcome) = restored(source.driver().as_ref(), &part, &new_database("unread2"));
    assert_eq!((plan.bytes, outcome.bytes_written), (summary.length, summary.length));
    assert_eq!(source.named("unread2").digest(), source.digest());
    let reader = MemoryReader::new(&part);
    let request = to(RestoreTarget::NewDatabase("unread3".to_owned()), Conflict::Replace, only(&["public.t"]));
    assert_eq!(source.driver().plan_restore(&reader, &request).unwrap_err().kind, ErrorKind::Unsupported);
    // The program is fed by a thread of its own, which a cancelled restore must not leave waiting.
    let plan = source.driver().plan_restore(&reader, &new_database("unread3")).unwrap();
    let error = source.driver().restore(&MemoryReader::new(&part).cancel_at(1), &plan).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert_eq!(source.databases(), ["unread", "unread2"]);
}

#[test]
fn a_cancelled_or_broken_restore_leaves_no_database() {
    let sql = "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 20000) i";
    let Some(source) = Database::new("stopped", sql) else { return };
    let part = source.capture();
    let driver = source.driver();
    let size = part.manifest().size;
    for at in [0, 1, size / 2, size - 1] {
        let began = std::time::Instant::now();
        let plan = driver.plan_restore(&MemoryReader::new(&part), &new_database("stopped2")).unwrap();
        let error = driver.restore(&MemoryReader::new(&part).cancel_at(at), &plan).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Cancelled, "cancelled at {at}: {error:?}");
        assert!(began.elapsed().as_secs() < 10);
        assert_eq!(source.databases(), ["stopped"], "cancelled at {at}");
    }
    let plan = driver.plan_restore(&MemoryReader::new(&part), &new_database("stopped2")).unwrap();
    let error = driver.restore(&MemoryReader::new(&part).fail_at(size / 2), &plan).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Store, "{error:?}");
    assert_eq!(source.databases(), ["stopped"], "after a failure of the store");
}

#[test]
fn a_restore_that_waits_in_the_server_is_cancelled_within_two_seconds() {
    // The index calls a function that sleeps: nothing but the end of the session gets the server out of it.
    let sql = "CREATE FUNCTION slow(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS \
               $$ BEGIN IF current_database() <> 'waits' THEN PERFORM pg_sleep(30); END IF; RETURN i; END $$; \
               CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 10); CREATE INDEX ON t (slow(id))";
    let Some(source) = Database::new("waits", sql) else { return };
    let part = source.capture();
    let reader = CancelLater {
        inner: MemoryReader::new(&part),
        at: std::time::Instant::now() + std::time::Duration::from_secs(3),
    };
    let driver = source.driver();
    let plan = driver.plan_restore(&reader.inner, &new_database("waits2")).unwrap();
    let error = driver.restore(&reader, &plan).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled, "{error:?}");
    assert!(reader.at.elapsed().as_secs_f64() < 2.0, "{:?}", reader.at.elapsed());
    assert_eq!(source.databases(), ["waits"]);
}

#[test]
fn a_path_is_no_place_for_a_database() {
    let Some(source) = Database::new("pathless", "") else { return };
    let part = source.capture();
    let request = to(RestoreTarget::NewPath("/srv/x".into()), Conflict::Replace, Selection::default());
    let error = source.driver().plan_restore(&MemoryReader::new(&part), &request).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.hint.unwrap().contains("new database"));
}

/// Cancels at an instant.
struct CancelLater {
    inner: MemoryReader,
    at: std::time::Instant,
}

impl trivault_sources::PartReader for CancelLater {
    fn manifest(&self) -> &trivault_sources::CaptureManifest {
        self.inner.manifest()
    }
    fn list(&self, path: &[&[u8]]) -> trivault_sources::Result<Vec<trivault_sources::StoredNode>> {
        self.inner.list(path)
    }
    fn open(&self, path: &[&[u8]]) -> trivault_sources::Result<Box<dyn trivault_sources::RandomRead>> {
        self.inner.open(path)
    }
    fn is_cancelled(&self) -> bool {
        std::time::Instant::now() > self.at
    }
    fn progress(&self, progress: trivault_sources::Progress) {
        self.inner.progress(progress);
    }
    fn warn(&self, warning: trivault_sources::Warning) {
        self.inner.warn(warning);
    }
    fn log(&self, line: &str) {
        self.inner.log(line);
    }
}
