//! Several real servers as one: the README's configuration on a PostgreSQL and an S3 server; and what a server does without its
//! database.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use trivault_testkit::{
    gateway::{Gateway, Setup, command},
    postgres::{PostgresServer, Variant},
    require::repository_root,
    s3::S3Server,
};
use trivault_tests::{
    Client, World,
    client::{Body, Who},
    compare::assert_same_database,
    sample,
    world::DATABASE,
};

const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// From the command's answer on, on a machine on which other tests run; a node looks for it with each of its heartbeats.
const CANCELLED_WITHIN: Duration = Duration::from_secs(5);
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn database_of(url: &str) -> String {
    url.split("///").nth(1).unwrap().split('?').next().unwrap().to_owned()
}

/// As a server elsewhere is named.
fn tcp(server: &PostgresServer, database: &str) -> String {
    format!("postgresql://postgres@127.0.0.1:{}/{database}", server.port())
}

/// The configuration of README's section, with the places of this test.
fn documented(server: &PostgresServer, s3: &S3Server, bank: &str) -> String {
    let readme = fs::read_to_string(repository_root().join("README.md")).unwrap();
    let section = readme.split("### Two nodes").nth(1).unwrap();
    let mut text = section.split("```toml\n").nth(1).unwrap().split("```").next().unwrap().to_owned();
    let endpoint = s3.endpoint();
    let database = tcp(server, &database_of(&server.create_database()));
    for (documented, here) in [
        ("data_dir = \"/var/lib/trivault\"", ""),
        ("postgresql://trivault@db.internal/trivault", database.as_str()),
        ("0.0.0.0:8097", "127.0.0.1:0"),
        ("workers = 2", "workers = 1"),
        ("lease_seconds = 60", "lease_seconds = 2\nstop_seconds = 1"),
        ("endpoint = \"https://s3.internal\"", &format!("allow_http = true\nendpoint = \"{endpoint}\"")),
        ("postgresql://backup@bank.internal/bank", bank),
    ] {
        assert_eq!(text.matches(documented).count(), 1, "README no longer says {documented}");
        text = text.replace(documented, here);
    }
    text
}

/// Nodes of one installation.
struct Nodes {
    setup: Setup,
    directory: TempDir,
    _servers: (PostgresServer, S3Server),
}

