//! A real engine with a database and a directory as buckets behind a real server, and a client that checks every answer
//! against the OpenAPI document and the rules that hold for all answers.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod document;
pub mod pattern;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use reqwest::{Client, Method, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use trivault_dialect_couchbase::Couchbase;
use trivault_engine::{
    Caller, Clock, Engine, EngineOptions, NewSource, NewStore, Principal, Role, Scope, SecretText, StoreLocation,
    SystemClock, UserId,
};
use trivault_http::{Dialect, DialectSelection, Limits, Listener, Network, Running, Server, ServerOptions};

pub const USER: &str = "Administrator";
/// As the manual's lines write it.
pub const PASSWORD: &str = "password";
pub const READER: (&str, &str) = ("auditor", "may only look around");
pub const BUCKET: &str = "travel-sample";
pub const R: &str = "/api/v1/cluster/self/repository";

pub struct Gateway {
    pub engine: Engine,
    pub running: Running,
    pub base: String,
    pub directory: TempDir,
    /// May do everything.
    pub caller: Caller,
    client: Client,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

fn dialect() -> Couchbase {
    Couchbase::new(chrono_tz::Europe::London)
}

/// Rows of the sample database, with text that is no ASCII, NULLs and bytes.
pub fn sample(path: &std::path::Path) {
    let database = rusqlite::Connection::open(path).unwrap();
    database
        .execute_batch(
            "CREATE TABLE airline (id INTEGER PRIMARY KEY, name TEXT, callsign TEXT, logo BLOB);
             CREATE TABLE route (id INTEGER PRIMARY KEY, airline INTEGER REFERENCES airline, stops INTEGER);
             CREATE INDEX route_airline ON route (airline);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO airline SELECT i, 'Lüftlinie ' || i, iif(i % 3 = 0, NULL, 'CALL' || i), randomblob(50) FROM n;
             INSERT INTO route SELECT id, id, id % 4 FROM airline;",
        )
        .unwrap();
}

/// All rows of all tables, in order, as text.
pub fn rows(path: &std::path::Path) -> Vec<String> {
    let database = rusqlite::Connection::open(path).unwrap();
    let read = |table: &str, columns: &str| {
        let mut statement = database.prepare(&format!("SELECT {columns} FROM {table} ORDER BY id")).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>()
    };
    let mut all = read("airline", "id || '|' || name || '|' || coalesce(callsign, 'NULL') || '|' || hex(logo)");
    all.extend(read("route", "id || '|' || airline || '|' || stops"));
    all
}

impl Gateway {
    pub async fn open() -> Self {
        Self::open_at(Arc::new(SystemClock), 2).await
    }

    /// With a clock of the test's own, and that many workers.
    pub async fn open_at(clock: Arc<dyn Clock>, workers: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        sample(&at("travel.db"));
        fs::create_dir_all(at("photos/2024")).unwrap();
        fs::write(at("photos/2024/ä.jpg"), [0, 159, 146, 150]).unwrap();
        fs::create_dir_all(at("store")).unwrap();

        let mut options = EngineOptions::new(at("data"));
        options.zone = chrono_tz::Europe::London;
        options.clock = clock;
        options.workers = workers;
        options.namers = vec![dialect().namer()];
        options.poll = Duration::from_millis(50);
        let engine = Engine::open(options).await.unwrap();
        let system = system();
        engine.create_user(&system, USER, &SecretText::new(PASSWORD), Role::Admin).await.unwrap();
        let principal = engine.authenticate_password(USER, &SecretText::new(PASSWORD), "127.0.0.1").await.unwrap();
        let caller = Caller { principal, ..system };
        engine.create_user(&caller, READER.0, &SecretText::new(READER.1), Role::Reader).await.unwrap();
        let location = StoreLocation::Local { path: at("store").to_str().unwrap().to_owned() };
        let store = NewStore { name: "default".into(), location, credentials: None, is_default: true, managed: true };
        engine.create_store(&caller, store).await.unwrap();
        for (name, kind, path) in [(BUCKET, "sqlite", "travel.db"), ("photos", "directory", "photos")] {
            let config = serde_json::from_value(json!({ "kind": kind, "location": at(path) })).unwrap();
            engine.create_source(&caller, NewSource { name: name.to_owned(), config, managed: false }).await.unwrap();
        }
        engine.reconcile_builtin_plans(dialect().builtin_plans(engine.zone())).await.unwrap();
        engine.start_workers().await.unwrap();
        let running = Server::start(engine.clone(), server_options()).unwrap();
        let base = format!("http://{}", running.addresses[0]);
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { engine, running, base, directory, caller, client }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub async fn close(self) {
        self.running.stop().await;
        self.engine.shutdown(Duration::from_secs(5)).await;
    }

    /// As the administrator, with curl's content type.
    pub async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, body.as_bytes().to_vec(), Some((USER, PASSWORD)), &[]).await
    }

