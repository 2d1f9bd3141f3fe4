//! Every operation of every OpenAPI document, called without, with wrong and with insufficient credentials.
//!
//! The documents are read, so that a new operation is swept from the day it is documented: it must say which credentials it
//! takes (`security`), and one that changes something must name the role that it needs.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use trivault_testkit::gateway::PASSWORD;
use trivault_tests::{
    Answer, World,
    client::{Body, Who},
    world::{DATABASE, TREE},
};

const READERS_PASSWORD: &str = "mira's password";
const DIALECTS: [&str; 3] = ["couchbase", "arcgis", "dbaas"];

/// What the document says about one operation.
struct Operation {
    dialect: &'static str,
    method: Method,
    template: String,
    /// Schemes that it takes, each with the roles of which one is needed; none: it is open.
    takes: BTreeMap<String, Vec<String>>,
}

impl Operation {
    fn all(dialect: &'static str) -> Vec<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi").join(format!("{dialect}.json"));
        let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let mut operations = Vec::new();
        for (template, item) in document["paths"].as_object().unwrap() {
            for (verb, operation) in item.as_object().unwrap() {
                let Ok(method) = verb.to_uppercase().parse::<Method>() else { continue };
                if !["get", "head", "post", "put", "patch", "delete"].contains(&verb.as_str()) {
                    continue;
                }
                let security = operation.get("security").or_else(|| document.get("security"));
                let security = security.unwrap_or_else(|| panic!("{verb} {template} does not say who may call it"));
                let alternatives: Vec<BTreeMap<String, Vec<String>>> =
                    serde_json::from_value(security.clone()).unwrap();
                let takes = if alternatives.iter().any(BTreeMap::is_empty) {
                    BTreeMap::new()
                } else {
                    alternatives.into_iter().flatten().collect()
                };
                operations.push(Self { dialect, method, template: template.clone(), takes });
            }
        }
        assert!(operations.len() > 5, "{dialect} has operations");
        operations
    }

    fn is_open(&self) -> bool {
        self.takes.is_empty()
    }

    fn is_reading(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }

    fn needs_operator(&self) -> bool {
        self.takes.values().any(|roles| roles.iter().any(|role| role == "operator"))
    }
}

/// One way to say who one is, right or wrong.
struct Credential {
    what: &'static str,
    who: Who,
    /// A token in the query.
    token: Option<String>,
    cookie: Option<String>,
    /// The scheme of which it is a good example.
    good_for: Option<&'static str>,
}

impl Credential {
    fn new(what: &'static str, who: Who, good_for: Option<&'static str>) -> Self {
        Self { what, who, token: None, cookie: None, good_for }
    }

    fn token(what: &'static str, token: &str, good_for: Option<&'static str>) -> Self {
        Self { token: Some(token.to_owned()), ..Self::new(what, Who::Nobody, good_for) }
    }
}

