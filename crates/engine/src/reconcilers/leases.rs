//! Leases that are over, and that nobody extends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    db::{Lease, TakenBack},
    domain::Result,
    service::Inner,
};

/// Leases for which one that ends later than any can must rest before it counts as over. It is extended several times in each.
const RESTS_FOR_LEASES: u32 = 3;

/// Later than a lease can end that is granted now.
fn latest(inner: &Inner) -> DateTime<Utc> {
    inner.clock.now() + inner.options.lease * 2
}

/// How long a lease that is over by this node's clock must have been the same. One that lives is extended each third of a lease. It is
/// looked at from its beginning, so that the job of a node that dies is taken back when its lease is over, and not later.
fn patience(inner: &Inner) -> Duration {
    inner.options.lease / 2
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

/// At the start of this node nothing of it runs: its former process cannot extend what is over.
pub(crate) async fn take_back_own(inner: &Arc<Inner>) -> Result<()> {
    let (leases, now) = (inner.db.leases().await?, inner.clock.now());
    let over = leases.into_iter().filter(|lease| lease.owner == inner.node && lease.until < now).collect();
    take_back(inner, over).await
}

/// Jobs of nodes that are gone go back to the queue.
pub(crate) async fn take_back_abandoned(inner: &Arc<Inner>) -> Result<()> {
    let looked = inner.lease_watch.look(inner.db.leases().await?, Instant::now());
    let (now, latest) = (inner.clock.now(), latest(inner));
    let mut over = Vec::new();
    for (lease, rested) in looked {
        if lease.until < now && rested >= patience(inner) {
            over.push(lease);
        } else if lease.until > latest && rested >= inner.options.lease * RESTS_FOR_LEASES {
            of_a_wrong_clock(inner, lease).await?;
        }
    }
    take_back(inner, over).await
}

/// A node whose clock was ahead has granted itself leases for as long as it was; while it lives it extends them. One that does not
/// come back would leave its jobs running for a day or more.
async fn of_a_wrong_clock(inner: &Inner, lease: Lease) -> Result<()> {
    if inner.db.expire_lease(lease, inner.clock.now() - TimeDelta::seconds(1)).await? {
        tracing::warn!(job.id = %lease.run.job, job.attempt = lease.run.attempt, until = %lease.until,
            "nobody extends a lease that another node's wrong clock has granted; it no longer counts");
    }
    Ok(())
}

async fn take_back(inner: &Inner, over: Vec<Lease>) -> Result<()> {
    if over.is_empty() {
        return Ok(());
    }
    let taken: Vec<TakenBack> = inner.db.take_back(&over, inner.clock.now()).await?;
    for taken in &taken {
        tracing::warn!(job.id = %taken.job, job.attempt = taken.attempt, job.state = ?taken.state, "a job's lease ran out");
    }
    if !taken.is_empty() {
        inner.work.wake.notify_waiters();
    }
    Ok(())
}
