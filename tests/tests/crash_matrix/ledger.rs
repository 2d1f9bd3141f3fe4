//! A source that is a PostgreSQL database: one server for all sites of this process, one database for each.

use std::sync::{
    OnceLock,
    atomic::{AtomicU32, Ordering},
};

use trivault_testkit::postgres::{PostgresServer, Variant};

/// All that is compared: what tables, indexes, views and constraints there are, where the sequence stands, and every row.
const CONTENTS: &str = "\
    SELECT 'object', format('%s %s %s', c.relname, c.relkind, pg_get_userbyid(c.relowner)) \
      FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v', 'S') \
    UNION ALL SELECT 'index', indexdef FROM pg_indexes WHERE schemaname = 'public' \
    UNION ALL SELECT 'view', definition FROM pg_views WHERE schemaname = 'public' \
    UNION ALL SELECT 'constraint', conname || pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace \
    UNION ALL SELECT 'sequence', last_value::text FROM tx_id_seq \
    UNION ALL SELECT 'acct', t::text FROM acct t UNION ALL SELECT 'tx', t::text FROM tx t ORDER BY 1, 2";

static SERVER: OnceLock<Option<PostgresServer>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database of the server, and all whose names begin with its name.
pub struct Ledger {
    server: &'static PostgresServer,
    pub database: String,
}

impl Ledger {
    /// `None` when PostgreSQL is left out on purpose.
    pub fn new() -> Option<Self> {
        let start = || PostgresServer::own(&Variant { tcp: true, ..Variant::default() });
        let server = SERVER.get_or_init(start).as_ref()?;
        let database = format!("ledger{}", DATABASES.fetch_add(1, Ordering::SeqCst));
        server.query("postgres", &format!("CREATE DATABASE {database}"));
        server.query(
            &database,
            "CREATE TABLE acct (id int PRIMARY KEY, bal bigint NOT NULL, note text);
             CREATE TABLE tx (id bigserial PRIMARY KEY, a int NOT NULL REFERENCES acct, amount bigint NOT NULL);
             CREATE INDEX tx_by_a ON tx (a); CREATE VIEW rich AS SELECT id FROM acct WHERE bal > 1000;
             INSERT INTO acct SELECT i, 1000, repeat(md5(i::text), 9) FROM generate_series(1, 300) i;
             INSERT INTO tx (a, amount) SELECT i, i FROM generate_series(1, 300) i",
        );
        Some(Self { server, database })
    }

    /// As `--source` takes it, without a name.
    pub fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{}", self.server.port(), self.database)
    }

    pub fn change(&self, round: u32) {
        let statement = format!(
            "UPDATE acct SET bal = bal + 1 WHERE id % 7 = {round} % 7;
             INSERT INTO tx (a, amount) VALUES ({round} % 300 + 1, {round})"
        );
        self.server.query(&self.database, &statement);
    }

    /// What a database of the server holds, line by line.
    pub fn contents(&self, database: &str) -> Vec<String> {
        self.server.query(database, CONTENTS).lines().map(str::to_owned).collect()
    }

    /// All databases that were made beside it, or from it.
    pub fn beside(&self) -> Vec<String> {
        let question = format!(r"SELECT datname FROM pg_database WHERE datname LIKE '{}\_%'", self.database);
        self.server.query("postgres", &question).lines().map(str::to_owned).collect()
    }

    pub fn drop_database(&self, name: &str) {
        self.server.query("postgres", &format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE)"));
    }

    pub fn is_there(&self, database: &str) -> bool {
        let question = format!("SELECT 1 FROM pg_database WHERE datname = '{database}'");
        !self.server.query("postgres", &question).trim().is_empty()
    }
}
