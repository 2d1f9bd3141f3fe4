//! The command line beside a running server, and alone.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::Value;
use trivault_testkit::gateway::{self, Gateway, Setup};
use trivault_tests::{
    World,
    client::{Body, Who},
    compare::assert_same_database,
    sample,
    world::{DATABASE, PASSCODE},
};

fn text(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn help_teaches_every_command() {
    let data = tempfile::tempdir().unwrap();
    let help = text(&gateway::command(data.path(), &["--help"]));
    for command in [
        "serve",
        "demo",
        "check-config",
        "user",
        "token",
        "source",
        "store",
        "vault",
        "backup",
        "restore",
        "plan",
        "schedule",
        "retention",
        "verify",
        "prune",
        "merge",
        "jobs",
        "openapi",
        "version",
    ] {
        assert!(help.contains(&format!("  {command}")), "{command} is missing in:\n{help}");
        let output = gateway::command(data.path(), &[command, "--help"]);
        assert!(output.status.success() && text(&output).contains("Usage:"), "{command}");
    }
}

#[tokio::test]
async fn sources_are_listed_with_their_names_in_each_dialect() {
    let world = World::new();
    let sources = world.gateway.json(&["source", "list", "--json"]);
    let found = sources.as_array().unwrap().iter().find(|source| source["name"] == DATABASE).unwrap();
    assert_eq!((&found["kind"], &found["status"]), (&"sqlite".into(), &"attached".into()));
    assert_eq!(found["couchbase"]["bucket"], DATABASE);
    assert!(found["dbaas"]["addon_id"].as_str().unwrap().starts_with("ad-"));
    assert_eq!(found["dbaas"]["database_id"].as_str().unwrap().len(), 24);
    assert!(found["dbaas"]["app"].is_string() && found["dbaas"]["resource_id"].is_string());
}

#[tokio::test]
async fn a_backup_made_beside_the_server_is_run_by_it_and_restored_by_a_command() {
    let world = World::new();
    let (reference, _) = world.copy_live_data("reference");
    let backup = world.gateway.json(&["backup", "create", "--source", DATABASE, "--json"]);
    assert_eq!(backup["state"], "succeeded", "{backup:#}");
    let target = world.path().join("restored.db");
    let arguments = ["restore", "--latest", DATABASE, "--to", target.to_str().unwrap()];
    let plan = world.gateway.command(&[&arguments[..], &["--plan"]].concat());
    assert!(plan.status.success() && text(&plan).contains("Nothing was touched"), "{}", text(&plan));
    assert!(!target.exists());
    let output = world.gateway.command(&arguments);
    assert!(output.status.success(), "{}", text(&output));
    assert_same_database(&reference, &target);
    let jobs = world.gateway.json(&["jobs", "list", "--json"]);
    assert_eq!(jobs[0]["kind"], "restore");
    let log = world.gateway.json(&["jobs", "log", jobs[1]["id"].as_str().unwrap(), "--json"]);
    assert!(!log.as_array().unwrap().is_empty());
}

#[test]
fn without_a_server_a_command_runs_its_job_itself() {
    let directory = tempfile::tempdir().unwrap();
    let (data, database) = (directory.path().join("data"), directory.path().join("app.db"));
    sample::database(&database);
    {
        let setup = Setup { sources: vec![format!("app=sqlite:{}", database.display())], ..Setup::default() };
        assert!(Gateway::start(&data, &setup).stop());
    }
    let output = gateway::command(&data, &["backup", "create", "--source", "app", "--json"]);
    assert!(output.status.success(), "{}", text(&output));
    let target = directory.path().join("restored.db");
    let output = gateway::command(&data, &["restore", "--latest", "app", "--to", target.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    assert_same_database(&database, &target);
}

#[test]
fn commands_alone_make_a_first_backup_where_no_server_ever_ran() {
    let directory = tempfile::tempdir().unwrap();
    let (data, database) = (directory.path().join("data"), directory.path().join("app.db"));
    sample::database(&database);
    let target = directory.path().join("restored.db");
    for words in [
        vec!["source", "add", &format!("app=sqlite:{}", database.display())],
        vec!["backup", "create", "--source", "app"],
        vec!["restore", "--latest", "app", "--to", target.to_str().unwrap()],
    ] {
        let output = gateway::command(&data, &words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
    }
    assert_same_database(&database, &target);
}

#[test]
fn options_of_a_source_are_given_with_it_and_a_test_of_it_says_what_would_fail() {
    let directory = tempfile::tempdir().unwrap();
    let (data, tree) = (directory.path().join("data"), directory.path().join("tree"));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("kept.txt"), "kept").unwrap();
    fs::write(tree.join("left.tmp"), "left out").unwrap();
    let (place, target) = (format!("tree=dir:{}", tree.display()), directory.path().join("restored"));
    let refused = |words: &[&str], parts: &[&str]| {
        let output = gateway::command(&data, words);
        assert!(!output.status.success(), "{words:?}");
        let said = text(&output);
        assert!(parts.iter().all(|part| said.contains(part)), "{words:?}: {said}");
    };
    refused(&["source", "add", &place, "--option", "exclud=[\"*.tmp\"]"], &["exclud", "exclude"]);
    refused(&["source", "add", &place, "--option", "exclude"], &["KEY=VALUE"]);
    for words in [
        vec!["source", "add", &place, "--option", "exclude=[\"*.tmp\"]"],
        vec!["backup", "create", "--source", "tree"],
        vec!["restore", "--latest", "tree", "--to", target.to_str().unwrap()],
    ] {
        let output = gateway::command(&data, &words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
    }
    assert_eq!(fs::read(target.join("kept.txt")).unwrap(), b"kept");
    assert!(!target.join("left.tmp").exists());

    let server = "bank=postgresql://ada@127.0.0.1:1/bank";
    refused(&["source", "add", server, "--option", "wrkers=2"], &["wrkers", "missing_roles"]);
    assert!(gateway::command(&data, &["source", "add", server, "--option", "missing_roles=ignore"]).status.success());
    refused(&["source", "test", "bank"], &["Nothing listens at 127.0.0.1:1.", "A backup of bank would fail."]);
}

#[tokio::test]
async fn the_exported_password_opens_the_vault_with_the_stock_restic() {
    let world = World::new();
    world.gateway.json(&["backup", "create", "--source", DATABASE, "--json"]);
    let vaults = world.gateway.json(&["vault", "list", "--json"]);
    let keys: Vec<&String> = vaults[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "store", "location", "kind"]);
    let output = world.gateway.command(&["vault", "export-key", vaults[0]["id"].as_str().unwrap()]);
    let password = String::from_utf8(output.stdout).unwrap();
    assert_eq!(password.matches('\n').count(), 1, "the password alone on a line");
    let output = Command::new("restic")
        .args(["-r", vaults[0]["location"].as_str().unwrap(), "--no-cache", "--no-lock", "snapshots", "--json"])
        .env("RESTIC_PASSWORD", password.trim_end())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let snapshots: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(snapshots.as_array().unwrap().iter().any(|snapshot| snapshot["hostname"] == DATABASE), "{snapshots:#}");
}

#[tokio::test]
async fn users_and_tokens_are_managed_beside_the_server() {
    let world = World::new();
    let password = world.path().join("mira");
    fs::write(&password, "mira's password\n").unwrap();
    let added = world.gateway.json(&[
        "user",
        "add",
        "mira",
        "--role",
        "reader",
        "--password-file",
        password.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(added["role"], "reader");
    let mira = Who::Basic("mira".into(), "mira's password".into());
    let path = "/api/v1/cluster/self/repository/active";
    assert_eq!(world.client.get(path, &mira).await.status, 200);
    let body = Body::Text(r#"{"plan":"_hourly_backups","archive":"/a"}"#);
    let refused = world.client.post(&format!("{path}/r"), &mira, body).await;
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.json["message"].is_string() && refused.json["permissions"].is_array());

    let token = world.gateway.json(&["token", "create", "--name", "ci", "--dialect", "dbaas", "--json"]);
    let secret = token["token"].as_str().unwrap();
    assert!(secret.starts_with("tk-us-") && secret.len() == 6 + 48, "{secret}");
    let exchange = async || {
        let who = Who::Basic(String::new(), secret.to_owned());
        world.client.post("/v1/tokens/exchange", &who, Body::None).await
    };
    let bearer = exchange().await.json["token"].as_str().unwrap().to_owned();
    assert_eq!(world.client.get("/v1/apps", &Who::Bearer(bearer.clone())).await.status, 200);
    assert!(!world.gateway.json(&["token", "list", "--json"]).to_string().contains(secret));
    let output = world.gateway.command(&["token", "revoke", token["id"].as_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(exchange().await.status, 401);
    assert_eq!(
        world.client.get("/v1/apps", &Who::Bearer(bearer)).await.status,
        401,
        "what was made with it dies with it"
    );
}

#[test]
fn the_data_directory_is_private_and_so_is_the_key() {
    let world = World::new();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.data_directory()), 0o700);
    assert_eq!(mode(&world.data_directory().join("server.key")), 0o600);
    let key = world.gateway.command(&["key", "export"]);
    assert!(key.status.success() && text(&key).len() > 32, "{}", text(&key));
}

#[test]
fn another_location_under_a_known_name_refuses_to_start_until_it_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let (one, two) = (directory.path().join("one"), directory.path().join("two"));
    fs::create_dir(&one).unwrap();
    fs::create_dir(&two).unwrap();
    let setup =
        |path: &std::path::Path| Setup { sources: vec![format!("files=dir:{}", path.display())], ..Setup::default() };
    assert!(Gateway::start(&data, &setup(&one)).stop());
    let refused = Gateway::try_start(&data, &setup(&two)).err().unwrap();
    assert!(refused.contains("files") && refused.contains("source replace"), "{refused}");
    let output = gateway::command(&data, &["source", "replace", "files", &format!("dir:{}", two.display())]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(Gateway::start(&data, &setup(&two)).stop());
}

#[tokio::test]
async fn a_store_of_another_installation_is_read_only_until_it_is_adopted() {
    let mut one = World::new();
    one.gateway.json(&["backup", "create", "--source", DATABASE, "--json"]);
    let vaults = one.gateway.json(&["vault", "list", "--json"]);
    let exported = one.gateway.command(&["vault", "export-key", vaults[0]["id"].as_str().unwrap()]);
    let place = one.data_directory().join("stores/default");
    assert!(one.gateway.stop());

    let other = World::new();
    let added = other.gateway.json(&["store", "add", "found", place.to_str().unwrap(), "--json"]);
    assert_eq!(added["read_only"], true);
    let token = other.arcgis_token().await;
    let create = "/arcgis/admin/system/disasterrecovery/stores/found/backups/create";
    let fields = [("name", "n"), ("passcode", PASSCODE), ("f", "json"), ("token", token.as_str())];
    let refused = other.client.post(create, &Who::Nobody, Body::Form(&fields)).await;
    assert!(refused.json["error"]["message"].as_str().unwrap().contains("read-only"), "{}", refused.text());

    let (right, wrong) = (other.path().join("right"), other.path().join("wrong"));
    fs::write(&right, &exported.stdout).unwrap();
    fs::write(&wrong, "0123456789\n").unwrap();
    let adopt = |password: Option<&std::path::Path>| {
        let mut arguments = vec!["store", "adopt", "found"];
        arguments.extend(password.iter().flat_map(|path| ["--password-file", path.to_str().unwrap()]));
        other.gateway.command(&arguments)
    };
    let output = adopt(None);
    assert!(!output.status.success() && text(&output).contains("vault export-key"), "{}", text(&output));
    let output = adopt(Some(&wrong));
    assert!(!output.status.success() && text(&output).contains("does not open"), "{}", text(&output));
    let listed = text(&other.gateway.command(&["store", "list"]));
    assert!(listed.contains("no: another installation's"), "{listed}");

    let output = adopt(Some(&right));
    assert!(output.status.success() && text(&output).contains("this installation's now"), "{}", text(&output));
    assert!(text(&adopt(None)).contains("already"));
    let answer = other.client.post(create, &Who::Nobody, Body::Form(&fields)).await;
    let job = answer.json["jobid"].as_str().unwrap_or_else(|| panic!("{}", answer.text()));
    let job = other.arcgis_job(&token, job).await;
    assert_eq!(job["status"], "COMPLETED", "{job:#}\n{}", other.gateway.log());

    // The former owner notices before it writes.
    one.restart();
    let output = one.gateway.command(&["backup", "create", "--source", DATABASE]);
    assert!(!output.status.success() && text(&output).contains("adopted by another"), "{}", text(&output));
    let listed = text(&one.gateway.command(&["store", "list"]));
    assert!(listed.contains("no: another installation's"), "{listed}");
}

#[test]
fn a_wrong_configuration_is_refused_with_the_nearest_valid_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.toml");
    fs::write(&path, "[limits]\nworker = 3\n").unwrap();
    let output = gateway::command(directory.path(), &["check-config", "--config", path.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(text(&output).contains("Did you mean `workers`?"), "{}", text(&output));
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/trivault.example.toml");
    fs::write(directory.path().join("secret"), "x").unwrap();
    let adapted =
        fs::read_to_string(example).unwrap().replace("/etc/trivault/", &format!("{}/", directory.path().display()));
    fs::write(
        &path,
        adapted
            .replace("offsite-secret", "secret")
            .replace("mira-password", "secret")
            .replace("bank-password", "secret"),
    )
    .unwrap();
    let mut command = Command::new(gateway::binary());
    command.args(["check-config", "--config"]).arg(&path).env("OFFSITE_ACCESS_KEY", "AK");
    let output = command.output().unwrap();
    assert!(output.status.success() && text(&output).contains("The configuration is good."), "{}", text(&output));
}

#[test]
fn the_demo_ends_well_and_leaves_nothing() {
    let before = fs::read_dir(std::env::temp_dir()).unwrap().filter(is_demo).count();
    let mut command = Command::new(gateway::binary());
    command.args(["demo", "--exit", "--listen", "127.0.0.1:0"]);
    let output = command.output().unwrap();
    let story = text(&output);
    assert!(output.status.success(), "{story}");
    for line in ["curl -X POST", "/context/sharing/rest/generateToken", "/v1/tokens/exchange", "DIALECT", "equal:"] {
        assert!(story.contains(line), "{line} is missing in:\n{story}");
    }
    assert!(!story.contains("DIFFERENT"), "{story}");
    assert_eq!(fs::read_dir(std::env::temp_dir()).unwrap().filter(is_demo).count(), before);
}

fn is_demo(entry: &Result<fs::DirEntry, std::io::Error>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("trivault-demo-"))
}

#[tokio::test]
async fn retention_is_looked_at_before_it_is_set_and_the_server_carries_it_out() {
    let world = World::new();
    for _ in 0..3 {
        world.gateway.json(&["backup", "create", "--source", DATABASE, "--json"]);
    }
    let name = &format!("cli-{DATABASE}");
    let preview = world.gateway.json(&["retention", "preview", name, "--last", "1", "--json"]);
    let ids = |list: &Value, id: &str, wanted: &dyn Fn(&Value) -> bool| -> BTreeSet<String> {
        let wanted = list.as_array().unwrap().iter().filter(|row| wanted(row));
        wanted.map(|row| row[id].as_str().unwrap().to_owned()).collect()
    };
    let kept = ids(&preview, "backup", &|row| row["keep"] == true);
    assert_eq!((preview.as_array().unwrap().len(), kept.len()), (3, 1), "{preview:#}");
    let refused = world.gateway.command(&["retention", "set", name]);
    assert!(!refused.status.success() && text(&refused).contains("No rule was given"), "{}", text(&refused));
    let set = world.gateway.command(&["retention", "set", name, "--last", "1"]);
    assert!(set.status.success() && text(&set).contains("1 newest"), "{}", text(&set));
    let applied = world.gateway.command(&["retention", "apply", name]);
    assert!(applied.status.success(), "{}", text(&applied));
    let left = world.gateway.json(&["backup", "list", "--json"]);
    assert_eq!(ids(&left, "id", &|_| true), kept, "what the preview said");
    assert_eq!(world.gateway.json(&["retention", "show", name, "--json"])["last"], 1);
    let cleared = world.gateway.command(&["retention", "clear", name]);
    assert!(cleared.status.success(), "{}", text(&cleared));
    let shown = world.gateway.command(&["retention", "show", name]);
    assert!(text(&shown).contains("keeps everything"), "{}", text(&shown));
    let unknown = world.gateway.command(&["retention", "show", "nothing"]);
    assert!(text(&unknown).contains("Known are:"), "{}", text(&unknown));
}
