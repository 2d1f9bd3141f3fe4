//! What a restore would do, and everything that it refuses beforehand.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::in_use;
use crate::{
    Conflict, ErrorKind, Inventory, PartReader, PartRestorePlan, PartRestoreRequest, RestoreTarget, Result,
    SourceError,
    sizes::free_bytes,
    sqlite::{
        connection::{beside, open_live},
        data_record,
        errors::{explain, from_system},
        filter::Filter,
    },
};

/// Longest name of a job, bytes.
const JOB_BYTES: usize = 32;

/// Which of the four ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Work {
    WriteNew,
    BuildNew,
    Swap,
    Merge,
}

/// A file, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct FileId {
    pub device: u64,
    pub inode: u64,
}

impl FileId {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        Some(Self { device: found.dev(), inode: found.ino() })
    }
}

/// What the plan decided; kept with the job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Details {
    pub work: Work,
    /// The real file, symbolic links resolved.
    pub target: PathBuf,
    /// The live file that was found there.
    pub old: Option<FileId>,
    /// It was in WAL mode, which the swap has to end, and an abort to bring back.
    pub old_was_wal: bool,
    pub mode: u32,
    /// Owner and group of the file that is replaced.
    pub owner: Option<(u32, u32)>,
    /// Directories that are missing, outermost first.
    pub missing_directories: Vec<PathBuf>,
    pub page_size: u32,
    pub encoding: String,
    pub user_version: i64,
    pub application_id: i64,
    /// The backup's tables, for a merge that is finished without the backup.
    pub inventory: Inventory,
}

impl Details {
    pub(super) fn of(plan: &PartRestorePlan) -> Result<Self> {
        serde_json::from_value(plan.details.clone()).map_err(|error| {
            SourceError::new(ErrorKind::Internal, "The plan of the restore cannot be read.").because(error)
        })
    }
}

/// Names beside the target.
pub(super) struct Places {
    pub directory: PathBuf,
    /// The new database.
    pub new: PathBuf,
    /// A private copy of the backup, for merges.
    pub part: PathBuf,
    /// The same copy once all its rows are in and only the commit is left.
    pub merging: PathBuf,
    /// Where the replaced database stays.
    pub before: PathBuf,
}

impl Places {
    pub(super) fn new(target: &Path, job: &str) -> Self {
        let directory = target.parent().unwrap_or(Path::new("/")).to_path_buf();
        let mut before = target.file_name().map(OsString::from).unwrap_or_default();
        before.push(format!(".before-{job}"));
        Self {
            new: directory.join(format!(".trivault-{job}.db")),
            part: directory.join(format!(".trivault-{job}.part.db")),
            merging: directory.join(format!(".trivault-{job}.merging.db")),
            before: directory.join(before),
            directory,
        }
    }

    /// Everything that must be gone in the end.
    pub(super) fn temporary(&self) -> Vec<PathBuf> {
        let files = [&self.new, &self.part, &self.merging];
        let sides = files.iter().flat_map(|file| ["-journal", "-wal", "-shm"].map(|suffix| beside(file, suffix)));
        files.iter().map(|file| (*file).clone()).chain(sides).collect()
    }
}

fn refuse(sentence: String, hint: &str) -> SourceError {
    SourceError::new(ErrorKind::Conflict, sentence).hint(hint)
}

pub(in crate::sqlite) fn plan(
    live: &Path,
    part: &dyn PartReader,
    request: &PartRestoreRequest,
) -> Result<PartRestorePlan> {
    let bytes = data_record(part.manifest())?.length;
    Filter::new(&request.selection, &part.manifest().inventory)?;
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    if request.job.is_empty() || request.job.len() > JOB_BYTES || !is_name(&request.job) {
        return Err(SourceError::new(ErrorKind::Internal, "The restore's job has no usable name."));
    }
    let details = decide(live, part, request)?;
    let places = Places::new(&details.target, &request.job);
    match details.work {
        Work::WriteNew | Work::BuildNew => refuse_leftovers(&details.target)?,
        Work::Swap => refuse_swap(&details, &places)?,
        Work::Merge => refuse_merge(&details)?,
    }
    let existing = places.directory.ancestors().find(|directory| directory.exists()).unwrap_or(Path::new("/"));
    refuse_directory(existing, bytes * if details.work == Work::BuildNew { 2 } else { 1 })?;
    Ok(PartRestorePlan {
        request: request.clone(),
        steps: steps(&details, &places, bytes, request.conflict),
        bytes,
        temporary: places.temporary(),
        details: serde_json::to_value(&details).map_err(|error| {
            SourceError::new(ErrorKind::Internal, "The plan of the restore cannot be written down.").because(error)
        })?,
    })
}

