//! Plans and the schedule from the command line, beside a server that runs them.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::process::Output;

use serde_json::Value;
use trivault_testkit::gateway;
use trivault_tests::{World, compare::assert_same_database, world::DATABASE};

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What the command printed; it must succeed.
fn done(world: &World, arguments: &[&str]) -> String {
    let output = world.gateway.command(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    text(&output)
}

/// The sentence with which it was refused.
fn refused(world: &World, arguments: &[&str]) -> String {
    let output = world.gateway.command(arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", text(&output));
    text(&output)
}

#[tokio::test]
async fn a_plan_made_on_the_command_line_backs_a_source_up_and_its_next_runs_are_shown() {
    let world = World::new();
    let nightly = ["plan", "create", "nightly", "--task", "backup", "--cron", "0 3 * * *", "--zone", "Europe/Berlin"];
    let shown = done(&world, &nightly);
    assert!(
        shown.contains("cron 0 3 * * * (Europe/Berlin)") && shown.contains("trivault plan attach nightly"),
        "{shown}"
    );
    done(
        &world,
        &["plan", "add-task", "nightly", "--task", "backup", "--task-name", "at-once", "--every", "6h", "--start-now"],
    );
    let attached = done(&world, &["plan", "attach", "nightly", "--source", DATABASE]);
    assert!(attached.contains(&format!("nightly runs for cli-{DATABASE}.")), "{attached}");

    // The task that starts at once is run by the server, and restores.
    let repository = format!("cli-{DATABASE}");
    let standing = loop {
        let listed = world.gateway.json(&["schedule", "list", "--json"]);
        let rows = listed.as_array().unwrap().clone();
        let row = rows.into_iter().find(|row| row["task"] == "at-once").unwrap();
        assert_eq!((&row["repository"], &row["plan"]), (&Value::from(repository.as_str()), &"nightly".into()));
        if row["last_success"].is_object() {
            break row;
        }
        assert_ne!(row["last_run"]["state"], "failed", "{row:#}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!((&standing["overdue_since"], &standing["last_run"]["state"]), (&Value::Null, &"succeeded".into()));
    let (reference, _) = world.copy_live_data("reference");
    let target = world.path().join("restored.db");
    done(&world, &["restore", "--latest", DATABASE, "--to", target.to_str().unwrap()]);
    assert_same_database(&reference, &target);
    assert!(done(&world, &["schedule", "list"]).contains("succeeded"));
    assert!(done(&world, &["schedule", "list", "--overdue"]).contains("Nothing is scheduled, or nothing is overdue."));

    let runs = world.gateway.json(&["schedule", "preview", "--repository", &repository, "--json"]);
    let runs = runs.as_array().unwrap();
    assert_eq!(runs.len(), 10);
    assert!(runs.iter().any(|run| run["task"] == "backup") && runs.is_sorted_by_key(|run| run["at"].to_string()));
    let of_plan = done(&world, &["schedule", "preview", "--plan", "nightly", "--count", "3"]);
    assert_eq!(of_plan.lines().count(), 4, "{of_plan}");

    // In use it stays; detached it goes.
    let refusal = refused(&world, &["plan", "delete", "nightly"]);
    assert!(refusal.contains(&format!("in use by the repository {repository}")), "{refusal}");
    assert!(refusal.contains("trivault plan detach"), "{refusal}");
    done(&world, &["plan", "detach", &repository]);
    done(&world, &["plan", "delete", "nightly"]);
    assert!(refused(&world, &["plan", "show", "nightly"]).contains("no plan called nightly"));
}

#[tokio::test]
async fn plans_of_the_dialects_are_listed_and_the_shipped_ones_stay() {
    let world = World::new();
    let plans = done(&world, &["plan", "list", "--owner", "couchbase"]);
    assert!(plans.contains("_hourly_backups") && plans.contains("backup_hourly,merge_every_6_hours"), "{plans}");
    assert!(refused(&world, &["plan", "delete", "_hourly_backups"]).contains("built in"));
    world.create_repository("orders", Some(DATABASE)).await;
    let shown = done(&world, &["plan", "show", "_hourly_backups"]);
    assert!(shown.contains("Repositories: orders") && shown.contains("every hour at minute 00"), "{shown}");
    let never = refused(&world, &["plan", "create", "never", "--task", "backup", "--cron", "0 3 30 2 *"]);
    assert!(never.contains("never comes"), "{never}");
}

#[test]
fn a_plan_can_be_made_and_attached_where_no_server_runs_and_the_command_says_what_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (data, tree) = (directory.path().join("data"), directory.path().join("tree"));
    std::fs::create_dir(&tree).unwrap();
    let done = |arguments: &[&str]| {
        let output = gateway::command(&data, arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    };
    done(&["source", "add", &format!("tree=dir:{}", tree.display())]);
    done(&["plan", "create", "weekly", "--task", "backup", "--full", "--at", "22:00", "--on", "sunday"]);
    assert!(done(&["plan", "attach", "weekly", "--all"]).contains("trivault serve"));
    assert!(done(&["schedule", "list"]).contains("cli-all"));
}

#[tokio::test]
async fn a_verification_of_each_level_is_scheduled_on_the_command_line_and_run_by_the_server() {
    let world = World::new();
    let level_is_missing = refused(&world, &["plan", "create", "checks", "--task", "verify", "--every", "1d"]);
    assert!(level_is_missing.contains("--level"), "{level_is_missing}");
    let wrong = ["plan", "create", "checks", "--task", "verify", "--level", "v6", "--shares", "3", "--every", "1d"];
    assert!(refused(&world, &wrong).contains("--shares is for verifications of the level v5"));
    let wrong = ["plan", "create", "checks", "--task", "backup", "--level", "v6", "--every", "1d"];
    assert!(refused(&world, &wrong).contains("--level is for verifications"));

    done(&world, &["backup", "create", "--source", DATABASE]);
    let v4 = ["--task", "verify", "--task-name", "v4", "--level", "v4", "--every", "1d", "--start-now"];
    done(&world, &[&["plan", "create", "checks"][..], &v4].concat());
    let v5 =
        ["--task", "verify", "--task-name", "v5", "--level", "v5", "--shares", "30", "--every", "1d", "--start-now"];
    done(&world, &[&["plan", "add-task", "checks"][..], &v5].concat());
    let v6 = ["--task", "verify", "--task-name", "v6", "--level", "restore", "--every", "7d", "--start-now"];
    let shown = done(&world, &[&["plan", "add-task", "checks"][..], &v6].concat());
    for part in ["verify structure", "verify data, 1/30", "verify restore"] {
        assert!(shown.contains(part), "{shown}");
    }
    done(&world, &["plan", "attach", "checks", "--source", DATABASE]);
    loop {
        let listed = world.gateway.json(&["schedule", "list", "--json"]);
        let rows = listed.as_array().unwrap();
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row["last_run"]["state"] != "failed"), "{rows:#?}");
        if rows.iter().all(|row| row["last_success"].is_object()) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(!done(&world, &["verify", "status"]).contains("never"), "all three levels have run");
}

#[tokio::test]
async fn a_list_of_what_is_overdue_ends_with_status_one_when_there_is_something() {
    let mut world = World::new();
    done(&world, &["plan", "create", "hourly", "--task", "backup", "--every", "1h"]);
    done(&world, &["plan", "attach", "hourly", "--source", DATABASE]);
    let nothing = world.gateway.command(&["schedule", "list", "--overdue"]);
    assert_eq!(nothing.status.code(), Some(0), "{}", text(&nothing));
    assert!(world.gateway.stop());
    // Three hours later nothing has succeeded, for there is nothing to back up.
    std::fs::remove_file(&world.database).unwrap();
    world.setup.environment.push(("TRIVAULT_CLOCK_OFFSET".to_owned(), "10800".to_owned()));
    world.restart();
    let overdue = world.gateway.command(&["schedule", "list", "--overdue"]);
    let said = text(&overdue);
    assert_eq!(overdue.status.code(), Some(1), "{said}");
    assert!(said.contains("are overdue") && said.contains(&format!("cli-{DATABASE}")), "{said}");
    let listed = world.gateway.command(&["schedule", "list", "--overdue", "--json"]);
    assert_eq!(listed.status.code(), Some(1), "a script reads the status, and what is overdue");
    let rows: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["repository"] == format!("cli-{DATABASE}"));
    assert!(row.is_some_and(|row| !row["overdue_since"].is_null()), "{rows:#}");
    // All that is scheduled is listed without a complaint.
    assert!(world.gateway.command(&["schedule", "list"]).status.success());
}
