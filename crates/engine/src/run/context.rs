//! One attempt of a job as its kind sees it: writes fenced by the attempt, progress, warnings, log, and the wish to stop.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::runtime::Handle;
use trivault_sources::{Progress, Warning};
use trivault_vault::{Interrupt, Lock, LockMode, Vault};

use super::{board::Board, redact::redact, stopping::Stopping};
use crate::{
    capture::PartEvents,
    db::{ClaimedJob, Fenced, LockRow, Run},
    domain::{Error, ErrorCode, Job, LogLine, SecretText, SourceId, StepState, VaultId},
    failure::{JobError, JobResult},
    point::Point,
    service::Inner,
};

/// How long a job waits for a lock that somebody else (the stock restic) holds in a vault.
const LOCK_WAIT: std::time::Duration = std::time::Duration::from_secs(60);
/// Between two looks whether a database that was away is there again.
pub(super) const AWAY_PAUSE: std::time::Duration = std::time::Duration::from_millis(250);
/// Lines that wait to be written; a kind that says more loses the oldest.
const MOST_LINES: usize = 5000;

/// One attempt of a job. Its methods block and are called from threads that may.
pub(crate) struct RunContext {
    pub(crate) inner: Arc<Inner>,
    pub(crate) claimed: ClaimedJob,
    passcode: Option<SecretText>,
    handle: Handle,
    board: Mutex<Board>,
    locks: Mutex<Vec<HeldLock>>,
    stopping: Arc<Stopping>,
}

/// A lock file of restic's, with the name that the database knows it by.
pub(crate) struct HeldLock {
    pub(crate) vault: VaultId,
    pub(crate) lock: Arc<Lock>,
    pub(crate) recorded: String,
}

impl RunContext {
    /// Must be made inside the runtime.
    pub(crate) fn new(inner: Arc<Inner>, claimed: ClaimedJob, passcode: Option<SecretText>) -> Arc<Self> {
        let stopping = Arc::<Stopping>::default();
        if claimed.job.cancel_requested {
            stopping.cancel();
        }
        Arc::new(Self {
            inner,
            passcode,
            handle: Handle::current(),
            board: Mutex::new(Board::default()),
            locks: Mutex::default(),
            stopping,
            claimed,
        })
    }

    pub(crate) fn run(&self) -> Run {
        self.claimed.run
    }

    pub(crate) fn job(&self) -> &Job {
        &self.claimed.job
    }

    /// Whether the queue would take this job again after a failure.
    pub(crate) fn may_retry(&self) -> bool {
        self.claimed.retries < self.claimed.retry_limit
    }

    pub(crate) fn passcode(&self) -> JobResult<&SecretText> {
        self.passcode.as_ref().ok_or_else(|| {
            Error::new(ErrorCode::PasscodeRequired, "The passcode is not kept; send the request again.").into()
        })
    }

    pub(crate) fn params<T: DeserializeOwned>(&self) -> JobResult<T> {
        serde_json::from_value(self.claimed.params.clone())
            .map_err(|error| Error::internal("The parameters of the job cannot be read.").because(error).into())
    }

    /// Keeps a decision, so that a later attempt finds it.
    pub(crate) fn write_params(&self, params: &impl Serialize) -> JobResult<()> {
        let params = serde_json::to_value(params)
            .map_err(|error| Error::internal("The parameters of the job cannot be written.").because(error))?;
        let now = self.inner.clock.now();
        self.fenced(self.wait_out(|| self.inner.db.write_params(self.run(), &params, now))?)
    }

