//! The workers of a node: each claims a job, runs it, and claims the next.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    db::{ClaimLimits, Run},
    domain::{JobId, SecretText, VaultId},
    run::{RunContext, run_claimed},
    service::Inner,
};

/// Share of a graceful stop's time in which running jobs may finish; in the rest they are handed back.
const FINISHING_SHARE: u32 = 2;
/// How often a stop looks whether all is done.
const STOP_STEP: Duration = Duration::from_millis(20);

/// What runs in this process.
#[derive(Default)]
pub(crate) struct Work {
    /// Told when something was enqueued or ended.
    pub(crate) wake: Notify,
    stopping: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    running: Mutex<HashMap<Run, Arc<RunContext>>>,
    passcodes: Mutex<HashMap<JobId, SecretText>>,
}

impl Work {
    pub(crate) fn begin(&self, context: &Arc<RunContext>) {
        lock(&self.running).insert(context.run(), Arc::clone(context));
    }

    pub(crate) fn end(&self, run: Run) {
        lock(&self.running).remove(&run);
    }

    /// Jobs that run in this process now.
    pub(crate) fn is_running(&self, job: JobId) -> bool {
        lock(&self.running).keys().any(|run| run.job == job)
    }

    /// Keeps the passcode of a job until its run is over; in memory only.
    pub(crate) fn keep_passcode(&self, job: JobId, passcode: SecretText) {
        lock(&self.passcodes).insert(job, passcode);
    }

    pub(crate) fn passcode(&self, job: JobId) -> Option<SecretText> {
        lock(&self.passcodes).get(&job).cloned()
    }

    pub(crate) fn drop_passcode(&self, job: JobId) {
        lock(&self.passcodes).remove(&job);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn is_started(&self) -> bool {
        !lock(&self.tasks).is_empty()
    }

    pub(crate) fn add_task(&self, task: JoinHandle<()>) {
        lock(&self.tasks).push(task);
    }

    /// Passes a wish to cancel on at once where the job runs in this process.
    pub(crate) fn cancel(&self, job: JobId) {
        for context in lock(&self.running).values().filter(|context| context.run().job == job) {
            context.cancel();
        }
    }

    /// Vaults that jobs of this process work in.
    pub(crate) fn vaults_in_use(&self) -> HashSet<VaultId> {
        let running = lock(&self.running);
        running.values().flat_map(|context| context.locks().iter().map(|held| held.vault).collect::<Vec<_>>()).collect()
    }

    /// What runs in this process now.
    #[cfg(test)]
    pub(crate) fn contexts(&self) -> Vec<Arc<RunContext>> {
        lock(&self.running).values().cloned().collect()
    }

    /// Stops claiming, lets running jobs finish, then hands them back.
    pub(crate) async fn stop(&self, grace: Duration) {
        self.stopping.store(true, Ordering::SeqCst);
        self.wake.notify_waiters();
        let begun = Instant::now();
        while begun.elapsed() < grace / FINISHING_SHARE && !lock(&self.running).is_empty() {
            tokio::time::sleep(STOP_STEP).await;
        }
        for context in lock(&self.running).values() {
            context.hand_back();
        }
        while begun.elapsed() < grace && !lock(&self.running).is_empty() {
            tokio::time::sleep(STOP_STEP).await;
        }
        let left = lock(&self.running).len();
        if left > 0 {
            tracing::warn!(jobs = left, "jobs did not stop in time; their leases will run out");
        }
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }
}

/// Starts the node's workers.
pub(crate) fn start(inner: &Arc<Inner>) {
    inner.work.stopping.store(false, Ordering::SeqCst);
    for _ in 0..inner.options.workers {
        inner.work.add_task(tokio::spawn(work(Arc::clone(inner))));
    }
}

async fn work(inner: Arc<Inner>) {
    let limit = u32::try_from(inner.options.workers).unwrap_or(u32::MAX);
    let (per_store, per_source) = (inner.options.jobs_per_store, inner.options.jobs_per_source);
    let limits = ClaimLimits { per_node: Some(limit), per_store, per_source };
    while !inner.work.is_stopping() {
        // Made before the look, so that a wake-up in between is not missed.
        let woken = inner.work.wake.notified();
        let now = inner.clock.now();
        match inner.db.claim(inner.node, now, now + inner.options.lease, &limits).await {
            Ok(Some(claimed)) => {
                run_claimed(Arc::clone(&inner), claimed).await;
                continue;
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "no job could be claimed"),
        }
        // The clock of the poll is the machine's: a test that stops time still wants its jobs to run.
        let _ = tokio::time::timeout(inner.options.poll, woken).await;
    }
}

/// A panic elsewhere leaves whole entries behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
