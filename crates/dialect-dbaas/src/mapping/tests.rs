use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use trivault_engine::{
    BackupId, BackupKind, JobId, PartId, RepositoryId, Role, SourceId, StoreId, TokenId, UserId, VerifyLevel,
};
use uuid::Uuid;

use super::*;

fn at() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_136_404, 312_345_678).unwrap()
}

fn names() -> SourceNames {
    SourceNames {
        app: "atelier-shop".into(),
        app_id: "65eed6a7a172cedcae47474b".into(),
        addon_id: "ad-3f0c9a52-7d1e-4b62-9f0d-5a2b8c6e4d10".into(),
        database_id: "65eed6a93549b0028b75d981".into(),
        resource_id: "atelier_shop_2207".into(),
    }
}

fn source(kind: &str, status: SourceStatus) -> Source {
    Source {
        id: SourceId(Uuid::nil()),
        name: "atelier.shop".into(),
        config: serde_json::from_value(json!({"kind": kind, "location": "/srv/shop.db"})).unwrap(),
        status,
        managed: true,
        created_at: at(),
        updated_at: at(),
    }
}

fn pair(state: BackupState) -> (Backup, Part) {
    let begun = state != BackupState::Queued;
    let ended = begun && state != BackupState::Running;
    let part = Part {
        id: PartId(Uuid::nil()),
        backup: BackupId(Uuid::nil()),
        source: SourceId(Uuid::nil()),
        source_name: "atelier.shop".into(),
        source_kind: "sqlite".into(),
        state,
        vault: None,
        snapshot: None,
        size: ended.then_some(999),
        stored_size: None,
        items: None,
        download_size: (state == BackupState::Succeeded).then_some(142_715),
        manifest: None,
        warnings: Vec::new(),
        error: None,
        started_at: begun.then(|| at() + TimeDelta::milliseconds(4_708)),
        finished_at: ended.then(|| at() + TimeDelta::seconds(10)),
    };
    let backup = Backup {
        id: BackupId(Uuid::nil()),
        repository: RepositoryId(Uuid::nil()),
        store: StoreId(Uuid::nil()),
        job: JobId(Uuid::nil()),
        state,
        kind: BackupKind::Full,
        trigger: Trigger::Scheduled,
        description: String::new(),
        keep_until: None,
        protected: false,
        point: None,
        created_at: at(),
        started_at: None,
        finished_at: None,
        error: None,
        parts: vec![part.clone()],
    };
    (backup, part)
}

fn shown(state: BackupState) -> Value {
    let (of, part) = pair(state);
    serde_json::to_value(backup(&of, &part, None, "6aff9b9419875599d4bea395".into(), &names())).unwrap()
}

#[test]
fn a_backup_that_is_done_is_shown_as_documented() {
    assert_eq!(
        shown(BackupState::Succeeded),
        json!({"id": "6aff9b9419875599d4bea395", "created_at": "2026-11-20T01:00:04.312Z",
            "started_at": "2026-11-20T01:00:09.020Z", "name": "20261120010004_atelier_shop_2207", "size": 142715,
            "status": "done", "database_id": "65eed6a93549b0028b75d981", "method": "periodic",
            "ended_at": "2026-11-20T01:00:14.312Z"})
    );
}

#[test]
fn a_backup_that_waits_has_neither_start_nor_size() {
    let backup = shown(BackupState::Queued);
    assert_eq!(backup["status"], "scheduled");
    for field in ["started_at", "size", "ended_at"] {
        assert_eq!(backup.get(field), Some(&Value::Null), "{field} is sent, as null");
    }
    assert_eq!(backup.get("error"), None);
}

#[test]
fn every_state_ends_in_done_or_error_so_that_no_client_waits_for_ever() {
    for (state, status, size, code) in [
        (BackupState::Queued, "scheduled", json!(null), None),
        (BackupState::Running, "running", json!(null), None),
        (BackupState::Succeeded, "done", json!(142_715), None),
        (BackupState::Failed, "error", json!(0), Some("failed")),
        (BackupState::Cancelled, "error", json!(0), Some("cancelled")),
        (BackupState::Lost, "error", json!(0), Some("lost")),
    ] {
        let backup = shown(state);
        assert_eq!((&backup["status"], &backup["size"]), (&json!(status), &size), "{state:?}");
        assert_eq!(backup.get("error_code").and_then(Value::as_str), code, "{state:?}");
        assert_eq!(backup.get("error").is_some_and(Value::is_string), code.is_some(), "{state:?}");
    }
}

#[test]
fn a_failed_backup_tells_its_own_reason_before_that_of_the_whole() {
    let (mut of, mut part) = pair(BackupState::Failed);
    let told = |of: &Backup, part: &Part| backup(of, part, None, String::new(), &names()).error;
    assert_eq!(told(&of, &part).as_deref(), Some("The backup failed."));
    of.error = Some("One of two parts failed.".into());
    assert_eq!(told(&of, &part).as_deref(), Some("One of two parts failed."));
    part.error = Some("The file is not a database.".into());
    assert_eq!(told(&of, &part).as_deref(), Some("The file is not a database."));
}

