//! Locks against changes of tables' definitions, and what happened before they stood.

use crate::{
    ErrorKind, Result, SourceError,
    postgresql::{
        session::{Session, literal, quote, sql_state},
        settings::Settings,
    },
};

/// Tables locked by one statement.
const TABLES_AT_ONCE: usize = 500;
/// Kinds of tables whose rows belong to a dump: ordinary ones, partitions among them, and those of extensions only where the
/// extension has marked them as its configuration.
pub(super) const WANTED: &str = "c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
     AND (NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid \
          AND d.deptype = 'e') \
          OR EXISTS (SELECT FROM pg_extension e WHERE c.oid = ANY (e.extconfig)))";

/// A table to lock.
pub(super) struct TableName {
    oid: u32,
    schema: String,
    name: String,
}

pub(super) enum Locked {
    All,
    /// What happened to the tables between snapshot and lock.
    Changed(String),
}

/// The tables of the snapshot.
pub(super) fn tables(session: &mut Session) -> Result<Vec<TableName>> {
    let rows = session.rows(&format!(
        "SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE {WANTED} ORDER BY c.oid"
    ))?;
    let table = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().map(Option::unwrap_or_default);
        let oid = row.next()?.parse().ok()?;
        Some(TableName { oid, schema: row.next()?, name: row.next()? })
    };
    Ok(rows.into_iter().filter_map(table).collect())
}

/// Locks all tables, waiting no longer than the settings say.
pub(super) fn lock(
    session: &mut Session,
    settings: &Settings,
    tables: &[TableName],
    check: &dyn Fn() -> Result<()>,
) -> Result<Locked> {
    session.execute(&format!("SET LOCAL lock_timeout = '{}s'", settings.lock_timeout_seconds))?;
    for chunk in tables.chunks(TABLES_AT_ONCE) {
        let names: Vec<String> =
            chunk.iter().map(|table| format!("ONLY {}.{}", quote(&table.schema), quote(&table.name))).collect();
        let statement = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        if let Err(error) = session.execute_watched(&statement, check) {
            return match sql_state(&error).as_deref() {
                // No such table, or no such schema: they were there in the snapshot.
                Some("42P01" | "3F000") => Ok(Locked::Changed("a table was dropped or renamed".to_owned())),
                Some("55P03") => Err(waited(settings, chunk, error)),
                _ => Err(error),
            };
        }
    }
    session.execute("SET LOCAL lock_timeout = 0")?;
    // In the snapshot a table that was truncated or rewritten since looks empty: its file is another one now.
    let rewritten = session.rows(&format!(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE {WANTED} AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid) LIMIT 1"
    ))?;
    match rewritten.into_iter().next().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(".")) {
        Some(table) => Ok(Locked::Changed(format!("the table {table} was truncated or rewritten"))),
        None => Ok(Locked::All),
    }
}

/// Says who has what we waited for, as another session sees it right after.
fn waited(settings: &Settings, tables: &[TableName], error: SourceError) -> SourceError {
    let seconds = settings.lock_timeout_seconds;
    let holders = holders(settings, tables).unwrap_or_default();
    let sentence = match holders.as_slice() {
        [] => format!("A table was locked by another session for longer than {seconds} s."),
        holders => format!("Tables are locked for longer than {seconds} s: {}.", holders.join("; ")),
    };
    SourceError::new(ErrorKind::Unavailable, sentence)
        .hint("Let that session finish or end it (pg_terminate_backend), or raise the option lock_timeout_seconds.")
        .because(error)
}

/// "public.t by process 123 of user app (psql) since 2024-01-01 00:00:00 UTC".
fn holders(settings: &Settings, tables: &[TableName]) -> Result<Vec<String>> {
    let mut session = Session::open(settings, "trivault lock report")?;
    let oids: Vec<String> = tables.iter().map(|table| table.oid.to_string()).collect();
    let rows = session.rows(&format!(
        "SELECT l.relation::text, l.pid::text, a.usename, a.application_name, a.xact_start::text, l.granted::text \
         FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND l.relation = ANY ({}::oid[]) ORDER BY l.granted DESC, a.xact_start LIMIT 5",
        literal(&format!("{{{}}}", oids.join(",")))
    ))?;
    session.close();
    let sentence = |row: Vec<Option<String>>| {
        let mut row = row.into_iter();
        let oid: u32 = row.next()??.parse().ok()?;
        let table = tables.iter().find(|table| table.oid == oid)?;
        let process = row.next()?;
        let user = row.next()?.unwrap_or_else(|| "unknown".to_owned());
        let program = row.next()?.filter(|name| !name.is_empty()).map(|name| format!(" ({name})")).unwrap_or_default();
        let since = row.next()?.map(|since| format!(" since {since}")).unwrap_or_default();
        let verb = if row.next()?.as_deref() == Some("true") { "is held by" } else { "is waited for by" };
        let who = match process {
            Some(process) => format!("process {process} of user {user}{program}{since}"),
            None => "a prepared transaction".to_owned(),
        };
        Some(format!("{}.{} {verb} {who}", table.schema, table.name))
    };
    Ok(rows.into_iter().filter_map(sentence).collect())
}
