//! The census: every table of the snapshot with its columns, keys and size, by a handful of statements for all together.

use std::collections::{BTreeSet, HashMap};

use serde::Deserialize;

use super::{blocks::Comparison, locks::WANTED};
use crate::{
    ErrorKind, Result, SourceError,
    postgresql::session::{Session, TextRow},
};

/// A table of the snapshot.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub oid: u32,
    pub schema: String,
    pub name: String,
    pub unlogged: bool,
    /// What `ANALYZE` counted; negative or 0: never.
    pub tuples: f64,
    /// Pages of the table itself. Nobody can empty them while we hold the lock, so 0 means that there is no row.
    pub pages: u64,
    /// Bytes with what is kept out of line.
    pub bytes: u64,
    /// Those that `COPY` writes: no generated ones.
    pub columns: Vec<Column>,
    /// Positions of the key's columns in `columns`, in the key's order.
    pub key: Vec<usize>,
    /// `WHERE ...` where an extension wants only some rows of its configuration kept.
    pub condition: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Column {
    number: i16,
    pub name: String,
    pub quoted: String,
    pub type_name: String,
    not_null: bool,
    plain_text: bool,
}

/// A unique index whose columns could be a key.
#[derive(Deserialize)]
struct Unique {
    primary: bool,
    columns: Vec<i16>,
}

impl Found {
    /// A table that is in a dump for a reason of its own.
    pub(super) fn unknown(oid: u32, schema: String, name: String) -> Self {
        Self {
            oid,
            schema,
            name,
            unlogged: false,
            tuples: 0.0,
            pages: 0,
            bytes: 0,
            columns: Vec::new(),
            key: Vec::new(),
            condition: None,
        }
    }

    /// `id, "odd name"`.
    pub(super) fn column_list(&self) -> String {
        let quoted: Vec<&str> = self.columns.iter().map(|column| column.quoted.as_str()).collect();
        quoted.join(", ")
    }

    pub(super) fn key_columns(&self) -> Vec<(String, String)> {
        let columns = self.key.iter().filter_map(|position| self.columns.get(*position));
        columns.map(|column| (column.name.clone(), column.type_name.clone())).collect()
    }

    /// How the first key column's values compare.
    pub(super) fn comparison(&self) -> Comparison {
        let first = self.key.first().and_then(|position| self.columns.get(*position));
        first.map_or(Comparison::Unknown, |column| Comparison::of(&column.type_name, column.plain_text))
    }
}

/// Everything that `COPY` may have to read, by oid.
pub(super) fn census(session: &mut Session, check: &dyn Fn() -> Result<()>) -> Result<HashMap<u32, Found>> {
    let columns = lists::<Column>(session, COLUMNS)?;
    let uniques = lists::<Unique>(session, UNIQUES)?;
    let conditions = conditions(session)?;
    let statement = format!(
        "SELECT c.oid, n.nspname, c.relname, c.relpersistence = 'u', c.reltuples, \
         pg_relation_size(c.oid) / current_setting('block_size')::int, pg_table_size(c.oid) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {WANTED}"
    );
    let rows = session.rows_watched(&statement, check)?;
    let mut found = HashMap::with_capacity(rows.len());
    let (mut columns, uniques) = (columns, uniques);
    for row in rows {
        let mut table = table(row).ok_or_else(unexpected)?;
        table.columns = columns.remove(&table.oid).unwrap_or_default();
        table.key = key(&table.columns, uniques.get(&table.oid).map(Vec::as_slice).unwrap_or_default());
        table.condition = conditions.get(&table.oid).cloned();
        found.insert(table.oid, table);
    }
    Ok(found)
}

/// The column list of `COPY`: neither dropped nor generated. `plain_text`: bytes in UTF-8 compare as the values do.
const COLUMNS: &str = "SELECT a.attrelid, json_agg(json_build_object('number', a.attnum, 'name', a.attname, \
     'quoted', quote_ident(a.attname), 'type_name', format_type(a.atttypid, NULL), 'not_null', a.attnotnull, \
     'plain_text', current_setting('server_encoding') = 'UTF8' AND (a.attcollation IN (950, 951) \
      OR a.attcollation = 100 AND d.datcollate IN ('C', 'POSIX') AND coalesce(to_json(d)->>'datlocprovider', 'c') = 'c')) \
     ORDER BY a.attnum) \
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r' \
     CROSS JOIN (SELECT * FROM pg_database WHERE datname = current_database()) d \
     WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' GROUP BY a.attrelid";

/// Unique indexes over plain columns that hold at each moment.
const UNIQUES: &str = "SELECT i.indrelid, json_agg(json_build_object('primary', i.indisprimary, \
     'columns', (i.indkey::int2[])[0:i.indnkeyatts - 1]) ORDER BY i.indisprimary DESC, i.indnkeyatts, c.relname) \
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
     WHERE i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL \
     GROUP BY i.indrelid";

fn lists<T: serde::de::DeserializeOwned>(session: &mut Session, sql: &str) -> Result<HashMap<u32, Vec<T>>> {
    let parse = |row: TextRow| {
        let mut row = row.into_iter().flatten();
        Some((row.next()?.parse().ok()?, serde_json::from_str(&row.next()?).ok()?))
    };
    session.rows(sql)?.into_iter().map(|row| parse(row).ok_or_else(unexpected)).collect()
}

fn conditions(session: &mut Session) -> Result<HashMap<u32, String>> {
    let rows = session.rows("SELECT unnest(extconfig), unnest(extcondition) FROM pg_extension")?;
    let parse = |row: TextRow| {
        let mut row = row.into_iter().flatten();
        Some((row.next()?.parse().ok()?, row.next().filter(|condition| !condition.is_empty())?))
    };
    Ok(rows.into_iter().filter_map(parse).collect())
}

fn table(row: TextRow) -> Option<Found> {
    let mut row = row.into_iter();
    Some(Found {
        oid: row.next()??.parse().ok()?,
        schema: row.next()??,
        name: row.next()??,
        unlogged: row.next()?? == "t",
        tuples: row.next()??.parse().ok()?,
        pages: row.next()??.parse().ok()?,
        bytes: row.next()??.parse().ok()?,
        columns: Vec::new(),
        key: Vec::new(),
        condition: None,
    })
}

/// The primary key; else the first unique index of columns that are never null, those with the fewest columns first.
fn key(columns: &[Column], uniques: &[Unique]) -> Vec<usize> {
    let positions = |unique: &Unique| -> Option<Vec<usize>> {
        let position = |number: &i16| columns.iter().position(|column| column.number == *number && column.not_null);
        let positions: Vec<usize> = unique.columns.iter().map(position).collect::<Option<_>>()?;
        let distinct: BTreeSet<usize> = positions.iter().copied().collect();
        (distinct.len() == positions.len() && !positions.is_empty()).then_some(positions)
    };
    let primary = uniques.iter().filter(|unique| unique.primary).find_map(positions);
    primary.or_else(|| uniques.iter().find_map(positions)).unwrap_or_default()
}

fn unexpected() -> SourceError {
    SourceError::new(ErrorKind::Internal, "The server's catalog is not as expected.")
        .hint("Is the server's version supported? Trivault knows PostgreSQL 12 and newer.")
}
