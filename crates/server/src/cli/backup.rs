//! `trivault backup`.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use trivault_engine::{
    Backup, BackupFilter, BackupId, ErrorCode, ExportFormat, NewRepository, PartDamage, PartId, Repository, SecretText,
    SourceSelection, StartBackup, Trigger,
};

use super::{
    args::{BackupCommand, Common, ExportName},
    session::{Session, sentence},
};
use crate::{config::secret, output};

/// Owner of the repositories that the command line makes.
pub const OWNER: &str = "cli";

pub async fn run(common: &Common, command: BackupCommand) -> Result<(), String> {
    let session = Session::open(common).await?;
    let (engine, caller) = (&session.engine, &session.caller);
    match command {
        BackupCommand::Create { source, full, description, passcode_file, detach, json } => {
            let passcode = passcode_file.as_deref().map(passcode).transpose()?;
            let backup = create(&session, source.as_deref(), full, description, passcode, detach).await?;
            if json {
                return output::json(&backup);
            }
            show(&backup)
        }
        BackupCommand::List { source, limit, json } => {
            let source = match source {
                Some(name) => Some(engine.source_named(caller, &name).await.map_err(sentence)?.id),
                None => None,
            };
            let filter = BackupFilter { source, limit: Some(limit), ..BackupFilter::default() };
            let backups = engine.backups(caller, filter).await.map_err(sentence)?;
            let damage = damage_of(&session, &backups).await?;
            if json {
                return output::json(&with_damage(&backups, &damage)?);
            }
            let mut table = output::Table::new(&["ID", "CREATED", "STATE", "SOURCES", "SIZE", "ADDED"]);
            for backup in backups {
                let sources: Vec<&str> = backup.parts.iter().map(|part| part.source_name.as_str()).collect();
                table.row(vec![
                    backup.id.to_string(),
                    output::instant(Some(backup.created_at)),
                    state(&backup, &damage),
                    sources.join(","),
                    output::bytes(backup.size()),
                    output::bytes(backup.stored_size()),
                ]);
            }
            table.print()
        }
        BackupCommand::Show { id, json } => {
            let backup = engine.backup(caller, BackupId(id)).await.map_err(sentence)?;
            let damage = damage_of(&session, std::slice::from_ref(&backup)).await?;
            if json {
                return output::json(&with_damage(std::slice::from_ref(&backup), &damage)?[0]);
            }
            show(&backup)?;
            for part in &backup.parts {
                if let Some(PartDamage { found_at, sentence, .. }) = damage.get(&part.id) {
                    let found = output::instant(Some(*found_at));
                    output::line(&format!("DAMAGED since {found} ({}): {sentence}", part.source_name))?;
                }
            }
            Ok(())
        }
        BackupCommand::Export { id, format, output, passcode_file } => {
            let passcode = passcode_file.as_deref().map(passcode).transpose()?;
            let format = match format {
                ExportName::Sql => ExportFormat::Sql,
                ExportName::Custom => ExportFormat::Custom,
            };
            export(&session, part_of(&session, id).await?, format, passcode, &output).await
        }
        BackupCommand::Delete { id } => {
            let job = engine.delete_backup(caller, BackupId(id), Vec::new()).await.map_err(sentence)?;
            session.follow(job.id, false, true).await?;
            output::line(&format!("Deleted the backup {id}. Its bytes are freed by the next prune."))
        }
    }
}

type Damage = HashMap<PartId, PartDamage>;

async fn damage_of(session: &Session, backups: &[Backup]) -> Result<Damage, String> {
    let ids: Vec<BackupId> = backups.iter().map(|backup| backup.id).collect();
    session.engine.damage_of(&ids).await.map_err(sentence)
}

/// A backup that is damaged is no good one, whatever its state says.
fn state(backup: &Backup, damage: &Damage) -> String {
    match backup.parts.iter().any(|part| damage.contains_key(&part.id)) {
        true => "DAMAGED".to_owned(),
        false => output::word(&backup.state),
    }
}

/// Backups as JSON, each with the damage of its parts where there is any.
fn with_damage(backups: &[Backup], damage: &Damage) -> Result<Vec<serde_json::Value>, String> {
    let unwritable = |error| format!("The answer cannot be written: {error}.");
    let mut values = Vec::new();
    for backup in backups {
        let mut value = serde_json::to_value(backup).map_err(unwritable)?;
        let found: Vec<&PartDamage> = backup.parts.iter().filter_map(|part| damage.get(&part.id)).collect();
        if let (Some(object), false) = (value.as_object_mut(), found.is_empty()) {
            object.insert("damage".to_owned(), serde_json::to_value(found).map_err(unwritable)?);
        }
        values.push(value);
    }
    Ok(values)
}

