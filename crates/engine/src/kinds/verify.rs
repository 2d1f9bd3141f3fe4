//! Verify: whether what is stored is what was captured. Marks the parts that are not, and takes the marks off those that are whole again.
//!
//! Scope: of a vault, the vault shared and its maintenance alone; of backups, their parts and vaults shared. Steps: `check`, `mark`,
//! `heal` (where packs are damaged), `clean_up`; for backups one `restore` for each part (`verify_parts`).
//!
//! A job that found damage ends failed, after everything that it found was written down: nobody shall take it for good news. It is not
//! tried again for that.
//!
//! Nothing is deleted. A damaged pack is set aside: the index lists its blobs no more, so that the next backup of a source that still has
//! those bytes stores them anew, under the same names; the backups that missed them are whole again then, and the next check finds so.

use std::{collections::HashMap, sync::Arc};

use serde::{Deserialize, Serialize};
use trivault_sources::Warning;
use trivault_vault::{CheckOptions, CheckReport, DamagedFile, Id, ReadSubset, SetAside};

use super::{Ending, backup::CLEAN_UP, maintenance_events::JobEvents, restore, vaults, verify_at_rest, verify_parts};
use crate::{
    db::{JobScope, Resource, StoreRow, VaultRow},
    domain::{
        Error, ErrorCode, Noun, Part, PartDamage, PartId, ReadShare, RepositoryId, VaultId, VaultKind, Verified,
        VerifyLevel,
    },
    failure::JobResult,
    run::RunContext,
};

const CHECK: &str = "check";
const MARK: &str = "mark";
const HEAL: &str = "heal";
/// Damaged files of one part that its sentence names.
const FILES_NAMED: usize = 3;

/// What the queue keeps of a verification. The passcode is not among it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Params {
    Vault {
        vault: VaultId,
        read: ReadShare,
    },
    Parts {
        /// Whose newest good backups these are, for the record.
        of: Option<RepositoryId>,
        parts: Vec<PartId>,
    },
}

/// The share of a vault's data that a verification with these parameters reads.
pub(crate) fn share_of(params: &serde_json::Value) -> Option<u32> {
    match Params::deserialize(params).ok()? {
        Params::Vault { vault: _, read: ReadShare::Share { part, of: _ } } => Some(part),
        Params::Vault { vault: _, read: ReadShare::None | ReadShare::All } | Params::Parts { of: _, parts: _ } => None,
    }
}

pub(crate) fn scopes_of_vault(vault: VaultId) -> Vec<JobScope> {
    vec![
        JobScope { resource: Resource::Vault, id: vault.0, exclusive: false },
        JobScope { resource: Resource::Care, id: vault.0, exclusive: true },
    ]
}

pub(crate) fn scopes_of_parts(parts: &[Part]) -> Vec<JobScope> {
    restore::scopes(parts, &[])
}

pub(crate) fn run(context: &Arc<RunContext>) -> JobResult<Ending> {
    match context.params()? {
        Params::Vault { vault, read } => check_vault(context, vault, read),
        Params::Parts { of, parts } => verify_parts::run(context, of, &parts),
    }
}

/// What a check has found out about parts.
#[derive(Default)]
pub(super) struct Found {
    /// Each damaged part with what is wrong.
    pub(super) damaged: HashMap<PartId, String>,
    /// What is wrong and belongs to no part of ours.
    pub(super) elsewhere: Vec<String>,
}

fn check_vault(context: &Arc<RunContext>, id: VaultId, read: ReadShare) -> JobResult<Ending> {
    let db = &context.inner.db;
    let gone = || Error::not_found(Noun::Vault, "The vault is no longer in the catalogue.");
    let row = context.wait_out(|| db.vault_row(id))?.ok_or_else(gone)?;
    let store = vaults::store_row(context, row.vault.store)?;
    let levels = levels_of(read);
    context.fenced(context.wait_out(|| {
        db.verification_began(context.run(), Verified::Vault(id), &levels, context.inner.clock.now())
    })?)?;
    // A part that is there before the check begins was surely looked at; one that comes meanwhile perhaps not.
    let before = context.wait_out(|| db.parts_in_vault(id))?;
    let (found, report) = match row.vault.kind {
        VaultKind::Server => {
            let report = context.step(CHECK, None, || check(context, &store, &row, read))?;
            let after = context.wait_out(|| db.parts_in_vault(id))?;
            (sorted(&report, &after), report)
        }
        VaultKind::Passcode => {
            let found = context.step(CHECK, None, || verify_at_rest::check(context, &store, &row, read, &before))?;
            (found, CheckReport::default())
        }
    };
    context.step(MARK, None, || mark(context, &found, &before, read))?;
    if !report.damaged_packs.is_empty() {
        heal(context, &store, &row, &report, &found)?;
    }
    context.step(CLEAN_UP, None, || {
        context.release_locks();
        Ok(())
    })?;
    let is_whole = found.damaged.is_empty() && found.elsewhere.is_empty() && report.is_sound();
    let verdict: Vec<(VerifyLevel, bool)> = levels.into_iter().map(|level| (level, is_whole)).collect();
    let now = context.inner.clock.now();
    context.fenced(context.wait_out(|| db.verification_ended(context.run(), Verified::Vault(id), &verdict, now))?)?;
    conclude(&found, &report, before.len())
}

