//! A PostgreSQL database through all three dialects, with the real binary and a real server: money moves while it is backed up.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use trivault_testkit::{
    gateway::Setup,
    postgres::{PostgresServer, Variant},
};
use trivault_tests::{
    World,
    client::{Body, Who},
};

const STORE: &str = "/arcgis/admin/system/disasterrecovery/stores/default";
const PASSWORD: &str = "Correct-horse-7-staple";
const ACCOUNTS: u32 = 2000;
/// Each transfer is one row of the ledger and two of the accounts.
const TRANSFER: &str = "\\set a random(1, 2000)\n\\set b random(1, 2000)\n\\set x random(1, 100)\n\
    \\set low least(:a, :b)\n\\set high greatest(:a, :b)\nBEGIN;\n\
    UPDATE acct SET bal = bal - :x WHERE id = :low;\nUPDATE acct SET bal = bal + :x WHERE id = :high;\n\
    INSERT INTO ledger.tx (a, b, amount) VALUES (:low, :high, :x);\nCOMMIT;\n";

/// A bank on a server of its own, which `keeper` owns and reaches by TCP with a password.
struct Bank {
    server: PostgresServer,
    world: World,
}

impl Bank {
    fn open() -> Option<Self> {
        let server = PostgresServer::own(&Variant {
            tcp: true,
            host_based_access: vec!["host all keeper 127.0.0.1/32 scram-sha-256".into()],
            ..Variant::default()
        })?;
        server.query("postgres", &format!("CREATE ROLE keeper LOGIN CREATEDB PASSWORD '{PASSWORD}'"));
        server.query("postgres", "CREATE DATABASE bank OWNER keeper");
        server.query(
            "bank",
            &format!(
                "SET ROLE keeper; CREATE SCHEMA ledger; CREATE TABLE acct (id int PRIMARY KEY, bal bigint NOT NULL, note text);
                 CREATE TABLE ledger.tx (id bigserial PRIMARY KEY, a int NOT NULL REFERENCES acct, b int NOT NULL REFERENCES acct,
                 amount bigint NOT NULL, at timestamptz NOT NULL DEFAULT now());
                 CREATE INDEX ON ledger.tx (a); CREATE VIEW rich AS SELECT id FROM acct WHERE bal > 1000;
                 INSERT INTO acct SELECT i, 1000, repeat(md5(i::text), 10) FROM generate_series(1, {ACCOUNTS}) i"
            ),
        );
        let mut setup = Setup::default();
        setup.sources.push(format!("bank=postgresql://keeper@127.0.0.1:{}/bank", server.port()));
        setup.environment.push(("PGPASSWORD".into(), PASSWORD.into()));
        Some(Self { world: World::with(setup), server })
    }

    /// Begins to move money. Ended by [`Writers`]' drop.
    fn begin_transfers(&self) -> Writers {
        let script = self.world.path().join("transfer.sql");
        fs::write(&script, TRANSFER).unwrap();
        let mut command = Command::new(self.server.binaries().join("pgbench"));
        command.args(["-n", "-c", "4", "-T", "100", "-U", "postgres", "-p", &self.server.port().to_string(), "-h"]);
        command.arg(self.server.socket_folder()).arg("-f").arg(&script).arg("bank");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while self.transfers() < 200 {
            std::thread::yield_now();
        }
        Writers(child)
    }

    fn transfers(&self) -> u64 {
        self.server.query("bank", "SELECT count(*) FROM ledger.tx").trim().parse().unwrap()
    }

    /// Rows and the sum of their hashes, table by table, and the definition of everything else that counts.
    fn digest(&self, database: &str) -> String {
        let table = |name: &str| format!("SELECT '{name}', count(*), sum(hashtextextended(t::text, 0)) FROM {name} t");
        let objects = "SELECT 'objects', count(*), sum(hashtextextended(format('%s %s %s', c.relname, c.relkind, pg_get_userbyid(c.relowner)), 0)) \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname IN ('public', 'ledger')";
        let all = [table("acct"), table("ledger.tx"), objects.to_owned()].join(" UNION ALL ");
        self.server.query(database, &format!("SET TimeZone = 'UTC'; SET search_path = public; {all} ORDER BY 1"))
    }

