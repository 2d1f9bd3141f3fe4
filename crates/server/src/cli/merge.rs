//! `trivault merge`.

use trivault_engine::{BackupId, MergeEnd, MergeRange, MergeWindow, StartMerge};

use super::{
    args::{Common, MergeArguments},
    retention::find,
    session::{Session, sentence},
};
use crate::output;

pub async fn run(common: &Common, arguments: MergeArguments) -> Result<(), String> {
    let session = Session::open(common).await?;
    let (engine, caller) = (&session.engine, &session.caller);
    let MergeArguments { repository, from, to, days_ago, and_before } = arguments;
    let repository = find(&session, &repository).await?;
    let range = match days_ago {
        Some(offset_start) => {
            MergeRange::Days(MergeWindow { offset_start, offset_end: and_before.unwrap_or_default() })
        }
        None => MergeRange::Between {
            from: from.map_or(MergeEnd::Oldest, |id| MergeEnd::Backup(BackupId(id))),
            to: to.map_or(MergeEnd::Newest, |id| MergeEnd::Backup(BackupId(id))),
        },
    };
    let request = StartMerge {
        repository: repository.id,
        task: None,
        range,
        zone: engine.zone(),
        as_of: None,
        job_attributes: Vec::new(),
    };
    let job = engine.start_merge(caller, request).await.map_err(sentence)?;
    let job = session.follow(job.id, false, true).await?;
    for warning in &job.warnings {
        output::line(&warning.sentence)?;
    }
    let about = engine.backups_of_jobs(&[job.id]).await.map_err(sentence)?.remove(&job.id).unwrap_or_default();
    match about.split_last() {
        Some((kept, folded)) => output::line(&format!(
            "Folded {} backups into {}; their bytes are freed by the next prunes.",
            folded.len(),
            kept.id
        )),
        None => output::line("There are fewer than two backups to merge in this range: nothing was changed."),
    }
}