fn levels_of(read: ReadShare) -> Vec<VerifyLevel> {
    match read {
        ReadShare::None => vec![VerifyLevel::Structure],
        ReadShare::Share { .. } | ReadShare::All => vec![VerifyLevel::Structure, VerifyLevel::Data],
    }
}

fn check(context: &RunContext, store: &StoreRow, row: &VaultRow, read: ReadShare) -> JobResult<CheckReport> {
    let vault = context.inner.storage.server_vault(store, row)?;
    context.lock_vault(row.vault.id, &vault)?;
    let read = match read {
        ReadShare::None => ReadSubset::None,
        ReadShare::Share { part, of } => ReadSubset::Share { part, of },
        ReadShare::All => ReadSubset::All,
    };
    let report = vault.check(&CheckOptions { read }, &JobEvents(context))?;
    let CheckReport { snapshots, packs, bytes_read, damaged_packs, damaged_index_files, notes, damaged_snapshots: _ } =
        &report;
    context.log(format!("Looked at {snapshots} snapshots and {packs} packs, and read {bytes_read} bytes."));
    for note in notes {
        context.log(format!("{note}."));
    }
    for pack in damaged_packs {
        warn(context, "damaged_pack", format!("The pack {} is damaged: {}.", pack.id, pack.sentence));
    }
    for index in damaged_index_files {
        warn(context, "damaged_index", format!("The index file {} cannot be read: {}.", index.id, index.sentence));
    }
    Ok(report)
}

/// Damage by part; what belongs to snapshots that are not ours is kept apart.
fn sorted(report: &CheckReport, parts: &[Part]) -> Found {
    let by_snapshot: HashMap<&str, PartId> =
        parts.iter().filter_map(|part| Some((part.snapshot.as_deref()?, part.id))).collect();
    let mut files: HashMap<PartId, Vec<&DamagedFile>> = HashMap::new();
    let mut found = Found::default();
    for damaged in &report.damaged_snapshots {
        match by_snapshot.get(damaged.snapshot.to_hex().as_str()) {
            Some(part) => files.entry(*part).or_default().push(damaged),
            None => found.elsewhere.push(format!("Snapshot {}: {}", damaged.snapshot, sentence_of(damaged))),
        }
    }
    for (part, files) in files {
        let mut sentence: Vec<String> = files.iter().take(FILES_NAMED).map(|file| sentence_of(file)).collect();
        if files.len() > FILES_NAMED {
            sentence.push(format!("{} more places", files.len() - FILES_NAMED));
        }
        found.damaged.insert(part, sentence.join("; "));
    }
    found
}

/// Takes damaged packs out of the index, so that the next backup stores anew what they held. What is missing is seen by every level from
/// then on.
fn heal(context: &RunContext, store: &StoreRow, row: &VaultRow, report: &CheckReport, found: &Found) -> JobResult<()> {
    if store.store.read_only {
        context.log("The store is read-only: the damaged packs stay in its index.");
        return Ok(());
    }
    vaults::check_owner(context, store)?;
    context.step(HEAL, None, || {
        let packs: Vec<Id> = report.damaged_packs.iter().map(|pack| pack.id).collect();
        context.check_lease()?;
        let vault = context.inner.storage.server_vault(store, row)?;
        let aside = vault.set_aside(&packs, &JobEvents(context))?;
        let SetAside { packs, left_alone, blobs_saved, bytes_saved, blobs_lost } = aside;
        context.log(format!(
            "Set {} damaged packs aside; {} turned out to be whole. Saved {blobs_saved} pieces with {bytes_saved} bytes of them; the \
             next backups store the other {blobs_lost} anew where the sources still have them.",
            packs.len(),
            left_alone.len()
        ));
        let parts: Vec<PartId> = found.damaged.keys().copied().collect();
        let now = context.inner.clock.now();
        context.fenced(context.wait_out(|| context.inner.db.damage_is_structural(context.run(), &parts, now))?)?;
        Ok(())
    })
}

