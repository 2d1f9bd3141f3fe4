//! Next runs and occurrences.

use trivault_engine::{db::*, *};
use uuid::Uuid;

use crate::{contract, fixtures::*};

contract!(
    due_tasks_come_with_their_plan_most_overdue_first,
    an_occurrence_is_enqueued_once_by_two_nodes,
    a_resumed_repository_keeps_runs_that_are_ahead,
    a_changed_plan_schedules_its_repositories_anew,
    a_task_moves_on_only_from_where_it_stands,
    a_schedule_does_not_stay_at_a_run_that_there_was_already,
    tasks_come_with_their_newest_run_and_success,
    old_occurrences_go_and_none_of_them_runs_again,
    a_task_that_verifies_is_kept_and_its_newest_run_tells_what_it_read,
    a_plan_in_use_is_neither_deleted_nor_changed_and_its_repositories_are_named,
);

fn task(name: &str) -> PlanTask {
    let schedule = Schedule {
        rule: Rule::Every { count: 1, unit: Unit::Hours, at: None },
        zone: chrono_tz::UTC,
        start_now: false,
    };
    PlanTask { name: name.into(), kind: JobKind::Backup, schedule, full: false, merge_window: None, verify: None }
}

fn entry(task: &str, next: i64) -> ScheduleEntry {
    ScheduleEntry { task: task.into(), next_run: at(next), last_run: None }
}

/// A plan with two tasks, attached to the world's repository.
async fn attach(db: &Database, world: &World, schedule: &[ScheduleEntry]) -> Plan {
    let plan = Plan {
        id: PlanId(Uuid::now_v7()),
        owner: "couchbase".into(),
        name: "hourly".into(),
        description: None,
        builtin: false,
        tasks: vec![task("second"), task("first")],
        attributes: Vec::new(),
        created_at: at(0),
        updated_at: at(0),
    };
    db.insert_plan(&plan, &audit("x")).await.unwrap();
    let attached = db.attach_plan(world.repository.id, Some(plan.id), schedule, &audit("x")).await.unwrap().unwrap();
    assert_eq!(attached.plan, Some(plan.id));
    plan
}

async fn due_tasks_come_with_their_plan_most_overdue_first(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let schedule = [entry("second", 200), entry("first", 100)];
    let plan = attach(db, &world, &schedule).await;
    assert_eq!(db.schedule(world.repository.id).await.unwrap(), schedule, "in the plan's order");
    assert_eq!(db.next_due().await.unwrap(), Some(at(100)));
    assert_eq!(db.due_tasks(at(99), 10).await.unwrap(), []);
    let due = db.due_tasks(at(200), 10).await.unwrap();
    let expected = |name: &str, due: i64| DueTask {
        repository: world.repository.id,
        plan: plan.id,
        task: task(name),
        due: at(due),
        plan_changed_at: at(0),
    };
    assert_eq!(due, [expected("first", 100), expected("second", 200)]);
    assert_eq!(db.due_tasks(at(200), 1).await.unwrap().len(), 1);
    db.pause_repository(world.repository.id, &audit("x")).await.unwrap();
    assert_eq!(db.due_tasks(at(200), 10).await.unwrap(), []);
    assert_eq!(db.next_due().await.unwrap(), None);
}

async fn an_occurrence_is_enqueued_once_by_two_nodes(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    attach(db, &world, &[entry("first", 100)]).await;
    let request = || {
        let mut request = world.backup(&world.repository, at(100));
        request.occurrence = Some(Occurrence {
            repository: world.repository.id,
            task: "first".into(),
            due: at(100),
            next_run: Some(at(3_700)),
        });
        request
    };
    let other = place.second_node().await;
    let (one, two) = (request(), request());
    let (first, second) = tokio::join!(db.enqueue(&one), other.enqueue(&two));
    let winner = match (first.unwrap(), second.unwrap()) {
        (Enqueued::New, Enqueued::Already(job)) => (job, one.job.job.id),
        (Enqueued::Already(job), Enqueued::New) => (job, two.job.job.id),
        other => panic!("{other:?}"),
    };
    assert_eq!(winner.0, winner.1);
    assert_eq!(db.jobs(&JobFilter::default()).await.unwrap().len(), 1);
    assert_eq!(db.enqueue(&request()).await.unwrap(), Enqueued::Already(winner.0));
    let schedule = db.schedule(world.repository.id).await.unwrap();
    assert_eq!(schedule, [ScheduleEntry { last_run: Some(at(100)), ..entry("first", 3_700) }]);
}

