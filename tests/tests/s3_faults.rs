//! The real binary with a store on S3 whose server and network have bad days.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use trivault_testkit::{
    fault_proxy::{Fault, FaultProxy, by_seed},
    gateway::{Gateway, Setup},
    restic::Restic,
    s3::S3Server,
};
use trivault_tests::{
    World,
    client::{Body, Who},
    world::{DATABASE, PASSCODE},
};

const REPOSITORY: &str = "/api/v1/cluster/self/repository/active/r";
const SECRET: &str = "a-secret-of-the-cloud";
const SLOW_DOWN: &[Fault] = &[Fault::Refused(503, "SlowDown")];

/// A server, a proxy before it, and the configuration that names it as the default store beside one on the disk.
struct Cloud {
    proxy: FaultProxy,
    setup: Setup,
    _server: S3Server,
    directory: TempDir,
}

impl Cloud {
    /// `None` where S3 is left out on purpose.
    fn start() -> Option<Self> {
        let server = S3Server::start()?;
        server.make_bucket("backups");
        let proxy = FaultProxy::start(&server.endpoint());
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("trivault.toml");
        let text = format!(
            "[limits]\nworkers = 3\njobs_per_store = 1\n\
             [[stores]]\nname = \"cloud\"\nlocation = \"s3://backups/trivault\"\nendpoint = \"{}\"\nallow_http = true\n\
             access_key_env = \"CLOUD_KEY\"\nsecret_key_env = \"CLOUD_SECRET\"\ndefault = true\n\
             [[stores]]\nname = \"disk\"\nlocation = \"{}\"\n",
            proxy.endpoint(),
            directory.path().join("disk").display()
        );
        std::fs::write(&configuration, text).unwrap();
        let setup = Setup {
            arguments: vec!["--config".to_owned(), configuration.to_str().unwrap().to_owned()],
            environment: vec![
                ("CLOUD_KEY".to_owned(), "some-key".to_owned()),
                ("CLOUD_SECRET".to_owned(), SECRET.to_owned()),
            ],
            ..Setup::default()
        };
        Some(Self { proxy, setup, _server: server, directory })
    }
}