/// A gateway in which every placeholder of the documents stands for something that exists.
struct Scene {
    world: World,
    arcgis_job: String,
    dbaas_addon: String,
    dbaas_app: String,
    dbaas_backup: String,
    dbaas_token_id: String,
    api_token: String,
    dbaas: String,
    addon_token: String,
    others_addon_token: String,
    download_token: String,
    arcgis: String,
    readers_arcgis: String,
    readers_dbaas: String,
    /// Each call comes from an address of its own, as a trusted proxy would say: the limit on failed log-ins has its own test.
    address: AtomicU32,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new();
        let password = world.path().join("mira");
        fs::write(&password, READERS_PASSWORD).unwrap();
        let file = password.to_str().unwrap();
        world.gateway.json(&["user", "add", "mira", "--role", "reader", "--password-file", file, "--json"]);
        world.create_repository("r", Some(DATABASE)).await;
        let arcgis = world.arcgis_token().await;
        let arcgis_job = world.arcgis_backup(&arcgis, "swept").await["jobid"].as_str().unwrap().to_owned();
        let (who, dbaas_addon) = world.dbaas(DATABASE).await;
        let dbaas_backup = world.dbaas_backup(&who, &dbaas_addon).await["id"].as_str().unwrap().to_owned();
        let sources = world.gateway.json(&["source", "list", "--json"]);
        let of = |name: &str, key: &str| {
            let found = sources.as_array().unwrap().iter().find(|source| source["name"] == name).unwrap();
            found["dbaas"][key].as_str().unwrap().to_owned()
        };
        let dbaas_app = of(DATABASE, "app");
        let client = &world.client;
        let addon_token = async |app: &str, addon: &str| {
            let path = format!("/v1/apps/{app}/addons/{addon}/token");
            let answer = client.post(&path, &who, Body::None).await;
            answer.json["addon"]["token"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
        };
        let own_addon_token = addon_token(&dbaas_app, &dbaas_addon).await;
        let others_addon_token = addon_token(&of(TREE, "app"), &of(TREE, "addon_id")).await;
        let archive = format!("/api/databases/{dbaas_addon}/backups/{dbaas_backup}/archive");
        let link = client.get(&archive, &who).await.json["download_url"].as_str().unwrap().to_owned();
        let tokens = client.get("/v1/tokens", &who).await;
        let dbaas_token_id = tokens.json["tokens"][0]["id"].as_str().unwrap().to_owned();
        let made = world.gateway.json(&["token", "create", "--name", "sweep", "--dialect", "dbaas", "--json"]);
        let reader = Who::Basic("mira".to_owned(), READERS_PASSWORD.to_owned());
        let named = Body::Text(r#"{"token":{"name":"mira's"}}"#);
        let readers_api_token = client.post("/v1/tokens", &reader, named).await.json["token"]["token"].clone();
        let readers_api_token = Who::Basic(String::new(), readers_api_token.as_str().unwrap().to_owned());
        let exchanged = client.post("/v1/tokens/exchange", &readers_api_token, Body::None).await;
        let fields = [("username", "mira"), ("password", READERS_PASSWORD), ("f", "json")];
        let signed_in = client.post("/arcgis/sharing/rest/generateToken", &Who::Nobody, Body::Form(&fields)).await;
        let Who::Bearer(dbaas) = who.clone() else { panic!("a bearer") };
        Self {
            arcgis_job,
            dbaas_addon,
            dbaas_app,
            dbaas_backup,
            dbaas_token_id,
            api_token: made["token"].as_str().unwrap().to_owned(),
            dbaas,
            addon_token: own_addon_token,
            others_addon_token,
            download_token: link.split_once("token=").unwrap().1.to_owned(),
            arcgis,
            readers_arcgis: signed_in.json["token"].as_str().unwrap().to_owned(),
            readers_dbaas: exchanged.json["token"].as_str().unwrap().to_owned(),
            address: AtomicU32::new(1),
            world,
        }
    }

    /// What a placeholder stands for. A new one must be added here, with something that exists.
    fn value(&self, operation: &Operation, name: &str) -> String {
        let value = match (operation.dialect, name) {
            ("couchbase", "id") => "r",
            ("couchbase", "state") => "active",
            ("couchbase", "name") => "_hourly_backups",
            ("arcgis", "context") => "arcgis",
            ("arcgis", "storeName") => "default",
            ("arcgis", "backupName") => "swept",
            ("arcgis", "jobid") => &self.arcgis_job,
            ("dbaas", "db" | "addon") => &self.dbaas_addon,
            ("dbaas", "app") => &self.dbaas_app,
            ("dbaas", "id") if operation.template.starts_with("/v1/tokens") => &self.dbaas_token_id,
            ("dbaas", "id") => &self.dbaas_backup,
            _ => panic!("{}: say what {name} stands for", operation.template),
        };
        value.to_owned()
    }

    fn path(&self, operation: &Operation, fill: impl Fn(&str) -> String) -> String {
        let segments = operation.template.split('/').map(|segment| {
            let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            name.map_or_else(|| segment.to_owned(), &fill)
        });
        segments.collect::<Vec<_>>().join("/")
    }

    async fn call(&self, operation: &Operation, credential: &Credential) -> Answer {
        self.send(operation, &self.path(operation, |name| self.value(operation, name)), credential).await
    }

    async fn send(&self, operation: &Operation, path: &str, credential: &Credential) -> Answer {
        let count = self.address.fetch_add(1, Ordering::Relaxed);
        let address = format!("10.{}.{}.{}", count >> 16, (count >> 8) & 255, count & 255);
        let mut query: Vec<String> = credential.token.iter().map(|token| format!("token={token}")).collect();
        let is_arcgis = operation.dialect == "arcgis";
        if is_arcgis {
            query.push("f=json".to_owned());
        }
        let path = format!("{path}?{}", query.join("&"));
        let body = if operation.is_reading() || is_arcgis { Body::None } else { Body::Text("{}") };
        let mut headers = vec![("x-forwarded-for", address.as_str())];
        headers.extend(credential.cookie.iter().map(|cookie| ("cookie", cookie.as_str())));
        self.world.client.send_with(operation.method.clone(), &path, &credential.who, body, &headers).await
    }

    /// All that is never, or not everywhere, good enough.
    fn credentials(&self, dialect: &str) -> Vec<Credential> {
        let basic = |user: &str, password: &str| Who::Basic(user.to_owned(), password.to_owned());
        let bearer = |token: &str| Who::Bearer(token.to_owned());
        let own = |of: &str, scheme: &'static str| (of == dialect).then_some(scheme);
        let password = match dialect {
            "dbaas" => Some("password"),
            _ => Some("basic"),
        };
        let mut all = vec![
            Credential::new("a wrong password", basic("Administrator", "passwort"), None),
            Credential::new("an unknown user", basic("nobody", PASSWORD), None),
            Credential::new("an empty password", basic("Administrator", ""), None),
            Credential::new("the administrator's password", basic("Administrator", PASSWORD), password),
            Credential::new("an invented bearer", bearer("eyJhbGciOiJIUzI1NiJ9.e30.AAAA"), None),
            Credential::new("ArcGIS's token as a bearer", bearer(&self.arcgis), own("arcgis", "bearer")),
            Credential::new("DBaaS's main bearer", bearer(&self.dbaas), own("dbaas", "bearer")),
            Credential::new("DBaaS's addon token", bearer(&self.addon_token), own("dbaas", "addon_token")),
            Credential::new("a download's token as a bearer", bearer(&self.download_token), None),
            Credential::new("an API token as a password", basic("", &self.api_token), own("dbaas", "api_token")),
            Credential::new("an API token's half", basic("", &self.api_token[..30]), None),
            Credential::new("a bearer as a password", basic("", &self.dbaas), None),
            Credential::token("ArcGIS's token in the query", &self.arcgis, own("arcgis", "token")),
            Credential::token("a download's token in the query", &self.download_token, own("dbaas", "download_token")),
            Credential::token("DBaaS's main bearer in the query", &self.dbaas, None),
        ];
        for (what, spoil) in SPOILT {
            all.push(Credential::new(what, bearer(&spoil(&self.dbaas)), None));
            all.push(Credential::token(what, &spoil(&self.arcgis), None));
            all.push(Credential::token(what, &spoil(&self.download_token), None));
        }
        all
    }

    fn reader(&self, dialect: &str) -> Credential {
        let what = "a reader";
        match dialect {
            "couchbase" => Credential::new(what, Who::Basic("mira".to_owned(), READERS_PASSWORD.to_owned()), None),
            "arcgis" => Credential::token(what, &self.readers_arcgis, None),
            _ => Credential::new(what, Who::Bearer(self.readers_dbaas.clone()), None),
        }
    }

    /// Everything that a call could have changed.
    async fn state(&self) -> Value {
        let jobs = self.world.gateway.json(&["jobs", "list", "--json"]);
        let tokens = self.world.gateway.json(&["token", "list", "--json"]);
        let ids = |list: &Value| list.as_array().unwrap().iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
        let repository = "/api/v1/cluster/self/repository/active/r";
        let repository = self.world.client.get(repository, &Who::administrator()).await.json;
        let backups = self.world.gateway.json(&["backup", "list", "--json"]);
        json!([ids(&jobs), ids(&tokens), ids(&backups), repository["state"], repository["plan_name"]])
    }
}

type Spoil = fn(&str) -> String;

/// Good tokens made bad.
const SPOILT: [(&str, Spoil); 3] = [
    ("a token of which a character differs", |token| {
        let at = token.rfind('.').unwrap() + 5;
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &token[..at], &token[at + 1..])
    }),
    ("a token that says it lives for another while", |token| {
        let parts: Vec<&str> = token.split('.').collect();
        let mut claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        claims["exp"] = json!(1_000_000_000);
        format!("{}.{}.{}", parts[0], BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()), parts[2])
    }),
    ("a token that is not signed", |token| {
        let head = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
        format!("{head}.{}.", token.split('.').nth(1).unwrap())
    }),
];

