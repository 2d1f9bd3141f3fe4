//! One database of a PostgreSQL server (12 and newer).
//!
//! A capture holds one exported snapshot: the table of contents comes from the first kilobytes of `pg_dump`, the rows from
//! parallel `COPY` of our own in that snapshot, cut into blocks at rows. From these parts the custom-format archive that
//! `pg_restore` reads is put together again, and a restore loads them back the same way. shared/sources.md section 2 has
//! what was measured and why.

mod capture;
mod digest;
mod download;
mod dump;
mod errors;
mod estimate;
mod layout;
mod plain;
mod probe;
mod restore;
mod session;
mod settings;
mod tools;

use std::sync::Arc;

pub use self::digest::TableDigest;
#[doc(hidden)]
pub use self::dump::exercise_archive;
use self::settings::Settings;
use crate::{
    CaptureManifest, CaptureSink, Estimate, Finding, Interrupted, PartReader, PartRestorePlan, PartRestoreRequest,
    RandomRead, RestoreOutcome, Result, SourceConfig, SourceDriver, Timestamp,
};

/// The kind's name in configurations and manifests.
pub const KIND: &str = "postgresql";

/// Whether two configurations mean one database of one server.
pub(crate) fn is_same_database(one: &SourceConfig, other: &SourceConfig) -> bool {
    let place = |config: &SourceConfig| {
        let Settings { host, port, database, .. } = Settings::new(config).ok()?;
        Some((host, port, database))
    };
    one.location == other.location || place(one).is_some_and(|one| place(other) == Some(one))
}

/// Where a URL leads to, without how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, or the folder of a unix socket.
    pub host: String,
    pub port: u16,
    pub user: String,
    pub database: String,
}

/// # Errors
/// As [`PostgresqlSource::new`].
pub fn address(config: &SourceConfig) -> Result<Address> {
    let Settings { host, port, user, database, .. } = Settings::new(config)?;
    let host = match host {
        settings::Host::Name(name) => name,
        settings::Host::Socket(folder) => folder.to_string_lossy().into_owned(),
    };
    Ok(Address { host, port, user, database })
}

/// The version of the `pg_dump` that this source's backups would be made with.
///
/// # Errors
/// [`crate::ErrorKind::Missing`], with the package to install.
pub fn tool_version(config: &SourceConfig) -> Result<String> {
    Ok(tools::Tools::find(&Settings::new(config)?)?.version)
}

/// Counts and digests of the rows of every table, as they are now.
///
/// # Errors
/// Where the database cannot be reached or read.
pub fn table_digests(config: &SourceConfig) -> Result<Vec<TableDigest>> {
    digest::digests(&Settings::new(config)?)
}

/// Removes another database of the source's server, if it is there.
///
/// # Errors
/// Where the account may not.
pub fn drop_database(config: &SourceConfig, name: &str) -> Result<()> {
    let mut server = session::Session::open(&Settings::new(config)?, "trivault clean-up")?;
    restore::drop_database(&mut server, name)?;
    server.close();
    Ok(())
}

/// The URL with its files named from the root, so that it means the same wherever a later command runs.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] when `location` is no URL.
pub fn with_absolute_files(location: &str, working_directory: &std::path::Path) -> Result<String> {
    settings::with_absolute_files(location, working_directory)
}

/// The URL of another database on the same server, reached in the same way.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] when `location` is no URL of a PostgreSQL source.
pub fn with_database(location: &str, database: &str) -> Result<String> {
    settings::with_database(location, database)
}

/// A database on a server.
#[derive(Clone, Debug)]
pub struct PostgresqlSource {
    settings: Settings,
}

impl PostgresqlSource {
    /// # Errors
    /// [`crate::ErrorKind::Invalid`] for a URL or an option that cannot be understood, and for a URL with a password in it.
    pub fn new(config: &SourceConfig) -> Result<Self> {
        Ok(Self { settings: Settings::new(config)? })
    }
}

impl SourceDriver for PostgresqlSource {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn location(&self) -> String {
        self.settings.location()
    }

    fn probe(&self) -> Vec<Finding> {
        probe::probe(&self.settings)
    }

    fn estimate(&self) -> Result<Estimate> {
        estimate::estimate(&self.settings)
    }

    fn capture(&self, sink: &dyn CaptureSink) -> Result<CaptureManifest> {
        capture::capture(&self.settings, sink)
    }

    fn plan_restore(&self, part: &dyn PartReader, request: &PartRestoreRequest) -> Result<PartRestorePlan> {
        restore::plan(&self.settings, part, request)
    }

    fn restore(&self, part: &dyn PartReader, plan: &PartRestorePlan) -> Result<RestoreOutcome> {
        restore::restore(&self.settings, part, plan)
    }

    fn resume_restore(&self, plan: &PartRestorePlan) -> Result<Interrupted> {
        restore::resume(&self.settings, plan)
    }

    fn download(&self, part: Arc<dyn PartReader>, stem: &str, modified: Timestamp) -> Result<Box<dyn RandomRead>> {
        download::download(part, stem, modified)
    }

    fn archive(&self, part: Arc<dyn PartReader>) -> Result<Box<dyn RandomRead>> {
        Ok(Box::new(dump::Assembled::open(part)?))
    }

    fn export_sql(&self, part: Arc<dyn PartReader>, out: &mut dyn std::io::Write) -> Result<()> {
        plain::plain_sql(&self.settings, part, out)
    }
}
