//! Jobs as task runs: the names around them, fetched for many at once.

use trivault_engine::{Job, JobId, ObjectKind, ObjectRef, Result, Source, SourceId};

use crate::{
    NAME,
    auth::Call,
    mapping::tasks::{RestoreRecord, RunParts, run_to_wire},
    names::{BACKUPS, TASKS, unscoped},
    types::TaskRun,
};

/// In the order given, each with whether it was scheduled. Jobs that this wire has no word for are left out.
pub async fn render(call: &Call, jobs: &[Job], sources: &[Source], cluster: &str) -> Result<Vec<(bool, TaskRun)>> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let engine = &call.engine;
    let of_jobs: Vec<ObjectRef> = jobs.iter().map(of_job).collect();
    let of_backups: Vec<ObjectRef> = jobs.iter().filter_map(of_backup).collect();
    let tasks = engine.aliases(TASKS, &of_jobs).await?;
    let backups = engine.aliases(BACKUPS, &of_backups).await?;
    let attributes = engine.attributes_of(NAME, &of_jobs).await?;
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    let about = engine.backups_of_jobs(&ids).await?;
    let source_name = |id: SourceId| sources.iter().find(|source| source.id == id).map(|source| source.name.clone());
    let runs = jobs.iter().filter_map(|job| {
        let parts = RunParts {
            alias: tasks.get(&of_job(job)).map(String::as_str),
            backup: of_backup(job).and_then(|backup| backups.get(&backup)).map(|alias| unscoped(alias)),
            about: about.get(&job.id).map(Vec::as_slice).unwrap_or_default(),
            restore: attributes.get(&of_job(job)).and_then(|attributes| RestoreRecord::find(attributes)),
            source_name: &source_name,
            // All nodes are one service: whichever is asked says the same.
            node_id: engine.installation().simple().to_string(),
            cluster,
            zone: engine.zone(),
        };
        Some((job.task.is_some(), run_to_wire(job, parts)?))
    });
    Ok(runs.collect())
}

fn of_job(job: &Job) -> ObjectRef {
    ObjectRef::new(ObjectKind::Job, job.id.0)
}

fn of_backup(job: &Job) -> Option<ObjectRef> {
    job.backup.map(|backup| ObjectRef::new(ObjectKind::Backup, backup.0))
}
