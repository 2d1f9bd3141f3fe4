//! One table's rows: into a staging table, and from it into the live one.

use crate::{
    Result, Warning,
    postgresql::{
        layout::{Captured, Table},
        restore::{
            blocks::{self, Segments},
            choice::Choice,
            rows::{copy, copy_statement, name},
            run::Run,
            stream::Rows,
        },
        session::{Session, quote},
    },
};

use super::live::LiveTable;

/// Dropped at the end of each table, and by the server at the end of the transaction.
const STAGE: &str = "pg_temp.trivault_stage";

/// Answers the number of rows that were added or overwritten.
pub(super) fn merge(
    run: &Run<'_>,
    session: &mut Session,
    captured: &Captured,
    choice: &Choice,
    table: &Table,
    update: bool,
) -> Result<u64> {
    let Some(live) = LiveTable::find(session, table)? else { return Ok(0) };
    live.check(table)?;
    if live.key.is_none() && !live.is_empty {
        run.part.warn(Warning {
            code: "no_key".to_owned(),
            count: 1,
            sentence: format!(
                "{}.{} has rows and no key by which they could be told from the backup's; it was left as it is.",
                table.schema, table.name
            ),
        });
        return Ok(0);
    }
    for (trigger, _) in &live.triggers {
        session.execute(&format!("ALTER TABLE {} DISABLE TRIGGER {trigger}", name(table)))?;
    }
    // An empty table takes the rows as they come: nothing can be in their way.
    let direct = live.is_empty && live.written(table).len() == super::super::filter::column_names(&table.columns).len();
    let changed = if direct {
        fill(run, session, captured, choice, table, &name(table))?
    } else {
        stage(run, session, captured, choice, table, &live, update)?
    };
    for (trigger, always) in &live.triggers {
        let always = if *always { "ALWAYS " } else { "" };
        session.execute(&format!("ALTER TABLE {} ENABLE {always}TRIGGER {trigger}", name(table)))?;
    }
    Ok(changed)
}

fn stage(
    run: &Run<'_>,
    session: &mut Session,
    captured: &Captured,
    choice: &Choice,
    table: &Table,
    live: &LiveTable,
    update: bool,
) -> Result<u64> {
    session.execute(&format!(
        "CREATE TEMPORARY TABLE {STAGE} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA",
        table.columns,
        name(table)
    ))?;
    fill(run, session, captured, choice, table, STAGE)?;
    let changed = session
        .text(&format!("WITH done AS ({} RETURNING 1) SELECT count(*)::text FROM done", insert(table, live, update)))?;
    session.execute(&format!("DROP TABLE {STAGE}"))?;
    Ok(changed.and_then(|count| count.parse().ok()).unwrap_or(0))
}

fn insert(table: &Table, live: &LiveTable, update: bool) -> String {
    let list = |columns: &[String], before: &str| {
        columns.iter().map(|column| format!("{before}{}", quote(column))).collect::<Vec<_>>().join(", ")
    };
    let (written, changeable) = (live.written(table), live.changeable(table));
    let columns = list(&written, "");
    let conflict = match &live.key {
        Some(key) if update && !changeable.is_empty() => {
            let set: Vec<String> =
                changeable.iter().map(|column| format!("{0} = EXCLUDED.{0}", quote(column))).collect();
            // As texts: not every type can be compared, and texts are exact.
            format!(
                " ON CONFLICT ({}) DO UPDATE SET {} WHERE ROW({})::text IS DISTINCT FROM ROW({})::text",
                list(key, ""),
                set.join(", "),
                list(&changeable, "live."),
                list(&changeable, "EXCLUDED."),
            )
        }
        // Whatever is in the way stays.
        _ => " ON CONFLICT DO NOTHING".to_owned(),
    };
    format!(
        "INSERT INTO {} AS live ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {STAGE}{conflict}",
        name(table)
    )
}

/// Copies the wanted rows into a table.
fn fill(
    run: &Run<'_>,
    session: &mut Session,
    captured: &Captured,
    choice: &Choice,
    table: &Table,
    into: &str,
) -> Result<u64> {
    let filter = choice.rows.as_ref();
    let segments = match filter.and_then(|rows| rows.key_range.as_ref()) {
        Some(range) => blocks::segments(run.part, table, range, session)?,
        None => Segments::whole(table),
    };
    let condition = filter.map(|rows| rows.condition(table)).unwrap_or_default();
    let statement = copy_statement(into, table, &captured.database.encoding, false, &condition);
    let mut filled = 0;
    for range in 0..table.ranges.len() {
        let segments = segments.of(range);
        if segments.is_empty() {
            continue;
        }
        let mut rows = Rows::open(run.part, table, range, segments, filter.and_then(|rows| rows.lines(table)))?;
        filled += copy(run, session, &statement, &mut rows)?;
    }
    Ok(filled)
}
