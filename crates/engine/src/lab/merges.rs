//! Ranges of backups that are folded into their newest.

use std::sync::Arc;

use chrono::TimeDelta;
use chrono_tz::Tz;

use super::{
    bench::{Bench, admin, contents, databases, take_back_all},
    gate::Gate,
    plans::{scheduled, task},
};
use crate::{ManualClock, domain::*};

/// A repository with one backup a day, each of other content, the newest last.
async fn daily(bench: &Bench, clock: &ManualClock, days: usize) -> (Repository, Vec<Backup>) {
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let mut backups = Vec::new();
    for day in 0..days {
        clock.advance(TimeDelta::days(1));
        std::fs::write(bench.path("photos").join("day"), format!("{day}")).unwrap();
        backups.push(bench.back_up(&repository).await);
    }
    (repository, backups)
}

fn request(repository: &Repository, range: MergeRange) -> StartMerge {
    StartMerge { repository: repository.id, task: None, range, zone: Tz::UTC, as_of: None, job_attributes: vec![] }
}

async fn merge(bench: &Bench, request: StartMerge) -> Job {
    let job = bench.engine.start_merge(&admin(), request).await.unwrap();
    bench.ended(job.id).await
}

async fn left(bench: &Bench, repository: &Repository) -> Vec<BackupId> {
    let filter = BackupFilter { repository: Some(repository.id), ..BackupFilter::default() };
    let mut backups = bench.engine.backups(&admin(), filter).await.unwrap();
    backups.reverse();
    backups.iter().map(|backup| backup.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_of_a_window_stays_and_restores_as_before() {
    for database in databases() {
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let bench = Bench::with(|options| {
            options.clock = clock.clone();
            options.database = database;
        })
        .await;
        let (repository, backups) = daily(&bench, &clock, 5).await;
        let place = bench.path("photos");
        let before = bench.restore(bench.restore_request(&backups[3], RestoreInto::InPlace)).await;
        assert_eq!(before.state, JobState::Succeeded);
        let expected = contents(&place);

        // The day before yesterday of the newest is the newest day; two more days are folded.
        let range = MergeRange::Days(MergeWindow { offset_start: 1, offset_end: 2 });
        let job = merge(&bench, request(&repository, range)).await;
        assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
        assert_eq!((job.percent, job.progress.items), (100, 2));
        let ids: Vec<BackupId> = backups.iter().map(|backup| backup.id).collect();
        assert_eq!(left(&bench, &repository).await, [ids[0], ids[3], ids[4]]);
        let merged = bench.engine.merged_into(&ids).await.unwrap().remove(&ids[3]).unwrap();
        assert_eq!(merged.backups.iter().map(|former| former.id).collect::<Vec<_>>(), [ids[1], ids[2]]);
        assert_eq!(merged.kind, BackupKind::Incremental);
        let about = bench.engine.backups_of_jobs(&[job.id]).await.unwrap().remove(&job.id).unwrap();
        assert_eq!(about.iter().map(|former| former.id).collect::<Vec<_>>(), [ids[1], ids[2], ids[3]]);

        std::fs::remove_dir_all(&place).unwrap();
        let restored = bench.restore(bench.restore_request(&backups[3], RestoreInto::InPlace)).await;
        assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
        assert_eq!(contents(&place), expected);

        // What was folded before is folded on with it.
        let job = merge(&bench, request(&repository, MergeRange::EVERYTHING)).await;
        assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
        assert_eq!(left(&bench, &repository).await, [ids[4]]);
        let merged = bench.engine.merged_into(&ids).await.unwrap().remove(&ids[4]).unwrap();
        assert_eq!(merged.backups.iter().map(|former| former.id).collect::<Vec<_>>(), ids[..4]);
        assert_eq!(merged.kind, BackupKind::Full);
        let again = merge(&bench, request(&repository, MergeRange::EVERYTHING)).await;
        assert_eq!(again.state, JobState::Succeeded, "one backup is nothing to merge");
        assert!(bench.log(again.id).await.contains("nothing was changed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_cannot_be_merged_fails_with_a_sentence_and_changes_nothing() {
    let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
    let bench = Bench::with(|options| options.clock = clock.clone()).await;
    let (repository, backups) = daily(&bench, &clock, 2).await;
    let unknown = MergeRange::Between { from: MergeEnd::Unknown("2020-01-01".into()), to: MergeEnd::Newest };
    let job = merge(&bench, request(&repository, unknown)).await;
    assert_eq!(job.state, JobState::Failed);
    assert_eq!(job.failure.unwrap().sentence, "There is no backup 2020-01-01 in the repository.");
    let [one, other] = [backups[1].id, backups[0].id].map(MergeEnd::Backup);
    let wrong = request(&repository, MergeRange::Between { from: one, to: other });
    let refused = bench.engine.start_merge(&admin(), wrong).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidInput);
    let mut protected = bench.request(&repository);
    protected.passcode = Some(SecretText::new("correct horse"));
    bench.back_up_as(protected).await;
    let job = merge(&bench, request(&repository, MergeRange::EVERYTHING)).await;
    assert_eq!(job.failure.unwrap().code, "passcode_required");
    assert_eq!(left(&bench, &repository).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_lost_its_lease_in_the_middle_is_finished_by_the_next_attempt() {
    for database in databases() {
        let gate = Gate::closed("merge", 1);
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let bench = Bench::with(|options| {
            options.clock = clock.clone();
            options.observer = Some(gate.observer());
            options.database = database;
        })
        .await;
        let (repository, backups) = daily(&bench, &clock, 3).await;
        let job = bench.engine.start_merge(&admin(), request(&repository, MergeRange::EVERYTHING)).await.unwrap();
        gate.arrived("merge", 1, 1).await;
        // A backup that is being made meanwhile waits, for it could fall into the range.
        let waiting = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap();
        let later = bench.engine.now() + TimeDelta::hours(1);
        assert_eq!(take_back_all(bench.engine.inner(), later).await, 1);
        let job = bench.ended(job.id).await;
        assert_eq!((job.state, job.attempt), (JobState::Succeeded, 2), "{}", bench.log(job.id).await);
        gate.open();
        bench.ended(waiting.job.id).await;
        assert_eq!(left(&bench, &repository).await, [backups[2].id, waiting.backup.id]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_waits_for_a_restore_of_what_it_would_fold() {
    let gate = Gate::closed("restore", 1);
    let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
    let bench = Bench::with(|options| {
        options.clock = clock.clone();
        options.observer = Some(gate.observer());
    })
    .await;
    let (repository, backups) = daily(&bench, &clock, 2).await;
    let into = RestoreInto::NewPath(bench.path("beside"));
    let restore = bench.engine.start_restore(&admin(), bench.restore_request(&backups[0], into)).await.unwrap();
    gate.arrived("restore", 1, 1).await;
    let job = bench.engine.start_merge(&admin(), request(&repository, MergeRange::EVERYTHING)).await.unwrap();
    bench.until(job.id, |job| job.attempt > 0 && job.state == JobState::Queued).await;
    assert_eq!(left(&bench, &repository).await.len(), 2);
    gate.open();
    assert_eq!(bench.ended(restore.id).await.state, JobState::Succeeded);
    clock.advance(TimeDelta::seconds(10));
    let job = bench.ended(job.id).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
    assert_eq!(left(&bench, &repository).await, [backups[1].id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_merge_ends_within_two_seconds() {
    let gate = Gate::closed("merge", 1);
    let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
    let bench = Bench::with(|options| {
        options.clock = clock.clone();
        options.observer = Some(gate.observer());
    })
    .await;
    let (repository, backups) = daily(&bench, &clock, 2).await;
    let job = bench.engine.start_merge(&admin(), request(&repository, MergeRange::EVERYTHING)).await.unwrap();
    gate.arrived("merge", 1, 1).await;
    bench.engine.cancel_job(&admin(), job.id).await.unwrap();
    gate.open();
    let asked = std::time::Instant::now();
    assert_eq!(bench.ended(job.id).await.state, JobState::Cancelled);
    assert!(asked.elapsed() < std::time::Duration::from_secs(2));
    assert_eq!(left(&bench, &repository).await, [backups[0].id, backups[1].id]);
}

/// A task that folds days two to four days old, and that was missed for days: as if it had run when it was last due.
#[tokio::test(flavor = "multi_thread")]
async fn a_merge_of_a_plan_that_comes_late_folds_the_days_of_its_last_due_time() {
    let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
    let bench = Bench::with(|options| options.clock = clock.clone()).await;
    let source = bench.directory("photos").await;
    let every = Rule::Every { count: 7, unit: Unit::Days, at: None };
    let window = Some(MergeWindow { offset_start: 2, offset_end: 2 });
    let weekly = Schedule { rule: every, zone: Tz::UTC, start_now: false };
    let task = PlanTask { schedule: weekly, merge_window: window, ..task("merge", JobKind::Merge) };
    // Due in a week from now.
    let repository = scheduled(&bench, source.id, vec![task]).await;
    let mut backups = Vec::new();
    for day in 0..12 {
        clock.advance(TimeDelta::days(1));
        std::fs::write(bench.path("photos/day"), format!("{day}")).unwrap();
        backups.push(bench.back_up(&repository).await.id);
    }
    // Five days late, the only time that it is looked at.
    bench.engine.reconcile().await.unwrap();
    let filter = JobFilter { kinds: vec![JobKind::Merge], ..JobFilter::default() };
    let merges = bench.engine.jobs(&admin(), filter).await.unwrap();
    assert_eq!(merges.len(), 1);
    let merge = bench.ended(merges[0].id).await;
    assert_eq!(merge.state, JobState::Succeeded, "{}", bench.log(merge.id).await);
    // Due on the eighth: the days of the fourth to the sixth are the third to the fifth backup, of which the newest stays.
    let expected: Vec<BackupId> = (0..12).filter(|index| ![2, 3].contains(index)).map(|index| backups[index]).collect();
    assert_eq!(left(&bench, &repository).await, expected);
}