/// The documented refusal of somebody who is not known. That the body fits the document was checked by the client.
fn assert_unknown(operation: &Operation, credential: &Credential, answer: &Answer) {
    let call = format!("{} {} with {}: {}", operation.method, operation.template, credential.what, answer.text());
    match operation.dialect {
        "couchbase" => {
            assert_eq!(answer.status, 401, "{call}");
            assert!(answer.bytes.is_empty() && answer.header("www-authenticate").starts_with("Basic"), "{call}");
        }
        "arcgis" => {
            let is_token = credential.token.is_some() || !matches!(credential.who, Who::Nobody);
            let code = if is_token { 498 } else { 499 };
            assert_eq!((answer.status, &answer.json["error"]["code"]), (200, &json!(code)), "{call}");
        }
        _ => {
            assert_eq!(answer.status, 401, "{call}");
            assert!(answer.json["error"].is_string() || operation.method == Method::HEAD, "{call}");
        }
    }
}

fn assert_not_allowed(operation: &Operation, answer: &Answer) {
    let call = format!("{} {} as a reader: {} {}", operation.method, operation.template, answer.status, answer.text());
    match operation.dialect {
        "couchbase" => assert!(answer.status == 403 && answer.json["permissions"].is_array(), "{call}"),
        "arcgis" => assert!(answer.status == 200 && answer.json["error"]["code"] == 403, "{call}"),
        _ => assert!(answer.status == 403 && answer.json["code"] == "forbidden", "{call}"),
    }
}

