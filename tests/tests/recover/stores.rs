//! A server with two stores: each is recovered by itself, into the same data directory.

use std::{fs, path::Path, thread, time::Instant};

use serde_json::{Value, json};
use trivault_testkit::gateway;
use trivault_tests::{
    World,
    client::{Body, Who},
    compare::{assert_same_database, assert_same_tree},
    world::{DATABASE, TREE},
};

use crate::lost::{LOOK_EVERY, PATIENCE, REPOSITORIES, assert_same_lists, newest_open_part, said};

/// A paused repository with one backup, in the store that is the default one now.
async fn backed_up(world: &World, repository: &str, source: &str) {
    let who = Who::administrator();
    world.create_repository(repository, Some(source)).await;
    let path = format!("{REPOSITORIES}/active/{repository}/pause");
    assert_eq!(world.client.post(&path, &who, Body::None).await.status, 200);
    let task = world.couchbase_task(repository, "backup", "").await;
    assert_eq!(task["status"], "done", "{task:#}\n{}", world.gateway.log());
}

/// Waits until both stores have a copy of what the catalogue holds now.
fn wait_for_copies(data: &Path) {
    let begin = Instant::now();
    loop {
        let connection = rusqlite::Connection::open(data.join("trivault.db")).unwrap();
        let newest: i64 = connection.query_row("SELECT MAX(seq) FROM audit", [], |row| row.get(0)).unwrap();
        let text = "SELECT value FROM settings WHERE key LIKE 'configuration-captured:%'";
        let mut statement = connection.prepare(text).unwrap();
        let copies: Vec<Vec<u8>> =
            statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
        let copies: Vec<String> = copies.into_iter().map(|copy| String::from_utf8(copy).unwrap()).collect();
        if copies.len() == 2 && copies.iter().all(|copy| copy.ends_with(&format!(" {newest} 0"))) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{copies:?} are not the copies of {newest}");
        thread::sleep(LOOK_EVERY);
    }
}

/// What is listed of both.
async fn lists(world: &World) -> Value {
    let mut lists = serde_json::Map::new();
    for repository in ["nightly", "pictures"] {
        for view in ["", "/info", "/taskHistory"] {
            let path = format!("{REPOSITORIES}/active/{repository}{view}");
            let answer = world.client.get(&path, &Who::administrator()).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let node = fs::read_to_string(world.data_directory().join("node.id")).unwrap();
            let text = answer.text().replace(&world.gateway.url, "http://gateway");
            let text = text.replace(&node.trim().replace('-', ""), "NODE");
            lists.insert(path, serde_json::from_str(&text).unwrap());
        }
    }
    let mut backups = world.gateway.json(&["backup", "list", "--json"]);
    let parts = backups.as_array_mut().unwrap().iter_mut().flat_map(|backup| backup["parts"].as_array_mut().unwrap());
    parts.for_each(|part| part["vault"] = Value::Null);
    lists.insert("backups".to_owned(), backups);
    let mut jobs = world.gateway.json(&["jobs", "list", "--json"]);
    jobs.as_array_mut().unwrap().retain(|job| job["kind"] == "backup");
    lists.insert("jobs".to_owned(), jobs);
    for what in ["user", "source"] {
        lists.insert(what.to_owned(), world.gateway.json(&[what, "list", "--json"]));
    }
    Value::Object(lists)
}

#[tokio::test]
async fn after_two_stores_were_recovered_one_after_the_other_the_backups_of_both_are_listed_and_restore() {
    let mut world = World::new();
    let (database, tree) = world.copy_live_data("reference");
    backed_up(&world, "nightly", DATABASE).await;
    let second = world.path().join("second-store");
    let output = world.gateway.command(&["store", "add", "second", second.to_str().unwrap(), "--default"]);
    assert!(output.status.success(), "{}", said(&output));
    backed_up(&world, "pictures", TREE).await;
    let output = world.gateway.command(&["key", "export"]);
    assert!(output.status.success(), "{}", said(&output));
    let key = world.path().join("key.txt");
    fs::write(&key, output.stdout).unwrap();
    // A server that starts copies its catalogue as soon as things are at rest.
    assert!(world.gateway.stop(), "{}", world.gateway.log());
    world.restart();
    let before = lists(&world).await;
    wait_for_copies(&world.data_directory());
    assert!(world.gateway.stop(), "{}", world.gateway.log());
    let (data, first) = (world.data_directory(), world.path().join("first-store"));
    fs::rename(data.join("stores/default"), &first).unwrap();
    fs::remove_dir_all(&data).unwrap();

    for (store, other) in [(&first, "second"), (&second, "default")] {
        let arguments = ["recover", "--store", store.to_str().unwrap(), "--key-file", key.to_str().unwrap(), "--json"];
        let output = gateway::command(&data, &arguments);
        assert!(output.status.success(), "{store:?}: {}", said(&output));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        let counted = ["backups", "lost", "unreadable"].map(|what| summary[what].clone());
        assert_eq!(counted, [json!(1), json!(0), json!(0)], "{summary:#}");
        let others = summary["other_stores"].as_array().unwrap();
        assert!(others.len() == 1 && others[0]["name"] == other, "{summary:#}");
    }

    world.restart();
    assert_same_lists(&before, &lists(&world).await, &[]);
    let (new_database, new_tree) = (world.path().join("restored.db"), world.path().join("restored-tree"));
    for (source, to) in [(DATABASE, &new_database), (TREE, &new_tree)] {
        let part = newest_open_part(&world.gateway, source);
        let output = world.gateway.command(&["restore", "--part", &part, "--to", to.to_str().unwrap()]);
        assert!(output.status.success(), "{source}: {}", said(&output));
    }
    assert_same_database(&database, &new_database);
    assert_same_tree(&tree, &new_tree);
    // Each goes on in its own store.
    for repository in ["nightly", "pictures"] {
        let task = world.couchbase_task(repository, "backup", "").await;
        assert_eq!(task["status"], "done", "{task:#}\n{}", world.gateway.log());
    }
}
