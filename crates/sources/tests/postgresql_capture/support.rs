//! A database to capture, and the way back.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
    sync::Arc,
};

use serde_json::json;
use trivault_sources::{
    ErrorKind, SourceConfig, SourceDriver, SourceError, Timestamp, open,
    testing::{
        MemoryPart, MemoryReader, MemorySink, MemoryStore,
        suite::{captures, whole},
    },
};
use trivault_testkit::postgres::{PostgresServer, Variant};

/// A database of its own on the process's server.
pub struct Database {
    pub server: &'static PostgresServer,
    pub url: String,
    pub store: Arc<MemoryStore>,
}

impl Database {
    /// `None` when PostgreSQL is left out on purpose.
    pub fn new(script: &str) -> Option<Self> {
        Some(Self::on(PostgresServer::shared()?, script))
    }

    /// On a server that no other test uses, for tests that disturb all of it. It ends with the process.
    pub fn on_own_server(script: &str) -> Option<Self> {
        Some(Self::on(Box::leak(Box::new(PostgresServer::own(&Variant::default())?)), script))
    }

    fn on(server: &'static PostgresServer, script: &str) -> Self {
        let database = Self { server, url: server.create_database(), store: MemoryStore::new() };
        database.run(script);
        database
    }

    /// Statements, in one `psql`.
    pub fn run(&self, script: &str) {
        psql(&self.url, script);
    }

    pub fn query(&self, statement: &str) -> String {
        self.server.query(&self.url, statement).trim().to_owned()
    }

    pub fn driver(&self) -> Box<dyn SourceDriver> {
        self.driver_with(&self.url, json!({}))
    }

    pub fn driver_with(&self, url: &str, options: serde_json::Value) -> Box<dyn SourceDriver> {
        driver(url, options)
    }

    pub fn capture(&self) -> Arc<MemoryPart> {
        captures(self.driver().as_ref(), MemorySink::new(&self.store))
    }

    pub fn capture_after(&self, previous: &Arc<MemoryPart>) -> Arc<MemoryPart> {
        captures(self.driver().as_ref(), MemorySink::new(&self.store).previous(previous))
    }

    /// Loads the part's archive into a new database. Answers its URL.
    pub fn restored(&self, part: &Arc<MemoryPart>) -> String {
        let url = self.server.create_database();
        let folder = tempfile::tempdir().unwrap();
        let archive = archive(self.driver().as_ref(), part, folder.path());
        let output = Command::new("pg_restore").args(["--exit-on-error", "-d", &url]).arg(&archive).output().unwrap();
        assert!(output.status.success(), "pg_restore: {}", String::from_utf8_lossy(&output.stderr));
        url
    }

    /// Panics unless the restored part is what the database is now.
    pub fn assert_same(&self, part: &Arc<MemoryPart>) {
        let restored = self.restored(part);
        assert_eq!(schema(&restored), schema(&self.url));
        assert_eq!(digests(&restored), digests(&self.url));
        counts_are_true(part, &digests(&restored));
    }
}

pub fn driver(url: &str, options: serde_json::Value) -> Box<dyn SourceDriver> {
    open(&SourceConfig {
        kind: "postgresql".to_owned(),
        location: url.to_owned(),
        options: options.as_object().unwrap().clone(),
        never_capture: Vec::new(),
        secret: None,
    })
    .unwrap()
}

/// The URL with another user.
pub fn as_user(url: &str, user: &str) -> String {
    url.replace("user=postgres", &format!("user={user}"))
}

/// The custom-format file of a part.
pub fn archive(driver: &dyn SourceDriver, part: &Arc<MemoryPart>, folder: &std::path::Path) -> std::path::PathBuf {
    let at = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
    let mut download = driver.download(Arc::new(MemoryReader::new(part)), "backup", at).unwrap();
    assert_eq!(download.length(), part.manifest().download.as_ref().unwrap().length);
    let packed = folder.join("backup.tar.gz");
    fs::write(&packed, whole(download.as_mut())).unwrap();
    let status = Command::new("tar").arg("-xzf").arg(&packed).arg("-C").arg(folder).status().unwrap();
    assert!(status.success());
    fs::remove_file(packed).unwrap();
    fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

pub fn psql(url: &str, script: &str) {
    let mut child = Command::new("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
}

/// The schema as text, without what is another one in each run.
pub fn schema(url: &str) -> String {
    let output = Command::new("pg_dump").args(["-s", "-E", "UTF8", "-d", url]).output().unwrap();
    assert!(output.status.success(), "pg_dump: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
    lines.collect::<Vec<_>>().join("\n")
}

/// `schema|table|rows|digest` of every table, sorted. The server itself builds the statements, so that no name has to be read
/// back, and digests the text in UTF-8, so that databases of two encodings can be compared.
pub fn digests(url: &str) -> Vec<String> {
    let server = PostgresServer::shared().unwrap();
    let rows = server.query(
        url,
        "SET client_encoding = 'UTF8'; SELECT nspname, relname, regexp_replace(query_to_xml(format( \
         'SELECT concat(count(*), ''|'', coalesce(sum(hashtextextended(encode(convert_to(t::text, ''UTF8''), ''hex''), 0)), 0)) \
         FROM ONLY %I.%I t', nspname, relname), true, false, '')::text, '<[^>]*>|\\s', '', 'g') \
         FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
         WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'",
    );
    // The first line answers `SET`.
    let mut rows: Vec<String> = rows.lines().skip(1).map(str::to_owned).collect();
    rows.sort();
    rows
}

fn counts_are_true(part: &Arc<MemoryPart>, digests: &[String]) {
    let counted: u64 = digests.iter().filter_map(|line| line.rsplit('|').nth(1)?.parse::<u64>().ok()).sum();
    assert_eq!(part.manifest().items, counted, "rows in the manifest");
}

/// The tables of a part's manifest by `schema.name`.
pub fn table<'p>(part: &'p MemoryPart, name: &str) -> &'p serde_json::Value {
    let tables = part.manifest().details["tables"].as_array().unwrap();
    tables
        .iter()
        .find(|table| format!("{}.{}", table["schema"].as_str().unwrap(), table["name"].as_str().unwrap()) == name)
        .unwrap()
}

/// The failure of a capture.
pub fn refusal(driver: &dyn SourceDriver) -> SourceError {
    let error = driver.capture(&MemorySink::new(&MemoryStore::new())).unwrap_err();
    assert_ne!(error.kind, ErrorKind::Internal, "{error:?}");
    error
}
