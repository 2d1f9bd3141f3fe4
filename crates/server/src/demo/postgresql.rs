//! Fourth chapter, where a PostgreSQL database is named: it is backed up through each dialect, and each backup is restored into a
//! database beside it and compared. The database itself is only read; what is made beside it goes away at the end.

use std::time::Instant;

use reqwest::Method;
use trivault_engine::{
    BackupFilter, BackupState, JobState, NewSource, PartId, RestoreInto, RestoreItem, SecretText, Source, StartRestore,
};
use trivault_sources::{
    Conflict, Selection, SourceConfig, SourceError,
    postgresql::{self, TableDigest},
};

use super::{
    ADMINISTRATOR, Comparison, PASSWORD, PATIENCE, POLL_EVERY, Stage,
    client::{Body, Call, Credentials},
    compared, couchbase, dbaas,
};
use crate::{
    cli::session,
    config::{source_argument, source_password},
    output,
    serve::Gateway,
};

/// Of the source, whatever the database is called.
const NAME: &str = "own-postgresql";
const REPOSITORY: &str = "ownDatabase";
const BACKUP: &str = "own-database";
const PASSCODE: &str = "another battery staple";
const DIALECTS: [&str; 3] = ["couchbase", "arcgis", "dbaas"];

/// The database that was named, with its password.
///
/// # Errors
/// A sentence when it is none, or holds a password.
pub fn source(url: &str) -> Result<NewSource, String> {
    let here = std::env::current_dir().map_err(|error| format!("The working directory cannot be told: {error}."))?;
    let source = source_argument::parse(&format!("{NAME}={url}"), &here)?;
    if source.config.kind != postgresql::KIND {
        return Err(format!("`{url}` is not a PostgreSQL database. Write postgresql://USER@HOST:PORT/DATABASE."));
    }
    source_password::complete(source, None)
}

pub async fn chapter(stage: &Stage<'_>, gateway: &Gateway, source: NewSource) -> Result<Vec<Comparison>, String> {
    stage.story.chapter("Your PostgreSQL database");
    let config = source.config.clone();
    let before = digests(&config).await?;
    let rows: u64 = before.iter().map(|table| table.rows).sum();
    stage.story.say(&format!("{}: {} tables with {rows} rows; it is only read.", config.location, before.len()));
    let engine = gateway.engine();
    let source = engine.create_source(&session::local_caller(), source).await.map_err(session::sentence)?;

    // Names that nobody else has taken: they are removed at the end.
    let suffix = uuid::Uuid::new_v4().simple().to_string();
    let name = |dialect: &str| format!("trivault_demo_{dialect}_{}", &suffix[..8]);
    let shown = show(stage, gateway, &source, &config, &before, &name).await;
    for dialect in DIALECTS {
        let (config, name) = (config.clone(), name(dialect));
        blocking(move || postgresql::drop_database(&config, &name)).await?;
    }
    stage.story.say("\nThe databases beside it were removed again.");
    shown
}

async fn show(
    stage: &Stage<'_>,
    gateway: &Gateway,
    source: &Source,
    config: &SourceConfig,
    before: &[TableDigest],
    name: &impl Fn(&str) -> String,
) -> Result<Vec<Comparison>, String> {
    let mut comparisons = Vec::new();
    for dialect in DIALECTS {
        let passcode = match dialect {
            "couchbase" => by_couchbase(stage).await.map(|()| None)?,
            "arcgis" => by_arcgis(stage).await.map(|()| Some(SecretText::new(PASSCODE)))?,
            _ => by_dbaas(stage, gateway).await.map(|()| None)?,
        };
        let (part, name) = (newest(gateway, source).await?, name(dialect));
        stage.story.say(&format!("\n$ trivault restore --part {part} --to-database {name}"));
        restore(gateway, part, &name, passcode).await?;
        let location = postgresql::with_database(&config.location, &name).map_err(|error| error.to_string())?;
        let restored = digests(&SourceConfig { location, ..config.clone() }).await?;
        let what = format!("{} as {name}", address(config)?);
        comparisons.push(compared(dialect, &what, || equal(before, &restored)));
    }
    if digests(config).await? != before {
        stage.story.say("\nThe database was written to meanwhile; an idle one compares equal.");
    }
    Ok(comparisons)
}

