//! Bad input and a bad world with the real binary: refused or survived with a sentence that says what to do.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{fs, path::Path, process::Output};

use serde_json::Value;
use trivault_testkit::gateway::{self, Gateway, Setup};
use trivault_tests::{
    World,
    client::{Body, Who},
    compare::assert_same_database,
    world::{DATABASE, PASSCODE},
};

const REPOSITORIES: &str = "/api/v1/cluster/self/repository/active";
const DAY: i64 = 24 * 3600;

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A server whose clock is wrong by so many seconds.
fn wrong_by(seconds: i64) -> Setup {
    Setup { environment: vec![("TRIVAULT_CLOCK_OFFSET".to_owned(), seconds.to_string())], ..Setup::default() }
}

/// The server again, with its clock wrong by so many seconds.
fn restart_wrong_by(world: &mut World, seconds: i64) {
    assert!(world.gateway.stop(), "{}", world.gateway.log());
    world.setup.environment = wrong_by(seconds).environment;
    world.restart();
}

#[test]
fn a_server_does_not_start_on_embedded_metadata_that_a_later_version_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    assert!(Gateway::start(&data, &Setup::default()).stop());
    let metadata = data.join("trivault.db");
    rusqlite::Connection::open(&metadata)
        .unwrap()
        .execute(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'from the future', TRUE, x'00', 0)",
            [],
        )
        .unwrap();
    let before = fs::read(&metadata).unwrap();
    let said = Gateway::try_start(&data, &Setup::default()).err().unwrap();
    assert!(said.contains("newer") && said.contains("9999") && said.contains("Hint"), "{said}");
    let command = gateway::command(&data, &["backup", "list"]);
    assert!(!command.status.success() && text(&command).contains("newer"), "{}", text(&command));
    assert!(fs::read(&metadata).unwrap() == before, "what was refused was not touched");
}