fn sentence_of(damaged: &DamagedFile) -> String {
    let DamagedFile { snapshot: _, path, offset, length, sentence } = damaged;
    match (path.is_empty(), *length) {
        (true, _) => sentence.clone(),
        (false, 0) => format!("{path}: {sentence}"),
        (false, length) => format!("{path} from byte {offset} on, {length} bytes: {sentence}"),
    }
}

/// Writes the verdicts down: of parts that were there before the check, also that they are whole.
pub(super) fn mark(context: &RunContext, found: &Found, before: &[Part], read: ReadShare) -> JobResult<()> {
    let db = &context.inner.db;
    let now = context.inner.clock.now();
    let seen_by = match read {
        ReadShare::None => VerifyLevel::Structure,
        ReadShare::Share { .. } | ReadShare::All => VerifyLevel::Data,
    };
    for sentence in &found.elsewhere {
        warn(context, "damaged_elsewhere", sentence.clone());
    }
    for (part, sentence) in &found.damaged {
        let damage = PartDamage { part: *part, seen_by, found_at: now, sentence: sentence.clone() };
        mark_part(context, &damage)?;
    }
    let Some(vault) = before.first().and_then(|part| part.vault) else { return Ok(()) };
    for known in context.wait_out(|| db.damage_in(vault))? {
        let is_seen = known.seen_by == VerifyLevel::Structure || read == ReadShare::All;
        let is_whole = before.iter().any(|part| part.id == known.part) && !found.damaged.contains_key(&known.part);
        if is_seen && is_whole {
            clear_part(context, known.part)?;
        }
    }
    Ok(())
}

pub(super) fn mark_part(context: &RunContext, damage: &PartDamage) -> JobResult<()> {
    let db = &context.inner.db;
    let is_new = context.fenced(context.wait(db.mark_damaged(context.run(), damage, damage.found_at))?)?;
    let backup = context.wait_out(|| db.backup_of_part(damage.part))?;
    let Some(backup) = backup else { return Ok(()) };
    let source = backup.parts.iter().find(|part| part.id == damage.part).map_or("", |part| part.source_name.as_str());
    let made = backup.point.unwrap_or(backup.created_at).format("%Y-%m-%d %H:%M:%SZ");
    let sentence = format!("The backup of {source} of {made} is damaged: {}.", damage.sentence.trim_end_matches('.'));
    warn(context, "damaged", sentence.clone());
    if is_new {
        tracing::error!(backup.id = %backup.id, part.id = %damage.part, job.id = %context.run().job, "{sentence}");
    }
    Ok(())
}

pub(super) fn clear_part(context: &RunContext, part: PartId) -> JobResult<()> {
    let now = context.inner.clock.now();
    let was_marked = context.fenced(context.wait_out(|| context.inner.db.clear_damage(context.run(), part, now))?)?;
    if was_marked {
        context.log(format!("The part {part} is whole again; it is no longer marked as damaged."));
        tracing::info!(part.id = %part, job.id = %context.run().job, "a part that was damaged is whole again");
    }
    Ok(())
}

/// Each with a warning of its own: a count would not say which.
pub(super) fn warn(context: &RunContext, code: &str, sentence: String) {
    let warnings = context.board().warnings.iter().filter(|known| known.code.starts_with(code)).count();
    let code = if warnings == 0 { code.to_owned() } else { format!("{code}_{}", warnings + 1) };
    context.warn(Warning { code, count: 1, sentence });
}

fn conclude(found: &Found, report: &CheckReport, parts: usize) -> JobResult<Ending> {
    let Found { damaged, elsewhere } = found;
    let sentence = match (damaged.len(), elsewhere.len()) {
        (0, 0) if report.is_sound() => return Ok(Ending::Done),
        (0, 0) => "The vault is damaged in places that no backup needs.".to_owned(),
        (0, others) => format!("The vault is damaged in {others} places that are no backups of this server."),
        (ours, _) => format!("{ours} of {parts} stored copies of sources are damaged."),
    };
    Err(damage_found(sentence).into())
}

pub(super) fn damage_found(sentence: String) -> Error {
    Error::new(ErrorCode::Damaged, sentence)
        .hint("The job's log names each. Check the store's disk, make a new backup of these sources, and verify again.")
}
