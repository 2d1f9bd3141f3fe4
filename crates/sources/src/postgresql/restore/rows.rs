//! Rows into the new tables, by several sessions at once.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    ErrorKind, Result, SourceError,
    postgresql::{
        layout::{Captured, Table},
        session::{Session, literal, quote},
    },
};

use super::{
    blocks::{self, Segment, Segments},
    choice::Choice,
    early::Early,
    large_objects,
    run::Run,
    stream::Rows,
};

/// Tables from this size on are emptied in the transaction that fills them, so that their rows are frozen from the
/// start; for smaller ones the second file costs more. Bytes.
const FREEZE_BYTES: u64 = 1024 * 1024;

enum Task {
    /// A table's streams, one after the other. `whole`: all that the table gets comes with this task.
    Rows {
        table: usize,
        streams: Vec<Stream>,
        whole: bool,
    },
    LargeObjects,
}

/// What is wanted of one stream of a table.
struct Stream {
    range: usize,
    segments: Vec<Segment>,
}

impl Stream {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }
}

/// What is loaded, and how far it is.
struct Load<'a, 'r> {
    run: &'a Run<'r>,
    captured: &'a Captured,
    choice: &'a Choice,
    /// Tables that were made just now and hold nothing: they may be emptied.
    fresh: &'a (dyn Fn(&Table) -> bool + Sync),
    /// The largest last.
    tasks: Mutex<Vec<Task>>,
    /// Rows that went in, one number for each table of the manifest.
    loaded: Vec<AtomicU64>,
    /// Tasks of each table of the manifest that are not done.
    left: Vec<AtomicUsize>,
    early: &'a Early<'a, 'r>,
}

/// Loads the wanted rows and large objects. Answers the number of rows.
///
/// # Errors
/// Also when a table got another number of rows than the manifest says.
pub(super) fn load(
    run: &Run<'_>,
    captured: &Captured,
    choice: &Choice,
    fresh: &(dyn Fn(&Table) -> bool + Sync),
    early: &Early<'_, '_>,
) -> Result<u64> {
    let tasks = tasks(run, captured, choice)?;
    let left: Vec<AtomicUsize> = captured.tables.iter().map(|_| AtomicUsize::new(0)).collect();
    for task in &tasks {
        if let Task::Rows { table, .. } = task
            && let Some(left) = left.get(*table)
        {
            left.fetch_add(1, Ordering::Relaxed);
        }
    }
    let threads = run.settings.workers.min(tasks.len());
    let load = Load {
        run,
        captured,
        choice,
        fresh,
        tasks: Mutex::new(tasks),
        loaded: captured.tables.iter().map(|_| AtomicU64::new(0)).collect(),
        left,
        early,
    };
    // Before the first one ends.
    (0..threads).for_each(|_| early.begin());
    parallel(run, threads, &|session| load.work(session))?;
    load.compare()
}

/// Runs the same work in several sessions. The first failure stops the others.
pub(super) fn parallel(
    run: &Run<'_>,
    threads: usize,
    work: &(dyn Fn(&mut Session) -> Result<()> + Sync),
) -> Result<()> {
    let one = || {
        let result = run.session().and_then(|mut session| {
            let result = work(&mut session);
            session.close();
            result
        });
        if result.is_err() {
            run.stop();
        }
        result
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let results = threads.into_iter().map(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(SourceError::new(ErrorKind::Internal, "Loading rows ended in a defect.")))
        });
        let mut failures: Vec<SourceError> = results.filter_map(Result::err).collect();
        // A session that was ended because another one had failed is not the reason.
        failures.sort_by_key(|error| match error.kind {
            ErrorKind::Cancelled => 2,
            ErrorKind::Unavailable => 1,
            _ => 0,
        });
        failures.into_iter().next().map_or(Ok(()), Err)
    })
}

fn tasks(run: &Run<'_>, captured: &Captured, choice: &Choice) -> Result<Vec<Task>> {
    let mut tables = Vec::new();
    for index in &choice.tables {
        let Some(table) = captured.tables.get(*index) else { continue };
        let segments = match choice.rows.as_ref().and_then(|rows| rows.key_range.as_ref()) {
            Some(range) => {
                let mut session = run.session()?;
                let segments = blocks::segments(run.part, table, range, &mut session)?;
                session.close();
                segments
            }
            None => Segments::whole(table),
        };
        let streams: Vec<Stream> = (0..table.ranges.len())
            .map(|range| Stream { range, segments: segments.of(range) })
            .filter(|stream| stream.bytes() > 0)
            .collect();
        tables.push((*index, streams));
    }
    let all: u64 = tables.iter().flat_map(|(_, streams)| streams).map(Stream::bytes).sum();
    let mut tasks = Vec::new();
    for (table, streams) in tables {
        let length: u64 = streams.iter().map(Stream::bytes).sum();
        // One session fills a table best: its rows are frozen, lie in their order, and nobody waits for its next page. Only a
        // table that would keep the others waiting is shared among them.
        if streams.len() < 2 || length <= all / run.settings.workers.max(1) as u64 {
            if length > 0 {
                tasks.push((length, Task::Rows { table, streams, whole: true }));
            }
            continue;
        }
        tasks.extend(
            streams
                .into_iter()
                .map(|stream| (stream.bytes(), Task::Rows { table, streams: vec![stream], whole: false })),
        );
    }
    if let Some(large) = captured.large_objects.as_ref().filter(|_| choice.large_objects) {
        tasks.push((large.length, Task::LargeObjects));
    }
    tasks.sort_by_key(|(length, _)| *length);
    Ok(tasks.into_iter().map(|(_, task)| task).collect())
}

