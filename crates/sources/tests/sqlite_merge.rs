//! Rows of a backup go into a live database: missing ones are added, nothing is ever deleted.

// Clippy knows tests by their attribute, not what they call.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, sync::Arc};

use rusqlite::Connection;
use support::{Database, EVERYTHING, connect, rows};
use trivault_sources::{
    Conflict, ErrorKind, Interrupted, PartRestoreRequest, RestoreOutcome, RestoreTarget, Result, Selection,
    testing::{
        MemoryPart, MemoryReader, MemorySink, MemoryStore,
        suite::{captures, request},
    },
};

fn captured(database: &Database) -> Arc<MemoryPart> {
    captures(database.driver().as_ref(), MemorySink::new(&MemoryStore::new()))
}

/// Merges into the live database; the reader has the warnings.
fn merge(
    database: &Database,
    part: &Arc<MemoryPart>,
    conflict: Conflict,
    selection: Selection,
) -> (RestoreOutcome, MemoryReader) {
    let reader = MemoryReader::new(part);
    let request = PartRestoreRequest { selection, ..request(RestoreTarget::InPlace, conflict) };
    let plan = database.driver().plan_restore(&reader, &request).unwrap();
    assert!(plan.temporary.contains(&database.beside(".trivault-suite.part.db")), "the plan names the private copy");
    let outcome = database.driver().restore(&reader, &plan).unwrap();
    let left: Vec<String> = database.names().into_iter().filter(|name| name.contains("trivault")).collect();
    assert_eq!(left, [""; 0]);
    (outcome, reader)
}

fn refusal(database: &Database, part: &Arc<MemoryPart>, selection: Selection) -> trivault_sources::SourceError {
    let request = PartRestoreRequest { selection, ..request(RestoreTarget::InPlace, Conflict::AddMissing) };
    database.driver().plan_restore(&MemoryReader::new(part), &request).unwrap_err()
}

/// Every row of every table that the backup has.
fn contents(connection: &Connection) -> Vec<String> {
    ["people", "settings", "log", "prices", "\"odd \"\" name.with dot\"", "counted", "texts", "notes", "boxes"]
        .iter()
        .flat_map(|table| rows(connection, &format!("SELECT * FROM {table} ORDER BY 1, 2")))
        .collect()
}

#[test]
fn nothing_is_added_to_an_unchanged_database() {
    for conflict in [Conflict::AddMissing, Conflict::UpdateDiffering] {
        let database = Database::new(EVERYTHING);
        let part = captured(&database);
        let (outcome, reader) = merge(&database, &part, conflict, Selection::default());
        assert_eq!(outcome.items, 0, "{conflict:?} {:?}", reader.lines());
        assert_eq!(reader.warnings(), []);
        assert!(outcome.kept_aside.is_empty());
    }
}

/// Damage of every sort: rows, tables, indexes, views, triggers are gone, a row differs, and rows are new.
const DAMAGE: &str = r#"
    DROP TRIGGER people_log; DROP VIEW named; DROP INDEX log_even; DROP TABLE prices; DROP TABLE boxes;
    DELETE FROM people WHERE id IN (1, -5);
    DELETE FROM settings WHERE area = 'area3';
    DELETE FROM log WHERE at BETWEEN 100 AND 200;
    DELETE FROM texts WHERE rowid = 7;
    DELETE FROM notes WHERE id = 1;
    INSERT INTO notes_index(notes_index) VALUES('rebuild');
    UPDATE people SET note = 'changed here' WHERE id = 2;
    INSERT INTO people(id, name) VALUES(50, 'new here');
    INSERT INTO log VALUES('new', 'here');
"#;

