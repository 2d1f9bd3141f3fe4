//! What a database holds: tables with their columns, and everything that hangs on them.

use rusqlite::{Connection, Row, types::ValueRef};

/// A row of `sqlite_schema`.
#[derive(Clone, Debug)]
pub(super) struct Object {
    /// `table`, `index`, `view` or `trigger`.
    pub object_type: String,
    pub name: String,
    /// The table that an index or a trigger belongs to.
    pub table: String,
    /// First page of its b-tree, 0 where it has none.
    pub root: u32,
    /// `None` for the indexes that SQLite makes itself.
    pub sql: Option<String>,
}

/// What `PRAGMA table_list` calls a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TableType {
    Table,
    Virtual,
    /// Holds a virtual table's content; reached through that.
    Shadow,
    View,
}

#[derive(Clone, Debug)]
pub(super) struct Table {
    pub name: String,
    pub table_type: TableType,
    pub without_rowid: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub name: String,
    /// Place in the primary key, from 1; 0 when not part of it.
    pub key: u32,
    /// Generated, or a hidden column of a virtual table: cannot be written.
    pub computed: bool,
}

/// Everything in `schema` (`main`, or an attached name).
pub(super) fn objects(connection: &Connection, schema: &str) -> rusqlite::Result<Vec<Object>> {
    let sql = format!("SELECT type, name, tbl_name, rootpage, sql FROM {}.sqlite_schema", quote(schema));
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| {
        Ok(Object {
            object_type: text(row, 0)?,
            name: text(row, 1)?,
            table: text(row, 2)?,
            root: row.get::<_, Option<u32>>(3)?.unwrap_or(0),
            sql: if row.get_ref(4)? == ValueRef::Null { None } else { Some(text(row, 4)?) },
        })
    })?;
    rows.collect()
}

/// Tables and views of `schema` without SQLite's own.
pub(super) fn tables(connection: &Connection, schema: &str) -> rusqlite::Result<Vec<Table>> {
    let mut statement = connection.prepare(
        "SELECT name, type, wr FROM pragma_table_list WHERE schema = ?1 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         ORDER BY name",
    )?;
    let rows = statement.query_map([schema], |row| {
        let table_type = match text(row, 1)?.as_str() {
            "virtual" => TableType::Virtual,
            "shadow" => TableType::Shadow,
            "view" => TableType::View,
            _ => TableType::Table,
        };
        Ok(Table { name: text(row, 0)?, table_type, without_rowid: row.get(2)? })
    })?;
    rows.collect()
}

pub(super) fn columns(connection: &Connection, schema: &str, table: &str) -> rusqlite::Result<Vec<Column>> {
    let mut statement = connection.prepare("SELECT name, pk, hidden FROM pragma_table_xinfo(?1, ?2) ORDER BY cid")?;
    let rows = statement.query_map([table, schema], |row| {
        Ok(Column { name: text(row, 0)?, key: row.get(1)?, computed: row.get::<_, i64>(2)? != 0 })
    })?;
    rows.collect()
}

/// Text that old programs may have written in another encoding: no reason to fail a backup.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => String::new(),
    })
}

/// An identifier as SQL, whatever it holds.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