async fn a_resumed_repository_keeps_runs_that_are_ahead(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    attach(db, &world, &[entry("second", 50), entry("first", 500)]).await;
    db.pause_repository(world.repository.id, &audit("x")).await.unwrap();
    let resumed = AuditEntry { at: at(100), ..audit("x") };
    db.resume_repository(world.repository.id, &[entry("second", 110), entry("first", 120)], &resumed).await.unwrap();
    assert_eq!(db.schedule(world.repository.id).await.unwrap(), [entry("second", 110), entry("first", 500)]);
}

async fn a_changed_plan_schedules_its_repositories_anew(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let mut plan = attach(db, &world, &[entry("first", 50)]).await;
    plan.tasks = vec![task("third")];
    db.put_plan(&plan, &[entry("third", 60)], &audit("x")).await.unwrap();
    assert_eq!(db.schedule(world.repository.id).await.unwrap(), [entry("third", 60)]);
    db.attach_plan(world.repository.id, None, &[], &audit("x")).await.unwrap();
    assert_eq!(db.schedule(world.repository.id).await.unwrap(), []);
}

async fn a_task_moves_on_only_from_where_it_stands(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    attach(db, &world, &[entry("first", 50)]).await;
    let id = world.repository.id;
    assert!(!db.set_next_run(id, "first", at(49), Some(at(60))).await.unwrap());
    assert!(db.set_next_run(id, "first", at(50), Some(at(60))).await.unwrap());
    assert!(!db.set_next_run(id, "first", at(50), Some(at(70))).await.unwrap());
    assert_eq!(db.schedule(id).await.unwrap(), [entry("first", 60)]);
    assert!(db.set_next_run(id, "first", at(60), None).await.unwrap());
    assert_eq!(db.schedule(id).await.unwrap(), []);
}

fn occurrence(world: &World, due: i64, next: i64) -> Occurrence {
    Occurrence { repository: world.repository.id, task: "first".into(), due: at(due), next_run: Some(at(next)) }
}

async fn a_schedule_does_not_stay_at_a_run_that_there_was_already(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    attach(db, &world, &[entry("first", 100)]).await;
    let mut request = world.backup(&world.repository, at(100));
    request.occurrence = Some(occurrence(&world, 100, 200));
    assert_eq!(db.enqueue(&request).await.unwrap(), Enqueued::New);
    // A clock that went back, and a plan that was attached anew under it.
    db.attach_plan(world.repository.id, Some(attached(db, &world).await), &[entry("first", 100)], &audit("x"))
        .await
        .unwrap();
    let mut again = world.backup(&world.repository, at(100));
    again.occurrence = Some(occurrence(&world, 100, 200));
    assert_eq!(db.enqueue(&again).await.unwrap(), Enqueued::Already(request.job.job.id));
    assert_eq!(db.schedule(world.repository.id).await.unwrap()[0].next_run, at(200));
    assert_eq!(db.jobs(&JobFilter::default()).await.unwrap().len(), 1);
}

async fn attached(db: &Database, world: &World) -> PlanId {
    db.repository(world.repository.id).await.unwrap().unwrap().plan.unwrap()
}

