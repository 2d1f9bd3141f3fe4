//! What can be said of a vault under a passcode without it: every file's SHA-256 is its name.
//!
//! Which backups a damaged file belongs to stands in an index that only the passcode opens. A damaged snapshot concerns its own part;
//! any other file is counted against every backup of its vault.

use sha2::{Digest, Sha256};
use trivault_vault::{
    VaultError, VaultErrorKind,
    backend::{Backend, FileKind},
};

use super::verify::{Found, warn};
use crate::{
    db::{StoreRow, VaultRow},
    domain::{Part, Progress, ReadShare},
    failure::{JobResult, in_job},
    run::RunContext,
};

/// Bytes read at a time.
const PIECE_BYTES: u64 = 4 << 20;
/// Everything but packs is small and read at each check.
const ALWAYS: [FileKind; 3] = [FileKind::Key, FileKind::Index, FileKind::Snapshot];

pub(super) fn check(
    context: &RunContext,
    store: &StoreRow,
    row: &VaultRow,
    read: ReadShare,
    parts: &[Part],
) -> JobResult<Found> {
    let mut found = Found::default();
    if parts.is_empty() {
        context.log("No backup is in this vault any more.");
        return Ok(found);
    }
    let backend = in_job(context.inner.storage.root_of(store))?.vault(&row.vault.path)?;
    let backend = backend.as_ref();
    // An unmounted disk shows an empty folder; its emptiness would mean nothing.
    backend.length(FileKind::Config, "config")?;
    context.log("The vault is under a passcode: without it, each file is compared with its name, and no more.");
    let mut files: Vec<(FileKind, String, u64)> = Vec::new();
    for kind in ALWAYS.into_iter().chain([FileKind::Pack]) {
        let entries = backend.list(kind)?.into_iter();
        let chosen = entries.filter(|entry| kind != FileKind::Pack || is_read(read, &entry.name));
        files.extend(chosen.map(|entry| (kind, entry.name, entry.length)));
    }
    let total: u64 = files.iter().map(|(_, _, length)| length).sum();
    let mut done = 0;
    for (kind, name, length) in &files {
        context.check()?;
        if let Some(sentence) = damage_of(context, backend, (*kind, name, *length))? {
            warn(context, "damaged_file", sentence.clone());
            count(&mut found, parts, *kind, name, &sentence);
        }
        done += length;
        context.progress(Progress { bytes_read: done, bytes_total: Some(total), ..Progress::default() });
    }
    context.log(format!("Compared {} files with {total} bytes.", files.len()));
    Ok(found)
}

fn is_read(read: ReadShare, name: &str) -> bool {
    match read {
        ReadShare::None => false,
        ReadShare::All => true,
        ReadShare::Share { part, of } => {
            let first = name.get(..2).and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or(0);
            first % of.max(1) == part % of.max(1)
        }
    }
}

/// Read in pieces: of a pack, no more than one is in memory.
fn damage_of(
    context: &RunContext,
    backend: &dyn Backend,
    (kind, name, length): (FileKind, &str, u64),
) -> JobResult<Option<String>> {
    backend.discard_cache(kind, name);
    let mut digest = Sha256::new();
    let mut offset = 0;
    while offset < length {
        context.check()?;
        let wanted = PIECE_BYTES.min(length - offset);
        match backend.read_range(kind, name, offset, wanted) {
            Ok(bytes) => digest.update(&bytes),
            Err(error) => return gone_or_damaged(error, kind, name),
        }
        offset += wanted;
    }
    if hex::encode(digest.finalize()) == name {
        return Ok(None);
    }
    Ok(Some(format!("The bytes of the {} {name} are not those it was stored with.", kind.noun())))
}

/// A file that went between the list and the look was deleted meanwhile.
fn gone_or_damaged(error: VaultError, kind: FileKind, name: &str) -> JobResult<Option<String>> {
    match error.kind() {
        VaultErrorKind::Missing => Ok(None),
        VaultErrorKind::Damaged => Ok(Some(format!("The {} {name} cannot be read: {error}.", kind.noun()))),
        _ => Err(error.into()),
    }
}

fn count(found: &mut Found, parts: &[Part], kind: FileKind, name: &str, sentence: &str) {
    let concerned = |part: &&Part| kind != FileKind::Snapshot || part.snapshot.as_deref() == Some(name);
    for part in parts.iter().filter(concerned) {
        let sentence = match kind {
            FileKind::Snapshot => sentence.to_owned(),
            _ => format!("{sentence} Whether this backup needs it can be told with its passcode alone"),
        };
        found.damaged.entry(part.id).or_insert(sentence);
    }
    if kind == FileKind::Snapshot && !parts.iter().any(|part| part.snapshot.as_deref() == Some(name)) {
        found.elsewhere.push(sentence.to_owned());
    }
}