#[test]
fn a_server_does_not_start_on_metadata_that_are_none_and_says_which_file() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("trivault.db"), "these are not the bytes of a database, whatever their name says\n".repeat(40))
        .unwrap();
    let said = Gateway::try_start(&data, &Setup::default()).err().unwrap();
    assert!(said.contains("database"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn retention_that_would_leave_only_the_last_good_backup_needs_force() {
    // Three backups, ten days ago.
    let mut world = World::with(wrong_by(-10 * DAY));
    for _ in 0..3 {
        world.gateway.json(&["backup", "create", "--source", DATABASE, "--json"]);
    }
    restart_wrong_by(&mut world, 0);
    let name = format!("cli-{DATABASE}");
    let rules = ["retention", "set", name.as_str(), "--within-days", "1"];
    let refused = world.gateway.command(&rules);
    assert!(!refused.status.success(), "{}", text(&refused));
    assert!(text(&refused).contains("retention preview") && text(&refused).contains("--force"), "{}", text(&refused));
    let count = || world.gateway.json(&["backup", "list", "--json"]).as_array().unwrap().len();
    assert!(world.gateway.command(&["retention", "apply", &name]).status.success());
    assert_eq!(count(), 3, "refused rules delete nothing");

    let forced = world.gateway.command(&[&rules[..], &["--force"]].concat());
    assert!(forced.status.success(), "{}", text(&forced));
    assert!(world.gateway.command(&["retention", "apply", &name]).status.success());
    assert_eq!(count(), 1, "the last good one stays all the same");
    let target = world.path().join("restored.db");
    let restored = world.gateway.command(&["restore", "--latest", DATABASE, "--to", target.to_str().unwrap()]);
    assert!(restored.status.success(), "{}", text(&restored));
    assert_same_database(&world.database, &target);
}

/// Points of a repository's backups as the Couchbase service lists them, oldest first.
async fn points(world: &World) -> Vec<String> {
    let answer = world.client.get(&format!("{REPOSITORIES}/r/info"), &Who::administrator()).await;
    let backups = answer.json["backups"].as_array().unwrap_or_else(|| panic!("{}", answer.text()));
    backups.iter().map(|backup| backup["date"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_clock_that_goes_back_by_a_day_loses_nothing_and_the_newest_backup_stays_the_newest() {
    let mut world = World::with(wrong_by(DAY));
    world.create_repository("r", Some(DATABASE)).await;
    let first = world.couchbase_task("r", "backup", "").await;
    assert_eq!(first["status"], "done", "{first:#}");
    // Killed, so that a lease is left which ends tomorrow.
    world.gateway.kill();
    world.setup.environment = wrong_by(0).environment;
    world.restart();

    let change =
        |statement: &str| rusqlite::Connection::open(&world.database).unwrap().execute_batch(statement).unwrap();
    change("UPDATE acct SET note = 'after the clock went back' WHERE id < 100");
    let second = world.couchbase_task("r", "backup", "").await;
    assert_eq!(second["status"], "done", "{second:#}\n{}", world.gateway.log());
    let points = points(&world).await;
    assert_eq!(points.len(), 2);
    assert!(points.is_sorted() && points[0] != points[1], "names rise though the clock does not: {points:?}");
    let target = world.path().join("restored.db");
    let restored = world.gateway.command(&["restore", "--latest", DATABASE, "--to", target.to_str().unwrap()]);
    assert!(restored.status.success(), "{}", text(&restored));
    assert_same_database(&world.database, &target);

    // Both other dialects work, log-ins included, and nothing is left running.
    let token = world.arcgis_token().await;
    assert_eq!(world.arcgis_backup(&token, "after").await["status"], "COMPLETED", "{}", world.gateway.log());
    let (bearer, addon) = world.dbaas(DATABASE).await;
    assert_eq!(world.dbaas_backup(&bearer, &addon).await["status"], "done", "{}", world.gateway.log());
    let listed = world.client.get(&format!("/api/databases/{addon}/backups"), &bearer).await;
    assert!(!listed.json["database_backups"].as_array().unwrap().is_empty());
    let jobs = world.gateway.json(&["jobs", "list", "--json"]);
    let backups = jobs.as_array().unwrap().iter().filter(|job| job["kind"] == "backup");
    assert!(backups.clone().count() == 4 && backups.into_iter().all(|job| job["state"] == "succeeded"), "{jobs:#}");
    let verified = world.gateway.command(&["verify", "store", "--read", "all"]);
    assert!(verified.status.success(), "{}", text(&verified));
}

/// Sent as they are; each answer with the status that its dialect has for bad input.
async fn assert_refused(world: &World, path: &str, bodies: &[&str]) {
    for body in bodies {
        let answer = world.client.post(path, &Who::administrator(), Body::Text(body)).await;
        assert!(matches!(answer.status, 400 | 404), "{path} {body}: {} {}", answer.status, answer.text());
        assert!(answer.json["msg"].is_string(), "{path} {body}: {}", answer.text());
    }
}

#[tokio::test]
async fn dates_and_times_that_do_not_exist_are_refused_in_every_dialect_and_on_the_command_line() {
    let world = World::new();
    world.create_repository("r", Some(DATABASE)).await;
    assert_eq!(world.couchbase_task("r", "backup", "").await["status"], "done");

    let plan = |schedule: &str| {
        format!(r#"{{"tasks":[{{"name":"t","task_type":"BACKUP","schedule":{{"job_type":"BACKUP",{schedule}}}}}]}}"#)
    };
    let plans = [
        r#""frequency":1,"period":"DAYS","time":"24:00""#,
        r#""frequency":1,"period":"DAYS","time":"12:60""#,
        r#""frequency":1,"period":"DAYS","time":"noon""#,
        r#""frequency":0,"period":"DAYS","time":"12:00""#,
        r#""frequency":1,"period":"FEBRUARY","time":"12:00""#,
    ]
    .map(plan);
    assert_refused(&world, "/api/v1/plan/impossible", &plans.each_ref().map(String::as_str)).await;
    let restore = |range: &str| {
        let url = &world.gateway.url;
        format!(r#"{{"target":"{url}","user":"Administrator","password":"password",{range}}}"#)
    };
    let ranges =
        [r#""start":"2026-02-30T00:00:00Z""#, r#""end":"2026-13-01T00:00:00Z""#, r#""start":"yesterday""#].map(restore);
    let ranges = ranges.each_ref().map(String::as_str);
    assert_refused(&world, &format!("{REPOSITORIES}/r/restore"), &ranges).await;
    // A name that no backup has is no bad date: the task fails, as the original's does.
    let windows = [r#"{"offset_start":-1,"offset_end":2}"#];
    assert_refused(&world, &format!("{REPOSITORIES}/r/merge"), &windows).await;

    let token = world.arcgis_token().await;
    for date in ["2026-02-30", "1e99", "-2", "99999999999999999999"] {
        let fields =
            [("name", "n"), ("passcode", PASSCODE), ("retentionDate", date), ("f", "json"), ("token", token.as_str())];
        let path = "/arcgis/admin/system/disasterrecovery/stores/default/backups/create";
        let answer = world.client.post(path, &Who::Nobody, Body::Form(&fields)).await;
        assert_eq!(answer.json["error"]["code"], 400, "{date}: {}", answer.text());
    }

    let (bearer, addon) = world.dbaas(DATABASE).await;
    for hour in ["24", "-1", "\"noon\"", "1.5"] {
        let body =
            format!(r#"{{"database":{{"periodic_backups_enabled":true,"periodic_backups_scheduled_at":[{hour}]}}}}"#);
        let answer = world
            .client
            .send(reqwest::Method::PATCH, &format!("/api/databases/{addon}"), &bearer, Body::Text(&body))
            .await;
        assert!(matches!(answer.status, 400 | 422), "{hour}: {} {}", answer.status, answer.text());
    }

    for (arguments, words) in [
        (&["plan", "create", "p", "--task", "backup", "--cron", "0 3 30 2 *"][..], "never comes"),
        (&["plan", "create", "p", "--task", "backup", "--cron", "61 3 * * *"][..], "61"),
        (&["plan", "create", "p", "--task", "backup", "--at", "25:00", "--on", "monday"][..], "25:00"),
        (&["plan", "create", "p", "--task", "backup", "--cron", "0 3 * * *", "--zone", "Europe/Berln"][..], "Berln"),
        (&["maintenance", "start", "--for", "2 fortnights"][..], "length of time"),
    ] {
        let output = world.gateway.command(arguments);
        assert!(!output.status.success() && text(&output).contains(words), "{arguments:?}: {}", text(&output));
    }
    let jobs = world.gateway.json(&["jobs", "list", "--json"]);
    let of_people = |job: &&Value| job["kind"] == "backup" || job["kind"] == "restore" || job["kind"] == "merge";
    assert_eq!(jobs.as_array().unwrap().iter().filter(of_people).count(), 1, "no job came of any of it: {jobs:#}");
}

#[tokio::test]
async fn a_plan_that_a_repository_uses_is_not_deleted_in_either_way() {
    let world = World::new();
    let who = Who::administrator();
    let plan = r#"{"tasks":[{"name":"t","task_type":"BACKUP","schedule":{"job_type":"BACKUP","frequency":1,"period":"DAYS","time":"12:00"}}]}"#;
    assert_eq!(world.client.post("/api/v1/plan/mine", &who, Body::Text(plan)).await.status, 200);
    let body = format!(r#"{{"plan":"mine","archive":"/archives/r","bucket_name":"{DATABASE}"}}"#);
    let answer = world.client.post(&format!("{REPOSITORIES}/r"), &who, Body::Text(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let delete = || world.client.send(reqwest::Method::DELETE, "/api/v1/plan/mine", &who, Body::None);
    let refused = delete().await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains('r'), "{}", refused.text());
    let refused = world.gateway.command(&["plan", "delete", "mine"]);
    assert!(!refused.status.success() && text(&refused).contains("in use"), "{}", text(&refused));
    assert_eq!(world.client.get("/api/v1/plan/mine", &who).await.status, 200);
}

/// Whether anything lies in a folder.
fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none())
}

#[test]
fn a_metadata_database_out_of_reach_is_told_at_the_start_with_what_to_check() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = directory.path().join("trivault.toml");
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fs::write(
        &configuration,
        format!("[database]\nurl = \"postgresql://trivault@{unused}/trivault\"\n[[stores]]\nname = \"default\"\nlocation = \"{}\"\n", directory.path().join("store").display()),
    )
    .unwrap();
    let setup = Setup {
        arguments: vec!["--config".to_owned(), configuration.to_str().unwrap().to_owned()],
        ..Setup::default()
    };
    let said = Gateway::try_start(&directory.path().join("data"), &setup).err().unwrap();
    assert!(said.contains("metadata database") && said.contains("Hint"), "{said}");
    assert!(is_empty(&directory.path().join("store")), "no store is made for a server that does not start");
}
