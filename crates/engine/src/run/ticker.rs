//! The pulse of a run: keeps its lease, hears of cancellation, writes what the run has gathered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::oneshot, time::timeout};

use super::context::RunContext;
use crate::domain::{Error, ErrorCode, Result};

/// Between two writes of progress: at most four a second.
const TICK: Duration = Duration::from_millis(250);
/// Between two heartbeats at most, so that a wish to cancel is heard within two seconds.
const LONGEST_BEAT: Duration = Duration::from_secs(1);

/// How long a beat waits for the database at most: it must come back in time to see that the lease has run out.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Ticks until told to stop; then writes what is left.
pub(crate) async fn tick(context: Arc<RunContext>, mut stop: oneshot::Receiver<()>) {
    let lease = context.inner.options.lease;
    let (beat, wait) = ((lease / 3).min(LONGEST_BEAT), (lease / 4).min(LONGEST_WAIT));
    let mut ticks = tokio::time::interval(TICK.min(beat));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_beat = Instant::now();
    // Counted by a clock that nobody sets: what the database last granted.
    let mut granted = Instant::now();
    loop {
        tokio::select! {
            _ = &mut stop => break,
            _ = ticks.tick() => {}
        }
        if last_beat.elapsed() >= beat {
            last_beat = Instant::now();
            match within(wait, heartbeat(&context)).await {
                Ok(()) => {
                    granted = last_beat;
                    context.point("heartbeat");
                }
                Err(error) => tracing::warn!(job.id = %context.run().job, %error, "a heartbeat could not be written"),
            }
            if granted.elapsed() >= lease {
                // Somebody else may have the job by now.
                context.lose();
            }
        }
        if let Err(error) = within(wait, flush(&context)).await {
            tracing::warn!(job.id = %context.run().job, %error, "progress could not be written");
        }
    }
    if let Err(error) = within(wait, flush(&context)).await {
        tracing::warn!(job.id = %context.run().job, %error, "the last lines of a job could not be written");
    }
}

/// A database that is silent is one that is away.
async fn within<T>(wait: Duration, used: impl Future<Output = Result<T>>) -> Result<T> {
    let silent = || Error::new(ErrorCode::DatabaseUnavailable, "The metadata database does not answer in time.");
    timeout(wait, used).await.unwrap_or_else(|_| Err(silent()))
}

async fn heartbeat(context: &RunContext) -> Result<()> {
    let until = context.inner.clock.now() + context.inner.options.lease;
    match context.inner.db.heartbeat(context.run(), until).await? {
        crate::db::Fenced::Held(beat) if beat.cancel_requested => context.cancel(),
        crate::db::Fenced::Held(_) => {}
        crate::db::Fenced::Lost => context.lose(),
    }
    follow_locks(context).await
}

/// restic's locks get a new name with each refresh; the database must know the one that is there.
async fn follow_locks(context: &RunContext) -> Result<()> {
    let mut renamed = Vec::new();
    for held in context.locks().iter_mut() {
        if !held.lock.is_alive() {
            tracing::error!(job.id = %context.run().job, "the lock in the vault could not be kept; the job stops");
            context.hand_back();
        }
        let now = held.lock.id().to_hex();
        if now != held.recorded {
            renamed.push((held.vault, std::mem::replace(&mut held.recorded, now.clone()), now));
        }
    }
    for (vault, before, now) in renamed {
        if context.inner.db.record_lock(&context.lock_row(vault, &now)).await?.is_held() {
            context.inner.db.release_lock(vault, &before).await?;
        }
    }
    Ok(())
}

/// Writes progress, warnings and lines that have come since the last time.
async fn flush(context: &RunContext) -> Result<()> {
    let (db, run, now) = (&context.inner.db, context.run(), context.inner.clock.now());
    let started = context.job().started_at.unwrap_or(now);
    // What is not written stays on the board until it is.
    let lines = context.board().lines.clone();
    if !lines.is_empty() {
        db.append_log(run.job, &lines).await?;
        context.board().lines.drain(..lines.len());
    }
    let update = {
        let board = context.board();
        board.progress_changed.then(|| board.update(started, now))
    };
    if let Some(update) = update {
        context.board().progress_changed = false;
        match db.write_progress(run, &update, now).await {
            Ok(fenced) if fenced.is_held() => {}
            Ok(_) => context.lose(),
            Err(error) => {
                context.board().progress_changed = true;
                return Err(error);
            }
        }
    }
    write_warnings(context).await
}

/// The whole list, if there is something new in it.
pub(super) async fn write_warnings(context: &RunContext) -> Result<()> {
    let warnings = {
        let mut board = context.board();
        std::mem::take(&mut board.warnings_changed).then(|| board.warnings.clone())
    };
    let Some(warnings) = warnings else { return Ok(()) };
    let written = context.inner.db.write_warnings(context.run(), &warnings, context.inner.clock.now()).await;
    if written.is_err() {
        context.board().warnings_changed = true;
    }
    written.map(drop)
}
