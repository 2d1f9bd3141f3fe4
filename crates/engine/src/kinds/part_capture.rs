//! One source's way into the vault: the commit protocol of DESIGN section 4.
//!
//! The snapshot's tags carry backup, part and attempt; the lease is asked for right before the snapshot is written, and one
//! guarded statement follows it. An attempt that loses that race forgets its own snapshot; a later attempt adopts one that stands.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use trivault_sources::{CaptureManifest, Finding, Progress, Severity, SourceDriver, Warning};
use trivault_vault::{Capture, Committed, Id, Snapshot, SnapshotDraft, VaultErrorKind, VerifyOptions};

use super::{
    backup::{BackupWork, source_of},
    part_record::{part_manifest, record_protected, tags},
};
use crate::{
    capture::{PartSink, StoredPart, Tags, VaultEvents, instant, program},
    db::{Fenced, PartDone},
    domain::{BackupKind, BackupState, Error, ErrorCode, Part, Source, StepState},
    failure::{JobError, JobResult, from_vault},
    run::{PartScope, RunContext},
};

const CAPTURE: &str = "capture";
const VERIFY: &str = "verify";
const COMMIT: &str = "commit";
/// Point between the snapshot and the statement that counts it.
const WRITTEN: &str = "written";
/// Bytes of a stored stream that are read back when an earlier attempt's snapshot is adopted.
const ADOPTION_READS: usize = 1 << 20;

/// The source with its driver, looked at before anything is captured.
pub(super) fn prepare(context: &RunContext, part: &Part) -> JobResult<(Source, Box<dyn SourceDriver>)> {
    let (source, driver) = source_of(context, part)?;
    let mut refusal = None;
    for finding in driver.probe() {
        let Finding { severity, sentence, hint } = finding;
        match severity {
            Severity::Fine => context.log(format!("{}: {sentence}", source.name)),
            Severity::Warning => context.warn(Warning { code: "probe".to_owned(), count: 1, sentence }),
            Severity::Error => refusal = refusal.or(Some((sentence, hint))),
        }
    }
    let Some((sentence, hint)) = refusal else { return Ok((source, driver)) };
    // The estimate meets the same obstacle and tells its kind: a lock may go away, a missing file will not.
    driver.estimate()?;
    let mut error = Error::new(ErrorCode::SourceUnavailable, sentence);
    error.hint = hint;
    Err(error.into())
}

/// Captures one part and commits it, or adopts what an earlier attempt has committed.
pub(super) fn run(
    context: &Arc<RunContext>,
    work: &BackupWork,
    part: &Part,
    source: &Source,
    driver: &dyn SourceDriver,
    (base, total): (Progress, Progress),
) -> JobResult<()> {
    let (db, started) = (&context.inner.db, context.inner.clock.now());
    context.fenced(context.wait_out(|| db.begin_part(context.run(), part.id, started))?)?;
    if context.run().attempt > 1 && adopt(context, work, part, source)? {
        return Ok(());
    }
    let scope = PartScope::new(context, base, total);
    let done = capture(context, work, part, source, driver, &scope, started)?;
    context.point(WRITTEN);
    match context.wait_out(|| db.part_succeeded(context.run(), &done, context.inner.clock.now()))? {
        Fenced::Held(()) => {}
        lost @ Fenced::Lost => {
            withdraw(context, work, part, &done.snapshot)?;
            return context.fenced(lost);
        }
    }
    if context.run().attempt > 1 {
        // An attempt that had lost its lease may have written after this one looked.
        forget_others(work, part, &done.snapshot)?;
    }
    context.end_step(COMMIT, Some(source.id), StepState::Succeeded)?;
    record_protected(context, work, part, source, &done);
    Ok(())
}

/// The lease was lost after the snapshot was written. The attempt that has the part now may have taken this very snapshot over;
/// while it has not ended, it decides, and forgets what it did not take.
fn withdraw(context: &RunContext, work: &BackupWork, part: &Part, snapshot: &str) -> JobResult<()> {
    let backup = context.wait_out(|| context.inner.db.backup_of_part(part.id))?;
    let now = backup.and_then(|backup| backup.parts.into_iter().find(|found| found.id == part.id));
    let keep = match &now {
        Some(part) => match part.state {
            BackupState::Queued | BackupState::Running => true,
            BackupState::Succeeded | BackupState::Failed | BackupState::Cancelled | BackupState::Lost => {
                part.snapshot.as_deref() == Some(snapshot)
            }
        },
        None => false,
    };
    if let (false, Ok(id)) = (keep, snapshot.parse::<Id>()) {
        work.vault.forget(&id)?;
    }
    Ok(())
}