    /// Waits for a use of the database.
    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle.block_on(future)
    }

    /// Waits for a use of the database that a run cannot do without and that can be repeated. While the database is away it is tried
    /// again, for as long as the run has its lease: a database that is restarted costs nobody's work.
    pub(crate) fn wait_out<T, F>(&self, used: impl Fn() -> F) -> JobResult<T>
    where
        F: Future<Output = crate::domain::Result<T>>,
    {
        loop {
            match self.wait(used()) {
                Err(error) if error.code == ErrorCode::DatabaseUnavailable && !self.should_stop() => {
                    std::thread::sleep(AWAY_PAUSE);
                }
                answer => return Ok(answer?),
            }
        }
    }

    /// Answer of a fenced write; a lost lease ends the run.
    pub(crate) fn fenced<T>(&self, answer: Fenced<T>) -> JobResult<T> {
        answer.held().map_err(|error| {
            self.lose();
            error.into()
        })
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Stopping

    /// A person asked for it.
    pub(crate) fn cancel(&self) {
        self.stopping.cancel();
    }

    pub(crate) fn was_cancelled(&self) -> bool {
        self.stopping.was_cancelled()
    }

    /// The lease went to somebody else.
    pub(crate) fn lose(&self) {
        self.stopping.lose();
    }

    pub(crate) fn was_lost(&self) -> bool {
        self.stopping.was_lost()
    }

    /// The process stops: the job goes back to the queue.
    pub(crate) fn hand_back(&self) {
        self.stopping.hand_back();
    }

    pub(crate) fn is_handing_back(&self) -> bool {
        self.stopping.is_handing_back()
    }

    pub(crate) fn should_stop(&self) -> bool {
        self.stopping.should_stop()
    }

    /// The wish to stop, for whoever waits for a store.
    pub(super) fn interrupt(&self) -> Interrupt {
        self.stopping.interrupt()
    }

    /// # Errors
    /// `Cancelled`.
    pub(crate) fn check(&self) -> JobResult<()> {
        if self.should_stop() { Err(stopped().into()) } else { Ok(()) }
    }

    /// Right before something that cannot be taken back: the lease is asked for, not remembered.
    ///
    /// # Errors
    /// `Cancelled` when the lease is lost or the job shall stop.
    pub(crate) fn check_lease(&self) -> JobResult<()> {
        self.check()?;
        let until = self.inner.clock.now() + self.inner.options.lease;
        let beat = self.fenced(self.wait_out(|| self.inner.db.heartbeat(self.run(), until))?)?;
        if beat.cancel_requested {
            self.cancel();
        }
        self.point("lease");
        self.check()
    }

    // -----------------------------------------------------------------------------------------------------------------
    // Telling

    pub(crate) fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A line of the job's log.
    pub(crate) fn log(&self, line: impl AsRef<str>) {
        let text = redact(line.as_ref(), self.passcode.as_ref());
        let at = self.inner.clock.now();
        let mut board = self.board();
        if board.lines.len() < MOST_LINES {
            board.lines.push(LogLine { at, text });
        }
    }

    pub(crate) fn warn(&self, warning: Warning) {
        let Warning { code, count, sentence } = warning;
        let sentence = redact(&sentence, self.passcode.as_ref());
        self.log(format!("Warning: {sentence}"));
        self.board().warn(Warning { code, count, sentence });
    }

    pub(crate) fn stored(&self, bytes: u64) {
        let mut board = self.board();
        board.bytes_stored = board.bytes_stored.saturating_add(bytes);
        board.progress_changed = true;
    }

    /// The whole job's progress, in absolute figures.
    pub(crate) fn progress(&self, progress: Progress) {
        let mut board = self.board();
        board.progress = progress;
        board.progress_changed = true;
    }

    /// Runs one step, recorded as it begins and ends.
    pub(crate) fn step<T>(
        &self,
        name: &str,
        source: Option<SourceId>,
        work: impl FnOnce() -> JobResult<T>,
    ) -> JobResult<T> {
        self.begin_step(name, source)?;
        let outcome = work();
        let state = if outcome.is_ok() { StepState::Succeeded } else { StepState::Failed };
        let recorded = self.end_step(name, source, state);
        let value = outcome?;
        recorded?;
        Ok(value)
    }

    pub(crate) fn begin_step(&self, name: &str, source: Option<SourceId>) -> JobResult<()> {
        self.board().begin_step(name, source, self.inner.clock.now());
        self.write_steps()?;
        self.point(name);
        Ok(())
    }

    /// A place at which tests can hold the run.
    pub(crate) fn point(&self, name: &str) {
        let run = Some((self.run().job, self.run().attempt));
        self.inner.pass(&Point { name, kind: Some(self.job().kind), run });
    }

    pub(crate) fn end_step(&self, name: &str, source: Option<SourceId>, state: StepState) -> JobResult<()> {
        self.board().end_step(name, source, state, self.inner.clock.now());
        self.write_steps()?;
        self.point(&format!("{name}.end"));
        Ok(())
    }

    fn write_steps(&self) -> JobResult<()> {
        let steps = self.board().steps.clone();
        let now = self.inner.clock.now();
        self.fenced(self.wait_out(|| self.inner.db.write_steps(self.run(), &steps, now))?)
    }

    // -----------------------------------------------------------------------------------------------------------------
    // restic's locks

    /// Takes restic's lock in a vault for the rest of the job.
    pub(crate) fn lock_vault(&self, id: VaultId, vault: &Vault) -> JobResult<()> {
        if self.locks().iter().any(|held| held.vault == id) {
            return Ok(());
        }
        self.remove_left_locks(vault)?;
        let lock = vault.lock_unless(LockMode::Shared, LOCK_WAIT, &|| self.should_stop())?;
        let recorded = lock.id().to_hex();
        self.point("locked");
        let row = self.lock_row(id, &recorded);
        self.fenced(self.wait_out(|| self.inner.db.record_lock(&row))?)?;
        self.locks().push(HeldLock { vault: id, lock: Arc::new(lock), recorded });
        Ok(())
    }

    /// What a killed process of this node left would keep this job or the stock restic out until it is stale.
    pub(crate) fn remove_left_locks(&self, vault: &Vault) -> JobResult<()> {
        let left: Vec<_> = vault.own_stale_locks()?.into_iter().map(|lock| lock.id).collect();
        if !left.is_empty() {
            self.log(format!("Removes {} lock files that an earlier process left in the vault.", left.len()));
            vault.remove_locks(&left)?;
        }
        Ok(())
    }

    pub(crate) fn lock_row(&self, vault: VaultId, lock: &str) -> LockRow {
        LockRow {
            vault,
            lock: lock.to_owned(),
            run: self.run(),
            node: self.inner.node,
            created_at: self.inner.clock.now(),
        }
    }

    pub(crate) fn locks(&self) -> MutexGuard<'_, Vec<HeldLock>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Right before a snapshot is written: whether restic's locks still protect what was stored for it.
    ///
    /// # Errors
    /// `StoreUnavailable`, to be tried again: what the snapshot names may be gone.
    pub(crate) fn check_locks(&self) -> JobResult<()> {
        // Outside of the mutex: a store that does not answer must not keep heartbeats waiting.
        let locks: Vec<Arc<Lock>> = self.locks().iter().map(|held| Arc::clone(&held.lock)).collect();
        for lock in locks {
            lock.check()?;
        }
        Ok(())
    }

    /// Gives all locks back. A lock file that cannot be removed now is removed by a reconciler.
    pub(crate) fn release_locks(&self) {
        let held: Vec<HeldLock> = self.locks().drain(..).collect();
        for HeldLock { vault, lock, recorded } in held {
            // Whoever looks at it right now removes it.
            if let Some(Err(error)) = Arc::into_inner(lock).map(Lock::release) {
                tracing::warn!(job.id = %self.run().job, %error, "a lock in a vault could not be removed");
                continue;
            }
            self.point("unlocked");
            if let Err(error) = self.wait(self.inner.db.release_lock(vault, &recorded)) {
                tracing::warn!(job.id = %self.run().job, %error, "a removed lock could not be struck off");
            }
        }
    }
}

