//! What brings the installation back to how it should be, again and again. None takes input, all are idempotent, one driver runs them.

mod care;
mod configuration;
mod dead_nodes;
mod leases;
mod leftovers;
mod occurrences;
mod plans;
mod removals;
mod schedules;
mod unmoved;
mod vanished;
mod waiting;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;

#[cfg(test)]
pub(crate) use self::{dead_nodes::end_their_jobs, occurrences::remove_old, plans::start_due, schedules::look_over};
pub(crate) use self::{
    leases::{take_back_abandoned, take_back_own},
    schedules::ScheduleWatch,
    unmoved::Unmoved,
};
use crate::{
    db::LockRow,
    domain::Result,
    kinds::{finish_interrupted, open_for_reading, remove_retired},
    service::{Engine, Inner, blocking, retention_pass},
};

/// Expired tokens are kept for a while, so that their holders are told "expired".
const TOKENS_KEPT: TimeDelta = TimeDelta::days(7);

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Reconcilers with the time between two passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reconciler {
    ExpiredLeases,
    DuePlans,
    Schedules,
    InterruptedRestores,
    NodeHeartbeat,
    Configuration,
    DeadNodes,
    StaleLocks,
    UnusedKeys,
    StaleTokens,
    Removals,
    VanishedSnapshots,
    Leftovers,
    Retention,
    WaitingJobs,
    Care,
    OldOccurrences,
}

impl Reconciler {
    const ALL: [Self; 17] = [
        Self::ExpiredLeases,
        Self::DuePlans,
        Self::Schedules,
        Self::InterruptedRestores,
        Self::NodeHeartbeat,
        Self::Configuration,
        Self::DeadNodes,
        Self::StaleLocks,
        Self::UnusedKeys,
        Self::StaleTokens,
        Self::Removals,
        Self::VanishedSnapshots,
        Self::Leftovers,
        Self::Retention,
        Self::WaitingJobs,
        Self::Care,
        Self::OldOccurrences,
    ];

    fn every(self, inner: &Inner) -> Duration {
        match self {
            Self::ExpiredLeases => (inner.options.lease / 4).min(5 * SECOND),
            Self::NodeHeartbeat => (inner.options.lease / 3).min(10 * SECOND),
            Self::DuePlans => inner.options.poll.min(SECOND),
            Self::InterruptedRestores | Self::Configuration | Self::StaleLocks | Self::WaitingJobs => 5 * SECOND,
            Self::DeadNodes | Self::UnusedKeys | Self::Schedules | Self::Removals => MINUTE,
            // Looks at every backup there is.
            Self::Retention | Self::Care => 10 * MINUTE,
            Self::StaleTokens | Self::VanishedSnapshots | Self::Leftovers | Self::OldOccurrences => HOUR,
        }
    }

    fn reads_stores(self) -> bool {
        match self {
            Self::InterruptedRestores
            | Self::Configuration
            | Self::StaleLocks
            | Self::Removals
            | Self::VanishedSnapshots => true,
            Self::ExpiredLeases
            | Self::DuePlans
            | Self::Schedules
            | Self::NodeHeartbeat
            | Self::DeadNodes
            | Self::UnusedKeys
            | Self::StaleTokens
            | Self::Leftovers
            | Self::Retention
            | Self::WaitingJobs
            | Self::Care
            | Self::OldOccurrences => false,
        }
    }

    async fn pass(self, inner: &Arc<Inner>, state: &mut configuration::Seen) -> Result<()> {
        match self {
            Self::ExpiredLeases => take_back_abandoned(inner).await,
            Self::DuePlans => plans::start_due(inner).await,
            Self::Schedules => schedules::look_over(inner).await,
            Self::InterruptedRestores => finish_interrupted(inner).await.map(drop),
            Self::NodeHeartbeat => inner.register_node().await,
            Self::Configuration => configuration::capture(inner, state).await,
            Self::DeadNodes => dead_nodes::end_their_jobs(inner).await,
            Self::StaleLocks => stale_locks(inner).await,
            Self::UnusedKeys => {
                inner.storage.forget_unused(&inner.work.vaults_in_use());
                unused_passcodes(inner).await
            }
            Self::StaleTokens => stale_tokens(inner).await,
            Self::Removals => removals::look_into(inner).await,
            Self::VanishedSnapshots => vanished::mark(inner).await.and(remove_retired(inner).await),
            Self::Leftovers => leftovers::remove(inner).await,
            Self::Retention => retention_pass(inner).await,
            Self::WaitingJobs => waiting::note(inner).await,
            Self::Care => care::start_due(inner).await,
            Self::OldOccurrences => occurrences::remove_old(inner).await,
        }
    }
}

