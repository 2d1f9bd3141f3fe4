//! Fences, leases, retries, cancels: how attempts end.

use serde_json::json;
use trivault_engine::{db::*, *};
use trivault_sources::{Progress, Warning};

use crate::{contract, fixtures::*};

contract!(
    a_run_that_lost_its_job_writes_nothing,
    progress_steps_and_warnings_are_kept,
    a_heartbeat_keeps_the_lease_and_brings_the_cancel_flag,
    an_expired_job_is_retried_until_its_limit,
    a_cancelled_job_whose_lease_expired_ends_cancelled,
    a_cancelled_job_that_is_handed_back_ends_cancelled,
    a_lease_of_a_clock_that_was_set_back_ends_at_its_nodes_start,
    a_lease_of_a_clock_that_was_ahead_ends_unless_it_is_extended,
    a_handed_back_job_keeps_its_finished_parts,
    a_queued_backup_is_cancelled_at_once_with_its_parts,
    a_finished_job_stays_as_it_is,
    a_backup_never_succeeds_without_its_parts,
    jobs_whose_passcode_is_gone_end_failed,
    locks_of_runs_that_are_over_are_found,
    a_job_log_is_read_in_the_order_it_was_written,
    a_skipped_job_is_history_at_once,
);

fn warning() -> Warning {
    Warning { code: "vanished".into(), count: 2, sentence: "a\u{0}b vanished".into() }
}

async fn a_run_that_lost_its_job_writes_nothing(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let request = world.backup(&world.repository, at(0));
    let part = request.backup.as_ref().unwrap().parts[0].id;
    db.enqueue(&request).await.unwrap();
    let lost = claim(db, NODE, 1).await.unwrap().run;
    db.begin_backup(lost, BackupKind::Full, at(2), &no_names).await.unwrap().held().unwrap();
    db.begin_part(lost, part, at(2)).await.unwrap().held().unwrap();
    assert_eq!(take_back_expired(db, at(1 + LEASE)).await, [], "a lease lasts to its very end");
    assert_eq!(take_back_expired(db, at(2 + LEASE)).await.len(), 1);
    let late = at(3 + LEASE);
    for again in [false, true] {
        if again {
            // The same job runs once more, on another node.
            assert_eq!(claim(db, OTHER_NODE, 4 + LEASE).await.unwrap().run.attempt, 2);
        }
        let before = (db.job(lost.job).await.unwrap(), db.backup_of_part(part).await.unwrap());
        let update = ProgressUpdate { progress: Progress::default(), bytes_stored: 9, percent: 9, estimated_end: None };
        assert!(!db.heartbeat(lost, at(999)).await.unwrap().is_held());
        assert!(!db.write_progress(lost, &update, late).await.unwrap().is_held());
        assert!(!db.write_steps(lost, &[], late).await.unwrap().is_held());
        assert!(!db.write_warnings(lost, &[warning()], late).await.unwrap().is_held());
        assert!(!db.write_params(lost, &json!({}), late).await.unwrap().is_held());
        assert!(!db.begin_backup(lost, BackupKind::Full, late, &no_names).await.unwrap().is_held());
        assert!(!db.begin_part(lost, part, late).await.unwrap().is_held());
        assert!(!db.part_succeeded(lost, &world.done(part), late).await.unwrap().is_held());
        assert!(!db.part_failed(lost, part, "no", &[], late).await.unwrap().is_held());
        assert!(!db.hand_back(lost, &HandBack { not_before: None, counts: false }, late).await.unwrap().is_held());
        assert!(!db.finish(lost, &failed(), late).await.unwrap().is_held());
        let lock = LockRow { vault: world.vault.id, lock: "aa".into(), run: lost, node: NODE, created_at: late };
        assert!(!db.record_lock(&lock).await.unwrap().is_held());
        let error = db.finish(lost, &failed(), late).await.unwrap().held().unwrap_err();
        assert_eq!(error.code, ErrorCode::Cancelled);
        assert_eq!((db.job(lost.job).await.unwrap(), db.backup_of_part(part).await.unwrap()), before);
    }
}

