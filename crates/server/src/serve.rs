//! `trivault serve`: sets the gateway up, runs it, stops it gracefully.

use std::{net::SocketAddr, sync::Arc};

use tokio::signal::unix::{SignalKind, signal};
use trivault_engine::{Caller, Engine, ErrorCode, NewStore, Role, SecretText, StoreLocation};
use trivault_http::{DialectSelection, Limits, Listener, Running, Server, ServerOptions, TlsFiles};

use crate::{
    cli::{
        args::{Common, ServeArguments},
        session::{local_caller, sentence},
    },
    config::{self, Configuration, secret},
    output, ready_file, wiring,
};

/// The first administrator.
pub const ADMINISTRATOR: &str = "Administrator";
const PASSWORD_VARIABLE: &str = "TRIVAULT_ADMIN_PASSWORD";
const DEFAULT_STORE: &str = "default";

/// A running gateway.
pub struct Gateway {
    engine: Engine,
    running: Running,
    /// As a client would type them, in the order of the listeners.
    urls: Vec<String>,
    stop_time: std::time::Duration,
}

impl Gateway {
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn url(&self) -> &str {
        self.urls.first().map_or("", String::as_str)
    }

    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Stops listening, lets running jobs finish for the configured time, hands back what is left.
    pub async fn stop(self) {
        let Self { engine, running, urls: _, stop_time } = self;
        running.stop().await;
        engine.shutdown(stop_time).await;
        tracing::info!("stopped");
    }
}

/// # Errors
/// A sentence that says why the gateway cannot run.
pub async fn run(common: &Common, arguments: ServeArguments) -> Result<(), String> {
    let configuration = config::resolve::resolve(common, &arguments)?;
    crate::logging::start(configuration.log_filter.as_deref(), configuration.log_format, "info")?;
    // Signals are caught before anything is written, so that a stop during the start is a stop too.
    let stop = tokio::spawn(until_told_to_stop());
    let password = arguments.admin_password_file.as_deref().map(secret::from_file).transpose()?;
    let gateway = start(&configuration, password).await?;
    if let Some(path) = &arguments.ready_file {
        ready_file::write(path, gateway.urls())
            .map_err(|error| format!("The ready file {} cannot be written: {error}.", path.display()))?;
    }
    for url in gateway.urls() {
        tracing::info!(url, "listening");
    }
    stop.await.map_err(|error| format!("Signals cannot be waited for: {error}."))??;
    tracing::info!("told to stop");
    gateway.stop().await;
    Ok(())
}

/// Sets everything up; when this returns, every listener answers.
///
/// # Errors
/// A sentence that says why the gateway cannot run. Nothing listens then.
pub async fn start(configuration: &Configuration, admin_password: Option<SecretText>) -> Result<Gateway, String> {
    check_build()?;
    let engine = wiring::open_engine(configuration, true).await?;
    let caller = Caller { via: "configuration", ..local_caller() };
    prepare_users(&engine, &caller, configuration, admin_password).await?;
    prepare_stores(&engine, &caller, configuration).await?;
    engine.reconcile_managed_sources(configuration.sources.clone()).await.map_err(sentence)?;
    let dialects = wiring::dialects(configuration)?;
    let plans = dialects.iter().flat_map(|dialect| dialect.builtin_plans(configuration.zone)).collect();
    engine.reconcile_builtin_plans(plans).await.map_err(sentence)?;
    let (windows, hold_restores) =
        (configuration.maintenance_windows.clone(), configuration.maintenance_holds_restores);
    if engine.configure_maintenance(&caller, windows, hold_restores).await.map_err(sentence)? {
        tracing::info!(
            windows = configuration.maintenance_windows.len(),
            "the maintenance windows are those of this server's configuration now, for all nodes"
        );
    }
    engine.start_workers().await.map_err(sentence)?;
    if !engine.key_was_exported().await.map_err(sentence)? {
        tracing::warn!("the server key was never exported; `trivault key export` prints what belongs in a safe");
    }
    let options = ServerOptions {
        listeners: configuration.listeners.iter().map(listener).collect(),
        dialects,
        limits: Limits {
            body_bytes: configuration.body_limit,
            body_time: configuration.request_time,
            ..Limits::default()
        },
        public_url: configuration.public_url.clone(),
        allowed_hosts: configuration.allowed_hosts.clone(),
        trusted_proxies: configuration.trusted_proxies.clone(),
    };
    let running = match Server::start(engine.clone(), options) {
        Ok(running) => running,
        Err(error) => {
            engine.shutdown(std::time::Duration::ZERO).await;
            return Err(format!("The gateway cannot start: {error}."));
        }
    };
    let urls = urls(&running.addresses, configuration);
    Ok(Gateway { engine, running, urls, stop_time: configuration.stop_time })
}

