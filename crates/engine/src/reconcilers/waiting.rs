//! Writes into the logs of queued jobs why they wait, so that nobody has to guess; and says when maintenance begins and ends.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::{
    domain::{Result, Waiting},
    service::Inner,
    workers,
};

/// Who waits for less is about to begin.
const PATIENCE: TimeDelta = TimeDelta::seconds(3);
/// The first of the queue; the others wait for them.
const MOST: u32 = 50;

pub(super) async fn note(inner: &Arc<Inner>) -> Result<()> {
    let now = inner.clock.now();
    let hold = inner.db.maintenance().await?.hold(now);
    if inner.work.sees_hold(&hold) {
        match &hold {
            Some(hold) => tracing::info!("{}", hold.sentence()),
            None => tracing::info!("maintenance is over; jobs begin again"),
        }
    }
    let limits = workers::limits(inner);
    for job in inner.db.queued_before(now - PATIENCE, MOST).await? {
        if let Some(waiting) = inner.db.why_waiting(job, now, inner.node, &limits).await? {
            // The node that can run it knows more: what another one sees is said only while nothing else is.
            let replaces = !matches!(waiting, Waiting::Node(_));
            inner.db.note_waiting(job, &waiting.sentence(), replaces, now).await?;
        }
    }
    Ok(())
}
