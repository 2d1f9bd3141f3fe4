//! One restore under way: its threads, how they stop, and what they have done so far.
//!
//! Statements of a restore may take hours (an index, a copy that waits for a lock), and nothing interrupts a thread that
//! waits for the server's answer. So a watch ends the restore's own sessions on the server as soon as the caller cancels or one of the
//! threads fails; the others then come back with an error.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::{
    PartReader, Progress, Result, SourceError,
    postgresql::{
        session::{Session, literal},
        settings::Settings,
    },
};

use super::server;

/// How often the watch looks.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct Run<'a> {
    /// The server; the database is where the work is done.
    pub settings: Settings,
    pub part: &'a dyn PartReader,
    /// What the restore's sessions are called on the server.
    pub purpose: String,
    total: Progress,
    bytes: AtomicU64,
    items: AtomicU64,
    stopped: AtomicBool,
    /// The server's, as a session has told it; 0 before.
    server_version: AtomicU32,
    phase: Mutex<Phase>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// May be stopped at any time.
    Building,
    /// What comes now is not interrupted any more, or there is nothing left to do.
    Over,
}

impl<'a> Run<'a> {
    /// `total`: bytes and rows that will be read.
    pub(super) fn new(settings: Settings, part: &'a dyn PartReader, job: &str, total: (u64, u64)) -> Self {
        Self {
            settings,
            part,
            purpose: format!("trivault restore {job}"),
            total: Progress { bytes_total: Some(total.0), items_total: Some(total.1), ..Progress::default() },
            bytes: AtomicU64::new(0),
            items: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            server_version: AtomicU32::new(0),
            phase: Mutex::new(Phase::Building),
        }
    }

    /// # Errors
    /// When the caller has cancelled or another thread of the restore has failed.
    pub(super) fn check(&self) -> Result<()> {
        if self.stopped.load(Ordering::Relaxed) || self.part.is_cancelled() {
            return Err(SourceError::cancelled());
        }
        Ok(())
    }

    /// Lets all threads of the restore end.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Remembers the version of the server that the restore goes to.
    pub(super) fn meet(&self, server: &Session) {
        self.server_version.store(server.server_version(), Ordering::Relaxed);
    }

    /// `server_version_num` of the server that was met; 0 before.
    pub(super) fn server_version(&self) -> u32 {
        self.server_version.load(Ordering::Relaxed)
    }

    /// A session in the database that is worked on.
    pub(super) fn session(&self) -> Result<Session> {
        let mut session = Session::open(&self.settings, &self.purpose)?;
        server::in_unicode(&mut session)?;
        session.execute("SET synchronous_commit = off")?;
        Ok(session)
    }

    /// Counts bytes that were read and rows that went in.
    pub(super) fn moved(&self, bytes: u64, items: u64) {
        let bytes_read = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let items = self.items.fetch_add(items, Ordering::Relaxed) + items;
        self.part.progress(Progress { bytes_read, items, ..self.total });
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    /// From here on nothing is interrupted any more.
    ///
    /// # Errors
    /// When the restore is to stop: then nothing of what comes next may be done.
    pub(super) fn no_way_back(&self) -> Result<()> {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        *phase = Phase::Over;
        Ok(())
    }

    /// Does the work of a restore under the watch.
    pub(super) fn watched<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        thread::scope(|scope| {
            let watch = scope.spawn(|| self.watch());
            let _over = Over { run: self, watch: watch.thread().clone() };
            let result = work();
            match result {
                // What a session says that was ended by the watch is not why the restore ended.
                Err(_) if self.part.is_cancelled() && !self.is_over() => Err(SourceError::cancelled()),
                result => result,
            }
        })
    }

    fn is_over(&self) -> bool {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) == Phase::Over
    }

    fn watch(&self) {
        let mut session = None;
        loop {
            thread::park_timeout(WATCH_INTERVAL);
            let phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
            if *phase == Phase::Over {
                return;
            }
            if self.check().is_ok() {
                continue;
            }
            self.stop();
            // A server that cannot be reached has no sessions of ours to end either.
            if session.is_none() {
                session = server::open(&self.settings, "", "trivault stop").ok();
            }
            if let Some(session) = &mut session {
                let _ = session.execute(&format!(
                    "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
                     WHERE application_name = {}",
                    literal(&self.purpose)
                ));
            }
        }
    }
}

/// Ends the watch, also when the work panics.
struct Over<'a, 'b> {
    run: &'a Run<'b>,
    watch: thread::Thread,
}

impl Drop for Over<'_, '_> {
    fn drop(&mut self) {
        *self.run.phase.lock().unwrap_or_else(PoisonError::into_inner) = Phase::Over;
        self.watch.unpark();
    }
}
