//! The metadata database: SQLite by default, PostgreSQL when several nodes share the work.
//!
//! One method of [`Database`] is one transaction and one state change. Nothing of sqlx leaves this module. Methods trust
//! their caller for roles and for the form of names; they answer zero rows instead of wondering.

mod backups;
mod installation;
mod jobs;
mod locks;
mod names;
mod plans;
mod records;
mod repositories;
mod runs;
mod schedule;
mod sources;
mod stores;
mod tokens;
mod users;

use std::path::PathBuf;

use chrono::{DateTime, Utc};

pub use self::records::*;
use crate::domain::{Error, Proposal, Result, SecretText};

/// What most files here need.
mod prelude {
    #![allow(unused_imports)]
    pub(super) use std::collections::HashMap;

    pub(super) use chrono::{DateTime, Utc};
    pub(super) use trivault_sources::Warning;
    pub(super) use uuid::Uuid;

    pub(super) use super::{Database, NamesAt, records::*, unfinished};
    pub(super) use crate::domain::*;
}

/// Which database to use.
#[derive(Clone, Debug)]
pub enum DatabaseOptions {
    /// The file is created when it is absent; its directory must exist.
    Sqlite { path: PathBuf },
    /// `postgres://user:password@host:port/database`.
    Postgres { url: SecretText },
}

/// Names of a backup, which depend on the point that is fixed in the same transaction.
pub type NamesAt<'a> = &'a (dyn Fn(DateTime<Utc>) -> Vec<Proposal> + Send + Sync);

/// Handle to the metadata database; cheap to clone.
#[derive(Clone)]
pub struct Database {}

fn unfinished<T>() -> Result<T> {
    Err(Error::internal("unfinished"))
}

impl Database {
    /// # Errors
    /// `DatabaseUnavailable`.
    pub async fn connect(options: &DatabaseOptions) -> Result<Self> {
        let _ = options;
        unfinished()
    }

    /// Brings the schema up to this binary's version.
    ///
    /// # Errors
    /// `Unsupported` when the schema is newer than the binary.
    pub async fn migrate(&self) -> Result<()> {
        unfinished()
    }

    /// # Errors
    /// `DatabaseUnavailable`.
    pub async fn ping(&self) -> Result<()> {
        unfinished()
    }

    /// Closes all connections, after those in use have come back.
    pub async fn close(&self) {}
}
