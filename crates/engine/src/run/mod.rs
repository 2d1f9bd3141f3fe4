//! One attempt of a job, from its claim to its end.

mod board;
mod context;
mod redact;
mod stopping;
mod ticker;

use std::{future::Future, sync::Arc, time::Instant};

use tokio::sync::oneshot;

use self::context::AWAY_PAUSE;
pub(crate) use self::context::{PartScope, RunContext};
use crate::{
    db::{ClaimedJob, Fenced, Finish, HandBack},
    domain::{Error, ErrorCode, Failure, JobState, LogLine, Result, StepState},
    failure::{JobError, JobResult, to_failure},
    kinds::{self, Ending},
    service::Inner,
};

/// Runs a claimed job to the end of this attempt.
pub(crate) async fn run_claimed(inner: Arc<Inner>, claimed: ClaimedJob) {
    let passcode = inner.work.passcode(claimed.run.job);
    let context = RunContext::new(Arc::clone(&inner), claimed, passcode);
    inner.work.begin(&context);
    let (kind, run) = (context.job().kind, context.run());
    tracing::info!(job.id = %run.job, job.kind = ?kind, job.attempt = run.attempt, "job started");
    let (stop, stopped) = oneshot::channel();
    let ticker = tokio::spawn(ticker::tick(Arc::clone(&context), stopped));
    let outcome = {
        let context = Arc::clone(&context);
        tokio::task::spawn_blocking(move || {
            context.point("begun");
            context.log(format!("Attempt {} begins.", context.run().attempt));
            context.point("claimed");
            context.interrupt().scope(|| {
                let outcome = kinds::run(&context);
                context.release_locks();
                outcome
            })
        })
        .await
    };
    let outcome = outcome
        .unwrap_or_else(|error| Err(Error::internal("The job ended in a defect of Trivault.").because(error).into()));
    // The ticker writes what is left before the run's last word; it can only be gone after a panic of its own.
    let _ = stop.send(());
    let _ = ticker.await;
    if let Err(error) = end(&context, outcome).await {
        tracing::error!(job.id = %run.job, %error, "the end of a job could not be written; its lease will run out");
    }
    inner.work.end(run);
    inner.work.wake.notify_waiters();
}

/// The end of a run is written also by a database that was away for a while, at most for one lease: then somebody else may have the job.
async fn patiently<T, F>(context: &RunContext, write: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let begun = Instant::now();
    loop {
        match write().await {
            Err(error)
                if error.code == ErrorCode::DatabaseUnavailable && begun.elapsed() < context.inner.options.lease =>
            {
                tokio::time::sleep(AWAY_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// What becomes of the job after this attempt.
enum Verdict {
    /// Somebody else has it.
    Lost,
    Back(HandBack),
    Over(Finish),
}

async fn end(context: &Arc<RunContext>, outcome: JobResult<Ending>) -> Result<()> {
    let (db, run, now) = (&context.inner.db, context.run(), context.inner.clock.now());
    let verdict = judge(context, &outcome);
    let line = match (&verdict, &outcome) {
        (Verdict::Lost, _) => {
            tracing::warn!(job.id = %run.job, job.attempt = run.attempt, "job lost its lease and stops quietly");
            context.inner.work.drop_passcode(run.job);
            return Ok(());
        }
        (Verdict::Back(back), Err(failed)) if back.counts => {
            format!("{} The job will be tried again.", failed.error.sentence)
        }
        (Verdict::Back(_), _) => "The process stops; the job goes back to the queue.".to_owned(),
        (Verdict::Over(Finish { state: JobState::Cancelled, .. }), _) => "The job was cancelled.".to_owned(),
        (Verdict::Over(_), Err(failed)) => format!("The job failed: {}", failed.error.sentence),
        (Verdict::Over(_), Ok(_)) => "The job succeeded.".to_owned(),
    };
    if let Err(JobError { error, retry }) = &outcome {
        tracing::info!(job.id = %run.job, job.retry = retry, cause = ?error.source, "{line}");
    }
    let text = redact::redact(&line, context.passcode().ok());
    // With what could not be written before, while the database was away.
    let mut lines = std::mem::take(&mut context.board().lines);
    lines.push(LogLine { at: now, text });
    patiently(context, || db.append_log(run.job, &lines)).await?;
    patiently(context, || ticker::write_warnings(context)).await?;
    close_steps(context, &outcome).await?;
    context.point("ending");
    let answer = match verdict {
        Verdict::Lost => return Ok(()),
        Verdict::Back(back) => patiently(context, || db.hand_back(run, &back, now)).await?,
        Verdict::Over(finish) => {
            context.inner.work.drop_passcode(run.job);
            tracing::info!(job.id = %run.job, job.state = ?finish.state, "job ended");
            patiently(context, || db.finish(run, &finish, now)).await?
        }
    };
    context.point("ended");
    if answer == Fenced::Lost {
        tracing::warn!(job.id = %run.job, job.attempt = run.attempt, "job lost its lease at its end");
    }
    Ok(())
}

fn judge(context: &RunContext, outcome: &JobResult<Ending>) -> Verdict {
    let finish = |state, failure: Option<Failure>| {
        let delete_backup = matches!(outcome, Ok(Ending::BackupForgotten));
        Verdict::Over(Finish { state, failure, delete_backup })
    };
    let failed = match outcome {
        Ok(Ending::NotYet(_)) if context.was_cancelled() && !context.was_lost() => {
            return finish(JobState::Cancelled, None);
        }
        Ok(Ending::NotYet(not_before)) => {
            return Verdict::Back(HandBack { not_before: Some(*not_before), counts: false });
        }
        Ok(Ending::Done | Ending::BackupForgotten) => return finish(JobState::Succeeded, None),
        Err(failed) => failed,
    };
    if context.was_lost() {
        return Verdict::Lost;
    }
    let stopped = failed.error.code == ErrorCode::Cancelled;
    // A request to a store that was given up may come back as a store that does not answer.
    if context.was_cancelled() && (stopped || failed.retry) {
        return finish(JobState::Cancelled, None);
    }
    if stopped && context.is_handing_back() {
        if context.claimed.retry_limit > 0 {
            return Verdict::Back(HandBack { not_before: None, counts: false });
        }
        let failure = Failure {
            code: "interrupted".to_owned(),
            sentence: "The server was stopped while the job ran.".to_owned(),
            hint: Some("Send the request again.".to_owned()),
        };
        return finish(JobState::Failed, Some(failure));
    }
    if failed.retry && context.may_retry() {
        let tried = context.claimed.retries.saturating_add(1);
        // The end of an id is random; each attempt draws anew.
        let chance = context.run().job.0.as_bytes()[15].wrapping_add(tried.to_le_bytes()[0].wrapping_mul(97));
        let wait = context.inner.options.retry.spread_wait_after(tried, chance);
        return Verdict::Back(HandBack { not_before: Some(context.inner.clock.now() + wait), counts: true });
    }
    finish(JobState::Failed, Some(to_failure(&failed.error)))
}

async fn close_steps(context: &RunContext, outcome: &JobResult<Ending>) -> Result<()> {
    let now = context.inner.clock.now();
    let state = if outcome.is_ok() { StepState::Succeeded } else { StepState::Failed };
    let steps = {
        let mut board = context.board();
        board.close_steps(state, now);
        board.steps.clone()
    };
    patiently(context, || context.inner.db.write_steps(context.run(), &steps, now)).await?;
    Ok(())
}
