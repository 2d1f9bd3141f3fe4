//! Several nodes, wrong clocks, and what is overdue.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{
    bench::{Bench, admin, databases, options},
    logs::Logs,
    plans::{jobs, scheduled, task},
};
use crate::{
    Clock, DatabaseLocation, Engine, EngineOptions, ManualClock, ServerKey, ServerKeyLocation,
    db::{AuditEntry, SourceChange},
    domain::*,
};

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn cron(name: &str, expression: &str, runs: Option<u32>) -> PlanTask {
    let cron = Cron::parse(expression, CronStyle::Unix).unwrap();
    let rule = Rule::Cron { cron, bounds: Bounds { runs, ..Bounds::default() } };
    PlanTask { schedule: Schedule { rule, zone: Tz::UTC, start_now: false }, ..task(name, JobKind::Backup) }
}

/// Runs nothing: jobs stay queued, and what comes due behind them is skipped, with a job that says so.
fn idle(options: &mut EngineOptions, clock: &Arc<ManualClock>) {
    options.workers = 0;
    options.clock = clock.clone();
}

async fn dues(bench: &Bench, repository: &Repository) -> Vec<DateTime<Utc>> {
    let db = &bench.engine.inner().db;
    db.occurrences_after(repository.id, "backup", DateTime::UNIX_EPOCH).await.unwrap()
}

