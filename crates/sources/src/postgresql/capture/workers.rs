//! Several connections read ranges of tables at the same time, the largest first.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use super::{
    STANDBY_HINT,
    large_objects::{self, Objects},
    locks::{self, Held},
    snapshot::Snapshot,
    table::{TableWork, Tally},
};
use crate::{
    CaptureSink, ErrorKind, Result, SourceError,
    postgresql::{
        dump::LargeObjectGroup,
        layout::LargeObjects,
        session::{Session, sql_state},
        settings::Settings,
    },
};

/// How often connection 0 looks whether it must say something while others work.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Tables that a connection locks before it gives all these locks up and takes the snapshot again.
const MOST_LOCKS: usize = 500;

/// A piece of work for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Rows { table: usize, range: u32 },
    LargeObjects,
}

/// What all connections share.
struct Shared<'a, 's> {
    sink: &'s dyn CaptureSink,
    settings: &'a Settings,
    purpose: &'a str,
    snapshot: &'a str,
    encoding: &'a str,
    held: &'a Held,
    tables: &'a [TableWork<'s>],
    groups: &'a [LargeObjectGroup],
    tally: &'a Tally,
    queue: Mutex<VecDeque<Job>>,
    objects: Mutex<Option<Objects>>,
    stop: AtomicBool,
    failure: Mutex<Option<SourceError>>,
}

/// Reads all rows and large objects. Answers what became of the latter.
pub(super) fn read<'s>(
    settings: &Settings,
    purpose: &str,
    sink: &'s dyn CaptureSink,
    snapshot: &mut Snapshot,
    tables: &[TableWork<'s>],
    groups: &[LargeObjectGroup],
    tally: &Tally,
) -> Result<Option<LargeObjects>> {
    let jobs = jobs(tables, groups);
    let workers = settings.workers.min(jobs.len());
    let (name, encoding, held) = (snapshot.name.clone(), snapshot.encoding.clone(), snapshot.held.clone());
    let shared = Shared {
        sink,
        settings,
        purpose,
        snapshot: &name,
        encoding: &encoding,
        held: &held,
        tables,
        groups,
        tally,
        queue: Mutex::new(jobs),
        objects: Mutex::default(),
        stop: AtomicBool::new(false),
        failure: Mutex::default(),
    };
    let (defer, deferred) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (shared, defer) = (&shared, defer.clone());
            scope.spawn(move || {
                if let Err(error) = shared.work(&defer) {
                    shared.fail(error);
                }
            });
        }
        drop(defer);
        if let Err(error) = shared.attend(snapshot, &deferred) {
            shared.fail(error);
        }
    });
    if let Some(error) = shared.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let objects = shared.objects.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(objects.map(|objects| objects.facts))
}

