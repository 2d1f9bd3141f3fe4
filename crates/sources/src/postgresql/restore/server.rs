//! The target's server, reached through a database that is not the target, and what it has.

use std::collections::BTreeSet;

use crate::{
    Result,
    postgresql::{
        session::{Session, TextRow, literal, sql_state},
        settings::Settings,
    },
};

/// Databases that every server has; one of them is not the target.
const ALWAYS_THERE: [&str; 2] = ["postgres", "template1"];

/// A connection for statements about databases: not to the target, for it may have to be renamed.
///
/// # Errors
/// As for any connection.
pub(super) fn open(settings: &Settings, target: &str, purpose: &str) -> Result<Session> {
    let mut candidates: Vec<&str> = ALWAYS_THERE.into_iter().filter(|name| *name != target).collect();
    if settings.database != target && !candidates.contains(&settings.database.as_str()) {
        candidates.push(&settings.database);
    }
    let mut first = None;
    for name in candidates {
        match Session::open(&settings.with_database(name), purpose) {
            Ok(mut session) => {
                in_unicode(&mut session)?;
                return Ok(session);
            }
            // No such database, not let in, closed: another one may do. Anything else would be the same there.
            Err(error) if matches!(sql_state(&error).as_deref(), Some("3D000" | "42501" | "28000" | "55000")) => {
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(first
        .unwrap_or_else(|| crate::SourceError::new(crate::ErrorKind::Internal, "There is no database to connect to.")))
}

/// Our statements are UTF-8. Rows say their encoding with each `COPY`.
pub(super) fn in_unicode(session: &mut Session) -> Result<()> {
    session.execute("SET client_encoding = 'UTF8'; SET default_transaction_read_only = off")
}

/// What the server has and what we may do there.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub version: u32,
    pub superuser: bool,
    pub may_create: bool,
    pub in_recovery: bool,
    pub roles: BTreeSet<String>,
    /// Roles to which we may give things.
    pub ours: BTreeSet<String>,
    pub tablespaces: BTreeSet<String>,
}

impl Facts {
    pub(super) fn read(server: &mut Session) -> Result<Self> {
        let version = server.server_version();
        let rights = server.rows(
            "SELECT rolsuper::text, rolcreatedb::text, pg_catalog.pg_is_in_recovery()::text \
             FROM pg_catalog.pg_roles WHERE rolname = current_user",
        )?;
        let right = |index: usize| rights.first().and_then(|row| row.get(index)?.as_deref()) == Some("true");
        Ok(Self {
            version,
            superuser: right(0),
            may_create: right(0) || right(1),
            in_recovery: right(2),
            roles: first_column(server, "SELECT rolname FROM pg_catalog.pg_roles")?,
            ours: first_column(
                server,
                "SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.pg_has_role(oid, 'MEMBER')",
            )?,
            tablespaces: first_column(server, "SELECT spcname FROM pg_catalog.pg_tablespace")?,
        })
    }

    pub(super) fn major(&self) -> u32 {
        self.version / 10_000
    }
}

/// What could be created on the server. Read only where a backup has extensions: the server opens all their files for it.
pub(super) struct Extensions {
    pub available: BTreeSet<String>,
    /// Those that only a superuser may create.
    pub untrusted: BTreeSet<String>,
}

impl Extensions {
    pub(super) fn read(server: &mut Session) -> Result<Self> {
        let trusted = if server.server_version() >= 130_000 { "AND NOT trusted" } else { "" };
        Ok(Self {
            available: first_column(server, "SELECT name FROM pg_catalog.pg_available_extensions")?,
            untrusted: first_column(
                server,
                &format!(
                    "SELECT name FROM pg_catalog.pg_available_extension_versions \
                     GROUP BY name HAVING bool_and(superuser {trusted})"
                ),
            )?,
        })
    }
}

/// The version that the server's machine has of the collation that the backup's database was sorted by.
pub(super) fn collation_version(server: &mut Session, collate: &str) -> Result<Option<String>> {
    if server.server_version() < 150_000 {
        return Ok(None);
    }
    server.text(&format!(
        "SELECT pg_catalog.pg_database_collation_actual_version(oid) FROM pg_catalog.pg_database \
         WHERE datcollate = {} AND datlocprovider = 'c' LIMIT 1",
        literal(collate)
    ))
}

/// The same of a locale of ICU. The column's name depends on the server's version.
pub(super) fn icu_version(server: &mut Session, locale: &str) -> Result<Option<String>> {
    server.text(&format!(
        "SELECT pg_catalog.pg_collation_actual_version(oid) FROM pg_catalog.pg_collation c WHERE collprovider = 'i' \
         AND coalesce(to_json(c)->>'colllocale', to_json(c)->>'colliculocale', collcollate) = {} LIMIT 1",
        literal(locale)
    ))
}

fn first_column(server: &mut Session, sql: &str) -> Result<BTreeSet<String>> {
    Ok(server.rows(sql)?.into_iter().filter_map(|row: TextRow| row.into_iter().next().flatten()).collect())
}
