//! Everything that would make a capture fail or is worth a warning (sources.md sections 2a and 2b).

use sqlx::postgres::PgSslMode;

use super::{
    errors,
    session::{Session, quote},
    settings::{Host, Settings},
    tools::Tools,
};
use crate::{ErrorKind, Finding, Result, Severity, SourceError};

/// Oldest version of a server, `server_version_num`.
const OLDEST_SERVER: u32 = 120_000;
/// Names of things in one sentence.
const MOST_NAMES: usize = 10;
/// Connections of a capture beside its workers': the one with the snapshot, pg_dump's and pg_dumpall's.
const FURTHER_CONNECTIONS: i64 = 3;
/// Where PgBouncer usually listens.
const BOUNCER_PORT: u16 = 6432;

/// Relations that a dump locks and reads: not those that belong to an extension, unless it has them dumped.
const DUMPED: &str = "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
     WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e' \
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig)))";

/// Whether we are superuser, or the setting makes large objects everybody's.
const READS_ALL_LARGE_OBJECTS: &str = "SELECT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) \
     OR current_setting('lo_compat_privileges')::boolean";

/// Large objects that we may not read.
const HIDDEN_LARGE_OBJECTS: &str = "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata m \
     WHERE NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE') AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a \
     WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))";

/// What the role or the database is set to that would end a long statement.
const LIMITS: &str = "SELECT DISTINCT unnested FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) unnested \
     WHERE (s.setdatabase = 0 OR s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
     AND (s.setrole = 0 OR s.setrole = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)) \
     AND split_part(unnested, '=', 1) IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', \
     'transaction_timeout', 'idle_session_timeout', 'row_security') ORDER BY 1";

const CONNECTIONS: &str = "SELECT current_setting('max_connections')::bigint \
     - current_setting('superuser_reserved_connections')::bigint - (SELECT sum(numbackends) FROM pg_catalog.pg_stat_database), \
     (SELECT rolconnlimit FROM pg_catalog.pg_roles WHERE rolname = current_user AND NOT rolsuper)";

/// One finding, with the kind of error that it would be.
struct Found {
    kind: ErrorKind,
    finding: Finding,
}

pub(super) fn probe(settings: &Settings) -> Vec<Finding> {
    let (mut findings, session) = look(settings);
    if let Some(session) = session {
        session.close();
    }
    // What would fail first, then what is worth a thought.
    findings.sort_by_key(|found| std::cmp::Reverse(found.finding.severity));
    findings.into_iter().map(|found| found.finding).collect()
}

/// A connection to a database that can be captured.
///
/// # Errors
/// The first thing that would make a capture fail.
pub(super) fn refuse(settings: &Settings) -> Result<Session> {
    let (findings, session) = look(settings);
    let obstacle = findings.into_iter().find(|found| found.finding.severity == Severity::Error);
    let Some(Found { kind, finding: Finding { severity: _, sentence, hint } }) = obstacle else {
        // Without a finding there is a connection.
        return session
            .ok_or_else(|| SourceError::new(ErrorKind::Internal, "A connection is neither there nor refused."));
    };
    let mut error = SourceError::new(kind, sentence);
    error.hint = hint;
    Err(error)
}

fn look(settings: &Settings) -> (Vec<Found>, Option<Session>) {
    let mut look = Look { settings, found: Vec::new() };
    look.encryption();
    let tools = Tools::find(settings);
    if let Err(error) = &tools {
        look.error(error.kind, error.sentence.clone(), error.hint.clone());
    }
    let session = match Session::open(settings, "trivault source test") {
        Ok(mut session) => {
            look.server(&mut session, tools.as_ref().ok());
            Some(session)
        }
        Err(error) => {
            look.failed(error);
            None
        }
    };
    (look.found, session)
}

struct Look<'a> {
    settings: &'a Settings,
    found: Vec<Found>,
}

