//! One connection, driven from a thread of its own.
//!
//! Sources block, the driver of the wire does not: each session carries a small runtime of its own, so that a session lives
//! where its thread lives and needs nothing of the caller.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _, ValueRef as _,
    postgres::{PgConnectOptions, PgRow, PgSslMode},
};
use tokio::runtime::{Builder, Runtime};

use super::{
    errors,
    settings::{Host, Settings},
};
use crate::{ErrorKind, Result, SourceError};

/// How long a server may take to answer a connection.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How often a long statement looks whether it is still wanted.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);
/// Makes statements mean the same whatever the role, the database or the server is set to (sources.md 2c).
const SETTINGS: &str = "SELECT pg_catalog.set_config(name, '0', false) FROM (VALUES ('idle_session_timeout', 140000), \
     ('transaction_timeout', 170000)) later (name, since) WHERE current_setting('server_version_num')::integer >= since; \
     SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET row_security = off; \
     SET extra_float_digits = 1; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; \
     SET bytea_output = 'hex'; SET xmloption = 'content'; SET synchronize_seqscans = off; \
     SELECT pg_catalog.set_config('search_path', '', false)";

/// Limits that a role or a database may be set to, lifted before the first statement: it could not be longer than them.
const NO_LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "0"), ("lock_timeout", "0"), ("idle_in_transaction_session_timeout", "0")];
/// Limits that only later versions know; earlier ones refuse a connection that asks for them.
const LATER_LIMITS: [(&str, u32); 2] = [("idle_session_timeout", 14), ("transaction_timeout", 17)];
/// SQLSTATE of a session that was idle, and of a transaction that took, longer than allowed.
const IDLE_TOO_LONG: &str = "57P05";
const TRANSACTION_TOO_LONG: &str = "25P04";
/// SQLSTATE of a server without a free connection, and for how long it is asked again: sessions that were ended leave late.
const NO_CONNECTION: &str = "53300";
const CONNECTION_LIMIT: Duration = Duration::from_secs(2);
const CONNECTION_POLL: Duration = Duration::from_millis(100);
/// SQLSTATE of a database that is not there, and of a connection that pg_hba.conf does not take.
const NO_DATABASE: &str = "3D000";
const NOT_LET_IN: &str = "28000";
const DATABASES: &str = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY datname LIMIT 50";

/// A row's values as texts; `None` is NULL.
pub(super) type TextRow = Vec<Option<String>>;

pub(super) struct Session {
    runtime: Runtime,
    connection: PgConnection,
    server_version: u32,
    settings: Settings,
}

impl Session {
    /// Connects to the settings' database. `purpose` is what `pg_stat_activity` shows.
    ///
    /// # Errors
    /// As the table in sources.md section 2a.
    pub(super) fn open(settings: &Settings, purpose: &str) -> Result<Self> {
        let mut session = Self::without_limits(settings, purpose)?;
        let version = session.text("SELECT current_setting('server_version_num')")?;
        session.server_version = version.and_then(|version| version.parse().ok()).unwrap_or_default();
        // The server's own encoding: nothing is converted on the way, so nothing can fail to be.
        session
            .execute("SELECT pg_catalog.set_config('client_encoding', current_setting('server_encoding'), false)")?;
        Ok(session)
    }

    /// A session in which no limit of the role, the database or the server ends anything.
    fn without_limits(settings: &Settings, purpose: &str) -> Result<Self> {
        let mut session = Self::connected(settings, purpose, 0)?;
        let Err(first) = session.execute(SETTINGS) else { return Ok(session) };
        // A limit may be shorter than the very statement that lifts it. A server that ends sessions by it knows its name, so it
        // may stand among the options of the connection.
        for later in later_limits(&first) {
            let Ok(mut session) = Self::connected(settings, purpose, *later) else { break };
            if session.execute(SETTINGS).is_ok() {
                return Ok(session);
            }
        }
        Err(first)
    }

