//! `trivault recover`: a server rebuilt from a store alone.

use std::{path::Path, sync::Arc};

use trivault_engine::{
    Recovery, RecoveryOptions, RecoverySecret, RecoverySummary, ServerKey, ServerKeyLocation, StoreLocation,
};

use super::{
    args::{Common, RecoverArguments, ServeArguments},
    session::{local_caller, sentence},
    store,
};
use crate::{
    config::{self, Configuration, secret, stores},
    output, wiring,
};

const KEY_VARIABLE: &str = "TRIVAULT_SERVER_KEY";
const PASSWORD_VARIABLE: &str = "TRIVAULT_VAULT_PASSWORD";

pub async fn run(common: &Common, arguments: RecoverArguments) -> Result<(), String> {
    let configuration = config::resolve::resolve(common, &ServeArguments::default())?;
    crate::logging::start(configuration.log_filter.as_deref(), configuration.log_format, "warn")?;
    let location = location(&arguments)?;
    let options = RecoveryOptions {
        credentials: store::credentials(&location),
        location,
        secret: secret_of(&arguments, &configuration)?,
        name: arguments.name.clone(),
    };
    let recovery = Arc::new(Recovery::open(options).await.map_err(sentence)?);
    if arguments.dry_run {
        let summary = recovery.summary().await.map_err(sentence)?;
        return show(&summary, &arguments, "would be rebuilt from");
    }
    refuse_foreign_files(&configuration.data_directory)?;
    let key = key_location(&recovery, &configuration)?;
    let engine = wiring::open_engine_with(&configuration, false, key).await?;
    let recovered = engine.recover(&local_caller(), recovery, arguments.force).await;
    engine.shutdown(std::time::Duration::ZERO).await;
    show(&recovered.map_err(sentence)?, &arguments, "was rebuilt from")
}

/// What may lie in a data directory that no server has used yet: the key, stores, and what a file system puts at its root.
const BEFORE_FIRST_USE: [&str; 3] = ["server.key", "stores", "lost+found"];
/// What an engine, also one that was killed, leaves in its data directory before anything else.
const USED: [&str; 3] = ["node.id", "server.lock", "trivault.db"];
/// Names that a refusal lists.
const MOST_NAMES: usize = 5;

/// A folder in which somebody keeps other things is no place for a server's metadata. Those of servers are judged by their metadata.
fn refuse_foreign_files(data_directory: &Path) -> Result<(), String> {
    let Ok(entries) = std::fs::read_dir(data_directory) else { return Ok(()) };
    let mut names: Vec<String> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    if names.iter().any(|name| USED.contains(&name.as_str())) {
        return Ok(());
    }
    names.retain(|name| !BEFORE_FIRST_USE.contains(&name.as_str()));
    if names.is_empty() {
        return Ok(());
    }
    names.sort();
    let more = if names.len() > MOST_NAMES { ", ..." } else { "" };
    names.truncate(MOST_NAMES);
    Err(format!(
        "The data directory {} holds files that are not Trivault's: {}{more}. Recover into an empty one: --data-dir DIR.",
        data_directory.display(),
        names.join(", ")
    ))
}

/// A directory, or `s3://BUCKET/PREFIX?endpoint=...&region=...`.
fn location(arguments: &RecoverArguments) -> Result<StoreLocation, String> {
    let here = std::env::current_dir().map_err(|error| format!("The working directory cannot be told: {error}."))?;
    let (mut region, mut endpoint) = (arguments.region.clone(), arguments.endpoint.clone());
    let (mut path_style, mut allow_http) = (None, arguments.allow_http);
    let mut place = arguments.store.as_str();
    if place.starts_with("s3://")
        && let Some((before, query)) = place.split_once('?')
    {
        place = before;
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "endpoint" => endpoint = Some(value.into_owned()),
                "region" => region = Some(value.into_owned()),
                "path_style" => path_style = Some(flag(&key, &value)?),
                "allow_http" => allow_http = flag(&key, &value)?,
                other => {
                    return Err(format!(
                        "A store's URL has no `{other}`. Known are: endpoint, region, path_style, allow_http."
                    ));
                }
            }
        }
    }
    stores::store_location(place, region, endpoint, path_style, allow_http, &here)
}

fn flag(key: &str, value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| format!("`{key}` in the store's URL is `{value}`; it can be true or false."))
}

/// The one that was given; else the environment's; else the key that a server on this configuration would use.
fn secret_of(arguments: &RecoverArguments, configuration: &Configuration) -> Result<RecoverySecret, String> {
    let key = |text: &[u8]| ServerKey::parse(text).map(RecoverySecret::ServerKey).map_err(sentence);
    if let Some(path) = &arguments.key_file {
        let bytes =
            std::fs::read(path).map_err(|error| format!("The key file {} cannot be read: {error}.", path.display()))?;
        return key(&bytes).map_err(|text| format!("The file {} does not hold a server key. {text}", path.display()));
    }
    if let Some(path) = &arguments.password_file {
        return secret::from_file(path).map(RecoverySecret::VaultPassword);
    }
    if let Ok(text) = secret::from_environment(KEY_VARIABLE) {
        return key(text.expose().as_bytes());
    }
    if let Ok(text) = secret::from_environment(PASSWORD_VARIABLE) {
        return Ok(RecoverySecret::VaultPassword(text));
    }
    if let Some(text) = &configuration.key {
        return key(text.expose().as_bytes());
    }
    let standing = configuration.data_directory.join("server.key");
    match std::fs::read(configuration.key_file.as_ref().unwrap_or(&standing)) {
        Ok(bytes) => key(&bytes),
        Err(_) => Err(format!(
            "A secret is needed: --key-file with what `trivault key export` printed, or --password-file with the vault's \
             password (or {KEY_VARIABLE}, {PASSWORD_VARIABLE})."
        )),
    }
}

