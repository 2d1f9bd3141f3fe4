//! Order, fairness and limits of the queue.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use trivault_engine::{db::*, *};
use uuid::Uuid;

use crate::{contract, fixtures::*};

contract!(
    a_low_priority_ages_and_comes_before_what_came_much_later,
    a_job_that_needs_two_things_alone_is_not_passed_by_streams_on_either,
    a_job_that_waits_for_its_time_holds_nobody_up,
    several_jobs_are_claimed_at_once_as_if_one_by_one,
    jobs_that_are_claimed_together_never_stand_in_each_others_way,
    a_thousand_jobs_of_three_dialects_never_pass_a_limit_and_none_starves,
    a_hundred_requests_at_once_are_all_kept_and_a_refused_one_takes_none_with_it,
    maintenance_holds_new_jobs_back_on_every_node,
    a_restore_that_may_run_in_maintenance_is_not_held_by_older_jobs_that_may_not,
    a_queued_job_can_say_why_it_waits,
);

async fn enqueued(db: &Database, job: NewJob) -> JobId {
    let id = job.job.id;
    db.enqueue(&enqueue(job)).await.unwrap();
    id
}

fn job_on(created: i64, scopes: Vec<JobScope>) -> NewJob {
    NewJob { scopes, ..plain_job(JobKind::Verify, at(created)) }
}

async fn end(db: &Database, run: Run, now: i64) {
    db.finish(run, &succeeded(), at(now)).await.unwrap().held().unwrap();
}

/// Ten points of priority are worth half an hour.
async fn a_low_priority_ages_and_comes_before_what_came_much_later(place: Place) {
    let low = enqueued(&place.db, plain_job(JobKind::Verify, at(0))).await;
    let high = |created| NewJob { priority: 10, ..plain_job(JobKind::Verify, at(created)) };
    let soon = enqueued(&place.db, high(29 * 60)).await;
    let late = enqueued(&place.db, high(31 * 60)).await;
    let mut order = Vec::new();
    while let Some(claimed) = claim(&place.db, NODE, 3600).await {
        order.push(claimed.run.job);
    }
    assert_eq!(order, [soon, low, late]);
}

/// Two streams of jobs keep one of two resources busy at any time; the one that wants both gets its turn.
async fn a_job_that_needs_two_things_alone_is_not_passed_by_streams_on_either(place: Place) {
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    for kind_of_stream in [alone, shared] {
        let stream = |created, id| job_on(created, vec![kind_of_stream(Resource::Source, id)]);
        enqueued(&place.db, stream(0, one)).await;
        let mut running = claim(&place.db, NODE, 1).await.unwrap().run;
        let wants = vec![alone(Resource::Source, one), alone(Resource::Source, other)];
        let both = enqueued(&place.db, job_on(2, wants)).await;
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 10, "the job that needs both is passed for ever");
            // Something new on the resource that is free, before the busy one becomes free.
            enqueued(&place.db, stream(2 + rounds, if rounds % 2 == 0 { one } else { other })).await;
            let beside = claim(&place.db, NODE, 100).await;
            end(&place.db, running, 100).await;
            let next = match beside {
                Some(next) => next,
                None => claim(&place.db, NODE, 101).await.unwrap(),
            };
            running = next.run;
            if next.run.job == both {
                break;
            }
        }
        assert_eq!(rounds, 1, "nobody passes it");
        end(&place.db, running, 102).await;
        while let Some(left) = claim(&place.db, NODE, 103).await {
            end(&place.db, left.run, 103).await;
        }
    }
}

async fn a_job_that_waits_for_its_time_holds_nobody_up(place: Place) {
    let source = Uuid::now_v7();
    let mut later = job_on(0, vec![alone(Resource::Source, source)]);
    later.not_before = Some(at(1000));
    let later = enqueued(&place.db, later).await;
    let sharing = enqueued(&place.db, job_on(1, vec![shared(Resource::Source, source)])).await;
    let claimed = claim(&place.db, NODE, 10).await.unwrap();
    assert_eq!(claimed.run.job, sharing);
    end(&place.db, claimed.run, 11).await;
    assert_eq!(claim(&place.db, NODE, 1000).await.unwrap().run.job, later);
}

