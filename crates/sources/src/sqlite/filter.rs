//! Which tables and rows of a backup are wanted.

use regex::Regex;
use rusqlite::{
    Connection,
    functions::{Context, FunctionFlags},
    types::ValueRef,
};
use serde_json::Value;

use super::schema::quote;
use crate::{ErrorKind, Inventory, Result, Selection, SourceError};

/// The only scope that an SQLite database has.
const SCOPE: &str = "_default";
/// Columns that one call turns into text: SQLite limits the arguments of a function (two for each column).
const COLUMNS_A_CALL: usize = 40;

/// A [`Selection`], ready to be applied.
pub(super) struct Filter {
    include: Vec<String>,
    exclude: Vec<String>,
    keys: Option<Regex>,
    values: Option<Regex>,
}

impl Filter {
    /// # Errors
    /// [`ErrorKind::Invalid`] for a malformed expression, [`ErrorKind::Missing`] for a name that the backup lacks.
    pub(super) fn new(selection: &Selection, inventory: &Inventory) -> Result<Self> {
        let Selection { include, exclude, keys, values, key_range } = selection;
        if key_range.is_some() {
            return Err(SourceError::no_key_ranges("an SQLite database"));
        }
        for name in include.iter().chain(exclude) {
            check_name(name, inventory)?;
        }
        Ok(Self {
            include: include.clone(),
            exclude: exclude.clone(),
            keys: keys.as_deref().map(|pattern| compile("keys", pattern)).transpose()?,
            values: values.as_deref().map(|pattern| compile("values", pattern)).transpose()?,
        })
    }

    pub(super) fn wants(&self, table: &str) -> bool {
        let full = format!("{SCOPE}.{table}");
        let named = |names: &[String]| names.iter().any(|name| name == SCOPE || *name == full);
        (self.include.is_empty() || named(&self.include)) && !named(&self.exclude)
    }

    /// Whether things that belong to no table (views) come along.
    pub(super) fn wants_views(&self) -> bool {
        self.include.is_empty() || self.include.iter().any(|name| name == SCOPE)
    }

    /// Makes the functions of [`Self::condition`] known to a connection.
    pub(super) fn register(&self, connection: &Connection) -> rusqlite::Result<()> {
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
        if let Some(keys) = self.keys.clone() {
            connection
                .create_scalar_function("trivault_key", -1, flags, move |row| Ok(keys.is_match(&key_text(row))))?;
        }
        if let Some(values) = self.values.clone() {
            connection.create_scalar_function("trivault_fields", -1, flags, |row| Ok(fields(row)))?;
            connection.create_scalar_function("trivault_value", 1, flags, move |row| {
                Ok(values.is_match(row.get_raw(0).as_str().unwrap_or_default()))
            })?;
        }
        Ok(())
    }

    /// SQL that is true for wanted rows of the table called `alias`; empty when all are.
    pub(super) fn condition(&self, alias: &str, key: &[String], columns: &[String]) -> String {
        let mut condition = String::new();
        if self.keys.is_some() {
            let key: Vec<String> = key.iter().map(|column| format!("{alias}.{}", quote(column))).collect();
            condition.push_str(&format!(" AND trivault_key({})", key.join(", ")));
        }
        if self.values.is_some() {
            let field = |column: &String| format!("{}, {alias}.{}", text_literal(column), quote(column));
            let calls: Vec<String> = columns
                .chunks(COLUMNS_A_CALL)
                .map(|chunk| format!("trivault_fields({})", chunk.iter().map(field).collect::<Vec<_>>().join(", ")))
                .collect();
            condition.push_str(&format!(" AND trivault_value('{{' || {} || '}}')", calls.join(" || ',' || ")));
        }
        condition
    }
}

fn check_name(name: &str, inventory: &Inventory) -> Result<()> {
    let known = name == SCOPE
        || name.split_once('.').is_some_and(|(scope, table)| {
            let tables =
                inventory.scopes.iter().filter(|found| found.name == scope).flat_map(|found| &found.collections);
            tables.into_iter().any(|found| found.name == table)
        });
    if known {
        return Ok(());
    }
    Err(SourceError::new(ErrorKind::Missing, format!("The backup holds no table `{name}`."))
        .hint("Tables of an SQLite database are named `_default.<table>`."))
}

fn compile(what: &str, pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| {
        SourceError::new(ErrorKind::Invalid, format!("The expression for {what} is not a regular expression."))
            .hint(error.to_string().replace('\n', " "))
    })
}

/// The text of a primary key: values joined with `:`, blobs as hex.
fn key_text(row: &Context<'_>) -> String {
    let parts: Vec<String> = (0..row.len())
        .map(|index| match row.get_raw(index) {
            ValueRef::Null => String::new(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => number.to_string(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            ValueRef::Blob(blob) => hex::encode(blob),
        })
        .collect();
    parts.join(":")
}

/// Members of the row's JSON object: names and values come by turns.
fn fields(row: &Context<'_>) -> String {
    let members: Vec<String> = (0..row.len() / 2)
        .map(|index| {
            let name = Value::from(row.get_raw(2 * index).as_str().unwrap_or_default());
            format!("{name}:{}", json(row.get_raw(2 * index + 1)))
        })
        .collect();
    members.join(",")
}

/// A value as JSON; blobs are base64 strings.
fn json(value: ValueRef<'_>) -> Value {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(blob) => STANDARD.encode(blob).into(),
    }
}

fn text_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
