//! The real binary with a store on S3 whose server and network have bad days.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use trivault_testkit::{
    fault_proxy::{Asked, Fault, FaultProxy, by_seed},
    gateway::{self, Gateway, Setup},
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
        Self::with_limits("")
    }

    /// With these keys in the section of the store on S3.
    fn with_limits(limits: &str) -> Option<Self> {
        let server = S3Server::start()?;
        server.make_bucket("backups");
        let proxy = FaultProxy::start(&server.endpoint());
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("trivault.toml");
        let text = format!(
            "[limits]\nworkers = 3\njobs_per_store = 1\n\
             [[stores]]\nname = \"cloud\"\nlocation = \"s3://backups/trivault\"\nendpoint = \"{}\"\nallow_http = true\n\
             access_key_env = \"CLOUD_KEY\"\nsecret_key_env = \"CLOUD_SECRET\"\ndefault = true\n{limits}\
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
async fn credentials_that_are_withdrawn_fail_the_backup_at_once_with_a_sentence_and_given_back_it_succeeds() {
    let Some(cloud) = Cloud::start() else { return };
    let world = World::with(cloud.setup.clone());
    world.create_repository("r", Some(DATABASE)).await;
    cloud.proxy.plan(|_| Some(Fault::Refused(403, "SignatureDoesNotMatch")));
    let task = begin(&world).await;
    let failed = ended(&world, &task).await;
    assert_eq!(failed["status"], "failed", "{failed:#}");
    assert!(failed["error"].as_str().unwrap().contains("refuses the credentials"), "{failed:#}");
    let job = newest_backup_job(&world);
    assert_eq!((&job["attempt"], &job["failure"]["code"]), (&json!(1), &json!("store_refused")), "{job:#}");
    assert!(job["failure"]["hint"].as_str().unwrap().contains("access key"), "{job:#}");
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

/// Nobody is waited for longer than a second, and nothing is sent twice.
const IMPATIENT: &str = "connect_seconds = 1\nsilence_seconds = 1\nrequest_seconds = 2\nretry_seconds = 0\ntries = 1\n";
/// Less than the default waits for one silent request.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(40);

/// Waits until the first attempt of the newest backup has failed.
async fn first_attempt_failed(world: &World) {
    let begin = Instant::now();
    loop {
        let job = newest_backup_job(world);
        let attempt = job["attempt"].as_u64().unwrap();
        if attempt >= 2 || attempt == 1 && job["state"] == "queued" {
            return;
        }
        assert!(begin.elapsed() < GIVEN_UP_WITHIN, "{job:#}\n{}", world.gateway.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_silent_store_is_given_up_after_the_configured_time_and_the_backup_is_made_when_it_speaks_again() {
    let Some(cloud) = Cloud::with_limits(IMPATIENT) else { return };
    let world = World::with(cloud.setup.clone());
    world.create_repository("r", Some(DATABASE)).await;
    cloud.proxy.plan(|_| Some(Fault::Silent));
    let task = begin(&world).await;
    first_attempt_failed(&world).await;
    cloud.proxy.heal();
    assert_eq!(ended(&world, &task).await["status"], "done", "{}", world.gateway.log());
    assert_restic_is_content(&world);
}

#[tokio::test]
async fn a_listing_that_is_slower_than_the_configured_limit_fails_the_attempt_and_a_longer_limit_lets_it_pass() {
    let slow = |asked: Asked<'_>| asked.is_listing().then_some(Fault::Late(3_000));
    let Some(cloud) = Cloud::with_limits(IMPATIENT) else { return };
    let mut world = World::with(cloud.setup.clone());
    world.create_repository("r", Some(DATABASE)).await;
    cloud.proxy.plan(slow);
    let task = begin(&world).await;
    first_attempt_failed(&world).await;
    let told = world.gateway.json(&["jobs", "log", newest_backup_job(&world)["id"].as_str().unwrap(), "--json"]);
    assert!(told.to_string().contains("listing"), "{told:#}");

    // The same store under a longer limit, which is read anew at each start.
    let configuration = cloud.directory.path().join("trivault.toml");
    let text = std::fs::read_to_string(&configuration).unwrap().replace(IMPATIENT, "silence_seconds = 30\n");
    std::fs::write(&configuration, text).unwrap();
    assert!(world.gateway.stop(), "{}", world.gateway.log());
    world.restart();
    assert_eq!(ended(&world, &task).await["status"], "done", "{}", world.gateway.log());
    cloud.proxy.heal();
    assert_restic_is_content(&world);
}

#[test]
fn the_limits_of_a_store_are_explained_and_checked_before_anything_starts() {
    let Some(cloud) = Cloud::with_limits(IMPATIENT) else { return };
    let configuration = cloud.directory.path().join("trivault.toml");
    let check = || {
        let mut command = Command::new(gateway::binary());
        command.arg("check-config").arg("--config").arg(&configuration);
        command.envs(cloud.setup.environment.iter().map(|(name, value)| (name, value)));
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (good, said) = check();
    assert!(good && said.contains("silence 1 s, request 2 s; sent once"), "{said}");
    let text = std::fs::read_to_string(&configuration).unwrap();
    for (wrong, words) in [("tries = 0", "it can be 1 to 20"), ("trys = 1", "Did you mean `tries`?")] {
        std::fs::write(&configuration, text.replace("tries = 1", wrong)).unwrap();
        let (good, said) = check();
        assert!(!good && said.contains(words), "{said}");
    }
    std::fs::write(&configuration, text.replace(IMPATIENT, "") + "tries = 2\n").unwrap();
    let (good, said) = check();
    assert!(!good && said.contains("The store disk is a folder"), "{said}");
}

/// Cancels the newest backup job and waits for its end, which must come soon though the store says nothing.
async fn assert_cancelled_soon(world: &World, task: &str) {
    let job = newest_backup_job(world);
    let asked = Instant::now();
    let answer = world.gateway.command(&["jobs", "cancel", job["id"].as_str().unwrap()]);
    assert!(answer.status.success(), "{answer:?}");
    ended(world, task).await;
    let took = asked.elapsed();
    assert_eq!(newest_backup_job(world)["state"], "cancelled", "{}", world.gateway.log());
    // Two seconds, and the start of the command.
    assert!(took < Duration::from_secs(4), "{took:?}\n{}", world.gateway.log());
}

async fn until_asked(cloud: &Cloud, wanted: impl Fn(&FaultProxy) -> bool) {
    let begin = Instant::now();
    while !wanted(&cloud.proxy) {
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", cloud.proxy.given());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_silent(proxy: &FaultProxy) -> bool {
    proxy.given().contains_key(&Fault::Silent)
}

#[tokio::test]
async fn a_backup_or_restore_that_waits_for_a_silent_store_is_cancelled_within_two_seconds() {
    // What is no job's (copies of the configuration) waits much longer, and shall not hold up the end of the test.
    let limits = "silence_seconds = 20\nrequest_seconds = 25\nretry_seconds = 0\ntries = 1\n";
    let Some(cloud) = Cloud::with_limits(limits) else { return };
    let world = World::with(cloud.setup.clone());
    world.create_repository("r", Some(DATABASE)).await;
    // From the first request on; from the first pack on; from the snapshot on.
    for silent_from in ["", "/data/", "/snapshots/"] {
        let mut is_mute = false;
        cloud.proxy.plan(move |asked| {
            is_mute |= silent_from.is_empty() || asked.method == "PUT" && asked.target.contains(silent_from);
            is_mute.then_some(Fault::Silent)
        });
        let task = begin(&world).await;
        until_asked(&cloud, is_silent).await;
        assert_cancelled_soon(&world, &task).await;
    }
    cloud.proxy.heal();
    let task = begin(&world).await;
    assert_eq!(ended(&world, &task).await["status"], "done", "{}", world.gateway.log());
    assert_restic_is_content(&world);

    cloud.proxy.plan(|_| Some(Fault::Silent));
    let body = format!(
        r#"{{"target":"{}","user":"Administrator","password":"password","auto_create_buckets":true,"map_data":"{DATABASE}=copy"}}"#,
        world.gateway.url
    );
    let answer = world.client.post(&format!("{REPOSITORY}/restore"), &Who::administrator(), Body::Text(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let jobs = world.gateway.json(&["jobs", "list", "--json"]);
    let restore = jobs.as_array().unwrap().iter().find(|job| job["kind"] == "restore").unwrap();
    let restore = restore["id"].as_str().unwrap();
    until_asked(&cloud, is_silent).await;
    let asked = Instant::now();
    assert!(world.gateway.command(&["jobs", "cancel", restore]).status.success());
    let state = loop {
        let job = world.gateway.json(&["jobs", "show", restore, "--json"]);
        if !matches!(job["state"].as_str(), Some("queued" | "running")) {
            break job["state"].clone();
        }
        assert!(asked.elapsed() < Duration::from_secs(60), "{job:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let took = asked.elapsed();
    assert_eq!(state, "cancelled", "{}", world.gateway.log());
    assert!(took < Duration::from_secs(4), "{took:?}\n{}", world.gateway.log());
    let again = world.gateway.command(&["jobs", "cancel", restore]);
    assert_eq!(String::from_utf8_lossy(&again.stdout).trim(), "The job has ended already: cancelled.");
    cloud.proxy.heal();
    assert_restic_is_content(&world);
}
