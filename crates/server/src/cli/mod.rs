//! The sub-commands, one file each.

pub mod args;
mod backup;
mod check_config;
mod jobs;
mod maintenance;
mod merge;
mod prune;
mod recover;
mod restore;
mod retention;
mod schedule;
pub mod session;
mod source;
mod store;
mod token;
mod user;
mod vault;
mod verify;
mod when;

use serde_json::json;

use self::args::{Arguments, Command, ListArguments, OpenapiArguments, ServeArguments};
use crate::{config, demo, output, serve};

/// # Errors
/// The sentence to print; the process ends with status 1.
pub async fn run(arguments: Arguments) -> Result<(), String> {
    let Arguments { common, command } = arguments;
    match command {
        Command::Serve(arguments) => serve::run(&common, arguments).await,
        Command::Demo(arguments) => demo::run(&common, arguments).await,
        Command::CheckConfig(arguments) => check_config::run(&common, &arguments),
        Command::User(command) => user::run(&common, command).await,
        Command::Token(command) => token::run(&common, command).await,
        Command::Source(command) => source::run(&common, command).await,
        Command::Store(command) => store::run(&common, command).await,
        Command::Vault(command) => vault::run(&common, command).await,
        Command::Backup(command) => backup::run(&common, command).await,
        Command::Restore(arguments) => restore::run(&common, arguments).await,
        Command::Plan(command) => schedule::run_plan(&common, command).await,
        Command::Schedule(command) => schedule::run(&common, command).await,
        Command::Retention(command) => retention::run(&common, command).await,
        Command::Verify(command) => verify::run(&common, command).await,
        Command::Prune(arguments) => prune::run(&common, arguments).await,
        Command::Merge(arguments) => merge::run(&common, arguments).await,
        Command::Jobs(command) => jobs::run(&common, command).await,
        Command::Maintenance(command) => maintenance::run(&common, command).await,
        Command::Recover(arguments) => recover::run(&common, arguments).await,
        Command::Key(command) => vault::run_key(&common, command).await,
        Command::Openapi(OpenapiArguments { dialect }) => {
            let configuration = config::resolve::resolve(&common, &ServeArguments::default())?;
            output::line(&serve::openapi(&dialect, &configuration)?)
        }
        Command::Version(ListArguments { json }) => version(json),
    }
}

fn version(json: bool) -> Result<(), String> {
    let (version, sqlite) = (env!("CARGO_PKG_VERSION"), rusqlite::version());
    let can_capture_sqlite = serve::check_build().is_ok();
    if json {
        return output::json(&json!({"version": version, "sqlite": sqlite, "sqlite_dbpage": can_capture_sqlite}));
    }
    output::line(&format!("trivault {version} (SQLite {sqlite})"))
}