/// The largest first, so that no connection is left with a large table when the others are done; ranges of one table in
/// their order.
fn jobs(tables: &[TableWork<'_>], groups: &[LargeObjectGroup]) -> VecDeque<Job> {
    // Without a page there is no row.
    let mut order: Vec<usize> = (0..tables.len()).filter(|index| tables[*index].plan.found.pages > 0).collect();
    order.sort_by_key(|index| std::cmp::Reverse(tables[*index].plan.range_bytes()));
    let ranges = |table: usize| (0..tables[table].plan.range_count()).map(move |range| Job::Rows { table, range });
    let objects = (!groups.is_empty()).then_some(Job::LargeObjects);
    objects.into_iter().chain(order.into_iter().flat_map(ranges)).collect()
}

impl<'s> Shared<'_, 's> {
    fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) || self.sink.is_cancelled() {
            Err(SourceError::cancelled())
        } else {
            Ok(())
        }
    }

    /// The first failure counts; those that follow from it do not.
    fn fail(&self, error: SourceError) {
        lock(&self.failure).get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// One connection's work.
    fn work(&self, defer: &mpsc::Sender<Job>) -> Result<()> {
        let mut session = Snapshot::join(self.settings, self.snapshot, self.purpose)?;
        let mut locked = HashSet::new();
        while let Some(job) = self.next() {
            self.check()?;
            if let Job::Rows { table, .. } = job
                && !locked.contains(&table)
            {
                if locked.len() >= MOST_LOCKS {
                    // Locks stand until the transaction ends.
                    session.execute("ROLLBACK")?;
                    Snapshot::enter(&mut session, self.snapshot)?;
                    locked.clear();
                }
                if !self.lock(&mut session, table)? {
                    // Somebody waits to change the table, and we would wait behind. Connection 0 has its lock already.
                    locked.clear();
                    let _ = defer.send(job);
                    continue;
                }
                locked.insert(table);
                self.confirm(&mut session, table)?;
            }
            self.run(&mut session, job)?;
        }
        session.close();
        Ok(())
    }

    /// What connection 0 does meanwhile: it reads what no other can, and keeps the line open.
    fn attend(&self, snapshot: &mut Snapshot, deferred: &mpsc::Receiver<Job>) -> Result<()> {
        loop {
            match deferred.recv_timeout(WATCH_INTERVAL) {
                Ok(job) => {
                    self.check()?;
                    self.lock_and_wait(&mut snapshot.session, job)?;
                    self.run(&mut snapshot.session, job)?;
                }
                Err(mpsc::RecvTimeoutError::Timeout) => snapshot.stay_awake()?,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn next(&self) -> Option<Job> {
        lock(&self.queue).pop_front()
    }

    /// False where the lock cannot be had at once; the transaction is a new one then.
    fn lock(&self, session: &mut Session, table: usize) -> Result<bool> {
        let Some(table) = self.tables.get(table) else { return Ok(true) };
        let statement = format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE NOWAIT", table.plan.quoted_name());
        match session.execute(&statement) {
            Ok(()) => Ok(true),
            Err(error) if sql_state(&error).as_deref() == Some("55P03") => {
                self.sink.log(&format!(
                    "somebody waits to change {}; it is read on the first connection",
                    table.plan.name()
                ));
                session.execute("ROLLBACK")?;
                Snapshot::enter(session, self.snapshot)?;
                Ok(false)
            }
            Err(error) => Err(explain(&table.plan.name(), error)),
        }
    }

    /// A table that connection 0 has not locked at the beginning either.
    fn lock_and_wait(&self, session: &mut Session, job: Job) -> Result<()> {
        let Job::Rows { table, .. } = job else { return Ok(()) };
        let Some(work) = self.tables.get(table).filter(|work| self.held.late.contains(&work.plan.found.oid)) else {
            return Ok(());
        };
        let statement = format!("LOCK TABLE ONLY {} IN ACCESS SHARE MODE", work.plan.quoted_name());
        let locked = session.execute_watched(&statement, &|| self.check());
        locked.map_err(|error| locks::explain(self.settings, error))?;
        self.confirm(session, table)
    }

    /// Looks whether a table that was locked late has been rewritten before.
    fn confirm(&self, session: &mut Session, table: usize) -> Result<()> {
        let Some(work) = self.tables.get(table).filter(|work| self.held.late.contains(&work.plan.found.oid)) else {
            return Ok(());
        };
        if locks::is_as_it_was(session, work.plan.found.oid)? {
            return Ok(());
        }
        Err(SourceError::new(
            ErrorKind::Unavailable,
            format!("The table {} was truncated or rewritten before it could be locked.", work.plan.name()),
        )
        .hint(
            "Raise max_locks_per_transaction on the server, so that all tables are locked at the beginning; try again.",
        ))
    }

    fn run(&self, session: &mut Session, job: Job) -> Result<()> {
        match job {
            Job::Rows { table, range } => match self.tables.get(table) {
                Some(table) => self.copy(session, table, range),
                None => Ok(()),
            },
            Job::LargeObjects => {
                let count = |bytes| self.tally.add(self.sink, (bytes, 0));
                let objects = large_objects::read(session, self.sink, self.groups, &|| self.check(), &count)?;
                *lock(&self.objects) = Some(objects);
                Ok(())
            }
        }
    }

    fn copy(&self, session: &mut Session, table: &TableWork<'s>, range: u32) -> Result<()> {
        let stream = format!("{range:04}.copy");
        let statement = table.plan.copy_statement(range, self.encoding);
        let mut writer = table.writer(self.sink, range, &stream);
        let copied = session.copy_out(&statement, &|| self.check(), &mut |bytes| {
            writer.message(bytes)?;
            let news = writer.take_news();
            if news.0 > 0 {
                self.tally.add(self.sink, news);
                self.check()?;
            }
            Ok(())
        });
        copied.map_err(|error| explain(&table.plan.name(), error))?;
        let news = table.finish_range(range, &stream, writer)?;
        self.tally.add(self.sink, news);
        Ok(())
    }
}

/// A failure of the server while it read a table.
pub(super) fn explain(table: &str, error: SourceError) -> SourceError {
    let Some(source) = error.source.as_ref().and_then(|source| source.downcast_ref::<sqlx::Error>()) else {
        return error;
    };
    let lost = source.as_database_error().is_none();
    let SourceError { kind, sentence, hint, source } = error;
    let state = source.as_ref().and_then(|source| source.downcast_ref()).and_then(crate::postgresql::errors::code);
    let (kind, sentence, hint) = match state.as_deref() {
        _ if lost => (
            ErrorKind::Unavailable,
            format!("The connection to the server was lost while the table {table} was read."),
            Some("See the server's log; the backup can be tried again.".to_owned()),
        ),
        Some("40001") => (ErrorKind::Unavailable, format!("The table {table} could not be read. {sentence}"), Some(STANDBY_HINT.to_owned())),
        Some("54000" | "53200" | "XX000") if !sentence.contains("shared memory") => (
            ErrorKind::Unsupported,
            format!("The table {table} could not be read. {sentence}"),
            Some("A row that is larger than 1 GB as text cannot be sent by the server; keep such values outside of the table, or in several rows.".to_owned()),
        ),
        Some("42P01" | "42703" | "55000") => (
            ErrorKind::Unavailable,
            format!("The table {table} was changed just while the backup began. {sentence}"),
            Some("Try again.".to_owned()),
        ),
        _ => (kind, format!("The table {table} could not be read. {sentence}"), hint),
    };
    SourceError { kind, sentence, hint, source }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgresql::errors::tests::said;

    #[test]
    fn a_table_that_a_standby_cannot_hold_still_any_longer_is_named_with_what_helps() {
        let error = explain("public.t", said("40001", "canceling statement due to conflict with recovery"));
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.sentence.starts_with("The table public.t could not be read."), "{}", error.sentence);
        assert!(error.sentence.contains("conflict with recovery"), "{}", error.sentence);
        assert_eq!(error.hint.as_deref(), Some(STANDBY_HINT));
    }
}
