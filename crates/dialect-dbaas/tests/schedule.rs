//! Periodic backups: what a change does to the plan behind the database.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{sync::Arc, time::Duration};

use chrono::{TimeDelta, Timelike, Utc};
use common::{Gateway, Sent};
use serde_json::{Value, json};
use trivault_engine::{BackupFilter, JobState, ManualClock, Repository, RepositoryFilter, Rule, StartBackup, Trigger};

async fn patch(gateway: &Gateway, fields: Value) -> Value {
    let body = json!({ "database": fields }).to_string();
    let sent = Sent { bearer: Some(&gateway.addon_token), body: Some(&body), ..Sent::default() };
    let answer = gateway.send("PATCH", &format!("/api/databases/{}", gateway.names.addon_id), sent).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    let shown = gateway.get(&format!("/api/databases/{}", gateway.names.addon_id), &gateway.addon_token).await.json();
    assert_eq!(answer.json(), shown, "what the change answered is what is read next");
    shown["database"].clone()
}

async fn repositories(gateway: &Gateway) -> Vec<Repository> {
    let filter = RepositoryFilter { owner: Some("dbaas".into()), ..RepositoryFilter::default() };
    gateway.engine.repositories(&gateway.caller, filter).await.unwrap()
}

#[tokio::test]
async fn switching_periodic_backups_on_attaches_a_plan_that_runs_at_those_hours() {
    let gateway = Gateway::open().await;
    assert!(repositories(&gateway).await.is_empty(), "looking at a database makes nothing");
    let database =
        patch(&gateway, json!({"periodic_backups_enabled": true, "periodic_backups_scheduled_at": [13, 1]})).await;
    assert_eq!(database["periodic_backups_scheduled_at"], json!([1, 13]));
    let repository = repositories(&gateway).await.pop().unwrap();
    assert_eq!(repository.name, "db-atelier.shop");
    let plan = gateway.engine.plan(&gateway.caller, repository.plan.unwrap()).await.unwrap();
    assert_eq!((plan.owner.as_str(), plan.name.as_str()), ("dbaas", "db-atelier.shop"));
    assert_eq!(plan.tasks[0].schedule.rule, Rule::HoursOfDay { hours: vec![1, 13] });
    let tasks = gateway.engine.scheduled_tasks(&gateway.caller, repository.id).await.unwrap();
    let next = tasks[0].next_run;
    assert!(next > Utc::now() && [1, 13].contains(&next.hour()) && next.minute() == 0, "{next}");
    gateway.running.stop().await;
}

#[tokio::test]
async fn switching_off_detaches_the_plan_and_keeps_the_hours_for_the_next_time() {
    let gateway = Gateway::open().await;
    patch(&gateway, json!({"periodic_backups_enabled": true, "periodic_backups_scheduled_at": 5})).await;
    let off = patch(&gateway, json!({"periodic_backups_enabled": false})).await;
    assert_eq!((&off["periodic_backups_enabled"], &off["periodic_backups_scheduled_at"]), (&json!(false), &json!([5])));
    let repository = repositories(&gateway).await.pop().unwrap();
    assert_eq!(repository.plan, None);
    assert!(gateway.engine.scheduled_tasks(&gateway.caller, repository.id).await.unwrap().is_empty());
    let moved = patch(&gateway, json!({"periodic_backups_scheduled_at": 7})).await;
    assert_eq!(
        (&moved["periodic_backups_enabled"], &moved["periodic_backups_scheduled_at"]),
        (&json!(false), &json!([7]))
    );
    let on = patch(&gateway, json!({"periodic_backups_enabled": true})).await;
    assert_eq!(on["periodic_backups_scheduled_at"], json!([7]));
    assert_eq!(repositories(&gateway).await.len(), 1);
    gateway.running.stop().await;
}