#[test]
fn missing_rows_tables_and_indexes_are_added_and_the_rest_stays() {
    let database = Database::new(EVERYTHING);
    let expected = contents(&database.connect());
    let part = captured(&database);
    database.connect().execute_batch(DAMAGE).unwrap();
    let (outcome, reader) = merge(&database, &part, Conflict::AddMissing, Selection::default());
    assert_eq!(reader.warnings(), []);
    let connection = database.connect();
    assert_eq!(rows(&connection, "SELECT note FROM people WHERE id = 2"), [format!("Text({:?})", b"changed here")]);
    assert_eq!(rows(&connection, "SELECT count(*) FROM people WHERE id = 50"), ["Integer(1)"]);
    assert_eq!(rows(&connection, "SELECT count(*) FROM log WHERE at = -1"), ["Integer(0)"], "triggers did not fire");
    assert_eq!(rows(&connection, "SELECT count(*) FROM texts WHERE texts MATCH 'fox'"), ["Integer(1)"]);
    assert_eq!(rows(&connection, "SELECT rowid FROM notes_index WHERE notes_index MATCH 'alpha'"), ["Integer(1)"]);
    let objects = "SELECT count(*) FROM sqlite_schema WHERE name IN ('people_log', 'named', 'log_even')";
    assert_eq!(rows(&connection, objects), ["Integer(3)"]);
    assert_eq!(rows(&connection, "PRAGMA integrity_check"), [format!("Text({:?})", b"ok")]);
    // Once what is new here is taken away again, only the row that was changed here differs.
    connection.execute_batch("DELETE FROM people WHERE id = 50; DELETE FROM log WHERE at = 'new';").unwrap();
    let found = contents(&connection);
    let differing = expected.iter().zip(&found).filter(|(a, b)| a != b).count();
    assert_eq!((found.len(), differing), (expected.len(), 1));
    assert!(outcome.items > 500, "{}", outcome.items);
}

#[test]
fn differing_rows_are_overwritten_only_when_asked() {
    let database = Database::new(EVERYTHING);
    let expected = contents(&database.connect());
    let part = captured(&database);
    database.connect().execute_batch(DAMAGE).unwrap();
    database
        .connect()
        .execute_batch("UPDATE settings SET value = 1 WHERE name = 'name5'; UPDATE texts SET body = 'x';")
        .unwrap();
    let (_, reader) = merge(&database, &part, Conflict::UpdateDiffering, Selection::default());
    assert_eq!(reader.warnings(), []);
    let connection = database.connect();
    assert_eq!(rows(&connection, "SELECT count(*) FROM people WHERE id = 50"), ["Integer(1)"], "nothing is deleted");
    connection.execute_batch("DELETE FROM people WHERE id = 50; DELETE FROM log WHERE at = 'new';").unwrap();
    assert_eq!(contents(&connection), expected);
    assert_eq!(rows(&connection, "SELECT count(*) FROM texts WHERE texts MATCH 'jumps'"), ["Integer(1)"]);
}

