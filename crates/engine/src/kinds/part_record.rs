//! What a part says of itself beside its bytes, so that `recover` finds it with its names: tags, manifest, and for a part under a
//! passcode an entry in the store's own vault.

use chrono::{DateTime, Utc};
use trivault_sources::{CaptureManifest, Warning};

use super::backup::BackupWork;
use crate::{
    capture::{PartManifest, Tags, program},
    db::{PartDone, VaultRow, objects_of},
    domain::{Alias, BackupKind, ObjectKind, ObjectRef, Part, Source},
    failure::{JobError, JobResult, in_job},
    recovery::PartRecord,
    run::RunContext,
    storage::catalogue,
};

pub(super) fn part_manifest(
    context: &RunContext,
    work: &BackupWork,
    part: &Part,
    source: &Source,
    started: DateTime<Utc>,
    capture: CaptureManifest,
) -> JobResult<PartManifest> {
    Ok(PartManifest {
        format: PartManifest::FORMAT,
        program: program(),
        backup: work.backup.id,
        part: part.id,
        attempt: context.run().attempt,
        repository: work.repository.id,
        repository_name: work.repository.name.clone(),
        source: part.source,
        source_name: part.source_name.clone(),
        captured_at: started,
        capture,
        // Under a passcode it stands in the store's own vault, where it can be read without one.
        record: if work.backup.protected { None } else { Some(part_record(context, work, source)?.to_value()?) },
    })
}

/// What the catalogue knows of the backup now.
fn part_record(context: &RunContext, work: &BackupWork, source: &Source) -> JobResult<PartRecord> {
    let BackupWork { backup, repository, .. } = work;
    let job = context.job().clone();
    let mut objects = objects_of(&job, Some(backup));
    // What it hangs on, too: where no configuration was captured, these are all that tells their names.
    objects.push(ObjectRef::new(ObjectKind::Source, source.id.0));
    objects.push(ObjectRef::new(ObjectKind::Repository, repository.id.0));
    objects.push(ObjectRef::new(ObjectKind::Store, work.store.store.id.0));
    let labels = context.wait_out(|| context.inner.db.labels_of(&objects))?;
    let mut backup = backup.clone();
    for part in &mut backup.parts {
        part.manifest = None;
    }
    Ok(PartRecord { job, backup, repository: repository.clone(), source: source.clone(), labels })
}

/// What `recover` needs to know of a part from its snapshot alone, its names on the wires among it.
pub(super) fn tags(context: &RunContext, work: &BackupWork, part: &Part) -> JobResult<Tags> {
    let BackupWork { backup, repository, .. } = work;
    let mut tags = Tags::new()
        .with("backup", backup.id)
        .with("part", part.id)
        .with("attempt", context.run().attempt)
        .with("repository", repository.id)
        .with("repository_name", &repository.name)
        .with("owner", &repository.owner)
        .with("source", part.source)
        .with("source_kind", &part.source_kind)
        .with("kind", if backup.kind == BackupKind::Full { "full" } else { "incremental" })
        .with("trigger", format!("{:?}", backup.trigger).to_lowercase())
        .with("created", backup.created_at.to_rfc3339())
        .with("job", backup.job)
        .with("parts", backup.parts.len())
        .with("position", backup.parts.iter().position(|found| found.id == part.id).unwrap_or_default());
    if let Some(point) = backup.point {
        tags.push("point", point.to_rfc3339());
    }
    if let Some(keep) = backup.keep_until {
        tags.push("keep", keep.to_rfc3339());
    }
    if !backup.description.is_empty() {
        tags.push("description", &backup.description);
    }
    let (whole, own) = (ObjectRef::new(ObjectKind::Backup, backup.id.0), ObjectRef::new(ObjectKind::Part, part.id.0));
    let objects = [whole, own];
    for (object, Alias { namespace, name }) in context.wait_out(|| context.inner.db.names_of(&objects))? {
        let of = if object == whole { "backup" } else { "part" };
        tags.push("name", format!("{of} {namespace} {name}"));
    }
    Ok(tags)
}

/// A backup under a passcode is also listed in the store's own vault, so that `recover` finds it. Its loss loses no byte.
pub(super) fn record_protected(context: &RunContext, work: &BackupWork, part: &Part, source: &Source, done: &PartDone) {
    if !work.backup.protected {
        return;
    }
    let record = || -> JobResult<()> {
        let Some(row) = context.wait_out(|| context.inner.db.server_vault(work.store.store.id))? else { return Ok(()) };
        let tags = protected_tags(context, work, part, done)?;
        let record = part_record(context, work, source)?.to_bytes()?;
        in_job(catalogue::record_part(&context.inner, &work.store, &row, &tags, &part.source_name, &record))
    };
    if let Err(JobError { error, retry: _ }) = record() {
        let sentence = format!("The backup could not be listed in the store's own vault: {error}");
        context.warn(Warning { code: "catalogue".to_owned(), count: 1, sentence });
    }
}

/// The entry's tags: where the snapshot lies, and what its manifest says, which only the passcode opens.
fn protected_tags(context: &RunContext, work: &BackupWork, part: &Part, done: &PartDone) -> JobResult<Tags> {
    let mut tags = tags(context, work, part)?
        .with("vault", done.vault)
        .with("snapshot", &done.snapshot)
        .with("size", done.size)
        .with("stored", done.stored_size)
        .with("items", done.items);
    if let Some(length) = done.download_size {
        tags.push("download", length);
    }
    if let Some(VaultRow { vault, locator, sealed_password: _, retired_at: _ }) =
        context.wait_out(|| context.inner.db.vault_row(done.vault))?
    {
        tags.push("vault_path", vault.path);
        if let Some(locator) = locator {
            tags.push("locator", hex::encode(locator));
        }
    }
    Ok(tags)
}