async fn create(
    session: &Session,
    source: Option<&str>,
    full: bool,
    description: String,
    passcode: Option<SecretText>,
    detach: bool,
) -> Result<Backup, String> {
    let (engine, caller) = (&session.engine, &session.caller);
    let repository = ensure_repository(session, source).await?;
    let request = StartBackup {
        repository: repository.id,
        trigger: Trigger::Manual,
        task: None,
        full,
        description,
        keep_until: None,
        passcode,
        aliases: Vec::new(),
        attributes: Vec::new(),
        job_attributes: Vec::new(),
    };
    let here = request.passcode.is_some();
    if here && detach {
        return Err("A backup under a passcode is made by this command itself; leave --detach out.".to_owned());
    }
    let started = engine.start_backup(caller, request).await.map_err(sentence)?;
    if !detach {
        session.follow(started.job.id, here, false).await?;
    }
    engine.backup(caller, started.backup.id).await.map_err(sentence)
}

/// The repository of the command line for a source, or for all of them.
///
/// # Errors
/// A sentence: no such source, no store.
pub async fn ensure_repository(session: &Session, source: Option<&str>) -> Result<Repository, String> {
    let (engine, caller) = (&session.engine, &session.caller);
    session.prepare_stores().await?;
    let sources = match source {
        Some(name) => SourceSelection::One(engine.source_named(caller, name).await.map_err(sentence)?.id),
        None => SourceSelection::All,
    };
    let repository = NewRepository {
        owner: OWNER,
        name: format!("cli-{}", source.unwrap_or("all")),
        store: None,
        sources,
        plan: None,
        retention: None,
        aliases: Vec::new(),
        attributes: Vec::new(),
    };
    engine.ensure_repository(caller, repository).await.map_err(sentence)
}

/// The part of that id, or the only one of the backup of that id.
async fn part_of(session: &Session, id: uuid::Uuid) -> Result<PartId, String> {
    match session.engine.backup(&session.caller, BackupId(id)).await {
        Err(error) if matches!(error.code, ErrorCode::NotFound(_)) => Ok(PartId(id)),
        Err(error) => Err(sentence(error)),
        Ok(backup) => match backup.parts.as_slice() {
            [part] => Ok(part.id),
            parts => {
                let parts: Vec<String> =
                    parts.iter().map(|part| format!("{} ({})", part.id, part.source_name)).collect();
                Err(format!("The backup has several parts; name one of them: {}.", parts.join(", ")))
            }
        },
    }
}

/// A file that was not written to its end does not stay.
async fn export(
    session: &Session,
    part: PartId,
    format: ExportFormat,
    passcode: Option<SecretText>,
    output: &Path,
) -> Result<(), String> {
    let export = async |out: Box<dyn Write + Send>| {
        session.engine.export_part(&session.caller, part, format, passcode, out).await.map_err(sentence)
    };
    if output == Path::new("-") {
        return export(Box::new(BufWriter::new(std::io::stdout()))).await;
    }
    let unusable = |error: std::io::Error| format!("The file {} cannot be written: {error}.", output.display());
    let file = File::options().write(true).create_new(true).mode(0o600).open(output).map_err(unusable)?;
    let synced = file.try_clone().map_err(unusable)?;
    let mut written = export(Box::new(BufWriter::new(file))).await;
    if written.is_ok() {
        written = synced.sync_all().map_err(unusable);
    }
    if written.is_err() {
        let _ = std::fs::remove_file(output);
    }
    written
}

/// The first line of a file.
pub fn passcode(path: &Path) -> Result<SecretText, String> {
    secret::from_file(path)
}

fn show(backup: &Backup) -> Result<(), String> {
    output::line(&format!(
        "Backup {}  {}  {}  {}",
        backup.id,
        output::word(&backup.state),
        output::word(&backup.kind),
        output::instant(Some(backup.created_at))
    ))?;
    let mut table = output::Table::new(&["PART", "SOURCE", "KIND", "STATE", "ITEMS", "SIZE", "ADDED", "DOWNLOAD"]);
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), output::bytes);
    for part in &backup.parts {
        table.row(vec![
            part.id.to_string(),
            part.source_name.clone(),
            part.source_kind.clone(),
            output::word(&part.state),
            part.items.map_or_else(|| "-".to_owned(), |items| items.to_string()),
            size(part.size),
            size(part.stored_size),
            size(part.download_size),
        ]);
    }
    table.print()?;
    for part in &backup.parts {
        for warning in &part.warnings {
            output::line(&format!(
                "Warning ({}): {} (seen {} times)",
                part.source_name, warning.sentence, warning.count
            ))?;
        }
    }
    match &backup.error {
        Some(error) => output::line(&format!("Failed: {error}")),
        None => Ok(()),
    }
}
