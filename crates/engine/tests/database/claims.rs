//! Which queued job a worker gets.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use trivault_engine::{db::*, *};
use uuid::Uuid;

use crate::{contract, fixtures::*};

contract!(
    the_oldest_of_the_highest_priority_comes_first,
    a_claim_sets_owner_lease_and_attempt,
    a_job_waits_until_its_time,
    a_job_held_by_a_node_goes_to_that_node_only,
    what_one_has_alone_nobody_else_gets,
    sharing_jobs_wait_behind_an_older_one_that_wants_the_resource_alone,
    limits_are_never_exceeded,
    two_claimers_never_run_conflicting_jobs,
    a_resource_named_twice_is_needed_alone_if_either_says_so,
    a_restore_is_refused_while_another_has_its_source,
);

async fn the_oldest_of_the_highest_priority_comes_first(place: Place) {
    let mut jobs = Vec::new();
    for (priority, created) in [(0, 3), (5, 4), (0, 1), (5, 2)] {
        let mut job = plain_job(JobKind::Verify, at(created));
        job.priority = priority;
        jobs.push(job.job.id);
        place.db.enqueue(&enqueue(job)).await.unwrap();
    }
    let mut order = Vec::new();
    while let Some(claimed) = claim(&place.db, NODE, 10).await {
        order.push(claimed.run.job);
    }
    assert_eq!(order, [jobs[3], jobs[1], jobs[2], jobs[0]]);
}

async fn a_claim_sets_owner_lease_and_attempt(place: Place) {
    let world = World::create(&place.db).await;
    let request = world.backup(&world.repository, at(0));
    assert_eq!(place.db.enqueue(&request).await.unwrap(), Enqueued::New);
    let claimed = claim(&place.db, NODE, 5).await.unwrap();
    assert_eq!(claimed.run, Run { job: request.job.job.id, attempt: 1 });
    assert_eq!((claimed.job.state, claimed.job.started_at), (JobState::Running, Some(at(5))));
    assert_eq!((claimed.lease_until, claimed.retries, claimed.retry_limit), (at(5 + LEASE), 0, 2));
    assert_eq!(claimed.params, request.job.params);
    let mut scopes = claimed.scopes.clone();
    scopes.sort_by_key(|scope| scope.exclusive);
    assert_eq!(scopes, [request.job.scopes[1], request.job.scopes[0]]);
    assert!(claim(&place.db, NODE, 6).await.is_none());
    let live = place.db.live_jobs_on(Resource::Source, world.source.id.0).await.unwrap();
    assert_eq!(live, [claimed.job]);
}

async fn a_job_waits_until_its_time(place: Place) {
    let mut job = plain_job(JobKind::Verify, at(0));
    job.not_before = Some(at(100));
    place.db.enqueue(&enqueue(job)).await.unwrap();
    assert!(claim(&place.db, NODE, 99).await.is_none());
    assert!(claim(&place.db, NODE, 100).await.is_some());
}

async fn a_job_held_by_a_node_goes_to_that_node_only(place: Place) {
    let mut job = plain_job(JobKind::Restore, at(0));
    job.held_by = Some(NODE);
    place.db.enqueue(&enqueue(job)).await.unwrap();
    assert!(claim(&place.db, OTHER_NODE, 1).await.is_none());
    assert!(claim(&place.db, NODE, 1).await.is_some());
}

async fn what_one_has_alone_nobody_else_gets(place: Place) {
    let world = World::create(&place.db).await;
    let other = world.another_repository(&place.db, "other").await;
    for request in [
        world.backup(&world.repository, at(0)),
        world.backup(&world.repository, at(1)),
        world.backup(&other, at(2)),
        world.restore(at(3)),
    ] {
        place.db.enqueue(&request).await.unwrap();
    }
    let first = claim(&place.db, NODE, 10).await.unwrap();
    let second = claim(&place.db, NODE, 10).await.unwrap();
    // The second backup of the repository waits for the first; the one of the other repository shares the source.
    assert_eq!(second.job.repository, Some(other.id));
    assert!(claim(&place.db, NODE, 10).await.is_none());
    place.db.finish(first.run, &failed(), at(11)).await.unwrap().held().unwrap();
    let third = claim(&place.db, NODE, 12).await.unwrap();
    assert_eq!(third.job.repository, Some(world.repository.id));
    for run in [second.run, third.run] {
        assert!(claim(&place.db, NODE, 12).await.is_none());
        place.db.finish(run, &failed(), at(13)).await.unwrap().held().unwrap();
    }
    assert_eq!(claim(&place.db, NODE, 14).await.unwrap().job.kind, JobKind::Restore);
}

async fn sharing_jobs_wait_behind_an_older_one_that_wants_the_resource_alone(place: Place) {
    let world = World::create(&place.db).await;
    let (second, third) =
        (world.another_repository(&place.db, "second").await, world.another_repository(&place.db, "third").await);
    place.db.enqueue(&world.backup(&world.repository, at(0))).await.unwrap();
    let running = claim(&place.db, NODE, 1).await.unwrap();
    place.db.enqueue(&world.restore(at(2))).await.unwrap();
    place.db.enqueue(&world.backup(&second, at(3))).await.unwrap();
    place.db.enqueue(&world.backup(&third, at(4))).await.unwrap();
    assert!(claim(&place.db, NODE, 5).await.is_none());
    place.db.finish(running.run, &failed(), at(6)).await.unwrap().held().unwrap();
    let restore = claim(&place.db, NODE, 7).await.unwrap();
    assert_eq!(restore.job.kind, JobKind::Restore);
    assert!(claim(&place.db, NODE, 7).await.is_none());
    place.db.finish(restore.run, &succeeded(), at(8)).await.unwrap().held().unwrap();
    assert!(claim(&place.db, NODE, 9).await.is_some() && claim(&place.db, NODE, 9).await.is_some());
}

