//! What the server says, as a kind, a sentence and a hint (sources.md section 2a).

use sqlx::postgres::PgDatabaseError;

use super::settings::Settings;
use crate::{ErrorKind, SourceError};

/// A connection that did not come about.
pub(super) fn connecting(settings: &Settings, error: sqlx::Error) -> SourceError {
    let place = settings.location();
    match code(&error).as_deref() {
        Some("28P01") => {
            SourceError::new(ErrorKind::Denied, format!("PostgreSQL refused the password for user {}.", settings.user))
                .hint("The user may also not exist; check both.")
        }
        _ => SourceError::new(ErrorKind::Unavailable, format!("{place} cannot be reached: {}.", message(&error))),
    }
    .because(error)
}

pub(super) fn no_answer(settings: &Settings) -> SourceError {
    SourceError::new(ErrorKind::Unavailable, format!("{} gave no answer in 10 seconds.", settings.location()))
        .hint("Check host, port and firewall.")
}

/// A statement that failed.
pub(super) fn statement(error: sqlx::Error) -> SourceError {
    let sentence = format!("PostgreSQL: {}.", message(&error));
    let kind = match code(&error).as_deref() {
        Some("42501") => ErrorKind::Denied,
        Some("57P01" | "57P02" | "57P03" | "53300" | "55P03" | "40001") => ErrorKind::Unavailable,
        Some("53100") => ErrorKind::Full,
        Some(_) => ErrorKind::Invalid,
        None => ErrorKind::Unavailable,
    };
    SourceError::new(kind, sentence).because(error)
}

/// SQLSTATE, where the server sent the error.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

fn message(error: &sqlx::Error) -> String {
    let told = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    match told {
        Some(told) => told.message().trim_end_matches('.').to_owned(),
        None => error.to_string().trim_end_matches('.').to_owned(),
    }
}