async fn progress_steps_and_warnings_are_kept(place: Place) {
    let db = &place.db;
    db.enqueue(&enqueue(plain_job(JobKind::Verify, at(0)))).await.unwrap();
    let run = claim(db, NODE, 1).await.unwrap().run;
    let progress = Progress { bytes_read: u64::MAX, bytes_total: Some(1 << 40), items: 3, items_total: None };
    let update = ProgressUpdate { progress, bytes_stored: 5, percent: 100, estimated_end: Some(at(50)) };
    db.write_progress(run, &update, at(2)).await.unwrap().held().unwrap();
    let step = Step {
        name: "capture".into(),
        source: None,
        state: StepState::Running,
        started_at: Some(at(1)),
        finished_at: None,
    };
    db.write_steps(run, &[step.clone()], at(3)).await.unwrap().held().unwrap();
    db.write_warnings(run, &[warning()], at(4)).await.unwrap().held().unwrap();
    db.write_params(run, &json!({"parent": "abc"}), at(5)).await.unwrap().held().unwrap();
    let job = db.job(run.job).await.unwrap().unwrap();
    assert_eq!((job.progress.bytes_total, job.progress.items, job.bytes_stored), (Some(1 << 40), 3, 5));
    assert_eq!(job.progress.bytes_read, i64::MAX as u64);
    assert_eq!((job.percent, job.estimated_end, job.updated_at), (99, Some(at(50)), at(5)));
    assert_eq!((job.steps, job.warnings), (vec![step], vec![warning()]));
    assert_eq!(db.job_params(run.job).await.unwrap(), Some(json!({"parent": "abc"})));
    db.finish(run, &succeeded(), at(6)).await.unwrap().held().unwrap();
    let job = db.job(run.job).await.unwrap().unwrap();
    assert_eq!((job.state, job.percent, job.finished_at), (JobState::Succeeded, 100, Some(at(6))));
}

async fn a_heartbeat_keeps_the_lease_and_brings_the_cancel_flag(place: Place) {
    let db = &place.db;
    db.enqueue(&enqueue(plain_job(JobKind::Verify, at(0)))).await.unwrap();
    let run = claim(db, NODE, 0).await.unwrap().run;
    let beat = db.heartbeat(run, at(1_000)).await.unwrap().held().unwrap();
    assert_eq!(beat, Heartbeat { cancel_requested: false });
    assert_eq!(take_back_expired(db, at(999)).await, []);
    let job = db.cancel_job(run.job, at(2), &audit("job.cancel")).await.unwrap().unwrap();
    assert_eq!((job.state, job.cancel_requested), (JobState::Running, true));
    let beat = db.heartbeat(run, at(1_000)).await.unwrap().held().unwrap();
    assert_eq!(beat, Heartbeat { cancel_requested: true });
}

async fn an_expired_job_is_retried_until_its_limit(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let request = world.backup(&world.repository, at(0));
    let (job, backup) = (request.job.job.id, request.backup.as_ref().unwrap().id);
    db.enqueue(&request).await.unwrap();
    for attempt in 1..=3 {
        let now = i64::from(attempt) * 1_000;
        let run = claim(db, NODE, now).await.unwrap().run;
        assert_eq!(run.attempt, attempt);
        db.begin_backup(run, BackupKind::Full, at(now), &no_names).await.unwrap().held().unwrap();
        db.begin_part(run, request.backup.as_ref().unwrap().parts[0].id, at(now)).await.unwrap().held().unwrap();
        let state = if attempt == 3 { JobState::Failed } else { JobState::Queued };
        let taken = take_back_expired(db, at(now + 500)).await;
        assert_eq!(taken, [TakenBack { job, kind: JobKind::Backup, attempt, state }]);
        let backup = db.backup(backup).await.unwrap().unwrap();
        let expected = if attempt == 3 { BackupState::Failed } else { BackupState::Queued };
        assert_eq!((backup.state, backup.parts[0].state), (expected, expected));
    }
    let job = db.job(job).await.unwrap().unwrap();
    assert_eq!((job.state, job.finished_at), (JobState::Failed, Some(at(3_500))));
    assert_eq!(job.failure.unwrap().code, "interrupted");
    assert!(db.live_jobs_on(Resource::Repository, world.repository.id.0).await.unwrap().is_empty());
    let backup = db.backup(backup).await.unwrap().unwrap();
    assert!(backup.error.is_some() && backup.parts[0].error.is_some() && backup.finished_at == Some(at(3_500)));
}

