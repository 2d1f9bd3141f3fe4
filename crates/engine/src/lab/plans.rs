//! Plans, with a clock that the test owns.

use std::sync::Arc;

use chrono::TimeDelta;
use chrono_tz::Tz;
use uuid::Uuid;

use super::bench::{Bench, admin};
use crate::{
    ManualClock,
    db::{AuditEntry, Labels, ScheduleEntry},
    domain::*,
    schedule,
};

pub(super) fn task(name: &str, kind: JobKind) -> PlanTask {
    let rule = Rule::Every { count: 1, unit: Unit::Hours, at: None };
    PlanTask {
        name: name.into(),
        kind,
        schedule: Schedule { rule, zone: Tz::UTC, start_now: false },
        full: false,
        merge_window: None,
        verify: None,
    }
}

pub(super) async fn scheduled(bench: &Bench, source: SourceId, tasks: Vec<PlanTask>) -> Repository {
    let (now, db) = (bench.engine.now(), &bench.engine.inner().db);
    let plan = Plan {
        id: PlanId(Uuid::now_v7()),
        owner: "test".into(),
        name: "hourly".into(),
        description: None,
        builtin: false,
        tasks: tasks.clone(),
        attributes: vec![],
        created_at: now,
        updated_at: now,
    };
    let audit = AuditEntry::of(&admin(), now, "test", None);
    db.insert_plan(&plan, &audit).await.unwrap();
    let repository = Repository {
        id: RepositoryId(Uuid::now_v7()),
        owner: "test".into(),
        name: "daily".into(),
        state: RepositoryState::Active { paused: false },
        store: bench.store.id,
        sources: SourceSelection::One(source),
        plan: Some(plan.id),
        created_at: now,
        updated_at: now,
    };
    let entries: Vec<ScheduleEntry> = tasks
        .iter()
        .map(|task| ScheduleEntry {
            task: task.name.clone(),
            next_run: schedule::first(&task.schedule, now).unwrap(),
            last_run: None,
        })
        .collect();
    db.insert_repository(&repository, &entries, &Labels::default(), &audit).await.unwrap();
    repository
}

pub(super) async fn jobs(bench: &Bench, repository: &Repository) -> Vec<Job> {
    let filter = JobFilter { repository: Some(repository.id), ..JobFilter::default() };
    let mut jobs = bench.engine.inner().db.jobs(&filter).await.unwrap();
    jobs.reverse();
    jobs
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_backup_runs_once_and_what_was_missed_runs_once_too() {
    let clock = Arc::new(ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap()));
    let bench = Bench::with(|options| options.clock = clock.clone()).await;
    let source = bench.directory("photos").await;
    let repository = scheduled(&bench, source.id, vec![task("backup", JobKind::Backup)]).await;
    bench.engine.reconcile().await.unwrap();
    assert!(jobs(&bench, &repository).await.is_empty(), "nothing runs before its time");

    clock.advance(TimeDelta::hours(1));
    for _ in 0..3 {
        bench.engine.reconcile().await.unwrap();
    }
    let first = jobs(&bench, &repository).await;
    assert_eq!(first.len(), 1);
    let job = bench.ended(first[0].id).await;
    assert_eq!((job.state, job.task.as_deref()), (JobState::Succeeded, Some("backup")), "{}", bench.log(job.id).await);
    assert_eq!(bench.backup(job.backup.unwrap()).await.unwrap().trigger, Trigger::Scheduled);

    clock.advance(TimeDelta::hours(30));
    for _ in 0..3 {
        bench.engine.reconcile().await.unwrap();
    }
    let second = jobs(&bench, &repository).await;
    assert_eq!(second.len(), 2, "thirty missed runs are one");
    bench.ended(second[1].id).await;
    let schedule = bench.engine.inner().db.schedule(repository.id).await.unwrap();
    assert_eq!(schedule[0].next_run, "2026-01-03T11:04:05Z".parse::<chrono::DateTime<chrono::Utc>>().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_cannot_start_is_seen_and_the_merge_beside_it_runs() {
    let clock = Arc::new(ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap()));
    let bench = Bench::with(|options| options.clock = clock.clone()).await;
    let source = bench.directory("photos").await;
    let repository =
        scheduled(&bench, source.id, vec![task("backup", JobKind::Backup), task("merge", JobKind::Merge)]).await;
    let (now, db) = (bench.engine.now(), &bench.engine.inner().db);
    let audit = AuditEntry::of(&admin(), now, "test", None);
    db.change_sources(&[crate::db::SourceChange::Detach(source.id)], &audit).await.unwrap();
    clock.advance(TimeDelta::hours(1));
    bench.engine.reconcile().await.unwrap();
    let mut jobs = jobs(&bench, &repository).await;
    jobs.sort_by_key(|job| job.task.clone());
    assert_eq!(jobs.len(), 2);
    assert_eq!((jobs[0].state, jobs[0].failure.as_ref().unwrap().code.as_str()), (JobState::Skipped, "cannot_start"));
    let merge = bench.ended(jobs[1].id).await;
    assert_eq!((merge.kind, merge.state), (JobKind::Merge, JobState::Succeeded), "{}", bench.log(merge.id).await);
}