    /// `later`: how many of [`LATER_LIMITS`] are lifted with the connection itself.
    fn connected(settings: &Settings, purpose: &str, later: usize) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| {
            SourceError::new(ErrorKind::Internal, "A connection's runtime cannot be started.").because(error)
        })?;
        let connection =
            connect(&runtime, settings, purpose, later).map_err(|error| match errors::code_of(&error).as_deref() {
                Some(NO_DATABASE) => with_databases(settings, error),
                _ => error,
            })?;
        Ok(Self { runtime, connection, server_version: 0, settings: settings.clone() })
    }

    /// Another session of the same account, in another database of the server.
    pub(super) fn beside(&self, database: &str, purpose: &str) -> Result<Self> {
        Self::open(&self.settings.with_database(database), purpose)
    }

    /// `server_version_num`: 150018 is 15.18.
    pub(super) fn server_version(&self) -> u32 {
        self.server_version
    }

    /// One or more statements without rows that matter.
    pub(super) fn execute(&mut self, sql: &str) -> Result<()> {
        let Self { runtime, connection, .. } = self;
        let done = runtime.block_on(connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))));
        done.map(drop).map_err(errors::statement)
    }

    /// As [`Session::execute`], for statements that may wait: `check` is asked now and then. After its error the session is
    /// of no more use.
    pub(super) fn execute_watched(&mut self, sql: &str, check: &dyn Fn() -> Result<()>) -> Result<()> {
        let Self { runtime, connection, .. } = self;
        runtime.block_on(async {
            let mut done = std::pin::pin!(connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))));
            let mut watch = tokio::time::interval(WATCH_INTERVAL);
            loop {
                tokio::select! {
                    biased;
                    done = &mut done => return done.map(drop).map_err(errors::statement),
                    _ = watch.tick() => check()?,
                }
            }
        })
    }

    /// As [`Session::rows`], for statements that may wait, as [`Session::execute_watched`].
    pub(super) fn rows_watched(&mut self, sql: &str, check: &dyn Fn() -> Result<()>) -> Result<Vec<TextRow>> {
        let Self { runtime, connection, .. } = self;
        let rows = runtime.block_on(async {
            let mut rows = std::pin::pin!(connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))));
            let mut watch = tokio::time::interval(WATCH_INTERVAL);
            loop {
                tokio::select! {
                    biased;
                    rows = &mut rows => return rows.map_err(errors::statement),
                    _ = watch.tick() => check()?,
                }
            }
        });
        rows?.iter().map(texts).collect()
    }

    /// All rows of a statement, as texts.
    pub(super) fn rows(&mut self, sql: &str) -> Result<Vec<TextRow>> {
        let Self { runtime, connection, .. } = self;
        let rows = runtime.block_on(connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))));
        rows.map_err(errors::statement)?.iter().map(texts).collect()
    }

    /// The first column of the first row.
    pub(super) fn text(&mut self, sql: &str) -> Result<Option<String>> {
        Ok(self.rows(sql)?.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    }

    /// Runs `COPY ... TO STDOUT`. `each` gets the server's messages, in text format one row each with its newline; `check`
    /// is asked now and then, also while the server is silent. After an error the session is of no more use.
    pub(super) fn copy_out(
        &mut self,
        sql: &str,
        check: &dyn Fn() -> Result<()>,
        each: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let Self { runtime, connection, .. } = self;
        runtime.block_on(async {
            let mut rows = connection.copy_out_raw(sql).await.map_err(errors::statement)?;
            let mut watch = tokio::time::interval(WATCH_INTERVAL);
            loop {
                tokio::select! {
                    biased;
                    row = rows.next() => match row {
                        Some(row) => each(&row.map_err(errors::statement)?)?,
                        None => return Ok(()),
                    },
                    _ = watch.tick() => check()?,
                }
            }
        })
    }

    /// Runs `COPY ... FROM STDIN` with what `fill` puts into the buffer, until it puts nothing. Answers the number of rows.
    pub(super) fn copy_in(&mut self, sql: &str, fill: &mut dyn FnMut(&mut Vec<u8>) -> Result<()>) -> Result<u64> {
        let Self { runtime, connection, .. } = self;
        runtime.block_on(async {
            let mut copy = connection.copy_in_raw(sql).await.map_err(errors::statement)?;
            let mut buffer = Vec::new();
            loop {
                buffer.clear();
                if let Err(error) = fill(&mut buffer) {
                    // The fault that counts is the reader's, not what the server says of the end.
                    let _ = copy.abort("the restore was stopped").await;
                    return Err(error);
                }
                if buffer.is_empty() {
                    return copy.finish().await.map_err(errors::statement);
                }
                copy.send(buffer.as_slice()).await.map_err(errors::statement)?;
            }
        })
    }

    /// Says good-bye, so that the server's log shows no lost connection.
    pub(super) fn close(self) {
        let Self { runtime, connection, .. } = self;
        let _ = runtime.block_on(connection.close());
    }
}

/// How many of [`LATER_LIMITS`] are worth trying after a session was lost at its beginning.
fn later_limits(error: &SourceError) -> &'static [usize] {
    match errors::code_of(error).as_deref() {
        Some(TRANSACTION_TOO_LONG) => &[2],
        // The end may come before its reason is read.
        Some(IDLE_TOO_LONG) | None => &[1, 2],
        Some(_) => &[],
    }
}

/// The options that lift all limits a server of this version knows, for a program's `PGOPTIONS`.
pub(super) fn no_limits(server_version: u32) -> String {
    let later =
        LATER_LIMITS.iter().filter(|(_, since)| server_version / 10_000 >= *since).map(|(name, _)| (*name, "0"));
    let options: Vec<String> =
        NO_LIMITS.into_iter().chain(later).map(|(name, value)| format!("-c {name}={value}")).collect();
    options.join(" ")
}

