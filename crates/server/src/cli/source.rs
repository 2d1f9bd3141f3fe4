//! `trivault source`.

use serde_json::{Value, json};
use trivault_engine::{NewSource, ObjectKind, ObjectRef, Source, SourceId};
use trivault_sources::Severity;

use super::{
    args::{Common, ListArguments, SourceCommand},
    session::{Session, sentence},
};
use crate::{
    config::{source_argument, source_options, source_password},
    output,
};

pub async fn run(common: &Common, command: SourceCommand) -> Result<(), String> {
    let here = std::env::current_dir().map_err(|error| format!("The working directory cannot be told: {error}."))?;
    let session = Session::open(common).await?;
    let (engine, caller) = (&session.engine, &session.caller);
    match command {
        SourceCommand::List(ListArguments { json }) => list(&session, json).await,
        SourceCommand::Add { source, options, password_file, json } => {
            let given = source_password::from_file(password_file.as_deref())?;
            let source = source_options::complete(source_argument::parse(&source, &here)?, &options)?;
            let source = source_password::complete(source, given)?;
            let source = engine.create_source(caller, source).await.map_err(sentence)?;
            if json {
                return output::json(&described(&session, &source).await?);
            }
            output::line(&format!("Added the source {} ({}).", source.name, source.config.kind))
        }
        SourceCommand::Test { name, json } => {
            let source = engine.source_named(caller, &name).await.map_err(sentence)?;
            let findings = engine.probe_source(caller, source.id).await.map_err(sentence)?;
            if json {
                output::json(&findings)?;
            } else {
                for finding in &findings {
                    output::line(&format!("{:<8} {}", output::word(&finding.severity), finding.sentence))?;
                    if let Some(hint) = &finding.hint {
                        output::line(&format!("         {hint}"))?;
                    }
                }
            }
            if findings.iter().any(|finding| finding.severity == Severity::Error) {
                return Err(format!("A backup of {name} would fail."));
            }
            Ok(())
        }
        SourceCommand::Password { name, password_file } => {
            let Source { id, config, managed, .. } = engine.source_named(caller, &name).await.map_err(sentence)?;
            let given = source_password::from_file(password_file.as_deref())?;
            let source = source_password::complete(NewSource { name, config, managed }, given)?;
            let secret = source.config.secret.ok_or("No password was given: name a file with --password-file.")?;
            engine.set_source_secret(caller, id, &secret).await.map_err(sentence)?;
            output::line(&format!("The password of {} is changed.", source.name))
        }
        SourceCommand::Replace { name, source, options, password_file } => {
            let named = format!("{name}={source}");
            let given = source_password::from_file(password_file.as_deref())?;
            let source = source_options::complete(source_argument::parse(&named, &here)?, &options)?;
            let source = source_password::complete(source, given)?;
            let source = engine.replace_source(caller, source).await.map_err(sentence)?;
            output::line(&format!("{} now stands for {}.", source.name, source.config.location))
        }
    }
}

async fn list(session: &Session, json: bool) -> Result<(), String> {
    let sources = session.engine.sources(&session.caller).await.map_err(sentence)?;
    if json {
        let mut described_sources = Vec::new();
        for source in &sources {
            described_sources.push(described(session, source).await?);
        }
        return output::json(&described_sources);
    }
    let mut table = output::Table::new(&["NAME", "KIND", "STATUS", "LOCATION"]);
    for source in sources {
        table.row(vec![source.name, source.config.kind, output::word(&source.status), source.config.location]);
    }
    table.print()
}

/// A source with its names in each dialect.
async fn described(session: &Session, source: &Source) -> Result<Value, String> {
    let alias = async |namespace: &str| session.engine.alias(namespace, object(source.id)).await.map_err(sentence);
    Ok(json!({
        "name": source.name,
        "kind": source.config.kind,
        "status": source.status,
        "couchbase": {"bucket": source.name},
        "dbaas": {
            "app": alias("dbaas.app").await?,
            "addon_id": alias("dbaas.addon").await?,
            "database_id": alias("dbaas.database").await?,
            "resource_id": alias("dbaas.resource").await?,
        },
    }))
}

fn object(id: SourceId) -> ObjectRef {
    ObjectRef::new(ObjectKind::Source, id.0)
}