/// Forgets every snapshot of this part but the one that counts.
fn forget_others(work: &BackupWork, part: &Part, snapshot: &str) -> JobResult<()> {
    for other in snapshots_of(work, part)? {
        if other.id.to_hex() != snapshot {
            work.vault.forget(&other.id)?;
        }
    }
    Ok(())
}

/// Snapshots that some attempt has written for this part, newest first.
fn snapshots_of(work: &BackupWork, part: &Part) -> JobResult<Vec<Snapshot>> {
    let wanted = part.id.to_string();
    let mut found = work.vault.snapshots()?.snapshots;
    found.retain(|snapshot| {
        Tags::of(&snapshot.record.tags).is_some_and(|tags| tags.get("part") == Some(wanted.as_str()))
    });
    found.reverse();
    Ok(found)
}

fn capture(
    context: &Arc<RunContext>,
    work: &BackupWork,
    part: &Part,
    source: &Source,
    driver: &dyn SourceDriver,
    scope: &PartScope,
    started: DateTime<Utc>,
) -> JobResult<PartDone> {
    let step = Some(source.id);
    context.begin_step(CAPTURE, step)?;
    context.log(format!("Captures {} ({}).", source.name, driver.location()));
    let previous = previous(context, work, part)?;
    let draft = SnapshotDraft {
        time: started,
        hostname: source.name.clone(),
        username: "trivault".to_owned(),
        paths: vec![format!("/{}-{}/{}", work.repository.name, work.repository.id, source.name)],
        tags: vec![tags(context, work, part)?.to_tag()],
        program_version: program(),
    };
    let events = {
        let (told, asked) = (Arc::clone(context), Arc::clone(context));
        VaultEvents {
            stored: Arc::new(move |bytes| told.stored(bytes)),
            is_cancelled: Arc::new(move || asked.should_stop()),
        }
    };
    let capture = work.vault.capture(draft, previous.as_ref().map(|(snapshot, _)| snapshot), Arc::new(events))?;
    let stored_part = previous.as_ref().map(|(_, part)| part);
    let sink = PartSink::new(&capture, &source.name, stored_part, scope, instant(started));
    let manifest = match driver.capture(&sink) {
        Ok(manifest) => manifest,
        Err(error) => {
            drop(sink);
            let error = JobError::from(error);
            if error.retry || context.is_handing_back() {
                keep_for_retry(context, capture);
            }
            return Err(error);
        }
    };
    let record = part_manifest(context, work, part, source, started, manifest)?;
    let root = sink.finish(&record.to_bytes()?)?;
    context.end_step(CAPTURE, step, StepState::Succeeded)?;

    context.begin_step(VERIFY, step)?;
    let mut refused: Option<JobError> = None;
    let mut guard = || {
        // The last look at locks and lease; right after it the snapshot is written.
        let answer = context
            .end_step(VERIFY, step, StepState::Succeeded)
            .and_then(|()| context.begin_step(COMMIT, step))
            .and_then(|()| context.check_locks())
            .and_then(|()| context.check_lease());
        answer.map_err(|error| {
            let kind = trivault_vault::VaultError::cancelled();
            refused = Some(error);
            kind
        })
    };
    let committed = capture.commit(root, &mut guard, VerifyOptions::default());
    let committed = match (committed, refused) {
        (Ok(committed), _) => committed,
        (Err(_), Some(refused)) => return Err(refused),
        (Err(error), None) => return Err(error.into()),
    };
    context.log(format!(
        "Wrote snapshot {} of {}: {} bytes of data, {} bytes added to the vault, {} blobs read back.",
        committed.snapshot,
        source.name,
        record.capture.size,
        committed.summary.data_added_packed,
        committed.verified_blobs
    ));
    let Committed { snapshot, summary, verified_blobs: _ } = committed;
    Ok(done(work, part, &record.capture, snapshot, summary.data_added_packed, scope.warnings()))
}

