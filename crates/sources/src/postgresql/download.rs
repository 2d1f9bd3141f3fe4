//! The download: the custom-format archive in a `.tar.gz`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    dump::{Archive, Assembled, measure},
    layout::{Captured, Whole},
};
use crate::{
    DownloadRecord, ErrorKind, PartReader, RandomRead, Result, SourceError, Timestamp,
    archive::{single_member, single_member_length},
};

/// What the manifest keeps of the archive, so that a download is known to be the one that was recorded.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Details {
    /// Bytes of the archive.
    length: u64,
    crc32: u32,
}

/// The record of a capture that is complete but for it. `archive` is the table of contents, as it was stored; `None` for a
/// capture that was kept whole.
///
/// # Errors
/// [`ErrorKind::Store`] for entries with data of which nothing was captured.
pub(super) fn record(captured: &Captured, archive: Option<&Archive>) -> Result<DownloadRecord> {
    let Whole { length, crc32 } = measure(captured, archive)?;
    let details = serde_json::to_value(Details { length, crc32 }).map_err(|error| {
        SourceError::new(ErrorKind::Internal, "The record of a download cannot be written.").because(error)
    })?;
    Ok(DownloadRecord { length: single_member_length(length), details })
}

pub(super) fn download(part: Arc<dyn PartReader>, stem: &str, modified: Timestamp) -> Result<Box<dyn RandomRead>> {
    let record = part.manifest().download.clone().ok_or_else(|| {
        SourceError::new(ErrorKind::Unsupported, "This part was captured without a download.")
            .hint("Restore it into a new database instead.")
    })?;
    let details: Details = serde_json::from_value(record.details).map_err(|error| damaged().because(error))?;
    let archive = Assembled::open(part)?;
    if (details.length, details.crc32) != (archive.length(), archive.crc32()) {
        return Err(damaged());
    }
    let download = single_member(&format!("{stem}.pgsql"), modified, Box::new(archive), details.crc32)?;
    if download.length() == record.length { Ok(Box::new(download)) } else { Err(damaged()) }
}

fn damaged() -> SourceError {
    SourceError::new(ErrorKind::Store, "The backup and the record of its download do not fit together.")
        .hint("Verify the backup; it can still be restored.")
}