#[test]
fn the_method_comes_from_what_asked_for_the_backup() {
    let (mut of, part) = pair(BackupState::Queued);
    for (trigger, method) in [(Trigger::Manual, "manual"), (Trigger::Scheduled, "periodic")] {
        of.trigger = trigger;
        let backup = serde_json::to_value(backup(&of, &part, None, String::new(), &names())).unwrap();
        assert_eq!(backup["method"], method);
    }
}

#[test]
fn only_a_done_unprotected_backup_with_an_archive_can_be_downloaded() {
    for state in [BackupState::Queued, BackupState::Running] {
        let (of, part) = pair(state);
        assert_eq!(downloadable(&of, &part, false), Err("is not done"));
    }
    for state in [BackupState::Failed, BackupState::Cancelled, BackupState::Lost] {
        let (of, part) = pair(state);
        assert!(downloadable(&of, &part, false).is_err(), "{state:?}");
    }
    let (mut of, mut part) = pair(BackupState::Succeeded);
    assert_eq!(downloadable(&of, &part, false), Ok(()));
    of.protected = true;
    assert!(downloadable(&of, &part, false).unwrap_err().contains("passcode"));
    assert_eq!(serde_json::to_value(backup(&of, &part, None, String::new(), &names())).unwrap()["protected"], true);
    of.protected = false;
    part.download_size = None;
    assert!(downloadable(&of, &part, false).is_err());
}

#[test]
fn a_database_has_every_documented_field_with_its_type() {
    let settings =
        Settings { enabled: true, hours: vec![1], maintenance_window: Some(types::MaintenanceWindow::new(3, 21)) };
    let shown = database(&source("sqlite", SourceStatus::Attached), &names(), &settings, "3.51.0".into());
    assert_eq!(
        serde_json::to_value(shown).unwrap(),
        json!({"id": "65eed6a93549b0028b75d981", "resource_id": "atelier_shop_2207", "app_name": "atelier-shop",
            "created_at": "2026-11-20T01:00:04.312Z", "encryption_at_rest": true, "plan": "sqlite-self-hosted",
            "status": "running", "type_id": "0273716c6974650000000000", "type_name": "sqlite",
            "version_id": "0373716c6974650000000000", "readable_version": "3.51.0", "next_version_id": null,
            "hostname": "", "mongo_repl_set_name": "", "cluster": false, "instances": [], "features": [], "flags": [],
            "current_operation_id": null, "periodic_backups_enabled": true, "periodic_backups_scheduled_at": [1],
            "first_pitr_backup": null,
            "maintenance_window": {"weekday_utc": 3, "starting_hour_utc": 21, "duration_in_hour": 8}})
    );
}

#[test]
fn hours_are_an_array_even_when_none_was_set() {
    let shown = database(&source("sqlite", SourceStatus::Detached), &names(), &Settings::default(), String::new());
    let shown = serde_json::to_value(shown).unwrap();
    assert_eq!(shown["periodic_backups_scheduled_at"], json!([]));
    assert_eq!((&shown["status"], &shown["maintenance_window"]), (&json!("stopped"), &Value::Null));
}

#[test]
fn an_addon_has_every_documented_field_and_never_a_null_plan_or_provider() {
    let shown = addon(&source("postgresql", SourceStatus::Attached), &names(), "local");
    assert_eq!(
        serde_json::to_value(&shown).unwrap(),
        json!({"id": "ad-3f0c9a52-7d1e-4b62-9f0d-5a2b8c6e4d10", "app_id": "65eed6a7a172cedcae47474b",
            "resource_id": "atelier_shop_2207", "status": "running", "provisioned_at": "2026-11-20T01:00:04.312Z",
            "deprovisioned_at": null, "updated_at": "2026-11-20T01:00:04.312Z",
            "plan": {"id": "01706f737467726573716c00", "name": "postgresql-self-hosted",
                "display_name": "Self-hosted", "price": 0, "description": "", "position": 1, "on_demand": false,
                "disabled": false, "disabled_alternative_plan_id": null, "sku": "local-postgresql-self-hosted",
                "hds_available": false},
            "addon_provider": {"id": "postgresql", "name": "PostgreSQL", "logo_url": "/logo/postgresql.svg"},
            "hds_resource": false})
    );
    let with_token = types::AddonWithToken { addon: shown, token: "a.b.c".into() };
    assert_eq!(serde_json::to_value(with_token).unwrap()["token"], "a.b.c", "beside the addon's own fields");
    let detached = addon(&source("directory", SourceStatus::Detached), &names(), "local");
    assert_eq!((detached.status.as_str(), detached.addon_provider.name.as_str()), ("suspended", "Directory"));
}

