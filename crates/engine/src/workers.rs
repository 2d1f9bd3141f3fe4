//! The workers of a node. One dispatcher claims as many jobs as there are free workers, in one transaction, and each runs on its own.
//!
//! It is woken when something was enqueued or ended: at once by this process, by a notification from other nodes, and by its own poll
//! where neither was heard.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Notify, Semaphore, futures::Notified},
    task::{JoinHandle, JoinSet},
};

use crate::{
    db::{ClaimLimits, Hints, Run},
    domain::{Hold, JobId, SecretText, VaultId},
    run::{RunContext, run_claimed},
    service::Inner,
};

/// Share of a graceful stop's time in which running jobs may finish; in the rest they are handed back.
const FINISHING_SHARE: u32 = 2;
/// How often a stop looks whether all is done.
const STOP_STEP: Duration = Duration::from_millis(20);

/// Least time between two words to the other nodes: what happens meanwhile is one word.
const HINT_SPACING: Duration = Duration::from_millis(20);

/// Told when something was enqueued or ended.
#[derive(Default)]
pub(crate) struct Wake {
    here: Notify,
    elsewhere: Notify,
}

impl Wake {
    /// Wakes this process's dispatcher, and in a moment those of the other nodes.
    pub(crate) fn notify_waiters(&self) {
        self.here.notify_waiters();
        self.elsewhere.notify_one();
    }

    fn notified(&self) -> Notified<'_> {
        self.here.notified()
    }
}

/// What runs in this process.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) wake: Wake,
    stopping: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    running: Mutex<HashMap<Run, Arc<RunContext>>>,
    passcodes: Mutex<HashMap<JobId, SecretText>>,
    /// What held jobs back when somebody last looked.
    hold: Mutex<Option<Hold>>,
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

    pub(crate) fn jobs_with_passcodes(&self) -> Vec<JobId> {
        lock(&self.passcodes).keys().copied().collect()
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

    /// Notes what holds jobs back; answers whether it is something else than before.
    pub(crate) fn sees_hold(&self, hold: &Option<Hold>) -> bool {
        let mut seen = lock(&self.hold);
        let is_new = *seen != *hold;
        seen.clone_from(hold);
        is_new
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
    inner.work.add_task(tokio::spawn(dispatch(Arc::clone(inner))));
    inner.work.add_task(tokio::spawn(tell_other_nodes(Arc::clone(inner))));
    inner.work.add_task(tokio::spawn(hear_other_nodes(Arc::clone(inner))));
}

/// What this node's claims respect.
pub(crate) fn limits(inner: &Inner) -> ClaimLimits {
    let workers = u32::try_from(inner.options.workers).unwrap_or(u32::MAX);
    let (per_store, per_source) = (inner.options.jobs_per_store, inner.options.jobs_per_source);
    ClaimLimits { per_node: Some(workers), per_store, per_source }
}

async fn dispatch(inner: Arc<Inner>) {
    let limits = limits(&inner);
    let workers = Arc::new(Semaphore::new(inner.options.workers));
    // They end with this task.
    let mut runs = JoinSet::new();
    while !inner.work.is_stopping() {
        let Ok(first) = Arc::clone(&workers).acquire_owned().await else { return };
        let mut free = vec![first];
        while let Ok(worker) = Arc::clone(&workers).try_acquire_owned() {
            free.push(worker);
        }
        // Made before the look, so that a wake-up in between is not missed.
        let woken = inner.work.wake.notified();
        if inner.work.is_stopping() {
            break;
        }
        let now = inner.clock.now();
        match inner.db.claim_some(inner.node, now, now + inner.options.lease, &limits, free.len()).await {
            Ok(claimed) if !claimed.is_empty() => {
                for (claimed, worker) in claimed.into_iter().zip(free) {
                    let inner = Arc::clone(&inner);
                    runs.spawn(async move {
                        run_claimed(inner, claimed).await;
                        drop(worker);
                    });
                }
                while runs.try_join_next().is_some() {}
                continue;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "no job could be claimed"),
        }
        drop(free);
        // The clock of the poll is the machine's: a test that stops time still wants its jobs to run.
        let _ = tokio::time::timeout(inner.options.poll, woken).await;
    }
    // What runs still is finished or handed back by the stop.
    while runs.join_next().await.is_some() {}
}

async fn tell_other_nodes(inner: Arc<Inner>) {
    while !inner.work.is_stopping() {
        inner.work.wake.elsewhere.notified().await;
        if let Err(error) = inner.db.hint(inner.node).await {
            tracing::debug!(%error, "the other nodes could not be told; they look by themselves");
        }
        tokio::time::sleep(HINT_SPACING).await;
    }
}

async fn hear_other_nodes(inner: Arc<Inner>) {
    let mut hints: Option<Hints> = None;
    while !inner.work.is_stopping() {
        let heard = match &mut hints {
            Some(hints) => hints.next(inner.node).await,
            None => match inner.db.hints().await {
                // One node alone.
                Ok(None) => return,
                Ok(made) => {
                    hints = made;
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        match heard {
            Ok(()) => inner.work.wake.here.notify_waiters(),
            Err(error) => {
                tracing::debug!(%error, "the other nodes cannot be heard; this one looks by itself");
                hints = None;
                tokio::time::sleep(inner.options.poll).await;
            }
        }
    }
}

/// A panic elsewhere leaves whole entries behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