/// The next attempt need not store again what this one has stored. Where that fails, it does.
fn keep_for_retry(context: &RunContext, capture: Capture) {
    if let Err(error) = capture.abandon() {
        context.log(format!("What was stored so far could not be kept for the next attempt: {error}"));
    }
}

fn done(
    work: &BackupWork,
    part: &Part,
    manifest: &CaptureManifest,
    snapshot: Id,
    stored_size: u64,
    warnings: Vec<Warning>,
) -> PartDone {
    PartDone {
        part: part.id,
        vault: work.vault_id,
        snapshot: snapshot.to_hex(),
        size: manifest.size,
        stored_size,
        items: manifest.items,
        download_size: manifest.download.as_ref().map(|download| download.length),
        // Names of tables and directories are content: under a passcode the catalogue does not know them.
        manifest: (!work.backup.protected).then(|| manifest.clone()),
        warnings,
    }
}

/// The newest part of the same source in the same vault, if this backup may build on it and it is whole.
fn previous(context: &RunContext, work: &BackupWork, part: &Part) -> JobResult<Option<(Snapshot, StoredPart)>> {
    if work.backup.kind == BackupKind::Full {
        return Ok(None);
    }
    let Some(found) = context.wait_out(|| context.inner.db.previous_part(part.source, work.vault_id))? else {
        return Ok(None);
    };
    let Some(id) = found.snapshot.as_deref().and_then(|id| id.parse::<Id>().ok()) else { return Ok(None) };
    let snapshot = match work.vault.snapshot(&id) {
        Ok(snapshot) => snapshot,
        Err(error) if matches!(error.kind(), VaultErrorKind::Missing | VaultErrorKind::Damaged) => {
            context.log(format!("The previous backup cannot be built on ({error}); everything is read anew."));
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    match StoredPart::open(&work.vault, &snapshot, &found.source_name) {
        Ok(stored) => Ok(Some((snapshot, stored))),
        Err(error)
            if matches!(error.code, ErrorCode::StoreUnavailable | ErrorCode::StoreRefused | ErrorCode::Cancelled) =>
        {
            Err(error.into())
        }
        Err(error) => {
            context.log(format!("The previous backup cannot be built on ({error}); everything is read anew."));
            Ok(None)
        }
    }
}

/// Takes over a snapshot that an earlier attempt has committed and could not report. Others of this part are forgotten.
fn adopt(context: &RunContext, work: &BackupWork, part: &Part, source: &Source) -> JobResult<bool> {
    let mut adopted = false;
    for snapshot in snapshots_of(work, part)? {
        let whole = if adopted { None } else { check(context, work, part, &snapshot)? };
        let Some(stored) = whole else {
            work.vault.forget(&snapshot.id)?;
            continue;
        };
        let added = snapshot.record.summary.as_ref().map_or(0, |summary| summary.data_added_packed);
        let done = done(work, part, stored.capture_manifest(), snapshot.id, added, Vec::new());
        context.check_lease()?;
        context.point("adopt");
        let now = context.inner.clock.now();
        context.fenced(context.wait_out(|| context.inner.db.part_succeeded(context.run(), &done, now))?)?;
        context.log(format!(
            "Takes over snapshot {} of {}, written by an earlier attempt.",
            snapshot.id, part.source_name
        ));
        record_protected(context, work, part, source, &done);
        adopted = true;
    }
    Ok(adopted)
}

/// Reads the manifest and every directory, and of each stream its beginning; `None` when something is not there.
fn check(context: &RunContext, work: &BackupWork, part: &Part, snapshot: &Snapshot) -> JobResult<Option<StoredPart>> {
    let whole = || -> Result<StoredPart, Error> {
        // Whoever wrote it may have died before it looked whether a prune had marked what it relies on.
        work.vault.secure(snapshot, &|| context.should_stop()).map_err(from_vault)?;
        let stored = StoredPart::open(&work.vault, snapshot, &part.source_name)?;
        stored.read_through(ADOPTION_READS)?;
        Ok(stored)
    };
    match whole() {
        Ok(stored) if stored.manifest().part == part.id => Ok(Some(stored)),
        Ok(_) => Ok(None),
        Err(error) if error.code == ErrorCode::Damaged => Ok(None),
        Err(error) => Err(error.into()),
    }
}
