//! A table of the backup as it is in the live database.

use crate::{
    ErrorKind, Result, SourceError,
    postgresql::{
        layout::Table,
        restore::{filter::column_names, rows::name},
        session::{Session, literal, quote},
    },
};

pub(super) struct LiveTable {
    /// Columns of the backup that the server computes itself here.
    generated: Vec<String>,
    /// Columns whose numbers the server gives; they can be inserted and not changed.
    identities: Vec<String>,
    columns: Vec<String>,
    is_table: bool,
    /// The key's columns, where a unique index stands on exactly these.
    pub key: Option<Vec<String>>,
    pub is_empty: bool,
    /// Enabled triggers of the application, and whether they fire always. Empty where they are not ours to switch off.
    pub triggers: Vec<(String, bool)>,
}

impl LiveTable {
    pub(super) fn find(session: &mut Session, table: &Table) -> Result<Option<Self>> {
        let regclass = literal(&name(table));
        let found = session.rows(&format!(
            "SELECT oid::text, relkind::text, pg_catalog.pg_has_role(relowner, 'MEMBER')::text \
             FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass({regclass})"
        ))?;
        let Some([Some(oid), Some(kind), Some(ours)]) = found.first().map(Vec::as_slice) else { return Ok(None) };
        let is_table = matches!(kind.as_str(), "r" | "p");
        let attributes = session.rows(&format!(
            "SELECT attname, attgenerated::text, attidentity::text FROM pg_catalog.pg_attribute \
             WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped"
        ))?;
        let where_true = |index: usize, value: &str| -> Vec<String> {
            let rows = attributes.iter().filter(|row| row.get(index).and_then(|text| text.as_deref()) == Some(value));
            rows.filter_map(|row| row.first().cloned().flatten()).collect()
        };
        let empty = if is_table {
            session.text(&format!("SELECT (NOT EXISTS (SELECT FROM {}))::text", name(table)))?.as_deref()
                == Some("true")
        } else {
            false
        };
        Ok(Some(Self {
            generated: where_true(1, "s"),
            identities: where_true(2, "a"),
            columns: attributes.iter().filter_map(|row| row.first().cloned().flatten()).collect(),
            is_table,
            key: key(session, oid, table)?,
            is_empty: empty,
            triggers: if ours == "true" { triggers(session, oid)? } else { Vec::new() },
        }))
    }

    /// Refuses a live table that cannot take the backup's rows.
    pub(super) fn check(&self, table: &Table) -> Result<()> {
        let refuse = |sentence: String| {
            Err(SourceError::new(ErrorKind::Conflict, sentence)
                .hint("Restore into a new database, and take from there what is wanted."))
        };
        let full = format!("{}.{}", table.schema, table.name);
        if !self.is_table {
            return refuse(format!("{full} is a table in the backup and none in the live database."));
        }
        let lacking: Vec<String> =
            column_names(&table.columns).into_iter().filter(|column| !self.columns.contains(column)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        refuse(format!("The live table {full} lacks columns of the backup: {}.", lacking.join(", ")))
    }

    /// Columns that are written.
    pub(super) fn written(&self, table: &Table) -> Vec<String> {
        column_names(&table.columns).into_iter().filter(|column| !self.generated.contains(column)).collect()
    }

    /// Columns that a row can be given later.
    pub(super) fn changeable(&self, table: &Table) -> Vec<String> {
        let key = self.key.as_deref().unwrap_or_default();
        let mut columns = self.written(table);
        columns.retain(|column| !key.contains(column) && !self.identities.contains(column));
        columns
    }
}

fn key(session: &mut Session, oid: &str, table: &Table) -> Result<Option<Vec<String>>> {
    let mut columns: Vec<String> = table.key_columns.iter().map(|(name, _)| name.clone()).collect();
    if columns.is_empty() {
        return Ok(None);
    }
    columns.sort();
    let wanted: Vec<String> = columns.iter().map(|name| literal(name)).collect();
    let found = session.text(&format!(
        "SELECT 1::text FROM pg_catalog.pg_index i WHERE i.indrelid = {oid} AND i.indisunique AND i.indimmediate \
         AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
         AND (SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE \"C\") \
              FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid \
              AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])) = ARRAY[{}]::text[] LIMIT 1",
        wanted.join(",")
    ))?;
    Ok(found.map(|_| columns))
}

fn triggers(session: &mut Session, oid: &str) -> Result<Vec<(String, bool)>> {
    let rows = session.rows(&format!(
        "SELECT tgname, (tgenabled = 'A')::text FROM pg_catalog.pg_trigger \
         WHERE tgrelid = {oid} AND NOT tgisinternal AND tgenabled IN ('O', 'A')"
    ))?;
    Ok(rows
        .into_iter()
        .filter_map(|row| match row.as_slice() {
            [Some(name), Some(always)] => Some((quote(name), always == "true")),
            _ => None,
        })
        .collect())
}
