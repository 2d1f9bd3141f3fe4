//! Databases for the tests of the SQLite source.

// Every test program includes this file, and none uses all of it.
#![allow(dead_code)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use tempfile::TempDir;
use trivault_sources::{
    SourceConfig, SourceDriver,
    testing::suite::{Fixture, names},
};

/// A database in a directory of its own, and a directory for restores.
pub struct Database {
    pub directory: TempDir,
    pub path: PathBuf,
    scratch: PathBuf,
}

impl Database {
    /// Runs `sql` on a new database.
    pub fn new(sql: &str) -> Self {
        let database = Self::without_file();
        database.connect().execute_batch(sql).unwrap();
        database
    }

    pub fn without_file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (live, scratch) = (directory.path().join("live"), directory.path().join("scratch"));
        fs::create_dir(&live).unwrap();
        fs::create_dir(&scratch).unwrap();
        Self { path: live.join("app.db"), directory, scratch }
    }

    pub fn connect(&self) -> Connection {
        connect(&self.path)
    }

    pub fn driver(&self) -> Box<dyn SourceDriver> {
        trivault_sources::open(&self.config()).unwrap()
    }

    pub fn config(&self) -> SourceConfig {
        SourceConfig {
            kind: "sqlite".into(),
            location: self.path.to_str().unwrap().into(),
            options: serde_json::Map::new(),
            never_capture: Vec::new(),
            secret: None,
        }
    }

    /// Names beside the live database.
    pub fn names(&self) -> Vec<String> {
        names(self.path.parent().unwrap()).into_iter().map(|name| name.into_string().unwrap()).collect()
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }
}

impl Fixture for Database {
    fn driver(&self) -> Box<dyn SourceDriver> {
        Database::driver(self)
    }

    fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Nobody has the database open here, so its file may be read as it is; its log must be empty.
    fn assert_same(&self, restored: &Path) {
        let log = self.beside("app.db-wal");
        assert!(fs::metadata(log).map(|found| found.len()).unwrap_or(0) == 0, "the test must checkpoint first");
        assert!(fs::read(restored).unwrap() == fs::read(&self.path).unwrap(), "the files differ");
    }
}

pub fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(30)).unwrap();
    connection
}

/// All rows of a query, as text.
pub fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let values: Vec<String> = (0..columns).map(|index| format!("{:?}", row.get_ref(index).unwrap())).collect();
        Ok(values.join("|"))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// A bit of everything that SQLite can hold.
pub const EVERYTHING: &str = r#"
    CREATE TABLE people(id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE, photo BLOB, score REAL, note);
    INSERT INTO people VALUES(1, 'Zoë', x'00ff00', 1.5, NULL), (2, '日本語', zeroblob(70000), -0.0, 'quote '' and "'),
        (9223372036854775807, '', x'', 9e999, 12), (-5, 'emoji 🙂', NULL, NULL, randomblob(9000));
    CREATE TABLE settings(area TEXT, name TEXT, value, PRIMARY KEY(area, name)) WITHOUT ROWID;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
        INSERT INTO settings SELECT 'area' || (i % 7), 'name' || i, hex(randomblob(20)) FROM n;
    CREATE TABLE log(at, what);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        INSERT INTO log SELECT i, 'something happened ' || i FROM n;
    CREATE TABLE prices(net INTEGER, gross AS (net * 119 / 100) STORED, half AS (net / 2));
    INSERT INTO prices(net) VALUES(100), (200);
    CREATE TABLE "odd "" name.with dot"(a UNIQUE, "b c" CHECK("b c" > 0));
    INSERT INTO "odd "" name.with dot" VALUES(1, 2), (NULL, 3), (NULL, 4);
    CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, x ANY) STRICT;
    INSERT INTO counted(x) VALUES('a'), ('b'), ('c');
    DELETE FROM counted WHERE x = 'c';
    CREATE INDEX people_name ON people(name);
    CREATE UNIQUE INDEX log_even ON log(at) WHERE at % 2 = 0;
    CREATE VIEW named AS SELECT name FROM people;
    CREATE TRIGGER people_log AFTER INSERT ON people BEGIN INSERT INTO log VALUES(-1, new.name); END;
    CREATE VIRTUAL TABLE texts USING fts5(title, body);
    INSERT INTO texts(rowid, title, body) VALUES(7, 'first', 'the quick brown fox'), (9, 'second', 'jumps over');
    CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT);
    INSERT INTO notes VALUES(1, 'alpha beta'), (2, 'gamma delta');
    CREATE VIRTUAL TABLE notes_index USING fts5(body, content='notes', content_rowid='id');
    INSERT INTO notes_index(notes_index) VALUES('rebuild');
    CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1);
    INSERT INTO boxes VALUES(1, 0, 1), (2, 5, 6);
    CREATE TABLE filler AS SELECT at, what FROM log;
    DROP TABLE filler;
"#;