async fn limits_are_never_exceeded(place: Place) {
    let world = World::create(&place.db).await;
    for number in 0..4 {
        let repository = world.another_repository(&place.db, &format!("r{number}")).await;
        place.db.enqueue(&world.backup(&repository, at(number))).await.unwrap();
    }
    let limited =
        async |node: Uuid, limits: ClaimLimits| place.db.claim(node, at(10), at(100), &limits).await.unwrap().is_some();
    let none = ClaimLimits::default();
    assert!(limited(NODE, ClaimLimits { per_node: Some(1), ..none }).await);
    assert!(!limited(NODE, ClaimLimits { per_node: Some(1), ..none }).await);
    assert!(limited(OTHER_NODE, ClaimLimits { per_node: Some(1), ..none }).await);
    assert!(!limited(NODE, ClaimLimits { per_store: Some(2), ..none }).await);
    assert!(!limited(NODE, ClaimLimits { per_source: Some(2), ..none }).await);
    assert!(limited(NODE, ClaimLimits { per_store: Some(3), per_source: Some(3), ..none }).await);
    assert!(!limited(NODE, ClaimLimits { per_node: Some(0), ..none }).await);
}

/// 200 jobs on five resources, some of which want them alone; two nodes with three workers each.
async fn two_claimers_never_run_conflicting_jobs(place: Place) {
    const JOBS: usize = 200;
    let resources: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
    for number in 0..JOBS {
        let mut job = plain_job(JobKind::Verify, at(0));
        let (one, other) = (resources[number % 5], resources[(number * 7 + 3) % 5]);
        job.scopes = vec![
            JobScope { resource: Resource::Source, id: one, exclusive: number % 3 == 0 },
            JobScope { resource: Resource::Part, id: other, exclusive: number % 4 == 0 },
        ];
        place.db.enqueue(&enqueue(job)).await.unwrap();
    }
    let (running, done) = (Arc::new(Mutex::new(HashMap::new())), Arc::new(AtomicUsize::new(0)));
    let mut workers = tokio::task::JoinSet::new();
    for (node, db) in [(NODE, place.db.clone()), (OTHER_NODE, place.second_node().await)] {
        for _ in 0..3 {
            let (db, running, done) = (db.clone(), running.clone(), done.clone());
            workers.spawn(async move {
                while done.load(Ordering::Relaxed) < JOBS {
                    let Some(claimed) = claim(&db, node, 10).await else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    begin(&running, &claimed);
                    tokio::task::yield_now().await;
                    // Out of the list first: another worker may claim as soon as the end is written.
                    running.lock().unwrap().remove(&claimed.run.job);
                    db.finish(claimed.run, &succeeded(), at(11)).await.unwrap().held().unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    let jobs = place.db.jobs(&JobFilter::default()).await.unwrap();
    assert!(jobs.len() == JOBS && jobs.iter().all(|job| job.state == JobState::Succeeded && job.attempt == 1));
}

/// Notes a job that runs; it must fit with all others that do.
fn begin(running: &Mutex<HashMap<JobId, Vec<JobScope>>>, claimed: &ClaimedJob) {
    let mut running = running.lock().unwrap();
    for theirs in running.values().flatten() {
        for mine in &claimed.scopes {
            let same = mine.resource == theirs.resource && mine.id == theirs.id;
            assert!(!same || !(mine.exclusive || theirs.exclusive), "{mine:?} beside {theirs:?}");
        }
    }
    assert!(running.insert(claimed.run.job, claimed.scopes.clone()).is_none());
}

async fn a_resource_named_twice_is_needed_alone_if_either_says_so(place: Place) {
    let id = Uuid::now_v7();
    let mut job = plain_job(JobKind::Verify, at(0));
    job.scopes = vec![shared(Resource::Part, id), alone(Resource::Part, id), shared(Resource::Part, id)];
    place.db.enqueue(&enqueue(job)).await.unwrap();
    assert_eq!(claim(&place.db, NODE, 1).await.unwrap().scopes, [alone(Resource::Part, id)]);
}

async fn a_restore_is_refused_while_another_has_its_source(place: Place) {
    let world = World::create(&place.db).await;
    let restore = || {
        let mut request = world.restore(at(0));
        request.job.alone_in = Some((JobKind::Restore, request.job.scopes[0]));
        request
    };
    let other = place.second_node().await;
    let (first, second) = (restore(), restore());
    let (one, two) = tokio::join!(place.db.enqueue(&first), other.enqueue(&second));
    let refusals: Vec<_> = [one, two].into_iter().filter_map(Result::err).collect();
    assert_eq!(refusals.iter().map(|error| error.code).collect::<Vec<_>>(), [ErrorCode::InUse(Noun::Source)]);
    let running = claim(&place.db, NODE, 1).await.unwrap();
    place.db.finish(running.run, &failed(), at(2)).await.unwrap().held().unwrap();
    assert_eq!(place.db.enqueue(&restore()).await.unwrap(), Enqueued::New);
}