impl Load<'_, '_> {
    fn work(&self, session: &mut Session) -> Result<()> {
        loop {
            self.run.check()?;
            let task = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match task {
                None => return self.early.help(),
                Some(Task::LargeObjects) => large_objects::load(self.run, self.captured, session)?,
                Some(Task::Rows { table: index, streams, whole }) => {
                    let (Some(table), Some(loaded), Some(left)) =
                        (self.captured.tables.get(index), self.loaded.get(index), self.left.get(index))
                    else {
                        continue;
                    };
                    let rows = self.rows(session, table, streams, whole)?;
                    loaded.fetch_add(rows, Ordering::Relaxed);
                    if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        self.early.complete(index);
                    }
                }
            }
        }
    }

    fn rows(&self, session: &mut Session, table: &Table, streams: Vec<Stream>, whole: bool) -> Result<u64> {
        let length: u64 = streams.iter().map(Stream::bytes).sum();
        let freeze = whole && length >= FREEZE_BYTES && (self.fresh)(table);
        let condition = self.choice.rows.as_ref().map(|rows| rows.condition(table)).unwrap_or_default();
        let statement = copy_statement(&name(table), table, &self.captured.database.encoding, freeze, &condition);
        session.execute("BEGIN")?;
        if freeze {
            session.execute(&format!("TRUNCATE ONLY {}", name(table)))?;
        }
        let mut loaded = 0;
        for Stream { range, segments } in streams {
            let filter = self.choice.rows.as_ref().and_then(|rows| rows.lines(table));
            let mut rows = Rows::open(self.run.part, table, range, segments, filter)?;
            loaded += copy(self.run, session, &statement, &mut rows).map_err(|error| in_table(table, error))?;
        }
        session.execute("COMMIT")?;
        if freeze {
            analyze_early(session, table)?;
        }
        Ok(loaded)
    }

    /// Compares with the manifest. Answers the number of all rows.
    fn compare(&self) -> Result<u64> {
        let mut all = 0;
        for index in &self.choice.tables {
            let (Some(table), Some(loaded)) = (self.captured.tables.get(*index), self.loaded.get(*index)) else {
                continue;
            };
            let loaded = loaded.load(Ordering::Relaxed);
            all += loaded;
            if !self.choice.filters_rows() && loaded != table.rows {
                return Err(SourceError::new(
                    ErrorKind::Store,
                    format!(
                        "The backup should hold {} rows of {}.{}; {loaded} arrived.",
                        table.rows, table.schema, table.name
                    ),
                )
                .hint("Verify the store; restore another backup."));
            }
        }
        Ok(all)
    }
}

/// Statistics of a large table while other sessions still load: at the end nothing else is left to do. A table that others
/// inherit from or belong to waits for their rows.
fn analyze_early(session: &mut Session, table: &Table) -> Result<()> {
    let wanted = session.text(&format!(
        "SELECT (NOT relispartition AND NOT relhassubclass AND pg_catalog.pg_has_role(relowner, 'MEMBER'))::text \
         FROM pg_catalog.pg_class WHERE oid = {}::pg_catalog.regclass",
        literal(&name(table))
    ))?;
    if wanted.as_deref() == Some("true") { session.execute(&format!("ANALYZE {}", name(table))) } else { Ok(()) }
}

/// Feeds a `COPY` until the rows are at their end.
pub(super) fn copy(run: &Run<'_>, session: &mut Session, statement: &str, rows: &mut Rows) -> Result<u64> {
    let mut loaded = 0;
    while !rows.is_done() {
        rows.begin_piece();
        let taken = session.copy_in(statement, &mut |buffer| {
            run.check()?;
            let bytes = rows.fill(buffer)?;
            run.moved(bytes, 0);
            Ok(())
        })?;
        run.moved(0, taken);
        loaded += taken;
    }
    Ok(loaded)
}

pub(super) fn name(table: &Table) -> String {
    format!("{}.{}", quote(&table.schema), quote(&table.name))
}

pub(super) fn copy_statement(into: &str, table: &Table, encoding: &str, freeze: bool, condition: &str) -> String {
    let columns = if table.columns.is_empty() { String::new() } else { format!(" ({})", table.columns) };
    let freeze = if freeze { "FREEZE, " } else { "" };
    format!("COPY {into}{columns} FROM STDIN WITH ({freeze}ENCODING {}){condition}", literal(encoding).trim_start())
}

/// Says which table it was.
pub(super) fn in_table(table: &Table, error: SourceError) -> SourceError {
    if error.kind == ErrorKind::Cancelled {
        return error;
    }
    let SourceError { kind, sentence, hint, source } = error;
    SourceError { kind, sentence: format!("{}.{}: {sentence}", table.schema, table.name), hint, source }
}
