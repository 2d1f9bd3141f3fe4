//! The metadata database: SQLite by default, PostgreSQL when several nodes share the work.
//!
//! One method of [`Database`] is one transaction and one state change. Nothing of sqlx leaves this module. Methods trust
//! their caller for roles and for the form of names; they answer zero rows instead of wondering.
//!
//! Any method can fail with `DatabaseUnavailable`; where a name is taken, `AlreadyExists` of the noun.

mod backup_rows;
mod backups;
mod care;
mod claims;
mod connect;
mod endings;
mod failure;
mod hints;
mod installation;
mod job_rows;
mod jobs;
mod locks;
mod maintenance;
mod merges;
mod names;
mod occurrences;
mod passcode_vaults;
mod plans;
mod records;
mod recovery;
mod removals;
mod repositories;
mod retention;
mod runs;
mod schedule;
mod sources;
mod stores;
mod text;
mod together;
mod tokens;
mod tx;
mod users;
mod waiting;

use std::{path::PathBuf, sync::Arc};

use chrono::{DateTime, Utc};

pub(crate) use self::recovery::objects_of;
pub use self::{
    care::{PruningRow, VerificationRow},
    hints::Hints,
    names::ATTRIBUTE_LIMIT,
    records::*,
    tokens::ANCESTOR_LIMIT,
};
use crate::domain::{Proposal, SecretText};

/// What most files here need.
mod prelude {
    pub(super) use chrono::{DateTime, Utc};
    pub(super) use duplicate::duplicate_item;
    pub(super) use uuid::Uuid;

    pub(super) use super::{
        Database,
        failure::Sql,
        records::*,
        tx::{PostgresTx, SqliteTx, in_read, in_write},
    };
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
pub struct Database {
    pools: Arc<Pools>,
    together: Arc<together::Together>,
    /// Of one use of a database on the network.
    patience: std::time::Duration,
}

enum Pools {
    Sqlite(tx::SqlitePools),
    Postgres(tx::PostgresPool),
}

/// Most rows that one list answers.
pub const LIST_LIMIT: u32 = 100_000;
