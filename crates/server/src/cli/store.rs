//! `trivault store`.

use trivault_engine::{NewStore, SecretText, StoreCredentials, StoreLocation};

use super::{
    args::{Common, ListArguments, StoreCommand},
    session::{Session, sentence},
};
use crate::{
    config::{secret, source_argument, stores},
    output,
};

pub async fn run(common: &Common, command: StoreCommand) -> Result<(), String> {
    let session = Session::open(common).await?;
    let (engine, caller) = (&session.engine, &session.caller);
    match command {
        StoreCommand::List(ListArguments { json }) => {
            let stores = engine.stores(caller).await.map_err(sentence)?;
            if json {
                return output::json(&stores);
            }
            let mut table = output::Table::new(&["NAME", "DEFAULT", "WRITABLE", "LOCATION"]);
            for store in stores {
                let default = if store.is_default { "yes" } else { "" };
                let writable = if store.read_only { "no: another installation's" } else { "yes" };
                table.row(vec![store.name, default.to_owned(), writable.to_owned(), location_text(&store.location)]);
            }
            table.print()
        }
        StoreCommand::Add { name, location, default, region, endpoint, allow_http, json } => {
            source_argument::check_name(&name)?;
            let here =
                std::env::current_dir().map_err(|error| format!("The working directory cannot be told: {error}."))?;
            let location = stores::store_location(&location, region, endpoint, None, allow_http, &here)?;
            let store =
                NewStore { name, credentials: credentials(&location), location, is_default: default, managed: false };
            let store = engine.create_store(caller, store).await.map_err(sentence)?;
            if json {
                return output::json(&store);
            }
            output::line(&format!("Attached the store {} at {}.", store.name, location_text(&store.location)))?;
            if store.read_only {
                let text = "It belongs to another installation and is read-only. To take it over: trivault store adopt";
                output::line(&format!("{text} {}", store.name))?;
            }
            Ok(())
        }
        StoreCommand::Test { name } => {
            let store = engine.store_named(caller, &name).await.map_err(sentence)?;
            engine.probe_store(caller, store.id).await.map_err(sentence)?;
            output::line(&format!("The store {name} can be written and read."))
        }
        StoreCommand::Adopt { name, password_file, json } => {
            let password = password_file.as_deref().map(secret::from_file).transpose()?;
            let store = engine.store_named(caller, &name).await.map_err(sentence)?;
            let was_foreign = store.read_only;
            let store = engine.adopt_store(caller, store.id, password).await.map_err(sentence)?;
            if json {
                return output::json(&store);
            }
            output::line(&match was_foreign {
                true => format!("The store {name} is this installation's now."),
                false => format!("The store {name} was this installation's already."),
            })
        }
    }
}

pub(super) fn location_text(location: &StoreLocation) -> String {
    match location {
        StoreLocation::Local { path } => path.clone(),
        StoreLocation::S3 { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}"),
    }
}

/// The usual variables; a store without credentials uses what the machine offers (instance role).
pub(super) fn credentials(location: &StoreLocation) -> Option<StoreCredentials> {
    match location {
        StoreLocation::Local { .. } => None,
        StoreLocation::S3 { .. } => Some(StoreCredentials {
            access_key: std::env::var("AWS_ACCESS_KEY_ID").ok()?,
            secret_key: SecretText::new(std::env::var("AWS_SECRET_ACCESS_KEY").ok()?),
            session_token: std::env::var("AWS_SESSION_TOKEN").ok().map(SecretText::new),
        }),
    }
}
