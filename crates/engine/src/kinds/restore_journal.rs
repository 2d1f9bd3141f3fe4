//! What a restore is about to do, written on this node's own disk before it is done.
//!
//! A process that dies in the middle leaves its entry; the next start, or a reconciler, has the driver finish the swap or remove
//! what was made beside. Restores touch places of this machine, so the journal is this machine's, not the database's.

use std::{
    fs::{self, DirBuilder, File},
    io::{ErrorKind, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use trivault_sources::{Interrupted, PartRestorePlan, SourceConfig};

use super::drivers::driver_for;
use crate::{
    domain::{Error, JobId, LogLine, Result, SourceId},
    failure::from_source,
    service::Inner,
};

/// Folder of the data directory.
const FOLDER: &str = "restores";

#[derive(Serialize, Deserialize)]
struct Record {
    job: JobId,
    /// Whose password the target needs; it stands sealed in the catalogue, never here.
    #[serde(default)]
    account: Option<SourceId>,
    config: SourceConfig,
    plan: PartRestorePlan,
}

/// An entry that stands in the journal.
#[must_use]
pub(super) struct Entry(PathBuf);

impl Entry {
    /// Strikes the entry off: its restore is over.
    pub(super) fn remove(self) -> Result<()> {
        remove(&self.0)
    }
}

/// Writes an entry; it is durable when this returns.
pub(super) fn write(
    inner: &Inner,
    job: JobId,
    (account, config): (Option<SourceId>, &SourceConfig),
    plan: &PartRestorePlan,
) -> Result<Entry> {
    let folder = inner.data.join(FOLDER);
    let path = folder.join(format!("{}.json", plan.request.job));
    let record = Record { job, account, config: config.clone(), plan: plan.clone() };
    let json = serde_json::to_vec_pretty(&record)
        .map_err(|error| Error::internal("The restore journal could not be written.").because(error))?;
    write_durably(&folder, &path, &json).map_err(|error| failed(&path, error))?;
    Ok(Entry(path))
}

fn write_durably(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(folder)?.sync_all()
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, error)),
        _ => Ok(()),
    }
}

/// Finishes restores of this node that were interrupted. Those that still run are left alone. Answers how many were finished.
pub(crate) async fn finish_interrupted(inner: &Arc<Inner>) -> Result<usize> {
    let entries = match fs::read_dir(inner.data.join(FOLDER)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(&inner.data.join(FOLDER), error)),
    };
    let mut finished = 0;
    for entry in entries {
        let path = entry.map_err(|error| failed(&inner.data.join(FOLDER), error))?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match finish(inner, &path).await {
            Ok(true) => finished += 1,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "an interrupted restore cannot be finished yet")
            }
        }
    }
    Ok(finished)
}

async fn finish(inner: &Arc<Inner>, path: &Path) -> Result<bool> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        // Its restore has ended meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(path, error)),
    };
    let Record { job, account, config, plan } = serde_json::from_slice(&bytes)
        .map_err(|error| Error::internal("An entry of the restore journal cannot be read.").because(error))?;
    // A command beside the server may run it: only a job that is over was interrupted.
    let over = inner.db.job(job).await?.is_none_or(|job| job.state.is_terminal());
    if !over || inner.work.is_running(job) {
        return Ok(false);
    }
    let stores = inner.db.stores().await?;
    let config = match account {
        Some(account) => inner.with_secret(account, config).await?,
        None => config,
    };
    let driver = driver_for(inner, &config, &stores)?;
    inner.point("resume");
    let outcome = tokio::task::spawn_blocking(move || driver.resume_restore(&plan))
        .await
        .map_err(|error| Error::internal("Finishing a restore ended in a defect.").because(error))?
        .map_err(from_source)?;
    inner.point("resumed");
    let text = match outcome {
        Interrupted::NothingTouched => {
            "The interrupted restore had touched nothing; what it had made beside was removed."
        }
        Interrupted::Finished => "The interrupted restore had begun to replace the target and was finished.",
    };
    tracing::warn!(job.id = %job, "{text}");
    inner.db.append_log(job, &[LogLine { at: inner.clock.now(), text: text.to_owned() }]).await?;
    remove(path)?;
    Ok(true)
}

/// For tests: an entry whose process has died.
#[cfg(test)]
pub(crate) fn leave(
    inner: &Inner,
    job: JobId,
    account: Option<SourceId>,
    config: &SourceConfig,
    plan: &PartRestorePlan,
) {
    let _ = write(inner, job, (account, config), plan).unwrap();
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::internal(format!("The restore journal {} cannot be used: {error}.", path.display())).because(error)
}
