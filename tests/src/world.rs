//! A running gateway with sample sources in a directory that goes away.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use trivault_testkit::gateway::{Gateway, Setup};

use crate::{
    client::{Body, Client, Who},
    sample,
};

/// Names of the sample sources.
pub const DATABASE: &str = "travel-sample";
pub const TREE: &str = "photos";
/// Fits every passcode rule.
pub const PASSCODE: &str = "correct horse battery";

pub struct World {
    pub gateway: Gateway,
    pub client: Client,
    pub database: PathBuf,
    pub tree: PathBuf,
    pub setup: Setup,
    directory: TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    /// With further arguments of `serve`.
    pub fn with(mut setup: Setup) -> Self {
        let directory = tempfile::Builder::new().prefix("tv-").tempdir().unwrap();
        let (database, tree) = (directory.path().join("app.db"), directory.path().join("photos"));
        sample::database(&database);
        sample::tree(&tree);
        setup.sources.push(format!("{DATABASE}=sqlite:{}", database.display()));
        setup.sources.push(format!("{TREE}=dir:{}", tree.display()));
        let gateway = Gateway::start(&directory.path().join("data"), &setup);
        let client = Client::new(&gateway.url);
        Self { gateway, client, database, tree, setup, directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn data_directory(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Starts the server again on the same data directory.
    pub fn restart(&mut self) {
        self.gateway = Gateway::start(&self.data_directory(), &self.setup);
        self.client = Client::new(&self.gateway.url);
    }

    /// A copy of the live data, to compare with.
    pub fn copy_live_data(&self, name: &str) -> (PathBuf, PathBuf) {
        let place = self.path().join(name);
        std::fs::create_dir(&place).unwrap();
        let (database, tree) = (place.join("app.db"), place.join("photos"));
        let source = rusqlite::Connection::open(&self.database).unwrap();
        source.execute("VACUUM INTO ?", [database.to_str().unwrap()]).unwrap();
        let status = std::process::Command::new("cp").arg("-a").arg(&self.tree).arg(&tree).status().unwrap();
        assert!(status.success());
        (database, tree)
    }

    // --- Couchbase

    pub async fn create_repository(&self, id: &str, bucket: Option<&str>) {
        let bucket = bucket.map_or_else(String::new, |name| format!(r#","bucket_name":"{name}""#));
        let body = format!(r#"{{"plan":"_hourly_backups","archive":"/archives/{id}"{bucket}}}"#);
        let path = format!("/api/v1/cluster/self/repository/active/{id}");
        let answer = self.client.post(&path, &Who::administrator(), Body::Text(&body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Runs a one-off task of a repository to its end; answers its entry of the history.
    pub async fn couchbase_task(&self, id: &str, verb: &str, body: &str) -> Value {
        let path = format!("/api/v1/cluster/self/repository/active/{id}");
        let who = Who::administrator();
        let answer = self.client.post(&format!("{path}/{verb}"), &who, Body::Text(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let name = answer.json["task_name"].as_str().unwrap().to_owned();
        self.client
            .until(&path, &who, |repository| {
                repository["running_one_off"].is_null() && repository["running_tasks"].is_null()
            })
            .await;
        let history = self.client.get(&format!("{path}/taskHistory?taskName={name}"), &who).await;
        history.json[0].clone()
    }

    // --- ArcGIS

    pub async fn arcgis_token(&self) -> String {
        let fields = [
            ("username", "Administrator"),
            ("password", "password"),
            ("client", "referer"),
            ("referer", "referer"),
            ("f", "json"),
        ];
        let answer = self.client.post("/arcgis/sharing/rest/generateToken", &Who::Nobody, Body::Form(&fields)).await;
        answer.json["token"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
    }

    /// Makes a backup under a passcode and waits for its job; answers the job.
    pub async fn arcgis_backup(&self, token: &str, name: &str) -> Value {
        let path = "/arcgis/admin/system/disasterrecovery/stores/default/backups/create";
        let fields = [("name", name), ("passcode", PASSCODE), ("f", "json"), ("token", token)];
        let answer = self.client.post(path, &Who::Nobody, Body::Form(&fields)).await;
        let job = answer.json["jobid"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned();
        self.arcgis_job(token, &job).await
    }

    pub async fn arcgis_job(&self, token: &str, job: &str) -> Value {
        let path = format!("/arcgis/admin/jobs/{job}?f=json&token={token}");
        let ended = |job: &Value| !matches!(job["status"].as_str(), Some("SUBMITTED" | "EXECUTING" | "CANCELLING"));
        self.client.until(&path, &Who::Nobody, ended).await.json
    }

    // --- DBaaS

    /// A bearer for the database API, and the addon's id.
    pub async fn dbaas(&self, source: &str) -> (Who, String) {
        let token = self.gateway.json(&["token", "create", "--name", "test", "--dialect", "dbaas", "--json"]);
        let secret = token["token"].as_str().unwrap().to_owned();
        let exchanged = self.client.post("/v1/tokens/exchange", &Who::Basic(String::new(), secret), Body::None).await;
        let bearer = Who::Bearer(exchanged.json["token"].as_str().unwrap().to_owned());
        let sources = self.gateway.json(&["source", "list", "--json"]);
        let found = sources.as_array().unwrap().iter().find(|found| found["name"] == source).unwrap();
        (bearer, found["dbaas"]["addon_id"].as_str().unwrap().to_owned())
    }

    /// Makes a backup and waits for it; answers its row.
    pub async fn dbaas_backup(&self, who: &Who, addon: &str) -> Value {
        let answer = self.client.post(&format!("/api/databases/{addon}/backups"), who, Body::None).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let id = answer.json["database_backup"]["id"].as_str().unwrap().to_owned();
        let done = |answer: &Value| matches!(answer["database_backup"]["status"].as_str(), Some("done" | "error"));
        self.client.until(&format!("/api/backups/{id}"), who, done).await.json["database_backup"].clone()
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