/// Another process on the same database: of another node, or a command beside the server of a SQLite file.
pub(super) async fn another(
    folder: &Path,
    own: &DatabaseLocation,
    key: &ServerKey,
    clock: Arc<dyn Clock>,
    lease: Duration,
) -> Engine {
    let is_shared = matches!(own, DatabaseLocation::Postgres(_));
    let mut options = options(&if is_shared { folder.join("other") } else { folder.to_owned() });
    (options.workers, options.clock, options.lease) = (0, clock, lease);
    options.server = is_shared;
    options.database = own.clone();
    options.server_key = ServerKeyLocation::Given(key.clone());
    Engine::open(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_nodes_run_each_occurrence_once() {
    const HOURS: usize = 12;
    for database in databases() {
        let clock = Arc::new(ManualClock::new(instant("2026-01-02T03:04:05Z")));
        let key = ServerKey::parse("7".repeat(64).as_bytes()).unwrap();
        let bench = Bench::with(|options| {
            idle(options, &clock);
            options.database = database.clone();
            options.server_key = ServerKeyLocation::Given(key.clone());
        })
        .await;
        std::fs::create_dir_all(bench.path("other")).unwrap();
        let other = another(bench.folder(), &database, &key, clock.clone(), bench.engine.inner().options.lease).await;
        let source = bench.directory("photos").await;
        let repository = scheduled(&bench, source.id, vec![cron("backup", "0 * * * *", None)]).await;
        for hour in 1..=HOURS {
            clock.advance(TimeDelta::hours(1));
            let pass = |engine: &Engine| {
                let inner = Arc::clone(engine.inner());
                async move { crate::reconcilers::start_due(&inner).await }
            };
            let (one, two, three, four) =
                tokio::join!(pass(&bench.engine), pass(&other), pass(&bench.engine), pass(&other));
            for pass in [one, two, three, four] {
                pass.unwrap();
            }
            let mut of_repository = jobs(&bench, &repository).await;
            assert_eq!(of_repository.len(), hour, "{database:?}");
            // Each hour's run is queued by one of the four, and makes way for the next hour's.
            let queued = of_repository.extract_if(.., |job| job.state == JobState::Queued).collect::<Vec<_>>();
            assert_eq!(queued.len(), 1, "{database:?}: {of_repository:?}");
            bench.engine.cancel_job(&admin(), queued[0].id).await.unwrap();
        }
        let expected: Vec<_> =
            (0..HOURS).map(|hour| instant("2026-01-02T04:00:00Z") + TimeDelta::hours(hour as i64)).collect();
        assert_eq!(dues(&bench, &repository).await, expected);
        other.shutdown(std::time::Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_clock_that_goes_back_a_day_and_forward_a_year_neither_doubles_nor_loses_a_run() {
    let (logs, _guard) = Logs::listen();
    let begin = instant("2026-01-02T03:30:00Z");
    let clock = Arc::new(ManualClock::new(begin));
    let bench = Bench::with(|options| idle(options, &clock)).await;
    let source = bench.directory("photos").await;
    let repository = scheduled(&bench, source.id, vec![cron("backup", "0 * * * *", None)]).await;
    let look = async || {
        for _ in 0..2 {
            crate::reconcilers::start_due(bench.engine.inner()).await.unwrap();
            crate::reconcilers::look_over(bench.engine.inner()).await.unwrap();
        }
        dues(&bench, &repository).await.len()
    };
    for hour in 1..=30 {
        clock.advance(TimeDelta::hours(1));
        assert_eq!(look().await, hour);
    }
    assert_eq!(logs.take("the clock went back"), Vec::<String>::new());

    // A day back: these hours were there already.
    clock.advance(TimeDelta::hours(-24));
    assert_eq!(look().await, 30);
    let said = logs.take("the clock went back");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("clock.went_back_seconds=86400"), "{said:?}");
    for hour in 1..=26_usize {
        clock.advance(TimeDelta::hours(1));
        assert_eq!(look().await, 30 + hour.saturating_sub(24), "hour {hour} after the jump");
    }

    // A year ahead: what was missed runs once. And back again: the hours between are not waited for.
    clock.advance(TimeDelta::days(365));
    assert_eq!(look().await, 33);
    clock.advance(TimeDelta::hours(1));
    assert_eq!(look().await, 34);
    clock.advance(TimeDelta::days(-365));
    assert_eq!(look().await, 34);
    assert_eq!(logs.take("was put off by a clock that has gone back").len(), 1);
    for hour in 1..=5 {
        clock.advance(TimeDelta::hours(1));
        assert_eq!(look().await, 34 + hour);
    }
    let found = dues(&bench, &repository).await;
    let distinct: BTreeSet<_> = found.iter().collect();
    assert_eq!(distinct.len(), found.len());
    assert_eq!(jobs(&bench, &repository).await.len(), 39);
    // A small correction is nobody's concern.
    logs.take("");
    clock.advance(TimeDelta::seconds(-30));
    look().await;
    assert_eq!(logs.take("clock"), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_overdue_is_said_at_once_and_then_now_and_again_until_it_succeeds() {
    let (logs, _guard) = Logs::listen();
    let clock = Arc::new(ManualClock::new(instant("2026-01-02T03:04:05Z")));
    let bench = Bench::with(|options| options.clock = clock.clone()).await;
    let source = bench.directory("photos").await;
    let repository =
        scheduled(&bench, source.id, vec![task("backup", JobKind::Backup), task("merge", JobKind::Merge)]).await;
    let db = &bench.engine.inner().db;
    let audit = AuditEntry::of(&admin(), bench.engine.now(), "test", None);
    db.change_sources(&[SourceChange::Detach(source.id)], &audit).await.unwrap();
    let look = async || {
        bench.engine.reconcile().await.unwrap();
        let overdue = bench.engine.overdue(&admin(), None).await.unwrap();
        (overdue.len(), logs.take("a scheduled task is overdue").len())
    };
    clock.advance(TimeDelta::hours(2));
    assert_eq!(look().await, (0, 0), "its first run was due an hour ago");
    clock.advance(TimeDelta::seconds(1));
    assert_eq!(look().await, (1, 1), "only the backup counts");
    clock.advance(TimeDelta::minutes(59));
    assert_eq!(look().await, (1, 0));
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(look().await, (1, 1));
    let overdue = bench.engine.overdue(&admin(), Some(repository.id)).await.unwrap();
    let TaskStanding { repository_name, task, last_run, last_success, overdue_since, .. } = &overdue[0];
    assert_eq!((repository_name.as_str(), task.name.as_str()), ("daily", "backup"));
    assert_eq!((last_run.unwrap().state, *last_success), (JobState::Skipped, None));
    assert_eq!(*overdue_since, Some(instant("2026-01-02T05:04:05Z")));

    // Nothing of a paused repository is overdue.
    bench.engine.pause_repository(&admin(), repository.id).await.unwrap();
    assert_eq!(look().await, (0, 0));
    bench.engine.resume_repository(&admin(), repository.id).await.unwrap();
    assert_eq!(look().await, (0, 0));
    clock.advance(TimeDelta::minutes(121));
    assert_eq!(look().await, (1, 1));

    db.change_sources(&[SourceChange::Attach(source.id)], &audit).await.unwrap();
    clock.advance(TimeDelta::hours(1));
    bench.engine.reconcile().await.unwrap();
    let mut runs = jobs(&bench, &repository).await;
    runs.retain(|job| job.kind == JobKind::Backup && job.state != JobState::Skipped);
    let job = bench.ended(runs[0].id).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
    logs.take("");
    assert_eq!(look().await, (0, 0));
    let standings = bench.engine.task_standings(&admin(), None).await.unwrap();
    assert_eq!(standings[0].last_success.unwrap().job, job.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_of_two_runs_ends_after_them() {
    let clock = Arc::new(ManualClock::new(instant("2026-01-02T03:04:05Z")));
    let bench = Bench::with(|options| idle(options, &clock)).await;
    let source = bench.directory("photos").await;
    let repository = scheduled(&bench, source.id, vec![cron("backup", "0 4 * * *", Some(2))]).await;
    assert_eq!(bench.engine.upcoming_runs(&admin(), repository.id, 10).await.unwrap().len(), 2);
    for runs in [1, 2, 2, 2] {
        clock.advance(TimeDelta::days(1));
        crate::reconcilers::start_due(bench.engine.inner()).await.unwrap();
        assert_eq!(dues(&bench, &repository).await.len(), runs);
    }
    // It stays to be seen, with its last run.
    let standings = bench.engine.task_standings(&admin(), None).await.unwrap();
    let TaskStanding { next_run, last_run, overdue_since, .. } = &standings[0];
    assert_eq!((standings.len(), *next_run, *overdue_since), (1, None, None));
    let last_run = last_run.unwrap();
    assert_eq!((last_run.due, last_run.state), (instant("2026-01-03T04:00:00Z"), JobState::Skipped));
    assert_eq!(bench.engine.upcoming_runs(&admin(), repository.id, 10).await.unwrap(), []);
}

fn new_plan(name: &str, tasks: Vec<PlanTask>) -> NewPlan {
    NewPlan { owner: "test", name: name.into(), description: None, builtin: false, tasks, attributes: vec![] }
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_refused_that_never_run_are_built_in_or_in_use() {
    let clock = Arc::new(ManualClock::new(instant("2026-01-02T03:04:05Z")));
    let bench = Bench::with(|options| idle(options, &clock)).await;
    let (engine, admin) = (&bench.engine, admin());
    let mut never = cron("backup", "0 4 * * *", None);
    never.schedule.rule = Rule::HoursOfDay { hours: vec![24] };
    let refused = engine.create_plan(&admin, new_plan("never", vec![never])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidInput);

    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let plan = engine.create_plan(&admin, new_plan("nightly", vec![cron("backup", "0 4 * * *", None)])).await.unwrap();
    engine.attach_plan(&admin, repository.id, Some(plan.id)).await.unwrap();
    let changed = || new_plan("nightly", vec![cron("backup", "0 5 * * *", None)]);
    for refused in [
        engine.delete_plan(&admin, plan.id).await.unwrap_err(),
        engine.update_plan(&admin, changed()).await.unwrap_err(),
    ] {
        assert_eq!(refused.code, ErrorCode::InUse(Noun::Plan));
        assert!(refused.sentence.contains("repository daily"), "{refused}");
    }
    // Said in one stroke, its repositories are scheduled anew from now.
    engine.put_plan(&admin, changed()).await.unwrap();
    let next = engine.upcoming_runs(&admin, repository.id, 2).await.unwrap();
    let at: Vec<_> = next.iter().map(|run| run.at).collect();
    assert_eq!(at, [instant("2026-01-02T05:00:00Z"), instant("2026-01-03T05:00:00Z")]);

    engine.attach_plan(&admin, repository.id, None).await.unwrap();
    let updated = engine.update_plan(&admin, new_plan("nightly", vec![cron("b", "0 6 * * *", None)])).await.unwrap();
    assert_eq!(updated.id, plan.id);
    assert_eq!(engine.upcoming_runs_of_plan(&admin, plan.id, 1).await.unwrap()[0].at, instant("2026-01-02T06:00:00Z"));
    engine.delete_plan(&admin, plan.id).await.unwrap();
    assert_eq!(engine.plan(&admin, plan.id).await.unwrap_err().code, ErrorCode::NotFound(Noun::Plan));

    engine.reconcile_builtin_plans(vec![NewPlan { builtin: true, ..changed() }]).await.unwrap();
    let builtin = engine.plan_named(&admin, "test", "nightly").await.unwrap();
    for refused in [
        engine.delete_plan(&admin, builtin.id).await.unwrap_err(),
        engine.update_plan(&admin, changed()).await.unwrap_err(),
    ] {
        assert_eq!(refused.code, ErrorCode::Forbidden);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_are_long_past_are_let_go_of_and_come_again_under_no_clock() {
    for database in databases() {
        let begin = instant("2026-01-02T03:30:00Z");
        let clock = Arc::new(ManualClock::new(begin));
        let bench = Bench::with(|options| {
            idle(options, &clock);
            options.database = database;
        })
        .await;
        let source = bench.directory("photos").await;
        let tasks = vec![cron("backup", "0 4 * * *", None), cron("counted", "0 5 * * *", Some(60))];
        let repository = scheduled(&bench, source.id, tasks).await;
        let inner = bench.engine.inner();
        let day = async |days: i64| {
            clock.advance(TimeDelta::days(days));
            crate::reconcilers::start_due(inner).await.unwrap();
            crate::reconcilers::look_over(inner).await.unwrap();
            crate::reconcilers::remove_old(inner).await.unwrap();
        };
        let started = async |task: &str| {
            let jobs = jobs(&bench, &repository).await;
            jobs.iter().filter(|job| job.task.as_deref() == Some(task)).count()
        };
        for _ in 0..50 {
            day(1).await;
        }
        assert_eq!(started("backup").await, 50);
        // The first one is still queued, which is a reason to keep it.
        let kept = dues(&bench, &repository).await;
        assert_eq!((kept.len(), kept[0]), (36, instant("2026-01-02T04:00:00Z")));
        assert!(kept[1] >= bench.engine.now() - TimeDelta::days(35), "{kept:?}");

        // The clock goes back by more than what is kept: no day comes twice.
        day(-45).await;
        for days in 1..=50 {
            day(1).await;
            assert_eq!(started("backup").await, 50 + usize::try_from(days - 45).unwrap_or(0), "day {days}");
        }
        // After two months off, the run that was missed runs once.
        day(60).await;
        assert_eq!(started("backup").await, 56);
        for _ in 0..3 {
            day(0).await;
        }
        assert_eq!(started("backup").await, 56);
        day(1).await;
        assert_eq!(started("backup").await, 57);
        // A series of sixty is counted to its end, whatever was let go of meanwhile.
        for _ in 0..5 {
            day(1).await;
        }
        assert_eq!(started("counted").await, 60);
        assert_eq!(jobs(&bench, &repository).await.len(), 62 + 60);
    }
}

#[tokio::test]
async fn checks_and_prunes_that_miss_their_rhythm_are_said_now_and_again_until_they_are_done() {
    let (logs, _guard) = Logs::listen();
    let clock = Arc::new(ManualClock::new(instant("2026-01-02T03:00:00Z")));
    let bench = Bench::with(|options| options.clock = clock.clone()).await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let first = bench.back_up(&repository).await;
    bench.back_up(&repository).await;
    let forget = bench.engine.delete_backup(&admin(), first.id, vec![]).await.unwrap();
    bench.ended(forget.id).await;
    let look = async || {
        // The reconciler that would do it does not run.
        crate::reconcilers::look_over(bench.engine.inner()).await.unwrap();
        let overdue = bench.engine.overdue_care(&admin()).await.unwrap();
        let said = logs.take("is overdue").len();
        (overdue.iter().map(|care| care.care.to_string()).collect::<Vec<_>>().join(", "), said)
    };
    assert_eq!(look().await, (String::new(), 0));
    clock.advance(TimeDelta::hours(47));
    assert_eq!(look().await, (String::new(), 0), "one day is missed in any downtime");
    clock.advance(TimeDelta::hours(1));
    let all = "structure check, data check, prune".to_owned();
    assert_eq!(look().await, (all.clone(), 3));
    clock.advance(TimeDelta::hours(23));
    assert_eq!(look().await, (all.clone(), 0));
    clock.advance(TimeDelta::hours(1));
    assert_eq!(look().await, (all, 3));
    let overdue = bench.engine.overdue_care(&admin()).await.unwrap();
    assert!(overdue.iter().all(|care| care.last.is_none()), "{overdue:?}");
    assert_eq!(overdue[0].overdue_since, instant("2026-01-04T03:00:00Z"));
    assert_eq!((overdue[0].name.as_str(), overdue[0].store), ("vault", bench.store.id));

    let vault = bench.engine.inner().db.server_vault(bench.store.id).await.unwrap().unwrap().vault.id;
    let check = StartVerify::Vault { vault, read: ReadShare::All };
    let check = bench.engine.start_verify(&admin(), check).await.unwrap();
    assert_eq!(bench.ended(check.id).await.state, JobState::Succeeded, "{}", bench.log(check.id).await);
    assert_eq!(look().await, ("prune".to_owned(), 0));
    let prune = StartPrune { of: PruneOf::Vault(vault), task: None, job_attributes: vec![] };
    let prune = bench.engine.start_prune(&admin(), prune).await.unwrap();
    assert_eq!(bench.ended(prune.id).await.state, JobState::Succeeded, "{}", bench.log(prune.id).await);
    assert_eq!(look().await, (String::new(), 0));
    // What it has marked is deleted a day later: that is overdue two days after.
    clock.advance(TimeDelta::days(3));
    let again = look().await;
    assert!(again.0.contains("prune") && again.1 == 3, "{again:?}");
}