async fn tasks_come_with_their_newest_run_and_success(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    attach(db, &world, &[entry("second", 900), entry("first", 100)]).await;
    let untouched = |entry| TaskHistory { repository: world.repository.id, entry, last_run: None, last_success: None };
    let histories = db.task_histories(None).await.unwrap();
    assert_eq!(histories, [untouched(entry("second", 900)), untouched(entry("first", 100))]);
    let mut jobs = Vec::new();
    for (due, finish) in [(100, succeeded()), (200, succeeded()), (300, failed())] {
        let mut request = enqueue(plain_job(JobKind::Verify, at(due + 5)));
        request.occurrence = Some(occurrence(&world, due, due + 100));
        db.enqueue(&request).await.unwrap();
        let run = claim(db, NODE, due + 6).await.unwrap().run;
        db.finish(run, &finish, at(due + 9)).await.unwrap().held().unwrap();
        jobs.push(request.job.job.id);
    }
    let run = |place: usize, state, due: i64| {
        Some(TaskRun { job: jobs[place], state, due: at(due), began: at(due + 5), ended: Some(at(due + 9)) })
    };
    let expected = TaskHistory {
        repository: world.repository.id,
        entry: ScheduleEntry { last_run: Some(at(300)), ..entry("first", 400) },
        last_run: run(2, JobState::Failed, 300),
        last_success: run(1, JobState::Succeeded, 200),
    };
    let histories = db.task_histories(Some(world.repository.id)).await.unwrap();
    assert_eq!(histories, [untouched(entry("second", 900)), expected]);
    let other = world.another_repository(db, "other").await;
    assert_eq!(db.task_histories(Some(other.id)).await.unwrap(), []);
    // Out of the schedule, its runs are still known.
    assert!(db.set_next_run(world.repository.id, "first", at(400), None).await.unwrap());
    assert_eq!(db.task_histories(None).await.unwrap(), [untouched(entry("second", 900))]);
    let runs = (run(2, JobState::Failed, 300), run(1, JobState::Succeeded, 200));
    assert_eq!(db.last_runs(world.repository.id, "first").await.unwrap(), runs);
    assert_eq!(db.last_runs(other.id, "first").await.unwrap(), (None, None));
    assert_eq!(db.occurrences_after(world.repository.id, "first", at(100)).await.unwrap(), [at(200), at(300)]);
    assert!(db.occurrences_after(world.repository.id, "second", at(0)).await.unwrap().is_empty());
}

async fn a_plan_in_use_is_neither_deleted_nor_changed_and_its_repositories_are_named(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let mut plan = attach(db, &world, &[entry("first", 50)]).await;
    plan.tasks = vec![task("third")];
    let refusals = [
        db.delete_plan(plan.id, &audit("x")).await.unwrap_err(),
        db.replace_unused_plan(&plan, &audit("x")).await.unwrap_err(),
    ];
    for refused in refusals {
        assert_eq!(refused.code, ErrorCode::InUse(Noun::Plan));
        assert!(refused.sentence.contains("in use by the repository restRepo"), "{refused}");
    }
    assert_eq!(db.plan(plan.id).await.unwrap().unwrap().tasks.len(), 2, "it stays as it was");
    db.attach_plan(world.repository.id, None, &[], &audit("x")).await.unwrap();
    let changed = db.replace_unused_plan(&plan, &audit("x")).await.unwrap().unwrap();
    assert_eq!((changed.id, changed.tasks.len()), (plan.id, 1));
    assert_eq!(db.all_plans().await.unwrap(), [changed]);
    assert!(db.delete_plan(plan.id, &audit("x")).await.unwrap());
    assert!(!db.delete_plan(plan.id, &audit("x")).await.unwrap());
    assert_eq!(db.replace_unused_plan(&plan, &audit("x")).await.unwrap(), None);
}

