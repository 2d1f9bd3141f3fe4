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
);

fn task(name: &str) -> PlanTask {
    let schedule = Schedule {
        rule: Rule::Every { count: 1, unit: Unit::Hours, at: None },
        zone: chrono_tz::UTC,
        start_now: false,
    };
    PlanTask { name: name.into(), kind: JobKind::Backup, schedule, full: false, merge_window: None }
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
