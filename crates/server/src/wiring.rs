//! Puts the pieces together: which dialects there are, and how the engine is opened for them.

use std::{path::PathBuf, sync::Arc};

use trivault_dialect_arcgis::Arcgis;
use trivault_dialect_couchbase::Couchbase;
use trivault_dialect_dbaas::Dbaas;
use trivault_engine::{DatabaseLocation, Engine, EngineOptions, SecretText, ServerKey, ServerKeyLocation};
use trivault_http::Dialect;

use crate::{
    cli::session::sentence,
    config::{Configuration, Database},
};

/// All dialects. A further one is a folder and a line here.
///
/// # Errors
/// A sentence when a dialect refuses its settings.
pub fn dialects(configuration: &Configuration) -> Result<Vec<Arc<dyn Dialect>>, String> {
    let regions = match &configuration.regions {
        Some(regions) => trivault_dialect_dbaas::Options::new(regions.clone())?,
        None => trivault_dialect_dbaas::Options::default(),
    };
    Ok(vec![
        Arc::new(Couchbase::new(configuration.zone)),
        Arc::new(Arcgis::new(trivault_dialect_arcgis::Settings { contexts: configuration.contexts.clone() })),
        Arc::new(Dbaas::new(regions)),
    ])
}

/// Opens the engine; starts nothing. As the server of its data directory, or for a command beside one.
///
/// # Errors
/// A sentence: no key, another owner of the data directory, a second server, a database that does not answer or is newer
/// than this binary.
pub async fn open_engine(configuration: &Configuration, server: bool) -> Result<Engine, String> {
    open_engine_with(configuration, server, server_key(configuration)?).await
}

/// The same under a key that the configuration does not name.
///
/// # Errors
/// As [`open_engine`].
pub async fn open_engine_with(
    configuration: &Configuration,
    server: bool,
    server_key: ServerKeyLocation,
) -> Result<Engine, String> {
    let options = EngineOptions {
        server,
        database: database(&configuration.database)?,
        server_key,
        node_name: node_name(),
        lease: configuration.lease,
        workers: configuration.workers,
        jobs_per_store: configuration.jobs_per_store,
        jobs_per_source: configuration.jobs_per_source,
        memory_budget: configuration.memory,
        zstd_level: configuration.compression_level,
        zone: configuration.zone,
        s3_patience: configuration.s3_patience.clone(),
        care: configuration.care,
        overdue_grace: configuration.overdue_grace,
        observer: if server { crate::halt::observer()? } else { None },
        clock: crate::halt::clock()?,
        namers: dialects(configuration)?.iter().map(|dialect| dialect.namer()).collect(),
        ..EngineOptions::new(configuration.data_directory.clone())
    };
    Engine::open(options).await.map_err(sentence)
}

fn database(database: &Database) -> Result<DatabaseLocation, String> {
    match database {
        Database::Sqlite => Ok(DatabaseLocation::Sqlite(PathBuf::from("trivault.db"))),
        Database::Postgres { url, password: None } => Ok(DatabaseLocation::Postgres(SecretText::new(url.clone()))),
        Database::Postgres { url, password: Some(password) } => {
            let mut parsed = url::Url::parse(url).map_err(|error| format!("database.url is not a URL: {error}."))?;
            parsed
                .set_password(Some(password.expose()))
                .map_err(|()| "database.url can carry no password.".to_owned())?;
            Ok(DatabaseLocation::Postgres(SecretText::new(parsed.to_string())))
        }
    }
}

/// Where the configuration says that the server key is.
///
/// # Errors
/// A sentence when the environment holds none.
pub fn server_key(configuration: &Configuration) -> Result<ServerKeyLocation, String> {
    if let Some(text) = &configuration.key {
        return ServerKey::parse(text.expose().trim().as_bytes()).map(ServerKeyLocation::Given).map_err(sentence);
    }
    Ok(match &configuration.key_file {
        Some(path) => ServerKeyLocation::File(path.clone()),
        None => ServerKeyLocation::DataDirectory,
    })
}

/// The machine's name, for people who read `jobs show`.
fn node_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "trivault".to_owned(), |name| name.trim().to_owned())
}
