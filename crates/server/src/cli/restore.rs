//! `trivault restore`.

use trivault_engine::{BackupFilter, BackupId, BackupState, PartId, RestoreInto, RestoreItem, StartRestore};
use trivault_sources::{Conflict, KeyRange, Selection};

use super::{
    args::{Common, RestoreArguments},
    backup::passcode,
    session::{Session, sentence},
};
use crate::{config::source_argument, output};

pub async fn run(common: &Common, arguments: RestoreArguments) -> Result<(), String> {
    let RestoreArguments {
        part,
        latest,
        to,
        to_database,
        table,
        schema,
        key_from,
        key_to,
        update,
        in_place,
        no_safety_backup,
        passcode_file,
        plan,
        json,
    } = arguments;
    let selection = selection(table, schema, key_from, key_to)?;
    let here = std::env::current_dir().map_err(|error| format!("The working directory cannot be told: {error}."))?;
    let session = Session::open(common).await?;
    let part = match (part, latest) {
        (Some(part), _) => PartId(part),
        (None, Some(name)) => newest(&session, &name).await?,
        (None, None) => return Err("Say what to restore: --part PART or --latest SOURCE.".to_owned()),
    };
    let into = match (to, to_database) {
        (Some(path), _) => RestoreInto::NewPath(source_argument::absolute(&here, &path)),
        (None, Some(name)) => RestoreInto::NewDatabase(name),
        (None, None) => RestoreInto::InPlace,
    };
    let request = StartRestore {
        items: vec![RestoreItem { part, into }],
        conflict: conflict(in_place, &selection, update),
        selection,
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

/// What was chosen goes beside what is there; only the whole replaces the whole.
fn conflict(in_place: bool, selection: &Selection, update: bool) -> Conflict {
    match (in_place, update) {
        (_, true) => Conflict::UpdateDiffering,
        (true, false) if !selection.is_everything() => Conflict::AddMissing,
        (_, false) => Conflict::Replace,
    }
}

fn selection(
    tables: Vec<String>,
    schemas: Vec<String>,
    from: Option<String>,
    before: Option<String>,
) -> Result<Selection, String> {
    let has_range = from.is_some() || before.is_some();
    if has_range && (tables.len() != 1 || !schemas.is_empty()) {
        return Err("A range of keys is restored of one table: give --table once, and no --schema.".to_owned());
    }
    if let Some(table) = tables.iter().find(|table| !table.contains('.')) {
        return Err(format!(
            "`{table}` names no schema. Write --table SCHEMA.TABLE, for example --table public.{table}."
        ));
    }
    let key_range = has_range.then_some(KeyRange { from, before });
    Ok(Selection { include: tables.into_iter().chain(schemas).collect(), key_range, ..Selection::default() })
}

/// Backups among which the newest good one is looked for.
const MOST_LOOKED_AT: u32 = 500;

/// The newest part of a source that is not known to be damaged.
async fn newest(session: &Session, name: &str) -> Result<PartId, String> {
    let source = session.engine.source_named(&session.caller, name).await.map_err(sentence)?;
    let filter = BackupFilter {
        source: Some(source.id),
        states: vec![BackupState::Succeeded],
        limit: Some(MOST_LOOKED_AT),
        ..BackupFilter::default()
    };
    let backups = session.engine.backups(&session.caller, filter).await.map_err(sentence)?;
    let ids: Vec<BackupId> = backups.iter().map(|backup| backup.id).collect();
    let damage = session.engine.damage_of(&ids).await.map_err(sentence)?;
    let mut parts = backups.iter().flat_map(|backup| &backup.parts).filter(|part| part.source == source.id);
    let newest = parts.clone().next().map(|part| part.id).ok_or_else(|| {
        format!("There is no good backup of {name} yet. `trivault backup create --source {name}` makes one.")
    })?;
    if !damage.contains_key(&newest) {
        return Ok(newest);
    }
    let sound = parts.find(|part| !damage.contains_key(&part.id)).ok_or_else(|| {
        format!("Every backup of {name} is damaged. `trivault restore --part {newest}` restores what can be read of the newest.")
    })?;
    eprintln!(
        "The newest backup of {name} is damaged; this restores the newest that is not, part {}. To restore what can be read of the \
         damaged one: --part {newest}",
        sound.id
    );
    Ok(sound.id)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_range_of_keys_is_of_one_table_and_a_choice_in_place_replaces_nothing() {
        let chosen = selection(texts(&["public.acct"]), vec![], Some("5".into()), None).unwrap();
        assert_eq!(chosen.include, ["public.acct"]);
        assert_eq!(chosen.key_range, Some(KeyRange { from: Some("5".into()), before: None }));
        assert!(selection(texts(&["a.b", "a.c"]), vec![], None, Some("5".into())).is_err());
        assert!(selection(texts(&["a.b"]), texts(&["a"]), None, Some("5".into())).is_err());
        assert!(selection(texts(&["b"]), vec![], None, None).unwrap_err().contains("public.b"));
        assert_eq!(conflict(true, &chosen, false), Conflict::AddMissing);
        assert_eq!(conflict(true, &chosen, true), Conflict::UpdateDiffering);
        assert_eq!(conflict(false, &chosen, false), Conflict::Replace);
        assert_eq!(conflict(true, &Selection::default(), false), Conflict::Replace);
    }
}
