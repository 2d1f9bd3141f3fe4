//! Locks against changes of tables' definitions, and what happened before they stood.

use std::collections::HashSet;

use crate::{
    ErrorKind, Result, SourceError,
    postgresql::{
        session::{Session, TextRow, literal, quote, sql_state},
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

/// Of the locks that the server has room for, we take one in so many on the first connection: pg_dump takes one for each
/// table too, the other connections some, and everybody else must still find some.
const SHARE_OF_LOCKS: u64 = 4;

/// A table to lock.
pub(super) struct TableName {
    oid: u32,
    schema: String,
    name: String,
    /// Bytes of the table itself when it was asked, after the snapshot was taken.
    size: u64,
}

/// Which tables are under lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Those without a page have no row in the snapshot, as their file is the one that the snapshot knows: they need no
    /// lock, and are not read.
    pub empty: HashSet<u32>,
    /// Those that are locked only when they are read, for the server has no room for so many locks.
    pub late: HashSet<u32>,
}

pub(super) enum Locked {
    All(Held),
    /// What happened to the tables between snapshot and lock.
    Changed(String),
}

/// The tables of the snapshot with their present sizes, the largest first; `None` where one is gone.
pub(super) fn tables(
    session: &mut Session,
    settings: &Settings,
    check: &dyn Fn() -> Result<()>,
) -> Result<Option<Vec<TableName>>> {
    // Holds to the end of the transaction. Asking for a size, too, waits for whoever has the table to himself.
    session.execute(&format!("SET LOCAL lock_timeout = '{}s'", settings.lock_timeout_seconds))?;
    let statement = format!(
        "SELECT c.oid, n.nspname, c.relname, pg_relation_size(c.oid) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {WANTED} ORDER BY 4 DESC NULLS LAST, c.oid"
    );
    let rows = session.rows_watched(&statement, check).map_err(|error| explain(settings, error))?;
    let table = |row: TextRow| {
        let mut row = row.into_iter().flatten();
        Some(TableName {
            oid: row.next()?.parse().ok()?,
            schema: row.next()?,
            name: row.next()?,
            size: row.next()?.parse().ok()?,
        })
    };
    Ok(rows.into_iter().map(table).collect())
}

/// Locks the tables, waiting no longer than the settings say.
pub(super) fn lock(
    session: &mut Session,
    settings: &Settings,
    tables: &[TableName],
    check: &dyn Fn() -> Result<()>,
) -> Result<Locked> {
    let room = session.text(
        "SELECT current_setting('max_locks_per_transaction')::bigint \
         * (current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint)",
    )?;
    let room = room.and_then(|room| room.parse().ok()).unwrap_or(u64::MAX) / SHARE_OF_LOCKS;
    let (full, empty) = tables.split_at(tables.partition_point(|table| table.size > 0));
    let (now, late) = full.split_at(full.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
    for chunk in now.chunks(TABLES_AT_ONCE) {
        let names: Vec<String> =
            chunk.iter().map(|table| format!("ONLY {}.{}", quote(&table.schema), quote(&table.name))).collect();
        let statement = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        if let Err(error) = session.execute_watched(&statement, check) {
            return match sql_state(&error).as_deref() {
                // No such table, or no such schema: they were there in the snapshot.
                Some("42P01" | "3F000") => Ok(Locked::Changed("a table was dropped or renamed".to_owned())),
                Some("55P03") => Err(waited(settings, chunk, error)),
                Some("53200") => Err(error.hint("Raise max_locks_per_transaction on the server.")),
                _ => Err(error),
            };
        }
    }
    // In the snapshot a table that was truncated or rewritten since looks empty: its file is another one now.
    let rewritten = session.rows(&format!(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE {WANTED} AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid) LIMIT 1"
    ))?;
    let oids = |tables: &[TableName]| tables.iter().map(|table| table.oid).collect();
    match rewritten.into_iter().next().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(".")) {
        Some(table) => Ok(Locked::Changed(format!("the table {table} was truncated or rewritten"))),
        None => Ok(Locked::All(Held { empty: oids(empty), late: oids(late) })),
    }
}

/// Whether a table that was locked late is still what the snapshot knows.
pub(super) fn is_as_it_was(session: &mut Session, oid: u32) -> Result<bool> {
    let same =
        session.text(&format!("SELECT relfilenode = pg_relation_filenode(oid) FROM pg_class WHERE oid = {oid}"))?;
    Ok(same.as_deref() == Some("t"))
}

/// A statement that may have waited for a lock of somebody else.
pub(super) fn explain(settings: &Settings, error: SourceError) -> SourceError {
    if sql_state(&error).as_deref() == Some("55P03") { waited(settings, &[], error) } else { error }
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
        "SELECT l.relation, l.relation::regclass, l.pid, a.usename, a.application_name, a.xact_start, l.granted \
         FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND ({0} = '{{}}' OR l.relation = ANY ({0}::oid[])) ORDER BY l.granted DESC, a.xact_start LIMIT 5",
        literal(&format!("{{{}}}", oids.join(",")))
    ))?;
    session.close();
    let sentence = |row: Vec<Option<String>>| {
        let mut row = row.into_iter();
        let oid: u32 = row.next()??.parse().ok()?;
        let printed = row.next()??;
        let table = tables.iter().find(|table| table.oid == oid);
        let table = table.map_or(printed, |table| format!("{}.{}", table.schema, table.name));
        let process = row.next()?;
        let user = row.next()?.unwrap_or_else(|| "unknown".to_owned());
        let program = row.next()?.filter(|name| !name.is_empty()).map(|name| format!(" ({name})")).unwrap_or_default();
        let since = row.next()?.map(|since| format!(" since {since}")).unwrap_or_default();
        let verb = if row.next()?.as_deref() == Some("t") { "is held by" } else { "is waited for by" };
        let who = match process {
            Some(process) => format!("process {process} of user {user}{program}{since}"),
            None => "a prepared transaction".to_owned(),
        };
        Some(format!("{table} {verb} {who}"))
    };
    Ok(rows.into_iter().filter_map(sentence).collect())
}