/// Connects in the ways that the settings' sslmode allows, one after the other; again while the server has no connection free.
fn connect(runtime: &Runtime, settings: &Settings, purpose: &str, later: usize) -> Result<PgConnection> {
    settings.tls.check_files()?;
    let began = Instant::now();
    loop {
        match connect_once(runtime, settings, purpose, later) {
            Err(error)
                if errors::code_of(&error).as_deref() == Some(NO_CONNECTION) && began.elapsed() < CONNECTION_LIMIT =>
            {
                std::thread::sleep(CONNECTION_POLL);
            }
            connected => return connected,
        }
    }
}

fn connect_once(runtime: &Runtime, settings: &Settings, purpose: &str, later: usize) -> Result<PgConnection> {
    let (first, second) = modes(settings);
    let connect_in = |mode| connect_in(runtime, settings, purpose, mode, later);
    match connect_in(first) {
        Err(error) if errors::code_of(&error).as_deref() == Some(NOT_LET_IN) => match second {
            // As PostgreSQL's own clients: pg_hba.conf may take only the other kind of connection.
            Some(second) => connect_in(second).map_err(|_| error),
            None => Err(error),
        },
        connected => connected,
    }
}

fn connect_in(
    runtime: &Runtime,
    settings: &Settings,
    purpose: &str,
    mode: PgSslMode,
    later: usize,
) -> Result<PgConnection> {
    let lifted = LATER_LIMITS.iter().take(later).map(|(name, _)| (*name, "0"));
    let options = options(settings, purpose, mode).options(lifted);
    runtime
        .block_on(async { tokio::time::timeout(CONNECT_LIMIT, PgConnection::connect_with(&options)).await })
        .map_err(|_| errors::no_answer(settings))?
        .map_err(|error| errors::connecting(settings, error))
}

/// How to encrypt, and how else when the server does not let that kind of connection in.
fn modes(settings: &Settings) -> (PgSslMode, Option<PgSslMode>) {
    if matches!(settings.host, Host::Socket(_)) {
        return (PgSslMode::Disable, None);
    }
    match settings.tls.mode {
        PgSslMode::Prefer => (PgSslMode::Prefer, Some(PgSslMode::Disable)),
        PgSslMode::Allow => (PgSslMode::Disable, Some(PgSslMode::Require)),
        // With a root certificate, require means what it means to PostgreSQL's own clients.
        PgSslMode::Require if settings.tls.root_certificate.is_some() => (PgSslMode::VerifyCa, None),
        mode => (mode, None),
    }
}

/// Names the databases that are there, where one of the usual ones lets us in.
fn with_databases(settings: &Settings, error: SourceError) -> SourceError {
    let names = ["postgres", "template1"].iter().find_map(|database| {
        let settings = settings.with_database(database);
        let runtime = Builder::new_current_thread().enable_all().build().ok()?;
        let connection = connect(&runtime, &settings, "trivault", 0).ok()?;
        let mut session = Session { runtime, connection, server_version: 0, settings };
        let names = session.rows(DATABASES).ok();
        session.close();
        names
    });
    let names: Vec<String> = names.into_iter().flatten().flat_map(|row| row.into_iter().flatten()).collect();
    if names.is_empty() {
        return error;
    }
    error.hint(format!("There are: {}.", names.join(", ")))
}

fn options(settings: &Settings, purpose: &str, mode: PgSslMode) -> PgConnectOptions {
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(settings.port)
        .username(&settings.user)
        .database(&settings.database)
        .password(settings.password.as_ref().map_or("", |password| password.expose()))
        .application_name(purpose)
        .ssl_mode(mode)
        .extra_float_digits(None)
        .options(NO_LIMITS)
        .statement_cache_capacity(0);
    options = match &settings.host {
        Host::Name(name) => options.host(name),
        Host::Socket(folder) => options.socket(folder),
    };
    if let Some(path) = &settings.tls.root_certificate {
        options = options.ssl_root_cert(path);
    }
    if let (Some(certificate), Some(key)) = (&settings.tls.client_certificate, &settings.tls.client_key) {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    options
}

fn texts(row: &PgRow) -> Result<TextRow> {
    let text = |index| {
        let value = row.try_get_raw(index).map_err(errors::statement)?;
        if value.is_null() {
            return Ok(None);
        }
        let text = value.as_str().map_err(|error| {
            SourceError::new(ErrorKind::Invalid, "The server sent a value that is not UTF-8.").because(error)
        })?;
        Ok(Some(text.to_owned()))
    };
    (0..row.len()).map(text).collect()
}

/// SQLSTATE of a statement that failed.
pub(super) fn sql_state(error: &SourceError) -> Option<String> {
    errors::code(error.source.as_ref()?.downcast_ref()?)
}

/// An identifier for a statement.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string for a statement, whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    if text.contains('\\') {
        return format!(" E'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    }
    format!("'{}'", text.replace('\'', "''"))
}
