//! Which things of a backup are wanted: tables whose rows come, and entries of the table of contents.
//!
//! A schema brings all that stands in it, a table itself with its indexes, constraints, triggers and grants. Both bring what
//! they need (types, functions, sequences, schemas, extensions) and, where a view needs it, tables of other schemas
//! without their rows. What hangs between a wanted thing and one that is not (a foreign key) is left out and named.

use std::collections::BTreeSet;

use crate::{
    ErrorKind, PartReader, Result, Selection, SourceError,
    postgresql::{
        dump::{Archive, Entry},
        layout::{Captured, Table},
        session::Session,
    },
};

use super::{
    blocks,
    closure::{Graph, is_relation},
    filter::RowFilter,
    plan::kept_whole,
};

pub(super) struct Choice {
    /// Numbers of the entries wanted; `None`: all.
    pub entries: Option<BTreeSet<i32>>,
    /// Positions in the manifest of the tables whose rows are wanted.
    pub tables: Vec<usize>,
    pub large_objects: bool,
    /// Of each row; `None`: all rows.
    pub rows: Option<RowFilter>,
    /// What is left out though it touches something wanted.
    pub notes: Vec<String>,
}

impl Choice {
    /// # Errors
    /// [`ErrorKind::Missing`] for names that the backup lacks, [`ErrorKind::Invalid`] for expressions that are none.
    pub(super) fn new(archive: Option<&Archive>, captured: &Captured, selection: &Selection) -> Result<Self> {
        let all_tables = || (0..captured.tables.len()).collect();
        if selection.is_everything() {
            return Ok(Self {
                entries: None,
                tables: all_tables(),
                large_objects: captured.large_objects.is_some(),
                rows: None,
                notes: Vec::new(),
            });
        }
        let archive = archive.ok_or_else(kept_whole)?;
        let rows = RowFilter::new(selection)?;
        let named = Named { archive, captured };
        for name in selection.include.iter().chain(&selection.exclude) {
            named.check(name)?;
        }
        let graph = Graph::new(archive);
        let mut notes = Vec::new();
        let excluded = named.of(&selection.exclude);
        let entries = if selection.include.is_empty() {
            graph.without(&excluded, &mut notes)
        } else {
            let seeds = named.of(&selection.include).difference(&excluded).copied().collect();
            graph.with_what_belongs(&graph.with_partitions(seeds), &mut notes)
        };
        let wanted =
            |(_, table): &(usize, &Table)| entries.contains(&table.dump_id) && !excluded.contains(&table.dump_id);
        let tables: Vec<usize> = captured.tables.iter().enumerate().filter(wanted).map(|(index, _)| index).collect();
        let with_rows: BTreeSet<i32> =
            tables.iter().filter_map(|index| captured.tables.get(*index)).map(|t| t.dump_id).collect();
        // Structure that came along without being asked for has no rows.
        let entries: BTreeSet<i32> = entries
            .into_iter()
            .filter(|id| graph.entry(*id).is_none_or(|entry| !entry.is_table_data() || with_rows.contains(id)))
            .collect();
        let large_objects = selection.include.is_empty() && rows.is_none() && captured.large_objects.is_some();
        if rows.as_ref().is_some_and(|rows| rows.key_range.is_some()) && tables.len() != 1 {
            return Err(SourceError::new(ErrorKind::Invalid, "A range of keys belongs to exactly one table.")
                .hint("Name the table as schema.table."));
        }
        let everything = entries.len() == archive.entries.len();
        let choice = Self { entries: Some(entries).filter(|_| !everything), tables, large_objects, rows, notes };
        choice.check_range(captured)?;
        Ok(choice)
    }

    /// The same for some of the tables only; entries as given.
    pub(super) fn narrowed(&self, tables: Vec<usize>, entries: BTreeSet<i32>) -> Self {
        let rows = self.rows.clone();
        Self { entries: Some(entries), tables, large_objects: false, rows, notes: Vec::new() }
    }

    pub(super) fn has_entry(&self, dump_id: i32) -> bool {
        self.entries.as_ref().is_none_or(|entries| entries.contains(&dump_id))
    }

    pub(super) fn filters_rows(&self) -> bool {
        self.rows.is_some()
    }

    fn check_range(&self, captured: &Captured) -> Result<()> {
        let Some(_) = self.rows.as_ref().and_then(|rows| rows.key_range.as_ref()) else { return Ok(()) };
        let table = self.tables.first().and_then(|index| captured.tables.get(*index));
        match table {
            Some(table) if table.key_columns.is_empty() => Err(SourceError::new(
                ErrorKind::Unsupported,
                format!(
                    "The table {}.{} has no key, so no range of keys can be restored of it.",
                    table.schema, table.name
                ),
            )
            .hint("Restore the whole table.")),
            _ => Ok(()),
        }
    }

    /// Bytes that will be read of the part's rows, and a note where a range of keys cannot be looked up.
    pub(super) fn bytes(&self, part: &dyn PartReader, captured: &Captured, server: &mut Session) -> Result<u64> {
        let mut bytes = 0;
        for index in &self.tables {
            let Some(table) = captured.tables.get(*index) else { continue };
            bytes += match self.rows.as_ref().and_then(|rows| rows.key_range.as_ref()) {
                Some(range) => blocks::segments(part, table, range, server)?.bytes(),
                None => table.length,
            };
        }
        let large = captured.large_objects.as_ref().filter(|_| self.large_objects).map_or(0, |large| large.length);
        Ok(captured.whole.map_or(bytes + large, |whole| whole.length))
    }
}

/// Names of a selection, looked up in a backup.
struct Named<'a> {
    archive: &'a Archive,
    captured: &'a Captured,
}

impl Named<'_> {
    fn check(&self, name: &str) -> Result<()> {
        if self.archive.entries.iter().any(|entry| self.is_named(entry, name)) {
            return Ok(());
        }
        let mut known: Vec<String> =
            self.captured.tables.iter().take(5).map(|table| format!("{}.{}", table.schema, table.name)).collect();
        if self.captured.tables.len() > known.len() {
            known.push("...".to_owned());
        }
        Err(SourceError::new(ErrorKind::Missing, format!("The backup holds no schema or table `{name}`."))
            .hint(format!("Name a schema, or a table as schema.table; there are {}.", known.join(", "))))
    }

    /// Entries that the names mean themselves.
    fn of(&self, names: &[String]) -> BTreeSet<i32> {
        let named = |entry: &&Entry| names.iter().any(|name| self.is_named(entry, name));
        self.archive.entries.iter().filter(named).map(|entry| entry.dump_id).collect()
    }

    /// `schema`, or `schema.relation`.
    fn is_named(&self, entry: &Entry, name: &str) -> bool {
        if entry.description == "SCHEMA" {
            return entry.tag == *name;
        }
        let Some(schema) = entry.namespace.as_ref().map(|schema| schema.lossy()) else { return false };
        // Rows of a schema's tables may be the only thing that stands in it: of tables that belong to an extension.
        let standing = super::closure::stands_alone(entry);
        if *schema == *name {
            return standing;
        }
        let relation = is_relation(entry) || entry.description == "SEQUENCE" || entry.is_table_data();
        relation
            && name
                .strip_prefix(&*schema)
                .and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(|rest| entry.tag == *rest)
    }
}
