//! Joins defaults, file, environment and command line into one checked configuration.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use trivault_engine::{
    CareOptions, MaintenanceWindow, NewSource, NewStore, Role, S3Patience, SecretText, schedule::Grace,
};
use trivault_http::Network;
use trivault_sources::{SourceConfig, postgresql};

use super::{
    file,
    listeners::{Listener, configured_listeners, contexts, listen, networks, origin},
    secret, source_argument, source_password, suggestion,
};
use crate::cli::args::{Common, LogFormat, ServeArguments};

#[derive(Clone, Debug)]
pub enum Database {
    /// `<data_dir>/trivault.db`
    Sqlite,
    Postgres {
        url: String,
        password: Option<SecretText>,
    },
}

#[derive(Clone, Debug)]
pub struct User {
    pub name: String,
    pub role: Role,
    pub password: SecretText,
}

/// Everything checked that can be checked without touching sources, stores or the database.
#[derive(Clone, Debug)]
pub struct Configuration {
    pub data_directory: PathBuf,
    pub public_url: Option<url::Url>,
    pub allowed_hosts: Vec<String>,
    pub trusted_proxies: Vec<Network>,
    pub zone: chrono_tz::Tz,
    pub key_file: Option<PathBuf>,
    pub key: Option<SecretText>,
    pub listeners: Vec<Listener>,
    pub database: Database,
    pub workers: usize,
    /// `None`: as many as there are workers.
    pub jobs_per_store: Option<u32>,
    pub jobs_per_source: Option<u32>,
    /// Bytes.
    pub memory: u64,
    /// Bytes.
    pub body_limit: usize,
    pub request_time: Duration,
    pub stop_time: Duration,
    pub lease: Duration,
    pub compression_level: i32,
    pub care: CareOptions,
    pub maintenance_windows: Vec<MaintenanceWindow>,
    pub maintenance_holds_restores: bool,
    /// How long after its time a scheduled backup may still succeed before it is overdue.
    pub overdue_grace: Grace,
    /// Managed ones; those of earlier starts that are missing here are detached.
    pub sources: Vec<NewSource>,
    pub stores: Vec<NewStore>,
    /// Of those on S3, by name.
    pub s3_patience: BTreeMap<String, S3Patience>,
    pub users: Vec<User>,
    pub contexts: Vec<String>,
    /// `None`: the dialect's own default.
    pub regions: Option<Vec<String>>,
    pub log_filter: Option<String>,
    pub log_format: LogFormat,
}

/// # Errors
/// A sentence that names the key and the rule.
pub fn resolve(common: &Common, serve: &ServeArguments) -> Result<Configuration, String> {
    let file = match &common.config {
        None => file::File::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("The configuration file {} cannot be read: {error}.", path.display()))?;
            file::parse(&text).map_err(|sentence| format!("{}: {sentence}", path.display()))?
        }
    };
    let here = std::env::current_dir().map_err(|error| format!("The working directory cannot be told: {error}."))?;
    join(file, common, serve, &here)
}

