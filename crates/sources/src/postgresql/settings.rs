//! Where the database is and how it is reached: `postgresql://USER@HOST:PORT/DATABASE?sslmode=...` and options.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use sqlx::postgres::PgSslMode;
use url::Url;

use crate::{ErrorKind, Result, Secret, SourceConfig, SourceError};

/// The port of a server that names none.
const DEFAULT_PORT: u16 = 5432;
/// Connections that read or write rows at the same time, unless `workers` says otherwise.
const DEFAULT_WORKERS: usize = 2;

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub host: Host,
    pub port: u16,
    pub user: String,
    pub database: String,
    pub password: Option<Secret>,
    pub tls: Tls,
    /// Connections that read or write rows at the same time.
    pub workers: usize,
    /// Folder with `pg_dump` and `pg_restore`; without, they are looked for.
    pub pg_bin: Option<PathBuf>,
    /// Seconds that a capture waits for the locks of the tables.
    pub lock_timeout_seconds: u32,
    /// Take the rows from `pg_dump`'s stream instead of our own `COPY`.
    pub whole_dump: bool,
    /// Restore without owners and privileges where the server lacks roles of the backup, instead of refusing.
    pub ignore_missing_roles: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    /// The folder of the server's unix socket.
    Socket(PathBuf),
}

#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub mode: PgSslMode,
    pub root_certificate: Option<PathBuf>,
    pub client_certificate: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

/// Bundles of the authorities that this machine trusts, where distributions keep them.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

impl Tls {
    /// What is given must fit together; a server's certificate is checked against this machine's authorities unless another
    /// one is named, by our connections and by `pg_dump` alike.
    fn settled(mut self) -> Result<Self> {
        if self.client_certificate.is_some() != self.client_key.is_some() {
            return Err(invalid("sslcert and sslkey of a PostgreSQL URL are given together."));
        }
        if matches!(self.mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull) && self.root_certificate.is_none() {
            self.root_certificate = BUNDLES.iter().map(PathBuf::from).find(|bundle| bundle.is_file());
        }
        Ok(self)
    }

    /// # Errors
    /// [`ErrorKind::Missing`] for a file of the URL that is not there.
    pub(super) fn check_files(&self) -> Result<()> {
        let Self { mode, root_certificate, client_certificate, client_key } = self;
        if root_certificate.is_none() && matches!(mode, PgSslMode::VerifyCa | PgSslMode::VerifyFull) {
            return Err(SourceError::new(ErrorKind::Missing, "This machine knows no authorities of certificates.")
                .hint("Name one by sslrootcert in the URL, or install ca-certificates."));
        }
        for (key, path) in [("sslrootcert", root_certificate), ("sslcert", client_certificate), ("sslkey", client_key)]
        {
            let Some(path) = path else { continue };
            std::fs::File::open(path).map_err(|error| {
                let sentence = format!("The file {} of {key} cannot be read: {error}.", path.display());
                SourceError::new(ErrorKind::Missing, sentence)
                    .hint("The server's account must be able to read it.")
                    .because(error)
            })?;
        }
        Ok(())
    }
}

impl Settings {
    pub(super) fn new(config: &SourceConfig) -> Result<Self> {
        let url = parsed(&config.location)?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(invalid(format!(
                "`{}` does not begin with postgresql://.",
                without_password(&config.location)
            )));
        }
        if url.password().is_some() {
            return Err(invalid("The URL of a PostgreSQL source holds a password.")
                .hint("Leave it out of the URL and give it by PGPASSWORD, PGPASSFILE or password_file."));
        }
        let mut host = url.host_str().filter(|host| !host.is_empty()).map(decoded);
        let (mut user, mut port) = (decoded(url.username()), url.port());
        let mut database = decoded(url.path().trim_start_matches('/'));
        let mut tls =
            Tls { mode: PgSslMode::Prefer, root_certificate: None, client_certificate: None, client_key: None };
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "host" => host = Some(value.into_owned()),
                "port" => port = Some(value.parse().map_err(|_| invalid(format!("`{value}` is not a port.")))?),
                "user" => user = value.into_owned(),
                "dbname" => database = value.into_owned(),
                "sslmode" => tls.mode = value.parse().map_err(|_| invalid(format!("`{value}` is not an sslmode.")))?,
                "sslrootcert" => tls.root_certificate = Some(value.as_ref().into()),
                "sslcert" => tls.client_certificate = Some(value.as_ref().into()),
                "sslkey" => tls.client_key = Some(value.as_ref().into()),
                other => {
                    return Err(invalid(format!("`{other}` is not understood in the URL of a PostgreSQL source.")));
                }
            }
        }
        let host = match host {
            None => Host::Name("localhost".to_owned()),
            Some(folder) if folder.starts_with('/') => Host::Socket(folder.into()),
            Some(name) => Host::Name(name.trim_matches(['[', ']']).to_owned()),
        };
        if user.is_empty() {
            return Err(invalid("The URL of a PostgreSQL source names no user.")
                .hint("Write postgresql://USER@HOST:PORT/DATABASE."));
        }
        if database.is_empty() {
            database.clone_from(&user);
        }
        let mut settings = Self {
            host,
            port: port.unwrap_or(DEFAULT_PORT),
            user,
            database,
            password: config.secret.clone(),
            tls: tls.settled()?,
            workers: DEFAULT_WORKERS,
            pg_bin: None,
            lock_timeout_seconds: 30,
            whole_dump: false,
            ignore_missing_roles: false,
        };
        for (key, value) in &config.options {
            match (key.as_str(), value) {
                ("workers", value) => {
                    let workers = value.as_u64().filter(|workers| (1..=16).contains(workers));
                    settings.workers =
                        workers.ok_or_else(|| invalid("The option `workers` is a number from 1 to 16."))? as usize;
                }
                ("pg_bin", serde_json::Value::String(folder)) => settings.pg_bin = Some(folder.into()),
                ("lock_timeout_seconds", value) => {
                    let seconds = value.as_u64().filter(|seconds| (1..=3600).contains(seconds));
                    let seconds = seconds
                        .ok_or_else(|| invalid("The option `lock_timeout_seconds` is a number from 1 to 3600."))?;
                    settings.lock_timeout_seconds = seconds as u32;
                }
                ("whole_dump", serde_json::Value::Bool(whole)) => settings.whole_dump = *whole,
                ("missing_roles", serde_json::Value::String(what)) => {
                    settings.ignore_missing_roles = match what.as_str() {
                        "refuse" => false,
                        "ignore" => true,
                        _ => return Err(invalid("The option `missing_roles` is \"refuse\" or \"ignore\".")),
                    };
                }
                (other, _) => {
                    return Err(invalid(format!(
                        "The option `{other}` is not understood, or has a value of a wrong type."
                    ))
                    .hint("A PostgreSQL source takes workers, pg_bin, lock_timeout_seconds, whole_dump and missing_roles."));
                }
            }
        }
        Ok(settings)
    }

    /// The same server, another database.
    pub(super) fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// As a person would type it, without the parts that are as always.
    pub(super) fn location(&self) -> String {
        let place = match &self.host {
            Host::Name(name) => format!("{name}:{}", self.port),
            Host::Socket(folder) => folder.display().to_string(),
        };
        format!("{}@{place}/{}", self.user, self.database)
    }
}