/// Starts a backup of the repository `r`; answers its task's name.
async fn begin(world: &World) -> String {
    let answer = world.client.post(&format!("{REPOSITORY}/backup"), &Who::administrator(), Body::None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json["task_name"].as_str().unwrap().to_owned()
}

async fn ended(world: &World, task: &str) -> Value {
    let path = format!("{REPOSITORY}/taskHistory?taskName={task}");
    let is_over = |history: &Value| matches!(history[0]["status"].as_str(), Some("done" | "failed"));
    world.client.until(&path, &Who::administrator(), is_over).await.json[0].clone()
}

/// The newest backup job, as the command line shows it.
fn newest_backup_job(world: &World) -> Value {
    let jobs = world.gateway.json(&["jobs", "list", "--json"]);
    let is_backup = |job: &&Value| job["kind"] == "backup" && !job["repository"].is_null();
    jobs.as_array().unwrap().iter().find(is_backup).unwrap().clone()
}

fn assert_restic_is_content(world: &World) {
    let vaults = world.gateway.json(&["vault", "list", "--json"]);
    let vault =
        vaults.as_array().unwrap().iter().find(|vault| vault["location"].as_str().unwrap().starts_with("s3:")).unwrap();
    let password = world.gateway.command(&["vault", "export-key", vault["id"].as_str().unwrap()]).stdout;
    let password = String::from_utf8(password).unwrap();
    let Some(restic) = Restic::new(vault["location"].as_str().unwrap(), password.trim_end()) else { return };
    restic.succeed(["check", "--no-lock", "--read-data"]);
}

#[test]
fn a_store_that_refuses_the_credentials_is_not_attached_and_the_server_says_what_is_wrong() {
    let Some(cloud) = Cloud::start() else { return };
    cloud.proxy.plan(|_| Some(Fault::Refused(403, "InvalidAccessKeyId")));
    let said = Gateway::try_start(&cloud.directory.path().join("data"), &cloud.setup).err().unwrap();
    for words in ["refuses the credentials", "access key", "backups/trivault"] {
        assert!(said.contains(words), "{words:?} in {said}");
    }
    assert!(!said.contains(SECRET));
    cloud.proxy.heal();
    drop(Gateway::start(&cloud.directory.path().join("data"), &cloud.setup));
}

#[tokio::test]
async fn credentials_that_are_withdrawn_fail_the_backup_with_a_sentence_and_given_back_it_succeeds() {
    let Some(cloud) = Cloud::start() else { return };
    let world = World::with(cloud.setup.clone());
    world.create_repository("r", Some(DATABASE)).await;
    cloud.proxy.plan(|_| Some(Fault::Refused(403, "SignatureDoesNotMatch")));
    let task = begin(&world).await;
    let failed = ended(&world, &task).await;
    assert_eq!(failed["status"], "failed", "{failed:#}");
    assert!(failed["error"].as_str().unwrap().contains("refuses the credentials"), "{failed:#}");
    let said = world.gateway.log();
    assert!(!said.contains(SECRET) && !failed.to_string().contains(SECRET));
    cloud.proxy.heal();
    let task = begin(&world).await;
    assert_eq!(ended(&world, &task).await["status"], "done", "{}", world.gateway.log());
    assert_restic_is_content(&world);
}

#[tokio::test]
async fn a_server_that_says_slow_down_in_bursts_is_backed_up_to_all_the_same() {
    let Some(cloud) = Cloud::start() else { return };
    let world = World::with(cloud.setup.clone());
    world.create_repository("r", Some(DATABASE)).await;
    let mut chance = by_seed(7, 6, SLOW_DOWN);
    // Now and then one alone, and two bursts of three.
    cloud.proxy.plan(
        move |asked| {
            if matches!(asked.number, 5..8 | 20..23) { Some(SLOW_DOWN[0]) } else { chance(asked) }
        },
    );
    let task = begin(&world).await;
    assert_eq!(ended(&world, &task).await["status"], "done", "{}", world.gateway.log());
    let refused = cloud.proxy.given();
    assert!(refused.values().sum::<u64>() >= 3, "{refused:?}");
    assert_eq!(newest_backup_job(&world)["attempt"], 1, "the client's own retries are enough: {refused:?}");
    cloud.proxy.heal();
    assert_restic_is_content(&world);
}

#[tokio::test]
async fn a_store_that_is_away_for_a_while_is_waited_for_and_every_dialect_answers_meanwhile() {
    let Some(cloud) = Cloud::start() else { return };
    let world = World::with(cloud.setup.clone());
    world.create_repository("r", Some(DATABASE)).await;
    let task = begin(&world).await;
    assert_eq!(ended(&world, &task).await["status"], "done", "{}", world.gateway.log());
    cloud.proxy.plan(|_| Some(Fault::CutBeforeEffect));
    let task = begin(&world).await;
    let who = Who::administrator();
    let token = world.arcgis_token().await;
    let (bearer, addon) = world.dbaas(DATABASE).await;
    let begin = Instant::now();
    // Until the first attempt has failed and the job waits for its second.
    loop {
        for (path, who) in [
            (format!("{REPOSITORY}/info"), &who),
            (format!("/arcgis/admin/system/disasterrecovery/stores/cloud/backups?f=json&token={token}"), &Who::Nobody),
            (format!("/api/databases/{addon}/backups"), &bearer),
        ] {
            let answer = world.client.get(&path, who).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        }
        let job = newest_backup_job(&world);
        if job["attempt"].as_u64() >= Some(1) && job["state"] == "queued" || job["attempt"].as_u64() >= Some(2) {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "{job:#}\n{}", world.gateway.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    cloud.proxy.heal();
    assert_eq!(ended(&world, &task).await["status"], "done", "{}", world.gateway.log());
    assert_restic_is_content(&world);
}

#[tokio::test]
async fn a_store_that_lists_slowly_does_not_hold_up_the_jobs_of_another() {
    let Some(cloud) = Cloud::start() else { return };
    let world = World::with(cloud.setup.clone());
    world.create_repository("r", Some(DATABASE)).await;
    cloud.proxy.plan(|asked| asked.is_listing().then_some(Fault::Late(12_000)));
    let task = begin(&world).await;
    let token = world.arcgis_token().await;
    let path = "/arcgis/admin/system/disasterrecovery/stores/disk/backups/create";
    let fields = [("name", "beside"), ("passcode", PASSCODE), ("f", "json"), ("token", token.as_str())];
    let answer = world.client.post(path, &Who::Nobody, Body::Form(&fields)).await;
    let job = answer.json["jobid"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned();
    let job = world.arcgis_job(&token, &job).await;
    assert_eq!(job["status"], "COMPLETED", "{job:#}\n{}", world.gateway.log());
    let history = world.client.get(&format!("{REPOSITORY}/taskHistory?taskName={task}"), &Who::administrator()).await;
    assert!(!matches!(history.json[0]["status"].as_str(), Some("done" | "failed")), "the slow one is still at work");
    cloud.proxy.heal();
    assert_eq!(ended(&world, &task).await["status"], "done", "{}", world.gateway.log());
}
