//! Names of databases beside the target, and the statements that make, rename and drop them.
//!
//! Everything is built in a database of a temporary name. The state of a restore is what the server has under these names:
//! nothing else must be remembered to finish or undo it.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{
    ErrorKind, Result, SourceError,
    postgresql::{
        layout::DatabaseFacts,
        session::{Session, literal, quote, sql_state},
    },
};

/// Longest name of a database, bytes.
pub(super) const NAME_BYTES: usize = 63;
/// How long sessions that were told to end may take.
const QUIET_LIMIT: Duration = Duration::from_secs(15);
/// How often we look whether they have.
const QUIET_POLL: Duration = Duration::from_millis(100);
/// How long, and how often, we look before we ask the server, which itself looks ten times a second.
const GOING_LIMIT: Duration = Duration::from_millis(500);
const GOING_POLL: Duration = Duration::from_millis(5);
/// `object_in_use`
const IN_USE: &str = "55006";

/// The target and what lies beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Names {
    pub database: String,
    /// Where everything is built.
    pub temporary: String,
    /// Where the replaced database stays.
    pub kept: String,
}

impl Names {
    pub(super) fn new(database: &str, job: &str) -> Self {
        Self {
            database: database.to_owned(),
            temporary: beside(database, "tv", job),
            kept: beside(database, "before", job),
        }
    }
}

/// `name__mark_job`; of a long name only the beginning, so that the server does not cut off the job.
fn beside(name: &str, mark: &str, job: &str) -> String {
    let suffix = format!("__{mark}_{job}");
    let room = NAME_BYTES.saturating_sub(suffix.len());
    let mut end = name.len().min(room);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", name.get(..end).unwrap_or_default())
}

/// A database that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub oid: u32,
    pub allows_connections: bool,
}

pub(super) fn find(server: &mut Session, name: &str) -> Result<Option<Found>> {
    let rows = server.rows(&format!(
        "SELECT oid::text, datallowconn::text FROM pg_catalog.pg_database WHERE datname = {}",
        literal(name)
    ))?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let [Some(oid), Some(open)] = row.as_slice() else { return Ok(None) };
    let oid = oid.parse().map_err(|error| {
        SourceError::new(ErrorKind::Internal, "The server answered no number for a database.").because(error)
    })?;
    Ok(Some(Found { oid, allows_connections: open == "true" || open == "t" }))
}

/// Makes the empty database in which everything is built, with encoding and locale of the source.
pub(super) fn create(server: &mut Session, name: &str, facts: &DatabaseFacts) -> Result<()> {
    let mut statement = format!("CREATE DATABASE {} TEMPLATE template0", quote(name));
    for (option, value) in [("ENCODING", &facts.encoding), ("LC_COLLATE", &facts.collate), ("LC_CTYPE", &facts.ctype)] {
        if !value.is_empty() {
            statement.push_str(&format!(" {option} {}", literal(value)));
        }
    }
    if server.server_version() >= 150_000 {
        let provider = match facts.locale_provider.as_deref() {
            Some("i") => Some(("icu", "ICU_LOCALE")),
            Some("b") => Some(("builtin", "BUILTIN_LOCALE")),
            Some("c") => Some(("libc", "")),
            _ => None,
        };
        if let Some((provider, option)) = provider {
            statement.push_str(&format!(" LOCALE_PROVIDER {provider}"));
            if let Some(locale) = facts.icu_locale.as_ref().filter(|_| !option.is_empty()) {
                statement.push_str(&format!(" {option} {}", literal(locale)));
            }
            if let Some(rules) = &facts.icu_rules {
                statement.push_str(&format!(" ICU_RULES {}", literal(rules)));
            }
        }
    }
    server.execute(&statement).map_err(|error| match sql_state(&error).as_deref() {
        Some("42809" | "22023") => SourceError::new(
            ErrorKind::Unsupported,
            format!("The server cannot make a database with the backup's locale {}: {error}", facts.collate),
        )
        .hint("Install the locale on the server's machine and restart the server.")
        .because(error),
        _ => error,
    })
}

/// Drops a database whoever is still connected. Nothing happens where there is none.
pub(in crate::postgresql) fn drop_database(server: &mut Session, name: &str) -> Result<()> {
    let force = if server.server_version() >= 130_000 { " WITH (FORCE)" } else { "" };
    let statement = format!("DROP DATABASE IF EXISTS {}{force}", quote(name));
    match server.execute(&statement) {
        Err(error) if sql_state(&error).as_deref() == Some(IN_USE) => {
            drop_subscriptions(server, name)?;
            retried(server, name, &statement)
        }
        done => done,
    }
}