async fn several_jobs_are_claimed_at_once_as_if_one_by_one(place: Place) {
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    let first = enqueued(&place.db, job_on(0, vec![alone(Resource::Repository, one)])).await;
    enqueued(&place.db, job_on(1, vec![alone(Resource::Repository, one)])).await;
    let third = enqueued(&place.db, job_on(2, vec![alone(Resource::Repository, other)])).await;
    let fourth = enqueued(&place.db, plain_job(JobKind::Verify, at(3))).await;
    let some = async |limits: ClaimLimits, most| {
        let claimed = place.db.claim_some(NODE, at(10), at(70), &limits, most).await.unwrap();
        let mut claimed: Vec<_> = claimed.into_iter().map(|claimed| claimed.run.job).collect();
        claimed.sort_by_key(|job| job.0);
        claimed
    };
    let two = ClaimLimits { per_node: Some(2), ..ClaimLimits::default() };
    assert_eq!(some(two, 5).await, [first, third], "the limit counts what is claimed with it");
    assert_eq!(some(two, 5).await, []);
    assert_eq!(some(ClaimLimits::default(), 0).await, []);
    assert_eq!(some(ClaimLimits::default(), 5).await, [fourth]);
}

/// Shared and alone, on few resources: what is claimed together fits together and with what runs.
async fn jobs_that_are_claimed_together_never_stand_in_each_others_way(place: Place) {
    const JOBS: usize = 150;
    let resources: Vec<Uuid> = (0..9).map(|_| Uuid::now_v7()).collect();
    for number in 0..JOBS {
        let scope = |step: usize, alone| JobScope {
            resource: Resource::Source,
            id: resources[(number * step + step) % 9],
            exclusive: alone,
        };
        let scopes = vec![scope(1, number % 3 == 0), scope(5, number % 4 == 0), scope(7, false)];
        enqueued(&place.db, job_on(i64::try_from(number).unwrap(), scopes)).await;
    }
    let (mut running, mut done, mut together) = (Vec::<ClaimedJob>::new(), 0, 0);
    while done < JOBS {
        let claimed = place.db.claim_some(NODE, at(500), at(900), &ClaimLimits::default(), 8).await.unwrap();
        together = together.max(claimed.len());
        for new in claimed {
            for mine in &new.scopes {
                for theirs in running.iter().flat_map(|old| &old.scopes).filter(|theirs| theirs.id == mine.id) {
                    assert!(!mine.exclusive && !theirs.exclusive, "{mine:?} beside {theirs:?}");
                }
            }
            running.push(new);
        }
        // Half of them end.
        for ended in running.drain(..running.len().div_ceil(2)) {
            end(&place.db, ended.run, 501).await;
            done += 1;
        }
    }
    assert!(together > 1, "several were claimed at once");
}

const PER_NODE: u32 = 4;
const PER_STORE: u32 = 3;
const PER_SOURCE: u32 = 2;

/// What runs at an instant, as the workers themselves see it.
#[derive(Default)]
struct Recorder {
    running: HashMap<String, u32>,
    /// The most that ever ran at once.
    most: HashMap<String, u32>,
    order: Vec<JobId>,
}

impl Recorder {
    fn keys(claimed: &ClaimedJob, node: Uuid) -> Vec<(String, u32)> {
        let mut keys = vec![(format!("node {node}"), PER_NODE)];
        keys.extend(claimed.job.store.map(|store| (format!("store {store}"), PER_STORE)));
        let sources = claimed.scopes.iter().filter(|scope| scope.resource == Resource::Source);
        keys.extend(sources.map(|scope| {
            let limit = if scope.exclusive { 1 } else { PER_SOURCE };
            (format!("source {}", scope.id), limit)
        }));
        keys
    }

    fn begin(&mut self, claimed: &ClaimedJob, node: Uuid) {
        self.order.push(claimed.run.job);
        for (key, limit) in Self::keys(claimed, node) {
            let now = self.running.entry(key.clone()).or_default();
            *now += 1;
            assert!(*now <= limit, "{key}: {now} at once");
            let most = self.most.entry(key).or_default();
            *most = (*most).max(*now);
        }
    }

    fn end(&mut self, claimed: &ClaimedJob, node: Uuid) {
        for (key, _) in Self::keys(claimed, node) {
            *self.running.get_mut(&key).unwrap() -= 1;
        }
    }
}