/// Looks at the target and chooses the way.
fn decide(live: &Path, part: &dyn PartReader, request: &PartRestoreRequest) -> Result<Details> {
    let target = match &request.target {
        RestoreTarget::InPlace => fs::canonicalize(live).unwrap_or_else(|_| live.to_path_buf()),
        RestoreTarget::NewPath(path) => path.clone(),
        RestoreTarget::NewDatabase(_) => return Err(SourceError::no_databases("An SQLite database")),
    };
    if !target.is_absolute() || target.file_name().is_none() {
        return Err(SourceError::new(ErrorKind::Invalid, format!("{} is not a path for a file.", target.display()))
            .hint("Give the whole path of the new file, beginning with /."));
    }
    let found = match fs::symlink_metadata(&target) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(from_system(&target, "look at", error)),
    };
    let everything = request.selection.is_everything();
    let work = match (&request.target, &found) {
        (RestoreTarget::NewPath(_) | RestoreTarget::NewDatabase(_), Some(_)) => {
            return Err(refuse(
                format!("{} exists already.", target.display()),
                "Name a path that does not exist, or restore in place.",
            ));
        }
        (RestoreTarget::InPlace, Some(found)) if !found.is_file() => {
            return Err(refuse(
                format!("{} is not a file.", target.display()),
                "Move it away, or restore to a new path.",
            ));
        }
        (RestoreTarget::InPlace, Some(_)) if request.conflict != Conflict::Replace => Work::Merge,
        (RestoreTarget::InPlace, Some(_)) if everything => Work::Swap,
        (RestoreTarget::InPlace, Some(_)) => {
            return Err(SourceError::new(
                ErrorKind::Unsupported,
                "Replacing an SQLite database puts back the whole file; some of its tables cannot be replaced alone.",
            )
            .hint("Leave the selection out, or restore the tables item by item or to a new path."));
        }
        (_, None) if everything => Work::WriteNew,
        (_, None) => Work::BuildNew,
    };
    let detail = |name: &str| &part.manifest().details[name];
    let old = found.as_ref().map(|found| FileId { device: found.dev(), inode: found.ino() });
    let recorded_mode = detail("mode").as_u64().and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o600);
    Ok(Details {
        work,
        old,
        old_was_wal: work == Work::Swap && journal_mode(&target).as_deref() == Some("wal"),
        mode: found.as_ref().map_or(recorded_mode, MetadataExt::mode) & 0o777,
        owner: found.as_ref().map(|found| (found.uid(), found.gid())),
        missing_directories: missing_directories(&target),
        page_size: detail("page_size").as_u64().and_then(|size| u32::try_from(size).ok()).unwrap_or(4096),
        encoding: detail("encoding").as_str().unwrap_or("UTF-8").to_owned(),
        user_version: detail("user_version").as_i64().unwrap_or(0),
        application_id: detail("application_id").as_i64().unwrap_or(0),
        inventory: part.manifest().inventory.clone(),
        target,
    })
}

/// `None` when the live file cannot be read: it may be damaged, which is why it is to be replaced.
fn journal_mode(path: &Path) -> Option<String> {
    let connection = open_live(path).ok()?;
    connection.pragma_query_value(None, "schema_version", |_| Ok(())).ok()?;
    connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).ok()
}