impl Nodes {
    /// `None` where PostgreSQL or S3 is left out on purpose.
    fn new(sources: usize) -> Option<Self> {
        let server = PostgresServer::own(&Variant { tcp: true, ..Variant::default() })?;
        let s3 = S3Server::start()?;
        s3.make_bucket("backups");
        let name = database_of(&server.create_database());
        server.query(
            &name,
            "CREATE TABLE account AS SELECT i AS id, md5(i::text) AS name FROM generate_series(1, 1000) AS i",
        );
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("trivault.toml");
        fs::write(&file, documented(&server, &s3, &tcp(&server, &name))).unwrap();
        let mut setup = Setup {
            arguments: vec!["--config".to_owned(), file.to_str().unwrap().to_owned()],
            environment: [
                ("TRIVAULT_KEY", KEY),
                ("TRIVAULT_DB_PASSWORD", "trusted"),
                ("TRIVAULT_S3_ACCESS_KEY", "key"),
                ("TRIVAULT_S3_SECRET_KEY", "secret"),
                ("BANK_PASSWORD", "trusted"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
            configured_listeners: true,
            ..Setup::default()
        };
        for number in 0..sources {
            let path = directory.path().join(format!("{number}.db"));
            sample::large_database(&path, 3_000);
            setup.sources.push(format!("s{number}=sqlite:{}", path.display()));
        }
        Some(Self { setup, directory, _servers: (server, s3) })
    }

    fn start(&self, name: &str) -> (Gateway, Client) {
        self.start_with(name, &[])
    }

    /// With this environment beside that of all nodes.
    fn start_with(&self, name: &str, environment: &[(&str, &str)]) -> (Gateway, Client) {
        let mut setup = self.setup.clone();
        setup.environment.extend(environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let gateway = Gateway::start(&self.directory.path().join(name), &setup);
        let client = Client::new(&gateway.url);
        (gateway, client)
    }

    fn source(&self, number: usize) -> std::path::PathBuf {
        self.directory.path().join(format!("{number}.db"))
    }
}

fn path_of(number: usize) -> String {
    format!("/api/v1/cluster/self/repository/active/r{number}")
}

async fn create(client: &Client, number: usize, bucket: &str) {
    let body = format!(r#"{{"plan":"_hourly_backups","archive":"/archives/r{number}","bucket_name":"{bucket}"}}"#);
    let answer = client.post(&path_of(number), &Who::administrator(), Body::Text(&body)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn begin(client: &Client, number: usize) -> String {
    let answer = client.post(&format!("{}/backup", path_of(number)), &Who::administrator(), Body::None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json["task_name"].as_str().unwrap().to_owned()
}

async fn ended(client: &Client, number: usize, task: &str) -> Value {
    let path = format!("{}/taskHistory?taskName={task}", path_of(number));
    let over = |history: &Value| matches!(history[0]["status"].as_str(), Some("done" | "failed"));
    client.until(&path, &Who::administrator(), over).await.json
}

/// Jobs that this node has begun.
fn begun(gateway: &Gateway) -> usize {
    gateway.log().matches("job started").count()
}

#[tokio::test]
async fn three_nodes_with_the_documented_configuration_share_jobs_and_answer_for_all_of_them() {
    const SOURCES: usize = 9;
    let Some(nodes) = Nodes::new(SOURCES) else { return };
    let (first, client) = nodes.start("first");
    let (second, other) = nodes.start("second");
    for number in 0..SOURCES {
        create(&client, number, &format!("s{number}")).await;
    }
    create(&other, SOURCES, "bank").await;
    // A node that comes later takes its share without being named anywhere.
    let (mut third, last) = nodes.start("third");
    let mut tasks = Vec::new();
    for number in 0..=SOURCES {
        let client = [&client, &other, &last][number % 3];
        tasks.push(begin(client, number).await);
    }
    for (number, task) in tasks.iter().enumerate() {
        // Asked of a node that was not asked to make it; all say the same.
        let seen = ended([&client, &other, &last][(number + 1) % 3], number, task).await;
        assert_eq!(seen[0]["status"], "done", "{seen:#}\n{}{}{}", first.log(), second.log(), third.log());
        for node in [&client, &other, &last] {
            assert_eq!(ended(node, number, task).await, seen);
        }
    }
    let shares = [begun(&first), begun(&second), begun(&third)];
    assert_eq!(shares.iter().sum::<usize>(), SOURCES + 1, "{shares:?}");
    assert!(shares.iter().all(|share| *share > 0), "everybody works: {shares:?}");

    // One leaves, another dies; the one that is left does the rest.
    assert!(third.stop());
    let (mut first, tasks) = (first, [begin(&other, 0).await, begin(&other, 1).await, begin(&other, 2).await]);
    first.kill();
    for (number, task) in tasks.iter().enumerate() {
        let seen = ended(&other, number, task).await;
        assert_eq!(seen[0]["status"], "done", "{seen:#}\n{}", second.log());
    }
    let target = nodes.directory.path().join("restored.db");
    let output = second.command(&["restore", "--latest", "s1", "--to", target.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same_database(&nodes.source(1), &target);
}

#[tokio::test]
async fn a_node_that_dies_in_the_middle_of_a_job_leaves_it_to_another_which_finishes_it() {
    let Some(nodes) = Nodes::new(1) else { return };
    let halted = nodes.directory.path().join("halted");
    let halt = [("TRIVAULT_HALT_AT", "backup/capture"), ("TRIVAULT_HALT_FILE", halted.to_str().unwrap())];
    // Alone, so that nobody else can have begun the job.
    let (mut first, client) = nodes.start_with("first", &halt);
    create(&client, 0, "s0").await;
    let task = begin(&client, 0).await;
    let waits = Instant::now();
    while !halted.exists() {
        assert!(waits.elapsed() < PATIENCE, "{}", first.log());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let (second, other) = nodes.start("second");
    let id = newest_job(&second);
    let running = second.json(&["jobs", "show", &id, "--json"]);
    assert_eq!((&running["state"], &running["attempt"]), (&Value::from("running"), &Value::from(1)), "{running:#}");
    first.kill();
    let seen = ended(&other, 0, &task).await;
    assert_eq!(seen[0]["status"], "done", "{seen:#}\n{}", second.log());
    let job = second.json(&["jobs", "show", &id, "--json"]);
    assert_eq!((&job["state"], &job["attempt"]), (&Value::from("succeeded"), &Value::from(2)), "{job:#}");
    assert_eq!(begun(&second), 1);
    restores(&nodes, &second);
}

#[tokio::test]
async fn a_job_is_cancelled_by_a_command_at_a_node_that_does_not_run_it() {
    let Some(nodes) = Nodes::new(1) else { return };
    fs::remove_file(nodes.source(0)).unwrap();
    sample::large_database(&nodes.source(0), 100_000);
    let (first, client) = nodes.start("first");
    create(&client, 0, "s0").await;
    let task = begin(&client, 0).await;
    let id = newest_job(&first);
    let reads = |job: &Value| job["state"] == "running" && job["progress"]["bytes_read"].as_u64() > Some(0);
    until(&first, &id, reads).await;
    let (second, other) = nodes.start("second");
    let output = second.command(&["jobs", "cancel", &id]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = Instant::now();
    until(&second, &id, |job| job["state"] != "running").await;
    let took = asked.elapsed();
    let job = second.json(&["jobs", "show", &id, "--json"]);
    assert_eq!(job["state"], "cancelled", "{job:#}\n{}", first.log());
    assert!(took < CANCELLED_WITHIN, "{took:?}\n{}", first.log());
    assert_eq!(begun(&second), 0, "it was the other's job");
    assert_ne!(ended(&other, 0, &task).await[0]["status"], "done");
    let task = begin(&other, 0).await;
    let seen = ended(&other, 0, &task).await;
    assert_eq!(seen[0]["status"], "done", "{seen:#}\n{}{}", first.log(), second.log());
    restores(&nodes, &second);
}

fn newest_job(node: &Gateway) -> String {
    node.json(&["jobs", "list", "--json"])[0]["id"].as_str().unwrap().to_owned()
}

/// Waits until the job is so.
async fn until(node: &Gateway, id: &str, is_so: impl Fn(&Value) -> bool) {
    let begun = Instant::now();
    loop {
        let job = node.json(&["jobs", "show", id, "--json"]);
        if is_so(&job) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{job:#}\n{}", node.log());
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The newest backup of the first source is what the source holds.
fn restores(nodes: &Nodes, node: &Gateway) {
    let target = nodes.directory.path().join("restored.db");
    let output = node.command(&["restore", "--latest", "s0", "--to", target.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_same_database(&nodes.source(0), &target);
}

#[tokio::test]
async fn maintenance_begun_at_one_node_holds_the_jobs_of_another_and_they_say_why() {
    let Some(nodes) = Nodes::new(1) else { return };
    let (first, client) = nodes.start("first");
    let (second, other) = nodes.start("second");
    create(&client, 0, "s0").await;
    let output = first.command(&["maintenance", "start", "--for", "2h", "--reason", "the storage is moved"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let task = begin(&other, 0).await;
    let jobs = second.json(&["jobs", "list", "--json"]);
    let id = jobs[0]["id"].as_str().unwrap();
    let shown = second.json(&["jobs", "show", id, "--json"]);
    assert_eq!(shown["state"], "queued");
    let waiting = shown["waiting"].as_str().unwrap();
    assert!(waiting.contains("the storage is moved") && waiting.contains("until"), "{waiting}");
    let status = second.json(&["maintenance", "status", "--json"]);
    assert_eq!((&status["on"], &status["queued_jobs"]), (&Value::Bool(true), &Value::from(1)));
    assert_eq!(status["hold"]["restores_run"], false);
    // The log says it too, once somebody has looked.
    let begin = Instant::now();
    loop {
        let log = first.json(&["jobs", "log", id, "--json"]).to_string();
        if log.contains("the storage is moved") {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{log}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(begun(&first) + begun(&second), 0);
    let output = second.command(&["maintenance", "stop"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(ended(&client, 0, &task).await[0]["status"], "done");
    assert_eq!(first.json(&["maintenance", "status", "--json"])["on"], false);
}

/// A gateway whose metadata lie on a server of the test's own.
fn on_postgres(server: &PostgresServer, directory: &Path) -> Setup {
    let file = directory.join("trivault.toml");
    let store = directory.join("store");
    let text = format!(
        "key_env = \"GATEWAY_KEY\"\n[database]\nurl = \"{}\"\n[limits]\nlease_seconds = 5\n\
         [[stores]]\nname = \"default\"\nlocation = \"{}\"\ndefault = true\n",
        server.create_database(),
        store.display()
    );
    fs::write(&file, text).unwrap();
    Setup {
        arguments: vec!["--config".to_owned(), file.to_str().unwrap().to_owned()],
        environment: vec![("GATEWAY_KEY".to_owned(), KEY.to_owned())],
        ..Setup::default()
    }
}

#[tokio::test]
async fn without_its_database_a_server_says_so_in_every_dialect_and_goes_on_when_it_is_back() {
    let variant = Variant { settings: vec!["synchronous_commit=on".to_owned()], ..Variant::default() };
    let Some(server) = PostgresServer::own(&variant) else { return };
    let directory = tempfile::tempdir().unwrap();
    let world = World::with(on_postgres(&server, directory.path()));
    let (bearer, addon) = world.dbaas(DATABASE).await;
    let token = world.arcgis_token().await;
    let before = world.dbaas_backup(&bearer, &addon).await;
    assert_eq!(before["status"], "done", "{before:#}");

    server.crash();
    let couchbase = "/api/v1/cluster/self/repository/active";
    let arcgis = format!("/arcgis/admin/system/disasterrecovery/stores?f=json&token={token}");
    let dbaas = format!("/api/databases/{addon}/backups");
    let (who, nobody) = (Who::administrator(), Who::Nobody);
    let (one, two, three, four) = tokio::join!(
        world.client.get(couchbase, &who),
        world.client.get(&arcgis, &nobody),
        world.client.get(&dbaas, &bearer),
        world.client.get("/readyz", &nobody),
    );
    // Clients of the Couchbase service know no 503; ArcGIS has its errors in the body.
    for (answer, status) in [(one, 500), (two, 200), (three, 503), (four, 503)] {
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains("database"), "{}", answer.text());
    }
    assert_eq!(world.client.get("/healthz", &nobody).await.status, 200, "the process lives");

    server.restart();
    let ready = Instant::now();
    while world.client.get("/readyz", &nobody).await.status != 200 {
        assert!(ready.elapsed() < Duration::from_secs(60), "{}", world.gateway.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let after = world.dbaas_backup(&bearer, &addon).await;
    assert_eq!(after["status"], "done", "{after:#}\n{}", world.gateway.log());
    let rows = world.client.get(&dbaas, &bearer).await;
    let ids: BTreeSet<&str> =
        rows.json["database_backups"].as_array().unwrap().iter().filter_map(|row| row["id"].as_str()).collect();
    assert!(ids.contains(before["id"].as_str().unwrap()) && ids.contains(after["id"].as_str().unwrap()));
}

#[tokio::test]
async fn a_server_does_not_start_without_its_database_or_on_a_newer_one_and_says_what_to_do() {
    let variant = Variant::default();
    let Some(server) = PostgresServer::own(&variant) else { return };
    let directory = tempfile::tempdir().unwrap();
    let setup = on_postgres(&server, directory.path());
    let data = directory.path().join("data");
    assert!(Gateway::start(&data, &setup).stop());
    let name = fs::read_to_string(directory.path().join("trivault.toml")).unwrap();
    let name = database_of(&name);
    server.query(
        &name,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', TRUE, '\\x00', 0)",
    );
    let said = Gateway::try_start(&data, &setup).err().unwrap();
    assert!(said.contains("newer") && said.contains("9999") && said.contains("Hint"), "{said}");
    server.crash();
    let said = Gateway::try_start(&data, &setup).err().unwrap();
    assert!(said.contains("metadata database") && said.contains("Hint"), "{said}");
}

#[tokio::test]
async fn a_second_server_on_one_data_directory_refuses_with_the_first_ones_process_id() {
    let world = World::new();
    let beside = world.data_directory();
    let output = command(&beside, &["serve", "--listen", "127.0.0.1:0"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(said.contains(&world.gateway.pid().to_string()), "{said}");
    // The first one goes on.
    assert_eq!(world.client.get("/readyz", &Who::Nobody).await.status, 200);
}
