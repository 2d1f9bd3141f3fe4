//! Whether the backup's database fits onto the server: its encoding and locale, and its size.

use std::path::Path;

use crate::{
    ErrorKind, Result, SourceError,
    postgresql::{
        layout::DatabaseFacts,
        session::{Session, literal, sql_state},
        settings::{Host, Settings},
    },
    sizes::{free_bytes, human},
};

use super::{plan::Work, server::Facts};

/// Since when a server has locales of ICU, and its own, for whole databases.
const ICU_SINCE: u32 = 150_000;
const BUILT_IN_SINCE: u32 = 170_000;
/// Every server has them.
const ALWAYS_THERE: [&str; 3] = ["", "C", "POSIX"];
/// Of every server.
const TABLESPACES: usize = 2;
/// SQLSTATE of a locale that the server's machine does not have.
const NO_LOCALE: [&str; 2] = ["22023", "42809"];

/// The server can make a database of the backup's locale.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where it surely cannot.
pub(super) fn locale(server: &mut Session, facts: &DatabaseFacts) -> Result<()> {
    match facts.locale_provider.as_deref() {
        Some("i") if server.server_version() < ICU_SINCE || !has_icu(server)? => {
            return Err(no_locale(&format!("{} of ICU", facts.icu_locale.as_deref().unwrap_or_default()))
                .hint("Restore on a server of version 15 or newer that is built with ICU."));
        }
        Some("b") if server.server_version() < BUILT_IN_SINCE => {
            return Err(no_locale(&format!(
                "{} of PostgreSQL itself",
                facts.icu_locale.as_deref().unwrap_or_default()
            ))
            .hint("Restore on a server of version 17 or newer."));
        }
        _ => {}
    }
    for name in [&facts.collate, &facts.ctype] {
        if !ALWAYS_THERE.contains(&name.as_str()) && !is_known(server, name)? && !works(server, facts, name) {
            return Err(no_locale(name).hint("Install the locale on the server's machine and restart the server."));
        }
    }
    Ok(())
}

fn no_locale(name: &str) -> SourceError {
    SourceError::new(
        ErrorKind::Unsupported,
        format!("The server has no locale {name}, which the backup's database has."),
    )
}

fn has_icu(server: &mut Session) -> Result<bool> {
    let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collprovider = 'i')";
    Ok(server.text(there)?.as_deref() == Some("t"))
}

/// Something on the server has the locale.
fn is_known(server: &mut Session, name: &str) -> Result<bool> {
    let name = literal(name);
    let known = server.text(&format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collprovider = 'c' AND {name} IN (collcollate, collctype)) \
         OR EXISTS (SELECT FROM pg_catalog.pg_database WHERE {name} IN (datcollate, datctype))"
    ))?;
    Ok(known.as_deref() == Some("t"))
}

/// Whether the server takes the name; true as well when that cannot be found out here. Its list of collations is as old as the
/// server, and has other spellings (`en_US.utf8`).
fn works(server: &mut Session, facts: &DatabaseFacts, name: &str) -> bool {
    let encoding = server.text("SELECT current_setting('server_encoding')");
    if encoding.ok().flatten().as_deref() != Some(facts.encoding.as_str()) {
        // Another one of the locale's and of this database could not be told from a locale that is not there.
        return true;
    }
    let made = server.execute(&format!(
        "BEGIN; CREATE COLLATION pg_temp.trivault_locale (PROVIDER = libc, LOCALE = {})",
        literal(name)
    ));
    let _ = server.execute("ROLLBACK");
    made.err().and_then(|error| sql_state(&error)).is_none_or(|code| !NO_LOCALE.contains(&code.as_str()))
}

/// What a restore will take on the server's disk.
pub(super) struct Wanted {
    /// As much as the database had, or as its rows have as text, whichever is less: indexes and dead rows make the one larger,
    /// compression the other.
    least: u64,
    /// What the source's database took, bytes; `None` of a part.
    likely: Option<u64>,
}

impl Wanted {
    /// `bytes`: of the chosen rows.
    pub(super) fn new(facts: &DatabaseFacts, bytes: u64, whole: bool) -> Self {
        Self { least: bytes.min(facts.size), likely: Some(facts.size).filter(|_| whole) }
    }
}

/// Says how much space is needed.
///
/// # Errors
/// [`ErrorKind::Full`] where the server is on this machine and its disk surely has too little.
pub(super) fn space(
    server: &mut Session,
    settings: &Settings,
    facts: &Facts,
    wanted: &Wanted,
    work: Work,
) -> Result<Vec<String>> {
    let likely = wanted.likely.unwrap_or(wanted.least);
    let beside = if work == Work::Swap { ", beside the database that is replaced" } else { "" };
    let mut steps = vec![format!("Takes about {} on the server's disk{beside}.", human(likely))];
    // With tablespaces of its own a server has several disks.
    if !matches!(settings.host, Host::Socket(_)) || facts.tablespaces.len() > TABLESPACES {
        return Ok(steps);
    }
    let directory = server.text("SELECT current_setting('data_directory', true)").ok().flatten();
    let Some(free) = directory.and_then(|directory| free_bytes(Path::new(&directory))) else { return Ok(steps) };
    if free < wanted.least {
        return Err(SourceError::new(
            ErrorKind::Full,
            format!("The restore needs {}, and the server's disk has {} left.", human(wanted.least), human(free)),
        )
        .hint("Free some space there, or restore on another server."));
    }
    if free < likely {
        steps.push(format!("Warning: the server's disk has {} left.", human(free)));
    }
    Ok(steps)
}
