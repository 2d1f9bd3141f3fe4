//! Notices live databases among files: a copy of their files while they run is not a backup of them.

use super::names::Names;

/// A database that a directory's names give away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LiveDatabase<'n> {
    /// The name of the database's file.
    Sqlite(&'n [u8]),
    PostgreSql,
    MySql,
    Redis,
}

impl LiveDatabase<'_> {
    pub fn what(self) -> &'static str {
        match self {
            Self::Sqlite(_) => "an SQLite database that is in use",
            Self::PostgreSql => "the data directory of a PostgreSQL server",
            Self::MySql => "the data directory of a MySQL or MariaDB server",
            Self::Redis => "the dump file of a Redis server",
        }
    }
}

/// The first live database among `names`, if there is one.
pub(super) fn live_database(names: &Names) -> Option<LiveDatabase<'_>> {
    // Every database of a cluster has a PG_VERSION; only the cluster itself has `global`.
    if names.contains(b"PG_VERSION") && names.contains(b"global") {
        return Some(LiveDatabase::PostgreSql);
    }
    if names.contains(b"ibdata1") {
        return Some(LiveDatabase::MySql);
    }
    if names.contains(b"dump.rdb") {
        return Some(LiveDatabase::Redis);
    }
    names
        .iter()
        .filter_map(|name| name.strip_suffix(b"-wal"))
        .find(|database| !database.is_empty() && names.contains(database))
        .map(LiveDatabase::Sqlite)
}
