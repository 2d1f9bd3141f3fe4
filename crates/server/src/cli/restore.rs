//! `trivault restore`.

use trivault_engine::{BackupFilter, BackupState, PartId, RestoreInto, RestoreItem, StartRestore};
use trivault_sources::{Conflict, Selection};

use super::{
    args::{Common, RestoreArguments},
    backup::passcode,
    session::{Session, sentence},
};
use crate::{config::source_argument, output};

pub async fn run(common: &Common, arguments: RestoreArguments) -> Result<(), String> {
    let RestoreArguments { part, latest, to, in_place, no_safety_backup, passcode_file, plan, json } = arguments;
    let here = std::env::current_dir().map_err(|error| format!("The working directory cannot be told: {error}."))?;
    let session = Session::open(common).await?;
    let part = match (part, latest) {
        (Some(part), _) => PartId(part),
        (None, Some(name)) => newest(&session, &name).await?,
        (None, None) => return Err("Say what to restore: --part PART or --latest SOURCE.".to_owned()),
    };
    let into = match to {
        Some(path) => RestoreInto::NewPath(source_argument::absolute(&here, &path)),
        None => RestoreInto::InPlace,
    };
    let request = StartRestore {
        items: vec![RestoreItem { part, into }],
        conflict: Conflict::Replace,
        selection: Selection::default(),
        safety_backup: in_place && !no_safety_backup,
        passcode: passcode_file.as_deref().map(passcode).transpose()?,
        job_attributes: Vec::new(),
    };
    if plan {
        return print_plan(&session, &request, json).await;
    }
    let here = request.passcode.is_some();
    let job = session.engine.start_restore(&session.caller, request).await.map_err(sentence)?;
    let job = session.follow(job.id, here, json).await?;
    if json {
        return output::json(&job);
    }
    for warning in &job.warnings {
        output::line(&format!("Warning: {}", warning.sentence))?;
    }
    output::line("Restored.")
}

async fn newest(session: &Session, name: &str) -> Result<PartId, String> {
    let source = session.engine.source_named(&session.caller, name).await.map_err(sentence)?;
    let filter = BackupFilter {
        source: Some(source.id),
        states: vec![BackupState::Succeeded],
        limit: Some(1),
        ..BackupFilter::default()
    };
    let backups = session.engine.backups(&session.caller, filter).await.map_err(sentence)?;
    backups
        .iter()
        .flat_map(|backup| &backup.parts)
        .find(|part| part.source == source.id)
        .map(|part| part.id)
        .ok_or_else(|| {
            format!("There is no good backup of {name} yet. `trivault backup create --source {name}` makes one.")
        })
}

async fn print_plan(session: &Session, request: &StartRestore, json: bool) -> Result<(), String> {
    let preview = session.engine.preview_restore(&session.caller, request).await.map_err(sentence)?;
    if json {
        return output::json(&preview);
    }
    for (_, plan) in &preview.parts {
        for (number, step) in plan.steps.iter().enumerate() {
            output::line(&format!("{}. {step}", number + 1))?;
        }
        output::line(&format!("Writes {}. Nothing was touched.", output::bytes(plan.bytes)))?;
    }
    Ok(())
}