fn address(config: &SourceConfig) -> Result<String, String> {
    postgresql::address(config).map(|address| address.database).map_err(|error| error.to_string())
}

async fn by_couchbase(stage: &Stage<'_>) -> Result<(), String> {
    let base = format!("{}/api/v1/cluster/self/repository/active/{REPOSITORY}", stage.url);
    let call = |method: Method, path: &str, body: Body| Call {
        method,
        url: format!("{base}{path}"),
        credentials: &stage.administrator,
        body,
    };
    let create = format!(r#"{{"plan":"_hourly_backups","archive":"/archives/{REPOSITORY}","bucket_name":"{NAME}"}}"#);
    stage.client.tell(stage.story, call(Method::POST, "", Body::Json(create)), 200).await?;
    let started = stage.client.tell(stage.story, call(Method::POST, "/backup", Body::None), 200).await?;
    couchbase::follow(stage, &base, started.json["task_name"].as_str().unwrap_or_default()).await?;
    // Schemas are its scopes, tables its collections.
    stage.client.tell(stage.story, call(Method::GET, "/info", Body::None), 200).await.map(drop)
}

async fn by_arcgis(stage: &Stage<'_>) -> Result<(), String> {
    const NOBODY: &Credentials = &Credentials::None;
    let root = format!("{}/context", stage.url);
    let post = |url: String, fields: Vec<(&'static str, String)>| Call {
        method: Method::POST,
        url,
        credentials: NOBODY,
        body: Body::Form(fields),
    };
    let fields = vec![
        ("username", ADMINISTRATOR.to_owned()),
        ("password", PASSWORD.to_owned()),
        ("client", "requestip".to_owned()),
        ("f", "json".to_owned()),
    ];
    let signed_in = stage.client.quietly(post(format!("{root}/sharing/rest/generateToken"), fields), 200).await?;
    let token = dbaas::text(&signed_in.json["token"], "token")?;
    let stores = format!("{root}/admin/system/disasterrecovery/stores");
    let look = Call {
        method: Method::GET,
        url: format!("{stores}?f=json&token={token}"),
        credentials: NOBODY,
        body: Body::None,
    };
    let store = stage.client.quietly(look, 200).await?;
    let store = dbaas::text(&store.json["backupStores"][0]["name"], "backup store")?;
    let fields = vec![
        ("name", BACKUP.to_owned()),
        ("passcode", PASSCODE.to_owned()),
        ("f", "json".to_owned()),
        ("token", token.clone()),
    ];
    let create = post(format!("{stores}/{store}/backups/create"), fields);
    let started = stage.client.tell(stage.story, create, 200).await?;
    let job = dbaas::text(&started.json["jobsUrl"], "jobsUrl")?;
    let job = format!("{job}?f=json&token={token}");
    let look = move || Call { method: Method::GET, url: job.clone(), credentials: NOBODY, body: Body::None };
    let ended = stage.poll(look, |job| !matches!(job["status"].as_str(), Some("SUBMITTED" | "EXECUTING"))).await?;
    match ended.json["status"].as_str() {
        Some("COMPLETED") => Ok(()),
        _ => Err(format!("The backup did not end well: {}", ended.text)),
    }
}

async fn by_dbaas(stage: &Stage<'_>, gateway: &Gateway) -> Result<(), String> {
    let basic = Credentials::Basic { user: String::new(), password: dbaas::api_token(gateway, "own database").await? };
    let call = |method: Method, path: String, credentials| Call {
        method,
        url: format!("{}{path}", stage.url),
        credentials,
        body: Body::None,
    };
    let exchanged = stage.client.quietly(call(Method::POST, "/v1/tokens/exchange".into(), &basic), 200).await?;
    let bearer = Credentials::Bearer(dbaas::text(&exchanged.json["token"], "token")?);
    let app = dbaas::app_of(gateway, NAME).await?;
    let addons = stage.client.tell(stage.story, call(Method::GET, format!("/v1/apps/{app}/addons"), &bearer), 200);
    let addon = dbaas::text(&addons.await?.json["addons"][0]["id"], "addon id")?;
    let create = call(Method::POST, format!("/api/databases/{addon}/backups"), &bearer);
    let created = stage.client.tell(stage.story, create, 201).await?;
    let id = dbaas::text(&created.json["database_backup"]["id"], "backup id")?;
    let show = format!("{}/api/backups/{id}", stage.url);
    let credentials: &'static Credentials = Box::leak(Box::new(bearer));
    let look = move || Call { method: Method::GET, url: show.clone(), credentials, body: Body::None };
    let is_over =
        |answer: &serde_json::Value| matches!(answer["database_backup"]["status"].as_str(), Some("done" | "error"));
    let ended = stage.poll(look, is_over).await?;
    match ended.json["database_backup"]["status"].as_str() {
        Some("done") => Ok(()),
        _ => Err(format!("The backup did not end well: {}", ended.text)),
    }
}

/// The part of the backup that was made last.
async fn newest(gateway: &Gateway, source: &Source) -> Result<PartId, String> {
    let filter = BackupFilter {
        source: Some(source.id),
        states: vec![BackupState::Succeeded],
        limit: Some(1),
        ..BackupFilter::default()
    };
    let backups = gateway.engine().backups(&session::local_caller(), filter).await.map_err(session::sentence)?;
    let parts = backups.iter().flat_map(|backup| &backup.parts);
    parts
        .filter(|part| part.source == source.id)
        .map(|part| part.id)
        .next()
        .ok_or_else(|| "There is no backup of the database.".to_owned())
}

async fn restore(gateway: &Gateway, part: PartId, name: &str, passcode: Option<SecretText>) -> Result<(), String> {
    let request = StartRestore {
        items: vec![RestoreItem { part, into: RestoreInto::NewDatabase(name.to_owned()) }],
        conflict: Conflict::Replace,
        selection: Selection::default(),
        safety_backup: false,
        passcode,
        job_attributes: Vec::new(),
    };
    let (engine, caller) = (gateway.engine(), session::local_caller());
    let mut job = engine.start_restore(&caller, request).await.map_err(session::sentence)?;
    let begin = Instant::now();
    while !job.state.is_terminal() && begin.elapsed() < PATIENCE {
        job = engine.wait_for_job(&caller, job.id, POLL_EVERY).await.map_err(session::sentence)?;
    }
    match (job.state, job.failure) {
        (JobState::Succeeded, _) => Ok(()),
        (_, Some(failure)) => Err(session::with_hint(&failure.sentence, failure.hint.as_deref())),
        (state, None) => Err(format!("The restore ended {}.", output::word(&state))),
    }
}

async fn digests(config: &SourceConfig) -> Result<Vec<TableDigest>, String> {
    let config = config.clone();
    blocking(move || postgresql::table_digests(&config)).await
}

/// Connections to a database block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| source_argument::explained(&error))
}

/// Rows that are equal, or the first table that is not.
fn equal(before: &[TableDigest], restored: &[TableDigest]) -> Result<String, String> {
    if before.len() != restored.len() {
        return Err(format!("{} tables instead of {}", restored.len(), before.len()));
    }
    for (one, other) in before.iter().zip(restored) {
        if one != other {
            return Err(format!("{}: {} rows instead of {}, or others", other.table, other.rows, one.rows));
        }
    }
    Ok(format!("{} rows in {} tables", before.iter().map(|table| table.rows).sum::<u64>(), before.len()))
}
