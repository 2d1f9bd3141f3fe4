//! What goes wrong in the database, as the engine's errors.
//!
//! An unreachable, full or locked database is `DatabaseUnavailable`; a taken name is `AlreadyExists` of the table's noun; anything
//! else is a defect of ours.

use crate::domain::{Error, ErrorCode, Noun, ObjectKind};

/// Inside of `db` alone: either what sqlx says, or a refusal of ours that ends the transaction.
#[derive(Debug)]
pub(super) enum Failure {
    Sql(sqlx::Error),
    Refused(Error),
}

pub(super) type Sql<T> = Result<T, Failure>;

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Sql(error) => engine_error(error),
        }
    }
}

pub(super) fn engine_error(error: sqlx::Error) -> Error {
    if let Some(unavailable) = unavailable(&error) {
        return Error::new(ErrorCode::DatabaseUnavailable, unavailable)
            .hint("Check the metadata database: that it runs, is reachable, and has room.")
            .because(error);
    }
    if let sqlx::Error::Database(found) = &error {
        if found.is_unique_violation() {
            return taken(found.as_ref()).because(error);
        }
        // PostgreSQL's character_not_in_repertoire: a NUL in a text.
        if found.code().as_deref() == Some("22021") {
            return Error::invalid("A text holds a character that cannot be kept (NUL).").because(error);
        }
    }
    Error::internal("The metadata database refused a statement.").because(error)
}

fn unavailable(error: &sqlx::Error) -> Option<&'static str> {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            Some("The metadata database cannot be reached.")
        }
        sqlx::Error::PoolTimedOut => Some("The metadata database does not answer in time."),
        sqlx::Error::Database(found) => {
            let code = found.code().unwrap_or_default();
            if found.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                postgres_unavailable(&code)
            } else {
                sqlite_unavailable(&code)
            }
        }
        _ => None,
    }
}

/// By SQLSTATE: connection exceptions, no privilege to log in, out of resources, operator's intervention, system errors.
fn postgres_unavailable(code: &str) -> Option<&'static str> {
    if code == "25P03" {
        return Some("The metadata database ended a transaction that had rested for too long.");
    }
    match code.get(..2)? {
        "08" | "57" | "58" => Some("The metadata database cannot be reached."),
        "28" | "3D" => Some("The metadata database refuses the log-in."),
        "53" => Some("The metadata database is out of room or connections."),
        // Deadlock or serialization failure: the transaction took no effect and may be sent again.
        "40" => Some("The metadata database was too busy for this change."),
        _ => None,
    }
}

/// By primary result code (the lower byte of the extended one).
fn sqlite_unavailable(code: &str) -> Option<&'static str> {
    match code.parse::<i32>().ok()? & 0xff {
        5 | 6 => Some("The metadata database is locked by another process."),
        8 => Some("The metadata database cannot be written to."),
        10 | 14 => Some("The metadata database's file cannot be read or written."),
        11 | 26 => Some("The metadata database's file is damaged or no database."),
        13 => Some("The disk that holds the metadata database is full."),
        _ => None,
    }
}

fn taken(found: &dyn sqlx::error::DatabaseError) -> Error {
    // SQLite names the columns in its message: `UNIQUE constraint failed: sources.name`.
    let table = found.table().map(str::to_owned).or_else(|| {
        let (_, columns) = found.message().split_once("constraint failed: ")?;
        Some(columns.split_once('.')?.0.to_owned())
    });
    let (noun, thing) = match table.as_deref() {
        Some("sources") => (Noun::Source, "An attached source"),
        Some("stores") => (Noun::Store, "A store"),
        Some("vaults") => (Noun::Vault, "A vault"),
        Some("repositories") => (Noun::Repository, "A repository"),
        Some("plans") => (Noun::Plan, "A plan"),
        Some("backups") => (Noun::Backup, "A backup"),
        Some("parts") => (Noun::Part, "A part"),
        Some("jobs") => (Noun::Job, "A job"),
        Some("users") => (Noun::User, "A user"),
        Some("tokens") => (Noun::Token, "A token"),
        Some("aliases") => (Noun::Alias, "An object"),
        _ => return Error::internal("The metadata database refused a duplicate."),
    };
    Error::new(ErrorCode::AlreadyExists(noun), format!("{thing} of this name or place exists already."))
}

/// The noun by which dialects word an error about an object.
pub(super) fn noun_of(kind: ObjectKind) -> Noun {
    match kind {
        ObjectKind::Source => Noun::Source,
        ObjectKind::Store => Noun::Store,
        ObjectKind::Repository => Noun::Repository,
        ObjectKind::Plan => Noun::Plan,
        ObjectKind::Backup => Noun::Backup,
        ObjectKind::Part => Noun::Part,
        ObjectKind::Job => Noun::Job,
        ObjectKind::User => Noun::User,
        ObjectKind::Token => Noun::Token,
    }
}
