//! `trivault check-config`.

use serde_json::json;
use trivault_engine::{NewSource, StoreLocation};
use trivault_sources::postgresql;

use super::args::{CheckConfigArguments, Common, ServeArguments};
use crate::{
    config::{self, Configuration, Database, source_argument::explained},
    output,
};

pub fn run(common: &Common, arguments: &CheckConfigArguments) -> Result<(), String> {
    let configuration = config::resolve::resolve(common, &ServeArguments::default())?;
    for source in &configuration.sources {
        let refused = |error| format!("The source {}: {}", source.name, explained(&error));
        trivault_sources::validate(&source.config).map_err(refused)?;
        if source.config.kind == postgresql::KIND {
            postgresql::tool_version(&source.config).map_err(refused)?;
        }
    }
    if arguments.json {
        return output::json(&described(&configuration));
    }
    let mut table = output::Table::new(&["SETTING", "VALUE"]);
    for (setting, value) in rows(&configuration) {
        table.row(vec![setting, value]);
    }
    table.print()?;
    output::line("\nThe configuration is good.")
}

/// A limit that can be absent.
fn most(jobs: Option<u32>) -> String {
    jobs.map_or_else(|| "no limit of their own".to_owned(), |jobs| jobs.to_string())
}

fn database(configuration: &Configuration) -> String {
    match &configuration.database {
        Database::Sqlite => format!("SQLite in {}", configuration.data_directory.join("trivault.db").display()),
        Database::Postgres { url, password: _ } => url.clone(),
    }
}

fn store(location: &StoreLocation) -> String {
    match location {
        StoreLocation::Local { path } => path.clone(),
        StoreLocation::S3 { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}"),
    }
}

fn rows(configuration: &Configuration) -> Vec<(String, String)> {
    let mut rows = vec![
        ("data directory".to_owned(), configuration.data_directory.display().to_string()),
        ("metadata".to_owned(), database(configuration)),
        ("time zone".to_owned(), configuration.zone.name().to_owned()),
        (
            "public URL".to_owned(),
            configuration.public_url.as_ref().map_or("from each request".to_owned(), ToString::to_string),
        ),
        ("jobs at a time".to_owned(), configuration.workers.to_string()),
        ("jobs of one store".to_owned(), most(configuration.jobs_per_store)),
        ("jobs of one source".to_owned(), most(configuration.jobs_per_source)),
        ("memory in flight".to_owned(), output::bytes(configuration.memory)),
        ("ArcGIS contexts".to_owned(), configuration.contexts.join(", ")),
    ];
    let care = &configuration.care;
    for (name, every) in [
        ("prune after deletions", care.prune_every),
        ("check of the structure", care.structure_every),
        ("read of a share of the data", care.data_every),
        ("restore test", care.restore_every),
    ] {
        rows.push((name.to_owned(), config::care::described(every)));
    }
    for window in &configuration.maintenance_windows {
        rows.push(("maintenance window".to_owned(), super::maintenance::described(window)));
    }
    for listener in &configuration.listeners {
        let scheme = if listener.tls.is_some() { "https" } else { "http" };
        let dialects = listener.dialects.as_ref().map_or("all dialects".to_owned(), |names| names.join(", "));
        rows.push(("listener".to_owned(), format!("{scheme}://{} ({dialects})", listener.address)));
    }
    for source in &configuration.sources {
        rows.push(("source".to_owned(), described_source(source)));
    }
    if configuration.stores.is_empty() {
        rows.push((
            "store".to_owned(),
            format!("default: {}", configuration.data_directory.join("stores").join("default").display()),
        ));
    }
    for new in &configuration.stores {
        let default = if new.is_default { " (default)" } else { "" };
        rows.push(("store".to_owned(), format!("{}: {}{default}", new.name, store(&new.location))));
    }
    for (store, patience) in &configuration.s3_patience {
        rows.push((format!("patience with {store}"), config::s3_patience::described(patience)));
    }
    for user in &configuration.users {
        rows.push(("user".to_owned(), format!("{} ({})", user.name, output::word(&user.role))));
    }
    rows
}

fn described_source(source: &NewSource) -> String {
    let NewSource { name, config, managed: _ } = source;
    let place = format!("{name}: {} {}", config.kind, config.location);
    if config.kind != postgresql::KIND {
        return place;
    }
    let password = if config.secret.is_some() { "with a password" } else { "without a password" };
    let tools = postgresql::tool_version(config).unwrap_or_else(|_| "missing".to_owned());
    format!("{place} ({password}; pg_dump {tools})")
}

fn described(configuration: &Configuration) -> serde_json::Value {
    let rows: Vec<_> =
        rows(configuration).into_iter().map(|(setting, value)| json!({"setting": setting, "value": value})).collect();
    json!({"good": true, "settings": rows})
}