/// 1,000 jobs of three dialects and four priorities on three stores and six sources, every tenth of which wants its source alone; two
/// nodes, on each of which four jobs may run.
async fn a_thousand_jobs_of_three_dialects_never_pass_a_limit_and_none_starves(place: Place) {
    const JOBS: usize = 1000;
    let stores: Vec<StoreId> = (0..3).map(|_| StoreId(Uuid::now_v7())).collect();
    let sources: Vec<Uuid> = (0..6).map(|_| Uuid::now_v7()).collect();
    let (mut place_in_queue, mut of_job) = (HashMap::new(), HashMap::new());
    let mut jobs = Vec::new();
    for number in 0..JOBS {
        let created = i64::try_from(number).unwrap() * 10;
        let mut job = plain_job(JobKind::Backup, at(created));
        job.job.via = ["couchbase", "arcgis", "dbaas"][number % 3].to_owned();
        job.job.store = Some(stores[number % 7 % 3]);
        job.priority = [0, 10, 20, 0][number % 4];
        let source = sources[number % 11 % 6];
        job.scopes = vec![JobScope { resource: Resource::Source, id: source, exclusive: number % 10 == 0 }];
        place_in_queue.insert(job.job.id, created - job.priority * 180);
        of_job.insert(job.job.id, ((job.job.store, source), number % 10 == 0));
        jobs.push(job);
    }
    let mut requests = tokio::task::JoinSet::new();
    for job in jobs {
        let db = place.db.clone();
        requests.spawn(async move { db.enqueue(&enqueue(job)).await.unwrap() });
    }
    while let Some(request) = requests.join_next().await {
        assert_eq!(request.unwrap(), Enqueued::New);
    }
    let limits = ClaimLimits { per_node: Some(PER_NODE), per_store: Some(PER_STORE), per_source: Some(PER_SOURCE) };
    let recorder = Arc::new(Mutex::new(Recorder::default()));
    let (running, done) = (Arc::new(Mutex::new(VecDeque::new())), Arc::new(AtomicUsize::new(0)));
    let clock = Arc::new(AtomicI64::new(20_000));
    let mut workers = tokio::task::JoinSet::new();
    for (node, db) in [(NODE, place.db.clone()), (OTHER_NODE, place.second_node().await)] {
        for _ in 0..3 {
            let (db, recorder, running, done) = (db.clone(), recorder.clone(), running.clone(), done.clone());
            let clock = clock.clone();
            workers.spawn(async move {
                while done.load(Ordering::Relaxed) < JOBS {
                    let now = clock.fetch_add(1, Ordering::Relaxed);
                    if let Some(claimed) = db.claim(node, at(now), at(now + 100_000), &limits).await.unwrap() {
                        recorder.lock().unwrap().begin(&claimed, node);
                        running.lock().unwrap().push_back((node, claimed));
                        continue;
                    }
                    // As many run as may: the one that has run longest ends.
                    let Some((node, oldest)) = running.lock().unwrap().pop_front() else {
                        tokio::task::yield_now().await;
                        continue;
                    };
                    // Out of the list first: another worker may claim as soon as the end is written.
                    recorder.lock().unwrap().end(&oldest, node);
                    end(&db, oldest.run, now).await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    let succeeded = JobFilter { states: vec![JobState::Succeeded], ..JobFilter::default() };
    assert_eq!(place.db.jobs(&succeeded).await.unwrap().len(), JOBS);
    let recorder = recorder.lock().unwrap();
    assert_eq!(recorder.order.len(), JOBS, "each ran, once");
    for (limit, of) in [(PER_NODE, "node"), (PER_STORE, "store"), (PER_SOURCE, "source")] {
        let reached = recorder.most.iter().filter(|(key, most)| key.starts_with(of) && **most == limit).count();
        assert!(reached > 1, "the limit of each {of} was tried: {:?}", recorder.most);
    }
    // Nobody is passed by one with the same needs (but for the few that several workers claim at the same time), nor by one that
    // it cannot share its source with.
    let mut needs: HashMap<(Option<StoreId>, Uuid), Vec<JobId>> = HashMap::new();
    for job in &recorder.order {
        needs.entry(of_job[job].0).or_default().push(*job);
    }
    for began in needs.values() {
        let mut ranked = began.clone();
        ranked.sort_by_key(|job| (place_in_queue[job], job.0));
        for (place, job) in ranked.iter().enumerate() {
            let at = began.iter().position(|other| other == job).unwrap();
            assert!(at.abs_diff(place) <= 6, "number {place} of its queue began as number {at}");
        }
    }
    for (number, later) in recorder.order.iter().enumerate() {
        let ((_, source), is_alone) = of_job[later];
        for before in &recorder.order[..number] {
            let ((_, other), was_alone) = of_job[before];
            let in_each_others_way = source == other && (is_alone || was_alone);
            let in_order = (place_in_queue[before], before.0) < (place_in_queue[later], later.0);
            assert!(!in_each_others_way || in_order, "{later} was passed");
        }
    }
}

async fn a_hundred_requests_at_once_are_all_kept_and_a_refused_one_takes_none_with_it(place: Place) {
    let source = Uuid::now_v7();
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..100 {
        let mut job = job_on(number, vec![alone(Resource::Source, source)]);
        // Of the twenty restores one is taken, and the others are refused.
        if number % 5 == 0 {
            job.job.kind = JobKind::Restore;
            job.alone_in = Some((JobKind::Restore, job.scopes[0]));
        }
        let db = place.db.clone();
        requests.spawn(async move { (job.job.kind, job.job.id, db.enqueue(&enqueue(job)).await) });
    }
    let (mut kept, mut refused) = (Vec::new(), 0);
    while let Some(answer) = requests.join_next().await {
        match answer.unwrap() {
            (_, id, Ok(Enqueued::New)) => kept.push(id),
            (JobKind::Restore, _, Err(error)) => {
                assert_eq!(error.code, ErrorCode::InUse(Noun::Source));
                refused += 1;
            }
            (kind, _, answer) => panic!("{kind:?}: {answer:?}"),
        }
    }
    assert_eq!((kept.len(), refused), (81, 19));
    // Whoever was told of a job finds it, also through another process.
    let found = place.second_node().await.jobs(&JobFilter::default()).await.unwrap();
    let mut found: Vec<JobId> = found.into_iter().map(|job| job.id).collect();
    found.sort();
    kept.sort();
    assert_eq!(found, kept);
    assert_eq!(place.db.audit(1000).await.unwrap().iter().filter(|entry| entry.action == "job.start").count(), 81);
}

fn by_hand(until: Option<i64>, restores_run: bool) -> impl Fn(&mut Maintenance) + Send + Sync {
    move |maintenance| {
        maintenance.by_hand = Some(MaintenanceByHand {
            since: at(0),
            until: until.map(at),
            by: "ops".into(),
            reason: None,
            restores_run,
        });
    }
}

async fn maintenance_holds_new_jobs_back_on_every_node(place: Place) {
    let other = place.second_node().await;
    enqueued(&place.db, plain_job(JobKind::Verify, at(0))).await;
    let running = claim(&place.db, NODE, 1).await.unwrap();
    place.db.change_maintenance(&by_hand(Some(100), false), at(2), &audit("maintenance.start")).await.unwrap();
    let waiting = enqueued(&other, plain_job(JobKind::Verify, at(3))).await;
    let restore = enqueued(&other, NewJob { priority: RESTORE_PRIORITY, ..plain_job(JobKind::Restore, at(4)) }).await;
    assert!(claim(&place.db, NODE, 5).await.is_none() && claim(&other, OTHER_NODE, 5).await.is_none());
    // What runs goes on.
    assert!(place.db.heartbeat(running.run, at(80)).await.unwrap().is_held());
    end(&place.db, running.run, 6).await;
    // Restores may be let through.
    other.change_maintenance(&by_hand(Some(100), true), at(7), &audit("maintenance.start")).await.unwrap();
    assert_eq!(claim(&place.db, NODE, 8).await.unwrap().run.job, restore);
    assert!(claim(&place.db, NODE, 99).await.is_none());
    // It is over by itself at its end.
    assert_eq!(claim(&other, OTHER_NODE, 100).await.unwrap().run.job, waiting);
    // Without an end it is over when it is ended, and a cancelled job does not wait for that.
    place.db.change_maintenance(&by_hand(None, false), at(101), &audit("maintenance.start")).await.unwrap();
    let (one, two) = (plain_job(JobKind::Verify, at(102)), plain_job(JobKind::Verify, at(103)));
    let (one, two) = (enqueued(&other, one).await, enqueued(&other, two).await);
    assert!(claim(&other, OTHER_NODE, 1_000_000).await.is_none());
    let cancelled = place.db.cancel_job(one, at(104), &audit("job.cancel")).await.unwrap().unwrap();
    assert_eq!(cancelled.state, JobState::Cancelled);
    place.db.change_maintenance(&|known| known.stop(at(105)), at(105), &audit("maintenance.stop")).await.unwrap();
    assert_eq!(claim(&other, OTHER_NODE, 106).await.unwrap().run.job, two);
    let audited = place.db.audit(100).await.unwrap();
    assert!(audited.iter().any(|entry| entry.action == "maintenance.stop"));
}

async fn a_restore_that_may_run_in_maintenance_is_not_held_by_older_jobs_that_may_not(place: Place) {
    let source = Uuid::now_v7();
    enqueued(&place.db, job_on(0, vec![shared(Resource::Source, source)])).await;
    place.db.change_maintenance(&by_hand(None, true), at(1), &audit("maintenance.start")).await.unwrap();
    let late = 3 * 3600;
    let mut restore = job_on(late, vec![alone(Resource::Source, source)]);
    restore.priority = RESTORE_PRIORITY;
    let restore = enqueued(&place.db, restore).await;
    assert_eq!(claim(&place.db, NODE, late + 1).await.unwrap().run.job, restore);
}

async fn a_queued_job_can_say_why_it_waits(place: Place) {
    let (source, store) = (Uuid::now_v7(), StoreId(Uuid::now_v7()));
    let db = &place.db;
    db.upsert_node(&NodeRow { id: OTHER_NODE, name: "castor".into(), heartbeat_at: at(0) }).await.unwrap();
    let limits = ClaimLimits { per_node: Some(9), per_store: Some(1), per_source: Some(1) };
    let why = async |id, now| {
        let waiting = db.why_waiting(id, at(now), NODE, &limits).await.unwrap();
        waiting.map(|waiting| (waiting.sentence(), waiting))
    };
    let mut first = job_on(0, vec![shared(Resource::Source, source)]);
    first.job.store = Some(store);
    let first = enqueued(db, first).await;
    assert_eq!(why(first, 1).await.unwrap().1, Waiting::Worker);
    claim(db, NODE, 1).await.unwrap();
    assert_eq!(why(first, 2).await, None, "it runs");
    let wants_alone = enqueued(db, job_on(2, vec![alone(Resource::Source, source)])).await;
    let (sentence, waiting) = why(wants_alone, 3).await.unwrap();
    assert_eq!(waiting, Waiting::Running { job: first, kind: JobKind::Verify, what: "source" });
    assert!(sentence.contains(&first.to_string()) && sentence.contains("source"), "{sentence}");
    let shares = enqueued(db, job_on(3, vec![shared(Resource::Source, source)])).await;
    assert_eq!(
        why(shares, 4).await.unwrap().1,
        Waiting::Older { job: wants_alone, kind: JobKind::Verify, what: "source" }
    );
    db.cancel_job(wants_alone, at(4), &audit("job.cancel")).await.unwrap();
    assert_eq!(why(shares, 5).await.unwrap().1, Waiting::Source(1));
    let mut in_store = job_on(5, vec![]);
    in_store.job.store = Some(store);
    let in_store = enqueued(db, in_store).await;
    assert_eq!(why(in_store, 6).await.unwrap().1, Waiting::Store(1));
    let mut later = job_on(6, vec![]);
    later.not_before = Some(at(500));
    let later = enqueued(db, later).await;
    assert_eq!(why(later, 7).await.unwrap().1, Waiting::Until(at(500)));
    let mut held = job_on(7, vec![]);
    held.held_by = Some(OTHER_NODE);
    let held = enqueued(db, held).await;
    assert!(why(held, 8).await.unwrap().0.contains("castor"));
    let vault = Uuid::now_v7();
    let prune = NewJob { priority: 50, ..job_on(8, vec![alone(Resource::Care, vault)]) };
    let prune = enqueued(db, prune).await;
    assert_eq!(claim(db, NODE, 8).await.unwrap().run.job, prune);
    let check = enqueued(db, job_on(9, vec![alone(Resource::Care, vault)])).await;
    let (sentence, waiting) = why(check, 9).await.unwrap();
    assert_eq!(waiting, Waiting::Running { job: prune, kind: JobKind::Verify, what: "vault" }, "{sentence}");
    db.change_maintenance(&by_hand(Some(1000), false), at(9), &audit("maintenance.start")).await.unwrap();
    let (sentence, waiting) = why(shares, 10).await.unwrap();
    assert!(matches!(waiting, Waiting::Maintenance(_)) && sentence.contains("12:16:40 UTC"), "{sentence}");
    // Its log tells each reason once.
    for sentence in ["A.", "A.", "B."] {
        db.note_waiting(shares, sentence, true, at(11)).await.unwrap();
    }
    let lines: Vec<String> = db.job_log(shares, 10).await.unwrap().into_iter().map(|line| line.text).collect();
    assert_eq!(lines, ["Waits: A.", "Waits: B."]);
    db.note_waiting(first, "C.", true, at(12)).await.unwrap();
    assert_eq!(db.job_log(first, 10).await.unwrap(), [], "a job that runs does not wait");
}
