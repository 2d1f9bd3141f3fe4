//! One SQLite database file.
//!
//! A capture is one read transaction in which the pages are read in order through `sqlite_dbpage`: no scratch file, a
//! few pages of memory, and writers of a WAL database go on. What is stored is the file that a checkpoint would leave,
//! byte for byte. Rows are counted from the pages as they stream by.
//!
//! The live file is never opened but by SQLite: closing any other descriptor of it would drop the locks that SQLite
//! holds on it for this whole process (POSIX advisory locks).
//!
//! Attached databases are sources of their own. A database that is only written through another host's file system is
//! not safe to read; the probe says so.

mod capture;
mod census;
mod connection;
mod errors;
mod filter;
mod merge;
mod probe;
mod rehearsal;
mod restore;
mod schema;

use std::{path::PathBuf, sync::Arc};

use crate::{
    CaptureManifest, CaptureSink, ErrorKind, Estimate, Finding, Interrupted, PartReader, PartRestorePlan,
    PartRestoreRequest, RandomRead, RestoreOutcome, Result, SourceConfig, SourceDriver, SourceError, Timestamp,
    archive,
};

/// The kind's name in configurations and manifests.
pub const KIND: &str = "sqlite";

/// The stream that holds the database.
const DATA: &str = "data";

/// A database at a path.
#[derive(Clone, Debug)]
pub struct SqliteSource {
    path: PathBuf,
}

impl SqliteSource {
    /// # Errors
    /// [`ErrorKind::Invalid`] for a path that is not absolute or ends in a directory, and for any option: there are
    /// none.
    pub fn new(config: &SourceConfig) -> Result<Self> {
        let invalid = |sentence: String| SourceError::new(ErrorKind::Invalid, sentence);
        if config.location.contains('\0') {
            return Err(invalid("The path of the SQLite database holds a NUL.".into()));
        }
        let path = PathBuf::from(&config.location);
        if !path.is_absolute() {
            return Err(invalid(format!("The path `{}` of the SQLite database is not absolute.", config.location))
                .hint("Give the whole path, beginning with /."));
        }
        if config.location.ends_with('/') || path.file_name().is_none() {
            return Err(invalid(format!("The path `{}` names a directory, not an SQLite database.", config.location))
                .hint("Give the path of the database file."));
        }
        if let Some(option) = config.options.keys().next() {
            return Err(invalid(format!("Sources of the kind `sqlite` have no option `{option}`."))
                .hint("Remove it: this kind has no options."));
        }
        Ok(Self { path })
    }
}

impl SourceDriver for SqliteSource {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    fn probe(&self) -> Vec<Finding> {
        probe::probe(&self.path)
    }

    fn estimate(&self) -> Result<Estimate> {
        probe::estimate(&self.path)
    }

    fn capture(&self, sink: &dyn CaptureSink) -> Result<CaptureManifest> {
        capture::capture(&self.path, sink)
    }

    fn plan_restore(&self, part: &dyn PartReader, request: &PartRestoreRequest) -> Result<PartRestorePlan> {
        restore::plan(&self.path, part, request)
    }

    fn restore(&self, part: &dyn PartReader, plan: &PartRestorePlan) -> Result<RestoreOutcome> {
        restore::carry_out(part, plan)
    }

    fn resume_restore(&self, plan: &PartRestorePlan) -> Result<Interrupted> {
        restore::resume(plan)
    }

    fn download(&self, part: Arc<dyn PartReader>, stem: &str, modified: Timestamp) -> Result<Box<dyn RandomRead>> {
        let record = data_record(part.manifest())?;
        let crc32 = record.crc32;
        let content = part.open(&[DATA.as_bytes()])?;
        Ok(Box::new(archive::single_member(&format!("{stem}.sqlite"), modified, content, crc32)?))
    }
}

/// The record of the stored database.
fn data_record(manifest: &CaptureManifest) -> Result<&crate::StreamRecord> {
    if manifest.kind != KIND {
        return Err(SourceError::new(
            ErrorKind::Unsupported,
            format!("The backup is of the kind `{}` and cannot be put into an SQLite database.", manifest.kind),
        )
        .hint("Restore it into a source of its own kind."));
    }
    manifest.streams.get(DATA).ok_or_else(|| {
        SourceError::new(ErrorKind::Store, "The backup's manifest does not name the stored database.")
            .hint("Verify the backup: its content is damaged.")
    })
}