/// A database with a subscription cannot be dropped. The publisher's slot, if there is one, is another database's and stays.
fn drop_subscriptions(server: &mut Session, name: &str) -> Result<()> {
    let named = format!(
        "SELECT subname FROM pg_catalog.pg_subscription WHERE subdbid = \
         (SELECT oid FROM pg_catalog.pg_database WHERE datname = {})",
        literal(name)
    );
    let subscriptions: Vec<String> = server.rows(&named)?.into_iter().flatten().flatten().collect();
    if subscriptions.is_empty() {
        return Ok(());
    }
    let mut inside = server.beside(name, "trivault restore ends")?;
    super::server::in_unicode(&mut inside)?;
    for subscription in subscriptions.iter().map(|subscription| quote(subscription)) {
        inside.execute(&format!("ALTER SUBSCRIPTION {subscription} DISABLE"))?;
        inside.execute(&format!("ALTER SUBSCRIPTION {subscription} SET (slot_name = NONE)"))?;
        inside.execute(&format!("DROP SUBSCRIPTION {subscription}"))?;
    }
    inside.close();
    Ok(())
}

/// Renames a database whoever is still connected.
pub(super) fn rename(server: &mut Session, from: &str, to: &str) -> Result<()> {
    retried(server, from, &format!("ALTER DATABASE {} RENAME TO {}", quote(from), quote(to)))
}

/// Whether new sessions may be begun.
pub(super) fn allow_connections(server: &mut Session, name: &str, allowed: bool) -> Result<()> {
    server.execute(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS {allowed}", quote(name)))
}

/// Ends the database's sessions and runs a statement that wants it for itself.
fn retried(server: &mut Session, name: &str, statement: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        // Sessions that are not ours to end make the statement fail, and that says so.
        let _ = server.execute(&format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE datname = {} \
             AND pid <> pg_catalog.pg_backend_pid()",
            literal(name)
        ));
        while began.elapsed() < GOING_LIMIT && !is_quiet(server, name) {
            std::thread::sleep(GOING_POLL);
        }
        match server.execute(statement) {
            Err(error) if sql_state(&error).as_deref() == Some(IN_USE) => {
                if began.elapsed() > QUIET_LIMIT {
                    return Err(in_use(server, name, error));
                }
                std::thread::sleep(QUIET_POLL);
            }
            done => return done,
        }
    }
}

fn is_quiet(server: &mut Session, name: &str) -> bool {
    let sessions = server.text(&format!(
        "SELECT count(*)::text FROM pg_catalog.pg_stat_activity WHERE datname = {} AND pid <> pg_catalog.pg_backend_pid()",
        literal(name)
    ));
    sessions.is_ok_and(|count| count.as_deref() == Some("0"))
}

/// Says who does not leave.
fn in_use(server: &mut Session, name: &str, error: SourceError) -> SourceError {
    let who = server.rows(&format!(
        "SELECT pid::text, coalesce(usename::text, '?'), coalesce(nullif(application_name, ''), backend_type) \
         FROM pg_catalog.pg_stat_activity WHERE datname = {} AND pid <> pg_catalog.pg_backend_pid() ORDER BY 1 LIMIT 5",
        literal(name)
    ));
    let who: Vec<String> = who
        .unwrap_or_default()
        .into_iter()
        .map(|row| {
            let text = |index: usize| row.get(index).cloned().flatten().unwrap_or_default();
            format!("{} of {} (pid {})", text(2), text(1), text(0))
        })
        .collect();
    let by = if who.is_empty() { String::new() } else { format!(": {}", who.join(", ")) };
    SourceError::new(ErrorKind::Conflict, format!("The database {name} is still in use{by}."))
        .hint("Stop the application, or let the source's account end its sessions (role pg_signal_backend).")
        .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beside_the_target_keep_the_job_whole_however_long_the_targets_name_is() {
        let job = "0123456789abcdef0123456789abcdef";
        for name in ["d", &"x".repeat(63), &"ü".repeat(31), "\"odd\"\n"] {
            let names = Names::new(name, job);
            for made in [&names.temporary, &names.kept] {
                assert!(made.len() <= NAME_BYTES, "{made}");
                assert!(made.ends_with(&format!("_{job}")), "{made}");
            }
            assert_ne!(names.temporary, names.kept);
        }
        assert_eq!(Names::new("shop", "j1").temporary, "shop__tv_j1");
        assert_eq!(Names::new("shop", "j1").kept, "shop__before_j1");
    }
}
