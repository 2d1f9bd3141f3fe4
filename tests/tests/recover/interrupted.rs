//! A recovery that is killed is run again, wherever the store and the metadata are.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use trivault_testkit::{
    gateway::{self, Gateway},
    postgres::PostgresServer,
};

use crate::lost::{Lost, OnS3, assert_same_lists, lists};

/// Runs a recovery again and again, killed each time a step later after its first write, until one ends by itself.
fn kill_until_one_ends(
    lost: &Lost,
    arguments: &[&str],
    environment: &[(&str, &str)],
    step: Duration,
    is_unfinished: &dyn Fn() -> bool,
) {
    let data = lost.world.data_directory();
    let (mut unfinished, mut delay) = (0, Duration::ZERO);
    loop {
        let mut child = Command::new(gateway::binary())
            .args(["recover", "--key-file", lost.key.to_str().unwrap()])
            .args(["--data-dir", data.to_str().unwrap()])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut begun = None;
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if begun.is_none() && is_unfinished() {
                begun = Some(Instant::now());
            }
            if begun.is_some_and(|at| at.elapsed() >= delay) {
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        if let Some(status) = ended {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if is_unfinished() {
            unfinished += 1;
        }
        if unfinished == 1 {
            let refused = Gateway::try_start(&data, &lost.world.setup).err().unwrap();
            assert!(refused.contains("has not come to its end"), "{refused}");
        }
        delay += step;
    }
    assert!(unfinished > 0, "no kill fell between the first and the last write");
}

/// Of metadata in the data directory.
fn is_unfinished(data: &Path) -> bool {
    let Ok(connection) = rusqlite::Connection::open(data.join("trivault.db")) else { return false };
    let text = "SELECT length(value) FROM settings WHERE key = 'recovery-unfinished'";
    connection.query_row(text, [], |row| row.get::<_, i64>(0)).is_ok_and(|length| length > 0)
}

#[tokio::test]
async fn killed_at_ever_later_moments_a_recovery_goes_on_and_no_server_starts_on_half_of_one() {
    let mut lost = Lost::new().await;
    let (store, data) = (lost.lose(), lost.world.data_directory());
    let arguments = ["--store", store.to_str().unwrap()];
    kill_until_one_ends(&lost, &arguments, &[], Duration::from_millis(50), &|| is_unfinished(&data));
    lost.world.restart();
    assert_same_lists(&lost.before, &lists(&lost.world).await, &[]);
}

#[tokio::test]
async fn killed_at_ever_later_moments_a_recovery_from_s3_goes_on_too() {
    let Some(place) = OnS3::start() else { return };
    let mut lost = Lost::with(place.setup.clone()).await;
    let data = lost.world.data_directory();
    fs::remove_dir_all(&data).unwrap();
    let step = Duration::from_millis(100);
    kill_until_one_ends(&lost, &["--store", &place.url], &place.environment, step, &|| is_unfinished(&data));
    lost.world.restart();
    assert_same_lists(&lost.before, &lists(&lost.world).await, &[]);
    lost.assert_restores().await;
}

#[tokio::test]
async fn killed_at_ever_later_moments_a_recovery_into_postgresql_goes_on_too() {
    let Some(server) = PostgresServer::shared() else { return };
    let mut lost = Lost::new().await;
    let store = lost.lose();
    let url = server.create_database();
    let database = url.split("///").nth(1).unwrap().split('?').next().unwrap().to_owned();
    let configuration = lost.world.path().join("trivault.toml");
    fs::write(&configuration, format!("[database]\nurl = \"{url}\"\n")).unwrap();
    let configured = ["--config", configuration.to_str().unwrap()];
    lost.world.setup.arguments.extend(configured.map(str::to_owned));
    let setting = |text: &str| server.query(&database, text).trim() == "1";
    let is_unfinished = || {
        // The table comes with the first attempt.
        setting("SELECT count(*) FROM pg_tables WHERE tablename = 'settings'")
            && setting("SELECT count(*) FROM settings WHERE key = 'recovery-unfinished' AND length(value) > 0")
    };
    let arguments = [&["--store", store.to_str().unwrap()], &configured[..]].concat();
    kill_until_one_ends(&lost, &arguments, &[], Duration::from_millis(50), &is_unfinished);
    lost.world.restart();
    assert_same_lists(&lost.before, &lists(&lost.world).await, &[]);
    lost.assert_restores().await;
}