    /// No coin came into being or was lost, and every balance is what the ledger says.
    fn is_sound(&self, database: &str) {
        let sum = self.server.query(database, "SELECT sum(bal) FROM acct");
        assert_eq!(sum.trim(), (u64::from(ACCOUNTS) * 1000).to_string());
        let wrong = self.server.query(
            database,
            "SELECT count(*) FROM acct WHERE bal <> 1000 \
             + coalesce((SELECT sum(amount) FROM ledger.tx WHERE b = acct.id), 0) \
             - coalesce((SELECT sum(amount) FROM ledger.tx WHERE a = acct.id), 0)",
        );
        assert_eq!(wrong.trim(), "0", "balances that the ledger does not explain");
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(self.server.binaries().join(program))
            .args(["-U", "postgres", "-p", &self.server.port().to_string(), "-h"])
            .arg(self.server.socket_folder())
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// An empty database of that name, which `keeper` owns.
    fn empty(&self, name: &str) {
        self.server.query("postgres", &format!("CREATE DATABASE {name} OWNER keeper"));
    }
}

struct Writers(Child);

impl Drop for Writers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_bank_backed_up_under_transfers_comes_back_through_every_dialect_and_through_pg_restore() {
    let Some(bank) = Bank::open() else { return };
    let Bank { world, server } = &bank;
    let writers = bank.begin_transfers();
    world.create_repository("nightly", Some("bank")).await;
    let acknowledged = bank.transfers();
    let task = world.couchbase_task("nightly", "backup", "").await;
    assert_eq!(task["status"], "done", "{task:#}\n{}", world.gateway.log());
    let after = bank.transfers();
    drop(writers);

    // Couchbase: schemas are scopes, tables are collections.
    let info = world.client.get("/api/v1/cluster/self/repository/active/nightly/info", &Who::administrator()).await;
    let bucket = &info.json["backups"][0]["buckets"][0];
    assert_eq!(bucket["name"], "bank", "{}", info.text());
    assert!(bucket["size"].as_u64().unwrap() > 0, "{}", info.text());
    let collections = |scope: &str| -> Vec<(String, u64)> {
        let scopes = bucket["scopes"].as_object().unwrap();
        let scope = scopes.values().find(|found| found["name"] == scope).unwrap();
        let of = |found: &Value| (found["name"].as_str().unwrap().to_owned(), found["mutations"].as_u64().unwrap());
        scope["collections"].as_object().unwrap().values().map(of).collect()
    };
    assert_eq!(collections("public"), [("acct".to_owned(), u64::from(ACCOUNTS))]);
    let [(name, rows)] = &collections("ledger")[..] else { panic!("{}", info.text()) };
    assert_eq!(name, "tx");
    assert!((acknowledged..=after).contains(rows), "{acknowledged} <= {rows} <= {after}");

    // ArcGIS: an entry of relationalStore.
    let token = world.arcgis_token().await;
    let list = world.client.get(&format!("{STORE}/backups?f=json&token={token}"), &Who::Nobody).await;
    let backup = &list.json["backups"][0];
    let name = backup["backupName"].as_str().unwrap();
    let shown = world.client.get(&format!("{STORE}/backups/{name}?f=json&token={token}"), &Who::Nobody).await;
    assert_eq!(shown.json["relationalStore"][0]["clusterID"], "bank", "{}", shown.text());
    assert_eq!(shown.json["objectStore"], serde_json::json!([]));