fn missing_directories(target: &Path) -> Vec<PathBuf> {
    let ancestors = target.ancestors().skip(1).take_while(|directory| !directory.exists());
    let mut missing: Vec<PathBuf> = ancestors.map(Path::to_path_buf).collect();
    missing.reverse();
    missing
}

/// A log without its database would be taken for the new database's own, and damage it.
fn refuse_leftovers(target: &Path) -> Result<()> {
    for suffix in ["-wal", "-journal"] {
        let leftover = beside(target, suffix);
        if leftover.symlink_metadata().is_ok() {
            return Err(refuse(
                format!("There is a {} of a database that is gone; it would damage a new one.", leftover.display()),
                "Move it away first.",
            ));
        }
    }
    Ok(())
}

fn refuse_swap(details: &Details, places: &Places) -> Result<()> {
    if places.before.symlink_metadata().is_ok() {
        return Err(refuse(format!("{} exists already.", places.before.display()), "Move it away first."));
    }
    in_use::refuse(&details.target, in_use::Processes::All).map(drop)
}

fn refuse_merge(details: &Details) -> Result<()> {
    let connection = open_live(&details.target)?;
    let encoding: String = connection
        .pragma_query_value(None, "encoding", |row| row.get(0))
        .map_err(|error| explain(&details.target, error))?;
    if encoding != details.encoding {
        return Err(SourceError::new(
            ErrorKind::Unsupported,
            format!(
                "The backup's text is {} and that of {} is {encoding}; rows cannot go from one into the other.",
                details.encoding,
                details.target.display()
            ),
        )
        .hint("Restore the whole database to a new path, or replace the old one."));
    }
    Ok(())
}

fn refuse_directory(directory: &Path, bytes: u64) -> Result<()> {
    use rustix::fs::{Access, access};
    if !directory.is_dir() {
        return Err(refuse(format!("{} is not a directory.", directory.display()), "Choose another path."));
    }
    access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
        SourceError::new(ErrorKind::Denied, format!("The server may not write into {}.", directory.display()))
            .hint("Let its user write there, or choose another path.")
            .because(error)
    })?;
    match free_bytes(directory).filter(|free| *free < bytes) {
        Some(free) => Err(SourceError::new(
            ErrorKind::Full,
            format!("{} has {free} bytes of free space; the restore needs {bytes}.", directory.display()),
        )
        .hint("Free some space, or restore to another disk.")),
        None => Ok(()),
    }
}

fn steps(details: &Details, places: &Places, bytes: u64, conflict: Conflict) -> Vec<String> {
    let target = details.target.display();
    let mut steps: Vec<String> =
        details.missing_directories.iter().map(|made| format!("Makes the directory {}.", made.display())).collect();
    let write = |place: &Path| format!("Writes {bytes} bytes to {}, syncs and checks them.", place.display());
    match details.work {
        Work::WriteNew => {
            steps.push(write(&places.new));
            steps.push(format!("Renames it to {target}."));
        }
        Work::BuildNew => {
            steps.push(write(&places.part));
            steps.push(format!("Copies the wanted rows into the new database {}.", places.new.display()));
            steps.push(format!("Renames that to {target} and removes {}.", places.part.display()));
        }
        Work::Swap => {
            steps.push(write(&places.new));
            if details.old_was_wal {
                steps.push(format!(
                    "Makes sure that no program has {target} open, puts its write-ahead log into it and ends its WAL mode."
                ));
            } else {
                steps.push(format!("Makes sure that no program has {target} open, and locks it."));
            }
            steps.push(format!("Exchanges {target} and the new file in one step."));
            steps.push(format!("Keeps the old database as {}.", places.before.display()));
        }
        Work::Merge => {
            steps.push(write(&places.part));
            let what = if conflict == Conflict::UpdateDiffering {
                "Overwrites rows that differ, adds missing ones"
            } else {
                "Adds missing rows, leaves existing ones"
            };
            steps.push(format!("{what} and deletes none in {target}, in one transaction."));
            steps.push(format!("Removes {}.", places.part.display()));
        }
    }
    steps
}