#[test]
fn a_selection_restores_only_its_tables_and_rows() {
    let database = Database::new(EVERYTHING);
    let part = captured(&database);
    let select = |include: &[&str], keys: Option<&str>, values: Option<&str>| Selection {
        include: include.iter().map(|name| (*name).to_owned()).collect(),
        exclude: vec!["_default.notes".into()],
        keys: keys.map(str::to_owned),
        values: values.map(str::to_owned),
        key_range: None,
    };
    let empty = "DELETE FROM people; DELETE FROM settings; DELETE FROM log; DELETE FROM notes;";
    let count = |connection: &Connection| {
        ["people", "settings", "log", "notes"].map(|table| {
            connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap()
        })
    };
    for (selection, expected) in [
        (select(&["_default"], None, None), [4, 3000, 20000, 0]),
        (select(&["_default.people", "_default.notes"], None, None), [4, 0, 0, 0]),
        (select(&["_default.settings"], Some("^area3:name10$"), None), [0, 1, 0, 0]),
        (select(&["_default.log"], Some("^1..$"), None), [0, 0, 100, 0]),
        (
            select(&["_default.people"], None, Some(r#""name":"Zoë","photo":"AP8A","score":1.5,"note":null"#)),
            [1, 0, 0, 0],
        ),
        (select(&["_default.people", "_default.log"], None, Some("happened 19999|日本")), [1, 0, 1, 0]),
    ] {
        database.connect().execute_batch(empty).unwrap();
        merge(&database, &part, Conflict::AddMissing, selection.clone());
        assert_eq!(count(&database.connect()), expected, "{selection:?}");
    }
}

#[test]
fn rows_of_a_very_wide_table_can_be_chosen_by_value() {
    let columns: Vec<String> = (0..300).map(|index| format!("c{index}")).collect();
    let database = Database::new(&format!(
        "CREATE TABLE wide({}); INSERT INTO wide(c0, c299) VALUES('a', 'needle'), ('b', 'hay');",
        columns.join(", ")
    ));
    let part = captured(&database);
    database.connect().execute("DELETE FROM wide", []).unwrap();
    let selection = Selection { values: Some(r#""c299":"needle""#.into()), ..Selection::default() };
    merge(&database, &part, Conflict::UpdateDiffering, selection);
    assert_eq!(rows(&database.connect(), "SELECT c0 FROM wide"), [format!("Text({:?})", b"a")]);
}

#[test]
fn a_selection_goes_into_a_new_database_as_well() {
    let database = Database::new(&format!("PRAGMA page_size = 1024; PRAGMA encoding = 'UTF-16le'; {EVERYTHING}"));
    let part = captured(&database);
    let target = database.beside("deep/new.db");
    let reader = MemoryReader::new(&part);
    let request = PartRestoreRequest {
        selection: Selection { include: vec!["_default.log".into()], ..Selection::default() },
        ..request(RestoreTarget::NewPath(target.clone()), Conflict::Replace)
    };
    let plan = database.driver().plan_restore(&reader, &request).unwrap();
    let outcome = database.driver().restore(&reader, &plan).unwrap();
    assert_eq!(outcome.items, 20000);
    let connection = connect(&target);
    assert_eq!(
        rows(&connection, "SELECT name FROM sqlite_schema ORDER BY name"),
        [b"log".as_slice(), b"log_even"].map(|name| format!("Text({name:?})"))
    );
    let all = "SELECT rowid, * FROM log ORDER BY rowid";
    assert_eq!(rows(&connection, all), rows(&database.connect(), all));
    assert_eq!(rows(&connection, "PRAGMA page_size"), ["Integer(1024)"]);
    drop(connection);
    let names: Vec<_> =
        fs::read_dir(target.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["new.db"]);
}

#[test]
fn rows_that_a_constraint_refuses_are_counted() {
    let database =
        Database::new("CREATE TABLE u(id INTEGER PRIMARY KEY, mail UNIQUE); INSERT INTO u VALUES(1, 'a'), (2, 'b');");
    let part = captured(&database);
    database.connect().execute_batch("UPDATE u SET id = 10 WHERE mail = 'a'; DELETE FROM u WHERE mail = 'b'").unwrap();
    let (outcome, reader) = merge(&database, &part, Conflict::AddMissing, Selection::default());
    assert_eq!(outcome.items, 1);
    let warnings = reader.warnings();
    assert_eq!((warnings[0].code.as_str(), warnings[0].count), ("rows_refused", 1), "{warnings:?}");
    assert_eq!(rows(&database.connect(), "SELECT id FROM u ORDER BY id"), ["Integer(2)", "Integer(10)"]);
}

#[test]
fn a_table_that_has_changed_its_shape_gets_what_fits() {
    let database = Database::new(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, a, b); INSERT INTO t VALUES(1, 'a1', 'b1'); CREATE TABLE v(x); INSERT INTO v VALUES(1);",
    );
    let part = captured(&database);
    database
        .connect()
        .execute_batch("DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, b, c DEFAULT 'new'); DROP TABLE v; CREATE VIEW v AS SELECT 1;")
        .unwrap();
    let (_, reader) = merge(&database, &part, Conflict::AddMissing, Selection::default());
    let expected = [format!("Integer(1)|Text({:?})|Text({:?})", b"b1", b"new")];
    assert_eq!(rows(&database.connect(), "SELECT * FROM t"), expected);
    let codes: Vec<String> = reader.warnings().into_iter().map(|warning| warning.code).collect();
    assert_eq!(codes, ["columns_missing", "table_not_restored"]);
}

#[test]
fn rows_that_would_point_nowhere_are_counted() {
    let database = Database::new(
        "CREATE TABLE parent(id INTEGER PRIMARY KEY); CREATE TABLE child(id INTEGER PRIMARY KEY, p REFERENCES parent(id));
         INSERT INTO parent VALUES(1); INSERT INTO child VALUES(1, 1);",
    );
    let part = captured(&database);
    database.connect().execute_batch("DELETE FROM child; DELETE FROM parent").unwrap();
    let selection = Selection { include: vec!["_default.child".into()], ..Selection::default() };
    let (_, reader) = merge(&database, &part, Conflict::AddMissing, selection);
    assert_eq!(reader.warnings()[0].code, "foreign_keys");
}

#[test]
fn a_database_in_use_can_be_merged_into() {
    let database = Database::new(&format!("PRAGMA journal_mode = WAL; {EVERYTHING}"));
    let part = captured(&database);
    let application = database.connect();
    application.execute("DELETE FROM log", []).unwrap();
    let (outcome, _) = merge(&database, &part, Conflict::AddMissing, Selection::default());
    assert_eq!(outcome.items, 20000);
    assert_eq!(rows(&application, "SELECT count(*) FROM log"), ["Integer(20000)"]);
}

#[test]
fn a_merge_that_is_broken_off_changes_nothing() {
    let database = Database::new(EVERYTHING);
    let part = captured(&database);
    database.connect().execute("DELETE FROM log", []).unwrap();
    let size = part.manifest().size;
    let run = |reader: MemoryReader| -> Result<RestoreOutcome> {
        let plan = database.driver().plan_restore(&reader, &request(RestoreTarget::InPlace, Conflict::AddMissing))?;
        let result = database.driver().restore(&reader, &plan);
        assert_eq!(database.names(), ["app.db"]);
        assert_eq!(database.driver().resume_restore(&plan)?, Interrupted::NothingTouched);
        result
    };
    // Cancelled while the copy is written, when it is whole and only rows are left to do, and failed on the way.
    assert_eq!(run(MemoryReader::new(&part).cancel_at(1)).unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(run(MemoryReader::new(&part).cancel_at(size)).unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(run(MemoryReader::new(&part).fail_at(size / 2)).unwrap_err().kind, ErrorKind::Store);
    let owner = database.connect();
    owner.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = run(MemoryReader::new(&part)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    owner.execute_batch("ROLLBACK").unwrap();
    assert_eq!(rows(&owner, "SELECT count(*) FROM log"), ["Integer(0)"]);
}

#[test]
fn a_merge_that_crashed_at_its_commit_is_done_again() {
    let database = Database::new(EVERYTHING);
    let part = captured(&database);
    database.connect().execute("DELETE FROM log", []).unwrap();
    let reader = MemoryReader::new(&part);
    let request = PartRestoreRequest {
        selection: Selection { keys: Some("^1".into()), ..Selection::default() },
        ..request(RestoreTarget::InPlace, Conflict::AddMissing)
    };
    let plan = database.driver().plan_restore(&reader, &request).unwrap();
    fs::write(database.beside(".trivault-suite.merging.db"), part.bytes(&[b"data"]).unwrap()).unwrap();
    assert_eq!(database.driver().resume_restore(&plan).unwrap(), Interrupted::Finished);
    assert_eq!(rows(&database.connect(), "SELECT count(*) FROM log"), ["Integer(11111)"]);
    assert_eq!(database.names(), ["app.db"]);
}

#[test]
fn wrong_selections_and_encodings_are_refused_beforehand() {
    let database = Database::new(EVERYTHING);
    let part = captured(&database);
    let unknown = Selection { include: vec!["_default.nothing".into()], ..Selection::default() };
    assert_eq!(refusal(&database, &part, unknown).kind, ErrorKind::Missing);
    let malformed = Selection { keys: Some("(".into()), ..Selection::default() };
    assert_eq!(refusal(&database, &part, malformed).kind, ErrorKind::Invalid);
    let other = Database::new("PRAGMA encoding = 'UTF-16le'; CREATE TABLE t(a);");
    let error = refusal(&other, &part, Selection::default());
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.sentence.contains("UTF-16le"), "{}", error.sentence);
}
