//! A real engine with two directories as sources behind a real server, and a client that checks every answer against the
//! OpenAPI document and the rules that hold for all answers.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

pub mod pattern;

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{Arc, LazyLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{Client, Method, header::HeaderMap};
use serde_json::{Value, json};
use tempfile::TempDir;
use trivault_dialect_dbaas::{Dbaas, NAME, Namer, Options, SourceNames, names_of_source};
use trivault_engine::{
    Caller, Clock, Engine, EngineOptions, NewSource, NewStore, Principal, Role, Scope, SecretText, StoreLocation,
    SystemClock, UserId,
};
use trivault_http::{DialectSelection, Limits, Listener, Network, Running, Server, ServerOptions};
use trivault_testkit::openapi::Document;

static DOCUMENT: LazyLock<Document> = LazyLock::new(|| Document::load(NAME));

pub const USER: &str = "Administrator";
pub const PASSWORD: &str = "correct horse battery";

/// The files of the first source: one is no text, one lies deeper.
pub const FILES: [(&str, &[u8]); 3] =
    [("a.csv", b"id,total\n1,20.50\n"), ("deep/er/b.bin", &[0, 159, 146, 150, 255]), ("empty", b"")];

pub struct Gateway {
    pub engine: Engine,
    pub running: Running,
    pub base: String,
    pub directory: TempDir,
    client: Client,
    /// May do everything.
    pub caller: Caller,
    pub names: SourceNames,
    pub other: SourceNames,
    pub api_token: String,
    pub main: String,
    /// Good for the first source's database.
    pub addon_token: String,
}

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// What is sent besides method and path.
#[derive(Default)]
pub struct Sent<'a> {
    pub bearer: Option<&'a str>,
    pub basic: Option<&'a str>,
    pub headers: Vec<(&'a str, &'a str)>,
    pub body: Option<&'a str>,
}

impl Gateway {
    pub async fn open() -> Self {
        Self::open_with(2).await
    }

    /// With that many workers; with none, jobs stay queued.
    pub async fn open_with(workers: usize) -> Self {
        Self::open_at(workers, Arc::new(SystemClock)).await
    }