/// Whether this binary was built with what live SQLite databases are captured through. Cargo reads the flag from the
/// working directory upwards, so that a build started elsewhere loses it silently.
///
/// # Errors
/// A sentence with the way to build it.
pub fn check_build() -> Result<(), String> {
    let count = rusqlite::Connection::open_in_memory().and_then(|connection| {
        let text = "SELECT count(*) FROM pragma_module_list WHERE name = 'sqlite_dbpage'";
        connection.query_row(text, [], |row| row.get::<_, i64>(0))
    });
    match count {
        Ok(1) => Ok(()),
        Ok(_) => Err("This binary was built without SQLite's dbpage table; build it inside the repository, so that \
                      .cargo/config.toml is read."
            .to_owned()),
        Err(error) => Err(format!("SQLite does not work here: {error}.")),
    }
}

fn urls(addresses: &[SocketAddr], configuration: &Configuration) -> Vec<String> {
    let listeners = addresses.iter().zip(&configuration.listeners);
    listeners.map(|(address, listener)| ready_file::url_of(*address, listener.tls.is_some())).collect()
}

fn listener(listener: &config::Listener) -> Listener {
    let config::Listener { address, dialects, tls } = listener;
    Listener {
        address: *address,
        tls: tls.as_ref().map(|(certificate, key)| TlsFiles { certificate: certificate.clone(), key: key.clone() }),
        dialects: match dialects {
            None => DialectSelection::All,
            Some(names) => DialectSelection::Only(names.clone()),
        },
    }
}

/// The first administrator, and the users of the configuration.
async fn prepare_users(
    engine: &Engine,
    caller: &Caller,
    configuration: &Configuration,
    admin_password: Option<SecretText>,
) -> Result<(), String> {
    let existing = engine.users(caller).await.map_err(sentence)?;
    if existing.is_empty() {
        let given = match admin_password {
            Some(password) => Some(password),
            None => secret::from_environment(PASSWORD_VARIABLE).ok(),
        };
        let (password, made) = match given {
            Some(password) => (password, false),
            None => (secret::generate()?, true),
        };
        engine.create_user(caller, ADMINISTRATOR, &password, Role::Admin).await.map_err(sentence)?;
        if made {
            output::line(&format!(
                "First administrator: {ADMINISTRATOR}\nPassword, shown once: {}",
                password.expose()
            ))?;
        }
    }
    for user in &configuration.users {
        if !existing.iter().any(|known| known.name == user.name) {
            engine.create_user(caller, &user.name, &user.password, user.role).await.map_err(sentence)?;
        }
    }
    Ok(())
}

/// The configured stores; without any, one in the data directory.
///
/// # Errors
/// A sentence: a configured store is known at another place, or cannot be attached.
pub async fn prepare_stores(engine: &Engine, caller: &Caller, configuration: &Configuration) -> Result<(), String> {
    let existing = engine.stores(caller).await.map_err(sentence)?;
    for store in &configuration.stores {
        match existing.iter().find(|known| known.name == store.name) {
            None => drop(engine.create_store(caller, store.clone()).await.map_err(sentence)?),
            Some(known) if known.location == store.location => {}
            Some(_) => {
                return Err(format!(
                    "The store {} is known at another place. Give the new place another name, or the old one back.",
                    store.name
                ));
            }
        }
    }
    if existing.is_empty() && configuration.stores.is_empty() {
        let path = configuration.data_directory.join("stores").join("default").to_string_lossy().into_owned();
        let store = NewStore {
            name: DEFAULT_STORE.to_owned(),
            location: StoreLocation::Local { path },
            credentials: None,
            is_default: true,
            managed: false,
        };
        match engine.create_store(caller, store).await {
            Ok(_) => {}
            Err(failed) if matches!(failed.code, ErrorCode::AlreadyExists(_)) => {}
            Err(failed) => return Err(sentence(failed)),
        }
    }
    Ok(())
}

/// Returns at SIGTERM or SIGINT. SIGHUP is ignored: restic sends it to see whether the holder of a lock lives.
///
/// # Errors
/// When signals cannot be caught.
pub async fn until_told_to_stop() -> Result<(), String> {
    let catch = |kind| signal(kind).map_err(|error| format!("Signals cannot be caught: {error}."));
    let (mut terminate, mut interrupt, mut hang_up) =
        (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?, catch(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hang_up.recv() => tracing::debug!("ignored a hang-up signal"),
        }
    }
}

/// For `Arc<dyn Dialect>` by name: the OpenAPI document of one dialect.
///
/// # Errors
/// A sentence when there is no such dialect.
pub fn openapi(name: &str, configuration: &Configuration) -> Result<String, String> {
    let dialects = wiring::dialects(configuration)?;
    let dialect = dialects.iter().find(|dialect| dialect.name() == name).map(Arc::clone).ok_or_else(|| {
        let known: Vec<&str> = dialects.iter().map(|dialect| dialect.name()).collect();
        format!("There is no dialect `{name}`. Known are: {}.", known.join(", "))
    })?;
    dialect.openapi().to_pretty_json().map_err(|error| format!("The document cannot be written: {error}."))
}
