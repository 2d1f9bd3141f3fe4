//! The configuration file as written: TOML, unknown keys refused with the nearest valid name.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::suggestion;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub data_dir: Option<PathBuf>,
    /// Origin for absolute URLs: `https://backup.example.org`.
    pub public_url: Option<String>,
    /// Hosts that clients may name besides loopback and own addresses.
    pub allowed_hosts: Vec<String>,
    /// Addresses or blocks (`10.0.0.0/8`) whose forwarding headers count.
    pub trusted_proxies: Option<Vec<String>>,
    /// Zone of plans, IANA name; otherwise the machine's.
    pub time_zone: Option<String>,
    pub key_file: Option<PathBuf>,
    /// 64 hex digits in an environment variable, where several nodes share the work.
    pub key_env: Option<String>,
    pub listeners: Vec<Listener>,
    pub database: Option<Database>,
    pub log: Log,
    pub limits: Limits,
    pub maintenance: Maintenance,
    pub care: Care,
    pub sources: Vec<Source>,
    pub stores: Vec<Store>,
    pub users: Vec<User>,
    pub arcgis: Arcgis,
    pub dbaas: Dbaas,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// `127.0.0.1:8097`
    pub address: String,
    /// All when absent.
    pub dialects: Option<Vec<String>>,
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM, leaf first.
    pub certificate: PathBuf,
    /// PEM.
    pub key: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgresql://user@host/db`, without password.
    pub url: Option<String>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub filter: Option<String>,
    /// `text` or `json`
    pub format: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Jobs at a time on this node.
    pub workers: Option<usize>,
    /// Jobs of one store at a time, on all nodes together.
    pub jobs_per_store: Option<u32>,
    /// Jobs of one source at a time, on all nodes together.
    pub jobs_per_source: Option<u32>,
    /// MiB that backups and restores may keep in flight.
    pub memory_mib: Option<u64>,
    /// MiB of a request's body.
    pub body_mib: Option<u64>,
    /// Seconds until a request must have been read.
    pub request_seconds: Option<u64>,
    /// Seconds that a stop waits for running jobs before it hands them back.
    pub stop_seconds: Option<u64>,
    /// Seconds that a worker may be silent before its job is taken over.
    pub lease_seconds: Option<u64>,
    /// zstd level, 1 to 19.
    pub compression_level: Option<i32>,
    /// Minutes after its time until a scheduled backup that has not succeeded is overdue; otherwise a fifth of the time between
    /// two runs, at least an hour.
    pub overdue_grace_minutes: Option<u64>,
}

/// Times in which new jobs wait.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Maintenance {
    /// Restores wait in the windows too.
    pub hold_restores: bool,
    pub windows: Vec<MaintenanceWindow>,
}

/// How often vaults are pruned and verified by themselves. 0 switches a rhythm off.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Care {
    /// At most so often after backups were deleted, hours.
    pub prune_hours: Option<u64>,
    /// How long what nothing needs stays before it is deleted, hours: longer than any backup or restore takes.
    pub keep_marked_hours: Option<u64>,
    /// Unused share of a pack that is left alone, percent.
    pub tolerated_unused_percent: Option<u32>,
    /// Most GiB that one prune moves; no limit when absent.
    pub repack_gib: Option<u64>,
    /// Checks of the structure, hours.
    pub structure_hours: Option<u64>,
    /// Reads of a share of the data, hours.
    pub data_hours: Option<u64>,
    /// Into how many shares the data is divided, 1 to 256.
    pub data_shares: Option<u32>,
    /// Reading the newest backups back whole, hours.
    pub restore_hours: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceWindow {
    /// Days on which it begins: `mon` to `sun`; every day when absent.
    #[serde(default)]
    pub days: Vec<String>,
    /// `22:00`
    pub from: String,
    /// `06:00`; not after `from` means on the next day.
    pub to: String,
    /// IANA name; the server's zone when absent.
    pub zone: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub name: String,
    /// `directory`, `sqlite` or `postgresql`
    pub kind: String,
    /// Of a directory or an SQLite database.
    pub path: Option<PathBuf>,
    /// `postgresql://user@host:port/database?sslmode=...`, without password.
    pub url: Option<String>,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<String>,
    #[serde(default)]
    pub options: BTreeMap<String, toml::Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    pub name: String,
    /// A directory, or `s3://bucket/prefix`.
    pub location: String,
    #[serde(default)]
    pub default: bool,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    pub path_style: Option<bool>,
    #[serde(default)]
    pub allow_http: bool,
    pub access_key_env: Option<String>,
    pub access_key_file: Option<PathBuf>,
    pub secret_key_env: Option<String>,
    pub secret_key_file: Option<PathBuf>,
    /// Seconds for the handshakes of a connection to S3.
    pub connect_seconds: Option<u64>,
    /// Seconds that S3 may be silent before it is given up; uploads are not limited by this.
    pub silence_seconds: Option<u64>,
    /// Seconds for one whole request to S3.
    pub request_seconds: Option<u64>,
    /// Seconds after which a request to S3 is not tried again.
    pub retry_seconds: Option<u64>,
    /// How often a request to S3 is sent in all.
    pub tries: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    /// `reader`, `operator` or `admin`
    pub role: String,
    pub password_file: Option<PathBuf>,
    pub password_env: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Arcgis {
    /// First path segments that are served; `context` and `arcgis` when absent.
    pub contexts: Option<Vec<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dbaas {
    /// Names under which this gateway is listed as a region; `local` when absent.
    pub regions: Option<Vec<String>>,
}

/// # Errors
/// A sentence with line, column and, for an unknown key, the nearest valid one.
pub fn parse(text: &str) -> Result<File, String> {
    toml::from_str(text).map_err(|error| {
        let place = error.span().map_or_else(String::new, |span| {
            let before = &text[..span.start.min(text.len())];
            let line = before.matches('\n').count() + 1;
            let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
            format!("Line {line}, column {column}: ")
        });
        let message = error.message();
        let sentence = suggestion::explain_unknown_field(message).unwrap_or_else(|| format!("{message}."));
        format!("{place}{sentence}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_with_place_and_nearest_name() {
        let sentence = parse("data_dir = \"/d\"\n[[listeners]]\naddres = \"127.0.0.1:1\"\n").unwrap_err();
        assert_eq!(sentence, "Line 3, column 1: `addres` is not a key here. Did you mean `address`?");
    }

    #[test]
    fn a_whole_file_is_understood() {
        let file = parse(include_str!("../../../../docs/trivault.example.toml")).unwrap();
        assert_eq!(file.listeners.len(), 2);
        assert_eq!(file.sources.len(), 3);
        assert_eq!(file.stores.len(), 2);
    }
}
