//! Which rows of a selection are wanted.
//!
//! The text of a *key* is the values of the key's columns joined by `:`, as the server prints them; of a table without a
//! key, all columns are its key. The text of a *value* is the row as a JSON object whose members are texts or null:
//! `{"id":"7","name":"x","born":null}`. Both expressions are unanchored. A range of keys is left to the server, which alone
//! knows how values of every type compare: it is a condition of the `COPY` that takes the rows in.

use regex::bytes::Regex;

use crate::{
    ErrorKind, KeyRange, Result, Selection, SourceError,
    postgresql::{
        layout::Table,
        session::{literal, quote},
    },
};

#[derive(Clone, Debug)]
pub(super) struct RowFilter {
    keys: Option<Regex>,
    values: Option<Regex>,
    pub key_range: Option<KeyRange>,
}

impl RowFilter {
    /// `None` where a selection wants all rows.
    pub(super) fn new(selection: &Selection) -> Result<Option<Self>> {
        let compile = |what: &str, pattern: &Option<String>| {
            let compiled = pattern.as_deref().map(Regex::new).transpose();
            compiled.map_err(|error| {
                SourceError::new(ErrorKind::Invalid, format!("The expression for {what} is not a regular expression."))
                    .hint(error.to_string().replace('\n', " "))
            })
        };
        let filter = Self {
            keys: compile("keys", &selection.keys)?,
            values: compile("values", &selection.values)?,
            key_range: selection.key_range.clone(),
        };
        let wants_all = filter.keys.is_none() && filter.values.is_none() && filter.key_range.is_none();
        Ok(Some(filter).filter(|_| !wants_all))
    }

    /// What looks at each line of a table; `None` where the lines need not be looked at.
    pub(super) fn lines(&self, table: &Table) -> Option<LineFilter> {
        if self.keys.is_none() && self.values.is_none() {
            return None;
        }
        let columns = column_names(&table.columns);
        let key = if table.key.is_empty() { (0..columns.len()).collect() } else { table.key.clone() };
        Some(LineFilter { keys: self.keys.clone(), values: self.values.clone(), key, columns })
    }

    /// The condition of a `COPY ... FROM` that wants only rows in the range; empty without one.
    pub(super) fn condition(&self, table: &Table) -> String {
        let (Some(range), Some((column, kind))) = (&self.key_range, table.key_columns.first()) else {
            return String::new();
        };
        let bound = |operator: &str, value: &Option<String>| {
            value.as_ref().map(|value| format!("{} {operator} {}::{kind}", quote(column), literal(value)))
        };
        let bounds: Vec<String> = [bound(">=", &range.from), bound("<", &range.before)].into_iter().flatten().collect();
        if bounds.is_empty() { String::new() } else { format!(" WHERE {}", bounds.join(" AND ")) }
    }
}

/// The expressions, for the lines of one table.
pub(super) struct LineFilter {
    keys: Option<Regex>,
    values: Option<Regex>,
    key: Vec<usize>,
    columns: Vec<String>,
}

impl LineFilter {
    /// `line` is a row in COPY text format without its newline.
    pub(super) fn wants(&self, line: &[u8]) -> bool {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
        if let Some(keys) = &self.keys {
            let values =
                self.key.iter().map(|index| value(fields.get(*index).copied().unwrap_or_default()).unwrap_or_default());
            if !keys.is_match(&values.collect::<Vec<_>>().join(&b':')) {
                return false;
            }
        }
        self.values.as_ref().is_none_or(|values| values.is_match(self.json(&fields).as_bytes()))
    }

    fn json(&self, fields: &[&[u8]]) -> String {
        let members: Vec<String> = self
            .columns
            .iter()
            .zip(fields)
            .map(|(column, field)| {
                let value = value(field).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                format!("{}:{}", serde_json::Value::from(column.as_str()), serde_json::Value::from(value))
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

/// A field's value with COPY's escapes undone; `None` is NULL.
fn value(field: &[u8]) -> Option<Vec<u8>> {
    if field == b"\\N" {
        return None;
    }
    let mut value = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        value.extend(bytes.next().map(|escaped| match escaped {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            other => other,
        }));
    }
    Some(value)
}

/// The names in a list like `id, "odd, ""name"""`.
pub(super) fn column_names(list: &str) -> Vec<String> {
    let (mut names, mut name, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = list.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            ' ' if !quoted => {}
            other => name.push(other),
        }
    }
    if !list.is_empty() {
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_lists_are_read_as_the_server_quotes_them() {
        assert_eq!(column_names(r#"id, "odd, ""name""", "a b""#), ["id", "odd, \"name\"", "a b"]);
        assert!(column_names("").is_empty());
    }

    #[test]
    fn escapes_of_copy_are_undone_and_null_is_told_from_text() {
        assert_eq!(value(b"a\\tb\\\\n\\n"), Some(b"a\tb\\n\n".to_vec()));
        assert_eq!(value(b"\\N"), None);
        assert_eq!(value(b"\\\\N"), Some(b"\\N".to_vec()));
    }

    #[test]
    fn keys_and_values_are_matched_as_texts() {
        let filter = |keys: Option<&str>, values: Option<&str>| LineFilter {
            keys: keys.map(|pattern| Regex::new(pattern).unwrap()),
            values: values.map(|pattern| Regex::new(pattern).unwrap()),
            key: vec![0, 2],
            columns: vec!["id".to_owned(), "name".to_owned(), "day".to_owned()],
        };
        let line = b"7\ta\\tb\t2024-01-01";
        assert!(filter(Some("^7:2024"), None).wants(line));
        assert!(!filter(Some("^2024"), None).wants(line));
        assert!(filter(None, Some(r#""name":"a\\tb""#)).wants(line));
        assert!(filter(None, Some(r#""name":null"#)).wants(b"7\t\\N\tx"));
    }
}
