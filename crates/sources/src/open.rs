//! From a configuration to a driver.

use crate::{ErrorKind, Result, SourceConfig, SourceDriver, SourceError, directory, postgresql, sqlite};

/// The kinds of source that this build knows, in the order in which a person should read them.
pub const KINDS: [&str; 3] = [postgresql::KIND, sqlite::KIND, directory::KIND];

/// Binds a driver to a configured place. Nothing is touched: whether the place is there is for
/// [`SourceDriver::probe`] to say.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for an unknown kind, [`ErrorKind::Invalid`] for a place or an option that no driver could
/// use.
pub fn open(config: &SourceConfig) -> Result<Box<dyn SourceDriver>> {
    match config.kind.as_str() {
        postgresql::KIND => Ok(Box::new(postgresql::PostgresqlSource::new(config)?)),
        sqlite::KIND => Ok(Box::new(sqlite::SqliteSource::new(config)?)),
        directory::KIND => Ok(Box::new(directory::DirectorySource::new(config)?)),
        unknown => {
            Err(SourceError::new(ErrorKind::Unsupported, format!("There is no kind of source called `{unknown}`."))
                .hint(format!("Known kinds are: {}.", KINDS.join(", "))))
        }
    }
}

/// Whether two configurations mean the same live data, however they reach it: another password, another account or another
/// way of encrypting the connection does not make another source.
pub fn is_same_place(one: &SourceConfig, other: &SourceConfig) -> bool {
    if one.kind != other.kind {
        return false;
    }
    match one.kind.as_str() {
        postgresql::KIND => postgresql::is_same_database(one, other),
        _ => one.location == other.location,
    }
}

/// Whether [`open`] would accept the configuration.
///
/// # Errors
/// As [`open`].
pub fn validate(config: &SourceConfig) -> Result<()> {
    open(config).map(drop)
}