fn join(file: file::File, common: &Common, serve: &ServeArguments, here: &Path) -> Result<Configuration, String> {
    let file::File {
        data_dir,
        public_url,
        allowed_hosts,
        trusted_proxies,
        time_zone,
        key_file,
        key_env,
        listeners,
        database,
        log,
        limits,
        maintenance,
        care,
        sources,
        stores,
        users,
        arcgis,
        dbaas,
    } = file;
    let file::Limits {
        workers,
        jobs_per_store,
        jobs_per_source,
        memory_mib,
        body_mib,
        request_seconds,
        stop_seconds,
        lease_seconds,
        compression_level,
        overdue_grace_minutes,
    } = limits;
    let jobs_per = |key: &str, most: Option<u32>| most.map(|most| within(key, most, 1, 64)).transpose();
    let zone = match time_zone.as_deref() {
        Some(name) => zone("time_zone", name)?,
        None => machines_zone(),
    };
    let data_directory = common.data_dir.clone().or(data_dir).unwrap_or_else(default_data_directory);
    let (stores, s3_patience) = super::stores::all_stores(stores, here)?;
    if key_file.is_some() && key_env.is_some() {
        return Err("Give either key_file or key_env, not both.".to_owned());
    }
    Ok(Configuration {
        data_directory: source_argument::absolute(here, &data_directory),
        public_url: serve.public_url.clone().or(public_url).map(|text| origin(&text)).transpose()?,
        allowed_hosts,
        trusted_proxies: trusted_proxies.map_or_else(|| Ok(Network::loopback()), |texts| networks(&texts))?,
        zone,
        key_file,
        key: key_env.as_deref().map(secret::from_environment).transpose()?,
        listeners: if serve.listen.is_empty() { configured_listeners(listeners)? } else { listen(&serve.listen)? },
        database: database.map_or(Ok(Database::Sqlite), self::database)?,
        workers: within("limits.workers", workers.unwrap_or(2), 1, 64)?,
        jobs_per_store: jobs_per("limits.jobs_per_store", jobs_per_store)?,
        jobs_per_source: jobs_per("limits.jobs_per_source", jobs_per_source)?,
        memory: within("limits.memory_mib", memory_mib.unwrap_or(160), 64, 1 << 20)? << 20,
        body_limit: within("limits.body_mib", body_mib.unwrap_or(1), 1, 64)? as usize * 1024 * 1024,
        request_time: Duration::from_secs(within("limits.request_seconds", request_seconds.unwrap_or(30), 1, 3600)?),
        stop_time: Duration::from_secs(within("limits.stop_seconds", stop_seconds.unwrap_or(30), 0, 3600)?),
        lease: Duration::from_secs(within("limits.lease_seconds", lease_seconds.unwrap_or(60), 2, 3600)?),
        compression_level: within("limits.compression_level", compression_level.unwrap_or(2), 1, 19)?,
        care: super::care::options(&care)?,
        maintenance_windows: maintenance
            .windows
            .into_iter()
            .map(|window| super::maintenance::window(window, zone))
            .collect::<Result<_, _>>()?,
        maintenance_holds_restores: maintenance.hold_restores,
        overdue_grace: match overdue_grace_minutes {
            None => Grace::Proportional,
            Some(minutes) => {
                let minutes = within("limits.overdue_grace_minutes", minutes, 1, 60 * 24 * 365)?;
                Grace::Fixed(Duration::from_secs(minutes * 60))
            }
        },
        sources: all_sources(sources, &serve.source, here)?,
        stores,
        s3_patience,
        users: users.into_iter().map(user).collect::<Result<_, _>>()?,
        contexts: contexts(arcgis.contexts)?,
        regions: dbaas.regions,
        log_filter: common.log.clone().or(log.filter),
        log_format: match (common.log_format, log.format.as_deref()) {
            (Some(format), _) => format,
            (None, None | Some("text")) => LogFormat::Text,
            (None, Some("json")) => LogFormat::Json,
            (None, Some(other)) => return Err(format!("log.format is `{other}`; it can be `text` or `json`.")),
        },
    })
}

/// `/var/lib/trivault` for root, else `~/.local/share/trivault`.
fn default_data_directory() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/trivault");
    }
    match std::env::var_os("HOME") {
        Some(home) => PathBuf::from(home).join(".local/share/trivault"),
        None => PathBuf::from("trivault-data"),
    }
}

pub(super) fn within<T: PartialOrd + std::fmt::Display>(key: &str, value: T, least: T, most: T) -> Result<T, String> {
    if value < least || value > most {
        return Err(format!("{key} is {value}; it can be {least} to {most}."));
    }
    Ok(value)
}

fn machines_zone() -> chrono_tz::Tz {
    let machines = iana_time_zone::get_timezone().ok().and_then(|name| name.parse().ok());
    machines.unwrap_or(chrono_tz::UTC)
}

/// # Errors
/// A sentence with the nearest name.
pub fn zone(key: &str, name: &str) -> Result<chrono_tz::Tz, String> {
    name.parse().map_err(|_| {
        let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let hint = suggestion::nearest(name, known).map_or_else(String::new, |near| format!(" Did you mean `{near}`?"));
        format!("{key} `{name}` is not an IANA zone.{hint}")
    })
}