#[test]
fn providers_bear_the_names_that_the_command_line_compares() {
    for (kind, name) in [
        ("postgresql", "PostgreSQL"),
        ("mysql", "MySQL"),
        ("mariadb", "MariaDB"),
        ("mongodb", "MongoDB"),
        ("redis", "Redis® OSS"),
        ("influxdb", "InfluxDB"),
        ("sqlite", "SQLite"),
        ("directory", "Directory"),
        ("", ""),
    ] {
        assert_eq!(provider_name(kind), name);
    }
}

#[test]
fn an_app_has_every_documented_field() {
    let owner = types::Owner { id: "us-1".into(), username: "mira".into(), email: String::new() };
    let place = Place { region: "local".into(), project_id: "pr-0e6d8e46-5cd0-42a4-acba-372b2be605ac".into() };
    let shown = app(&source("sqlite", SourceStatus::Attached), &names(), &owner, &place);
    assert_eq!(
        serde_json::to_value(shown).unwrap(),
        json!({"id": "65eed6a7a172cedcae47474b", "name": "atelier-shop", "region": "local", "status": "running",
            "owner": {"id": "us-1", "username": "mira", "email": ""},
            "project": {"id": "pr-0e6d8e46-5cd0-42a4-acba-372b2be605ac", "name": "default"},
            "created_at": "2026-11-20T01:00:04.312Z", "updated_at": "2026-11-20T01:00:04.312Z", "flags": {},
            "limits": {}, "git_url": "", "url": "", "base_url": "", "links": {}, "last_deployed_at": null,
            "stack_id": "", "force_https": false, "sticky_session": false, "router_logs": false})
    );
}

#[test]
fn a_user_is_no_admin_on_the_wire_whatever_the_role() {
    let user = user(
        &User {
            id: UserId(Uuid::nil()),
            name: "mira".into(),
            role: Role::Admin,
            disabled: false,
            created_at: at(),
            updated_at: at(),
        },
        "us-5be1a1de-2f1c-4f0e-8d59-0c7a53b7e9aa".into(),
    );
    let id = "us-5be1a1de-2f1c-4f0e-8d59-0c7a53b7e9aa";
    assert_eq!(
        serde_json::to_value(user).unwrap(),
        json!({"id": id, "uuid": id, "username": "mira", "fullname": "mira", "email": "",
            "created_at": "2026-11-20T01:00:04.312Z", "flags": {}, "limits": {}})
    );
}

#[test]
fn a_listed_token_has_no_secret() {
    let token = ApiToken {
        id: TokenId(Uuid::nil()),
        name: "ci".into(),
        user: UserId(Uuid::nil()),
        audience: "dbaas".into(),
        created_at: at(),
        last_used_at: None,
        expires_at: None,
    };
    let row = json!({"id": "00000000-0000-0000-0000-000000000000", "name": "ci",
        "created_at": "2026-11-20T01:00:04.312Z", "last_used_at": null});
    assert_eq!(serde_json::to_value(token_row(&token)).unwrap(), row);
    let new = serde_json::to_value(new_token(&token, &SecretText::new("tk-us-x"))).unwrap();
    assert_eq!((&new["token"], &new["issued_at"]), (&json!("tk-us-x"), &row["created_at"]));
}

#[test]
fn several_regions_name_the_same_place_and_the_first_is_the_default() {
    let list = regions(&["local".into(), "osc-fr1".into()], "https://backup.example.org");
    let region = |name: &str, default: bool| {
        json!({"name": name, "display_name": "This gateway", "default": default, "api": "https://backup.example.org",
            "database_api": "https://backup.example.org", "dashboard": "https://backup.example.org",
            "ssh": "backup.example.org:22"})
    };
    assert_eq!(
        serde_json::to_value(list).unwrap(),
        json!({"regions": [region("local", true), region("osc-fr1", false)]})
    );
    assert_eq!(regions(&["local".into()], "http://127.0.0.1:8097").regions[0].ssh, "127.0.0.1:22");
}

#[test]
fn a_damaged_backup_is_no_done_one_and_says_what_is_wrong() {
    let (of, part) = pair(BackupState::Succeeded);
    let damage = PartDamage {
        part: part.id,
        seen_by: VerifyLevel::Data,
        found_at: of.created_at,
        sentence: "shop.dump from byte 7 on cannot be read".into(),
    };
    let shown = serde_json::to_value(backup(&of, &part, Some(&damage), String::new(), &names())).unwrap();
    assert_eq!(
        (&shown["status"], &shown["error_code"], &shown["size"]),
        (&json!("error"), &json!("damaged"), &json!(0))
    );
    assert_eq!(shown["error"], "The backup is damaged: shop.dump from byte 7 on cannot be read");
    assert!(downloadable(&of, &part, true).unwrap_err().starts_with("is damaged"));
}
