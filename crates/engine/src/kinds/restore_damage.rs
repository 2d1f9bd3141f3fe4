//! Restores of damaged backups: a backup that is marked is said to be so, and restored as far as it can be read; where it cannot, the
//! failure names it, and the newest one that could be restored in its place.

use super::{restore_part::Resolved, verify};
use crate::{
    db::Database,
    domain::{Backup, BackupFilter, BackupId, BackupState, ErrorCode, Part, PartDamage, Result},
    failure::{JobError, JobResult},
    run::RunContext,
};

/// Backups among which a sound one is looked for.
const MOST_LOOKED_AT: u32 = 500;

/// Says what is known to be damaged of what is to be restored.
pub(super) fn tell(context: &RunContext, resolved: &[Resolved]) -> JobResult<()> {
    let db = &context.inner.db;
    let mut backups: Vec<BackupId> = resolved.iter().map(|item| item.part.backup).collect();
    backups.sort();
    backups.dedup();
    for PartDamage { part, seen_by: _, found_at, sentence } in context.wait_out(|| db.damage_of(&backups))? {
        if !resolved.iter().any(|item| item.part.id == part) {
            continue;
        }
        let Some(backup) = context.wait_out(|| db.backup_of_part(part))? else { continue };
        let source = backup.parts.iter().find(|found| found.id == part).map_or("", |part| part.source_name.as_str());
        let found_at = found_at.format("%Y-%m-%d %H:%M:%SZ");
        let what = format!(
            "{} was found to be damaged at {found_at}: {} What can be read of it is restored.",
            title(&backup, source),
            ended(&sentence)
        );
        tracing::warn!(backup.id = %backup.id, part.id = %part, job.id = %context.run().job, "a damaged backup is restored: {what}");
        verify::warn(context, "damaged_backup", what);
    }
    Ok(())
}

/// A failure to read the part, with the backup's name and that of a better one.
pub(super) fn explained(context: &RunContext, part: &Part, mut failed: JobError) -> JobError {
    if failed.error.code != ErrorCode::Damaged {
        return failed;
    }
    // What cannot be looked up now is no reason to hide the failure itself.
    let db = &context.inner.db;
    let Ok(Some(backup)) = context.wait(db.backup_of_part(part.id)) else { return failed };
    let source = part.source_name.as_str();
    let other = match context.wait(newest_sound(db, part)) {
        Ok(Some(other)) => format!("{} is the newest that is not known to be damaged.", title(&other, source)),
        Ok(None) => format!("No other backup of {source} is known to be whole."),
        Err(_) => return failed,
    };
    let cause = ended(&failed.error.sentence);
    failed.error.sentence = format!("{} is damaged and cannot be restored: {cause} {other}", title(&backup, source));
    failed
}

/// The newest backup with a whole part of the same source.
async fn newest_sound(db: &Database, part: &Part) -> Result<Option<Backup>> {
    let filter = BackupFilter {
        source: Some(part.source),
        states: vec![BackupState::Succeeded],
        limit: Some(MOST_LOOKED_AT),
        ..BackupFilter::default()
    };
    let backups = db.backups(&filter).await?;
    let ids: Vec<BackupId> = backups.iter().map(|backup| backup.id).collect();
    let damage = db.damage_of(&ids).await?;
    let is_sound = |other: &Part| {
        let is_whole = other.source == part.source && other.id != part.id && other.state == BackupState::Succeeded;
        is_whole && !damage.iter().any(|damage| damage.part == other.id)
    };
    Ok(backups.into_iter().find(|backup| backup.parts.iter().any(is_sound)))
}

fn title(backup: &Backup, source: &str) -> String {
    let made = backup.point.unwrap_or(backup.created_at).format("%Y-%m-%d %H:%M:%SZ");
    format!("The backup of {source} of {made} ({})", backup.id)
}

/// With one full stop.
fn ended(sentence: &str) -> String {
    format!("{}.", sentence.trim_end_matches('.'))
}
