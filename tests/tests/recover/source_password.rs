//! The password of a database that is backed up: kept sealed under the server key in the store, and asked for where that key is not given.

use std::{fs, path::Path};

use serde_json::Value;
use trivault_testkit::{
    gateway::{self, Gateway, PASSWORD, Setup},
    postgres::{PostgresServer, Variant},
};
use trivault_tests::{
    Client,
    client::{Body, Who},
};

use crate::lost::{REPOSITORIES, said, wait_for_copy};

const BANK_PASSWORD: &str = "Correct-horse-7-staple";

/// A bank that is reached with a password alone, and what is left of the server that backed it up.
struct Robbed {
    bank: PostgresServer,
    directory: tempfile::TempDir,
}

impl Robbed {
    /// `None` where PostgreSQL is left out on purpose.
    async fn new() -> Option<Self> {
        let bank = PostgresServer::own(&Variant {
            tcp: true,
            host_based_access: vec!["host all keeper 127.0.0.1/32 scram-sha-256".into()],
            ..Variant::default()
        })?;
        bank.query("postgres", &format!("CREATE ROLE keeper LOGIN CREATEDB PASSWORD '{BANK_PASSWORD}'"));
        bank.query("postgres", "CREATE DATABASE bank OWNER keeper");
        bank.query(
            "bank",
            "SET ROLE keeper; CREATE TABLE acct AS SELECT i AS id, 1000 AS bal FROM generate_series(1, 500) i",
        );
        let robbed = Self { bank, directory: tempfile::tempdir().unwrap() };
        let data = robbed.path("data");
        fs::write(robbed.path("bank-password"), BANK_PASSWORD).unwrap();
        let url = format!("bank=postgresql://keeper@127.0.0.1:{}/bank", robbed.bank.port());
        let mut gateway = Gateway::start(&data, &Setup::default());
        robbed.done(&gateway, &["source", "add", &url, "--password-file", robbed.text("bank-password").as_str()]);
        let body = r#"{"plan":"_hourly_backups","archive":"/archives/bank","bucket_name":"bank"}"#;
        let path = format!("{REPOSITORIES}/active/bank");
        let answer = Client::new(&gateway.url).post(&path, &Who::administrator(), Body::Text(body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(robbed.back_up(&gateway).await["status"], "done", "{}", gateway.log());
        fs::write(robbed.path("key"), robbed.done(&gateway, &["key", "export"])).unwrap();
        let vaults = gateway.json(&["vault", "list", "--json"]);
        let own = vaults.as_array().unwrap().iter().find(|vault| vault["kind"] == "server").unwrap();
        let password = robbed.done(&gateway, &["vault", "export-key", own["id"].as_str().unwrap()]);
        fs::write(robbed.path("vault-password"), password).unwrap();
        assert!(gateway.stop(), "{}", gateway.log());
        // A server that starts copies its catalogue as soon as things are at rest.
        let mut gateway = Gateway::start(&data, &Setup::default());
        wait_for_copy(&data);
        assert!(gateway.stop(), "{}", gateway.log());
        fs::rename(data.join("stores/default"), robbed.path("rescued")).unwrap();
        fs::remove_dir_all(&data).unwrap();
        Some(robbed)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn done(&self, gateway: &Gateway, arguments: &[&str]) -> Vec<u8> {
        let output = gateway.command(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        output.stdout
    }

    fn recover(&self, secret: &[&str]) -> String {
        let (store, all) = (self.text("rescued"), ["recover", "--store"]);
        let output = gateway::command(&self.path("data"), &[&all[..], &[store.as_str()], secret].concat());
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    /// One backup through the Couchbase service; its end.
    async fn back_up(&self, gateway: &Gateway) -> Value {
        let (client, who) = (Client::new(&gateway.url), Who::administrator());
        let path = format!("{REPOSITORIES}/active/bank");
        let answer = client.post(&format!("{path}/backup"), &who, Body::None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let history = format!("{path}/taskHistory?taskName={}", answer.json["task_name"].as_str().unwrap());
        let over = |history: &Value| matches!(history[0]["status"].as_str(), Some("done" | "failed"));
        client.until(&history, &who, over).await.json[0].clone()
    }

    /// The newest backup becomes a database beside the live one, with the same rows.
    fn assert_restores(&self, gateway: &Gateway) {
        self.done(gateway, &["restore", "--latest", "bank", "--to-database", "restored"]);
        let digest = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM acct t";
        assert_eq!(self.bank.query("restored", digest), self.bank.query("bank", digest));
    }

    /// The password stands nowhere in the clear.
    fn assert_secret(&self, folder: &Path) {
        let is_in = |bytes: &[u8]| bytes.windows(BANK_PASSWORD.len()).any(|window| window == BANK_PASSWORD.as_bytes());
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => self.assert_secret(&entry.path()),
                false => assert!(!is_in(&fs::read(entry.path()).unwrap()), "{:?} holds the password", entry.path()),
            }
        }
    }
}

#[tokio::test]
async fn recovered_with_the_exported_key_a_database_is_backed_up_again_without_its_password() {
    let Some(robbed) = Robbed::new().await else { return };
    let said = robbed.recover(&["--key-file", &robbed.text("key")]);
    assert!(!said.contains("needs its password"), "{said}");
    let gateway = Gateway::start(&robbed.path("data"), &Setup::default());
    robbed.bank.query("bank", "UPDATE acct SET bal = bal + id");
    let task = robbed.back_up(&gateway).await;
    assert_eq!(task["status"], "done", "{task:#}\n{}", gateway.log());
    robbed.assert_restores(&gateway);
    robbed.assert_secret(&robbed.path("data"));
    robbed.assert_secret(&robbed.path("rescued"));
}

#[tokio::test]
async fn recovered_with_the_vaults_password_a_backup_asks_for_the_databases_password_and_works_once_it_is_given() {
    let Some(robbed) = Robbed::new().await else { return };
    let said = robbed.recover(&["--password-file", &robbed.text("vault-password")]);
    assert!(said.contains("The source bank needs its password again: trivault source password bank"), "{said}");
    let administrator = robbed.path("administrator");
    fs::write(&administrator, PASSWORD).unwrap();
    let arguments = ["user", "password", "Administrator", "--password-file", administrator.to_str().unwrap()];
    assert!(gateway::command(&robbed.path("data"), &arguments).status.success());
    let gateway = Gateway::start(&robbed.path("data"), &Setup::default());
    let task = robbed.back_up(&gateway).await;
    assert_eq!(task["status"], "failed", "{task:#}");
    let error = task["error"].as_str().unwrap();
    assert!(error.contains("asks for the password of user keeper"), "{error}");
    let jobs = gateway.json(&["jobs", "list", "--json"]);
    let failed = jobs.as_array().unwrap().iter().find(|job| job["state"] == "failed").unwrap();
    assert_eq!(failed["attempt"], 1, "it is not tried again: {failed:#}");
    assert!(failed["failure"]["hint"].as_str().unwrap().contains("trivault source password"), "{failed:#}");

    robbed.done(&gateway, &["source", "password", "bank", "--password-file", &robbed.text("bank-password")]);
    let task = robbed.back_up(&gateway).await;
    assert_eq!(task["status"], "done", "{task:#}\n{}", gateway.log());
    robbed.assert_restores(&gateway);
}
