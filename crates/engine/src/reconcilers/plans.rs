//! Starts what plans have due, once for each occurrence. What was missed while nothing ran is run once, not as often as it was missed.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    db::{AuditEntry, DueTask, Enqueue, Labels, NewJob, Occurrence},
    domain::*,
    kinds::share_of,
    schedule,
    service::{Inner, Start, scheduler, start, start_merge, start_prune, start_verify_of},
};

/// Tasks that one pass starts.
const MOST_AT_ONCE: u32 = 100;

pub(crate) async fn start_due(inner: &Arc<Inner>) -> Result<()> {
    inner.schedule_watch.look_at_clock(inner.clock.now());
    for due in inner.db.due_tasks(inner.clock.now(), MOST_AT_ONCE).await? {
        let (repository, task) = (due.repository, due.task.name.clone());
        if let Err(error) = start_one(inner, due).await {
            tracing::error!(repository.id = %repository, task, %error, "a due task could not be started");
        }
    }
    Ok(())
}

async fn start_one(inner: &Arc<Inner>, due: DueTask) -> Result<()> {
    let next_run = next_run(inner, &due).await?;
    let DueTask { repository, plan: _, task, due, plan_changed_at: _ } = due;
    let occurrence = Occurrence { repository, task: task.name.clone(), due, next_run };
    if still_running(inner, repository, &task).await? {
        let sentence = "The run before is still queued or running.";
        return skip(inner, occurrence, &task, "still_running", sentence).await;
    }
    let outcome = match task.kind {
        JobKind::Backup => {
            let request = StartBackup {
                repository,
                trigger: Trigger::Scheduled,
                task: Some(task.name.clone()),
                full: task.full,
                description: String::new(),
                keep_until: None,
                passcode: None,
                aliases: Vec::new(),
                attributes: Vec::new(),
                job_attributes: Vec::new(),
            };
            let circumstances = Start { occurrence: Some(occurrence.clone()), safety: false };
            let started = start(inner, &scheduler(), request, circumstances).await;
            started.map(|started| started.map(|started| started.job))
        }
        JobKind::Merge => {
            let request = StartMerge {
                repository,
                task: Some(task.name.clone()),
                range: task.merge_window.map_or(MergeRange::EVERYTHING, MergeRange::Days),
                zone: task.schedule.zone,
                as_of: Some(schedule::latest(&task.schedule, due, inner.clock.now())),
                job_attributes: Vec::new(),
            };
            start_merge(inner, &scheduler(), request, Some(occurrence.clone())).await
        }
        JobKind::Prune => {
            let of = PruneOf::Repository(repository);
            let request = StartPrune { of, task: Some(task.name.clone()), job_attributes: Vec::new() };
            start_prune(inner, &scheduler(), request, Some(occurrence.clone())).await
        }
        JobKind::Verify => {
            let request = what_to_verify(inner, repository, &task).await?;
            start_verify_of(inner, &scheduler(), request, Some(task.name.clone()), Some(occurrence.clone())).await
        }
        kind => {
            let sentence = format!("This version of Trivault does not run tasks of the kind {kind:?} yet.");
            return skip(inner, occurrence, &task, "unsupported", &sentence).await;
        }
    };
    match outcome {
        Ok(Some(job)) => {
            tracing::info!(job.id = %job.id, task = task.name, "started a due task");
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(error) if matches!(error.code, ErrorCode::DatabaseUnavailable | ErrorCode::Internal) => Err(error),
        // A plan is often made before the first backup: that is no fault, and the task is overdue soon enough.
        Err(error) if task.kind == JobKind::Verify && error.code == ErrorCode::NotReady(Noun::Backup) => {
            tracing::warn!(repository.id = %repository, task = task.name, %error, "a due verification has nothing to verify");
            skip(inner, occurrence, &task, "nothing_to_verify", &error.sentence).await
        }
        // What cannot even begin must be seen, and must not come again each second.
        Err(error) => {
            tracing::error!(repository.id = %repository, task = task.name, %error, "a due task cannot start");
            skip(inner, occurrence, &task, "cannot_start", &error.sentence).await
        }
    }
}

/// The run after this one; `None` where the number of runs is bounded and this is the last.
async fn next_run(inner: &Inner, due: &DueTask) -> Result<Option<DateTime<Utc>>> {
    let DueTask { repository, plan: _, task, due, plan_changed_at } = due;
    if let Some(most) = schedule::most_runs(&task.schedule) {
        let runs = inner.db.occurrences_after(*repository, &task.name, *plan_changed_at).await?.len();
        if u32::try_from(runs).is_ok_and(|runs| runs.saturating_add(1) >= most) {
            return Ok(None);
        }
    }
    Ok(schedule::following(&task.schedule, *due, inner.clock.now()))
}

/// Shares are read in turn: after that of the run before, however it ended, comes the next.
async fn what_to_verify(inner: &Inner, repository: RepositoryId, task: &PlanTask) -> Result<StartVerify> {
    let VerifyTask { level, shares } = task.verify.unwrap_or(VerifyTask { level: VerifyLevel::Structure, shares: 1 });
    let read = match level {
        VerifyLevel::Restore => return Ok(StartVerify::Repository(repository)),
        VerifyLevel::Structure => ReadShare::None,
        VerifyLevel::Data if shares <= 1 => ReadShare::All,
        VerifyLevel::Data => {
            let last = inner.db.newest_params_of_task(repository, JobKind::Verify, &task.name).await?;
            let part = last.as_ref().and_then(share_of).map_or(0, |part| part.saturating_add(1) % shares);
            ReadShare::Share { part, of: shares }
        }
    };
    Ok(StartVerify::VaultOf { repository, read })
}

async fn still_running(inner: &Inner, repository: RepositoryId, task: &PlanTask) -> Result<bool> {
    let filter = JobFilter {
        repository: Some(repository),
        kinds: vec![task.kind],
        states: vec![JobState::Queued, JobState::Running],
        ..JobFilter::default()
    };
    Ok(inner.db.jobs(&filter).await?.iter().any(|job| job.task.as_ref() == Some(&task.name)))
}

/// Records that a run did not take place, and why.
async fn skip(inner: &Inner, occurrence: Occurrence, task: &PlanTask, code: &str, sentence: &str) -> Result<()> {
    let now = inner.clock.now();
    let caller = scheduler();
    let Some(repository) = inner.db.repository(occurrence.repository).await? else { return Ok(()) };
    let job = Job {
        id: JobId(Uuid::now_v7()),
        kind: task.kind,
        state: JobState::Skipped,
        repository: Some(repository.id),
        store: Some(repository.store),
        backup: None,
        task: Some(task.name.clone()),
        principal: caller.principal.name.clone(),
        via: caller.via.to_owned(),
        attempt: 0,
        cancel_requested: false,
        progress: trivault_sources::Progress::default(),
        bytes_stored: 0,
        percent: 0,
        steps: Vec::new(),
        warnings: Vec::new(),
        failure: Some(Failure { code: code.to_owned(), sentence: sentence.to_owned(), hint: None }),
        created_at: now,
        started_at: None,
        updated_at: now,
        finished_at: Some(now),
        estimated_end: None,
    };
    let at = ObjectRef::new(ObjectKind::Job, job.id.0);
    let mut labels = Labels::default();
    labels.propose(&inner.namers, at, NewObject::Job(&job));
    let enqueue = Enqueue {
        job: NewJob {
            job,
            params: serde_json::Value::Null,
            scopes: Vec::new(),
            priority: 0,
            not_before: None,
            retry_limit: 0,
            held_by: None,
            alone_in: None,
        },
        backup: None,
        labels,
        occurrence: Some(occurrence),
        audit: AuditEntry::of(&caller, now, "task.skip", Some(at)),
    };
    inner.db.enqueue(&enqueue).await.map(drop)
}
