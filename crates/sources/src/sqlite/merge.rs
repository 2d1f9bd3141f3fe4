//! Item by item: rows of a backup go into a live database, in one transaction, and nothing is ever deleted.
//!
//! A row is known by the target's primary key, or by its rowid where the table has none. Triggers of the target do not
//! fire and foreign keys are not enforced meanwhile (what would break is counted and said). Other programs may have the
//! database open.

mod objects;
mod rows;

use std::{collections::HashMap, path::Path};

use rusqlite::{Connection, TransactionBehavior, config::DbConfig};

use super::{
    connection::{interruptible, open_for_writing, private_uri},
    errors::explain,
    filter::Filter,
    schema::{self, Object, Table, TableType},
};
use crate::{PartReader, Progress, Result, Warning};

/// The name under which the backup is attached.
const PART: &str = "part";

/// Where a merge tells what it does; silent when it is finished after a crash.
#[derive(Clone, Copy)]
pub(super) struct Report<'a>(pub Option<&'a dyn PartReader>);

impl Report<'_> {
    pub(super) fn log(&self, line: &str) {
        if let Some(part) = self.0 {
            part.log(line);
        }
    }

    pub(super) fn warn(&self, code: &str, count: u64, sentence: String) {
        if let Some(part) = self.0 {
            part.warn(Warning { code: code.to_owned(), count, sentence });
        }
    }

    pub(super) fn progress(&self, progress: Progress) {
        if let Some(part) = self.0 {
            part.progress(progress);
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.is_some_and(PartReader::is_cancelled)
    }
}

/// What is to be merged, and how.
pub(super) struct Merge<'a> {
    /// A complete database that nobody changes.
    pub part: &'a Path,
    pub target: &'a Path,
    pub filter: &'a Filter,
    /// Rows that differ are overwritten; else they stay.
    pub update: bool,
    pub report: Report<'a>,
    /// Bytes of the copy, which progress has counted already.
    pub copied: u64,
}

/// A merge at work.
struct Work<'a> {
    merge: &'a Merge<'a>,
    connection: &'a Connection,
    /// Tables and views of the target by their name in lower case, as it is before the merge.
    existing: HashMap<String, Table>,
    /// What the backup's schema says.
    objects: Vec<Object>,
}

impl Merge<'_> {
    /// Runs it; `before_commit` is called when only the commit is left. Returns the rows that were added or changed.
    ///
    /// # Errors
    /// After an error the target is as it was.
    pub(super) fn run(&self, before_commit: &dyn Fn() -> Result<()>) -> Result<u64> {
        let sqlite = |error| explain(self.target, error);
        let mut connection = open_for_writing(self.target)?;
        self.prepare(&connection).map_err(sqlite)?;
        // Locks the target at once, so that the merge cannot fail for a lock half-way.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
        let is_cancelled = || self.report.is_cancelled();
        let rows = interruptible(&transaction, &is_cancelled, || self.work(&transaction))?;
        before_commit()?;
        transaction.commit().map_err(sqlite)?;
        Ok(rows)
    }

    fn prepare(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        connection.pragma_update(None, "foreign_keys", false)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.execute(&format!("ATTACH ?1 AS {PART}"), [private_uri(self.part)])?;
        self.filter.register(connection)
    }

    fn work(&self, connection: &Connection) -> Result<u64> {
        let sqlite = |error| explain(self.target, error);
        let existing = schema::tables(connection, "main").map_err(sqlite)?;
        let work = Work {
            merge: self,
            connection,
            existing: existing.into_iter().map(|table| (table.name.to_ascii_lowercase(), table)).collect(),
            objects: schema::objects(connection, PART).map_err(sqlite)?,
        };
        let mut progress = Progress { bytes_read: self.copied, bytes_total: Some(self.copied), ..Progress::default() };
        let mut external = Vec::new();
        for table in schema::tables(connection, PART).map_err(sqlite)? {
            if self.report.is_cancelled() {
                return Err(crate::SourceError::cancelled());
            }
            if !self.filter.wants(&table.name) {
                continue;
            }
            progress.items += match table.table_type {
                TableType::Table => work.table(&table).map_err(sqlite)?,
                TableType::Virtual => work.virtual_table(&table, &mut external).map_err(sqlite)?,
                TableType::Shadow | TableType::View => 0,
            };
            self.report.progress(progress);
        }
        work.other_objects().map_err(sqlite)?;
        work.rebuild(&external);
        work.count_dangling();
        Ok(progress.items)
    }
}
