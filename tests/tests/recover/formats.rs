//! Every later version reads what an earlier one has left in a store. `fixtures/recovery/format-1` is a whole store with its key; it was
//! written by the first version of the format, and is never written anew for it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};
use trivault_testkit::{
    gateway::{self, Gateway, Setup},
    require::repository_root,
};
use trivault_tests::{
    client::Who,
    compare::assert_same_database,
    sample,
    world::{DATABASE, PASSCODE, TREE},
};

use crate::lost::{Lost, REPOSITORIES, said};

fn fixture() -> PathBuf {
    repository_root().join("tests/fixtures/recovery/format-1")
}

fn tar(arguments: &[&str]) {
    let output = Command::new("tar").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// What must come back: backups with parts, sizes, states and points; repositories, plans, rules and users.
async fn remembered(gateway: &Gateway, store: &Path) -> Value {
    let mut backups = gateway.json(&["backup", "list", "--json"]);
    for backup in backups.as_array_mut().unwrap() {
        for part in backup["parts"].as_array_mut().unwrap() {
            // Another row of the catalogue each time.
            part["vault"] = Value::Null;
        }
    }
    let client = trivault_tests::Client::new(&gateway.url);
    let mut lists = json!({"backups": backups, "users": gateway.json(&["user", "list", "--json"])});
    for path in ["/api/v1/plan".to_owned(), format!("{REPOSITORIES}/active"), format!("{REPOSITORIES}/imported")] {
        let answer = client.get(&path, &Who::administrator()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        lists[&path] = answer.json;
    }
    let jobs = gateway.json(&["jobs", "list", "--json"]);
    let mut backups: Vec<Value> =
        jobs.as_array().unwrap().iter().filter(|job| job["kind"] == "backup").cloned().collect();
    for job in &mut backups {
        job["log"] = gateway.json(&["jobs", "log", job["id"].as_str().unwrap(), "--json"]);
    }
    lists["jobs"] = Value::Array(backups);
    // The store has moved, and says so.
    serde_json::from_str(&lists.to_string().replace(store.to_str().unwrap(), "/the/store")).unwrap()
}

fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}", said(&output));
    output
}

/// Relative paths and bytes of all files.
fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut ahead) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = ahead.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => ahead.push(entry.path()),
                kind if kind.is_symlink() => {}
                _ => {
                    let name = entry.path().strip_prefix(root).unwrap().to_owned();
                    found.push((name, fs::read(entry.path()).unwrap()));
                }
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_store_that_the_first_version_of_the_format_wrote_is_recovered_whole_and_restores_byte_by_byte() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("store")).unwrap();
    tar(&["-xzf", fixture().join("store.tar.gz").to_str().unwrap(), "-C", path("store").to_str().unwrap()]);
    let (store, key) = (path("store"), fixture().join("key.txt"));
    let arguments = ["recover", "--store", store.to_str().unwrap(), "--key-file", key.to_str().unwrap(), "--json"];
    let output = succeeded(gateway::command(&path("data"), &arguments));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected: Value = serde_json::from_slice(&fs::read(fixture().join("expected.json")).unwrap()).unwrap();
    assert_eq!((&summary["unreadable"], &summary["lost"]), (&json!(0), &json!(0)), "{summary:#}");
    assert_ne!(summary["configuration_captured_at"], Value::Null);

    let gateway = Gateway::start(&path("data"), &Setup::default());
    let found = remembered(&gateway, &store).await;
    for (what, list) in expected.as_object().unwrap() {
        assert_same(what, list, &found[what]);
    }

    sample::database(&path("sample.db"));
    sample::tree(&path("sample"));
    fs::write(path("passcode"), PASSCODE).unwrap();
    for backup in expected["backups"].as_array().unwrap() {
        for part in backup["parts"].as_array().unwrap() {
            let (id, target) = (part["id"].as_str().unwrap(), path(part["id"].as_str().unwrap()));
            let mut arguments = vec!["restore", "--part", id, "--to", target.to_str().unwrap()];
            let passcode = path("passcode");
            if backup["protected"] == true {
                arguments.extend(["--passcode-file", passcode.to_str().unwrap()]);
            }
            succeeded(gateway.command(&arguments));
            match part["source_name"].as_str().unwrap() {
                DATABASE => assert_same_database(&path("sample.db"), &target),
                TREE => assert!(files(&target) == files(&path("sample")), "the tree of {id} differs"),
                other => panic!("the fixture has no source {other}"),
            }
        }
    }
}

/// What a later version adds to its answers is no difference.
///
/// # Panics
/// At the first value that is another one or is gone.
fn assert_same(at: &str, expected: &Value, found: &Value) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(_)) => {
            for (key, value) in expected {
                assert_same(&format!("{at}.{key}"), value, &found[key]);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            assert_eq!(one.len(), other.len(), "{at}: {expected:#} became {found:#}");
            for (number, (one, other)) in one.iter().zip(other).enumerate() {
                assert_same(&format!("{at}[{number}]"), one, other);
            }
        }
        _ => assert_eq!(expected, found, "{at}"),
    }
}

#[tokio::test]
#[ignore = "writes the fixture of a new format: run it once when the number of the format rises, under a new folder"]
async fn the_fixture_is_written() {
    assert!(!fixture().exists(), "the fixture of a format that was released is never written anew");
    let lost = Lost::new().await;
    fs::create_dir_all(fixture()).unwrap();
    fs::copy(&lost.key, fixture().join("key.txt")).unwrap();
    // What the sources are called is remembered, not where they were: nobody lists that.
    let store = lost.lose();
    tar(&["--sort=name", "-czf", fixture().join("store.tar.gz").to_str().unwrap(), "-C", store.to_str().unwrap(), "."]);
    let copy = lost.world.path().join("copy");
    succeeded(Command::new("cp").arg("-a").arg(&store).arg(&copy).output().unwrap());
    succeeded(lost.recover(&copy, &lost.key()));
    let gateway = Gateway::start(&lost.world.data_directory(), &Setup::default());
    let text = serde_json::to_string_pretty(&remembered(&gateway, &copy).await).unwrap();
    fs::write(fixture().join("expected.json"), text + "\n").unwrap();
}