    pub async fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, "").await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text);
        answer.json()
    }

    pub async fn send(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
        user: Option<(&str, &str)>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        if let Some((name, password)) = user {
            request = request.basic_auth(name, Some(password));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let answer = Answer { status, headers, text: answer.text().await.unwrap() };
        check(method, path, &answer);
        answer
    }

    /// Creates a repository of the sample bucket, or of all where `bucket` is empty.
    pub async fn create(&self, id: &str, bucket: &str) {
        let body = json!({ "plan": "_hourly_backups", "archive": format!("/backups/{id}"), "bucket_name": bucket });
        let answer = self.call("POST", &format!("{R}/active/{id}"), &body.to_string()).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    }

    /// Makes a backup and waits for its end; answers its task run.
    pub async fn back_up(&self, id: &str) -> Value {
        let answer = self.call("POST", &format!("{R}/active/{id}/backup"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        self.follow(&format!("{R}/active/{id}"), answer.json()["task_name"].as_str().unwrap()).await
    }

    /// As the vendor's tests do: until nothing runs, then the history by its name. In between the task is always in one.
    pub async fn follow(&self, repository: &str, task: &str) -> Value {
        let ended = async {
            loop {
                let shown = self.get(repository).await;
                let history = self.get(&format!("{repository}/taskHistory?taskName={task}")).await;
                if let Some(run) = history.as_array().unwrap().first() {
                    return run.clone();
                }
                let running = &shown["running_one_off"][task];
                assert!(running.is_object(), "{task} is neither running nor in the history: {shown}");
                assert_eq!((&running["name"], &running["task_name"]), (&json!(task), &json!(task)));
                // As a client does; the wait has its own limit below.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the task ends")
    }
}

/// The last backup that a run names, found as the vendor's tests find it.
pub fn backup_of(run: &Value) -> String {
    let name = regex::Regex::new(r"\d{4}-\d\d-\d\dT\d\d_\d\d_\d\d(\.\d+)?(Z|[+-]\d\d_\d\d)").unwrap();
    let transfers = run["node_runs"][0]["stats"]["transfers"].as_array().expect("transfers");
    let texts = transfers.iter().rev().filter_map(|transfer| transfer["description"].as_str());
    texts.filter_map(|text| name.find(text)).map(|found| found.as_str().to_owned()).next().expect("a backup's name")
}

/// Who sets the gateway up before there is a user.
fn system() -> Caller {
    let principal = Principal {
        user: UserId(uuid::Uuid::nil()),
        name: "system".into(),
        role: Role::Admin,
        scope: Scope::Everything,
        token: None,
    };
    Caller { principal, via: "test", request_id: "test".into() }
}

fn server_options() -> ServerOptions {
    ServerOptions {
        listeners: vec![Listener {
            address: "127.0.0.1:0".parse().unwrap(),
            tls: None,
            dialects: DialectSelection::All,
        }],
        dialects: vec![Arc::new(dialect())],
        limits: Limits::default(),
        public_url: None,
        allowed_hosts: vec!["node3".into()],
        trusted_proxies: Network::loopback(),
    }
}

/// What holds for every answer of this dialect.
fn check(method: &str, path: &str, answer: &Answer) {
    let what = format!("{method} {path}: {} {}", answer.status, answer.text);
    assert!(matches!(answer.status, 200 | 400 | 401 | 403 | 404 | 405 | 500), "a status that clients know: {what}");
    assert!(!answer.header("x-request-id").is_empty(), "a request id: {what}");
    assert_eq!(answer.header("content-type"), "application/json", "{what}");
    match answer.status {
        200 | 401 => {}
        403 => assert!(answer.json()["message"].is_string() && answer.json()["permissions"].is_array(), "{what}"),
        status => {
            assert_eq!(answer.json()["status"], json!(status), "{what}");
            assert!(method == "HEAD" || answer.json()["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{what}");
        }
    }
    if method != "HEAD" {
        document::validate(&dialect(), method, path, answer);
    }
}
