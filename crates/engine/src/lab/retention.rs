//! Backups that go because no rule wants them, with a clock that the test owns.

use std::{collections::BTreeMap, sync::Arc};

use chrono::TimeDelta;
use chrono_tz::Tz;

use super::bench::{Bench, admin, databases};
use crate::{ManualClock, domain::*};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_preview_says_is_what_the_next_pass_does() {
    for database in databases() {
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let bench = Bench::with(|options| {
            options.clock = clock.clone();
            options.database = database;
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        for _ in 0..4 {
            bench.back_up(&repository).await;
            clock.advance(TimeDelta::hours(12));
        }
        let caller = admin();
        let rules = Retention { daily: 2, ..Retention::everything(Tz::UTC) };
        bench.engine.set_retention(&caller, repository.id, Some(rules.clone()), false).await.unwrap();
        assert_eq!(bench.engine.retention(&caller, repository.id).await.unwrap(), rules);
        let preview = bench.engine.preview_retention(&caller, repository.id, None).await.unwrap();
        let said: BTreeMap<_, _> = preview.iter().map(|(_, verdict)| (verdict.id, verdict.keep)).collect();
        assert_eq!(said.values().filter(|keep| **keep).count(), 2, "{preview:?}");

        bench.engine.reconcile().await.unwrap();
        let filter = JobFilter { repository: Some(repository.id), ..JobFilter::default() };
        for job in bench.engine.jobs(&caller, filter).await.unwrap() {
            assert_eq!(bench.ended(job.id).await.state, JobState::Succeeded, "{}", bench.log(job.id).await);
        }
        for (id, keep) in said {
            assert_eq!(bench.backup(id).await.is_some(), keep);
        }
        let again = bench.engine.apply_retention(&caller, repository.id).await.unwrap();
        assert!(again.is_empty(), "a second pass finds nothing to do");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_would_empty_a_repository_are_refused_unless_they_are_meant() {
    let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
    let bench = Bench::with(|options| options.clock = clock.clone()).await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    for _ in 0..3 {
        bench.back_up(&repository).await;
    }
    clock.advance(TimeDelta::days(30));
    let (caller, day) = (admin(), std::time::Duration::from_secs(86_400));
    let rules = Some(Retention { within: Some(day), ..Retention::everything(Tz::UTC) });
    let refused = bench.engine.set_retention(&caller, repository.id, rules.clone(), false).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidInput);
    assert!(refused.sentence.contains("all 3 good backups"), "{}", refused.sentence);
    bench.engine.set_retention(&caller, repository.id, rules, true).await.unwrap();
    let jobs = bench.engine.apply_retention(&caller, repository.id).await.unwrap();
    assert_eq!(jobs.len(), 2, "the last good one stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_goes_when_its_own_date_has_passed() {
    let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
    let bench = Bench::with(|options| options.clock = clock.clone()).await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let dated = bench.back_up(&repository).await;
    bench.back_up(&repository).await;
    let until = Some(bench.engine.now() + TimeDelta::days(1));
    bench.engine.set_keep_until(&admin(), dated.id, until).await.unwrap();
    bench.engine.reconcile().await.unwrap();
    assert!(bench.engine.apply_retention(&admin(), repository.id).await.unwrap().is_empty());
    clock.advance(TimeDelta::days(1));
    let jobs = bench.engine.apply_retention(&admin(), repository.id).await.unwrap();
    assert_eq!(jobs.len(), 1);
    bench.ended(jobs[0].id).await;
    assert!(bench.backup(dated.id).await.is_none());
}
