//! How values lie in columns: enumerations as words, structures as JSON text, sizes as signed integers.

use chrono::{DateTime, Datelike, Utc};
use serde::{Serialize, de::DeserializeOwned};

use super::failure::Sql;
use crate::{clock::whole_microseconds, domain::Error};

/// The word of an enumeration's value (its serde name).
pub(super) fn word<T: Serialize>(value: &T) -> Sql<String> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        Ok(_) | Err(_) => Err(Error::internal("A value that should be a word is none.").into()),
    }
}

pub(super) fn from_word<T: DeserializeOwned>(word: String) -> Sql<T> {
    serde_json::from_value(serde_json::Value::String(word))
        .map_err(|error| Error::internal("The metadata database holds an unknown word.").because(error).into())
}

pub(super) fn json<T: Serialize>(value: &T) -> Sql<String> {
    serde_json::to_string(value).map_err(|error| Error::internal("A value cannot be written.").because(error).into())
}

pub(super) fn from_json<T: DeserializeOwned>(text: &str) -> Sql<T> {
    serde_json::from_str(text)
        .map_err(|error| Error::internal("The metadata database holds an unreadable value.").because(error).into())
}

/// Sizes beyond 8 EiB are not told apart.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(if value < 0 { 0 } else { u32::MAX })
}

/// An instant that both databases keep and that sorts as text: within the years 0 to 9999.
pub(super) fn kept(at: Option<DateTime<Utc>>) -> Sql<Option<DateTime<Utc>>> {
    if at.is_some_and(|at| !(0..=9999).contains(&at.year())) {
        return Err(Error::invalid("A time beyond the year 9999 cannot be kept.").into());
    }
    Ok(at.map(whole_microseconds))
}

/// Text from outside (messages of other programs, file names in sentences) without the NUL that PostgreSQL refuses.
pub(super) fn printable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A name with a NUL names nothing; PostgreSQL would refuse the very question.
pub(super) fn askable(name: &str) -> bool {
    !name.contains('\0')
}
