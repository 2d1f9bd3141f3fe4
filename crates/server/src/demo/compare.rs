//! Comparisons: row by row for databases, byte by byte (with types, modes and link targets) for trees.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use rusqlite::{Connection, OpenFlags, types::Value};

/// Rows that are equal.
///
/// # Errors
/// The first difference, as a sentence.
pub fn databases(reference: &Path, restored: &Path) -> Result<u64, String> {
    let (reference, restored) = (open(reference)?, open(restored)?);
    let schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
    if rows(&reference, schema)? != rows(&restored, schema)? {
        return Err("The schemas differ.".to_owned());
    }
    let mut equal = 0;
    for table in rows(&reference, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")? {
        let Some(Value::Text(name)) = table.first() else { continue };
        equal += table_rows(&reference, &restored, name)?;
    }
    Ok(equal)
}

fn table_rows(reference: &Connection, restored: &Connection, name: &str) -> Result<u64, String> {
    let quoted = name.replace('"', "\"\"");
    let text = format!("SELECT * FROM \"{quoted}\" ORDER BY 1, 2, 3");
    let mut left = reference.prepare(&text).map_err(|error| error.to_string())?;
    let mut right = restored.prepare(&text).map_err(|error| error.to_string())?;
    let columns = left.column_count();
    let mut left = left.query([]).map_err(|error| error.to_string())?;
    let mut right = right.query([]).map_err(|error| error.to_string())?;
    let mut count = 0;
    loop {
        let row = left.next().map_err(|error| error.to_string())?;
        let other = right.next().map_err(|error| error.to_string())?;
        match (row, other) {
            (None, None) => return Ok(count),
            (Some(row), Some(other)) => {
                for column in 0..columns {
                    let (value, others) = (row.get_ref(column), other.get_ref(column));
                    if value.map_err(|error| error.to_string())? != others.map_err(|error| error.to_string())? {
                        return Err(format!("Row {count} of {name} differs in column {column}."));
                    }
                }
            }
            (None, Some(_)) | (Some(_), None) => {
                return Err(format!("The tables {name} have different numbers of rows."));
            }
        }
        count += 1;
    }
}

fn open(path: &Path) -> Result<Connection, String> {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
        .map_err(|error| format!("{} cannot be opened: {error}.", path.display()))
}

fn rows(connection: &Connection, text: &str) -> Result<Vec<Vec<Value>>, String> {
    let mut statement = connection.prepare(text).map_err(|error| error.to_string())?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|column| row.get(column)).collect());
    rows.and_then(Iterator::collect).map_err(|error| error.to_string())
}

/// Entries that are equal.
///
/// # Errors
/// The first difference, as a sentence.
pub fn trees(reference: &Path, restored: &Path) -> Result<u64, String> {
    let fault = |error: std::io::Error| error.to_string();
    let (left, right) = (names(reference).map_err(fault)?, names(restored).map_err(fault)?);
    if left != right {
        return Err(format!("{} and {} hold different names.", reference.display(), restored.display()));
    }
    let mut equal = 0;
    for name in left {
        let (left, right) = (reference.join(&name), restored.join(&name));
        let (one, other) = (fs::symlink_metadata(&left).map_err(fault)?, fs::symlink_metadata(&right).map_err(fault)?);
        if one.file_type() != other.file_type() || one.permissions().mode() != other.permissions().mode() {
            return Err(format!("{} differs in type or mode.", right.display()));
        }
        if one.is_dir() {
            equal += trees(&left, &right)?;
        } else if one.is_symlink() {
            if fs::read_link(&left).map_err(fault)? != fs::read_link(&right).map_err(fault)? {
                return Err(format!("{} points elsewhere.", right.display()));
            }
        } else if one.mtime() != other.mtime() || !files(&left, &right).map_err(fault)? {
            return Err(format!("{} differs in time or content.", right.display()));
        }
        equal += 1;
    }
    Ok(equal)
}

fn names(directory: &Path) -> std::io::Result<Vec<std::ffi::OsString>> {
    let mut names =
        fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn files(left: &Path, right: &Path) -> std::io::Result<bool> {
    let (mut left, mut right) = (File::open(left)?, File::open(right)?);
    let (mut one, mut other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let count = left.read(&mut one)?;
        if count == 0 {
            return Ok(right.read(&mut other)? == 0);
        }
        if right.read_exact(&mut other[..count]).is_err() || one[..count] != other[..count] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_changed_byte_or_row_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let (a, b) = (directory.path().join("a"), directory.path().join("b"));
        for tree in [&a, &b] {
            fs::create_dir(tree).unwrap();
            let connection = Connection::open(tree.join("db")).unwrap();
            connection
                .execute_batch("CREATE TABLE t(x, y, z); INSERT INTO t VALUES (1, NULL, x'00'), (2, 'a', 1.5)")
                .unwrap();
        }
        assert_eq!(databases(&a.join("db"), &b.join("db")), Ok(2));
        Connection::open(b.join("db")).unwrap().execute("UPDATE t SET z = x'01' WHERE x = 1", []).unwrap();
        assert!(databases(&a.join("db"), &b.join("db")).unwrap_err().contains("differs"));
        assert!(trees(&a, &b).is_err());
        fs::copy(a.join("db"), b.join("db")).unwrap();
        let time = fs::metadata(a.join("db")).unwrap().modified().unwrap();
        File::options().append(true).open(b.join("db")).unwrap().set_modified(time).unwrap();
        assert_eq!(trees(&a, &b), Ok(1));
    }
}
