//! Restored data against what was backed up: row by row, byte by byte.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use rusqlite::{Connection, types::Value};

type Rows = Vec<Vec<Value>>;

/// Schema and rows of every table.
pub fn contents(path: &Path) -> Vec<(String, Rows)> {
    let connection = Connection::open(path).unwrap();
    let all = |text: &str| -> Rows {
        let mut statement = connection.prepare(text).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect()).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    };
    let mut contents =
        vec![("schema".to_owned(), all("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name"))];
    for table in all("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") {
        let Value::Text(name) = &table[0] else { continue };
        contents.push((name.clone(), all(&format!("SELECT * FROM \"{name}\" ORDER BY 1"))));
    }
    contents
}

/// # Panics
/// At the first difference.
pub fn assert_same_database(left: &Path, right: &Path) {
    let (one, other) = (contents(left), contents(right));
    assert_eq!(one.len(), other.len(), "different numbers of tables");
    for ((name, rows), (others_name, others_rows)) in one.iter().zip(&other) {
        assert_eq!(name, others_name);
        assert_eq!(rows.len(), others_rows.len(), "rows of {name}");
        for (row, others) in rows.iter().zip(others_rows) {
            assert_eq!(row, others, "a row of {name}");
        }
    }
}

/// Type, mode, time, link target and content of each entry, by relative path.
pub fn entries(root: &Path) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    collect(root, "", &mut entries);
    entries.sort();
    entries
}

fn collect(directory: &Path, prefix: &str, entries: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}/{}", path.file_name().unwrap().to_string_lossy());
        let metadata = fs::symlink_metadata(&path).unwrap();
        let mode = metadata.permissions().mode();
        if metadata.is_dir() {
            entries.push((name.clone(), format!("directory {mode:o}")));
            collect(&path, &name, entries);
        } else if metadata.is_symlink() {
            entries.push((name, format!("link {}", fs::read_link(&path).unwrap().display())));
        } else {
            let content = hex::encode(fs::read(&path).unwrap());
            entries.push((name, format!("file {mode:o} {} {} {content}", metadata.mtime(), metadata.nlink())));
        }
    }
}

/// # Panics
/// At the first difference.
pub fn assert_same_tree(left: &Path, right: &Path) {
    let (one, other) = (entries(left), entries(right));
    let names = |entries: &[(String, String)]| entries.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&one), names(&other));
    for (left, right) in one.iter().zip(&other) {
        assert!(left == right, "{} differs", left.0);
    }
}