fn database(file::Database { url, password_file, password_env }: file::Database) -> Result<Database, String> {
    let Some(url) = url else { return Err("[database] names no url; leave the section out for SQLite.".to_owned()) };
    let parsed = url::Url::parse(&url).map_err(|error| format!("database.url is not a URL: {error}."))?;
    if !matches!(parsed.scheme(), "postgres" | "postgresql") {
        return Err("database.url must begin with postgresql://; SQLite is used when the section is absent.".to_owned());
    }
    if parsed.password().is_some() {
        return Err(
            "database.url holds a password; name it by database.password_file or password_env instead.".to_owned()
        );
    }
    let password = secret::referenced("database.password", password_file.as_deref(), password_env.as_deref())?;
    Ok(Database::Postgres { url, password })
}

fn all_sources(configured: Vec<file::Source>, arguments: &[String], here: &Path) -> Result<Vec<NewSource>, String> {
    let mut sources = Vec::new();
    for source in configured {
        sources.push(configured_source(source, here)?);
    }
    for text in arguments {
        let source = source_password::complete(source_argument::parse(text, here)?, None)?;
        sources.push(NewSource { managed: true, ..source });
    }
    for (position, source) in sources.iter().enumerate() {
        if sources[..position].iter().any(|other| other.name == source.name) {
            return Err(format!(
                "Two sources are called {}. Put another name in front of one: NAME=KIND:PATH.",
                source.name
            ));
        }
    }
    Ok(sources)
}

fn configured_source(source: file::Source, here: &Path) -> Result<NewSource, String> {
    let file::Source { name, kind, path, url, password_file, password_env, options } = source;
    source_argument::check_name(&name)?;
    let options = match serde_json::to_value(&options) {
        Ok(serde_json::Value::Object(options)) => options,
        Ok(_) | Err(_) => return Err(format!("The options of the source {name} cannot be understood.")),
    };
    let location = match (path, url, kind.as_str()) {
        (None, Some(url), postgresql::KIND) => postgresql::with_absolute_files(&url, here)
            .map_err(|error| format!("The source {name}: {}", source_argument::explained(&error)))?,
        (_, _, postgresql::KIND) => {
            return Err(format!(
                "The source {name} needs url = \"postgresql://USER@HOST:PORT/DATABASE\", and has no path."
            ));
        }
        (Some(path), None, _) => source_argument::absolute(here, &path).to_string_lossy().into_owned(),
        (_, _, _) => return Err(format!("The source {name} needs a path, and no url.")),
    };
    let key = format!("password of the source {name}: password");
    let password = secret::referenced(&key, password_file.as_deref(), password_env.as_deref())?;
    let config = SourceConfig { kind, location, options, never_capture: Vec::new(), secret: None };
    source_password::complete(NewSource { name: name.clone(), config, managed: true }, password)
        .map_err(|sentence| format!("The source {name}: {sentence}"))
}

fn user(file::User { name, role, password_file, password_env }: file::User) -> Result<User, String> {
    let role = match role.as_str() {
        "reader" => Role::Reader,
        "operator" => Role::Operator,
        "admin" => Role::Admin,
        other => return Err(format!("The role of {name} is `{other}`; it can be reader, operator or admin.")),
    };
    let password = secret::referenced("password", password_file.as_deref(), password_env.as_deref())?
        .ok_or_else(|| format!("The user {name} needs a password_file or password_env."))?;
    Ok(User { name, role, password })
}

#[cfg(test)]
mod tests {
    use super::{super::listeners::DEFAULT_LISTEN, *};

    fn joined(text: &str) -> Result<Configuration, String> {
        join(file::parse(text).unwrap(), &Common::default(), &ServeArguments::default(), Path::new("/here"))
    }

    #[test]
    fn without_a_file_everything_has_a_default() {
        let configuration = joined("").unwrap();
        assert_eq!(configuration.listeners[0].address, DEFAULT_LISTEN.parse().unwrap());
        assert_eq!(configuration.contexts, ["context", "arcgis"]);
        assert_eq!(configuration.memory, 160 << 20);
        assert!(configuration.sources.is_empty());
    }