async fn a_task_that_verifies_is_kept_and_its_newest_run_tells_what_it_read(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let verify = Some(VerifyTask { level: VerifyLevel::Data, shares: 30 });
    let mut plan = attach(db, &world, &[entry("first", 100)]).await;
    plan.tasks = vec![PlanTask { kind: JobKind::Verify, verify, ..task("first") }];
    db.put_plan(&plan, &[entry("first", 100)], &audit("x")).await.unwrap();
    assert_eq!(db.due_tasks(at(100), 10).await.unwrap()[0].task, plan.tasks[0]);
    let newest = async || db.newest_params_of_task(world.repository.id, JobKind::Verify, "first").await.unwrap();
    assert_eq!(newest().await, None);
    for (place, state) in [JobState::Queued, JobState::Queued, JobState::Skipped].into_iter().enumerate() {
        let at = at(100 + place as i64);
        let mut request = enqueue(plain_job(JobKind::Verify, at));
        request.job.job.repository = Some(world.repository.id);
        request.job.job.task = Some("first".into());
        request.job.job.state = state;
        request.job.job.finished_at = (state == JobState::Skipped).then_some(at);
        request.job.params = serde_json::json!({ "share": place });
        db.enqueue(&request).await.unwrap();
    }
    assert_eq!(newest().await, Some(serde_json::json!({ "share": 1 })), "one that was skipped has read nothing");
    let other = db.newest_params_of_task(world.repository.id, JobKind::Verify, "second").await.unwrap();
    assert_eq!(other, None);
}

async fn old_occurrences_go_and_none_of_them_runs_again(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let id = world.repository.id;
    attach(db, &world, &[entry("first", 100)]).await;
    let start = async |due: i64| {
        let mut request = enqueue(plain_job(JobKind::Verify, at(due)));
        request.occurrence = Some(occurrence(&world, due, due + 100));
        (db.enqueue(&request).await.unwrap(), request.job.job.id)
    };
    let mut jobs = Vec::new();
    for (due, finish) in [(100, failed()), (200, succeeded()), (300, failed()), (400, failed()), (500, failed())] {
        jobs.push(start(due).await.1);
        let run = claim(db, NODE, due + 1).await.unwrap().run;
        db.finish(run, &finish, at(due + 2)).await.unwrap().held().unwrap();
    }
    let live = start(600).await.1;
    start(700).await;
    let left = async || db.occurrences_after(id, "first", at(0)).await.unwrap();
    assert_eq!(db.tasks_with_occurrences(at(100)).await.unwrap(), []);
    assert_eq!(db.tasks_with_occurrences(at(101)).await.unwrap(), [(id, "first".to_owned())]);
    assert_eq!(db.remove_occurrences(id, "second", at(9_000)).await.unwrap(), 0);
    assert_eq!(db.remove_occurrences(id, "first", at(400)).await.unwrap(), 2);
    assert_eq!(left().await, [200, 400, 500, 600, 700].map(at), "the newest good one stays");
    let before = db.task_histories(Some(id)).await.unwrap();
    assert_eq!(db.remove_occurrences(id, "first", at(9_000)).await.unwrap(), 2);
    assert_eq!(left().await, [200, 600, 700].map(at), "and the newest, and what is not over");
    assert_eq!(db.task_histories(Some(id)).await.unwrap(), before);
    assert_eq!(db.remove_occurrences(id, "first", at(9_000)).await.unwrap(), 0);

    // A clock that has gone back, and a schedule that stands there: nothing that was removed runs again, and it goes on.
    for (due, job) in [(100, jobs[4]), (300, jobs[4]), (150, jobs[4]), (500, jobs[4]), (600, live)] {
        db.put_plan(&plan_of(db, &world).await, &[entry("first", due)], &audit("x")).await.unwrap();
        assert_eq!(start(due).await.0, Enqueued::Already(job), "{due}");
        assert_eq!(db.schedule(id).await.unwrap(), [entry("first", due + 100)]);
    }
    assert_eq!(left().await, [200, 600, 700].map(at));
    // What was never run, after all that was removed, runs; and so does another task of the same time.
    assert_eq!(start(550).await.0, Enqueued::New);
    let mut other = enqueue(plain_job(JobKind::Verify, at(100)));
    other.occurrence = Some(Occurrence { task: "second".into(), ..occurrence(&world, 100, 200) });
    assert_eq!(db.enqueue(&other).await.unwrap(), Enqueued::New);
}

async fn plan_of(db: &Database, world: &World) -> Plan {
    db.plan(attached(db, world).await).await.unwrap().unwrap()
}