fn parsed(location: &str) -> Result<Url> {
    Url::parse(&with_host(location)).map_err(|error| {
        invalid(format!("`{}` is not a PostgreSQL URL: {error}.", without_password(location)))
            .hint("Write postgresql://USER@HOST:PORT/DATABASE.")
            .because(error)
    })
}

/// libpq takes `postgresql://user@/database?host=/folder`; a URL with a user must have a host.
fn with_host(location: &str) -> String {
    let scheme = location.find("://").map_or(0, |end| end + 3);
    let authority = location.split_at(scheme).1.split(['/', '?']).next().unwrap_or_default();
    let host = authority.rfind('@').map_or(0, |at| at + 1);
    let without = authority.split_at(host).1;
    if host > 0 && (without.is_empty() || without.starts_with(':')) {
        let (before, after) = location.split_at(scheme + host);
        return format!("{before}localhost{after}");
    }
    location.to_owned()
}

fn set_parameters(url: &mut Url, parameters: Vec<(String, String)>) {
    url.set_query(None);
    if !parameters.is_empty() {
        url.query_pairs_mut().extend_pairs(parameters);
    }
}

fn parameters(url: &Url) -> Vec<(String, String)> {
    url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

/// `location` with its files named from the root.
pub(super) fn with_absolute_files(location: &str, working_directory: &Path) -> Result<String> {
    let mut url = parsed(location)?;
    let mut parameters = parameters(&url);
    let mut changed = false;
    for (key, value) in &mut parameters {
        if matches!(key.as_str(), "sslrootcert" | "sslcert" | "sslkey") && Path::new(value.as_str()).is_relative() {
            *value = working_directory.join(value.as_str()).to_string_lossy().into_owned();
            changed = true;
        }
    }
    if !changed {
        return Ok(location.to_owned());
    }
    set_parameters(&mut url, parameters);
    Ok(url.into())
}

/// `location` with another database.
pub(super) fn with_database(location: &str, database: &str) -> Result<String> {
    let mut url = parsed(location)?;
    let mut others = parameters(&url);
    others.retain(|(key, _)| key != "dbname");
    set_parameters(&mut url, others);
    url.path_segments_mut()
        .map_err(|()| invalid("The URL of a PostgreSQL source has no place for a database."))?
        .clear()
        .push(database);
    Ok(url.into())
}

fn invalid(sentence: impl Into<String>) -> SourceError {
    SourceError::new(ErrorKind::Invalid, sentence)
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// For messages about URLs that cannot be parsed: nothing between `:` and `@`.
fn without_password(location: &str) -> String {
    let Some((scheme, rest)) = location.split_once("://") else { return location.to_owned() };
    match rest.split_once('@') {
        Some((user, rest)) => format!("{scheme}://{}@{rest}", user.split(':').next().unwrap_or_default()),
        None => location.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_be_left_out_as_in_other_clients() {
        let folder = Host::Socket("/run/pg".into());
        for (location, host, port, database) in [
            ("postgresql://app@/shop?host=/run/pg&port=5499", folder.clone(), 5499, "shop"),
            ("postgresql://app@?host=/run/pg", folder.clone(), 5432, "app"),
            ("postgresql://app@%2Frun%2Fpg:5499/shop", folder, 5499, "shop"),
            ("postgresql://app@:5433/shop", Host::Name("localhost".to_owned()), 5433, "shop"),
            ("postgresql://a%40b@db.example/shop?sslmode=require", Host::Name("db.example".to_owned()), 5432, "shop"),
        ] {
            let config = SourceConfig {
                kind: "postgresql".to_owned(),
                location: location.to_owned(),
                options: serde_json::Map::new(),
                never_capture: Vec::new(),
                secret: None,
            };
            let settings = Settings::new(&config).unwrap();
            assert_eq!(
                (settings.host, settings.port, settings.database.as_str()),
                (host, port, database),
                "{location}"
            );
        }
    }
}