    #[test]
    fn what_breaks_a_rule_is_refused_with_the_rule() {
        for (text, part) in [
            ("public_url = \"https://x/y\"", "origin alone"),
            ("[[listeners]]\naddress = \"8097\"", "IP:PORT"),
            ("[[listeners]]\naddress = \"127.0.0.1:1\"\ndialects = [\"redfish\"]", "not a dialect"),
            ("time_zone = \"Europe/Berln\"", "Did you mean `Europe/Berlin`"),
            ("[limits]\nworkers = 0", "1 to 64"),
            ("[limits]\njobs_per_store = 0", "limits.jobs_per_store is 0; it can be 1 to 64"),
            ("[limits]\njobs_per_source = 65", "1 to 64"),
            ("[arcgis]\ncontexts = [\"api\"]", "collides"),
            ("[database]\nurl = \"postgresql://u:secret@h/d\"", "holds a password"),
            ("[[stores]]\nname = \"x\"\nlocation = \"ftp://x\"", "not a place"),
            ("[[sources]]\nname = \"a b\"\nkind = \"sqlite\"\npath = \"x\"", "not a name"),
            ("[[sources]]\nname = \"x\"\nkind = \"sqlite\"\nurl = \"x\"", "needs a path"),
            ("[[sources]]\nname = \"x\"\nkind = \"postgresql\"\npath = \"x\"", "needs url"),
            (
                "[[sources]]\nname = \"x\"\nkind = \"postgresql\"\nurl = \"postgresql://u:secret@h/d\"",
                "holds a password",
            ),
            (
                "[[sources]]\nname = \"x\"\nkind = \"sqlite\"\npath = \"x\"\npassword_env = \"HOME\"",
                "takes no password",
            ),
            (
                "[[sources]]\nname = \"x\"\nkind = \"postgresql\"\nurl = \"postgresql://u@h/d\"\noptions = { wrkers = 1 }",
                "workers, pg_bin",
            ),
            ("key_file = \"a\"\nkey_env = \"B\"", "not both"),
        ] {
            let sentence = joined(text).unwrap_err();
            assert!(sentence.contains(part), "{text}: {sentence}");
            assert!(!sentence.contains("secret@"), "{sentence}");
        }
    }

    #[test]
    fn a_database_on_a_server_is_given_by_its_url_and_a_reference_to_its_password() {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, "hunter22\n").unwrap();
        let text = format!(
            "[[sources]]\nname = \"bank\"\nkind = \"postgresql\"\npassword_file = {password:?}\n\
             url = \"postgresql://ada@db.example/bank?sslmode=verify-full&sslrootcert=ca.pem\"\n\
             options = {{ workers = 4, lock_timeout_seconds = 10, whole_dump = true, pg_bin = \"/opt/pg/bin\" }}"
        );
        let configuration = joined(&text).unwrap();
        let [source] = configuration.sources.as_slice() else { panic!("{configuration:?}") };
        assert_eq!(source.config.secret.as_ref().unwrap().expose(), "hunter22");
        assert!(source.config.location.ends_with("sslrootcert=%2Fhere%2Fca.pem"), "{}", source.config.location);
        assert!(!format!("{configuration:?}").contains("hunter22"));
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = file::parse("data_dir = \"/file\"\n[[listeners]]\naddress = \"127.0.0.1:1\"").unwrap();
        let common = Common { data_dir: Some("relative".into()), ..Common::default() };
        let serve = ServeArguments { listen: vec!["localhost:0".to_owned()], ..ServeArguments::default() };
        let configuration = join(file, &common, &serve, Path::new("/here")).unwrap();
        assert_eq!(configuration.data_directory, Path::new("/here/relative"));
        assert_eq!(configuration.listeners[0].address, "127.0.0.1:0".parse().unwrap());
    }

    #[test]
    fn two_sources_of_one_name_are_refused() {
        let serve = ServeArguments { source: vec!["dir:a".into(), "sqlite:a.db".into()], ..ServeArguments::default() };
        let sentence = join(file::File::default(), &Common::default(), &serve, Path::new("/h")).unwrap_err();
        assert!(sentence.contains("Two sources are called a"), "{sentence}");
    }
}