async fn a_lease_of_a_clock_that_was_set_back_ends_at_its_nodes_start(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let request = world.backup(&world.repository, at(0));
    db.enqueue(&request).await.unwrap();
    let run = claim(db, NODE, 10_000).await.unwrap().run;
    assert_eq!(take_back_expired(db, at(100)).await, [], "it ends in three hours");
    let latest = at(100 + 2 * LEASE);
    assert_eq!(db.expire_leases_beyond(OTHER_NODE, latest, at(100)).await.unwrap(), 0, "another node's are its own");
    assert_eq!(db.expire_leases_beyond(NODE, at(20_000), at(100)).await.unwrap(), 0, "a lease that may be is left");
    assert_eq!(db.expire_leases_beyond(NODE, latest, at(100)).await.unwrap(), 1);
    assert_eq!(take_back_expired(db, at(100)).await[0].attempt, run.attempt);
}

async fn a_lease_of_a_clock_that_was_ahead_ends_unless_it_is_extended(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let request = world.backup(&world.repository, at(0));
    db.enqueue(&request).await.unwrap();
    let run = claim(db, OTHER_NODE, 10_000).await.unwrap().run;
    let found = db.leases().await.unwrap();
    assert_eq!(found, [Lease { run, owner: OTHER_NODE, until: at(10_000 + LEASE) }]);
    assert!(matches!(db.heartbeat(run, at(10_010 + LEASE)).await.unwrap(), Fenced::Held(_)));
    assert!(!db.expire_lease(found[0], at(99)).await.unwrap(), "it lives");
    let found = db.leases().await.unwrap();
    assert!(db.expire_lease(found[0], at(99)).await.unwrap());
    assert_eq!(take_back_expired(db, at(100)).await[0].job, run.job);
    assert!(matches!(db.heartbeat(run, at(10_020 + LEASE)).await.unwrap(), Fenced::Lost), "it comes back too late");
}

async fn a_cancelled_job_whose_lease_expired_ends_cancelled(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let request = world.backup(&world.repository, at(0));
    db.enqueue(&request).await.unwrap();
    let run = claim(db, NODE, 0).await.unwrap().run;
    db.cancel_job(run.job, at(1), &audit("job.cancel")).await.unwrap();
    assert_eq!(take_back_expired(db, at(100)).await[0].state, JobState::Cancelled);
    assert_eq!(db.backup(request.backup.unwrap().id).await.unwrap().unwrap().state, BackupState::Cancelled);
}

async fn a_cancelled_job_that_is_handed_back_ends_cancelled(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let request = world.backup(&world.repository, at(0));
    db.enqueue(&request).await.unwrap();
    let run = claim(db, NODE, 0).await.unwrap().run;
    // Heard by nobody: the run ends in this moment, to be tried again in an hour.
    db.cancel_job(run.job, at(1), &audit("job.cancel")).await.unwrap();
    let back = HandBack { not_before: Some(at(3_600)), counts: true };
    db.hand_back(run, &back, at(2)).await.unwrap().held().unwrap();
    let job = db.job(run.job).await.unwrap().unwrap();
    assert_eq!((job.state, job.finished_at), (JobState::Cancelled, Some(at(2))));
    assert_eq!(db.backup(request.backup.unwrap().id).await.unwrap().unwrap().state, BackupState::Cancelled);
    assert!(db.live_jobs_on(Resource::Repository, world.repository.id.0).await.unwrap().is_empty());
}

