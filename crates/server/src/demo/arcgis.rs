//! Second chapter: ArcGIS disaster recovery. A backup under a passcode, damage, and a restore in place.

use reqwest::Method;

use super::{
    ADMINISTRATOR, Comparison, PASSWORD, Stage,
    client::{Body, Call, Credentials},
    compare, compared, sample,
};

const PASSCODE: &str = "correct horse battery";
const BACKUP: &str = "before-upgrade";
const NOBODY: Credentials = Credentials::None;

pub async fn chapter(stage: &Stage<'_>) -> Result<Vec<Comparison>, String> {
    stage.story.chapter("ArcGIS Enterprise disaster recovery");
    let root = format!("{}/context", stage.url);
    let stores = format!("{root}/admin/system/disasterrecovery/stores");
    let post = |url: String, fields: Vec<(&'static str, String)>| Call {
        method: Method::POST,
        url,
        credentials: &NOBODY,
        body: Body::Form(fields),
    };
    let fields = vec![
        ("username", ADMINISTRATOR.to_owned()),
        ("password", PASSWORD.to_owned()),
        ("client", "requestip".to_owned()),
        ("f", "json".to_owned()),
    ];
    let signed_in =
        stage.client.tell(stage.story, post(format!("{root}/sharing/rest/generateToken"), fields), 200).await?;
    let token = signed_in.json["token"].as_str().ok_or("generateToken answered no token.")?.to_owned();
    let get = |url: &str| Call {
        method: Method::GET,
        url: format!("{url}?f=json&token={token}"),
        credentials: &NOBODY,
        body: Body::None,
    };
    let answer = stage.client.tell(stage.story, get(&stores), 200).await?;
    let store = answer.json["backupStores"][0]["name"].as_str().ok_or("There is no backup store.")?.to_owned();
    let backups = format!("{stores}/{store}/backups");

    let passcode =
        |passcode: &str| vec![("passcode", passcode.to_owned()), ("f", "json".to_owned()), ("token", token.clone())];
    let mut fields = passcode(PASSCODE);
    fields.extend([("name", BACKUP.to_owned()), ("description", "before the upgrade".to_owned())]);
    let started = stage.client.tell(stage.story, post(format!("{backups}/create"), fields), 200).await?;
    let job = started.json["jobsUrl"].as_str().ok_or_else(|| format!("No jobsUrl: {}", started.text))?.to_owned();
    let job_url = format!("{job}?f=json&token={token}");
    let look = move || Call { method: Method::GET, url: job_url.clone(), credentials: &NOBODY, body: Body::None };
    let ended = stage.poll(look, |job| !matches!(job["status"].as_str(), Some("SUBMITTED" | "EXECUTING"))).await?;
    if ended.json["status"] != "COMPLETED" {
        return Err(format!("The backup did not end well: {}", ended.text));
    }
    stage.client.tell(stage.story, get(&format!("{backups}/{BACKUP}")), 200).await?;

    let damage = sample::damage(&stage.database, &stage.tree)?;
    stage.story.say(&format!("\nThe live data are damaged: {damage}."));

    let restore = format!("{backups}/{BACKUP}/restore");
    let refused = stage.client.tell(stage.story, post(restore.clone(), passcode("not the passcode")), 200).await?;
    if refused.json["error"]["code"] != 400 {
        return Err(format!("A wrong passcode was not refused: {}", refused.text));
    }
    let accepted = stage.client.tell(stage.story, post(restore, passcode(PASSCODE)), 200).await?;
    if accepted.json["status"] != "success" {
        return Err(format!("The restore was refused: {}", accepted.text));
    }
    let status_url = format!("{root}/admin/system/disasterrecovery/status?f=json&token={token}");
    let look = move || Call { method: Method::GET, url: status_url.clone(), credentials: &NOBODY, body: Body::None };
    let ended = stage.poll(look, |status| status["status"]["state"] != "in_progress").await?;
    if ended.json["status"]["state"] == "failed" {
        return Err(format!("The restore did not end well: {}", ended.text));
    }
    Ok(vec![
        compared("arcgis", "travel-sample in place", || {
            compare::databases(&stage.reference_database(), &stage.database).map(|rows| format!("{rows} rows"))
        }),
        compared("arcgis", "photos in place", || {
            compare::trees(&stage.reference_tree(), &stage.tree)
                .map(|entries| format!("{entries} entries, byte by byte"))
        }),
    ])
}
