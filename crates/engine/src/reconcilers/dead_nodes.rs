//! Jobs that only a dead process could run: their passcode died with it.

use std::{sync::Arc, time::Instant};

use chrono::TimeDelta;

use crate::{domain::Result, service::Inner};

/// Leases that a node may miss before what it alone could run is given up.
const DEAD_AFTER_LEASES: i32 = 5;
/// After which nobody asks any more what a silent node was called.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::days(7);

/// Ends them, once the node has been silent for long enough by its own word and by what was seen of it here.
pub(crate) async fn end_their_jobs(inner: &Arc<Inner>) -> Result<()> {
    let nodes = inner.db.nodes().await?.into_iter().map(|node| (node.id, node.heartbeat_at)).collect();
    let looked = inner.node_watch.look(nodes, Instant::now());
    let now = inner.clock.now();
    let holders = inner.db.holders().await?;
    let lease = TimeDelta::from_std(inner.options.lease).unwrap_or(TimeDelta::minutes(1));
    for ((node, heartbeat_at), rested) in looked {
        let is_late = now - heartbeat_at >= lease * DEAD_AFTER_LEASES;
        if node == inner.node || !is_late || rested < inner.options.lease || !holders.contains(&node) {
            continue;
        }
        for job in inner.db.fail_held_by(node, now).await? {
            tracing::warn!(job.id = %job, node.id = %node, "a job ended: the node that knew its passcode is gone");
        }
    }
    // Every command is a node of its own for as long as it lives.
    inner.db.forget_nodes(now - FORGOTTEN_AFTER).await
}
