//! Directories: a walk over open handles, a download that is a tar made anew, and a restore that is built beside its
//! target and swapped in.
//!
//! * **Capture** never resolves a path and never follows a link below the root. Memory holds the names of the directories
//!   on the path from the root, one read buffer, and the files that have several names.
//! * A file that changes while it is read is read once more, then kept with a warning. A file that the previous backup
//!   has with the same size, times and inode is taken over unread.
//! * **Inventory**: the first name of a path is the scope, the rest of the directory's path the collection.
//! * **Download**: members are `./…`; lengths and checksums come from the layout, which is written while walking.
//! * **Restore** writes with `openat` below a directory of its own, so that neither the backup's names nor links in the
//!   target lead it elsewhere.
//!
//! Not done here: hooks before and after, snapshots of volumes, owners by name (numbers count).

mod capture;
mod download;
mod extended;
mod layout;
mod names;
mod notice;
mod options;
mod owners;
mod probe;
mod restore;
mod status;
mod survey;
mod trail;

use std::{os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc};

use crate::{
    CaptureManifest, CaptureSink, ErrorKind, Estimate, Finding, Interrupted, PartReader, PartRestorePlan,
    PartRestoreRequest, RandomRead, RestoreOutcome, Result, SourceConfig, SourceDriver, SourceError, Timestamp,
};
use options::Options;

/// The name of this kind of source.
pub const KIND: &str = "directory";

/// The node of a part below which the tree lies.
const DATA: &str = "data";

/// How everything begins that a restore makes inside a target; never captured.
const OWN_PREFIX: &str = ".trivault-";

/// A directory that is backed up.
#[derive(Debug)]
pub struct DirectorySource {
    root: PathBuf,
    options: Options,
    never_capture: Vec<PathBuf>,
}

impl DirectorySource {
    /// Binds the driver to `config`, without touching the directory. A relative location is taken from the current
    /// directory.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an empty location, an unknown option (with the nearest that exists) or a wrong value.
    pub fn new(config: &SourceConfig) -> Result<Self> {
        let SourceConfig { kind: _, location, options, never_capture, secret: _ } = config;
        let root = std::path::absolute(location).map_err(|error| {
            SourceError::new(ErrorKind::Invalid, format!("`{location}` cannot be the path of a directory."))
                .because(error)
        })?;
        if location.contains('\0') {
            return Err(SourceError::new(ErrorKind::Invalid, "A path cannot hold NUL."));
        }
        let options = Options::parse(options, &root)?;
        Ok(Self { root, options, never_capture: never_capture.clone() })
    }

    /// The location for a sentence.
    fn shown(&self) -> String {
        status::show(self.root.as_os_str().as_bytes())
    }
}

impl SourceDriver for DirectorySource {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn location(&self) -> String {
        self.root.to_string_lossy().into_owned()
    }

    fn probe(&self) -> Vec<Finding> {
        probe::probe(self)
    }

    fn estimate(&self) -> Result<Estimate> {
        survey::estimate(self)
    }

    fn capture(&self, sink: &dyn CaptureSink) -> Result<CaptureManifest> {
        capture::capture(self, sink)
    }

    fn plan_restore(&self, part: &dyn PartReader, request: &PartRestoreRequest) -> Result<PartRestorePlan> {
        restore::plan(self, part, request)
    }

    fn restore(&self, part: &dyn PartReader, plan: &PartRestorePlan) -> Result<RestoreOutcome> {
        restore::restore(part, plan)
    }

    fn resume_restore(&self, plan: &PartRestorePlan) -> Result<Interrupted> {
        restore::resume(plan)
    }

    /// Members are `./…`, so `stem` changes nothing; nor does `modified`: each member has its own time.
    fn download(&self, part: Arc<dyn PartReader>, _stem: &str, _modified: Timestamp) -> Result<Box<dyn RandomRead>> {
        Ok(Box::new(download::open(part)?))
    }
}
