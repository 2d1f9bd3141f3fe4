//! Leases that are over: by this node's clock, or because nobody extends what another clock has granted.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{db::Lease, domain::Result, service::Inner};

/// Leases for which one that ends later than any can must rest before it counts as over. It is extended several times in each.
const RESTS_FOR_LEASES: u32 = 3;

/// Leases that end later than any can, with since when each rests: by a clock that nobody sets.
#[derive(Debug, Default)]
pub(crate) struct LeaseWatch {
    seen: Mutex<HashMap<Lease, Instant>>,
}

impl LeaseWatch {
    /// Those that have rested for so long. `found`: all that end too late now.
    fn resting(&self, found: Vec<Lease>, patience: Duration, now: Instant) -> Vec<Lease> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = found.into_iter().map(|lease| (lease, seen.get(&lease).copied().unwrap_or(now))).collect();
        seen.iter().filter(|(_, since)| now.duration_since(**since) >= patience).map(|(lease, _)| *lease).collect()
    }
}

/// Later than a lease can end that is granted now.
fn latest(inner: &Inner) -> DateTime<Utc> {
    inner.clock.now() + inner.options.lease * 2
}

/// A node whose clock was ahead has granted itself leases for as long as it was; while it lives it extends them. One that does not
/// come back would leave its jobs running for a day or more.
async fn of_other_clocks(inner: &Arc<Inner>) -> Result<()> {
    let found = inner.db.leases_beyond(latest(inner)).await?;
    let patience = inner.options.lease * RESTS_FOR_LEASES;
    for lease in inner.lease_watch.resting(found, patience, Instant::now()) {
        if inner.db.expire_lease(lease, inner.clock.now() - TimeDelta::seconds(1)).await? {
            tracing::warn!(job.id = %lease.run.job, job.attempt = lease.run.attempt, until = %lease.until,
                "nobody extends a lease that another node's wrong clock has granted; it no longer counts");
        }
    }
    Ok(())
}

/// A clock that was set back while this node was off would leave its jobs running for as long as it was set back.
pub(super) async fn of_another_time(inner: &Arc<Inner>) -> Result<()> {
    let now = inner.clock.now();
    // A command of this node that runs a job at this moment has its lease from now.
    let latest = latest(inner);
    let expired = inner.db.expire_leases_beyond(inner.node, latest, now).await?;
    if expired > 0 {
        tracing::warn!(jobs = expired, "the clock was set back; leases that were granted before no longer count");
    }
    Ok(())
}

/// Jobs of nodes that are gone go back to the queue.
pub(super) async fn take_back(inner: &Arc<Inner>) -> Result<()> {
    of_other_clocks(inner).await?;
    let taken = inner.db.take_back_expired(inner.clock.now()).await?;
    for taken in &taken {
        tracing::warn!(job.id = %taken.job, job.attempt = taken.attempt, job.state = ?taken.state, "a job's lease ran out");
    }
    if !taken.is_empty() {
        inner.work.wake.notify_waiters();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::Run, domain::JobId};

    #[test]
    fn a_lease_that_is_extended_never_rests() {
        let (watch, begun, patience) = (LeaseWatch::default(), Instant::now(), Duration::from_secs(30));
        let run = Run { job: JobId(uuid::Uuid::now_v7()), attempt: 1 };
        let lease = |minutes| Lease { run, until: DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes) };
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(watch.resting(vec![lease(1)], patience, begun), []);
        assert_eq!(watch.resting(vec![lease(2)], patience, after(29)), []);
        assert_eq!(watch.resting(vec![lease(2)], patience, after(58)), []);
        assert_eq!(watch.resting(vec![lease(2)], patience, after(59)), [lease(2)]);
        assert_eq!(watch.resting(vec![], patience, after(60)), []);
        assert_eq!(watch.resting(vec![lease(2)], patience, after(61)), [], "it was gone meanwhile");
    }
}
