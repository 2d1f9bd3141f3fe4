//! Plans that are changed and deleted, and what is overdue.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::sync::Arc;

use chrono::TimeDelta;
use common::{BUCKET, Gateway, R};
use serde_json::{Value, json};
use trivault_engine::ManualClock;

fn plan(time: &str) -> String {
    let schedule = json!({"job_type": "BACKUP", "frequency": 1, "period": "DAYS", "time": time});
    json!({"tasks": [{"name": "daily", "task_type": "BACKUP", "schedule": schedule}]}).to_string()
}

async fn times(gateway: &Gateway) -> Value {
    gateway.call("GET", "/api/v1/plan/mine", "").await.json()["tasks"][0]["schedule"]["time"].clone()
}

#[tokio::test]
async fn a_plan_is_changed_and_deleted_unless_an_active_repository_has_it() {
    let gateway = Gateway::open().await;
    for method in ["PUT", "DELETE"] {
        let unknown = gateway.call(method, "/api/v1/plan/mine", &plan("01:00")).await;
        assert_eq!((unknown.status, &unknown.json()["msg"]), (404, &json!("requested plan not found")));
        let shipped = gateway.call(method, "/api/v1/plan/_daily_backups", &plan("01:00")).await;
        assert_eq!(shipped.status, 400, "{}", shipped.text);
    }
    assert_eq!(gateway.call("POST", "/api/v1/plan/mine", &plan("01:00")).await.status, 200);
    let changed = gateway.call("PUT", "/api/v1/plan/mine", &plan("02:00")).await;
    assert_eq!((changed.status, changed.text.as_str()), (200, ""));
    assert_eq!(times(&gateway).await, "02:00");
    let invalid = gateway.call("PUT", "/api/v1/plan/mine", r#"{"tasks":[]}"#).await;
    assert_eq!((invalid.status, &invalid.json()["msg"]), (400, &json!("The plan was not valid")));

    let body = json!({"plan": "mine", "archive": "/a", "bucket_name": BUCKET}).to_string();
    assert_eq!(gateway.call("POST", &format!("{R}/active/orders"), &body).await.status, 200);
    assert_eq!(gateway.call("POST", &format!("{R}/active/orders/pause"), "").await.status, 200);
    for (method, word) in [("PUT", "update"), ("DELETE", "delete")] {
        let refused = gateway.call(method, "/api/v1/plan/mine", &plan("03:00")).await;
        let expected =
            json!({"status": 400, "msg": format!("cannot {word} plan as it is in use by repository: orders")});
        assert_eq!((refused.status, refused.json()), (400, expected));
    }
    assert_eq!(times(&gateway).await, "02:00");

    let filter = trivault_engine::RepositoryFilter::default();
    let repository = gateway.engine.repositories(&gateway.caller, filter).await.unwrap().pop().unwrap();
    gateway.engine.attach_plan(&gateway.caller, repository.id, None).await.unwrap();
    let deleted = gateway.call("DELETE", "/api/v1/plan/mine", "").await;
    assert_eq!((deleted.status, deleted.text.as_str()), (200, ""));
    assert_eq!(gateway.call("GET", "/api/v1/plan/mine", "").await.status, 404);
    gateway.close().await;
}

#[tokio::test]
async fn a_repository_whose_backup_is_overdue_is_not_healthy_and_says_why() {
    let clock = Arc::new(ManualClock::new("2026-01-02T08:00:00Z".parse().unwrap()));
    // Nobody works, so nothing succeeds.
    let gateway = Gateway::open_at(clock.clone(), 0).await;
    gateway.call("POST", "/api/v1/plan/mine", &plan("22:00")).await;
    let body = json!({"plan": "mine", "archive": "/a", "bucket_name": BUCKET}).to_string();
    assert_eq!(gateway.call("POST", &format!("{R}/active/orders"), &body).await.status, 200);
    let health = async || gateway.call("GET", &format!("{R}/active/orders"), "").await.json()["health"].clone();
    assert_eq!(health().await, json!({"healthy": true}));
    clock.advance(TimeDelta::days(2));
    let issue = "task 'daily' is overdue since 2026-01-04T02:48:00Z";
    assert_eq!(health().await, json!({"healthy": false, "health_issue": issue}));
    let listed = gateway.call("GET", &format!("{R}/active"), "").await.json();
    assert_eq!(listed[0]["health"]["health_issue"], issue);
    gateway.close().await;
}

#[tokio::test]
async fn a_repository_whose_archive_was_not_checked_in_time_is_not_healthy_and_says_why() {
    let clock = Arc::new(ManualClock::new("2026-01-02T08:00:00Z".parse().unwrap()));
    let gateway = Gateway::open_at(clock.clone(), 2).await;
    let schedule = json!({"job_type": "BACKUP", "frequency": 100, "period": "DAYS"});
    let seldom = json!({"tasks": [{"name": "seldom", "task_type": "BACKUP", "schedule": schedule}]});
    assert_eq!(gateway.call("POST", "/api/v1/plan/seldom", &seldom.to_string()).await.status, 200);
    let body = json!({"plan": "seldom", "archive": "/a", "bucket_name": BUCKET}).to_string();
    assert_eq!(gateway.call("POST", &format!("{R}/active/orders"), &body).await.status, 200);
    gateway.back_up("orders").await;
    let health = async || gateway.call("GET", &format!("{R}/active/orders"), "").await.json()["health"].clone();
    clock.advance(TimeDelta::hours(47));
    assert_eq!(health().await, json!({"healthy": true}));
    clock.advance(TimeDelta::hours(2));
    let late = "of the archive is overdue since 2026-01-04T08:00:00Z";
    let issue = format!("structure check {late}, data check {late}");
    assert_eq!(health().await, json!({"healthy": false, "health_issue": issue}));
    clock.advance(TimeDelta::days(14));
    let shown = health().await["health_issue"].as_str().unwrap().to_owned();
    assert!(shown.ends_with("restore test is overdue since 2026-01-16T08:00:00Z"), "{shown}");
    gateway.close().await;
}