/// The key of the server that is rebuilt: the one that opened the store, put where a server will look for it.
fn key_location(recovery: &Recovery, configuration: &Configuration) -> Result<ServerKeyLocation, String> {
    let configured = wiring::server_key(configuration)?;
    let Some(key) = recovery.server_key() else { return Ok(configured) };
    let differs = |place: &str| {
        format!(
            "The configuration names another server key ({place}) than the one that opens the store. Let it name that one."
        )
    };
    match &configured {
        ServerKeyLocation::DataDirectory => {
            recovery.keep_server_key(&configuration.data_directory).map_err(sentence)?
        }
        ServerKeyLocation::Given(given) if given == key => {}
        ServerKeyLocation::Given(_) => return Err(differs("key_env")),
        ServerKeyLocation::File(path) => {
            let bytes = std::fs::read(path)
                .map_err(|error| format!("The server key {} cannot be read: {error}.", path.display()))?;
            if ServerKey::parse(&bytes).map_err(sentence)? != *key {
                return Err(differs("key_file"));
            }
        }
    }
    Ok(configured)
}

fn show(summary: &RecoverySummary, arguments: &RecoverArguments, verb: &str) -> Result<(), String> {
    if arguments.json {
        return output::json(summary);
    }
    let RecoverySummary {
        store: _,
        store_name,
        location,
        installation_before,
        opened_with,
        configuration_captured_at,
        later_format,
        repositories,
        plans,
        sources,
        users,
        backups,
        parts,
        jobs,
        protected,
        lost,
        foreign,
        unreadable,
        sources_without_password,
        users_without_password,
        other_stores,
    } = summary;
    output::line(&format!("The store {store_name} {verb} {location}, opened with its {opened_with}."))?;
    output::line(&format!("It was written by the installation {installation_before}."))?;
    output::line(&match configuration_captured_at {
        Some(at) => format!("Its configuration was captured at {}.", output::instant(Some(*at))),
        None => "It holds no configuration: plans, schedules, retention and users are not known.".to_owned(),
    })?;
    if let Some(format) = later_format {
        output::line(&format!(
            "A newer configuration (format {format}) was written by a later version and is left out: recover with that version instead."
        ))?;
    }
    let mut table = output::Table::new(&["WHAT", "COUNT"]);
    let rows = [
        ("repositories", repositories),
        ("plans", plans),
        ("sources", sources),
        ("users", users),
        ("backups", backups),
        ("parts of backups", parts),
        ("finished jobs", jobs),
        ("backups under a passcode", protected),
        ("backups with missing snapshots", lost),
        ("snapshots of others", &(foreign.len() as u64)),
        ("unreadable", unreadable),
    ];
    for (what, count) in rows {
        table.row(vec![what.to_owned(), count.to_string()]);
    }
    table.print()?;
    for host in foreign.iter().take(20) {
        output::line(&format!("Not ours, left alone: {host}"))?;
    }
    for name in sources_without_password {
        output::line(&format!("The source {name} needs its password again: trivault source password {name}"))?;
    }
    for name in users_without_password {
        output::line(&format!("The user {name} has no password: trivault user password {name}"))?;
    }
    for other in other_stores {
        let place = store::location_text(&other.location);
        output::line(&format!("The store {} is recovered by itself: trivault recover --store {place}", other.name))?;
    }
    if !arguments.dry_run {
        output::line(
            "The server that wrote this store before must not come back; it would find the store taken over.",
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(store: &str) -> RecoverArguments {
        RecoverArguments {
            store: store.to_owned(),
            key_file: None,
            password_file: None,
            name: "default".to_owned(),
            dry_run: false,
            force: false,
            region: None,
            endpoint: None,
            allow_http: false,
            json: false,
        }
    }

    #[test]
    fn a_stores_url_names_endpoint_region_and_style() {
        let url = "s3://backups/site/a?endpoint=http://127.0.0.1:9000&region=eu-1&allow_http=true";
        let StoreLocation::S3 { bucket, prefix, region, endpoint, path_style, allow_http } =
            location(&arguments(url)).unwrap()
        else {
            panic!("not S3")
        };
        assert_eq!((bucket.as_str(), prefix.as_str()), ("backups", "site/a"));
        assert_eq!((region.as_deref(), endpoint.as_deref()), (Some("eu-1"), Some("http://127.0.0.1:9000")));
        assert!(path_style && allow_http);
        assert!(
            matches!(location(&arguments("/mnt/what?")).unwrap(), StoreLocation::Local { path } if path == "/mnt/what?")
        );
    }

    #[test]
    fn an_unknown_word_in_a_stores_url_is_refused() {
        assert!(location(&arguments("s3://backups/a?reg=x")).unwrap_err().contains("`reg`"));
        assert!(location(&arguments("s3://backups/a?path_style=maybe")).unwrap_err().contains("maybe"));
        assert!(location(&arguments("ftp://backups/a")).unwrap_err().contains("ftp"));
    }
}
