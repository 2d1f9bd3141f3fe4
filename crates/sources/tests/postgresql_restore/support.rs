//! Databases on a throwaway server, captures of them, and how two databases are compared.

use std::{process::Command, sync::Arc};

use trivault_sources::{
    Conflict, PartRestorePlan, PartRestoreRequest, RestoreOutcome, RestoreTarget, Result, Selection, SourceConfig,
    SourceDriver,
    testing::{MemoryPart, MemoryReader, MemorySink, MemoryStore, suite::captures},
};
use trivault_testkit::postgres::PostgresServer;

/// Everything that a database can hold and that this server can make without extra packages.
pub const EVERYTHING: &str = include_str!("everything.sql");

/// `schema.name:|rows|digest` of each table and filled materialized view. The server itself builds the statements, so that no
/// name has to be read back, and digests the text in UTF-8, so that databases of two encodings can be compared.
const ROWS: &str = "SET client_encoding = 'UTF8'; SET TimeZone = 'UTC'; \
     SELECT format('%I.%I:', nspname, relname), regexp_replace(query_to_xml(format( \
     'SELECT concat(count(*), ''|'', coalesce(sum(hashtextextended(encode(convert_to(t::text, ''UTF8''), ''hex''), 0)), 0)) FROM %I.%I t', \
     nspname, relname), true, false, '')::text, '<[^>]*>|\\s', '', 'g') \
     FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind IN ('r', 'p', 'm') AND relispopulated \
     AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY nspname, relname";
/// A dump of the schema leaves large objects out, whatever it says of anything else.
const LARGE_OBJECTS: &str = "SELECT oid, md5(lo_get(oid)), lomowner::regrole, lomacl, obj_description(oid, 'pg_largeobject') \
     FROM pg_largeobject_metadata ORDER BY oid";

/// One database of the process's server.
pub struct Database {
    pub server: &'static PostgresServer,
    pub name: String,
}

impl Database {
    /// A database with a name of its own, filled by `sql`. `None` when PostgreSQL is left out on purpose.
    pub fn new(name: &str, sql: &str) -> Option<Self> {
        Some(Self::on(PostgresServer::shared()?, name, sql))
    }

    /// The same on a server of the test's own.
    pub fn on(server: &'static PostgresServer, name: &str, sql: &str) -> Self {
        let database = Self { server, name: name.to_owned() };
        database.admin(&format!("CREATE DATABASE {}", quote(name)));
        database.sql(sql);
        database
    }

    /// Another database of the same server.
    pub fn named(&self, name: &str) -> Self {
        Self { server: self.server, name: name.to_owned() }
    }

    pub fn sql(&self, sql: &str) -> String {
        if sql.is_empty() { String::new() } else { self.server.query(&conninfo(&self.name), sql) }
    }

    pub fn admin(&self, sql: &str) -> String {
        self.server.query("postgres", sql)
    }

    pub fn exists(&self, name: &str) -> bool {
        let name = name.replace('\'', "''");
        self.admin(&format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'")).trim() == "1"
    }

    /// All databases that are not the server's own.
    pub fn databases(&self) -> Vec<String> {
        let names = self.admin(
            "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1') ORDER BY 1",
        );
        names.lines().map(str::to_owned).collect()
    }

    pub fn driver(&self) -> Box<dyn SourceDriver> {
        self.driver_as("postgres", &[])
    }

    pub fn driver_as(&self, user: &str, options: &[(&str, serde_json::Value)]) -> Box<dyn SourceDriver> {
        let mut url = url::Url::parse("postgresql:///").unwrap();
        url.query_pairs_mut()
            .append_pair("host", self.server.socket_folder().to_str().unwrap())
            .append_pair("user", user)
            .append_pair("dbname", &self.name);
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let config = SourceConfig {
            kind: "postgresql".to_owned(),
            location: url.to_string(),
            options,
            never_capture: Vec::new(),
            secret: None,
        };
        trivault_sources::open(&config).unwrap()
    }

    pub fn capture(&self) -> Arc<MemoryPart> {
        captures(self.driver().as_ref(), MemorySink::new(&MemoryStore::new()))
    }

    /// The schema as text, a digest of each table's rows, and all that is known of large objects.
    pub fn digest(&self) -> String {
        let schema = self.tool("pg_dump", &["-s", "-E", "UTF8", "--restrict-key=x"]);
        let sequences = self.sql("SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2");
        schema + &self.sql(ROWS) + &sequences + &self.sql(LARGE_OBJECTS)
    }

    pub fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let folder =
            std::fs::read_dir("/usr/lib/postgresql").unwrap().flatten().map(|entry| entry.path()).max().unwrap();
        let output = Command::new(folder.join("bin").join(program))
            .arg("-h")
            .arg(self.server.socket_folder())
            .args(["-U", "postgres", "-d", &conninfo(&self.name)])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A capture whose manifest says something else.
pub fn falsified(source: &Database, change: impl FnOnce(&mut serde_json::Value)) -> Arc<MemoryPart> {
    let sink = MemorySink::new(&MemoryStore::new());
    let mut manifest = source.driver().capture(&sink).unwrap();
    change(&mut manifest.details);
    sink.into_part(manifest)
}

pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn conninfo(name: &str) -> String {
    format!("dbname='{}'", name.replace('\\', "\\\\").replace('\'', "\\'"))
}

pub fn to(target: RestoreTarget, conflict: Conflict, selection: Selection) -> PartRestoreRequest {
    PartRestoreRequest { target, conflict, selection, job: "j1".to_owned() }
}

pub fn new_database(name: &str) -> PartRestoreRequest {
    to(RestoreTarget::NewDatabase(name.to_owned()), Conflict::Replace, Selection::default())
}

pub fn in_place(conflict: Conflict) -> PartRestoreRequest {
    to(RestoreTarget::InPlace, conflict, Selection::default())
}

pub fn only(names: &[&str]) -> Selection {
    Selection { include: names.iter().map(|name| (*name).to_owned()).collect(), ..Selection::default() }
}

/// Plans and restores.
pub fn restore(
    driver: &dyn SourceDriver,
    reader: &MemoryReader,
    request: &PartRestoreRequest,
) -> Result<(PartRestorePlan, RestoreOutcome)> {
    let plan = driver.plan_restore(reader, request)?;
    let outcome = driver.restore(reader, &plan)?;
    Ok((plan, outcome))
}

/// The same, or a panic with the driver's own words.
pub fn restored(
    driver: &dyn SourceDriver,
    part: &Arc<MemoryPart>,
    request: &PartRestoreRequest,
) -> (PartRestorePlan, RestoreOutcome) {
    restore(driver, &MemoryReader::new(part), request).unwrap_or_else(|error| panic!("{error:?}"))
}
