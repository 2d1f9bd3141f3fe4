//! What a database's rows are, in few bytes, for comparisons of what was restored with what was backed up.

use super::{
    session::{Session, quote},
    settings::Settings,
};
use crate::Result;

const TABLES: &str = "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2";

/// One table's rows, whatever order they lie in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDigest {
    /// `schema.table`, quoted where it must be.
    pub table: String,
    pub rows: u64,
    /// Sum of the rows' 64-bit hashes.
    pub sum: String,
}

/// All tables of one snapshot.
pub(super) fn digests(settings: &Settings) -> Result<Vec<TableDigest>> {
    let mut session = Session::open(settings, "trivault comparison")?;
    session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let mut digests = Vec::new();
    for row in session.rows(TABLES)? {
        let [Some(schema), Some(name)] = row.as_slice() else { continue };
        let table = format!("{}.{}", quote(schema), quote(name));
        let sum = "coalesce(sum(pg_catalog.hashtextextended(t::pg_catalog.text, 0)), 0)";
        let found = session.rows(&format!("SELECT count(*), {sum} FROM ONLY {table} t"))?;
        let value = |index: usize| found.first().and_then(|row| row.get(index)?.clone()).unwrap_or_default();
        digests.push(TableDigest { table, rows: value(0).parse().unwrap_or(0), sum: value(1) });
    }
    session.close();
    Ok(digests)
}