pub(crate) fn stopped() -> Error {
    Error::new(ErrorCode::Cancelled, "The job was stopped.")
}

impl From<JobError> for trivault_vault::VaultError {
    /// For guards inside the vault: the vault hands the error back unread.
    fn from(error: JobError) -> Self {
        let kind = match error.error.code {
            ErrorCode::Cancelled => trivault_vault::VaultErrorKind::Cancelled,
            _ => trivault_vault::VaultErrorKind::Internal,
        };
        Self::new(kind, error.error.sentence.clone()).with_source(error.error)
    }
}

/// Progress of one part within its job.
pub(crate) struct PartScope {
    pub(crate) context: Arc<RunContext>,
    /// What the parts before it have done.
    pub(crate) base: Progress,
    /// What all parts together will do, where that is known.
    pub(crate) total: Progress,
    warnings: Mutex<Board>,
}

impl PartScope {
    pub(crate) fn new(context: &Arc<RunContext>, base: Progress, total: Progress) -> Self {
        Self { context: Arc::clone(context), base, total, warnings: Mutex::default() }
    }

    /// Warnings of this part alone.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).warnings.clone()
    }
}

impl PartEvents for PartScope {
    fn progress(&self, progress: Progress) {
        self.context.progress(Progress {
            bytes_read: self.base.bytes_read.saturating_add(progress.bytes_read),
            bytes_total: self.total.bytes_total,
            items: self.base.items.saturating_add(progress.items),
            items_total: self.total.items_total,
        });
    }

    fn warn(&self, warning: Warning) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).warn(warning.clone());
        self.context.warn(warning);
    }

    fn log(&self, line: &str) {
        self.context.log(line);
    }

    fn is_cancelled(&self) -> bool {
        self.context.should_stop()
    }

    fn point(&self, name: &str) {
        self.context.point(name);
    }
}
