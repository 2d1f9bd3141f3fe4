//! The restore test: backups are read back whole, the way a restore reads them, into nowhere, and compared with what was recorded.

use std::sync::Arc;

use trivault_sources::{Progress, Timestamp};

use super::{
    Ending,
    backup::CLEAN_UP,
    drivers::driver_for,
    restore_part,
    vaults::{self, open_for_reading},
    verify::{clear_part, damage_found, mark_part},
};
use crate::{
    capture::{JobPart, PartEvents, prove_download},
    domain::{
        ErrorCode, Part, PartDamage, PartId, ReadShare, RepositoryId, StartVerify, VaultId, VaultKind, Verified,
        VerifyLevel,
    },
    failure::{JobError, JobResult, from_source, in_job},
    run::{PartScope, RunContext},
    service::{scheduler, start_verify},
};

const RESTORE: &str = "restore";

pub(super) fn run(context: &Arc<RunContext>, of: Option<RepositoryId>, wanted: &[PartId]) -> JobResult<Ending> {
    let db = &context.inner.db;
    let now = || context.inner.clock.now();
    let levels = [VerifyLevel::Restore];
    if let Some(of) = of {
        let of = Verified::Repository(of);
        context.fenced(context.wait_out(|| db.verification_began(context.run(), of, &levels, now()))?)?;
    }
    let mut parts = Vec::new();
    for id in wanted {
        // A backup that was deleted meanwhile needs no test.
        let backup = context.wait_out(|| db.backup_of_part(*id))?;
        parts.extend(backup.into_iter().flat_map(|backup| backup.parts).filter(|part| part.id == *id));
    }
    context.board().parts = (0, parts.len() as u64);
    let total = parts.iter().try_fold(0_u64, |sum, part| Some(sum + part.size?));
    let total = Progress { bytes_total: total, ..Progress::default() };
    let mut damaged = Vec::new();
    for part in &parts {
        context.check()?;
        let base = context.board().progress;
        let outcome = context.step(RESTORE, Some(part.source), || {
            let events = PartScope::new(context, base, total);
            match prove(context, part, &events) {
                Ok(()) => Ok(None),
                Err(JobError { error, retry: _ }) if error.code == ErrorCode::Damaged => Ok(Some(error.sentence)),
                Err(error) => Err(error),
            }
        })?;
        match outcome {
            None => clear_part(context, part.id)?,
            Some(sentence) => {
                let seen_by = VerifyLevel::Restore;
                mark_part(context, &PartDamage { part: part.id, seen_by, found_at: now(), sentence })?;
                damaged.push(part);
            }
        }
        context.board().parts.0 += 1;
    }
    context.step(CLEAN_UP, None, || {
        context.release_locks();
        Ok(())
    })?;
    if let Some(of) = of {
        let verdict = [(VerifyLevel::Restore, damaged.is_empty())];
        context.fenced(
            context.wait_out(|| db.verification_ended(context.run(), Verified::Repository(of), &verdict, now()))?,
        )?;
    }
    if damaged.is_empty() {
        return Ok(Ending::Done);
    }
    for vault in vaults_of(&damaged) {
        look_for_the_cause(context, vault);
    }
    let sentence = format!("{} of {} copies of sources cannot be restored as they were.", damaged.len(), parts.len());
    Err(damage_found(sentence).into())
}

fn prove(context: &Arc<RunContext>, part: &Part, events: &PartScope) -> JobResult<()> {
    let (store, row) = context.wait_out(|| vaults::reading_vault(&context.inner, part))?;
    let passcode = match row.vault.kind {
        VaultKind::Server => None,
        VaultKind::Passcode => Some(context.passcode()?),
    };
    let vault = open_for_reading(&context.inner, &store, &row, passcode)?;
    // What another process has stored or a prune has moved since this one looked.
    vault.refresh()?;
    if !store.store.read_only {
        context.lock_vault(row.vault.id, &vault)?;
    }
    let stored = restore_part::open_in(&vault, part)?;
    let mut proof = stored.prove(events)?;
    if proof.unread > 0 {
        let config = context.wait_out(|| restore_part::config_of(&context.inner, part))?;
        let stores = context.wait_out(|| context.inner.db.stores())?;
        let driver = driver_for(&context.inner, &config, &stores)?;
        let reader = Arc::new(JobPart { part: stored, events: SilentScope(Arc::clone(context)) });
        let made = part.started_at.map_or(0, |at| at.timestamp());
        let modified = Timestamp { seconds: made, nanoseconds: 0 };
        let mut download = driver.download(reader, "test", modified).map_err(from_source)?;
        in_job(prove_download(download.as_mut(), events, &mut proof.bytes))?;
    }
    let (files, streams) = (proof.unread, proof.streams);
    context.log(format!(
        "{}: read {} bytes of {streams} streams and {files} files back; they are what was captured.",
        part.source_name, proof.bytes
    ));
    Ok(())
}

/// The proof tells its own progress; that of the driver's reader would be a second one.
struct SilentScope(Arc<RunContext>);

impl PartEvents for SilentScope {
    fn progress(&self, _: Progress) {}

    fn warn(&self, warning: trivault_sources::Warning) {
        self.0.warn(warning);
    }

    fn log(&self, line: &str) {
        self.0.log(line);
    }

    fn is_cancelled(&self) -> bool {
        self.0.should_stop()
    }
}

fn vaults_of(parts: &[&Part]) -> Vec<VaultId> {
    let mut vaults: Vec<VaultId> = parts.iter().filter_map(|part| part.vault).collect();
    vaults.sort();
    vaults.dedup();
    vaults
}

/// The same for a job that met damage and was no test.
pub(super) fn look_for_the_cause_in_store(context: &RunContext) {
    let Some(store) = context.job().store else { return };
    match context.wait(context.inner.db.server_vault(store)) {
        Ok(Some(row)) => look_for_the_cause(context, row.vault.id),
        Ok(None) => {}
        Err(error) => tracing::warn!(job.id = %context.run().job, %error, "a check of a vault could not be started"),
    }
}

/// A restore meets damage one byte at a time; which packs are damaged, and which other backups need them, a whole check of the vault
/// says, and sets them aside.
fn look_for_the_cause(context: &RunContext, vault: VaultId) {
    let request = StartVerify::Vault { vault, read: ReadShare::All };
    match context.wait(start_verify(&context.inner, &scheduler(), request)) {
        Ok(job) => context.log(format!("The job {} reads the whole vault to find the damaged packs.", job.id)),
        Err(error) if matches!(error.code, ErrorCode::InUse(_)) => {}
        Err(error) => context.log(format!("A check of the whole vault could not be started: {error}")),
    }
}