/// What must be in order before the first job is claimed.
pub(crate) async fn at_start(inner: &Arc<Inner>) -> Result<()> {
    leases::of_another_time(inner).await?;
    take_back_own(inner).await?;
    finish_interrupted(inner).await.map(drop)
}

/// Starts the driver, in two tasks: what reads stores may take long, and leases and plans must not wait for it.
pub(crate) fn start(inner: &Arc<Inner>) {
    let (slow, quick) = Reconciler::ALL.into_iter().partition(|reconciler| reconciler.reads_stores());
    for reconcilers in [slow, quick] {
        inner.work.add_task(tokio::spawn(drive(Arc::clone(inner), reconcilers)));
    }
}

async fn drive(inner: Arc<Inner>, reconcilers: Vec<Reconciler>) {
    let begun = Instant::now();
    let mut due: Vec<(Reconciler, Instant)> = reconcilers.into_iter().map(|reconciler| (reconciler, begun)).collect();
    let mut state = configuration::Seen::default();
    while !inner.work.is_stopping() {
        for (reconciler, at) in &mut due {
            if Instant::now() < *at {
                continue;
            }
            if let Err(error) = reconciler.pass(&inner, &mut state).await {
                tracing::warn!(?reconciler, %error, cause = ?error.source, "a reconciler could not do its work");
            }
            *at = Instant::now() + reconciler.every(&inner);
        }
        let next = due.iter().map(|(_, at)| *at).min().unwrap_or(begun);
        tokio::time::sleep_until(next.into()).await;
    }
}

impl Engine {
    /// Runs every reconciler once, now. For tests and for commands.
    ///
    /// # Errors
    /// The first failure, after all have run.
    pub async fn reconcile(&self) -> Result<()> {
        let mut outcome = Ok(());
        let mut state = configuration::Seen::settled();
        for reconciler in Reconciler::ALL {
            let pass = reconciler.pass(self.inner(), &mut state).await;
            outcome = outcome.and(pass);
        }
        outcome
    }
}

/// Of jobs that another node has ended.
async fn unused_passcodes(inner: &Arc<Inner>) -> Result<()> {
    for job in inner.work.jobs_with_passcodes() {
        // A job that is not there yet is about to be.
        if inner.db.job(job).await?.is_some_and(|found| found.state.is_terminal()) {
            inner.work.drop_passcode(job);
        }
    }
    Ok(())
}

/// Lock files of runs that are over. Those in passcode vaults wait for the passcode; restic takes them for stale after a while.
async fn stale_locks(inner: &Arc<Inner>) -> Result<()> {
    for lock in inner.db.stale_locks().await? {
        if let Err(error) = remove_stale(inner, &lock).await {
            // A store that does not answer must not keep those of the others from being removed.
            tracing::warn!(vault.id = %lock.vault, %error, "a lock of a run that is over could not be removed");
        }
    }
    Ok(())
}

async fn remove_stale(inner: &Arc<Inner>, lock: &LockRow) -> Result<()> {
    let Some(row) = inner.db.vault_row(lock.vault).await? else {
        return inner.db.release_lock(lock.vault, &lock.lock).await;
    };
    let Some(store) = inner.db.store_row(row.vault.store).await? else { return Ok(()) };
    if row.sealed_password.is_some() {
        let shared = Arc::clone(inner);
        let name = lock.lock.clone();
        blocking(move || {
            let vault = open_for_reading(&shared, &store, &row, None)?;
            match name.parse() {
                Ok(id) => vault.remove_locks(&[id]).map_err(crate::failure::from_vault),
                Err(_) => Ok(()),
            }
        })
        .await?;
    }
    inner.db.release_lock(lock.vault, &lock.lock).await
}

async fn stale_tokens(inner: &Arc<Inner>) -> Result<()> {
    let removed = inner.db.delete_expired_tokens(inner.clock.now() - TOKENS_KEPT).await?;
    if removed > 0 {
        tracing::info!(tokens = removed, "removed expired tokens");
    }
    Ok(())
}
