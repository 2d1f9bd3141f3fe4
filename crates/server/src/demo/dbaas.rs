//! Third chapter: the database API. A backup, and its download, opened with the tools that its users have.

use std::{fs, path::Path, process::Command};

use reqwest::Method;
use trivault_engine::{ObjectKind, ObjectRef};

use super::{
    ADMINISTRATOR, Comparison, DATABASE, Stage,
    client::{Body, Call, Credentials},
    compare, compared,
};
use crate::{cli::session, serve::Gateway};

pub async fn chapter(stage: &Stage<'_>, gateway: &Gateway) -> Result<Comparison, String> {
    stage.story.chapter("Database API (DBaaS)");
    let secret = api_token(gateway, "demo").await?;
    stage.story.say("\n$ trivault token create --name demo --dialect dbaas");
    let basic = Credentials::Basic { user: String::new(), password: secret };
    let (story, client, url) = (stage.story, stage.client, &stage.url);
    let call = |method: Method, path: String, credentials| Call {
        method,
        url: format!("{url}{path}"),
        credentials,
        body: Body::None,
    };
    let exchanged = client.tell(story, call(Method::POST, "/v1/tokens/exchange".into(), &basic), 200).await?;
    let bearer = Credentials::Bearer(text(&exchanged.json["token"], "token")?);
    let app = app_of(gateway, DATABASE).await?;
    let addons = client.tell(story, call(Method::GET, format!("/v1/apps/{app}/addons"), &bearer), 200).await?;
    let addon = text(&addons.json["addons"][0]["id"], "addon id")?;
    let path = format!("/v1/apps/{app}/addons/{addon}/token");
    let token = client.tell(story, call(Method::POST, path, &bearer), 200).await?;
    let addon_token = Credentials::Bearer(text(&token.json["addon"]["token"], "addon token")?);

    let backups = format!("/api/databases/{addon}/backups");
    let created = client.tell(story, call(Method::POST, backups.clone(), &addon_token), 201).await?;
    let id = text(&created.json["database_backup"]["id"], "backup id")?;
    let credentials: &'static Credentials = Box::leak(Box::new(addon_token.clone()));
    let show = format!("{url}/api/backups/{id}");
    let look = move || Call { method: Method::GET, url: show.clone(), credentials, body: Body::None };
    let ended = stage
        .poll(look, |answer| matches!(answer["database_backup"]["status"].as_str(), Some("done" | "error")))
        .await?;
    if ended.json["database_backup"]["status"] != "done" {
        return Err(format!("The backup did not end well: {}", ended.text));
    }
    let archive = client.tell(story, call(Method::GET, format!("{backups}/{id}/archive"), &addon_token), 200).await?;
    let download = text(&archive.json["download_url"], "download_url")?;

    let opened = stage.reference.with_file_name("opened");
    let file = opened.join("backup.tar.gz");
    story.say(&format!("\n$ curl -o backup.tar.gz '{download}'\n$ tar -xzf backup.tar.gz"));
    let bytes = fetch(&download, &file).await?;
    if ended.json["database_backup"]["size"].as_u64() != Some(bytes) {
        return Err(format!(
            "The download has {bytes} bytes, and `size` says {}.",
            ended.json["database_backup"]["size"]
        ));
    }
    let database = unpack(&file, &opened)?;
    Ok(compared("dbaas", &format!("{DATABASE} from its download"), || {
        compare::databases(&stage.reference_database(), &database).map(|rows| format!("{rows} rows"))
    }))
}

pub fn text(value: &serde_json::Value, what: &str) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("The answer holds no {what}."))
}

pub async fn api_token(gateway: &Gateway, name: &str) -> Result<String, String> {
    let engine = gateway.engine();
    let local = session::local_caller();
    let users = engine.users(&local).await.map_err(session::sentence)?;
    let user = users.into_iter().find(|user| user.name == ADMINISTRATOR).ok_or("There is no administrator.")?;
    let principal = trivault_engine::Principal { user: user.id, name: user.name, role: user.role, ..local.principal };
    let caller = trivault_engine::Caller { principal, ..local };
    let (_, secret) =
        engine.create_api_token(&caller, "dbaas", name, "tk-us-", None).await.map_err(session::sentence)?;
    Ok(secret.expose().to_owned())
}

pub async fn app_of(gateway: &Gateway, source: &str) -> Result<String, String> {
    let engine = gateway.engine();
    let source = engine.source_named(&session::local_caller(), source).await.map_err(session::sentence)?;
    let app =
        engine.alias("dbaas.app", ObjectRef::new(ObjectKind::Source, source.id.0)).await.map_err(session::sentence)?;
    app.ok_or_else(|| format!("{} has no app.", source.name))
}

async fn fetch(url: &str, file: &Path) -> Result<u64, String> {
    let fault = |error: reqwest::Error| format!("The download broke off: {error}.");
    let response =
        reqwest::Client::builder().no_proxy().build().map_err(fault)?.get(url).send().await.map_err(fault)?;
    let response = response.error_for_status().map_err(fault)?;
    let bytes = response.bytes().await.map_err(fault)?;
    fs::write(file, &bytes).map_err(|error| format!("{} cannot be written: {error}.", file.display()))?;
    Ok(bytes.len() as u64)
}

/// Unpacks with the system's tar, as users do; answers the database in it.
fn unpack(file: &Path, directory: &Path) -> Result<std::path::PathBuf, String> {
    let status = Command::new("tar").arg("-xzf").arg(file).arg("-C").arg(directory).status();
    if !status.map_err(|error| format!("tar cannot be started: {error}."))?.success() {
        return Err("tar does not take the download.".to_owned());
    }
    let entries = fs::read_dir(directory).map_err(|error| error.to_string())?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|ending| ending == "sqlite"))
        .ok_or_else(|| "The download holds no database.".to_owned())
}