    /// With a clock of the test's own.
    pub async fn open_at(workers: usize, clock: Arc<dyn Clock>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (path, content) in FILES {
            let path = at("shop").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fs::create_dir_all(at("other")).unwrap();
        fs::create_dir_all(at("store")).unwrap();

        let mut options = EngineOptions::new(at("data"));
        options.namers = vec![Arc::new(Namer)];
        options.poll = Duration::from_millis(50);
        options.workers = workers;
        options.clock = clock;
        let engine = Engine::open(options).await.unwrap();
        let system = system();
        engine.create_user(&system, USER, &SecretText::new(PASSWORD), Role::Admin).await.unwrap();
        let principal = engine.authenticate_password(USER, &SecretText::new(PASSWORD), "127.0.0.1").await.unwrap();
        let caller = Caller { principal, ..system };
        let location = StoreLocation::Local { path: at("store").to_str().unwrap().to_owned() };
        let store = NewStore { name: "default".into(), location, credentials: None, is_default: true, managed: true };
        engine.create_store(&caller, store).await.unwrap();
        let source =
            |name: &str, path: &str| NewSource { name: name.to_owned(), config: config_of(&at(path)), managed: true };
        let shop = engine.create_source(&caller, source("atelier.shop", "shop")).await.unwrap();
        let other = engine.create_source(&caller, source("other", "other")).await.unwrap();
        let names = names_of_source(&engine, shop.id).await.unwrap();
        let other = names_of_source(&engine, other.id).await.unwrap();
        let (_, secret) = engine.create_api_token(&caller, NAME, "test", "tk-us-", None).await.unwrap();
        engine.start_workers().await.unwrap();

        let running = Server::start(engine.clone(), server_options()).unwrap();
        let base = format!("http://{}", running.addresses[0]);
        let mut gateway = Self {
            engine,
            running,
            base,
            directory,
            client: Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap(),
            caller,
            names,
            other,
            api_token: secret.expose().to_owned(),
            main: String::new(),
            addon_token: String::new(),
        };
        gateway.main = gateway.exchange(&gateway.api_token).await;
        gateway.addon_token = gateway.token_of(&gateway.names).await;
        gateway
    }

    pub async fn exchange(&self, api_token: &str) -> String {
        let basic = format!(":{api_token}");
        let sent = Sent { basic: Some(&basic), ..Sent::default() };
        let answer = self.send("POST", "/v1/tokens/exchange", sent).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    pub async fn token_of(&self, names: &SourceNames) -> String {
        let path = format!("/v1/apps/{}/addons/{}/token", names.app, names.addon_id);
        let answer = self.post(&path, &self.main).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()["addon"]["token"].as_str().unwrap().to_owned()
    }

    pub async fn get(&self, path: &str, bearer: &str) -> Answer {
        self.send("GET", path, Sent { bearer: Some(bearer), ..Sent::default() }).await
    }

    pub async fn post(&self, path: &str, bearer: &str) -> Answer {
        self.send("POST", path, Sent { bearer: Some(bearer), ..Sent::default() }).await
    }

    pub async fn send(&self, method: &str, path: &str, sent: Sent<'_>) -> Answer {
        let Sent { bearer, basic, headers, body } = sent;
        let url = format!("{}{path}", self.base);
        let mut request = self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        if let Some(bearer) = bearer {
            request = request.header("Authorization", format!("Bearer {bearer}"));
        }
        if let Some(basic) = basic {
            request = request.header("Authorization", format!("Basic {}", STANDARD.encode(basic)));
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let answer = Answer { status, headers, bytes: answer.bytes().await.unwrap().to_vec() };
        check(method, path, &answer);
        answer
    }

    pub async fn list(&self, names: &SourceNames, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/databases/{}/backups{query}", names.addon_id), &self.main).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        answer.json()["database_backups"].as_array().unwrap().clone()
    }

    /// Makes a backup of the first source and waits for its end.
    pub async fn backup(&self) -> Value {
        let path = format!("/api/databases/{}/backups", self.names.addon_id);
        let answer = self.post(&path, &self.addon_token).await;
        assert_eq!(answer.status, 201, "{}", answer.json());
        self.ended(answer.json()["database_backup"]["id"].as_str().unwrap()).await
    }

    /// Polls a backup as the command line does, until it has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let ended = async {
            loop {
                let answer = self.get(&format!("/api/backups/{id}"), &self.main).await.json();
                if ["done", "error"].contains(&answer["database_backup"]["status"].as_str().unwrap()) {
                    return answer["database_backup"].clone();
                }
                // As the client does; the wait has its own limit below.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ended).await.expect("the backup ends")
    }

    /// What placeholders in fixtures stand for.
    pub fn values(&self) -> HashMap<&'static str, String> {
        HashMap::from([
            ("base", self.base.clone()),
            ("api_token", self.api_token.clone()),
            ("main", self.main.clone()),
            ("addon_token", self.addon_token.clone()),
            ("app", self.names.app.clone()),
            ("app_id", app_id(&self.names)),
            ("addon", self.names.addon_id.clone()),
            ("database", self.names.database_id.clone()),
            ("resource", self.names.resource_id.clone()),
            ("other_addon", self.other.addon_id.clone()),
        ])
    }
}

pub fn config_of<C: serde::de::DeserializeOwned>(path: &Path) -> C {
    serde_json::from_value(json!({"kind": "directory", "location": path})).unwrap()
}

fn app_id(names: &SourceNames) -> String {
    names.app_id.clone()
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
        dialects: vec![Arc::new(Dbaas::new(Options::default()))],
        limits: Limits::default(),
        public_url: None,
        allowed_hosts: vec!["api.example.org".into()],
        trusted_proxies: Network::loopback(),
    }
}

/// What holds for every answer of this dialect.
fn check(method: &str, path: &str, answer: &Answer) {
    let what = format!("{method} {path}: {} {}", answer.status, String::from_utf8_lossy(&answer.bytes));
    assert!(!(300..400).contains(&answer.status) || answer.status == 304, "no redirect: {what}");
    assert!(!answer.header("x-request-id").is_empty(), "a request id: {what}");
    assert_eq!(answer.header("content-encoding"), "", "not compressed: {what}");
    if !answer.bytes.is_empty() && answer.header("content-type") != "application/gzip" {
        assert_eq!(answer.header("content-type"), "application/json; charset=utf-8", "{what}");
        let body: Value = serde_json::from_slice(&answer.bytes).expect("JSON");
        if answer.status == 422 {
            let errors = body["errors"].as_object().expect("a map of errors");
            assert!(!errors.is_empty() && errors.values().all(|texts| texts[0].is_string()), "{what}");
        } else if answer.status >= 400 {
            assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "a sentence: {what}");
        }
    }
    let path = path.split('?').next().unwrap().trim_end_matches('/').replacen("/dapi/", "/api/", 1);
    let body = (!answer.bytes.is_empty()).then(|| answer.json());
    if let Err(fault) = DOCUMENT.check(method, &path, answer.status, body.as_ref()) {
        panic!("{fault}");
    }
}
