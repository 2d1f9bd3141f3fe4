//! Rows of one table.

use super::{PART, Work};
use crate::sqlite::schema::{self, Column, Table, TableType, quote};

/// Names under which SQLite gives a row's number, unless a column has taken them.
const ROWID_NAMES: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// How the rows of a table in the backup and in the target belong together.
pub(super) struct Match {
    pub table: String,
    /// Columns that both have and that can be written.
    pub columns: Vec<String>,
    /// Columns by which a row is known.
    pub key: Vec<String>,
    /// The name of the row's number where it goes along.
    pub rowid: Option<&'static str>,
    /// The key is the row's number, never NULL.
    pub key_is_rowid: bool,
}

impl Match {
    /// True when `m` (of the target) and `p` (of the backup) are the same row.
    fn same_row(&self) -> String {
        // IS, because SQLite lets primary keys be NULL; but virtual tables are only quick with `=`.
        let operator = if self.key_is_rowid { "=" } else { "IS" };
        let same: Vec<String> =
            self.key.iter().map(|column| format!("m.{0} {operator} p.{0}", quote(column))).collect();
        same.join(" AND ")
    }

    fn target(&self) -> String {
        format!("main.{}", quote(&self.table))
    }

    fn part(&self) -> String {
        format!("{PART}.{} AS p", quote(&self.table))
    }

    fn is_missing(&self) -> String {
        format!("NOT EXISTS (SELECT 1 FROM {} AS m WHERE {})", self.target(), self.same_row())
    }

    fn others(&self) -> Vec<String> {
        let is_key = |column: &String| self.key.iter().any(|key| key.eq_ignore_ascii_case(column));
        self.columns.iter().filter(|column| !is_key(column)).map(|column| quote(column)).collect()
    }

    /// True when one of the other columns differs, compared byte by byte.
    fn differs(&self) -> String {
        let of = |alias: &str, collation: &str| {
            let columns: Vec<String> =
                self.others().iter().map(|column| format!("{alias}.{column}{collation}")).collect();
            columns.join(", ")
        };
        format!("({}) IS NOT ({})", of("m", " COLLATE BINARY"), of("p", ""))
    }
}

impl Work<'_> {
    /// Restores an ordinary table; returns the rows that were added or changed.
    pub(super) fn table(&self, table: &Table) -> rusqlite::Result<u64> {
        let found = self.existing.get(&table.name.to_ascii_lowercase());
        if found.is_some_and(|found| found.table_type != TableType::Table) {
            self.merge.report.warn(
                "table_not_restored",
                1,
                format!("The target has something else called `{}`; the table was not restored.", table.name),
            );
            return Ok(0);
        }
        let is_new = found.is_none();
        if is_new && !self.create("table", &table.name)? {
            return Ok(0);
        }
        let without_rowid = table.without_rowid || found.is_some_and(|found| found.without_rowid);
        match self.match_columns(&table.name, without_rowid, is_new)? {
            Some(matched) => self.rows(&matched, is_new),
            None => Ok(0),
        }
    }

    /// `None` when rows cannot be told from one another; the warning says so.
    fn match_columns(&self, table: &str, without_rowid: bool, is_new: bool) -> rusqlite::Result<Option<Match>> {
        let of_part = schema::columns(self.connection, PART, table)?;
        let of_target = schema::columns(self.connection, "main", table)?;
        let has = |columns: &[Column], name: &str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        let writable: Vec<Column> = of_target.iter().filter(|column| !column.computed).cloned().collect();
        let wanted = of_part.iter().filter(|column| !column.computed).map(|column| column.name.clone());
        let (columns, lost): (Vec<String>, Vec<String>) = wanted.partition(|name| has(&writable, name));
        if let Some(first) = lost.first() {
            self.merge.report.warn(
                "columns_missing",
                lost.len() as u64,
                format!("The target's table `{table}` lacks {} columns of the backup (first: `{first}`).", lost.len()),
            );
        }
        let mut keyed: Vec<&Column> = of_target.iter().filter(|column| column.key > 0).collect();
        keyed.sort_by_key(|column| column.key);
        let mut key: Vec<String> = keyed.iter().map(|column| column.name.clone()).collect();
        let free = ROWID_NAMES.into_iter().find(|name| !has(&of_part, name) && !has(&of_target, name));
        let rowid = if without_rowid { None } else { free };
        let key_is_rowid = key.is_empty();
        if let (true, Some(rowid)) = (key_is_rowid, rowid) {
            key.push(rowid.to_owned());
        }
        let knows_key = key_is_rowid || key.iter().all(|name| has(&of_part, name));
        if key.is_empty() || columns.is_empty() || !knows_key {
            self.merge.report.warn(
                "table_not_restored",
                1,
                format!("The rows of `{table}` have no key in common with those of the target; none was restored."),
            );
            return Ok(None);
        }
        // The row's number goes along where it is the key, and into new tables, where nothing can be in its way.
        let rowid = rowid.filter(|_| is_new || key_is_rowid);
        Ok(Some(Match { table: table.to_owned(), columns, key, rowid, key_is_rowid }))
    }

    /// Adds what is missing and, if asked, overwrites what differs.
    pub(super) fn rows(&self, matched: &Match, is_new: bool) -> rusqlite::Result<u64> {
        let condition = self.merge.filter.condition("p", &matched.key, &matched.columns);
        let mut updated = 0;
        if self.merge.update && !is_new && !matched.others().is_empty() {
            updated = self.update(matched, &condition)?;
        }
        let numbered = matched.rowid.iter().map(|name| (*name).to_owned()).chain(matched.columns.iter().cloned());
        let columns: Vec<String> = numbered.map(|column| quote(&column)).collect();
        let values: Vec<String> = columns.iter().map(|column| format!("p.{column}")).collect();
        let (target, part, missing) = (matched.target(), matched.part(), matched.is_missing());
        let wanted = format!("FROM {part} WHERE {missing}{condition}");
        let insert =
            format!("INSERT OR IGNORE INTO {target} ({}) SELECT {} {wanted}", columns.join(", "), values.join(", "));
        let added = self.connection.execute(&insert, [])? as u64;
        self.refused(matched, &wanted, "could not be added")?;
        self.merge.report.log(&format!("table {}: {added} rows added, {updated} overwritten", matched.table));
        Ok(added + updated)
    }

    fn update(&self, matched: &Match, condition: &str) -> rusqlite::Result<u64> {
        let set: Vec<String> = matched.others().iter().map(|column| format!("{column} = p.{column}")).collect();
        let (target, part) = (matched.target(), matched.part());
        let rows = format!("WHERE {} AND {}{condition}", matched.same_row(), matched.differs());
        let update = format!("UPDATE OR IGNORE {target} AS m SET {} FROM {part} {rows}", set.join(", "));
        let updated = self.connection.execute(&update, [])? as u64;
        self.refused(matched, &format!("FROM {target} AS m, {part} {rows}"), "could not be overwritten")?;
        Ok(updated)
    }

    /// Says how many wanted rows are left where a constraint of the target has ignored them.
    fn refused(&self, matched: &Match, left: &str, what: &str) -> rusqlite::Result<()> {
        let count: i64 = self.connection.query_row(&format!("SELECT count(*) {left}"), [], |row| row.get(0))?;
        if count > 0 {
            self.merge.report.warn(
                "rows_refused",
                count.unsigned_abs(),
                format!("{count} rows of `{}` {what}: a constraint of the target stands in the way.", matched.table),
            );
        }
        Ok(())
    }
}