fn assert_answered(operation: &Operation, answer: &Answer) {
    let call = format!("{} {}: {} {}", operation.method, operation.template, answer.status, answer.text());
    assert!(answer.status == 200 && answer.json["error"].is_null(), "{call}");
}

#[tokio::test]
async fn every_operation_of_every_document_refuses_whom_it_does_not_know_and_who_may_not() {
    let scene = Scene::new().await;
    let before = scene.state().await;
    let nobody = Credential::new("nothing", Who::Nobody, None);
    for dialect in DIALECTS {
        for operation in Operation::all(dialect) {
            let call = format!("{} {}", operation.method, operation.template);
            if operation.is_open() {
                let answer = scene.call(&operation, &nobody).await;
                let code = answer.json["error"]["code"].as_u64();
                assert!(answer.status == 200 && !matches!(code, Some(498 | 499)), "{call} is open: {}", answer.text());
                continue;
            }
            let names_a_role = operation.takes.values().all(|roles| !roles.is_empty());
            assert!(operation.is_reading() || names_a_role, "{call} changes something and must name the role it needs");
            assert_unknown(&operation, &nobody, &scene.call(&operation, &nobody).await);
            let nowhere = scene.path(&operation, |name| {
                if matches!(name, "context" | "state") { scene.value(&operation, name) } else { "nowhere".to_owned() }
            });
            assert_unknown(&operation, &nobody, &scene.send(&operation, &nowhere, &nobody).await);
            for credential in scene.credentials(dialect) {
                let is_taken = credential.good_for.is_some_and(|scheme| operation.takes.contains_key(scheme));
                // A token in the query is looked at by those only who take one there.
                let is_seen = credential.token.is_none() || dialect == "arcgis";
                if !is_taken {
                    let answer = scene.call(&operation, &credential).await;
                    let as_sent = if is_seen { &credential } else { &nobody };
                    assert_unknown(&operation, as_sent, &answer);
                } else if operation.is_reading() {
                    // What is swept is there: each refusal is for the credential's sake.
                    assert_answered(&operation, &scene.call(&operation, &credential).await);
                }
            }
            if dialect == "arcgis" && !operation.is_reading() {
                let cookie = Some(format!("esri_auth={}", scene.arcgis));
                let forged = Credential { cookie, ..Credential::new("a browser's cookie", Who::Nobody, None) };
                assert_unknown(&operation, &forged, &scene.call(&operation, &forged).await);
            }
            if operation.needs_operator() {
                assert_not_allowed(&operation, &scene.call(&operation, &scene.reader(dialect)).await);
            } else if operation.is_reading() && !operation.takes.contains_key("download_token") {
                assert_answered(&operation, &scene.call(&operation, &scene.reader(dialect)).await);
            }
            if operation.takes.contains_key("addon_token") {
                let other = Who::Bearer(scene.others_addon_token.clone());
                let other = Credential::new("another database's addon token", other, None);
                let answer = scene.call(&operation, &other).await;
                assert_eq!(answer.status, 404, "{call} with another database's token: {}", answer.text());
            }
        }
    }
    assert_eq!(scene.state().await, before, "no refused call changed anything");
}

#[tokio::test]
async fn below_the_database_apis_prefixes_nobody_learns_without_a_token_what_there_is() {
    let world = World::new();
    let (bearer, addon) = world.dbaas(DATABASE).await;
    for path in [
        "/v1",
        "/v1/nothing",
        "/v1/apps/a/b/c/d",
        "/api/plans",
        "/api/operations/1",
        "/dapi/nothing",
        "/api/databases",
        &format!("/api/databases/{addon}/nothing"),
    ] {
        for method in [Method::GET, Method::POST] {
            let answer = world.client.send(method.clone(), path, &Who::Nobody, Body::None).await;
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text());
            let answer = world.client.send(method.clone(), path, &bearer, Body::None).await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        }
    }
}
