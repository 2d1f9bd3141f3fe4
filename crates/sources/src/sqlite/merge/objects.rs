//! Everything but ordinary rows: virtual tables, indexes, triggers, views.

use super::{PART, Work, rows::Match};
use crate::sqlite::{
    errors::message,
    schema::{self, Table, TableType, quote},
};

/// Virtual tables whose rows can be read and written like others.
const KNOWN_MODULES: [&str; 5] = ["fts3", "fts4", "fts5", "rtree", "rtree_i32"];

/// Where a full-text table keeps its text.
#[derive(PartialEq, Eq)]
enum Content {
    Own,
    /// In another table: the index is built anew from that.
    External,
    /// Nowhere: it cannot be read back.
    Nowhere,
}

impl Work<'_> {
    /// Executes the backup's own statement for a thing; false (and a warning) when the target refuses.
    pub(super) fn create(&self, object_type: &str, name: &str) -> rusqlite::Result<bool> {
        let wanted = |object: &&schema::Object| object.object_type == object_type && object.name == name;
        let sql = self.objects.iter().find(wanted).and_then(|object| object.sql.as_deref()).unwrap_or_default();
        // Only ever the first statement, and only one that creates: the backup may have been made by anybody.
        let is_create = sql.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("create"));
        let result = if is_create {
            self.connection.prepare(sql).and_then(|mut statement| statement.execute([]).map(drop))
        } else {
            Err(rusqlite::Error::InvalidQuery)
        };
        match result {
            Ok(()) => Ok(true),
            Err(error) if is_refusal(&error) => {
                self.merge.report.warn(
                    "not_created",
                    1,
                    format!("The {object_type} `{name}` could not be created: {}.", message(&error)),
                );
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Restores a virtual table; those with external content are put into `external`.
    pub(super) fn virtual_table(&self, table: &Table, external: &mut Vec<String>) -> rusqlite::Result<u64> {
        let sql = self.sql_of(&table.name);
        let module = module_of(sql);
        let skip = |why: &str| {
            self.merge.report.warn("table_not_restored", 1, format!("The virtual table `{}` {why}.", table.name));
            Ok(0)
        };
        if !KNOWN_MODULES.contains(&module.as_str()) {
            return skip("belongs to a module that the server does not know; it was not restored");
        }
        let found = self.existing.get(&table.name.to_ascii_lowercase());
        if found.is_some_and(|found| found.table_type != TableType::Virtual) {
            return skip("was not restored, as the target has something else of that name");
        }
        let is_new = found.is_none();
        if is_new && !self.create("table", &table.name)? {
            return Ok(0);
        }
        match content_of(sql) {
            Content::Own => {}
            Content::External => {
                external.push(table.name.clone());
                return Ok(0);
            }
            Content::Nowhere => return skip("keeps no content; its rows were not restored"),
        }
        let columns = |schema: &str| schema::columns(self.connection, schema, &table.name);
        let of_target = columns("main")?;
        let in_target = |name: &str| of_target.iter().any(|column| !column.computed && column.name == name);
        let of_part = columns(PART)?.into_iter().filter(|column| !column.computed).map(|column| column.name);
        let matched = Match {
            table: table.name.clone(),
            columns: of_part.filter(|name| in_target(name)).collect(),
            key: vec!["rowid".to_owned()],
            // An R-tree's first column is its row's number.
            rowid: module.starts_with("fts").then_some("rowid"),
            key_is_rowid: true,
        };
        self.rows(&matched, is_new)
    }

    /// Indexes and triggers of the wanted tables, and views, where the target has nothing of the name.
    pub(super) fn other_objects(&self) -> rusqlite::Result<()> {
        let of_target = schema::objects(self.connection, "main")?;
        let taken = |name: &str| of_target.iter().any(|object| object.name.eq_ignore_ascii_case(name));
        for kind in ["index", "view", "trigger"] {
            for object in self.objects.iter().filter(|object| object.object_type == kind && object.sql.is_some()) {
                let is_view =
                    kind == "view" || self.objects.iter().any(|o| o.object_type == "view" && o.name == object.table);
                let wanted =
                    if is_view { self.merge.filter.wants_views() } else { self.merge.filter.wants(&object.table) };
                if wanted && !taken(&object.name) {
                    self.create(kind, &object.name)?;
                }
            }
        }
        Ok(())
    }

    /// Builds full-text indexes anew whose content lies in tables that have just been restored.
    pub(super) fn rebuild(&self, tables: &[String]) {
        for table in tables {
            let name = quote(table);
            if let Err(error) =
                self.connection.execute(&format!("INSERT INTO main.{name}({name}) VALUES('rebuild')"), [])
            {
                self.merge.report.warn(
                    "index_not_rebuilt",
                    1,
                    format!("The full-text index `{table}` could not be rebuilt: {}.", message(&error)),
                );
            }
        }
    }

    /// Says how many rows refer to rows that are not there.
    pub(super) fn count_dangling(&self) {
        let count = self
            .connection
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get::<_, i64>(0))
            .unwrap_or(0);
        if count > 0 {
            self.merge.report.warn(
                "foreign_keys",
                count.unsigned_abs(),
                format!("{count} rows of the target refer to rows that it does not have."),
            );
        }
    }

    fn sql_of(&self, table: &str) -> &str {
        let found = self.objects.iter().find(|object| object.object_type == "table" && object.name == table);
        found.and_then(|object| object.sql.as_deref()).unwrap_or_default()
    }
}

/// The statement itself is refused (a name, a constraint, an unknown function), rather than the disk or a lock failing.
fn is_refusal(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_CONSTRAINT, SQLITE_ERROR};
    match error.sqlite_error() {
        Some(failure) => matches!(failure.extended_code & 0xff, SQLITE_ERROR | SQLITE_CONSTRAINT),
        None => true,
    }
}

/// The word after USING, in lower case.
fn module_of(sql: &str) -> String {
    let lower = sql.to_ascii_lowercase();
    let after = lower.split_once(" using ").map(|(_, after)| after).unwrap_or_default();
    after.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// What a full-text table's `content=` option says.
fn content_of(sql: &str) -> Content {
    let spaceless: String = sql.to_ascii_lowercase().chars().filter(|c| !c.is_whitespace()).collect();
    let option = ["(content=", ",content="].iter().find_map(|start| spaceless.split_once(start).map(|(_, rest)| rest));
    match option {
        None => Content::Own,
        Some(value) if value.starts_with("''") || value.starts_with("\"\"") => Content::Nowhere,
        Some(value) if value.starts_with([',', ')']) => Content::Nowhere,
        Some(_) => Content::External,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_of_a_full_text_table_is_read_from_its_statement() {
        assert!(content_of("CREATE VIRTUAL TABLE f USING fts5(a, content_note)") == Content::Own);
        assert!(content_of("CREATE VIRTUAL TABLE f USING fts5(a, content = 'notes')") == Content::External);
        assert!(content_of("CREATE VIRTUAL TABLE f USING fts5(a, content='')") == Content::Nowhere);
        assert!(content_of("CREATE VIRTUAL TABLE f USING fts4(content=\"\", a)") == Content::Nowhere);
        assert_eq!(module_of("CREATE VIRTUAL TABLE f USING FTS5(a)"), "fts5");
    }
}