#[tokio::test]
async fn without_hours_periodic_backups_run_at_midnight_and_sending_the_same_again_changes_nothing() {
    let gateway = Gateway::open().await;
    let on = patch(&gateway, json!({"periodic_backups_enabled": true})).await;
    assert_eq!(on["periodic_backups_scheduled_at"], json!([0]));
    let repository = repositories(&gateway).await.pop().unwrap();
    let plan = gateway.engine.plan(&gateway.caller, repository.plan.unwrap()).await.unwrap();
    let again = patch(&gateway, json!({"periodic_backups_enabled": true, "periodic_backups_scheduled_at": 0})).await;
    assert_eq!(on, again);
    assert_eq!(gateway.engine.plan(&gateway.caller, plan.id).await.unwrap().updated_at, plan.updated_at);
    gateway.running.stop().await;
}

#[tokio::test]
async fn backups_are_listed_newest_first_with_one_repository_for_all() {
    let gateway = Gateway::open().await;
    let first = gateway.backup().await;
    let second = gateway.backup().await;
    let path = format!("/api/databases/{}/backups", gateway.names.addon_id);
    let rows = gateway.get(&path, &gateway.addon_token).await.json()["database_backups"].clone();
    let ids: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, [second["id"].clone(), first["id"].clone()]);
    assert_eq!(repositories(&gateway).await.len(), 1);
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_database_is_backed_up_once_at_each_of_its_hours() {
    let clock = Arc::new(ManualClock::new("2026-03-01T00:30:00Z".parse().unwrap()));
    let gateway = Gateway::open_at(2, clock.clone()).await;
    patch(&gateway, json!({"periodic_backups_enabled": true, "periodic_backups_scheduled_at": [13, 1]})).await;
    let repository = repositories(&gateway).await.pop().unwrap();
    let (mut made, mut newest) = (Vec::new(), None);
    for _ in 0..36 {
        clock.advance(TimeDelta::hours(1));
        gateway.engine.reconcile().await.unwrap();
        // The newest alone: of two on one day, retention keeps the later.
        let filter = BackupFilter { repository: Some(repository.id), limit: Some(1), ..BackupFilter::default() };
        let Some(backup) = gateway.engine.backups(&gateway.caller, filter).await.unwrap().pop() else { continue };
        if newest.replace(backup.id) != Some(backup.id) {
            let job = gateway.engine.wait_for_job(&gateway.caller, backup.job, Duration::from_secs(30)).await.unwrap();
            assert_eq!((job.state, backup.trigger), (JobState::Succeeded, Trigger::Scheduled));
            made.push(backup.created_at.format("%d %H").to_string());
        }
    }
    assert_eq!(made, ["01 01", "01 13", "02 01"]);
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_database_keeps_what_the_starter_plan_keeps() {
    let clock = Arc::new(ManualClock::new("2026-03-01T00:30:00Z".parse().unwrap()));
    let gateway = Gateway::open_at(2, clock.clone()).await;
    patch(&gateway, json!({"periodic_backups_enabled": true})).await;
    let repository = repositories(&gateway).await.pop().unwrap();
    let rules = gateway.engine.retention(&gateway.caller, repository.id).await.unwrap();
    assert_eq!((rules.daily, rules.weekly, rules.monthly, rules.manual), (7, 4, 0, Some(10)));
    assert_eq!((rules.last, rules.within, rules.zone), (0, None, chrono_tz::UTC));

    // The eleventh that is asked for takes the place of the first.
    let mut asked_for = Vec::new();
    for _ in 0..11 {
        let request = StartBackup {
            repository: repository.id,
            trigger: Trigger::Manual,
            task: None,
            full: false,
            description: String::new(),
            keep_until: None,
            passcode: None,
            aliases: Vec::new(),
            attributes: Vec::new(),
            job_attributes: Vec::new(),
        };
        let started = gateway.engine.start_backup(&gateway.caller, request).await.unwrap();
        gateway.engine.wait_for_job(&gateway.caller, started.job.id, Duration::from_secs(30)).await.unwrap();
        asked_for.push(started.backup.id);
        clock.advance(TimeDelta::seconds(1));
    }
    let preview = gateway.engine.preview_retention(&gateway.caller, repository.id, None).await.unwrap();
    let going: Vec<_> = preview.iter().filter(|(_, verdict)| !verdict.keep).map(|(backup, _)| backup.id).collect();
    assert_eq!(going, asked_for[..1]);
    gateway.running.stop().await;
}