    // DBaaS: a PostgreSQL database, and a download that pg_restore reads.
    let (bearer, addon) = world.dbaas("bank").await;
    let database = world.client.get(&format!("/api/databases/{addon}"), &bearer).await;
    let database = &database.json["database"];
    assert_eq!((&database["type_name"], &database["plan"]), (&"postgresql".into(), &"postgresql-self-hosted".into()));
    let version = server.query("postgres", "SHOW server_version");
    assert!(version.starts_with(database["readable_version"].as_str().unwrap()), "{database:#}");
    assert_ne!(database["readable_version"], "");
    let rows = world.client.get(&format!("/api/databases/{addon}/backups"), &bearer).await;
    let row = &rows.json["database_backups"][0];
    assert_eq!(row["status"], "done", "{}", rows.text());
    let link = format!("/api/databases/{addon}/backups/{}/archive", row["id"].as_str().unwrap());
    let link = world.client.get(&link, &bearer).await.json["download_url"].as_str().unwrap().to_owned();
    let archive = world.client.get(&link, &Who::Nobody).await;
    assert_eq!(archive.status, 200);
    assert_eq!(archive.bytes.len() as u64, row["size"].as_u64().unwrap());
    let folder = world.path().join("download");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("archive.tar.gz"), &archive.bytes).unwrap();
    let unpacked = Command::new("tar").args(["-xzf", "archive.tar.gz"]).current_dir(&folder).status().unwrap();
    assert!(unpacked.success());
    let dump = folder.join(format!("{}.pgsql", row["name"].as_str().unwrap()));
    bank.empty("downloaded");
    bank.run("pg_restore", &["--exit-on-error", "-j2", "-d", "downloaded", path(&dump)]);
    bank.is_sound("downloaded");
    let digest = bank.digest("downloaded");
    assert_ne!(digest, bank.digest("bank"), "money moved on after the backup");

    // Damage, and a restore in place by ArcGIS.
    server
        .query("bank", "DROP VIEW rich; DROP TABLE ledger.tx; DELETE FROM acct WHERE id > 10; UPDATE acct SET bal = 0");
    let fields = [("passcode", "anything at all"), ("f", "json"), ("token", token.as_str())];
    let restored =
        world.client.post(&format!("{STORE}/backups/{name}/restore"), &Who::Nobody, Body::Form(&fields)).await;
    assert_eq!(restored.json["status"], "success", "{}", restored.text());
    let job = world.arcgis_job(&token, restored.json["jobid"].as_str().unwrap()).await;
    assert_eq!(job["status"], "COMPLETED", "{job:#}\n{}", world.gateway.log());
    assert_eq!(bank.digest("bank"), digest);
    bank.is_sound("bank");

    // The password went nowhere.
    for (name, bytes) in trivault_testkit::trees::contents(&world.data_directory()).unwrap() {
        assert!(!bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()), "{name}");
    }
    assert!(!world.gateway.log().contains(PASSWORD));
}