async fn a_handed_back_job_keeps_its_finished_parts(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let mut request = world.backup(&world.repository, at(0));
    let backup = request.backup.as_mut().unwrap();
    let second = Part { id: PartId(uuid::Uuid::now_v7()), ..backup.parts[0].clone() };
    backup.parts.push(second.clone());
    let (id, first) = (backup.id, backup.parts[0].id);
    db.enqueue(&request).await.unwrap();
    let run = claim(db, NODE, 1).await.unwrap().run;
    let begun = db.begin_backup(run, BackupKind::Full, at(1), &no_names).await.unwrap().held().unwrap();
    db.part_succeeded(run, &world.done(first), at(2)).await.unwrap().held().unwrap();
    db.part_failed(run, second.id, "The source is away.", &[warning()], at(3)).await.unwrap().held().unwrap();
    let back = HandBack { not_before: Some(at(50)), counts: true };
    db.hand_back(run, &back, at(4)).await.unwrap().held().unwrap();
    let states: Vec<_> = db.backup(id).await.unwrap().unwrap().parts.iter().map(|part| part.state).collect();
    assert_eq!(states, [BackupState::Succeeded, BackupState::Queued]);
    assert!(claim(db, NODE, 49).await.is_none());
    let claimed = claim(db, OTHER_NODE, 50).await.unwrap();
    assert_eq!((claimed.run.attempt, claimed.retries), (2, 1));
    // What was fixed by the first attempt stays.
    let again = db.begin_backup(claimed.run, BackupKind::Incremental, at(51), &no_names).await.unwrap().held().unwrap();
    assert_eq!((again.point, again.kind, again.started_at), (begun.point, BackupKind::Full, begun.started_at));
    let back = HandBack { not_before: None, counts: false };
    db.hand_back(claimed.run, &back, at(52)).await.unwrap().held().unwrap();
    assert_eq!(claim(db, NODE, 53).await.unwrap().retries, 1);
}

async fn a_queued_backup_is_cancelled_at_once_with_its_parts(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let request = world.backup(&world.repository, at(0));
    db.enqueue(&request).await.unwrap();
    let job = db.cancel_job(request.job.job.id, at(5), &audit("job.cancel")).await.unwrap().unwrap();
    assert_eq!((job.state, job.finished_at), (JobState::Cancelled, Some(at(5))));
    let backup = db.backup(request.backup.unwrap().id).await.unwrap().unwrap();
    assert_eq!((backup.state, backup.parts[0].state), (BackupState::Cancelled, BackupState::Cancelled));
    assert!(claim(db, NODE, 6).await.is_none());
    assert!(db.cancel_job(JobId(uuid::Uuid::now_v7()), at(5), &audit("job.cancel")).await.unwrap().is_none());
}

async fn a_finished_job_stays_as_it_is(place: Place) {
    let db = &place.db;
    db.enqueue(&enqueue(plain_job(JobKind::Verify, at(0)))).await.unwrap();
    let run = claim(db, NODE, 0).await.unwrap().run;
    db.finish(run, &failed(), at(1)).await.unwrap().held().unwrap();
    let before = db.job(run.job).await.unwrap();
    assert!(!db.finish(run, &succeeded(), at(2)).await.unwrap().is_held());
    assert!(!db.hand_back(run, &HandBack { not_before: None, counts: false }, at(2)).await.unwrap().is_held());
    db.cancel_job(run.job, at(3), &audit("job.cancel")).await.unwrap();
    assert_eq!(take_back_expired(db, at(9_999)).await, []);
    assert_eq!(db.job(run.job).await.unwrap(), before);
    let wrong = Finish { state: JobState::Queued, failure: None, delete_backup: false };
    assert_eq!(db.finish(run, &wrong, at(4)).await.unwrap_err().code, ErrorCode::Internal);
}

async fn a_backup_never_succeeds_without_its_parts(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let request = world.backup(&world.repository, at(0));
    let part = request.backup.as_ref().unwrap().parts[0].id;
    db.enqueue(&request).await.unwrap();
    let run = claim(db, NODE, 0).await.unwrap().run;
    db.begin_backup(run, BackupKind::Full, at(1), &no_names).await.unwrap().held().unwrap();
    assert_eq!(db.finish(run, &succeeded(), at(1)).await.unwrap_err().code, ErrorCode::Internal);
    assert_eq!(db.job(run.job).await.unwrap().unwrap().state, JobState::Running, "nothing of it was written");
    db.part_succeeded(run, &world.done(part), at(2)).await.unwrap().held().unwrap();
    db.finish(run, &succeeded(), at(3)).await.unwrap().held().unwrap();
    assert_eq!(db.backup_of_part(part).await.unwrap().unwrap().state, BackupState::Succeeded);
}