impl Look<'_> {
    fn fine(&mut self, sentence: impl Into<String>, hint: Option<&str>) {
        self.add(Severity::Fine, ErrorKind::Internal, sentence.into(), hint.map(str::to_owned));
    }

    fn warn(&mut self, sentence: impl Into<String>, hint: &str) {
        self.add(Severity::Warning, ErrorKind::Internal, sentence.into(), Some(hint.to_owned()));
    }

    fn error(&mut self, kind: ErrorKind, sentence: String, hint: Option<String>) {
        self.add(Severity::Error, kind, sentence, hint);
    }

    fn failed(&mut self, error: SourceError) {
        self.error(error.kind, error.sentence, error.hint);
    }

    fn add(&mut self, severity: Severity, kind: ErrorKind, sentence: String, hint: Option<String>) {
        self.found.push(Found { kind, finding: Finding { severity, sentence, hint } });
    }

    /// What can be said before there is a connection.
    fn encryption(&mut self) {
        let Host::Name(name) = &self.settings.host else { return };
        let is_here = name == "localhost" || name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        if is_here {
            return;
        }
        match self.settings.tls.mode {
            PgSslMode::Disable | PgSslMode::Allow => self.warn(
                format!("The connection to {name} is not encrypted: everybody on the way can read the data."),
                "Add sslmode=verify-full&sslrootcert=FILE to the URL.",
            ),
            PgSslMode::Require if self.settings.tls.root_certificate.is_some() => {}
            PgSslMode::Prefer | PgSslMode::Require => self.warn(
                format!("Whether {name} is the right server is not checked (sslmode)."),
                "Add sslmode=verify-full&sslrootcert=FILE to the URL.",
            ),
            PgSslMode::VerifyCa | PgSslMode::VerifyFull => {}
        }
    }

    fn server(&mut self, session: &mut Session, tools: Option<&Tools>) {
        let checks: [fn(&mut Self, &mut Session) -> Result<()>; 9] = [
            Self::facts,
            Self::pooler,
            Self::schemas,
            Self::tables,
            Self::row_security,
            Self::large_objects,
            Self::standby,
            Self::limits,
            Self::connections,
        ];
        self.versions(session.server_version(), tools);
        for check in checks {
            if let Err(error) = check(self, session) {
                let is_over = errors::code_of(&error).is_none();
                self.failed(error);
                if is_over {
                    return;
                }
            }
        }
        self.fine(
            "Roles are kept in roles.sql, their passwords (pg_authid) never.".to_owned(),
            Some("On another server, give restored roles new passwords."),
        );
    }

    fn versions(&mut self, server: u32, tools: Option<&Tools>) {
        let major = server / 10_000;
        if server < OLDEST_SERVER {
            self.error(
                ErrorKind::Unsupported,
                format!("The server is PostgreSQL {major}; backups need 12 or newer."),
                Some("Update the server.".to_owned()),
            );
        }
        let Some(tools) = tools else { return };
        if tools.major < major {
            self.error(
                ErrorKind::Unsupported,
                format!("pg_dump {} is older than the server, which is PostgreSQL {major}: it refuses to dump it.", tools.version),
                Some(format!(
                    "Install it: apt-get install postgresql-client-{major} (from apt.postgresql.org where the distribution has \
                     none), or name another folder by the option pg_bin."
                )),
            );
        } else {
            self.fine(format!("Backups are made with pg_dump {}.", tools.version), None);
        }
    }

    fn facts(&mut self, session: &mut Session) -> Result<()> {
        let facts = session.rows(
            "SELECT current_setting('server_version'), current_setting('server_encoding'), \
             pg_catalog.pg_size_pretty(pg_catalog.pg_database_size(current_database()))",
        )?;
        let fact = |index: usize| facts.first().and_then(|row| row.get(index)?.clone()).unwrap_or_default();
        self.fine(
            format!(
                "{} answers: PostgreSQL {}, {} in encoding {}.",
                self.settings.location(),
                fact(0),
                fact(2),
                fact(1)
            ),
            None,
        );
        if fact(1) == "SQL_ASCII" {
            self.warn(
                "The database's encoding is SQL_ASCII: the server does not know what its texts are.",
                "They are kept byte by byte, and fit into a database of the same encoding only.",
            );
        }
        Ok(())
    }

    /// A pooler between us and the server answers for a database that the server does not have.
    fn pooler(&mut self, session: &mut Session) -> Result<()> {
        let port = session.text("SELECT current_setting('port')")?;
        if port == Some(self.settings.port.to_string()) && self.settings.port != BOUNCER_PORT {
            return Ok(());
        }
        let is_pooler = match Session::open(&self.settings.with_database("pgbouncer"), "trivault source test") {
            Ok(mut console) => console.text("SHOW VERSION").is_ok_and(|text| text.is_some()),
            Err(error) => matches!(errors::code_of(&error).as_deref(), Some("08P01" | "0A000")),
        };
        if is_pooler {
            self.error(
                ErrorKind::Unsupported,
                format!("PgBouncer answers at port {}, not PostgreSQL itself.", self.settings.port),
                Some(format!(
                    "A snapshot cannot be held through it; name the server's own address (its port is {}).",
                    port.unwrap_or_default()
                )),
            );
        }
        Ok(())
    }

    fn schemas(&mut self, session: &mut Session) -> Result<()> {
        let hidden = names(session.rows(&format!(
            "SELECT DISTINCT n.nspname {DUMPED} AND c.relkind IN ('r', 'p', 'S') \
             AND NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') ORDER BY 1"
        ))?);
        if !hidden.is_empty() {
            let user = quote(&self.settings.user);
            self.error(
                ErrorKind::Denied,
                format!("User {} may not use {}.", self.settings.user, listed("the schema", "the schemas", &hidden)),
                Some(grant(session, &format!("GRANT USAGE ON SCHEMA {} TO {user}", hidden.join(", ")), &user)),
            );
        }
        Ok(())
    }

    fn tables(&mut self, session: &mut Session) -> Result<()> {
        for (kinds, one, many, what) in
            [("'r', 'p'", "the table", "the tables", "TABLE"), ("'S'", "the sequence", "the sequences", "SEQUENCE")]
        {
            let hidden = names(session.rows(&format!(
                "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) {DUMPED} AND c.relkind IN ({kinds}) \
                 AND NOT pg_catalog.has_table_privilege(c.oid, 'SELECT') ORDER BY 1"
            ))?);
            if !hidden.is_empty() {
                let user = quote(&self.settings.user);
                self.error(
                    ErrorKind::Denied,
                    format!("User {} may not read {}.", self.settings.user, listed(one, many, &hidden)),
                    Some(grant(session, &format!("GRANT SELECT ON {what} {} TO {user}", hidden[0]), &user)),
                );
            }
        }
        Ok(())
    }

    fn row_security(&mut self, session: &mut Session) -> Result<()> {
        let filtered = names(session.rows(&format!(
            "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) {DUMPED} AND c.relkind IN ('r', 'p') \
             AND c.relrowsecurity AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
             AND pg_catalog.row_security_active(c.oid) ORDER BY 1"
        ))?);
        if !filtered.is_empty() {
            self.error(
                ErrorKind::Denied,
                format!(
                    "Row-level security hides rows of {} from user {}.",
                    listed("the table", "the tables", &filtered),
                    self.settings.user
                ),
                Some(format!("ALTER ROLE {} BYPASSRLS", quote(&self.settings.user))),
            );
        }
        Ok(())
    }

    fn large_objects(&mut self, session: &mut Session) -> Result<()> {
        let count = number(session.text("SELECT count(*) FROM pg_catalog.pg_largeobject_metadata")?);
        if count == 0 {
            return Ok(());
        }
        let all = session.text(READS_ALL_LARGE_OBJECTS)?.as_deref() == Some("t");
        let hidden = if all { 0 } else { number(session.text(HIDDEN_LARGE_OBJECTS)?) };
        if hidden == 0 {
            self.fine(format!("The database holds {count} large objects."), None);
            return Ok(());
        }
        self.error(
            ErrorKind::Denied,
            format!("User {} may not read {hidden} of the {count} large objects.", self.settings.user),
            Some("Back up as their owner, as a member of the owner's role, or as superuser.".to_owned()),
        );
        Ok(())
    }

    fn standby(&mut self, session: &mut Session) -> Result<()> {
        if session.text("SELECT pg_catalog.pg_is_in_recovery()")?.as_deref() != Some("t") {
            return Ok(());
        }
        if session.text("SELECT current_setting('hot_standby_feedback')")?.as_deref() == Some("on") {
            self.fine("The server is a standby.", None);
        } else {
            self.warn(
                "The server is a standby that may end a backup when the primary removes rows that it reads.",
                "Turn hot_standby_feedback on, or raise max_standby_streaming_delay.",
            );
        }
        let unlogged = names(session.rows(&format!(
            "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) {DUMPED} AND c.relkind = 'r' \
             AND c.relpersistence = 'u' ORDER BY 1"
        ))?);
        if !unlogged.is_empty() {
            self.warn(
                format!(
                    "A standby has no rows of {}, which is not logged.",
                    listed("the table", "the tables", &unlogged)
                ),
                "Its rows are not in the backup; back up the primary to have them.",
            );
        }
        Ok(())
    }

    fn limits(&mut self, session: &mut Session) -> Result<()> {
        let limits = names(session.rows(LIMITS)?);
        if !limits.is_empty() {
            let sentence = format!("The role or the database is set to {}.", limits.join(", "));
            self.fine(sentence, Some("Backups lift these limits for their own connections."));
        }
        Ok(())
    }

    fn connections(&mut self, session: &mut Session) -> Result<()> {
        let row = session.rows(CONNECTIONS)?.into_iter().next().unwrap_or_default();
        let mut row = row.into_iter();
        let (free, own) = (number(row.next().flatten()), row.next().flatten());
        let own = own.map_or(-1, |own| number(Some(own)));
        let needed = i64::try_from(self.settings.workers).unwrap_or(i64::MAX).saturating_add(FURTHER_CONNECTIONS);
        // This very connection is given back before a capture begins.
        if free.saturating_add(1) < needed {
            self.warn(
                format!("The server has {} free connections; a backup takes {needed}.", free.max(0)),
                "Lower the source's option workers, or raise max_connections.",
            );
        }
        if (0..needed).contains(&own) {
            self.warn(
                format!("User {} may have {own} connections; a backup takes {needed}.", self.settings.user),
                "Lower the source's option workers, or ALTER ROLE ... CONNECTION LIMIT -1.",
            );
        }
        Ok(())
    }
}

/// One statement that gives the right, or, where the server has it, the role that gives them all.
fn grant(session: &Session, single: &str, user: &str) -> String {
    if session.server_version() >= 140_000 {
        format!("{single}; or for everything at once: GRANT pg_read_all_data TO {user}")
    } else {
        single.to_owned()
    }
}

fn names(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
    rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
}

fn number(text: Option<String>) -> i64 {
    text.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn listed(one: &str, many: &str, names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len() {
        1 => format!("{one} {shown}"),
        count if count > MOST_NAMES => format!("{count} of {many}: {shown} and others"),
        _ => format!("{many} {shown}"),
    }
}
