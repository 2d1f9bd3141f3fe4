//! The history of finished jobs as a store keeps it: one JSON line for each job, newest first.
//!
//! It is bounded; backups that are older than its end are found again by their own snapshots.

use std::io::{BufRead, BufReader};

use trivault_vault::FileReader;

use super::unwritable;
use crate::{
    db::HistoryEntry,
    domain::{Backup, Error, ErrorCode, Result, StoreId},
    failure::from_vault,
    service::Inner,
};

/// Jobs of a store that are kept.
const MOST_JOBS: u32 = 5_000;
/// Bytes that are kept.
const MOST_BYTES: u64 = 32 << 20;
/// Jobs that are read at a time.
const PAGE: u32 = 200;
/// Manifests up to this size stand in the history too, bytes; larger ones are read from their snapshots.
const SMALL_MANIFEST: usize = 4 << 10;
/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

/// Writes the history of a store, piece by piece. Blocks.
pub(crate) fn write(inner: &Inner, store: StoreId, out: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let handle = tokio::runtime::Handle::current();
    let mut written = 0_u64;
    for offset in (0..MOST_JOBS).step_by(PAGE as usize) {
        let page = handle.block_on(inner.db.history(store, PAGE, offset))?;
        let is_last = page.len() < PAGE as usize;
        for mut entry in page {
            if let Some(backup) = &mut entry.backup {
                leave_out_large_manifests(backup)?;
            }
            let mut line = serde_json::to_vec(&entry).map_err(unwritable)?;
            line.push(b'\n');
            written += line.len() as u64;
            if written > MOST_BYTES {
                return Ok(());
            }
            out(&line)?;
        }
        if is_last {
            break;
        }
    }
    Ok(())
}

fn leave_out_large_manifests(backup: &mut Backup) -> Result<()> {
    for part in &mut backup.parts {
        if let Some(manifest) = &part.manifest
            && serde_json::to_vec(manifest).map_err(unwritable)?.len() > SMALL_MANIFEST
        {
            part.manifest = None;
        }
    }
    Ok(())
}

/// Reads a history. Lines that are not understood are counted by `None`.
pub(super) fn read(file: FileReader) -> impl Iterator<Item = Result<Option<HistoryEntry>>> {
    BufReader::with_capacity(BUFFER, Reading { file, offset: 0 }).split(b'\n').map(|line| match line {
        Ok(line) => Ok(serde_json::from_slice(&line).ok()),
        Err(error) => match error.downcast::<Failed>() {
            Ok(Failed(error)) => Err(error),
            Err(other) => Err(Error::new(ErrorCode::Damaged, "The history cannot be read.").because(other)),
        },
    })
}

/// A stored file from its beginning to its end.
struct Reading {
    file: FileReader,
    offset: u64,
}

/// What the vault said, through `std::io`.
#[derive(Debug)]
struct Failed(Error);

impl std::fmt::Display for Failed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(out)
    }
}

impl std::error::Error for Failed {}

impl std::io::Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(self.offset, buffer);
        let read = read.map_err(|error| std::io::Error::other(Failed(from_vault(error))))?;
        self.offset += read as u64;
        Ok(read)
    }
}