#[tokio::test]
async fn the_command_line_restores_beside_and_in_part_and_exports_what_psql_and_pg_restore_take() {
    let Some(bank) = Bank::open() else { return };
    let Bank { world, server } = &bank;
    drop(bank.begin_transfers());
    let digest = bank.digest("bank");
    let tested = world.gateway.command(&["source", "test", "bank"]);
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    let said = String::from_utf8_lossy(&tested.stdout).into_owned();
    assert!(said.contains("answers: PostgreSQL") && said.contains("pg_authid"), "{said}");
    let backup = world.gateway.json(&["backup", "create", "--source", "bank", "--json"]);
    let id = backup["id"].as_str().unwrap();
    let command = |arguments: &[&str]| {
        let output = world.gateway.command(arguments);
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    };

    let (good, said) = command(&["restore", "--latest", "bank", "--to-database", "bank_copy"]);
    assert!(good, "{said}\n{}", world.gateway.log());
    assert_eq!(bank.digest("bank_copy"), digest);
    let (good, said) = command(&["restore", "--latest", "bank", "--to-database", "bank_copy"]);
    assert!(!good && said.contains("bank_copy"), "a database that is there is left alone: {said}");

    // One table, and of it some keys.
    let part = ["restore", "--latest", "bank", "--table", "public.acct", "--to-database"];
    let (good, said) = command(&[&part[..], &["one_table"]].concat());
    assert!(good, "{said}\n{}", world.gateway.log());
    let accounts = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM acct t";
    assert_eq!(server.query("one_table", accounts), server.query("bank", accounts));
    assert_eq!(server.query("one_table", "SELECT count(*) FROM pg_tables WHERE schemaname = 'ledger'").trim(), "0");
    let (good, said) = command(&[&part[..], &["some_keys", "--key-from", "500", "--key-to", "600"]].concat());
    assert!(good, "{said}\n{}", world.gateway.log());
    assert_eq!(server.query("some_keys", "SELECT count(*), min(id), max(id) FROM acct").trim(), "100|500|599");

    // A table that is gone comes back beside the others, which stay as they are.
    server.query("bank", "DROP TABLE ledger.tx; UPDATE acct SET note = 'newer' WHERE id = 1");
    let (good, said) =
        command(&["restore", "--latest", "bank", "--in-place", "--no-safety-backup", "--schema", "ledger"]);
    assert!(good, "{said}\n{}", world.gateway.log());
    assert_eq!(server.query("bank", "SELECT note FROM acct WHERE id = 1").trim(), "newer");
    let ledger = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM ledger.tx t";
    assert_eq!(server.query("bank", ledger), server.query("bank_copy", ledger));

    for (format, file) in [("custom", "bank.dump"), ("sql", "bank.sql")] {
        let file = world.path().join(file);
        let (good, said) = command(&["backup", "export", id, "--format", format, "--output", path(&file)]);
        assert!(good, "{said}");
        let database = format!("exported_as_{format}");
        bank.empty(&database);
        match format {
            "custom" => bank.run("pg_restore", &["--exit-on-error", "-d", &database, path(&file)]),
            _ => bank.run("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &database, "-f", path(&file)]),
        };
        assert_eq!(bank.digest(&database), digest, "{format}");
        let (good, said) = command(&["backup", "export", id, "--format", format, "--output", path(&file)]);
        assert!(!good && said.contains("cannot be written"), "what is there is not overwritten: {said}");
    }
}

#[tokio::test]
async fn couchbase_restores_add_what_is_missing_overwrite_on_request_and_make_databases_beside() {
    let Some(bank) = Bank::open() else { return };
    let Bank { world, server } = &bank;
    drop(bank.begin_transfers());
    let digest = bank.digest("bank");
    world.create_repository("nightly", Some("bank")).await;
    assert_eq!(world.couchbase_task("nightly", "backup", "").await["status"], "done", "{}", world.gateway.log());
    let restore = async |options: &str| {
        let url = &world.gateway.url;
        let body = format!(r#"{{"target":"{url}","user":"Administrator","password":"password"{options}}}"#);
        let task = world.couchbase_task("nightly", "restore", &body).await;
        assert_eq!(task["status"], "done", "{task:#}\n{}", world.gateway.log());
    };
    restore(r#","auto_create_buckets":true,"map_data":"bank=branch""#).await;
    assert_eq!(bank.digest("branch"), digest);
    // The new source has the account of the old one.
    let backup = world.gateway.json(&["backup", "create", "--source", "branch", "--json"]);
    assert_eq!(backup["state"], "succeeded", "{backup:#}");

    server.query("bank", "DELETE FROM ledger.tx WHERE id % 2 = 0; UPDATE acct SET note = 'newer' WHERE id = 1");
    restore("").await;
    assert_eq!(server.query("bank", "SELECT note FROM acct WHERE id = 1").trim(), "newer");
    server.query("bank", "INSERT INTO acct VALUES (5000, 0, 'added')");
    restore(r#","force_updates":true"#).await;
    assert_eq!(server.query("bank", "DELETE FROM acct WHERE id = 5000 RETURNING note").lines().next(), Some("added"));
    assert_eq!(bank.digest("bank"), digest);
}

#[tokio::test]
async fn the_demo_shows_a_database_of_ones_own_reads_it_only_and_leaves_nothing_beside_it() {
    let Some(bank) = Bank::open() else { return };
    let (before, place) = (bank.digest("bank"), tempfile::tempdir().unwrap());
    let url = format!("postgresql://keeper@127.0.0.1:{}/bank", bank.server.port());
    let output = Command::new(trivault_testkit::gateway::binary())
        .args(["demo", "--exit", "--quiet", "--listen", "127.0.0.1:0", "--postgresql", &url, "--data-dir"])
        .arg(place.path().join("demo"))
        .env("PGPASSWORD", PASSWORD)
        .env_remove("TRIVAULT_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("bank as trivault_demo_").count(), 3, "{said}");
    assert!(!said.contains("DIFFERENT") && !said.contains(PASSWORD), "{said}");
    assert_eq!(bank.digest("bank"), before);
    let names = bank.server.query("postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database");
    assert_eq!(names.trim(), "bank postgres template0 template1");
}