async fn jobs_whose_passcode_is_gone_end_failed(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    let other = world.another_repository(db, "other").await;
    let mut requests =
        [world.backup(&world.repository, at(0)), world.backup(&other, at(1)), world.backup(&other, at(2))];
    requests[0].job.held_by = Some(NODE);
    requests[1].job.held_by = Some(NODE);
    requests[2].job.held_by = Some(OTHER_NODE);
    for request in &requests {
        db.enqueue(request).await.unwrap();
    }
    let run = claim(db, NODE, 3).await.unwrap().run;
    let step = |name: &str, state: StepState, finished_at| Step {
        name: name.into(),
        source: None,
        state,
        started_at: Some(at(3)),
        finished_at,
    };
    let (done, under_way) =
        (step("validate", StepState::Succeeded, Some(at(4))), step("capture", StepState::Running, None));
    db.write_steps(run, &[done.clone(), under_way], at(4)).await.unwrap().held().unwrap();
    let mut failed = db.fail_held_by(NODE, at(5)).await.unwrap();
    failed.sort();
    assert_eq!(failed, [requests[0].job.job.id, requests[1].job.job.id]);
    let job = db.job(failed[0]).await.unwrap().unwrap();
    assert_eq!(job.failure.unwrap().sentence, "The passcode is not kept; send the request again.");
    let steps = db.job(run.job).await.unwrap().unwrap().steps;
    assert_eq!(steps, [done, step("capture", StepState::Failed, Some(at(5)))]);
    assert_eq!(db.backup(requests[1].backup.as_ref().unwrap().id).await.unwrap().unwrap().state, BackupState::Failed);
    assert_eq!(db.job(requests[2].job.job.id).await.unwrap().unwrap().state, JobState::Queued);
    assert_eq!(db.fail_held_by(NODE, at(6)).await.unwrap(), []);
}

async fn locks_of_runs_that_are_over_are_found(place: Place) {
    let (db, world) = (&place.db, World::create(&place.db).await);
    db.enqueue(&world.backup(&world.repository, at(0))).await.unwrap();
    let run = claim(db, NODE, 0).await.unwrap().run;
    let lock = |lock: &str| LockRow { vault: world.vault.id, lock: lock.into(), run, node: NODE, created_at: at(1) };
    db.record_lock(&lock("aa")).await.unwrap().held().unwrap();
    db.record_lock(&lock("bb")).await.unwrap().held().unwrap();
    assert_eq!(db.stale_locks().await.unwrap(), []);
    take_back_expired(db, at(100)).await;
    assert_eq!(db.stale_locks().await.unwrap(), [lock("aa"), lock("bb")]);
    db.release_lock(world.vault.id, "aa").await.unwrap();
    assert_eq!(db.stale_locks().await.unwrap(), [lock("bb")]);
}

async fn a_job_log_is_read_in_the_order_it_was_written(place: Place) {
    let db = &place.db;
    let request = enqueue(plain_job(JobKind::Verify, at(0)));
    let job = request.job.job.id;
    db.enqueue(&request).await.unwrap();
    let line = |second: i64, text: &str| LogLine { at: at(second), text: text.into() };
    db.append_log(job, &[line(1, "one"), line(1, "two")]).await.unwrap();
    db.append_log(job, &[line(0, "a\0c"), line(2, &"ü".repeat(4_000))]).await.unwrap();
    db.append_log(JobId(uuid::Uuid::now_v7()), &[line(0, "of nobody")]).await.unwrap();
    let log = db.job_log(job, 100).await.unwrap();
    assert_eq!(log[..3], [line(1, "one"), line(1, "two"), line(0, "a\u{fffd}c")]);
    assert!(log[3].text.len() < 4_200 && log[3].text.ends_with('…'));
    assert_eq!(db.job_log(job, 2).await.unwrap().len(), 2);
}

async fn a_skipped_job_is_history_at_once(place: Place) {
    let db = &place.db;
    let mut job = plain_job(JobKind::Merge, at(0));
    job.job.state = JobState::Skipped;
    job.job.finished_at = Some(at(0));
    job.job.failure = Some(Failure { code: "unsupported".into(), sentence: "Not yet.".into(), hint: None });
    job.scopes = vec![alone(Resource::Repository, uuid::Uuid::now_v7())];
    let expected = job.job.clone();
    db.enqueue(&enqueue(job)).await.unwrap();
    assert!(claim(db, NODE, 10).await.is_none());
    assert_eq!(db.job(expected.id).await.unwrap(), Some(expected));
}
